//! The decoders of what the service keeps and gets back, as crate `fuzz` tries them. They are no part of the
//! service's interface: nothing else calls them.
//!
//! Each reads `bytes` and, if they are what it wants, gives what the decoded value encodes to.

use crate::{
    backup::note::{self, Sealer},
    codec::Secret,
    keys::{self, Keyring, KeyringError},
};
use protocol::cbor;

/// A log or a dump of the index.
pub fn entries(bytes: &[u8]) -> Option<Vec<u8>> {
    note::entries(bytes).ok().map(|entries| note::frames(&entries))
}

/// A note as agents keep it, sealed for the content key `content`: what is in it.
pub fn opened(content: [u8; 32], sealed: &[u8]) -> Option<Vec<u8>> {
    let note = Sealer::new(&Secret::new(content)).open(sealed).ok()?;
    Some(cbor::to_vec(&note))
}

/// The note in `bytes`, sealed for the content key `content`.
pub fn sealed(content: [u8; 32], bytes: &[u8]) -> Option<Vec<u8>> {
    let note = cbor::from_slice(bytes).ok()?;
    Sealer::new(&Secret::new(content)).seal(&note, &keys::System).ok()
}

/// The secrets in a keyring.
pub fn secrets(bytes: &[u8]) -> Option<Vec<u8>> {
    Keyring::from_plain(bytes).ok()?.to_plain().ok()
}

/// A keyring file with so few rounds that opening it costs nothing.
///
/// # Errors
/// As [`Keyring::seal`].
pub fn keyring(secrets: &[u8], passphrase: &str) -> Result<Vec<u8>, KeyringError> {
    Keyring::from_plain(secrets)?.seal_by(passphrase, 1)
}
