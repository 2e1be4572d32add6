//! The index: what the agent holds for whom, in one redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format` | 3 |
//! | `meta` | `journal` | the generation of the [`crate::journal`] that this index has not taken over |
//! | `shards` | (rail, hash) | (size, state): [`WRITING`], [`HELD`], [`DELETING`] or [`KEPT`] |
//! | `small` | (rail, hash) | the bytes of a shard that is [`KEPT`] |
//! | `unsettled` | (rail, hash) | nothing: shards that are neither [`HELD`] nor [`KEPT`] |
//! | `waiting` | (rail, hash) | [`Age`]: shards stored for a commit that has not come |
//! | `usage` | rail | (bytes of all its shards, bytes of its pending shards, number of shards) |
//! | `rails` | rail | canonical [`RailRecord`] |
//! | `members` | (rail, hash) | size: the shards of [`RailRecord::folded`] |
//! | `changes` | (rail, version) | canonical [`Change`]: the versions after the folded one |
//! | `tabs` | rail | canonical [`crate::tab::Tab`] |
//! | `notes` | rail | the customer's note |
//! | `meta` | `leaving` | 1 if the device leaves; nothing or 0 otherwise |
//!
//! Format 1 had no shards that are [`KEPT`], formats 1 and 2 kept no ages; both are read. A shard with
//! a file is recorded as being written before its file is, and as being deleted before its file is
//! removed, so that after a crash `unsettled` names every file about which there is a doubt.
//!
//! After a write or a sync that failed, redb answers nothing more until the file is opened again
//! ([`Index::reopen`]).

use minicbor::{Decode, Encode};
use protocol::{Digest, Epoch, Micros, RailId, cbor, inputs::Rail};
use redb::{
    Builder, Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, ReadableTable,
    TableDefinition, WriteTransaction,
};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};
use storage_kind::dataset::{Shard, empty_root};

const FORMAT: u64 = 3;
/// The format without ages.
const FORMAT_AGELESS: u64 = 2;
/// The format without small shards.
const FORMAT_FILES_ONLY: u64 = 1;
/// Memory that redb may use for pages, bytes.
const CACHE_BYTES: usize = 4 << 20;

/// The file is being written, or was when the agent died.
pub(crate) const WRITING: u8 = 0;
/// The file is there, whole and durable.
pub(crate) const HELD: u8 = 1;
/// The file is to be removed, or the bytes in `small` are.
pub(crate) const DELETING: u8 = 2;
/// The bytes are in `small`.
pub(crate) const KEPT: u8 = 3;

pub(crate) type Key<'k> = (u64, &'k [u8; 32]);
/// How many epochs closed since a shard was stored, and in how many of them its customer committed
/// without it.
pub(crate) type Age = (u64, u64);

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(crate) const SHARDS: TableDefinition<'_, Key<'_>, (u64, u8)> = TableDefinition::new("shards");
pub(crate) const SMALL: TableDefinition<'_, Key<'_>, &[u8]> = TableDefinition::new("small");
pub(crate) const UNSETTLED: TableDefinition<'_, Key<'_>, ()> = TableDefinition::new("unsettled");
pub(crate) const PENDING: TableDefinition<'_, Key<'_>, Age> = TableDefinition::new("waiting");
const PENDING_AGELESS: TableDefinition<'_, Key<'_>, ()> = TableDefinition::new("pending");
pub(crate) const USAGE: TableDefinition<'_, u64, (u64, u64, u64)> = TableDefinition::new("usage");
pub(crate) const RAILS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rails");
pub(crate) const MEMBERS: TableDefinition<'_, Key<'_>, u64> = TableDefinition::new("members");
pub(crate) const CHANGES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("changes");
pub(crate) const TABS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tabs");
pub(crate) const NOTES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("notes");
const LEAVING: &str = "leaving";

/// What is known of a rail.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct RailRecord {
    /// Its terms on the ledger, as last seen.
    #[n(0)]
    pub(crate) terms: Rail,
    /// The newest version committed; 0 before the first.
    #[n(1)]
    pub(crate) newest: u64,
    /// The oldest version kept, whose shards are in `members`.
    #[n(2)]
    pub(crate) folded: Version,
    /// The epoch since which the ledger no longer lists it.
    #[n(3)]
    pub(crate) gone: Option<Epoch>,
    /// The most that its rate can have paid so far, and the last epoch that this counts.
    #[n(4)]
    pub(crate) earned: Option<(Epoch, Micros)>,
}

