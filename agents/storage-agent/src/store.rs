//! The store: the index and the disk together, and the rules that keep them in agreement.
//!
//! Rules:
//! * a shard is acknowledged when its file and its record are durable, and then no crash loses it;
//! * a file is only there if the index knows of it: the record comes before the file and goes after it;
//! * a small shard is no file: it is in the journal until the index takes it over ([`crate::fresh`]);
//! * the bytes of all records, and what the records take themselves, never exceed the capacity; those
//!   not committed never half of it on one rail;
//! * a rail gets no more room than its rate pays for, and no more than so many shards;
//! * shards that leave a dataset are deleted once no open epoch asks for a version with them, and those
//!   that wait in vain for a commit after some epochs ([`Store::close`]);
//! * what may be lost in a crash is a record's word that its file is there, which the file itself
//!   gives again, and as much of a tab as the credit allows;
//! * an index that failed is opened again, with what a crash would have left ([`Store::mend`]).
//!
//! Calls block and may come from many threads: writers take their turn, readers never wait for them.

mod mend;
mod notes;
mod rails;
mod tabs;

pub use notes::Drain;

use crate::{
    disk::sync_folder_of,
    fresh::{Fresh, SMALL_MAX},
    index::{
        self, DELETING, HELD, Index, IndexError, KEPT, Key, Opener, PENDING, Random, SHARDS, SMALL,
        UNSETTLED, USAGE, WRITING,
    },
    journal::Journal,
    shard::{self, Checked},
    tab::Tab,
    versions::Datasets,
};
use protocol::{
    Digest, RailId,
    disk::{Disk, DiskError},
};
use rails::Known;
use redb::{ReadableTable, StorageBackend, Table, WriteTransaction, backends::FileBackend};
use std::{
    collections::BTreeMap,
    fmt,
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use storage_kind::wire::Refusal;

/// How many shards are settled or deleted in one transaction.
const CHUNK: usize = 256;
/// What a shard takes of the capacity beside its bytes: its rows in the index.
pub(crate) const SHARD_OVERHEAD: u64 = 256;
/// How many shards one rail may have, so that its dataset stays small in memory.
pub(crate) const RAIL_SHARDS_MAX: u64 = 1 << 18;
/// The ending of the journal's file, which is named like the index.
const JOURNAL: &str = "journal";

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl StoreError {
    /// Whether there is no room: on the disk, or where the index wants to grow on it, which is no fault of
    /// the disk either.
    fn is_full(&self) -> bool {
        match self {
            Self::Disk(error) => matches!(error, DiskError::Full),
            Self::Index(IndexError::Storage(error)) => match &**error {
                redb::Error::Io(error) => is_full(error),
                _ => false,
            },
            Self::Index(_) => false,
        }
    }
}

/// Whether the system says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if error.is_full() {
            return Self::Full;
        }
        tracing::error!(%error, "the store failed");
        Self::Disk
    }
}

impl From<IndexError> for Refusal {
    fn from(error: IndexError) -> Self {
        StoreError::from(error).into()
    }
}

/// What the store holds, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Bytes of all shards.
    pub bytes: u64,
    /// Shards.
    pub shards: u64,
    /// Bytes that may be stored at most.
    pub capacity: u64,
}

/// What a store stands upon: all that it has of the world. Another one than the system's is what lets
/// tests and simulations take its disk away at any step.
pub struct Ground {
    /// What the index is called in errors.
    pub path: PathBuf,
    /// Opens the index, at first and whenever it failed.
    pub index: Opener,
    /// The journal of small shards.
    pub journal: Box<dyn StorageBackend>,
    /// Where the other shards are files.
    pub disk: Arc<dyn Disk>,
    /// Where random numbers come from. They are no secrets, and must not repeat.
    pub random: Random,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Shards of many rails, within one capacity.
#[derive(Debug)]
pub struct Store {
    pub(crate) index: Index,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) capacity: u64,
    pub(crate) bytes: AtomicU64,
    pub(crate) shards: AtomicU64,
    /// The largest shard that is not a file.
    pub(crate) small_max: u64,
    /// Held by whoever changes what is stored.
    writer: Mutex<Journal>,
    pub(crate) fresh: RwLock<Fresh>,
    pub(crate) datasets: Mutex<Datasets>,
    /// The rails in the index.
    rails: RwLock<BTreeMap<RailId, Known>>,
    /// Tabs as they are, and as the index has them.
    tabs: Mutex<BTreeMap<RailId, (Tab, Tab)>>,
    /// Held by whoever writes tabs.
    flushing: Mutex<()>,
    /// Whether the device leaves.
    leaving: AtomicBool,
}

