//! The service's secrets at rest: content key, mask key and S3 credentials, sealed in one file.
//!
//! The file is JSON: a version, the derivation of the sealing key from a passphrase
//! (PBKDF2-HMAC-SHA256, salt and count stated), a nonce and the secrets under AES-256-GCM. It is
//! written once, whole or not at all, and readable by its owner alone. Whoever loses it and its
//! passphrase loses all content; it is what has to be backed up.

use crate::codec::{ContentKeys, MaskKey, Secret};
use alloy_primitives::hex;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    pbkdf2,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use minicbor::{Decode, Encode};
use protocol::Digest;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    io::{self, Write as _},
    num::NonZeroU32,
    path::Path,
};

/// Rounds of PBKDF2 for new files (OWASP's figure for HMAC-SHA256).
const ITERATIONS: u32 = 600_000;
/// More rounds than this are not tried: a damaged file must not stall the service.
const ITERATIONS_MAX: u32 = 10_000_000;
const VERSION: u32 = 1;

/// What a client signs its requests with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the key.
    pub access_key: String,
    /// Never shown by `Debug`.
    pub secret_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.access_key)
    }
}

/// All secrets of a service.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Content and mask keys.
    pub content: ContentKeys,
    /// The S3 credentials.
    pub credentials: Credentials,
    /// The seed of the key by which agents know the service's endpoint.
    pub endpoint: Secret,
}

/// Why the keyring could not be opened or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file could not be read or written.
    #[error("keyring {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Not a keyring, or of another version.
    #[error("keyring is damaged or made by another version: {0}")]
    Format(String),
    /// The passphrase does not open it.
    #[error("the passphrase does not open the keyring, or it was altered")]
    Passphrase,
    /// The system gave no randomness.
    #[error("the system gives no random bytes")]
    Random,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    kdf: String,
    iterations: u32,
    salt: String,
    nonce: String,
    sealed: String,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Plain {
    #[cbor(n(0), with = "minicbor::bytes")]
    content: [u8; 32],
    #[cbor(n(1), with = "minicbor::bytes")]
    mask: [u8; 32],
    #[n(2)]
    access_key: String,
    #[n(3)]
    secret_key: String,
    #[cbor(n(4), with = "minicbor::bytes")]
    endpoint: [u8; 32],
}

/// Where the random bytes of a service come from: the ids of segments and uploads, and nonces.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    fn fill(&self, bytes: &mut [u8]) -> Result<(), KeyringError>;
}

/// The system's random bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Random for System {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), KeyringError> {
        SystemRandom::new().fill(bytes).map_err(|_| KeyringError::Random)
    }
}

/// An array of random bytes.
///
/// # Errors
/// [`KeyringError::Random`].
pub(crate) fn draw<const N: usize>(from: &dyn Random) -> Result<[u8; N], KeyringError> {
    let mut bytes = [0; N];
    from.fill(&mut bytes)?;
    Ok(bytes)
}

/// An array of random bytes of the system.
///
/// # Errors
/// [`KeyringError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], KeyringError> {
    draw(&System)
}

impl Keyring {
    /// Tells this keyring's content keys from others, and nothing about them.
    pub fn fingerprint(&self) -> Digest {
        let mut hasher =
            blake3::Hasher::new_derive_key("wayleave s3 2026 fingerprint of content keys");
        hasher.update(self.content.content.expose()).update(self.content.mask.expose());
        Digest(*hasher.finalize().as_bytes())
    }

