//! What changed: every transaction leaves an [`Entry`] in the journal, in the same transaction, until a backup
//! has it; all rows can be dumped at one moment; and both can be put into an index that is made anew.
//!
//! An entry is about rows and not about what they mean, so that an index put together from a dump and the
//! entries after it equals the one it was made from, whatever a row is.

use super::{
    BlobRef, Bytes, COUNT, FORMAT, FORMAT_KEY, IndexError, Reader, Tables, cut, decode, get, more,
    put,
};
use crate::num::wide;
use minicbor::{Decode, Encode};
use protocol::cbor;
use redb::ReadableTable;
use std::collections::BTreeMap;

/// Entries kept at most while no backup takes them. With more of them all is dumped anew.
pub(super) const ENTRIES_MAX: u64 = 65_536;

const SEQUENCE: &[u8] = b"sequence";
const BACKUP: &[u8] = b"backup";

/// Rows that can be read.
pub(super) trait Rows {
    /// The table they are in.
    type Table: ReadableTable<Bytes, Bytes>;

    /// That table.
    fn rows(&self) -> &Self::Table;
}

impl Rows for redb::ReadOnlyTable<Bytes, Bytes> {
    type Table = Self;

    fn rows(&self) -> &Self {
        self
    }
}

/// A table that notes what changes in it.
pub(super) struct Noted<'t> {
    table: redb::Table<'t, Bytes, Bytes>,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'t> Noted<'t> {
    pub(super) const fn new(table: redb::Table<'t, Bytes, Bytes>) -> Self {
        Self { table, changes: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, key: &[u8], row: Vec<u8>) -> Result<(), IndexError> {
        self.table.insert(key, row.as_slice())?;
        self.changes.insert(key.to_vec(), Some(row));
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Result<bool, IndexError> {
        let was = self.table.remove(key)?.is_some();
        if was {
            self.changes.insert(key.to_vec(), None);
        }
        Ok(was)
    }
}

impl<'t> Rows for Noted<'t> {
    type Table = redb::Table<'t, Bytes, Bytes>;

    fn rows(&self) -> &Self::Table {
        &self.table
    }
}

/// A row that changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Change {
    /// The table's number.
    #[n(0)]
    pub table: u8,
    /// The key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub key: Vec<u8>,
    /// The row; nothing if it was removed.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub row: Option<Vec<u8>>,
}

/// What one transaction changed, or a part of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Entry {
    /// The number of the transaction, or of the last one that a dump has.
    #[n(0)]
    pub sequence: u64,
    /// The rows.
    #[n(1)]
    pub changes: Vec<Change>,
}

/// What of the index is with the agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Backup {
    /// The newest dump.
    #[n(0)]
    pub dump: Vec<BlobRef>,
    /// Entries after it, in order.
    #[n(1)]
    pub logs: Vec<BlobRef>,
    /// Up to here entries are in the dump or in these.
    #[n(2)]
    pub logged: u64,
    /// Whether dump, logs and journal make the whole index: a dump is needed first otherwise.
    #[n(3)]
    pub complete: bool,
}

/// Where a dump goes on: a table's number and the last key.
pub type Cursor = (usize, Vec<u8>);

/// A part of a dump, and where to go on.
pub type Dump = (Entry, Option<Cursor>);

