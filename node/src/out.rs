//! What commands print: lines for people, or one JSON document a command.

use serde::Serialize;
use std::io::{self, Write as _};

/// Prints a line. A closed pipe (`wayleave status | head -1`) is no error.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    // Nobody is left to tell when standard output is gone.
    let _ = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
}

/// Replaces the last line on a terminal.
pub(crate) fn status(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    let _ = write!(out, "\r\x1b[2K{}", text.as_ref()).and_then(|()| out.flush());
}

/// Prints `value` as JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Rows of two columns, the first padded to the widest.
pub(crate) fn table(rows: &[(String, String)]) {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in rows {
        line(format!("  {name:width$}  {value}"));
    }
}