impl RailRecord {
    /// The record of a rail, known or not, that the ledger lists with these terms.
    pub(crate) fn admitted(known: Option<&Self>, terms: &Rail) -> Self {
        let (newest, folded) =
            known.map_or((0, Version::empty()), |record| (record.newest, record.folded.clone()));
        let earned = known.and_then(|record| record.earned);
        Self { terms: *terms, newest, folded, gone: None, earned }
    }

    /// The most that its rate can have paid so far.
    pub(crate) fn by_rate(&self) -> Micros {
        self.earned.map_or(Micros::ZERO, |(_, sum)| sum)
    }
}

/// A version of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Version {
    #[n(0)]
    pub(crate) version: u64,
    /// The version it was made from.
    #[n(1)]
    pub(crate) base: u64,
    #[n(2)]
    pub(crate) root: Digest,
    #[n(3)]
    pub(crate) bytes: u64,
    #[n(4)]
    pub(crate) shards: u64,
    /// The digest of the request that made it, by which a repeated one is known.
    #[n(5)]
    pub(crate) request: Digest,
}

impl Version {
    /// The version without shards that every dataset begins from.
    pub(crate) fn empty() -> Self {
        Self {
            version: 0,
            base: 0,
            root: empty_root(),
            bytes: 0,
            shards: 0,
            request: Digest::default(),
        }
    }
}

/// How a version differs from its base.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Change {
    #[n(0)]
    pub(crate) made: Version,
    #[n(1)]
    pub(crate) added: Vec<Shard>,
    #[n(2)]
    pub(crate) removed: Vec<Digest>,
}

/// Why the index cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file cannot be opened, for instance because another agent has it open.
    #[error("failed to open the index: {0}")]
    Open(Box<redb::DatabaseError>),
    /// The disk did not keep the file as it said it had.
    #[error(
        "the index {path} is damaged ({why}): put the data folder aside and start with an empty one; what it \
         held is repaired from other devices"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A read or write failed.
    #[error("index failed: {0}")]
    Storage(Box<redb::Error>),
    /// The file is of another format.
    #[error("index format {0} is not {FORMAT}; it was written by another version")]
    Format(u64),
    /// A write failed before, and the file could not be opened again yet.
    #[error("the index is closed after a failure, and will be opened again")]
    Closed,
    /// An entry does not decode, or does not fit the others.
    #[error("index is damaged: {0}")]
    Damaged(String),
}

macro_rules! storage_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for IndexError {
            fn from(error: $error) -> Self {
                Self::Storage(Box::new(error.into()))
            }
        })*
    };
}

storage_errors!(redb::TransactionError, redb::TableError, redb::StorageError, redb::CommitError);

impl From<cbor::DecodeError> for IndexError {
    fn from(error: cbor::DecodeError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Opens the index's file, or makes it, with the settings that the builder has.
pub type Opener = Box<dyn Fn(&mut Builder) -> Result<Database, DatabaseError> + Send + Sync>;

/// Gives random numbers, by which generations of the [`crate::journal`] are told apart.
pub type Random = Box<dyn Fn() -> u64 + Send + Sync>;

/// The index's file, which can be opened again.
pub(crate) struct Index {
    /// What it is called where somebody has to be told.
    path: PathBuf,
    opener: Opener,
    random: Random,
    /// Nothing after opening again failed.
    database: RwLock<Option<Arc<Database>>>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    pub(crate) fn open(path: PathBuf, opener: Opener, random: Random) -> Result<Self, IndexError> {
        let index = Self { path, opener, random, database: RwLock::default() };
        index.reopen()?;
        Ok(index)
    }

    /// Opens the file again. What was not durable is gone then, as after a crash.
    pub(crate) fn reopen(&self) -> Result<(), IndexError> {
        let mut current = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Closes it, unless somebody is just beginning a transaction: then this fails, and is tried
        // again later.
        drop(current.take());
        // Of some damage redb panics; nothing of what panicked is used again.
        let database =
            catch_unwind(AssertUnwindSafe(|| self.prepared())).unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let why =
                    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Err(IndexError::Broken { path: self.path.clone(), why })
            })?;
        *current = Some(Arc::new(database));
        Ok(())
    }

    /// The file, opened, of the right format and with all tables.
    fn prepared(&self) -> Result<Database, IndexError> {
        let opened = (self.opener)(Database::builder().set_cache_size(CACHE_BYTES));
        let database = opened.map_err(|error| IndexError::Open(error.into()))?;
        prepare(&database, self.generation())?;
        Ok(database)
    }

    /// A generation of the journal that was never before.
    pub(crate) fn generation(&self) -> u64 {
        (self.random)()
    }

