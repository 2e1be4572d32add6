//! Small shards: acknowledged from the journal, taken over by the index many at once.
//!
//! A shard of at most [`SMALL_MAX`] bytes is no file. It is durable in the [`crate::journal`] first and,
//! until the index takes it over, in memory too, where readers look before they look into the index.
//! The index keeps its bytes beside its record ([`KEPT`]). Whoever changes a dataset, or anything else
//! that knows shards by their records alone, lets the index take over first ([`Store::take_over`]).

use crate::{
    index::{self, IndexError, KEPT, PENDING, SHARDS, SMALL, USAGE},
    journal::{ENTRY_BYTES_MAX, ENTRY_SHARDS_MAX, Journal, Record},
    shard::Checked,
    store::{SHARD_OVERHEAD, Store, StoreError, count, is_full},
};
use protocol::{Digest, RailId, disk::DiskError};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard, atomic::Ordering},
};
use storage_kind::{bao::GROUP, wire::Refusal};

/// The largest shard that is not a file of its own, bytes: one that needs no chaining values.
pub const SMALL_MAX: u64 = GROUP;
/// How many bytes of shards, and how many shards, wait for the index to take them over.
const BYTES_MAX: u64 = 4 << 20;
const SHARDS_MAX: usize = 1_024;

/// Shards that the journal has and the index has not.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    shards: BTreeMap<(RailId, Digest), Arc<Vec<u8>>>,
    /// Bytes by rail. All of these are uncommitted.
    bytes: BTreeMap<RailId, u64>,
}

impl Fresh {
    pub(crate) fn get(&self, rail: RailId, hash: Digest) -> Option<&Arc<Vec<u8>>> {
        self.shards.get(&(rail, hash))
    }

    fn insert(&mut self, record: Record) {
        let bytes = length(&record.bytes);
        if self.shards.insert((record.rail, record.hash), Arc::new(record.bytes)).is_none() {
            *self.bytes.entry(record.rail).or_default() += bytes;
        }
    }

    /// Bytes, and shards.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.bytes.values().sum(), length_of(self.shards.len()))
    }

    fn is_full(&self) -> bool {
        self.shards.len() >= SHARDS_MAX || self.bytes.values().sum::<u64>() >= BYTES_MAX
    }

    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = (RailId, Digest, &Vec<u8>)> {
        self.shards.iter().map(|((rail, hash), bytes)| (*rail, *hash, &**bytes))
    }
}

impl Store {
    pub(crate) fn fresh(&self) -> RwLockReadGuard<'_, Fresh> {
        self.fresh.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fresh_mut(&self) -> RwLockWriteGuard<'_, Fresh> {
        self.fresh.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a small shard that is held.
    pub(crate) fn small(
        &self,
        rail: RailId,
        hash: Digest,
    ) -> Result<Option<Arc<Vec<u8>>>, IndexError> {
        if let Some(bytes) = self.fresh().get(rail, hash) {
            return Ok(Some(Arc::clone(bytes)));
        }
        let table = self.index.begin_read()?.open_table(SMALL)?;
        Ok(table.get((rail.0, &hash.0))?.map(|bytes| Arc::new(bytes.value().to_vec())))
    }

    /// Takes back what the journal has, when the store is opened.
    pub(crate) fn recover(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let mut journal = self.write_lock();
        self.count(&records);
        records.into_iter().for_each(|record| self.fresh_mut().insert(record));
        self.take_over(&mut journal)
    }

    fn count(&self, records: &[Record]) {
        let bytes = records.iter().map(|record| length(&record.bytes)).sum();
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.shards.fetch_add(length(records), Ordering::SeqCst);
    }

