//! Proofs of accounts, slots and code against a header's state root.
//!
//! A proof is checked with nothing but the root: `verify(root, key, proof)` says what the key holds.
//! 263 to 700 bytes each. Whoever checks one already trusts the header that names the root, by its
//! certificate.

use super::{CHUNK_BYTES, StoredValue, plain, stored_key};
use alloy_primitives::{Address, B256, Bytes as Input};
use bytes::Bytes;
use commonware_codec::{Decode as _, Encode as _};
use commonware_cryptography::{Sha256, sha256};
use commonware_storage::{
    merkle::MAX_PROOF_DIGESTS_PER_ELEMENT,
    mmr,
    qmdb::{
        any::value::FixedEncoding,
        current::ordered::proof::constant::{ExclusionProof, KeyValueProof},
    },
};
use execution::{Key, VALUE_BYTES, Value};

type Present = KeyValueProof<mmr::Family, sha256::Digest, sha256::Digest, CHUNK_BYTES>;
type Absent = ExclusionProof<
    mmr::Family,
    sha256::Digest,
    FixedEncoding<StoredValue>,
    sha256::Digest,
    CHUNK_BYTES,
>;

/// Values that the views of one question may read.
pub const VIEW_KEYS_MAX: usize = 4_096;

/// Views of system contracts, and accounts, to be proven together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// Contract and input of each view.
    pub calls: Vec<(Address, Input)>,
    /// Accounts.
    pub accounts: Vec<Address>,
}

/// Proofs of several keys against one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateProof {
    /// The block whose header names the root.
    pub height: u64,
    /// `state.root` of that header.
    pub root: B256,
    /// One proof a key, in the order of the keys asked for.
    pub entries: Vec<KeyProof>,
}

/// What a key holds, or that it holds nothing, with the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyProof {
    /// The key holds a value.
    Present {
        /// The value.
        value: Box<Value>,
        /// The encoded proof.
        proof: Bytes,
    },
    /// The key holds nothing.
    Absent {
        /// The encoded proof.
        proof: Bytes,
    },
}

/// A proof that proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The bytes are no proof.
    #[error("the proof is malformed")]
    Malformed,
    /// The proof is of another root, key or value.
    #[error("the proof does not lead to the root")]
    Mismatch,
}

impl KeyProof {
    pub(super) fn present(value: Value, proof: &Present) -> Self {
        Self::Present { value: Box::new(value), proof: proof.encode() }
    }

    pub(super) fn absent(proof: &Absent) -> Self {
        Self::Absent { proof: proof.encode() }
    }

    /// The claimed value, not yet verified.
    pub fn claim(&self) -> Option<&Value> {
        match self {
            Self::Present { value, .. } => Some(value),
            Self::Absent { .. } => None,
        }
    }

    /// One byte (1 present, 0 absent), the 72 bytes of a present value, the encoded proof.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Present { value, proof } => [&[1], &value[..], proof].concat(),
            Self::Absent { proof } => [&[0], &proof[..]].concat(),
        }
    }

    /// Reads [`KeyProof::to_bytes`].
    ///
    /// # Errors
    /// Another first byte, or too few.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        match bytes.split_first() {
            Some((1, rest)) => {
                let (value, proof) =
                    rest.split_first_chunk::<VALUE_BYTES>().ok_or(ProofError::Malformed)?;
                Ok(Self::Present { value: Box::new(*value), proof: Bytes::copy_from_slice(proof) })
            }
            Some((0, proof)) => Ok(Self::Absent { proof: Bytes::copy_from_slice(proof) }),
            _ => Err(ProofError::Malformed),
        }
    }
}

/// What `key` holds in the state with this root, as `proof` shows.
///
/// # Errors
/// The proof is malformed or does not lead to the root.
pub fn verify(root: B256, key: &Key, proof: &KeyProof) -> Result<Option<Value>, ProofError> {
    let (root, key) = (sha256::Digest(root.0), stored_key(key.hash()));
    let digests = MAX_PROOF_DIGESTS_PER_ELEMENT;
    let holds = match proof {
        KeyProof::Present { value, proof } => {
            let proof = Present::decode_cfg(proof.clone(), &(digests, ()))
                .map_err(|_| ProofError::Malformed)?;
            let value = StoredValue::new(**value);
            proof
                .verify::<Sha256, FixedEncoding<StoredValue>>(key, value.clone(), &root)
                .then(|| Some(plain(&value)))
        }
        KeyProof::Absent { proof } => {
            let proof = Absent::decode_cfg(proof.clone(), &(digests, (), ()))
                .map_err(|_| ProofError::Malformed)?;
            proof.verify::<Sha256>(&key, &root).then_some(None)
        }
    };
    holds.ok_or(ProofError::Mismatch)
}
