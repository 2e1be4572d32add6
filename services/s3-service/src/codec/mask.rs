//! Masks: each shard is covered by AES-256-CTR under a key of its own.
//!
//! key = BLAKE3 keyed(mask key, "mask" || id || shard); the counter starts at zero. Lifting is the
//! same as covering, and any range can be done alone. Without the mask key, k - 1 shards, or even k,
//! say nothing of another: whoever claims to hold a shard must hold its bytes.

use super::{CodecError, MaskKey, SegmentId};
use crate::num::wide;
use aws_lc_rs::{
    cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    iv::FixedLength,
};

const BLOCK_BYTES: usize = 16;

/// Covers, or uncovers, bytes of shard `shard` that begin at `offset`.
pub(crate) fn apply(
    key: &MaskKey,
    id: SegmentId,
    shard: u8,
    offset: usize,
    bytes: &mut [u8],
) -> Result<(), CodecError> {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(b"wayleave shard mask 1");
    hasher.update(&id.0);
    hasher.update(&[shard]);
    let key = UnboundCipherKey::new(&AES_256, hasher.finalize().as_bytes())
        .and_then(EncryptingKey::ctr)
        .map_err(|_| CodecError::Cipher)?;
    let skip = offset % BLOCK_BYTES;
    let head = (BLOCK_BYTES - skip) % BLOCK_BYTES;
    let (first, rest) = bytes.split_at_mut(head.min(bytes.len()));
    if !first.is_empty() {
        // The part of a block before the first whole one.
        let mut block = [0; BLOCK_BYTES];
        block[skip..skip + first.len()].copy_from_slice(first);
        stream(&key, offset / BLOCK_BYTES, &mut block)?;
        first.copy_from_slice(&block[skip..skip + first.len()]);
    }
    stream(&key, (offset + head) / BLOCK_BYTES, rest)
}

fn stream(key: &EncryptingKey, block: usize, bytes: &mut [u8]) -> Result<(), CodecError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let counter = u128::from(wide(block)).to_be_bytes();
    key.less_safe_encrypt(bytes, EncryptionContext::Iv128(FixedLength::from(counter)))
        .map(|_| ())
        .map_err(|_| CodecError::Cipher)
}
