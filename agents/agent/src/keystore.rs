//! The device key at rest: an Ed25519 seed in an Ethereum keystore (version 3: scrypt, AES-128-CTR,
//! keccak MAC), so that any tool which opens keystores can restore it.
//!
//! A file appears whole or not at all, and is readable by its owner alone. Seeds that are no
//! secp256k1 scalars (fewer than one in 2^127) are not used, because keystore tools refuse them.
//!
//! The library that opens keystores takes lengths in the file on trust and panics over wrong ones, and does
//! whatever work the file asks for: so [`check`] looks at a file before it is opened.

use alloy_signer::k256::elliptic_curve::rand_core::{OsRng, RngCore};
use alloy_signer_local::PrivateKeySigner;
use protocol::key::DeviceSecret;
use serde::Deserialize;
use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
    path::{Path, PathBuf},
};

/// The longest file that is opened, bytes; one has some 500.
const FILE_MAX: usize = 16 << 10;
/// Blocks of 128 bytes that scrypt may keep: a GiB.
const SCRYPT_BLOCKS_MAX: u64 = 1 << 23;
/// Blocks that scrypt may work through.
const SCRYPT_WORK_MAX: u64 = 1 << 26;
/// Rounds of PBKDF2.
const ROUNDS_MAX: u64 = 10_000_000;

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
    /// The file cannot be a keystore, whatever the passphrase.
    #[error("{path} is no keystore (version 3) or is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: Flaw,
    },
    /// The file cannot be read.
    #[error("failed to read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
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

/// Why a file is no keystore that could be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is too long.
    #[error("it has more than {FILE_MAX} bytes")]
    Long,
    /// It is not JSON of that form.
    #[error("{0}")]
    Json(String),
    /// The key that it derives, or the start of its cipher, has another length.
    #[error("a length in it is wrong")]
    Length,
    /// Deriving the key would take more memory or work than any tool asks for.
    #[error("it asks for more work than this program does for a key")]
    Work,
}

#[derive(Deserialize)]
struct Shape {
    crypto: Crypto,
}

#[derive(Deserialize)]
struct Crypto {
    cipherparams: Cipher,
    kdfparams: Derivation,
}

#[derive(Deserialize)]
struct Cipher {
    iv: String,
}

/// Of scrypt (`n`, `r`, `p`) or PBKDF2 (`c`); what is not needed may be there all the same.
#[derive(Deserialize)]
struct Derivation {
    dklen: u64,
    n: Option<u64>,
    r: Option<u64>,
    p: Option<u64>,
    c: Option<u64>,
}

impl Derivation {
    /// Whether deriving takes no more memory and work than is allowed.
    fn is_bounded(&self) -> bool {
        let (n, r, p) = (self.n.unwrap_or(2), self.r.unwrap_or(1), self.p.unwrap_or(1));
        let blocks = n.checked_mul(r).filter(|blocks| *blocks <= SCRYPT_BLOCKS_MAX);
        let work = blocks.and_then(|blocks| blocks.checked_mul(p));
        n.is_power_of_two()
            && n > 1
            && work.is_some_and(|work| work <= SCRYPT_WORK_MAX)
            && self.c.unwrap_or(1) <= ROUNDS_MAX
    }
}

/// Looks at the bytes of a keystore, without its passphrase.
///
/// # Errors
/// Why it could not be opened with any.
pub fn check(file: &[u8]) -> Result<(), Flaw> {
    if file.len() > FILE_MAX {
        return Err(Flaw::Long);
    }
    let Shape { crypto } =
        serde_json::from_slice(file).map_err(|error| Flaw::Json(error.to_string()))?;
    if crypto.kdfparams.dklen != 32 || crypto.cipherparams.iv.len() != 32 {
        return Err(Flaw::Length);
    }
    if crypto.kdfparams.is_bounded() { Ok(()) } else { Err(Flaw::Work) }
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
    Ok(DeviceSecret::from_seed(open_signer(path, passphrase)?.to_bytes().0))
}

/// Opens the key of an Ethereum account sealed at `path`.
///
/// # Errors
/// As [`open`].
pub fn open_signer(path: &Path, passphrase: &str) -> Result<PrivateKeySigner, KeystoreError> {
    let owned = || path.to_owned();
    // A little more than is allowed is read, and refused.
    let most = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut file = Vec::new();
    match File::open(path).and_then(|opened| opened.take(most).read_to_end(&mut file)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(KeystoreError::Missing(owned()));
        }
        Err(source) => return Err(KeystoreError::Unreadable { path: owned(), source }),
        Ok(_) => {}
    }
    check(&file).map_err(|why| KeystoreError::Damaged { path: owned(), why })?;
    PrivateKeySigner::decrypt_keystore(path, passphrase)
        .map_err(|error| KeystoreError::Locked { path: owned(), reason: error.to_string() })
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
    fn a_damaged_keystore_is_refused_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.json");
        create(&path, "p").unwrap();
        let whole: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for (place, bad, flaw) in [
            ("/crypto/cipherparams/iv", serde_json::json!("76f0"), Flaw::Length),
            ("/crypto/kdfparams/dklen", serde_json::json!(8), Flaw::Length),
            ("/crypto/kdfparams/n", serde_json::json!(1u32 << 31), Flaw::Work),
            ("/crypto/kdfparams/n", serde_json::json!(0), Flaw::Work),
            ("/crypto/kdfparams/p", serde_json::json!(1u32 << 20), Flaw::Work),
        ] {
            let mut damaged = whole.clone();
            *damaged.pointer_mut(place).unwrap() = bad;
            fs::write(&path, damaged.to_string()).unwrap();
            let refused = open(&path, "p").unwrap_err();
            assert!(
                matches!(&refused, KeystoreError::Damaged { why, .. } if *why == flaw),
                "{place}: {refused}"
            );
        }
        fs::write(&path, vec![b' '; FILE_MAX + 1]).unwrap();
        assert!(matches!(open(&path, "p"), Err(KeystoreError::Damaged { why: Flaw::Long, .. })));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(open(&path, "p"), Err(KeystoreError::Damaged { why: Flaw::Json(_), .. })));
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