    /// Whether it answers nothing any more until it is opened again.
    pub(crate) fn has_failed(&self) -> bool {
        match self.begin_write() {
            Err(IndexError::Storage(error)) => matches!(*error, redb::Error::PreviousIo),
            Err(IndexError::Closed) => true,
            _ => false,
        }
    }

    fn database(&self) -> Result<Arc<Database>, IndexError> {
        let current = self.database.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or(IndexError::Closed)
    }

    pub(crate) fn begin_read(&self) -> Result<ReadTransaction, IndexError> {
        Ok(self.database()?.begin_read()?)
    }

    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, IndexError> {
        Ok(self.database()?.begin_write()?)
    }
}

/// Checks the format of an open database and makes missing tables. If no generation of the journal is
/// named yet, `generation` is.
fn prepare(database: &Database, generation: u64) -> Result<(), IndexError> {
    let write = database.begin_write()?;
    {
        let mut meta = write.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        match found {
            Some(FORMAT) => {}
            None | Some(FORMAT_FILES_ONLY) => {
                meta.insert("format", FORMAT)?;
                meta.insert("journal", generation)?;
            }
            Some(FORMAT_AGELESS) => drop(meta.insert("format", FORMAT)?),
            Some(other) => return Err(IndexError::Format(other)),
        }
        write.open_table(SHARDS)?;
        write.open_table(SMALL)?;
        write.open_table(UNSETTLED)?;
        if found != Some(FORMAT) {
            give_ages(&write)?;
        }
        write.open_table(USAGE)?;
        write.open_table(RAILS)?;
        write.open_table(MEMBERS)?;
        write.open_table(CHANGES)?;
        write.open_table(TABS)?;
        write.open_table(NOTES)?;
    }
    Ok(write.commit()?)
}

/// Moves what waits for a commit from where formats 1 and 2 had it.
fn give_ages(write: &WriteTransaction) -> Result<(), IndexError> {
    let mut pending = write.open_table(PENDING)?;
    for entry in write.open_table(PENDING_AGELESS)?.iter()? {
        pending.insert(entry?.0.value(), (0, 0))?;
    }
    write.delete_table(PENDING_AGELESS)?;
    Ok(())
}

/// The generation of the journal that counts.
pub(crate) fn generation(index: &Index) -> Result<u64, IndexError> {
    let meta = index.begin_read()?.open_table(META)?;
    let found = meta.get("journal")?.map(|generation| generation.value());
    found.ok_or_else(|| IndexError::Damaged("no journal is named".into()))
}

/// Names the generation of the journal that counts once the transaction is committed.
pub(crate) fn set_generation(write: &WriteTransaction, generation: u64) -> Result<(), IndexError> {
    write.open_table(META)?.insert("journal", generation)?;
    Ok(())
}

/// Whether the device leaves.
pub(crate) fn is_leaving(index: &Index) -> Result<bool, IndexError> {
    let meta = index.begin_read()?.open_table(META)?;
    Ok(meta.get(LEAVING)?.is_some_and(|leaving| leaving.value() == 1))
}

/// Keeps whether the device leaves.
pub(crate) fn set_leaving(index: &Index, leaving: bool) -> Result<(), IndexError> {
    let write = index.begin_write()?;
    write.open_table(META)?.insert(LEAVING, u64::from(leaving))?;
    Ok(write.commit()?)
}

/// Begins a transaction that becomes durable with the next durable one only.
pub(crate) fn begin_lazy(index: &Index) -> Result<WriteTransaction, IndexError> {
    let mut write = index.begin_write()?;
    write
        .set_durability(Durability::None)
        .map_err(|error| IndexError::Damaged(error.to_string()))?;
    Ok(write)
}

/// The record of a rail.
pub(crate) fn rail(index: &Index, rail: RailId) -> Result<Option<RailRecord>, IndexError> {
    let table = index.begin_read()?.open_table(RAILS)?;
    let found = table.get(rail.0)?;
    found.map(|record| Ok(cbor::from_slice(record.value())?)).transpose()
}

/// The size and state of a shard.
pub(crate) fn shard(
    index: &Index,
    rail: RailId,
    hash: Digest,
) -> Result<Option<(u64, u8)>, IndexError> {
    let table = index.begin_read()?.open_table(SHARDS)?;
    Ok(table.get((rail.0, &hash.0))?.map(|found| found.value()))
}

/// All keys of one rail.
pub(crate) const fn range(rail: RailId) -> std::ops::RangeInclusive<Key<'static>> {
    (rail.0, &[0; 32])..=(rail.0, &[0xff; 32])
}
