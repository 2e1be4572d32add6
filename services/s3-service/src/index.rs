//! The service's own index: what is stored, where, for whom, and what is owed (design 11).
//!
//! One redb file. Rows are canonical CBOR arrays; the file carries a format version and refuses what
//! it does not know. Every change is one transaction that is durable when it returns, so the index
//! survives kill -9 at any moment with either all of a change or nothing of it.
//!
//! | table | key | row |
//! |---|---|---|
//! | `buckets` | name | [`Bucket`] |
//! | `objects` | name, 0, key | [`Object`] |
//! | `uploads` | name, 0, key, 0, upload | [`Upload`] |
//! | `parts` | upload, number | [`Part`] |
//! | `blobs` | blob | [`Blob`]: extents and how many objects and parts hold it |
//! | `placed` | segment, offset | the blob whose extent begins there |
//! | `segments` | segment | [`Segment`] with its shards |
//! | `queued` | segment, shard | a shard that needs a home: it is durable nowhere, or has to move |
//! | `unborn` | segment | stored, but not yet part of a blob |
//! | `garbage` | segment | nothing of it is needed; when that was so |
//! | `loose` | segment | packed, and worth packing again |
//! | `holdings` | rail, shard hash | [`Holding`]: what an agent holds, and what its dataset says |
//! | `rails` | rail | [`Rail`]: datasets and vouchers |
//! | `meta` | name | format, counters, whose keys, [`Stats`], [`Backup`] |
//! | `journal` | sequence | [`Entry`]: what a transaction changed, until a backup has it |
//!
//! Invariants ([`Reader::check`] walks them all, and every test ends with it):
//! * a segment's `live` is the sum of the extents placed in it; it is garbage, unborn or live, and
//!   only one of these;
//! * a blob's `refs` is the number of objects' and parts' mentions of it, and is never 0;
//! * a shard without a home is queued; it has a wanted holding if and only if it has one. One that has
//!   to move keeps its home, and can be read there, until it has the next;
//! * the stats are the sums of the rows.

mod changes;
mod check;
mod compact;
mod objects;
mod rails;
mod rows;
mod segments;
mod uploads;
mod writer;

pub use changes::{Backup, Change, Cursor, Dump, Entry};
pub use compact::{Loose, Move};
pub use objects::{Expect, Listing, ObjectPut, Query, Tag};
pub use rails::Proposal;
pub use rows::{
    Blob, BlobId, BlobRef, Bucket, Checksum, Committed, Extent, Headers, Holding, Home, Object,
    Part, Rail, Segment, ShardRow, Stats, Upload, UploadId,
};
pub use segments::Queued;
pub use uploads::{PartPut, UploadListing, UploadQuery};
pub use writer::Writer;

use crate::codec::SegmentId;
use changes::{Noted, Rows};
use minicbor::{Decode, Encode};
use protocol::{Digest, cbor};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};

/// The format of the file.
pub const FORMAT: u32 = 1;
/// Memory that the index may keep of its file, bytes.
const CACHE_BYTES: usize = 32 << 20;

/// Why the index did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IndexError {
    /// A bucket of that name is there.
    #[error("bucket {0} exists already")]
    BucketExists(String),
    /// No bucket of that name.
    #[error("no bucket {0}")]
    NoSuchBucket(String),
    /// The bucket has objects.
    #[error("bucket {0} is not empty")]
    BucketNotEmpty(String),
    /// No object of that key.
    #[error("no object {0}")]
    NoSuchKey(String),
    /// No such multipart upload.
    #[error("no such upload, or it was completed or aborted")]
    NoSuchUpload,
    /// A part that was not uploaded, or another one than is named.
    #[error("part {0} was not uploaded or has another etag or checksum")]
    InvalidPart(u16),
    /// Parts not in ascending order.
    #[error("parts are not in ascending order")]
    PartOrder,
    /// A part other than the last that is below the smallest size.
    #[error("part {0} is smaller than the smallest allowed size")]
    PartTooSmall(u16),
    /// A condition of the request does not hold.
    #[error("a condition of the request does not hold")]
    Condition,
    /// The rail's dataset is in another state than the caller thinks.
    #[error("rail {0}: the dataset is not at that version")]
    Version(u64),
    /// A file made by another version of this program.
    #[error("index has format {0}, this program knows {FORMAT}")]
    Format(u32),
    /// The index belongs to other keys.
    #[error("index was made with another keyring: give back the one it was made with")]
    Keys,
    /// The index contradicts itself.
    #[error("index is damaged: {0}")]
    Damaged(&'static str),
    /// The disk did not keep the file as it said it had.
    #[error(
        "the index {path} is damaged ({why}): put it aside and recover the index from the keys and the network"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The disk or the store refused.
    #[error("index: {0}")]
    Store(Arc<redb::Error>),
    /// The service is stopping.
    #[error("the index is closed")]
    Closed,
}

