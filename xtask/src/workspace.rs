//! The workspace as cargo sees it: crates, their folders, and what each may build against.

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The workspace.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The folder that holds the root manifest.
    pub root: PathBuf,
    /// Its crates, in the order of their folders.
    pub crates: Vec<Crate>,
}

/// One crate of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crate {
    /// The package's name.
    pub name: String,
    /// Its folder relative to the root, with `/` between parts.
    pub folder: String,
    /// The workspace crates its product code is built against (build scripts included).
    pub product: BTreeSet<String>,
    /// The workspace crates only its tests are built against.
    pub tests: BTreeSet<String>,
}

impl Workspace {
    /// Asks `cargo metadata`, without resolving foreign crates.
    ///
    /// # Errors
    /// When cargo cannot read the workspace.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("cargo metadata failed")?;
        let own: BTreeSet<_> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
        let mut crates = metadata
            .packages
            .iter()
            .map(|package| describe(package, metadata.workspace_root.as_std_path(), &own))
            .collect::<anyhow::Result<Vec<_>>>()?;
        crates.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(Self { root: root.to_owned(), crates })
    }
}

fn describe(package: &Package, root: &Path, own: &BTreeSet<String>) -> anyhow::Result<Crate> {
    let folder = package.manifest_path.parent().context("a manifest has a folder")?;
    let folder = folder.as_std_path().strip_prefix(root).context("a crate is outside the root")?;
    let (mut product, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for dependency in package.dependencies.iter().filter(|d| own.contains(&d.name)) {
        let side = match dependency.kind {
            DependencyKind::Development => &mut tests,
            _ => &mut product,
        };
        side.insert(dependency.name.clone());
    }
    Ok(Crate {
        name: package.name.to_string(),
        folder: folder.to_string_lossy().replace('\\', "/"),
        product,
        tests,
    })
}
