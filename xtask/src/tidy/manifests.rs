//! Manifests: every crate takes the workspace's lints, and there is one `clippy.toml`.
//!
//! `[lints] workspace = true` is opt-in, so a new crate silently goes unlinted without it; and a
//! `clippy.toml` inside a crate *replaces* the root's instead of adding to it.

use super::Fault;
use crate::workspace::Workspace;
use anyhow::Context as _;

/// Checks all manifests.
///
/// # Errors
/// When a manifest cannot be read.
pub fn check(workspace: &Workspace) -> anyhow::Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for one in &workspace.crates {
        let path = format!("{}/Cargo.toml", one.folder);
        let text = std::fs::read_to_string(workspace.root.join(&path)).context(path.clone())?;
        if !inherits_lints(&text).context(path.clone())? {
            faults.push(Fault::new(
                &path,
                "the crate does not take the workspace's lints",
                "add the lines `[lints]` and `workspace = true`",
            ));
        }
        let clippy = format!("{}/clippy.toml", one.folder);
        if workspace.root.join(&clippy).exists() {
            faults.push(Fault::new(
                clippy,
                "a clippy.toml inside a crate replaces the root's",
                "put the setting into the root's clippy.toml, or an #[expect] where it is needed",
            ));
        }
    }
    Ok(faults)
}

fn inherits_lints(manifest: &str) -> anyhow::Result<bool> {
    let table: toml::Table = manifest.parse()?;
    let inherits = table.get("lints").and_then(|lints| lints.get("workspace"));
    Ok(inherits.and_then(toml::Value::as_bool) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lints_are_opt_in() {
        assert!(inherits_lints("[lints]\nworkspace = true").unwrap());
        assert!(!inherits_lints("[lints]\nworkspace = false").unwrap());
        assert!(!inherits_lints("[package]\nname = \"x\"").unwrap());
        assert!(!inherits_lints("[lints.rust]\nunsafe_code = \"deny\"").unwrap());
    }
}
