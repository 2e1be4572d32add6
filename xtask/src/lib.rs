//! Automation in Rust instead of scripts: what a person would otherwise have to remember.
//!
//! [`tidy`] checks the rules of the house, as a chore and as a test. It knows nothing of what the
//! product does; what it needs to know of the repository's shape stands in [`tidy::layers`] alone.

pub mod bench;
pub mod tidy;
pub mod workspace;
