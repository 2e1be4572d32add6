//! Where passphrases of keystores come from: a file, the environment, or the terminal. Never from
//! arguments, which other users of the machine could see.

use anyhow::{Context as _, bail};
use clap::Args;
use std::{
    fs::File,
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// The variable that holds the passphrase of keystores.
const VARIABLE: &str = "WAYLEAVE_PASSPHRASE";
/// The longest passphrase, in bytes.
const LENGTH_MAX: usize = 1024;

/// The options of a command that opens or makes keystores.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Passphrase {
    /// Read the keystore's passphrase from this file instead of WAYLEAVE_PASSPHRASE or the terminal.
    #[arg(long = "passphrase-file", id = "passphrase_file", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Passphrase {
    /// The passphrase of a keystore that is there.
    pub(crate) fn read(&self) -> anyhow::Result<String> {
        match self.given()? {
            Some(text) => Ok(text),
            None => ask("Passphrase: "),
        }
    }

    /// The passphrase for a new keystore; the terminal is asked twice.
    pub(crate) fn choose(&self) -> anyhow::Result<String> {
        if let Some(text) = self.given()? {
            return Ok(text);
        }
        let first = ask("New passphrase: ")?;
        if ask("The same again: ")? != first {
            bail!("the two passphrases differ; nothing was written");
        }
        Ok(first)
    }

    fn given(&self) -> anyhow::Result<Option<String>> {
        if let Some(file) = &self.file {
            return from_file(file).map(Some);
        }
        Ok(std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()))
    }
}

/// The first line of a file.
fn from_file(file: &Path) -> anyhow::Result<String> {
    let context = || format!("reading the passphrase from {}", file.display());
    let limit = u64::try_from(LENGTH_MAX + 2).unwrap_or(u64::MAX);
    let mut line = String::new();
    let source = File::open(file).with_context(context)?.take(limit);
    io::BufReader::new(source).read_line(&mut line).with_context(context)?;
    checked(&line).with_context(context)
}

/// Asks the terminal, without showing what is typed.
fn ask(prompt: &str) -> anyhow::Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!("no passphrase: set {VARIABLE}, or give --passphrase-file FILE");
    }
    let mut out = io::stderr();
    write!(out, "{prompt}")?;
    out.flush()?;
    let mut line = String::new();
    let hidden = Hidden::begin();
    let read = stdin.lock().read_line(&mut line);
    drop(hidden);
    writeln!(out)?;
    read.context("reading the passphrase")?;
    checked(&line)
}

/// A passphrase without its line's end.
fn checked(line: &str) -> anyhow::Result<String> {
    let text = line.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("the passphrase is empty");
    }
    if text.len() > LENGTH_MAX {
        bail!("the passphrase is longer than {LENGTH_MAX} bytes");
    }
    Ok(text.to_owned())
}

/// A terminal that does not show what is typed until this is dropped.
#[cfg(unix)]
struct Hidden(Option<rustix::termios::Termios>);

#[cfg(unix)]
impl Hidden {
    fn begin() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let Ok(before) = tcgetattr(io::stdin()) else { return Self(None) };
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        let set = tcsetattr(io::stdin(), OptionalActions::Flush, &modes);
        Self(set.is_ok().then_some(before))
    }
}

#[cfg(unix)]
impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let now = rustix::termios::OptionalActions::Now;
            // A terminal that is gone shows nothing.
            let _ = rustix::termios::tcsetattr(io::stdin(), now, before);
        }
    }
}

/// A terminal that does not show what is typed until this is dropped.
#[cfg(not(unix))]
struct Hidden;

#[cfg(not(unix))]
impl Hidden {
    fn begin() -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passphrase");
        let passphrase = Passphrase { file: Some(file.clone()) };
        std::fs::write(&file, "correct horse \r\nsecond line\n").unwrap();
        assert_eq!(passphrase.read().unwrap(), "correct horse ");
        assert_eq!(passphrase.choose().unwrap(), "correct horse ");
        for bad in [String::new(), "\n".into(), "x".repeat(LENGTH_MAX + 1)] {
            std::fs::write(&file, bad).unwrap();
            assert!(passphrase.read().is_err());
        }
        std::fs::remove_file(&file).unwrap();
        let missing = format!("{:#}", passphrase.read().unwrap_err());
        assert!(missing.contains(file.to_str().unwrap()), "{missing}");
    }
}
