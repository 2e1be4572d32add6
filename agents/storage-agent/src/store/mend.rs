//! Reading what the index holds, when the store is opened and after the index failed, and settling
//! what is in doubt.

use super::{CHUNK, Store, StoreError, named};
use crate::{
    fresh::Fresh,
    index::{self, IndexError, TABS, UNSETTLED, USAGE, WRITING},
    shard,
    versions::Datasets,
};
use protocol::{Digest, RailId};
use redb::ReadableTable;
use std::sync::{PoisonError, atomic::Ordering};

impl Store {
    /// Opens the index again if a write or a sync of it failed, after which it answers nothing any
    /// more. To be called from time to time: a disk that was full for a moment then costs a moment.
    ///
    /// # Errors
    /// When the index still fails, or the disk does; calling again tries again.
    pub fn mend(&self) -> Result<(), StoreError> {
        let mut journal = self.write_lock();
        if !self.index.has_failed() {
            return Ok(());
        }
        tracing::warn!("the index failed and is opened again");
        self.index.reopen()?;
        let generation = index::generation(&self.index)?;
        if generation != journal.generation() {
            // What failed was told too late: the index has taken over what the journal had.
            *self.fresh_mut() = Fresh::default();
            journal.restart(generation);
        }
        *self.datasets.lock().unwrap_or_else(PoisonError::into_inner) = Datasets::default();
        self.load()?;
        self.settle()
    }

    /// Reads what is counted, the rails and the tabs.
    pub(super) fn load(&self) -> Result<(), StoreError> {
        self.load_rails()?;
        self.leaving.store(index::is_leaving(&self.index)?, Ordering::SeqCst);
        let read = self.index.begin_read()?;
        self.load_tabs(&read.open_table(TABS).map_err(IndexError::from)?)?;
        let usage = read.open_table(USAGE).map_err(IndexError::from)?;
        let (mut bytes, mut shards) = self.fresh().usage();
        for entry in usage.iter().map_err(IndexError::from)? {
            let (of_rail, _, number) = entry.map_err(IndexError::from)?.1.value();
            (bytes, shards) = (bytes + of_rail, shards + number);
        }
        self.bytes.store(bytes, Ordering::SeqCst);
        self.shards.store(shards, Ordering::SeqCst);
        Ok(())
    }

    /// Looks at every file about which the index is in doubt: one that is whole is held, any other is
    /// removed. Can be interrupted at any point and begun again.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        loop {
            let doubts: Vec<(RailId, Digest)> = {
                let table = self.index.begin_read()?;
                let table = table.open_table(UNSETTLED).map_err(IndexError::from)?;
                let entries = table.iter().map_err(IndexError::from)?;
                entries
                    .take(CHUNK)
                    .map(|entry| entry.map(|(key, _)| named(key.value())))
                    .collect::<Result<_, _>>()
                    .map_err(IndexError::from)?
            };
            if doubts.is_empty() {
                return Ok(());
            }
            let mut whole = Vec::new();
            let mut gone = Vec::new();
            for (rail, hash) in doubts {
                let record = index::shard(&self.index, rail, hash)?;
                let there = self.disk.length(&shard::name(rail, hash))?;
                match record {
                    Some((bytes, WRITING)) if there == Some(shard::file_length(bytes)) => {
                        whole.push((rail, hash));
                    }
                    _ => gone.push((rail, hash)),
                }
            }
            self.confirm(&whole)?;
            self.discard(&gone)?;
        }
    }
}
