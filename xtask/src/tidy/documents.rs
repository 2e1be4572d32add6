//! Documents: the map names every crate, and whatever a document names exists.
//!
//! Checked in ARCHITECTURE.md: every crate's folder stands there in backticks; every path in backticks
//! (it has a `/` and no leading one) exists; every `crate_name::…::Item` names a word that the crate's
//! sources contain; and the file keeps its limit. Checked in all documents: relative links.

use super::{Fault, sources};
use crate::workspace::{Crate, Workspace};
use anyhow::Context as _;
use std::path::Path;

const MAP: &str = "ARCHITECTURE.md";
/// The map is short or nobody reads it.
const MAP_LINES_MAX: usize = 199;

/// Checks the map and all documents.
///
/// # Errors
/// When a document cannot be read.
pub fn check(workspace: &Workspace) -> anyhow::Result<Vec<Fault>> {
    let root = &workspace.root;
    let map = std::fs::read_to_string(root.join(MAP)).context(MAP)?;
    let mut faults = unnamed(&map, &workspace.crates);
    faults.extend(paths(&map, root));
    faults.extend(items(&map, workspace)?);
    if map.lines().count() > MAP_LINES_MAX {
        let wrong = format!("over {MAP_LINES_MAX} lines");
        faults.push(Fault::new(MAP, wrong, "move detail to the module it is about"));
    }
    for path in documents(root)? {
        let text = std::fs::read_to_string(root.join(&path)).context(path.clone())?;
        faults.extend(links(&path, &text, root));
    }
    Ok(faults)
}

/// The Markdown files of the root and of `docs` and `vectors`.
fn documents(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in ["", "docs", "vectors"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".md") {
                found.push(if folder.is_empty() { name } else { format!("{folder}/{name}") });
            }
        }
    }
    found.sort();
    Ok(found)
}

fn unnamed(map: &str, crates: &[Crate]) -> Vec<Fault> {
    let named = |folder: &str| {
        map.contains(&format!("`{folder}`")) || map.contains(&format!("`{folder}/`"))
    };
    crates
        .iter()
        .filter(|one| !named(&one.folder))
        .map(|one| {
            let wrong = format!("crate `{}` is not on the map", one.folder);
            Fault::new(MAP, wrong, format!("add a row for `{}/`: one sentence", one.folder))
        })
        .collect()
}

fn paths(map: &str, root: &Path) -> Vec<Fault> {
    quoted(map)
        .filter(|(_, word)| looks_like_path(word))
        .filter(|(_, word)| !root.join(word).exists())
        .map(|(line, word)| {
            Fault::new(MAP, format!("`{word}` does not exist"), "correct or remove it").at(line)
        })
        .collect()
}

fn items(map: &str, workspace: &Workspace) -> anyhow::Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for (line, word) in quoted(map) {
        let Some((first, rest)) = word.split_once("::") else { continue };
        let name = rest.rsplit("::").next().unwrap_or(rest);
        let owner = workspace.crates.iter().find(|one| one.name.replace('-', "_") == first);
        let Some(owner) = owner else { continue };
        if !sources::mentions(&workspace.root.join(&owner.folder).join("src"), name)? {
            let wrong = format!("`{word}`: nothing in `{}` is called `{name}`", owner.folder);
            faults.push(Fault::new(MAP, wrong, "name what the code calls it").at(line));
        }
    }
    Ok(faults)
}

fn links(path: &str, text: &str, root: &Path) -> Vec<Fault> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains(':') && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or(target);
            if !root.join(folder).join(file).exists() {
                let wrong = format!("the link to `{target}` is dead");
                faults.push(Fault::new(path, wrong, "correct or remove it").at(number + 1));
            }
        }
    }
    faults
}

/// The words in backticks outside of fenced blocks, with their lines from 1.
fn quoted(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines()
        .enumerate()
        .filter(move |(_, line)| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
        .flat_map(|(number, line)| {
            line.split('`').skip(1).step_by(2).map(move |word| (number + 1, word))
        })
}

fn looks_like_path(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    word.contains('/') && !word.starts_with('/') && word.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_backticks_are_found_outside_of_fences() {
        let text = "a `one/two` b `three`\n```\n`four/five`\n```\n`six/`";
        let words: Vec<_> = quoted(text).collect();
        assert_eq!(words, [(1, "one/two"), (1, "three"), (5, "six/")]);
    }

    #[test]
    fn only_paths_look_like_paths() {
        assert!(looks_like_path("ledger/client") && looks_like_path("docs/design.md"));
        assert!(!looks_like_path("/v1/evidence") && !looks_like_path("(chain, epoch)/x"));
        assert!(!looks_like_path("protocol"));
    }

    #[test]
    fn dead_paths_and_links_are_named_with_their_lines() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("alive.md"), "").unwrap();
        let faults = paths("`gone/file.rs`", root.path());
        assert_eq!((faults.len(), faults[0].line), (1, 1));
        let text = "[a](alive.md#part) [b](https://example.org)\n[c](gone.md)";
        let faults = links("x.md", text, root.path());
        assert_eq!((faults.len(), faults[0].line), (1, 2));
    }

    #[test]
    fn a_crate_off_the_map_is_named() {
        let one = Crate {
            name: "client".to_owned(),
            folder: "ledger/client".to_owned(),
            product: Default::default(),
            tests: Default::default(),
        };
        assert_eq!(unnamed("the `ledger/client/` talks", std::slice::from_ref(&one)), []);
        assert_eq!(unnamed("the client talks", &[one]).len(), 1);
    }
}
