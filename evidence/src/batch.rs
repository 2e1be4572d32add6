//! The batch: envelopes of one network, collected and signed by the validator who answers for them.
//!
//! ```text
//! [ 1, author: bstr .size 32, network: uint, [ envelope: bstr, … ], signature: bstr .size 64 ]
//! ```
//!
//! Rules (design 6): the encoding is canonical CBOR; the author signs the chain, the network and the
//! BLAKE3 hash of the list; a batch rides in a block as one blob. [`Batch::from_bytes`] checks form and
//! author. What is inside is checked by [`mod@crate::replay`], where an envelope that no honest author
//! could have accepted is the author's attributable fault, and the other envelopes still count.
//!
//! The author's key is the validator's network key, so that its bond answers for the batch. Nothing else that
//! this key signs begins like a batch: consensus, p2p and registrations begin with the length of a namespace,
//! which `w` (119) is for none of them.

use minicbor::{Decode, Encode, bytes::ByteVec};
use protocol::{
    Digest, NetworkId,
    cbor::{self, DecodeError},
    key::{DeviceKey, DeviceSecret, SIGNATURE_LENGTH, VerifyError},
};

/// The largest batch in bytes: all that one block can carry (design 5).
pub const BATCH_MAX: usize = 2 * 1024 * 1024;
/// The most envelopes in one batch.
pub const ENVELOPES_MAX: usize = 8_192;
/// What a batch needs beside its envelopes, at most, in bytes.
pub const OVERHEAD: usize = 128;
/// What an envelope needs beside its own bytes, at most, in bytes.
pub const ENVELOPE_OVERHEAD: usize = 5;

/// Envelopes of one network, signed by who collected them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Batch {
    #[n(0)]
    version: u16,
    #[cbor(n(1), with = "minicbor::bytes")]
    author: [u8; 32],
    #[n(2)]
    network: NetworkId,
    #[n(3)]
    envelopes: Vec<ByteVec>,
    #[cbor(n(4), with = "minicbor::bytes")]
    signature: [u8; SIGNATURE_LENGTH],
}

/// Why bytes are not a batch that somebody answers for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Longer than [`BATCH_MAX`] or more than [`ENVELOPES_MAX`] envelopes.
    #[error("batch is over its limit of bytes or envelopes")]
    TooLarge,
    /// Not the canonical encoding.
    #[error("batch: {0}")]
    Decode(#[from] DecodeError),
    /// A format this version does not know.
    #[error("batch version {0} is not 1")]
    Version(u16),
    /// A batch without envelopes is not a batch.
    #[error("batch is empty")]
    Empty,
    /// The author did not sign this.
    #[error("author: {0}")]
    Author(#[from] VerifyError),
}

impl Batch {
    /// Collects and signs `envelopes`. The caller keeps within the limits.
    pub fn sign(
        secret: &DeviceSecret,
        chain_id: u64,
        network: NetworkId,
        envelopes: Vec<Vec<u8>>,
    ) -> Self {
        let mut batch = Self {
            version: 1,
            author: secret.key().x(),
            network,
            envelopes: envelopes.into_iter().map(ByteVec::from).collect(),
            signature: [0; SIGNATURE_LENGTH],
        };
        batch.signature = secret.sign(&batch.message(chain_id));
        batch
    }

    /// Reads a blob, and checks form and author.
    ///
    /// # Errors
    /// [`BatchError`]; nobody but the block's proposer answers for such a blob.
    pub fn from_bytes(bytes: &[u8], chain_id: u64) -> Result<Self, BatchError> {
        if bytes.len() > BATCH_MAX {
            return Err(BatchError::TooLarge);
        }
        let batch: Self = cbor::from_slice(bytes)?;
        if batch.version != 1 {
            return Err(BatchError::Version(batch.version));
        }
        if batch.envelopes.is_empty() {
            return Err(BatchError::Empty);
        }
        if batch.envelopes.len() > ENVELOPES_MAX {
            return Err(BatchError::TooLarge);
        }
        DeviceKey::Ed25519(batch.author).verify(&batch.message(chain_id), &batch.signature)?;
        Ok(batch)
    }

    /// The canonical bytes: the blob.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// The Ed25519 key of who collected the envelopes.
    pub const fn author(&self) -> [u8; 32] {
        self.author
    }

    /// The network.
    pub const fn network(&self) -> NetworkId {
        self.network
    }

    /// The envelopes' bytes, unchecked, in the author's order.
    pub fn envelopes(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.envelopes.iter().map(|envelope| envelope.as_slice())
    }

    fn message(&self, chain_id: u64) -> Vec<u8> {
        let list = Digest::of(&cbor::to_vec(&self.envelopes));
        [
            b"wayleave/batch/1".as_slice(),
            &chain_id.to_be_bytes(),
            &self.author,
            &self.network.0.to_be_bytes(),
            list.as_bytes(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests;