    /// New secrets.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    pub fn generate() -> Result<Self, KeyringError> {
        let access: [u8; 8] = random()?;
        let secret: [u8; 30] = random()?;
        Ok(Self {
            content: ContentKeys {
                content: Secret::new(random()?),
                mask: MaskKey::new(Secret::new(random()?)),
            },
            credentials: Credentials {
                access_key: format!("WL{}", hex::encode_upper(access)),
                secret_key: URL_SAFE_NO_PAD.encode(secret),
            },
            endpoint: Secret::new(random()?),
        })
    }

    /// Opens the keyring at `path`, or makes one and writes it there.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn open(path: &Path, passphrase: &str) -> Result<Self, KeyringError> {
        match std::fs::read(path) {
            Ok(bytes) => Self::unseal(&bytes, passphrase),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let keyring = Self::generate()?;
                write(path, &keyring.seal(passphrase)?).map_err(|source| KeyringError::Io {
                    path: path.display().to_string(),
                    source,
                })?;
                Ok(keyring)
            }
            Err(source) => Err(KeyringError::Io { path: path.display().to_string(), source }),
        }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    pub fn seal(&self, passphrase: &str) -> Result<Vec<u8>, KeyringError> {
        self.seal_by(passphrase, ITERATIONS)
    }

    /// The file's bytes, with so many rounds between the passphrase and the key.
    pub(crate) fn seal_by(
        &self,
        passphrase: &str,
        iterations: u32,
    ) -> Result<Vec<u8>, KeyringError> {
        let salt: [u8; 32] = random()?;
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = self.to_plain()?;
        key(passphrase, &salt, iterations)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut sealed,
            )
            .map_err(|_| KeyringError::Random)?;
        let file = File {
            version: VERSION,
            kdf: "pbkdf2-hmac-sha256".into(),
            iterations,
            salt: hex::encode(salt),
            nonce: hex::encode(nonce),
            sealed: hex::encode(sealed),
        };
        serde_json::to_vec_pretty(&file).map_err(|error| KeyringError::Format(error.to_string()))
    }

    /// Opens a file's bytes.
    ///
    /// # Errors
    /// [`KeyringError::Format`], [`KeyringError::Passphrase`].
    pub fn unseal(bytes: &[u8], passphrase: &str) -> Result<Self, KeyringError> {
        let format = |what: &str| KeyringError::Format(what.to_owned());
        let file: File =
            serde_json::from_slice(bytes).map_err(|error| format(&error.to_string()))?;
        if file.version != VERSION || file.kdf != "pbkdf2-hmac-sha256" {
            return Err(format("unknown version or derivation"));
        }
        if file.iterations > ITERATIONS_MAX {
            return Err(format("too many iterations"));
        }
        let decode = |text: &str| hex::decode(text).map_err(|_| format("not hexadecimal"));
        let nonce = <[u8; NONCE_LEN]>::try_from(decode(&file.nonce)?.as_slice())
            .map_err(|_| format("the nonce has another length"))?;
        let mut sealed = decode(&file.sealed)?;
        let plain = key(passphrase, &decode(&file.salt)?, file.iterations)?
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .map_err(|_| KeyringError::Passphrase)?;
        Self::from_plain(plain)
    }

    /// What is sealed.
    pub(crate) fn to_plain(&self) -> Result<Vec<u8>, KeyringError> {
        minicbor::to_vec(Plain {
            content: *self.content.content.expose(),
            mask: *self.content.mask.expose(),
            access_key: self.credentials.access_key.clone(),
            secret_key: self.credentials.secret_key.clone(),
            endpoint: *self.endpoint.expose(),
        })
        .map_err(|error| KeyringError::Format(error.to_string()))
    }

    /// Reads what was sealed.
    pub(crate) fn from_plain(plain: &[u8]) -> Result<Self, KeyringError> {
        let plain: Plain =
            minicbor::decode(plain).map_err(|error| KeyringError::Format(error.to_string()))?;
        Ok(Self {
            content: ContentKeys {
                content: Secret::new(plain.content),
                mask: MaskKey::new(Secret::new(plain.mask)),
            },
            credentials: Credentials { access_key: plain.access_key, secret_key: plain.secret_key },
            endpoint: Secret::new(plain.endpoint),
        })
    }
}

fn key(passphrase: &str, salt: &[u8], iterations: u32) -> Result<LessSafeKey, KeyringError> {
    let rounds = NonZeroU32::new(iterations)
        .ok_or_else(|| KeyringError::Format("no iterations".to_owned()))?;
    let mut key = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, passphrase.as_bytes(), &mut key);
    let key = Secret::new(key);
    UnboundKey::new(&AES_256_GCM, key.expose())
        .map(LessSafeKey::new)
        .map_err(|_| KeyringError::Random)
}

/// Writes a file that appears whole or not at all, for its owner alone.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_its_passphrase_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let made = Keyring::open(&path, "correct horse").unwrap();
        let opened = Keyring::open(&path, "correct horse").unwrap();
        assert_eq!(made.content.content, opened.content.content);
        assert_eq!(made.content.mask, opened.content.mask);
        assert_eq!(made.credentials, opened.credentials);
        assert_eq!(made.endpoint, opened.endpoint);
        let wrong = Keyring::open(&path, "correct horses");
        assert!(matches!(wrong, Err(KeyringError::Passphrase)));
        assert_ne!(made.content.content.expose(), made.content.mask.expose());

        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&made.credentials.secret_key));
        assert!(!format!("{made:?}").contains(&made.credentials.secret_key));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let altered = text.replace("\"iterations\": 6", "\"iterations\": 7");
        let refused = Keyring::unseal(altered.as_bytes(), "correct horse");
        assert!(matches!(refused, Err(KeyringError::Passphrase)));
        for damaged in ["", "{}", "null", &text.replace("\"version\": 1", "\"version\": 2")] {
            let refused = Keyring::unseal(damaged.as_bytes(), "correct horse");
            assert!(matches!(refused, Err(KeyringError::Format(_))), "{damaged}");
        }
    }
}
