//! Evidence blobs that wait for a block: a bounded queue, first come, first carried.
//!
//! A full queue refuses ([`BlobRefused::Full`]): whoever collects evidence holds it back and tries
//! again. A blob leaves only when a final block carries it.

use crate::block::{MAX_BLOBS, MAX_BLOBS_BYTES, blob_hash};
use alloy_primitives::B256;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes waiting: what eight blocks carry.
pub(super) const QUEUE_BYTES: usize = 8 * MAX_BLOBS_BYTES;
/// Most blobs waiting.
pub(super) const QUEUE_BLOBS: usize = 2 * MAX_BLOBS;

/// Why a blob was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobRefused {
    /// A blob has 1 to [`MAX_BLOBS_BYTES`] bytes.
    #[error("a blob has 1 to {MAX_BLOBS_BYTES} bytes, not {0}")]
    Size(usize),
    /// The queue holds as much as it may.
    #[error("the queue of blobs is full: try again after the next block")]
    Full,
    /// The same bytes wait already.
    #[error("the same blob is waiting already")]
    Known,
    /// The ledger has stopped.
    #[error("the ledger has stopped")]
    Stopped,
}

/// The waiting blobs in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    queue: BTreeMap<u64, (B256, Bytes)>,
    hashes: BTreeMap<B256, u64>,
    bytes: usize,
    arrivals: u64,
}

impl Blobs {
    /// Bytes that wait.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a blob and gives its hash.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(crate) fn insert(&mut self, blob: Bytes) -> Result<B256, BlobRefused> {
        if blob.is_empty() || blob.len() > MAX_BLOBS_BYTES {
            return Err(BlobRefused::Size(blob.len()));
        }
        if self.bytes + blob.len() > QUEUE_BYTES || self.queue.len() >= QUEUE_BLOBS {
            return Err(BlobRefused::Full);
        }
        let hash = blob_hash(&blob);
        if self.hashes.contains_key(&hash) {
            return Err(BlobRefused::Known);
        }
        self.bytes += blob.len();
        self.hashes.insert(hash, self.arrivals);
        self.queue.insert(self.arrivals, (hash, blob));
        self.arrivals += 1;
        Ok(hash)
    }

    /// The oldest blobs that fit a block, without those that blocks before it carry already.
    pub(crate) fn candidates(&self, carried: &BTreeSet<B256>) -> Vec<Bytes> {
        let mut left = MAX_BLOBS_BYTES;
        self.queue
            .values()
            .filter(|(hash, _)| !carried.contains(hash))
            .take(MAX_BLOBS)
            .map_while(|(_, blob)| {
                left = left.checked_sub(blob.len())?;
                Some(blob.clone())
            })
            .collect()
    }

    /// Removes what a final block carries.
    pub(crate) fn finalized(&mut self, hashes: impl IntoIterator<Item = B256>) {
        for hash in hashes {
            if let Some((_, blob)) =
                self.hashes.remove(&hash).and_then(|arrival| self.queue.remove(&arrival))
            {
                self.bytes -= blob.len();
            }
        }
    }
}
