//! Header v1 as a light client reads it: fixed offsets, no more fields than it needs.

use super::LightError;
use alloy_primitives::B256;
use commonware_cryptography::{Hasher as _, Sha256};
use protocol::{Epoch, Height};

/// The length of an encoded header of version 1.
pub const HEADER_BYTES: usize = 709;
/// The version read here.
const VERSION: u8 = 1;

/// A header's facts. By itself it proves nothing: [`super::Light`] says which ones are certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// SHA-256 of the encoded header: the block's hash.
    pub hash: B256,
    /// EIP-155 id of the ledger.
    pub chain_id: u64,
    /// The number of the block.
    pub height: Height,
    /// The committee's time in office.
    pub term: u64,
    /// The hash of the block before; for genesis the SHA-256 of the genesis file.
    pub parent: B256,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The root of the state after the block.
    pub state_root: B256,
    /// The root of the block's transactions.
    pub transactions_root: B256,
    /// The root of the receipts, and so of all events.
    pub receipts_root: B256,
    /// The root of the evidence blobs.
    pub blobs_root: B256,
    /// The digest of the committee that certifies the next height.
    pub committee: B256,
    /// The mix that the seed of an epoch is made of.
    pub mix: B256,
    /// The settlement epoch that the height is in.
    pub epoch: Epoch,
}

impl Header {
    /// Reads an encoded header.
    ///
    /// # Errors
    /// [`LightError::Header`] for another length or version.
    pub fn read(bytes: &[u8]) -> Result<Self, LightError> {
        let fixed: &[u8; HEADER_BYTES] = bytes.try_into().map_err(|_| LightError::Header)?;
        if fixed[0] != VERSION {
            return Err(LightError::Header);
        }
        Ok(Self {
            hash: B256::from(Sha256::hash(&[bytes]).0),
            chain_id: number(fixed, 1),
            height: Height(number(fixed, 9)),
            term: number(fixed, 17),
            parent: word(fixed, 41),
            time_ms: number(fixed, 73),
            state_root: word(fixed, 133),
            transactions_root: word(fixed, 213),
            receipts_root: word(fixed, 245),
            blobs_root: word(fixed, 533),
            committee: word(fixed, 565),
            mix: word(fixed, 645),
            epoch: Epoch(number(fixed, 677)),
        })
    }
}

/// The eight bytes at a fixed offset, which lies within the header.
fn number(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(number)
}

/// The 32 bytes at a fixed offset, which lies within the header.
fn word(bytes: &[u8; HEADER_BYTES], at: usize) -> B256 {
    B256::from_slice(&bytes[at..at + 32])
}
