//! `wayleave key`: keys as Ethereum keystores (version 3), which other wallets read.
//!
//! Passphrases come from the environment and secrets from standard input, never from arguments, which
//! other users of the machine could see. No command prints a secret.

use crate::{cli::Key, out};
use alloy_signer::k256::elliptic_curve::rand_core::OsRng;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, bail};
use serde_json::json;
use std::{io::Read as _, path::Path};

/// The variable that holds the passphrase of keystores.
const PASSPHRASE: &str = "WAYLEAVE_PASSPHRASE";
/// The variable that holds the passphrase of an exported keystore.
const NEW_PASSPHRASE: &str = "WAYLEAVE_NEW_PASSPHRASE";

/// Runs a key command.
pub(crate) fn run(key: &Key, json: bool) -> anyhow::Result<()> {
    match key {
        Key::New { file } => write(file, &PrivateKeySigner::random(), PASSPHRASE, json),
        Key::Show { file } => show(file, &read(file)?, json),
        Key::Export { file, to } => write(to, &read(file)?, NEW_PASSPHRASE, json),
        Key::Restore { file } => {
            let mut text = String::new();
            std::io::stdin().take(1024).read_to_string(&mut text).context("reading the secret")?;
            let signer = text.trim().parse().map_err(|_| {
                anyhow::anyhow!("standard input is no secret of 64 hexadecimal digits")
            })?;
            write(file, &signer, PASSPHRASE, json)
        }
    }
}

/// Opens a keystore with the passphrase from the environment.
pub(crate) fn read(file: &Path) -> anyhow::Result<PrivateKeySigner> {
    if !file.exists() {
        bail!("no keystore at {}: make one with `wayleave key new {0}`", file.display());
    }
    PrivateKeySigner::decrypt_keystore(file, passphrase_in(PASSPHRASE)?)
        .with_context(|| format!("opening {} (is {PASSPHRASE} its passphrase?)", file.display()))
}

/// Opens a keystore, or makes one with a new key.
pub(crate) fn open_or_create(file: &Path) -> anyhow::Result<PrivateKeySigner> {
    if !file.exists() {
        write(file, &PrivateKeySigner::random(), PASSPHRASE, false)?;
    }
    read(file)
}

fn write(file: &Path, signer: &PrivateKeySigner, variable: &str, json: bool) -> anyhow::Result<()> {
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
        passphrase_in(variable)?,
        Some(name),
    )
    .with_context(|| format!("writing {}", file.display()))?;
    private(file)?;
    show(file, signer, json)
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

/// The passphrase of keystores.
pub(crate) fn passphrase() -> anyhow::Result<String> {
    passphrase_in(PASSPHRASE)
}

fn passphrase_in(variable: &str) -> anyhow::Result<String> {
    match std::env::var(variable) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => bail!("set {variable} to the keystore's passphrase"),
    }
}

fn show(file: &Path, signer: &PrivateKeySigner, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(&json!({ "file": file, "account": signer.address() }));
    }
    out::line(format!("account {} in {}", signer.address(), file.display()));
    Ok(())
}
