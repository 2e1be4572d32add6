//! Documents generated from the code. What is checked in must be what the code says now.

use super::Fault;
use anyhow::Context as _;
use protocol::reason::{Effect, Reason};
use std::{fmt::Write as _, path::Path};

/// A generated document.
#[derive(Debug)]
struct Document {
    path: &'static str,
    make: fn() -> String,
}

/// Every generated document.
const DOCUMENTS: &[Document] = &[Document { path: "docs/reasons.md", make: reasons }];

/// Checks that all generated documents are up to date.
///
/// # Errors
/// When a document exists and cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for Document { path, make } in DOCUMENTS {
        let present = match std::fs::read_to_string(root.join(path)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            text => text.context(*path)?,
        };
        if present != make() {
            faults.push(Fault::new(
                *path,
                "is not what the code says",
                "run `cargo xtask generate` and read the difference",
            ));
        }
    }
    Ok(faults)
}

/// Writes all generated documents, and tells how many there are.
///
/// # Errors
/// When one cannot be written.
pub fn write(root: &Path) -> anyhow::Result<usize> {
    for Document { path, make } in DOCUMENTS {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().context("a document has a folder")?)?;
        std::fs::write(&path, make()).with_context(|| path.display().to_string())?;
    }
    Ok(DOCUMENTS.len())
}

/// The table of reasons, by effect.
fn reasons() -> String {
    let mut text = String::from(
        "# Reasons\n\n\
         Every refusal, unpaid unit and slash carries one of these codes: in statements, in answers to\n\
         agents, in `wayleave why` and wherever `--json` is given. Codes are stable; new ones are added,\n\
         none changes its meaning.\n\n\
         Generated from `protocol/src/reason.rs` by `cargo xtask generate`.\n",
    );
    for (effect, title) in [
        (Effect::Paid, "Paid: nothing was lost, the row is explained"),
        (Effect::Refused, "Refused: the evidence does not count, nothing else follows"),
        (Effect::Unpaid, "Unpaid: no pay, the stake is untouched"),
        (Effect::Slashed, "Slashed: stake was taken"),
    ] {
        let _ = write!(text, "\n## {title}\n\n| code | meaning |\n|---|---|\n");
        for reason in Reason::ALL.iter().filter(|reason| reason.effect() == effect) {
            let _ = writeln!(text, "| `{}` | {} |", reason.code(), reason.text());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_row() {
        let text = reasons();
        for reason in Reason::ALL {
            assert_eq!(text.matches(&format!("| `{}` |", reason.code())).count(), 1, "{reason}");
        }
    }

    #[test]
    fn a_stale_document_is_named() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(check(root.path()).unwrap().len(), DOCUMENTS.len());
        write(root.path()).unwrap();
        assert_eq!(check(root.path()).unwrap(), []);
    }
}
