//! `wayleave key`: keys as Ethereum keystores (version 3), which other wallets read.
//!
//! Secrets come from standard input, never from arguments, which other users of the machine could see. No
//! command prints a secret.

use crate::{cli::Key, out, passphrase::Passphrase};
use agent::keystore;
use alloy_signer::k256::elliptic_curve::rand_core::OsRng;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, bail};
use serde_json::json;
use std::{io::Read as _, path::Path};

/// The variable that holds the passphrase of an exported keystore.
const NEW_PASSPHRASE: &str = "WAYLEAVE_NEW_PASSPHRASE";

/// Runs a key command.
pub(crate) fn run(key: &Key, json: bool) -> anyhow::Result<()> {
    match key {
        Key::New { file, passphrase } => {
            write(file, &PrivateKeySigner::random(), &passphrase.choose()?, json)
        }
        Key::Show { file, passphrase } => show(file, &read(file, passphrase)?, json),
        Key::Export { file, to, passphrase } => {
            let signer = read(file, passphrase)?;
            write(to, &signer, &new_passphrase()?, json)
        }
        Key::Restore { file, passphrase } => {
            let mut text = String::new();
            std::io::stdin().take(1024).read_to_string(&mut text).context("reading the secret")?;
            let signer = text.trim().parse().map_err(|_| {
                anyhow::anyhow!("standard input is no secret of 64 hexadecimal digits")
            })?;
            write(file, &signer, &passphrase.choose()?, json)
        }
    }
}

/// Opens a keystore.
pub(crate) fn read(file: &Path, passphrase: &Passphrase) -> anyhow::Result<PrivateKeySigner> {
    there(file)?;
    open(file, &passphrase.read()?)
}

/// Opens a keystore whose passphrase is known.
pub(crate) fn open(file: &Path, passphrase: &str) -> anyhow::Result<PrivateKeySigner> {
    there(file)?;
    Ok(keystore::open_signer(file, passphrase)?)
}

fn there(file: &Path) -> anyhow::Result<()> {
    if !file.exists() {
        bail!("no keystore at {}: make one with `wayleave key new {0}`", file.display());
    }
    Ok(())
}

/// Opens a keystore, or makes one with a new key.
pub(crate) fn open_or_create(file: &Path, passphrase: &str) -> anyhow::Result<PrivateKeySigner> {
    if !file.exists() {
        write(file, &PrivateKeySigner::random(), passphrase, false)?;
    }
    open(file, passphrase)
}

fn write(
    file: &Path,
    signer: &PrivateKeySigner,
    passphrase: &str,
    json: bool,
) -> anyhow::Result<()> {
    seal(file, signer, passphrase)?;
    show(file, signer, json)
}

/// Writes a new keystore that its owner alone may read.
pub(crate) fn seal(file: &Path, signer: &PrivateKeySigner, passphrase: &str) -> anyhow::Result<()> {
    if file.exists() {
        bail!("{} exists and is not overwritten: choose another file", file.display());
    }
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{} is no file name", file.display()))?;
    PrivateKeySigner::encrypt_keystore(
        folder,
        &mut OsRng,
        signer.to_bytes(),
        passphrase,
        Some(name),
    )
    .with_context(|| format!("writing {}", file.display()))?;
    private(file)
}

#[cfg(unix)]
fn private(file: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))?)
}

#[cfg(not(unix))]
fn private(_: &Path) -> anyhow::Result<()> {
    Ok(())
}

/// The passphrase of an exported keystore.
fn new_passphrase() -> anyhow::Result<String> {
    match std::env::var(NEW_PASSPHRASE) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => bail!("set {NEW_PASSPHRASE} to the new keystore's passphrase"),
    }
}

fn show(file: &Path, signer: &PrivateKeySigner, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(&json!({ "file": file, "account": signer.address() }));
    }
    out::line(format!("account {} in {}", signer.address(), file.display()));
    Ok(())
}
