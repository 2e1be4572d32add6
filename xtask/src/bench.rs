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
    finish(crate::cargo(root).args(["build", "--release"]).args(packages))?;
    finish(
        crate::cargo(root)
            .args(["run", "--quiet", "--release", "--package", "bench", "--"])
            .args(arguments),
    )
}

fn finish(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