impl Tables<'_> {
    /// A new index: all that it ever holds is in its journal.
    pub(super) fn begin(&mut self) -> Result<(), IndexError> {
        put(&mut self.meta, FORMAT_KEY, &FORMAT)?;
        put(&mut self.meta, BACKUP, &Backup { complete: true, ..Backup::default() })
    }

    /// Notes what changed in this transaction.
    pub(super) fn note(&mut self) -> Result<(), IndexError> {
        let mut changes = Vec::new();
        for (number, table) in (0u8..).zip(self.all()) {
            let changed = std::mem::take(&mut table.changes).into_iter();
            changes.extend(changed.map(|(key, row)| Change { table: number, key, row }));
        }
        if changes.is_empty() {
            return Ok(());
        }
        let sequence = more(get::<u64>(&self.meta, SEQUENCE)?.unwrap_or(0), 1)?;
        self.number(sequence)?;
        let entry = Entry { sequence, changes };
        self.journal.insert(sequence.to_be_bytes().as_slice(), cbor::to_vec(&entry).as_slice())?;
        let first = self.journal.first()?.map(|(key, _)| sequence_of(key.value())).transpose()?;
        if first.is_some_and(|first| sequence.saturating_sub(first) >= ENTRIES_MAX) {
            let backup = Backup { complete: false, ..self.backup()? };
            self.journal.retain(|_, _| false)?;
            // Not noted: it is of use to this index alone.
            self.meta.table.insert(BACKUP, cbor::to_vec(&backup).as_slice())?;
        }
        Ok(())
    }

    fn number(&mut self, sequence: u64) -> Result<(), IndexError> {
        self.meta.table.insert(SEQUENCE, cbor::to_vec(&sequence).as_slice())?;
        Ok(())
    }

    fn backup(&self) -> Result<Backup, IndexError> {
        Ok(get(&self.meta, BACKUP)?.unwrap_or_default())
    }

    /// Another dump, or another log, is with the agents: those that it makes needless go, and the entries
    /// that are in it.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn backed_up(&mut self, new: &Backup, now_ms: u64) -> Result<(), IndexError> {
        let old = self.backup()?;
        for blob in old.dump.iter().chain(&old.logs) {
            if !new.dump.contains(blob) && !new.logs.contains(blob) {
                self.release(blob.blob, now_ms)?;
            }
        }
        put(&mut self.meta, BACKUP, new)?;
        self.journal.retain_in(..=new.logged.to_be_bytes().as_slice(), |_, _| false)?;
        Ok(())
    }

    /// Puts rows into an index that is made anew; nothing of that is noted.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] for a table that there is none of.
    pub fn restore(&mut self, changes: &[Change]) -> Result<(), IndexError> {
        let mut tables = self.all();
        for change in changes {
            let table = tables
                .get_mut(usize::from(change.table))
                .ok_or(IndexError::Damaged("a backup has a table more"))?;
            match &change.row {
                Some(row) => drop(table.table.insert(change.key.as_slice(), row.as_slice())?),
                None => drop(table.table.remove(change.key.as_slice())?),
            }
        }
        self.stats = get(&self.meta, super::STATS)?.unwrap_or_default();
        self.saved = self.stats;
        Ok(())
    }

    /// Empties an index before it is made anew.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn clear(&mut self) -> Result<(), IndexError> {
        for table in self.all() {
            table.table.retain(|_, _| false)?;
            table.changes.clear();
        }
        self.journal.retain(|_, _| false)?;
        Ok(())
    }

    /// The index was made anew from what it was at `sequence`. It counts on far beyond, as the one that was
    /// lost may have, and is dumped first.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn restored(&mut self, sequence: u64) -> Result<(), IndexError> {
        self.number(sequence.saturating_add(1 << 32))?;
        let backup = Backup { complete: false, ..self.backup()? };
        cut(&mut self.meta, BACKUP)?;
        put(&mut self.meta, BACKUP, &backup)
    }
}

impl Reader {
    /// The number of the last transaction.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn sequence(&self) -> Result<u64, IndexError> {
        Ok(get(&self.meta, SEQUENCE)?.unwrap_or(0))
    }

    /// What of the index is with the agents.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn backup(&self) -> Result<Backup, IndexError> {
        Ok(get(&self.meta, BACKUP)?.unwrap_or_default())
    }

    /// The entries after `after`, until their rows are `limit` bytes or more.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn journal(&self, after: u64, limit: usize) -> Result<Vec<Entry>, IndexError> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let start = after.saturating_add(1).to_be_bytes();
        for row in self.journal.range(start.as_slice()..)? {
            let row = row?.1;
            bytes += row.value().len();
            entries.push(decode(row.value())?);
            if bytes >= limit {
                break;
            }
        }
        Ok(entries)
    }

    /// A part of all rows, of some `limit` bytes, from where the last part ended.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn dump(&self, from: Option<Cursor>, limit: usize) -> Result<Dump, IndexError> {
        let (first, mut after) = from.map_or((0, None), |(table, key)| (table, Some(key)));
        let mut entry = Entry { sequence: self.sequence()?, changes: Vec::new() };
        let mut bytes = 0;
        for (number, table) in self.all().into_iter().enumerate().skip(first) {
            let start = after.take();
            let rows = match &start {
                Some(key) => table.range::<&[u8]>((
                    std::ops::Bound::Excluded(key.as_slice()),
                    std::ops::Bound::Unbounded,
                ))?,
                None => table.range::<&[u8]>(..)?,
            };
            for row in rows {
                let (key, row) = row?;
                let (key, row) = (key.value().to_vec(), row.value().to_vec());
                bytes += key.len() + row.len();
                let cursor = (bytes >= limit).then(|| (number, key.clone()));
                let table = u8::try_from(number).unwrap_or(u8::MAX);
                entry.changes.push(Change { table, key, row: Some(row) });
                if cursor.is_some() {
                    return Ok((entry, cursor));
                }
            }
        }
        debug_assert!(wide(COUNT) < 256);
        Ok((entry, None))
    }
}

fn sequence_of(key: &[u8]) -> Result<u64, IndexError> {
    key.first_chunk::<8>()
        .map(|sequence| u64::from_be_bytes(*sequence))
        .ok_or(IndexError::Damaged("an entry's key is too short"))
}
