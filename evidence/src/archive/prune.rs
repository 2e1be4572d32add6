//! Pruning: what is too old to be disputed or asked for leaves the disk.
//!
//! What goes are the blobs of blocks and the Parquet segments made from them: they grow with what devices
//! report. What stays are inputs files and statements: they grow with devices and accounts, the ledger names
//! them by hash for good, and claims, those who catch up and `wayleave statement` ask for them. So of a pruned epoch
//! everybody can still check what was decided, and an archive node can recompute it.
//!
//! Blocks are first forgotten ([`Archive::since`]), then deleted. A crash between the two leaves objects that
//! nobody counts on, and the next call deletes them; the other way round an epoch would seem to be here of which a part
//! is gone, and its replay would be false. Deleting again is harmless, and so is a deletion that a power cut undoes:
//! it costs the room of the object and nothing else.

use super::{Archive, ArchiveError, damaged, evidence_path, segment_path};
use futures::TryStreamExt as _;
use object_store::{Error as StoreError, ObjectStore as _, ObjectStoreExt as _, path::Path};
use protocol::{Epoch, Height, NetworkId, cbor, clock::EpochClock};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many blocks with evidence an archive keeps, and the bytes of their objects, as far as they were counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub(super) fn add(&self, bytes: u64) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: u64) {
        let less = |counter: &AtomicU64, by: u64| {
            // It never fails: the closure always gives a number.
            let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                Some(count.saturating_sub(by))
            });
        };
        less(&self.blocks, 1);
        less(&self.bytes, bytes);
    }
}

impl Archive {
    /// Forgets all blocks below `to`, then deletes them and the segments of epochs that begin there, of networks
    /// up to the `newest`: those of at most `blocks` heights a call, so that nobody waits for long. True once
    /// all is gone.
    ///
    /// # Errors
    /// When the store fails; the next call goes on.
    pub async fn prune(
        &self,
        to: Height,
        blocks: u64,
        (clock, newest): (&EpochClock, NetworkId),
    ) -> Result<bool, ArchiveError> {
        if self.since().await? < to {
            self.put_since(to).await?;
        }
        let path = Path::from("pruned.cbor");
        let from = match self.get(&path, 64).await? {
            Some(bytes) => cbor::from_slice(&bytes).map_err(|error| damaged(&path, &error))?,
            None => Height(0),
        };
        if from >= to {
            return Ok(true);
        }
        let end = Height(to.0.min(from.0.saturating_add(blocks)));
        for height in (from.0..end.0).map(Height) {
            if let Some(bytes) = self.delete(&evidence_path(height)).await? {
                self.tally.take(bytes);
            }
        }
        let begun = clock.epoch(from).0..=clock.epoch(end).0;
        for epoch in begun.map(Epoch).filter(|epoch| (from..end).contains(&clock.first(*epoch))) {
            for network in (1..=newest.0).map(NetworkId) {
                self.delete(&segment_path(network, epoch)).await?;
            }
        }
        self.store.put(&path, cbor::to_vec(&end).into()).await?;
        Ok(end == to)
    }

    /// How many blocks with evidence are kept, and how many bytes they take: those that were recorded or
    /// [counted](Archive::count) since this process began.
    pub fn kept(&self) -> (u64, u64) {
        let Tally { blocks, bytes } = &*self.tally;
        (blocks.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    /// Counts the recorded blocks below `to`, once after a start.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count(&self, to: Height) -> Result<(), ArchiveError> {
        let (folder, end) = (Path::from("evidence"), evidence_path(to));
        let mut objects = self.store.list(Some(&folder));
        while let Some(object) = objects.try_next().await? {
            // Heights have as many digits, so that names are ordered as they are.
            if object.location < end {
                self.tally.add(object.size);
            }
        }
        Ok(())
    }

    /// Deletes an object. How many bytes it had, if it was there.
    async fn delete(&self, path: &Path) -> Result<Option<u64>, ArchiveError> {
        let found = match self.store.head(path).await {
            Ok(found) => found.size,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match self.store.delete(path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(Some(found)),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
