//! Sources: sizes, module documents, forbidden words and names.

use super::{
    Fault,
    measure::{Measure, measure},
    ratchet::Ratchet,
};
use crate::workspace::Workspace;
use anyhow::Context as _;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The most product lines of a file.
pub const FILE_LINES_MAX: usize = 600;
/// The most lines of a function.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Words that say "not finished" or "not deterministic". Written so that they do not stand here.
const WORDS: &[(&str, &str)] = &[
    (concat!("to", "do!"), "finish it"),
    (concat!("unimple", "mented!"), "finish it, or make the case impossible by type"),
    (concat!("FIX", "ME"), "mend it, or explain why it is so"),
    (concat!("TO", "DO"), "do it, or explain why it is so"),
    (concat!("XX", "X:"), "mend it, or explain why it is so"),
];
/// Endings of names that say nothing.
const NAMES: &[&str] =
    &["Manager", "Helper", "Helpers", "Util", "Utils", "util", "utils", "helpers"];

/// One source file.
#[derive(Debug)]
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
    measure: Measure,
}

/// Checks the sources of all crates.
///
/// # Errors
/// When a file cannot be read or is no Rust.
pub fn check(workspace: &Workspace) -> anyhow::Result<Vec<Fault>> {
    let mut sources = Vec::new();
    for one in &workspace.crates {
        for path in rust_files(&workspace.root.join(&one.folder))? {
            sources.push(read(&workspace.root, &path)?);
        }
    }
    let test_places = test_places(&sources);
    let mut ratchet = Ratchet::read(&workspace.root)?;
    let mut faults = Vec::new();
    for source in &sources {
        if !source.path.ends_with("/tests.rs") {
            faults.extend(opening(source));
        }
        faults.extend(words(source));
        if !is_test(&source.path, &test_places) {
            faults.extend(sizes(source, &mut ratchet));
            faults.extend(names(source));
        }
    }
    faults.extend(ratchet.leftovers());
    Ok(faults)
}

/// Whether any source under `folder` contains `word` as a whole word.
///
/// # Errors
/// When a file cannot be read.
pub fn mentions(folder: &Path, word: &str) -> anyhow::Result<bool> {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    for path in rust_files(folder)? {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if text.split(|c| !letter(c)).any(|part| part == word) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(root: &Path, path: &Path) -> anyhow::Result<Source> {
    let relative = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
    let text = std::fs::read_to_string(path).context(relative.clone())?;
    let measure = measure(&text)
        .with_context(|| format!("{relative} is no Rust that this tool can parse"))?;
    Ok(Source { path: relative, text, measure })
}

/// All Rust files under `folder`, sorted, hidden folders and build output left out.
fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                open.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Where modules that are compiled for tests only live, as paths without their ending.
fn test_places(sources: &[Source]) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for source in sources {
        let stem = source.path.trim_end_matches(".rs");
        let (parent, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let home = if ["lib", "main", "mod"].contains(&name) { parent } else { stem };
        places.extend(source.measure.test_modules.iter().map(|module| format!("{home}/{module}")));
    }
    places
}

fn is_test(path: &str, places: &BTreeSet<String>) -> bool {
    let by_name = path.ends_with("/tests.rs")
        || path.split('/').any(|part| ["tests", "benches", "examples", "fuzz"].contains(&part));
    let within = |place: &String| {
        path.strip_prefix(place.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    };
    by_name || places.iter().any(within)
}

fn opening(source: &Source) -> Option<Fault> {
    let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    (!first.starts_with("//!")).then(|| {
        Fault::new(
            &source.path,
            "the module does not open with `//!`",
            "say in its first lines what it is for, its rules and its invariants",
        )
    })
}

fn words(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for (word, mend) in WORDS.iter().filter(|(word, _)| line.contains(word)) {
            faults.push(Fault::new(&source.path, format!("`{word}`"), *mend).at(number + 1));
        }
    }
    faults
}

fn sizes(source: &Source, ratchet: &mut Ratchet) -> Vec<Fault> {
    let mut faults = Vec::new();
    let lines = source.measure.product_lines;
    if let Some((wrong, mend)) = ratchet.judge(&source.path, lines, FILE_LINES_MAX) {
        faults.push(Fault::new(&source.path, format!("product code: {wrong}"), mend));
    }
    for function in &source.measure.functions {
        let name = format!("{}::{}", source.path, function.name);
        if let Some((wrong, mend)) = ratchet.judge(&name, function.lines, FUNCTION_LINES_MAX) {
            let wrong = format!("function `{}`: {wrong}", function.name);
            faults.push(Fault::new(&source.path, wrong, mend).at(function.line));
        }
    }
    faults
}

fn names(source: &Source) -> Vec<Fault> {
    let empty = |name: &str| NAMES.iter().any(|ending| name.ends_with(ending));
    source
        .measure
        .names
        .iter()
        .filter(|(name, _)| empty(name))
        .map(|(name, line)| {
            let wrong = format!("the name `{name}` says nothing");
            Fault::new(&source.path, wrong, "name the thing after what it is").at(*line)
        })
        .collect()
}

#[cfg(test)]
mod tests;