    /// Stores small shards. Those of which the index has a record already are not decided here, and
    /// are answered with nothing.
    pub(crate) fn put_small(
        &self,
        journal: &mut Journal,
        batch: &[&Checked],
    ) -> Result<Vec<Option<Result<(), Refusal>>>, StoreError> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut records: Vec<Record> = Vec::new();
        let mut news: BTreeMap<RailId, u64> = BTreeMap::new();
        let mut room = self.free();
        let read = self.index.begin_read()?;
        let shards = read.open_table(SHARDS).map_err(IndexError::from)?;
        let usage = read.open_table(USAGE).map_err(IndexError::from)?;
        for checked in batch {
            let (rail, hash, bytes) = (checked.rail, checked.shard.hash, checked.shard.bytes);
            let twice = records.iter().any(|record| (record.rail, record.hash) == (rail, hash));
            if twice || self.fresh().get(rail, hash).is_some() {
                answers.push(Some(Ok(())));
                continue;
            }
            if shards.get((rail.0, &hash.0)).map_err(IndexError::from)?.is_some() {
                answers.push(None);
                continue;
            }
            let counted = usage.get(rail.0).map_err(IndexError::from)?;
            let (_, counted, shards) = counted.map_or((0, 0, 0), |found| found.value());
            let waiting = self.fresh().bytes.get(&rail).copied().unwrap_or(0);
            let new = news.entry(rail).or_default();
            let uncommitted = counted.saturating_add(waiting).saturating_add(*new + bytes);
            // At most as many more shards as wait here at once: this bound needs no exactness.
            let over = self.over(checked, (uncommitted, shards));
            let over = over.or((bytes + SHARD_OVERHEAD > room).then_some(Refusal::Full));
            if let Some(refusal) = over {
                answers.push(Some(Err(refusal)));
                continue;
            }
            *new += bytes;
            room -= bytes + SHARD_OVERHEAD;
            records.push(Record { rail, hash, bytes: checked.body.to_vec() });
            answers.push(Some(Ok(())));
        }
        drop((shards, usage, read));
        self.append(journal, records)?;
        Ok(answers)
    }

    /// Makes new small shards durable.
    fn append(&self, journal: &mut Journal, records: Vec<Record>) -> Result<(), StoreError> {
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            if !journal.takes() || self.fresh().is_full() {
                self.take_over(journal)?;
            }
            let (mut entry, mut bytes) = (Vec::new(), 0);
            while let Some(record) = records.next_if(|record| {
                entry.len() < ENTRY_SHARDS_MAX && bytes + record.bytes.len() <= ENTRY_BYTES_MAX
            }) {
                bytes += record.bytes.len();
                entry.push(record);
            }
            journal.append(&entry).map_err(failed)?;
            self.count(&entry);
            let mut fresh = self.fresh_mut();
            entry.into_iter().for_each(|record| fresh.insert(record));
        }
        Ok(())
    }

    /// Has the index take over all that the journal has; durable when this returns.
    ///
    /// # Errors
    /// When the index fails. All is as before then.
    pub(crate) fn take_over(&self, journal: &mut Journal) -> Result<(), StoreError> {
        if journal.is_clean() {
            return Ok(());
        }
        let next = self.index.generation();
        self.write_fresh(next)?;
        // Readers find them in the index from the commit on.
        *self.fresh_mut() = Fresh::default();
        journal.restart(next);
        Ok(())
    }

    fn write_fresh(&self, generation: u64) -> Result<(), IndexError> {
        let fresh = self.fresh();
        let write = self.index.begin_write()?;
        {
            let mut shards = write.open_table(SHARDS)?;
            let mut small = write.open_table(SMALL)?;
            let mut pending = write.open_table(PENDING)?;
            let mut usage = write.open_table(USAGE)?;
            for ((rail, hash), bytes) in &fresh.shards {
                let (key, length) = ((rail.0, &hash.0), length(bytes));
                shards.insert(key, (length, KEPT))?;
                small.insert(key, bytes.as_slice())?;
                pending.insert(key, (0, 0))?;
                count(&mut usage, *rail, |(all, uncommitted, shards)| {
                    (all + length, uncommitted + length, shards + 1)
                })?;
            }
        }
        index::set_generation(&write, generation)?;
        Ok(write.commit()?)
    }
}

fn failed(source: io::Error) -> DiskError {
    if is_full(&source) {
        return DiskError::Full;
    }
    DiskError::Io { name: "journal".into(), source }
}

fn length<T>(of: &[T]) -> u64 {
    length_of(of.len())
}

fn length_of(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
