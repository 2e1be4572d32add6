//! What commands print: lines for people, or one JSON document a command.

use serde::Serialize;
use std::{
    io::{self, IsTerminal as _, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Takes a terminal's last line away.
const CLEAR: &[u8] = b"\r\x1b[2K";

/// Whether the terminal's last line is one that changes ([`status`]).
static CHANGES: AtomicBool = AtomicBool::new(false);

/// Standard error: what is written there does not go on in a line that changes, but takes its place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Aside;

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut error = io::stderr().lock();
        if error.is_terminal() && CHANGES.swap(false, Ordering::Relaxed) {
            error.write_all(CLEAR)?;
        }
        error.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Prints a line. A closed pipe (`wayleave status | head -1`) is no error.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    CHANGES.store(false, Ordering::Relaxed);
    // Nobody is left to tell when standard output is gone.
    let _ = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
}

/// Replaces the last line on a terminal.
pub(crate) fn status(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    CHANGES.store(!text.as_ref().is_empty(), Ordering::Relaxed);
    let _ = out
        .write_all(CLEAR)
        .and_then(|()| out.write_all(text.as_ref().as_bytes()))
        .and_then(|()| out.flush());
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
