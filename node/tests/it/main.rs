//! The real program, from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cluster;
mod deposit;
mod kill;
mod machines;
mod metrics;
mod operating;
mod program;
