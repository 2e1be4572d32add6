//! The real program, from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what a test says when it fails")]

mod cluster;
mod deposit;
mod dissent;
mod kill;
mod machines;
mod metrics;
mod operating;
mod ports;
mod program;
