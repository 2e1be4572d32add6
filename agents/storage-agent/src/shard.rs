//! A shard as a file: its bytes, and after them, if there are more than 64 KiB, Bao's chaining values
//! ([`Outboard`]), so that proving one chunk reads 64 KiB and not the whole shard.
//!
//! The chaining values are no secret and no authority: when they do not lead to the shard's hash they
//! are computed anew from its bytes.

use bytes::Bytes;
use protocol::{
    Digest, RailId,
    disk::{Disk, DiskError},
};
use std::fmt::Write as _;
use storage_kind::{
    bao::{GROUP, Outboard},
    dataset::Shard,
    wire::Refusal,
};

/// A shard that was checked against its hash and is ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The rail it is for.
    pub rail: RailId,
    /// The shard.
    pub shard: Shard,
    pub(crate) body: Bytes,
    /// What the file has after the body: Bao's chaining values, if there are any.
    pub(crate) tail: Vec<u8>,
}

impl Checked {
    /// Checks `body` against the size and hash of `shard`.
    ///
    /// # Errors
    /// [`Refusal::BadShard`].
    pub fn new(rail: RailId, shard: Shard, body: Bytes) -> Result<Self, Refusal> {
        let outboard = Outboard::of(&body);
        if outboard.length() != shard.bytes || outboard.hash() != shard.hash || body.is_empty() {
            return Err(Refusal::BadShard);
        }
        let tail = if shard.bytes > GROUP { outboard.to_bytes() } else { Vec::new() };
        Ok(Self { rail, shard, body, tail })
    }
}

/// The name of a shard's file.
pub(crate) fn name(rail: RailId, hash: Digest) -> String {
    let mut name = format!("shards/{rail}/{:02x}/", hash.0[0]);
    for byte in hash.0 {
        // Writing into a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The length of the file of a shard of `bytes` bytes.
pub(crate) const fn file_length(bytes: u64) -> u64 {
    if bytes > GROUP { bytes + 40 + bytes.div_ceil(GROUP) * 32 } else { bytes }
}

/// Reads a range of a shard's file; all of it or an error.
pub(crate) fn read(
    disk: &dyn Disk,
    rail: RailId,
    hash: Digest,
    (offset, length): (u64, usize),
) -> Result<Vec<u8>, DiskError> {
    let name = name(rail, hash);
    let bytes = disk.read(&name, offset, length)?;
    if bytes.len() == length { Ok(bytes) } else { Err(DiskError::Missing(name)) }
}

/// Bao's chaining values of a shard, of whose file `read` gives ranges.
pub(crate) fn outboard<E>(
    shard: Shard,
    mut read: impl FnMut(u64, usize) -> Result<Vec<u8>, E>,
) -> Result<Outboard, E> {
    if shard.bytes > GROUP {
        let length = to_usize(file_length(shard.bytes) - shard.bytes);
        let kept = Outboard::from_bytes(&read(shard.bytes, length)?);
        if let Some(kept) =
            kept.filter(|kept| (kept.hash(), kept.length()) == (shard.hash, shard.bytes))
        {
            return Ok(kept);
        }
    }
    Ok(Outboard::of(&read(0, to_usize(shard.bytes))?))
}

/// Sizes of shards are bounded far below any platform's `usize`.
pub(crate) fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_length_is_what_is_written() {
        for bytes in [1u64, 1024, GROUP, GROUP + 1, 3 * GROUP, 1_000_000] {
            let body: Vec<u8> = (0..bytes).map(|i| (i % 251).to_le_bytes()[0]).collect();
            let shard = Shard { hash: Digest::of(&body), bytes };
            let body = Bytes::from(body);
            let checked = Checked::new(RailId(1), shard, body.clone()).unwrap();
            let length = checked.body.len() + checked.tail.len();
            assert_eq!(u64::try_from(length), Ok(file_length(bytes)));
            let wrong = Shard { bytes: bytes + 1, ..shard };
            assert_eq!(Checked::new(RailId(1), wrong, body.clone()), Err(Refusal::BadShard));
            let wrong = Shard { hash: Digest([1; 32]), ..shard };
            assert_eq!(Checked::new(RailId(1), wrong, body), Err(Refusal::BadShard));
        }
        let empty = Shard { hash: Digest::of(b""), bytes: 0 };
        assert_eq!(Checked::new(RailId(1), empty, Bytes::new()), Err(Refusal::BadShard));
    }

    #[test]
    fn names_are_such_as_disks_take() {
        let name = name(RailId(12), Digest([0xab; 32]));
        assert_eq!(name, format!("shards/12/ab/{}", "ab".repeat(32)));
    }
}