impl IndexError {
    /// Whether the whole transaction must be given up, and not this change alone.
    fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Store(_) | Self::Damaged(_) | Self::Format(_) | Self::Keys | Self::Closed
        )
    }
}

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(error: E) -> Self {
        Self::Store(Arc::new(error.into()))
    }
}

type Bytes = &'static [u8];
type Definition = TableDefinition<'static, Bytes, Bytes>;

macro_rules! tables {
    ($($name:ident),+ $(,)?) => {
        /// All tables, open for writing in one transaction.
        pub struct Tables<'t> {
            $($name: Noted<'t>,)+
            journal: redb::Table<'t, Bytes, Bytes>,
            stats: Stats,
            saved: Stats,
        }

        /// All tables at one moment, open for reading.
        pub struct Reader {
            $($name: redb::ReadOnlyTable<Bytes, Bytes>,)+
            journal: redb::ReadOnlyTable<Bytes, Bytes>,
        }

        impl<'t> Tables<'t> {
            fn open(txn: &'t redb::WriteTransaction) -> Result<Self, IndexError> {
                let mut tables = Self {
                    $($name: Noted::new(txn.open_table(Definition::new(stringify!($name)))?),)+
                    journal: txn.open_table(JOURNAL)?,
                    stats: Stats::default(),
                    saved: Stats::default(),
                };
                tables.stats = get(&tables.meta, STATS)?.unwrap_or_default();
                tables.saved = tables.stats;
                Ok(tables)
            }

            /// All tables in the order of their numbers, which is for good.
            fn all(&mut self) -> [&mut Noted<'t>; COUNT] {
                [$(&mut self.$name,)+]
            }
        }

        impl Reader {
            fn open(txn: &redb::ReadTransaction) -> Result<Self, IndexError> {
                Ok(Self {
                    $($name: txn.open_table(Definition::new(stringify!($name)))?,)+
                    journal: txn.open_table(JOURNAL)?,
                })
            }

            fn all(&self) -> [&redb::ReadOnlyTable<Bytes, Bytes>; COUNT] {
                [$(&self.$name,)+]
            }
        }
    };
}
tables!(
    buckets, objects, uploads, parts, blobs, placed, segments, queued, unborn, garbage, loose,
    holdings, rails, meta,
);

/// How many tables there are beside the journal.
const COUNT: usize = 14;
const JOURNAL: Definition = Definition::new("journal");
const STATS: &[u8] = b"stats";
const FORMAT_KEY: &[u8] = b"format";
const BLOB_NEXT: &[u8] = b"blob-next";
const KEYS_KEY: &[u8] = b"keys";

impl std::fmt::Debug for Tables<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").field("stats", &self.stats).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// Opens the file again.
type Opener = Box<dyn Fn() -> Result<redb::Database, IndexError> + Send + Sync>;

enum File {
    Open(redb::Database),
    /// The disk failed, and the database does nothing more until it is opened again.
    Failed,
    Closed,
}

impl File {
    const fn get(&self) -> Result<&redb::Database, IndexError> {
        match self {
            Self::Open(db) => Ok(db),
            Self::Failed | Self::Closed => Err(IndexError::Closed),
        }
    }
}

