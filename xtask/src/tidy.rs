//! The rules of the house, checked by a machine (CONTRIBUTING.md lists them for people).
//!
//! Each rule is a function from the workspace to [`Fault`]s; each fault names a file and what mends
//! it. A rule that nobody can break by accident is not worth a line here.

pub mod documents;
pub mod generated;
pub mod layers;
pub mod manifests;
pub mod measure;
pub mod ratchet;
pub mod sources;

use crate::workspace::Workspace;
use std::fmt;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, relative to the root.
    pub path: String,
    /// The line, or 0 for the whole file.
    pub line: usize,
    /// What is wrong.
    pub wrong: String,
    /// What mends it.
    pub mend: String,
}

impl Fault {
    /// A fault of a whole file.
    pub fn new(path: impl Into<String>, wrong: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { path: path.into(), line: 0, wrong: wrong.into(), mend: mend.into() }
    }

    /// The same fault at a line.
    pub fn at(mut self, line: usize) -> Self {
        self.line = line;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}\n  mend: {}", self.path, self.wrong, self.mend),
            line => write!(f, "{}:{line}: {}\n  mend: {}", self.path, self.wrong, self.mend),
        }
    }
}

/// Checks every rule.
///
/// # Errors
/// When a file cannot be read or parsed; a broken rule is not an error but a [`Fault`].
pub fn check(workspace: &Workspace) -> anyhow::Result<Vec<Fault>> {
    let mut faults = layers::check(&workspace.crates);
    faults.extend(manifests::check(workspace)?);
    faults.extend(documents::check(workspace)?);
    faults.extend(sources::check(workspace)?);
    faults.extend(generated::check(&workspace.root)?);
    Ok(faults)
}

#[cfg(test)]
mod tests;
