//! The device key at rest: an Ed25519 seed in an Ethereum keystore (version 3: scrypt, AES-128-CTR,
//! keccak MAC), so that any tool which opens keystores can restore it.
//!
//! A file appears whole or not at all, and is readable by its owner alone. Seeds that are no
//! secp256k1 scalars (fewer than one in 2^127) are not used, because keystore tools refuse them.

use alloy_signer::k256::elliptic_curve::rand_core::{OsRng, RngCore};
use alloy_signer_local::PrivateKeySigner;
use protocol::key::DeviceSecret;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// Why a key cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file exists already and is not overwritten.
    #[error("{0} exists already; a device key is never overwritten")]
    Exists(PathBuf),
    /// There is no such file.
    #[error("no keystore at {0}")]
    Missing(PathBuf),
    /// The passphrase is wrong, or the file is not a keystore.
    #[error("failed to open {path}: {reason}; is the passphrase right?")]
    Locked {
        /// The file.
        path: PathBuf,
        /// What the keystore library says.
        reason: String,
    },
    /// The seed cannot be stored in a keystore.
    #[error("this seed cannot be kept in a keystore; make another key")]
    Seed,
    /// The file system refused.
    #[error("failed to write {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Makes a new device key and seals it at `path`.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn create(path: &Path, passphrase: &str) -> Result<DeviceSecret, KeystoreError> {
    let seed = loop {
        let mut seed = [0; 32];
        OsRng.fill_bytes(&mut seed);
        if PrivateKeySigner::from_slice(&seed).is_ok() {
            break seed;
        }
    };
    let secret = DeviceSecret::from_seed(seed);
    seal(path, &secret, passphrase)?;
    Ok(secret)
}

/// Seals `secret` at `path`.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn seal(path: &Path, secret: &DeviceSecret, passphrase: &str) -> Result<(), KeystoreError> {
    if path.exists() {
        return Err(KeystoreError::Exists(path.to_owned()));
    }
    let io = |source| KeystoreError::Io { path: path.to_owned(), source };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Err(io(std::io::ErrorKind::InvalidInput.into()));
    };
    fs::create_dir_all(folder).map_err(io)?;
    let draft = format!(".{name}.new");
    PrivateKeySigner::encrypt_keystore(folder, &mut OsRng, secret.seed(), passphrase, Some(&draft))
        .map_err(|_| KeystoreError::Seed)?;
    let draft = folder.join(draft);
    owner_only(&draft).map_err(io)?;
    File::open(&draft).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&draft, path).map_err(io)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Opens the key sealed at `path`.
///
/// # Errors
/// When there is no such file, or the passphrase is wrong.
pub fn open(path: &Path, passphrase: &str) -> Result<DeviceSecret, KeystoreError> {
    if !path.exists() {
        return Err(KeystoreError::Missing(path.to_owned()));
    }
    let signer = PrivateKeySigner::decrypt_keystore(path, passphrase).map_err(|error| {
        KeystoreError::Locked { path: path.to_owned(), reason: error.to_string() }
    })?;
    Ok(DeviceSecret::from_seed(signer.to_bytes().0))
}

/// Opens the key at `path`, or makes one when there is none.
///
/// # Errors
/// As [`open`] and [`create`].
pub fn open_or_create(path: &Path, passphrase: &str) -> Result<DeviceSecret, KeystoreError> {
    match open(path, passphrase) {
        Err(KeystoreError::Missing(_)) => create(path, passphrase),
        opened => opened,
    }
}

#[cfg(unix)]
fn owner_only(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn owner_only(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/device.json");
        assert!(matches!(open(&path, "a"), Err(KeystoreError::Missing(_))));
        let made = open_or_create(&path, "correct horse").unwrap();
        let again = open_or_create(&path, "correct horse").unwrap();
        assert_eq!(made.id(), again.id());
        assert!(matches!(open(&path, "wrong"), Err(KeystoreError::Locked { .. })));
        assert!(matches!(create(&path, "other"), Err(KeystoreError::Exists(_))));

        let text = fs::read_to_string(&path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["version"], 3);
        assert_eq!(json["crypto"]["kdf"], "scrypt");
        let seed: String = made.seed().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!text.contains(&seed));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_seed_that_keystore_tools_refuse_is_refused_here() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.json");
        let odd = DeviceSecret::from_seed([0xff; 32]);
        assert!(matches!(seal(&path, &odd, "p"), Err(KeystoreError::Seed)));
        assert!(!path.exists());
    }
}
