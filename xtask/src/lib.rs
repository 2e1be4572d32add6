//! Automation in Rust instead of scripts: what a person would otherwise have to remember.
//!
//! [`tidy`] checks the rules of the house, as a chore and as a test. It knows nothing of what the
//! product does; what it needs to know of the repository's shape stands in [`tidy::layers`] alone.

pub mod bench;
pub mod fuzz;
pub mod tidy;
pub mod workspace;

use std::{path::Path, process::Command};

/// Cargo, without what the cargo that runs this says of this crate: build scripts that look at it would
/// build half of the dependencies anew.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"];
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| ours.iter().any(|ours| name.starts_with(ours))) {
            command.env_remove(name);
        }
    }
    command
}