impl Store {
    /// Opens the index at `path` and the journal of small shards next to it, beside `disk`, and settles
    /// what a crash left in doubt.
    ///
    /// # Errors
    /// When the index or the disk fails.
    pub fn open(path: &Path, disk: Arc<dyn Disk>, capacity: u64) -> Result<Self, StoreError> {
        let journal = path.with_extension(JOURNAL);
        let failed = |source| DiskError::Io { name: journal.display().to_string(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&journal)
            .map_err(failed)?;
        let file = FileBackend::new(file).map_err(|error| failed(io::Error::other(error)))?;
        // The file's name must be as durable as what is acknowledged from it.
        sync_folder_of(&journal).map_err(failed)?;
        let (path, created) = (path.to_owned(), path.to_owned());
        let ground = Ground {
            path,
            index: Box::new(move |builder| builder.create(&created)),
            journal: Box::new(file),
            disk,
            random: Box::new(rand::random),
        };
        Self::upon(ground, capacity, SMALL_MAX)
    }

    /// As [`Store::open`], upon any ground and with a largest size of small shards, bytes.
    ///
    /// # Errors
    /// When the index or the disk fails.
    pub fn upon(ground: Ground, capacity: u64, small_max: u64) -> Result<Self, StoreError> {
        let Ground { path, index, journal, disk, random } = ground;
        let index = Index::open(path, index, random)?;
        let generation = index::generation(&index)?;
        let (journal, records) = Journal::open(journal, generation)
            .map_err(|source| DiskError::Io { name: JOURNAL.into(), source })?;
        let store = Self {
            index,
            disk,
            capacity,
            bytes: AtomicU64::new(0),
            shards: AtomicU64::new(0),
            small_max,
            writer: Mutex::new(journal),
            fresh: RwLock::default(),
            datasets: Mutex::default(),
            rails: RwLock::default(),
            tabs: Mutex::default(),
            flushing: Mutex::default(),
            leaving: AtomicBool::new(false),
        };
        store.load()?;
        // First the doubts: a shard in the journal may have been removed not long before.
        store.settle()?;
        store.recover(records)?;
        Ok(store)
    }

    /// What is stored.
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.bytes.load(Ordering::SeqCst),
            shards: self.shards.load(Ordering::SeqCst),
            capacity: self.capacity,
        }
    }

    /// Bytes that are still taken: within the capacity, and as the disk has room.
    pub fn free(&self) -> u64 {
        let Usage { bytes, shards, capacity } = self.usage();
        let used = bytes.saturating_add(shards.saturating_mul(SHARD_OVERHEAD));
        let offered = capacity.saturating_sub(used);
        self.disk.free().map_or(offered, |free| offered.min(free))
    }

    pub(crate) fn write_lock(&self) -> MutexGuard<'_, Journal> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the files of these shards are there.
    fn confirm(&self, keys: &[(RailId, Digest)]) -> Result<(), IndexError> {
        if keys.is_empty() {
            return Ok(());
        }
        let write = index::begin_lazy(&self.index)?;
        {
            let mut shards = write.open_table(SHARDS)?;
            let mut unsettled = write.open_table(UNSETTLED)?;
            for (rail, hash) in keys {
                let key = (rail.0, &hash.0);
                let bytes = shards.get(key)?.map_or(0, |found| found.value().0);
                shards.insert(key, (bytes, HELD))?;
                unsettled.remove(key)?;
            }
        }
        Ok(write.commit()?)
    }

    /// Removes the files of shards that are recorded as not held, and then their records.
    pub(crate) fn discard(&self, keys: &[(RailId, Digest)]) -> Result<(), StoreError> {
        for part in keys.chunks(CHUNK) {
            let names: Vec<String> =
                part.iter().map(|(rail, hash)| shard::name(*rail, *hash)).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            self.disk.remove(&names)?;
            self.forget(part)?;
        }
        Ok(())
    }

    fn forget(&self, keys: &[(RailId, Digest)]) -> Result<(), IndexError> {
        let write = index::begin_lazy(&self.index)?;
        let (mut freed, mut fewer) = (0, 0);
        {
            let mut shards = write.open_table(SHARDS)?;
            let mut small = write.open_table(SMALL)?;
            let mut unsettled = write.open_table(UNSETTLED)?;
            let mut pending = write.open_table(PENDING)?;
            let mut usage = write.open_table(USAGE)?;
            for (rail, hash) in keys {
                let key = (rail.0, &hash.0);
                unsettled.remove(key)?;
                small.remove(key)?;
                let waiting = pending.remove(key)?.is_some();
                let Some(bytes) = shards.remove(key)?.map(|found| found.value().0) else {
                    continue;
                };
                (freed, fewer) = (freed + bytes, fewer + 1);
                count(&mut usage, *rail, |(all, uncommitted, shards)| {
                    let uncommitted = uncommitted.saturating_sub(if waiting { bytes } else { 0 });
                    (all.saturating_sub(bytes), uncommitted, shards.saturating_sub(1))
                })?;
            }
        }
        write.commit()?;
        self.bytes.fetch_sub(freed, Ordering::SeqCst);
        self.shards.fetch_sub(fewer, Ordering::SeqCst);
        Ok(())
    }

    /// Stores shards. One answer a shard, in their order; those answered `Ok` are durable.
    pub fn put(&self, batch: &[Checked]) -> Vec<Result<(), Refusal>> {
        let mut journal = self.write_lock();
        let mut answers = vec![None; batch.len()];
        let is_small = |at: &usize| batch[*at].shard.bytes <= self.small_max;
        let small: Vec<usize> = (0..batch.len()).filter(is_small).collect();
        if !small.is_empty() {
            let shards: Vec<&Checked> = small.iter().map(|at| &batch[*at]).collect();
            let outcome = self.put_small(&mut journal, &shards);
            let outcome = outcome.unwrap_or_else(|error| failed(error, small.len()));
            small.into_iter().zip(outcome).for_each(|(at, answer)| answers[at] = answer);
        }
        let rest: Vec<usize> = (0..batch.len()).filter(|at| answers[*at].is_none()).collect();
        if !rest.is_empty() {
            let shards: Vec<&Checked> = rest.iter().map(|at| &batch[*at]).collect();
            let outcome = self.take_over(&mut journal).and_then(|()| self.put_all(&shards));
            let outcome = outcome.unwrap_or_else(|error| failed(error, rest.len()));
            rest.into_iter().zip(outcome).for_each(|(at, answer)| answers[at] = answer);
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Err(Refusal::Disk))).collect()
    }

    /// Stores shards as files, unless they are there already.
    fn put_all(&self, batch: &[&Checked]) -> Result<Vec<Option<Result<(), Refusal>>>, StoreError> {
        let (answers, fresh) = self.announce(batch)?;
        let answers = answers.into_iter().map(Some).collect();
        if fresh.is_empty() {
            return Ok(answers);
        }
        let names: Vec<String> =
            fresh.iter().map(|at| shard::name(batch[*at].rail, batch[*at].shard.hash)).collect();
        let contents: Vec<[&[u8]; 2]> =
            fresh.iter().map(|at| [&batch[*at].body[..], &batch[*at].tail[..]]).collect();
        let files: Vec<(&str, &[&[u8]])> =
            names.iter().zip(&contents).map(|(name, parts)| (name.as_str(), &parts[..])).collect();
        let keys: Vec<(RailId, Digest)> =
            fresh.iter().map(|at| (batch[*at].rail, batch[*at].shard.hash)).collect();
        if let Err(error) = self.disk.write(&files) {
            // Some of the files may be there. If they cannot be removed now, opening removes them.
            self.discard(&keys)?;
            return Err(error.into());
        }
        self.confirm(&keys)?;
        Ok(answers)
    }

    /// Records the shards of `batch` that are about to be written. Returns an answer for each shard,
    /// and which of them have to be written.
    #[expect(clippy::type_complexity, reason = "an answer for each shard, and a list")]
    fn announce(
        &self,
        batch: &[&Checked],
    ) -> Result<(Vec<Result<(), Refusal>>, Vec<usize>), StoreError> {
        let mut fresh = Vec::new();
        let mut answers = Vec::with_capacity(batch.len());
        let mut seen = BTreeMap::new();
        let write = self.index.begin_write()?;
        let (mut bytes, mut shards) = (0, 0);
        let free = self.free();
        for (at, checked) in batch.iter().enumerate() {
            let first = *seen.entry((checked.rail, checked.shard.hash)).or_insert(at);
            if first < at {
                answers.push(answers[first]);
                continue;
            }
            let taken = bytes + shards * SHARD_OVERHEAD;
            let outcome = self.enter(&write, checked, free.saturating_sub(taken))?;
            answers.push(outcome.map(drop));
            if let Ok(Entered { write: true, counted }) = outcome {
                fresh.push(at);
                bytes += counted;
                shards += u64::from(counted > 0);
            }
        }
        if fresh.is_empty() && answers.iter().all(Result::is_err) {
            write.abort().map_err(IndexError::from)?;
        } else {
            write.commit().map_err(IndexError::from)?;
        }
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.shards.fetch_add(shards, Ordering::SeqCst);
        Ok((answers, fresh))
    }

    /// Enters one shard into the index, if it has to be written and there is room.
    fn enter(
        &self,
        write: &WriteTransaction,
        checked: &Checked,
        room: u64,
    ) -> Result<Result<Entered, Refusal>, StoreError> {
        let (rail, hash, bytes) = (checked.rail, checked.shard.hash, checked.shard.bytes);
        let key: Key<'_> = (rail.0, &hash.0);
        let mut shards = write.open_table(SHARDS).map_err(IndexError::from)?;
        let found = shards.get(key).map_err(IndexError::from)?.map(|found| found.value());
        let there = match found {
            Some((_, HELD)) => {
                let length = self.disk.length(&shard::name(rail, hash))?;
                length == Some(shard::file_length(bytes))
            }
            Some((_, KEPT)) => true,
            _ => false,
        };
        let counted = if found.is_none() { bytes } else { 0 };
        if counted > 0 && counted + SHARD_OVERHEAD > room {
            return Ok(Err(Refusal::Full));
        }
        let enter = |shards: &mut Table<'_, Key<'_>, (u64, u8)>| -> Result<_, IndexError> {
            let mut usage = write.open_table(USAGE)?;
            let mut pending = write.open_table(PENDING)?;
            let news = if pending.get(key)?.is_none() { bytes } else { 0 };
            let (_, uncommitted, number) =
                usage.get(rail.0)?.map_or((0, 0, 0), |found| found.value());
            let over = self.over(checked, (uncommitted + news, number));
            if let Some(refusal) = over.filter(|_| news > 0) {
                return Ok(Err(refusal));
            }
            pending.insert(key, (0, 0))?;
            count(&mut usage, rail, |(all, uncommitted, shards)| {
                (all + counted, uncommitted + news, shards + u64::from(counted > 0))
            })?;
            if !there {
                shards.insert(key, (bytes, WRITING))?;
                write.open_table(UNSETTLED)?.insert(key, ())?;
            }
            Ok(Ok(Entered { write: !there, counted }))
        };
        Ok(enter(&mut shards)?)
    }

    /// Why a shard is too much for its rail, which then has so many bytes that wait for a commit, and
    /// has so many shards already.
    pub(crate) fn over(
        &self,
        checked: &Checked,
        (uncommitted, shards): (u64, u64),
    ) -> Option<Refusal> {
        if uncommitted > self.capacity / 2 || shards >= RAIL_SHARDS_MAX {
            return Some(Refusal::Full);
        }
        let all = self.committed(checked.rail).saturating_add(uncommitted);
        (all > checked.paid).then_some(Refusal::RateTooLow(all))
    }

    /// Whether shards are held for a rail.
    ///
    /// # Errors
    /// When the index fails.
    pub fn holds(&self, rail: RailId, hashes: &[Digest]) -> Result<Vec<bool>, StoreError> {
        hashes.iter().map(|hash| Ok(self.size(rail, *hash)?.is_some())).collect()
    }

    /// The size of a shard that is held for a rail.
    ///
    /// # Errors
    /// When the index fails.
    pub fn size(&self, rail: RailId, hash: Digest) -> Result<Option<u64>, StoreError> {
        if let Some(bytes) = self.fresh().get(rail, hash) {
            return Ok(u64::try_from(bytes.len()).ok());
        }
        let record = index::shard(&self.index, rail, hash)?;
        Ok(record.filter(|(_, state)| matches!(*state, HELD | KEPT)).map(|(bytes, _)| bytes))
    }

    /// Marks shards of a rail as to be deleted, within a transaction.
    pub(crate) fn condemn(
        write: &WriteTransaction,
        rail: RailId,
        hashes: impl IntoIterator<Item = Digest>,
    ) -> Result<Vec<(RailId, Digest)>, IndexError> {
        let mut shards = write.open_table(SHARDS)?;
        let mut unsettled = write.open_table(UNSETTLED)?;
        let mut condemned = Vec::new();
        for hash in hashes {
            let key = (rail.0, &hash.0);
            let Some((bytes, _)) = shards.get(key)?.map(|found| found.value()) else { continue };
            shards.insert(key, (bytes, DELETING))?;
            unsettled.insert(key, ())?;
            condemned.push((rail, hash));
        }
        Ok(condemned)
    }
}

/// The answers to so many shards when the store failed.
fn failed(error: StoreError, count: usize) -> Vec<Option<Result<(), Refusal>>> {
    vec![Some(Err(error.into())); count]
}

/// A shard that was entered into the index.
#[derive(Clone, Copy, Debug)]
struct Entered {
    /// Whether its file has to be written.
    write: bool,
    /// Bytes that it adds to what is stored.
    counted: u64,
}

pub(crate) const fn named(key: Key<'_>) -> (RailId, Digest) {
    (RailId(key.0), Digest(*key.1))
}

/// Changes the counts of a rail.
pub(crate) fn count(
    usage: &mut Table<'_, u64, (u64, u64, u64)>,
    rail: RailId,
    change: impl FnOnce((u64, u64, u64)) -> (u64, u64, u64),
) -> Result<(), IndexError> {
    let counts = usage.get(rail.0)?.map_or((0, 0, 0), |found| found.value());
    usage.insert(rail.0, change(counts))?;
    Ok(())
}

#[cfg(test)]
mod tests;
