//! `wayleave remove`: everything the program ever wrote, gone.

use crate::{cli::Remove, home::Home, out};
use anyhow::{Context as _, bail};
use std::path::Path;

/// Removes the devnet's folder, or says what would be removed.
pub(crate) fn run(root: &Path, remove: &Remove) -> anyhow::Result<()> {
    let home = Home::devnet(root);
    if !home.path().exists() {
        out::line(format!("nothing to remove: {} does not exist", home.path().display()));
        return Ok(());
    }
    if !remove.yes {
        out::line(format!("this would remove {}", home.path().display()));
        out::line(
            "all files, keys and blocks of the devnet are in it; to do it: wayleave remove --yes",
        );
        return Ok(());
    }
    if home.is_running() {
        bail!("`wayleave up` is using {}: stop it first (Ctrl-C)", home.path().display());
    }
    home.remove().with_context(|| format!("removing {}", home.path().display()))?;
    out::line(format!("removed {}", home.path().display()));
    Ok(())
}
