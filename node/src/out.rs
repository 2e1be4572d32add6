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

/// Prints `value` as one line of JSON: commands that run on print one a step.
pub(crate) fn json_line(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(text),
        Err(error) => tracing::error!(%error, "what happened cannot be written as JSON"),
    }
}

/// The columns of the terminal; nothing if standard output is none.
#[cfg(unix)]
pub(crate) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal that was never told its size says 0.
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// The columns of the terminal; nothing if standard output is none.
#[cfg(not(unix))]
pub(crate) fn columns() -> Option<usize> {
    None
}

/// Rows of two columns, the first padded to the widest.
pub(crate) fn table(rows: &[(String, String)]) {
    let rows: Vec<_> = rows.iter().map(|(name, value)| [name.clone(), value.clone()]).collect();
    rows_of(&rows);
}

/// Rows of columns, each but the last padded to its widest.
pub(crate) fn rows_of<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) {
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
    for row in rows {
        let mut text = String::new();
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(&format!("  {cell:width$}"));
        }
        line(text.trim_end());
    }
}