/// The index.
///
/// A disk that fails or is full for a moment fails what is asked in that moment. The database below
/// would refuse everything from then on, so it is opened again with the next request.
pub struct Index {
    file: RwLock<File>,
    opener: Opener,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index at `path`, or makes it.
    ///
    /// # Errors
    /// [`IndexError::Format`] for a file of another version; [`IndexError::Store`].
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let file = path.to_owned();
        let opener: Opener = Box::new(move || {
            Ok(redb::Database::builder().set_cache_size(CACHE_BYTES).create(&file)?)
        });
        Self::open_whole(opener, path)
    }

    /// An index in the files that `file` gives, one each time that it is opened: for simulation.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn over<B: redb::StorageBackend>(
        file: impl Fn() -> B + Send + Sync + 'static,
    ) -> Result<Self, IndexError> {
        let opener: Opener = Box::new(move || {
            Ok(redb::Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(file())?)
        });
        Self::open_whole(opener, Path::new("in a simulated file"))
    }

    fn open_whole(opener: Opener, path: &Path) -> Result<Self, IndexError> {
        // Of some damage redb panics; nothing of what panicked is used again.
        catch_unwind(AssertUnwindSafe(|| Self::open_by(opener))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let why = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(IndexError::Broken { path: path.to_owned(), why })
        })
    }

    /// An index in memory, for tests and simulation.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn in_memory() -> Result<Self, IndexError> {
        let memory = Mutex::new(Some(redb::backends::InMemoryBackend::new()));
        Self::open_by(Box::new(move || {
            let memory = memory.lock().unwrap_or_else(PoisonError::into_inner).take();
            let memory = memory.ok_or(IndexError::Closed)?;
            Ok(redb::Database::builder().create_with_backend(memory)?)
        }))
    }

    /// Checks the format; what was being stored when the service ended is garbage.
    fn open_by(opener: Opener) -> Result<Self, IndexError> {
        let index = Self { file: RwLock::new(File::Open(opener()?)), opener };
        index.write(|tables| {
            match get::<u32>(&tables.meta, FORMAT_KEY)? {
                None => tables.begin()?,
                Some(FORMAT) => {}
                Some(other) => return Err(IndexError::Format(other)),
            }
            let unborn: Vec<SegmentId> = ids(&tables.unborn)?;
            unborn.into_iter().try_for_each(|segment| tables.abandon(segment, 0))
        })?;
        Ok(index)
    }

    /// The file, opened again if it failed.
    fn file(&self) -> Result<RwLockReadGuard<'_, File>, IndexError> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*file, File::Failed) {
            return Ok(file);
        }
        drop(file);
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*file, File::Failed) {
            *file = File::Open((self.opener)()?);
            tracing::warn!("the index was opened again after its disk failed");
        }
        drop(file);
        Ok(self.file.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What failed on the disk's account is opened again with the next request.
    fn noted<T>(&self, done: Result<T, IndexError>) -> Result<T, IndexError> {
        if let Err(IndexError::Store(error)) = &done
            && matches!(**error, redb::Error::Io(_) | redb::Error::PreviousIo)
        {
            let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
            if matches!(*file, File::Open(_)) {
                *file = File::Failed;
            }
        }
        done
    }

    /// All tables as they are now.
    ///
    /// # Errors
    /// [`IndexError::Store`], [`IndexError::Closed`].
    pub fn reader(&self) -> Result<Reader, IndexError> {
        let file = self.file()?;
        let opened = file.get().and_then(|db| Reader::open(&db.begin_read()?));
        drop(file);
        self.noted(opened)
    }

    /// Ties the index to the keys with this fingerprint: with others nothing in it could be read.
    ///
    /// # Errors
    /// [`IndexError::Keys`] if it was tied to others before.
    pub fn tie(&self, fingerprint: &Digest) -> Result<(), IndexError> {
        self.write(|tables| match get::<Digest>(&tables.meta, KEYS_KEY)? {
            None => put(&mut tables.meta, KEYS_KEY, fingerprint),
            Some(known) if known == *fingerprint => Ok(()),
            Some(_) => Err(IndexError::Keys),
        })
    }

    /// Reads; the index is not closed meanwhile.
    ///
    /// # Errors
    /// The reading's own, [`IndexError::Store`], [`IndexError::Closed`].
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let file = self.file()?;
        let reader = file.get().and_then(|db| Reader::open(&db.begin_read()?));
        let done = reader.and_then(|reader| read(&reader));
        drop(file);
        self.noted(done)
    }

    /// Makes one change, durable when this returns; an error leaves nothing of it.
    ///
    /// # Errors
    /// The change's own, [`IndexError::Store`], [`IndexError::Closed`].
    pub fn write<T>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let file = self.file()?;
        let done = file.get().and_then(|db| transact(db, change));
        drop(file);
        self.noted(done)
    }

    /// Closes the file, once what is under way is done. All later calls are [`IndexError::Closed`].
    pub fn close(&self) {
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = File::Closed;
    }
}

