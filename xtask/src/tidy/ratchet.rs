//! The ratchet: exceptions from the size limits, which may only shrink and go away.
//!
//! `xtask/ratchet.toml` holds them: `[files]` maps a path, `[functions]` maps `path::name`, to the
//! most lines it may have. It is meant to be empty.

use super::Fault;
use anyhow::Context as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Where the exceptions stand.
pub const FILE: &str = "xtask/ratchet.toml";

/// The exceptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ratchet {
    allowed: BTreeMap<String, usize>,
    used: BTreeSet<String>,
}

impl Ratchet {
    /// Reads the exceptions; without the file there are none.
    ///
    /// # Errors
    /// When the file is malformed.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        match std::fs::read_to_string(root.join(FILE)) {
            Ok(text) => Self::parse(&text).context(FILE),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context(FILE),
        }
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let table: toml::Table = text.parse()?;
        let mut allowed = BTreeMap::new();
        for (section, entries) in &table {
            anyhow::ensure!(
                ["files", "functions"].contains(&section.as_str()),
                "unknown {section}"
            );
            for (name, lines) in entries.as_table().context("a section is a table")? {
                let lines = lines.as_integer().and_then(|lines| usize::try_from(lines).ok());
                allowed.insert(name.clone(), lines.context("an exception is a number of lines")?);
            }
        }
        Ok(Self { allowed, used: BTreeSet::new() })
    }

    /// Judges something of `lines` lines under `limit`. The fault tells what is wrong, if anything is.
    pub fn judge(&mut self, name: &str, lines: usize, limit: usize) -> Option<(String, String)> {
        let allowed = self.allowed.get(name).copied();
        if allowed.is_some() {
            self.used.insert(name.to_owned());
        }
        match allowed {
            None if lines <= limit => None,
            None => Some((
                format!("{lines} lines, at most {limit}"),
                "split it along a noun; the limit is for new and for changed code".to_owned(),
            )),
            Some(_) if lines <= limit => Some((
                format!("within the limit of {limit} now"),
                format!("remove `{name}` from {FILE}"),
            )),
            Some(most) if lines > most => Some((
                format!("{lines} lines, grown beyond its exception of {most}"),
                "split it; exceptions only shrink".to_owned(),
            )),
            Some(most) if lines < most => Some((
                format!("{lines} lines, shorter than its exception of {most}"),
                format!("lower `{name}` to {lines} in {FILE}"),
            )),
            Some(_) => None,
        }
    }

    /// Exceptions of what is no longer there.
    pub fn leftovers(&self) -> Vec<Fault> {
        self.allowed
            .keys()
            .filter(|name| !self.used.contains(*name))
            .map(|name| Fault::new(FILE, format!("`{name}` is not there"), "remove the line"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_only_shrink() {
        let mut ratchet =
            Ratchet::parse("[functions]\n\"a.rs::f\" = 90\n\"a.rs::g\" = 80").unwrap();
        assert!(ratchet.judge("b.rs::h", 71, 70).is_some());
        assert!(ratchet.judge("b.rs::h", 70, 70).is_none());
        assert!(ratchet.judge("a.rs::f", 90, 70).is_none());
        assert!(ratchet.judge("a.rs::f", 91, 70).unwrap().0.contains("grown"));
        assert!(ratchet.judge("a.rs::f", 89, 70).unwrap().1.contains("lower"));
        assert!(ratchet.judge("a.rs::f", 70, 70).unwrap().1.contains("remove"));
        assert_eq!(ratchet.leftovers().len(), 1);
    }

    #[test]
    fn malformed_exceptions_are_errors() {
        assert!(Ratchet::parse("[files]\nx = \"many\"").is_err());
        assert!(Ratchet::parse("[other]\nx = 1").is_err());
    }
}
