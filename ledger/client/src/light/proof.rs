//! Proofs of what the state holds: keys, values, and the way from a value to the root.

use super::LightError;
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, Keccak256, U256};
use commonware_codec::{Copying, Decode as _};
use commonware_cryptography::{Sha256, sha256};
use commonware_storage::{
    merkle::MAX_PROOF_DIGESTS_PER_ELEMENT,
    mmr,
    qmdb::{
        any::value::FixedEncoding,
        current::ordered::proof::constant::{ExclusionProof, KeyValueProof},
    },
};
use commonware_utils::sequence::FixedBytes;

/// The size of every value of the state.
pub const VALUE_BYTES: usize = 72;
/// Bytes of a chunk of the activity bitmap that proofs hold.
const CHUNK_BYTES: usize = 32;

type Digest = sha256::Digest;
type Value = FixedBytes<VALUE_BYTES>;
type Present = KeyValueProof<mmr::Family, Digest, Digest, CHUNK_BYTES>;
type Absent = ExclusionProof<mmr::Family, Digest, FixedEncoding<Value>, Digest, CHUNK_BYTES>;

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Coin, in its smallest unit.
    pub balance: U256,
    /// Transactions sent.
    pub nonce: u64,
    /// keccak256 of the code; of nothing when there is none.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { balance: U256::ZERO, nonce: 0, code_hash: KECCAK256_EMPTY }
    }
}

impl Account {
    /// Reads the value of an account: balance, nonce, code hash.
    pub fn read(value: &[u8; VALUE_BYTES]) -> Self {
        let mut nonce = [0; 8];
        nonce.copy_from_slice(&value[32..40]);
        Self {
            balance: U256::from_be_slice(&value[..32]),
            nonce: u64::from_be_bytes(nonce),
            code_hash: B256::from_slice(&value[40..]),
        }
    }
}

/// Reads the value of a slot.
pub(super) fn slot(value: &[u8; VALUE_BYTES]) -> U256 {
    U256::from_be_slice(&value[..32])
}

/// The key under which the state keeps an account.
pub fn account_key(address: Address) -> B256 {
    hash(&[b"wayleave/account", address.as_slice()])
}

/// The key under which the state keeps a slot.
pub fn slot_key(address: Address, slot: U256) -> B256 {
    hash(&[b"wayleave/slot", address.as_slice(), &slot.to_be_bytes::<32>()])
}

fn hash(parts: &[&[u8]]) -> B256 {
    let mut hasher = Keccak256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// What `key` holds in the state with this root; nothing if it is proven to hold nothing.
///
/// `proof` is one byte (1 present, 0 absent), the value if present, and the encoded QMDB proof.
///
/// # Errors
/// [`LightError::Proof`] when it proves neither.
pub fn verify_value(
    root: B256,
    key: B256,
    proof: &[u8],
) -> Result<Option<[u8; VALUE_BYTES]>, LightError> {
    let (root, key) = (sha256::Digest(root.0), sha256::Digest(key.0));
    match proof.split_first() {
        Some((1, rest)) => {
            let (value, rest) = rest.split_first_chunk::<VALUE_BYTES>().ok_or(LightError::Proof)?;
            let proof = Present::decode_cfg(Copying(rest), &(MAX_PROOF_DIGESTS_PER_ELEMENT, ()))
                .map_err(|_| LightError::Proof)?;
            let holds =
                proof.verify::<Sha256, FixedEncoding<Value>>(key, Value::new(*value), &root);
            holds.then_some(Some(*value)).ok_or(LightError::Proof)
        }
        Some((0, rest)) => {
            let config = (MAX_PROOF_DIGESTS_PER_ELEMENT, (), ());
            let proof =
                Absent::decode_cfg(Copying(rest), &config).map_err(|_| LightError::Proof)?;
            proof.verify::<Sha256>(&key, &root).then_some(None).ok_or(LightError::Proof)
        }
        _ => Err(LightError::Proof),
    }
}