fn transact<T>(
    db: &redb::Database,
    change: impl FnOnce(&mut Tables<'_>) -> Result<T, IndexError>,
) -> Result<T, IndexError> {
    let txn = db.begin_write()?;
    let done = {
        let mut tables = Tables::open(&txn)?;
        let done = change(&mut tables)?;
        tables.save()?;
        done
    };
    txn.commit()?;
    Ok(done)
}

impl Tables<'_> {
    fn save(&mut self) -> Result<(), IndexError> {
        if self.stats != self.saved {
            put(&mut self.meta, STATS, &self.stats)?;
        }
        self.note()
    }
}

impl Reader {
    /// Sums over the whole index.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn stats(&self) -> Result<Stats, IndexError> {
        Ok(get(&self.meta, STATS)?.unwrap_or_default())
    }
}

fn decode<T>(bytes: &[u8]) -> Result<T, IndexError>
where
    T: for<'b> Decode<'b, ()>,
{
    minicbor::decode(bytes).map_err(|_| IndexError::Damaged("a row does not decode"))
}

/// A count of a row and what is added to it: one that grows beyond its type was never counted.
fn more(count: u64, by: u64) -> Result<u64, IndexError> {
    count.checked_add(by).ok_or(IndexError::Damaged("a count is too large"))
}

fn get<T>(table: &impl Rows, key: &[u8]) -> Result<Option<T>, IndexError>
where
    T: for<'b> Decode<'b, ()>,
{
    table.rows().get(key)?.map(|row| decode(row.value())).transpose()
}

fn put<T: Encode<()>>(table: &mut Noted<'_>, key: &[u8], row: &T) -> Result<(), IndexError> {
    table.insert(key, cbor::to_vec(row))
}

/// Whether there was a row.
fn cut(table: &mut Noted<'_>, key: &[u8]) -> Result<bool, IndexError> {
    table.remove(key)
}

/// The rows whose key begins with `prefix`, in order.
fn under<'t, T: Rows>(
    table: &'t T,
    prefix: &[u8],
) -> Result<impl Iterator<Item = Result<Pair<'t>, IndexError>> + use<'t, T>, IndexError> {
    from(table, prefix, prefix)
}

type Pair<'t> = (redb::AccessGuard<'t, Bytes>, redb::AccessGuard<'t, Bytes>);

/// The rows from `start` on whose key begins with `prefix`, in order.
fn from<'t, T: Rows>(
    table: &'t T,
    prefix: &[u8],
    start: &[u8],
) -> Result<impl Iterator<Item = Result<Pair<'t>, IndexError>> + use<'t, T>, IndexError> {
    let prefix = prefix.to_vec();
    let range = table.rows().range(start..)?;
    Ok(range.map(|row| row.map_err(IndexError::from)).take_while(move |row| match row {
        Ok((key, _)) => key.value().starts_with(&prefix),
        Err(_) => true,
    }))
}

/// The segments that a table is keyed by.
fn ids(table: &impl Rows) -> Result<Vec<SegmentId>, IndexError> {
    under(table, &[])?.map(|row| segment_of(row?.0.value())).collect()
}

fn segment_of(key: &[u8]) -> Result<SegmentId, IndexError> {
    key.first_chunk::<16>()
        .map(|id| SegmentId(*id))
        .ok_or(IndexError::Damaged("a key is too short for a segment"))
}

#[cfg(test)]
mod tests;
