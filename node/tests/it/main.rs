//! The real program, from outside.

mod kill;
mod program;
