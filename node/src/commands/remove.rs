//! `wayleave remove`: everything the program ever wrote, gone.

use crate::{cli::Remove, home::Home, out};
use anyhow::{Context as _, bail};
use serde_json::json;
use std::path::Path;

/// Removes the devnet's folder, or says what would be removed.
pub(crate) fn run(root: &Path, remove: &Remove, json: bool) -> anyhow::Result<()> {
    let home = Home::devnet(root);
    let path = home.path().display();
    let (exists, running) = (home.path().exists(), home.is_running());
    if remove.yes && running {
        bail!("`wayleave up` is using {path}: stop it first (Ctrl-C)");
    }
    if remove.yes {
        home.remove().with_context(|| format!("removing {path}"))?;
    }
    if json {
        let removed = exists && remove.yes;
        return out::json(&json!({ "folder": home.path(), "exists": exists, "removed": removed }));
    }
    match (exists, remove.yes) {
        (false, _) => out::line(format!("nothing to remove: {path} does not exist")),
        (true, true) => out::line(format!("removed {path}")),
        (true, false) => {
            out::line(format!("this would remove {path}"));
            out::line(
                "all files, keys and blocks of the devnet are in it; to do it: wayleave remove --yes",
            );
        }
    }
    Ok(())
}
