//! `cargo xtask bench`: builds the program and the benches in release and runs them.
//!
//! What is measured, and against whom, stands in the crate `bench`; it writes `docs/performance.md`.

use anyhow::{Context as _, ensure};
use std::{ffi::OsString, path::Path, process::Command};

/// Builds and measures; `arguments` go to the benches.
///
/// # Errors
/// When a build or a bench fails.
pub fn run(root: &Path, arguments: &[OsString]) -> anyhow::Result<()> {
    let packages = ["--package", "wayleave", "--package", "bench"];
    finish(cargo(root).args(["build", "--release"]).args(packages))?;
    finish(
        cargo(root)
            .args(["run", "--quiet", "--release", "--package", "bench", "--"])
            .args(arguments),
    )
}

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

fn finish(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
