//! What was final: blocks, receipts, indexes and the undo log, in one redb file.
//!
//! Rules:
//! * a block is recorded in one transaction, with an fsync, *before* its state is applied: what the
//!   state reflects is always here, whenever the power fails. After a restart the state may lag; the
//!   blocks between are delivered again and recording them again changes nothing;
//! * heights are without gaps from [`History::first`] on, and a height never changes its block
//!   ([`HistoryError::Conflict`]). A node that fetched its state from others begins in the middle: of
//!   the block of that state it has the header alone, and of those below it what it had before, which
//!   is genesis at least. What is missing below the first height is an error that says so
//!   ([`HistoryError::Before`]), never an empty answer;
//! * transactions, receipts and blobs are kept apart, so that blobs can be pruned alone
//!   ([`Retention::blobs`]);
//! * for the last [`Retention::undo`] blocks every value they overwrote is kept, so that state can be
//!   read as it was after any of them: the value of a key after block `h` is what the first block
//!   above `h` that wrote the key overwrote, or else the value now.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | format version, digest of the genesis file, first height (8, BE; 0 if absent) |
//! | `headers` | height | 709 bytes |
//! | `hashes` | block hash | height |
//! | `transactions` | height, index | EIP-2718 bytes |
//! | `places` | transaction hash | height, index, but for those of the last blocks (see `places`) |
//! | `receipts` | height, index | see `encode_receipt` |
//! | `blobs` | height, index | bytes |
//! | `undo` | state key (32) ‖ height (8, BE) | 72 bytes, or none if the key was absent |
//! | `undo_keys` | height | state keys the block wrote, 32 bytes each |
//! | `committees` | term | the seats by key, 196 bytes each: key, seed key, possession, account |
//! | `links` | term | how the term ended, for nodes that join ([`crate::join`]) |
//!
//! `committees` and `links` are younger than the others: a file without them is read as before and gets them, with the
//! terms from then on.

mod damage;
mod memory;
mod middle;
mod places;
mod receipt;
mod terms;

pub(crate) use damage::Session;
pub use memory::MemoryFile;
pub use places::Place;

use crate::{
    block::{Block, Body, blob_hash},
    header::Header,
};
use alloy_primitives::{B256, Bloom, keccak256};
use bytes::Bytes;
use commonware_codec::FixedSize as _;
use execution::{Receipt, VALUE_BYTES, Value};
use middle::{first_in, missing, whole_header};
pub(crate) use receipt::{decode_receipt, encode_receipt};
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, StorageBackend, Table, TableDefinition, WriteTransaction,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock},
};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const HEADERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("headers");
const HASHES: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("hashes");
const TRANSACTIONS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("transactions");
const PLACES: TableDefinition<'_, &[u8; 32], (u64, u32)> = TableDefinition::new("places");
const RECEIPTS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("receipts");
const BLOBS: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("blobs");
const UNDO: TableDefinition<'_, &[u8; 40], &[u8]> = TableDefinition::new("undo");
const UNDO_KEYS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("undo_keys");

/// The version of the tables. Version 1 is read and becomes this one: it has all places in their table.
const FORMAT: u8 = 2;
/// Bytes of pages redb keeps in memory.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// How much of the past is kept beyond headers, transactions and receipts, which stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Blocks whose state can be read. At least 1.
    pub undo: u64,
    /// Blocks whose blobs are kept; all if none is given.
    pub blobs: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { undo: 256, blobs: None }
    }
}

/// Why the history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file or the disk under it failed.
    #[error("history file failed: {0}")]
    File(Box<redb::Error>),
    /// The file is of another version of this program.
    #[error("history file has format {0}, this program reads format {FORMAT}")]
    Format(u8),
    /// The data on disk began with another genesis.
    #[error(
        "the data on disk belongs to another genesis ({disk}, not {given}): use another folder or start over"
    )]
    Genesis {
        /// Digest of the genesis file the data began with.
        disk: B256,
        /// Digest of the genesis file given now.
        given: B256,
    },
    /// Another block is final at this height.
    #[error("another block is final at height {0}")]
    Conflict(u64),
    /// The block does not follow the last one recorded.
    #[error("block {height} does not follow the last recorded one ({head})")]
    Gap {
        /// The last height recorded.
        head: u64,
        /// The height given.
        height: u64,
    },
    /// The node began above this height.
    #[error("block {height} is before this node's first height {first}: ask an archive")]
    Before {
        /// The height asked for.
        height: u64,
        /// The first height of this node.
        first: u64,
    },
    /// State so old is not kept.
    #[error("state at height {height} is no longer kept, the oldest is {oldest}")]
    Pruned {
        /// The height asked for.
        height: u64,
        /// The oldest height whose state can be read.
        oldest: u64,
    },
    /// The ledger has stopped and closed the file.
    #[error("the ledger has stopped")]
    Closed,
    /// The disk did not keep the file as it said it had.
    #[error(
        "the history file {} is damaged ({why}): put the ledger's folder aside and start with an empty one, \
         the node fetches what it lacks from others; the only node of a ledger needs its backup", file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What was found.
        why: String,
    },
    /// The file holds something this program did not write.
    #[error("history file is corrupt: {0}")]
    Corrupt(&'static str),
}

impl<E: Into<redb::Error>> From<E> for HistoryError {
    fn from(error: E) -> Self {
        Self::File(Box::new(error.into()))
    }
}

/// A final block with its receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finalized {
    /// Digest of the block.
    pub hash: B256,
    /// The header.
    pub header: Header,
    /// EIP-2718 bytes of the transactions.
    pub transactions: Vec<Bytes>,
    /// One receipt a transaction.
    pub receipts: Vec<Receipt>,
    /// The evidence blobs, or nothing once they are pruned.
    pub blobs: Option<Vec<Bytes>>,
}

impl Finalized {
    /// The height of the block.
    pub const fn height(&self) -> u64 {
        self.header.height
    }

    /// What a node has of the block whose state it fetched: the header.
    pub(crate) fn base(header: Header) -> Self {
        let (transactions, receipts) = (Vec::new(), Vec::new());
        Self { hash: header.digest(), header, transactions, receipts, blobs: None }
    }

    /// The hashes of the transactions, in order.
    pub fn transaction_hashes(&self) -> impl Iterator<Item = B256> {
        self.transactions.iter().map(keccak256)
    }

    /// The block as it was certified, unless its blobs are pruned.
    pub fn block(&self) -> Option<Block> {
        let body = Body { transactions: self.transactions.clone(), blobs: self.blobs.clone()? };
        Block::new(self.header.clone(), body).ok()
    }
}

/// A final transaction with its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Where it stands.
    pub place: Place,
    /// Digest of its block.
    pub block: B256,
    /// EIP-2718 bytes.
    pub transaction: Bytes,
    /// What became of it.
    pub receipt: Receipt,
}

/// What a block overwrote: state keys and the values they had.
pub(crate) type Undo = BTreeMap<[u8; 32], Option<Value>>;

/// The open file.
#[derive(Debug)]
pub struct History {
    /// Nothing once closed, so that handles that outlive the ledger do not hold the file.
    db: RwLock<Option<Database>>,
    retention: Retention,
    /// Where the transactions of the last blocks stand.
    places: Mutex<Option<places::Places>>,
}

impl History {
    /// Opens or creates the file at `path` for the ledger whose genesis file has this digest.
    ///
    /// # Errors
    /// The file is in use, damaged, of another format or of another genesis.
    pub fn open(path: &Path, genesis: B256, retention: Retention) -> Result<Self, HistoryError> {
        damage::guarded(path, || Self::prepare(builder().create(path)?, genesis, retention))
    }

    /// Opens or creates the file in `backend`, for simulation.
    ///
    /// # Errors
    /// As [`History::open`].
    pub fn open_in(
        backend: impl StorageBackend,
        genesis: B256,
        retention: Retention,
    ) -> Result<Self, HistoryError> {
        damage::guarded(Path::new("in memory"), || {
            Self::prepare(builder().create_with_backend(backend)?, genesis, retention)
        })
    }

    fn prepare(db: Database, genesis: B256, retention: Retention) -> Result<Self, HistoryError> {
        let this = Self { db: RwLock::new(Some(db)), retention, places: Mutex::default() };
        let txn = this.begin_write()?;
        {
            let mut meta = txn.open_table(META)?;
            let format = meta.get("format")?.map(|value| value.value().to_vec());
            let disk = meta.get("genesis")?.map(|value| value.value().to_vec());
            match (format.as_deref(), disk.as_deref()) {
                (None, None) => {
                    meta.insert("format", &[FORMAT][..])?;
                    meta.insert("genesis", genesis.as_slice())?;
                }
                (Some([1 | FORMAT]), Some(disk)) if disk == genesis.as_slice() => {
                    meta.insert("format", &[FORMAT][..])?;
                }
                (Some([1 | FORMAT]), Some(disk)) => {
                    let disk =
                        B256::try_from(disk).map_err(|_| HistoryError::Corrupt("genesis"))?;
                    return Err(HistoryError::Genesis { disk, given: genesis });
                }
                (format, _) => {
                    return Err(HistoryError::Format(
                        format.and_then(|bytes| bytes.first().copied()).unwrap_or(0),
                    ));
                }
            }
            // Every table exists from the start, so that readers never miss one.
            let head = txn.open_table(HEADERS)?.last()?.map(|(height, _)| height.value());
            txn.open_table(HASHES)?;
            txn.open_table(TRANSACTIONS)?;
            txn.open_table(PLACES)?;
            txn.open_table(RECEIPTS)?;
            txn.open_table(BLOBS)?;
            txn.open_table(UNDO)?;
            txn.open_table(UNDO_KEYS)?;
            txn.open_table(terms::LINKS)?;
            txn.open_table(terms::COMMITTEES)?;
            drop(meta);
            places::begin(&txn, head)?;
        }
        txn.commit()?;
        Ok(this)
    }

    fn begin_write(&self) -> Result<WriteTransaction, HistoryError> {
        // A reader or writer that panicked left no change: redb's transactions are whole or nothing.
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let mut txn = db.as_ref().ok_or(HistoryError::Closed)?.begin_write()?;
        // Opening after kill -9 then reads the allocator's state instead of walking the whole file.
        txn.set_quick_repair(true);
        Ok(txn)
    }

    fn begin_read(&self) -> Result<ReadTransaction, HistoryError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        Ok(db.as_ref().ok_or(HistoryError::Closed)?.begin_read()?)
    }

    /// Closes the file. Everything after that gives [`HistoryError::Closed`].
    pub(crate) fn close(&self) {
        drop(self.db.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The last height recorded, or nothing before genesis.
    ///
    /// # Errors
    /// The file failed.
    pub fn head(&self) -> Result<Option<u64>, HistoryError> {
        let headers = self.begin_read()?.open_table(HEADERS)?;
        Ok(headers.last()?.map(|(height, _)| height.value()))
    }

    /// Records a final block. Recording it again changes nothing.
    ///
    /// # Errors
    /// The file failed, another block is final at the height, or a height was left out.
    pub(crate) fn record(&self, block: &Finalized, undo: &Undo) -> Result<(), HistoryError> {
        let height = block.header.height;
        let txn = self.begin_write()?;
        {
            let mut headers = txn.open_table(HEADERS)?;
            let head = headers.last()?.map(|(height, _)| height.value());
            match head {
                Some(head) if height <= head => {
                    let recorded = headers.get(height)?.map(|header| header.value().to_vec());
                    return match recorded {
                        Some(bytes) if bytes == block.header.to_bytes() => Ok(()),
                        _ => Err(HistoryError::Conflict(height)),
                    };
                }
                Some(head) if height != head + 1 => return Err(HistoryError::Gap { head, height }),
                _ => {}
            }
            headers.insert(height, &block.header.to_bytes()[..])?;
        }
        txn.open_table(HASHES)?.insert(&block.hash.0, height)?;
        record_body(&txn, block)?;
        record_undo(&txn, height, undo)?;
        let moved = self.write_places(&txn, height, block.transactions.len())?;
        self.prune(&txn, height)?;
        txn.commit()?;
        let hashes = block.transaction_hashes().map(|hash| hash.0).collect();
        self.places_written(height, &moved, hashes)
    }

    fn prune(&self, txn: &WriteTransaction, head: u64) -> Result<(), HistoryError> {
        if let Some(last) = head.checked_sub(self.retention.undo.max(1)) {
            let mut undo = txn.open_table(UNDO)?;
            for entry in txn.open_table(UNDO_KEYS)?.extract_from_if(..=last, |_, _| true)? {
                let (height, keys) = entry?;
                for key in keys.value().chunks_exact(32) {
                    undo.remove(&undo_key(key, height.value()))?;
                }
            }
        }
        if let Some(last) = self.retention.blobs.and_then(|kept| head.checked_sub(kept.max(1))) {
            txn.open_table(BLOBS)?.retain_in(..=(last, u32::MAX), |_, _| false)?;
        }
        Ok(())
    }

    /// The header at a height, or nothing if there is no such block yet.
    ///
    /// # Errors
    /// The file failed, or the node began above the height.
    pub fn header(&self, height: u64) -> Result<Option<Header>, HistoryError> {
        let txn = self.begin_read()?;
        match header_in(&txn, height)? {
            Some(header) => Ok(Some(header)),
            None => missing(&txn, height).map(|()| None),
        }
    }

    /// The height of the block with this digest.
    ///
    /// # Errors
    /// The file failed.
    pub fn height_of(&self, hash: B256) -> Result<Option<u64>, HistoryError> {
        let hashes = self.begin_read()?.open_table(HASHES)?;
        Ok(hashes.get(&hash.0)?.map(|height| height.value()))
    }

    /// The block at a height with its receipts, or nothing if there is no such block yet.
    ///
    /// # Errors
    /// The file failed, or the node began above the height.
    pub fn finalized(&self, height: u64) -> Result<Option<Finalized>, HistoryError> {
        let txn = self.begin_read()?;
        let Some(header) = whole_header(&txn, height)? else { return Ok(None) };
        let blobs = items(&txn, BLOBS, height)?;
        let kept = crate::block::blobs_root(blobs.iter().map(|blob| blob_hash(blob)));
        Ok(Some(Finalized {
            hash: header.digest(),
            transactions: items(&txn, TRANSACTIONS, height)?,
            receipts: receipts_in(&txn, height)?,
            blobs: (kept == header.blobs_root).then_some(blobs),
            header,
        }))
    }

    /// The receipts of a block, or nothing if there is no such block yet.
    ///
    /// # Errors
    /// The file failed, or the node began above the height.
    pub fn receipts(&self, height: u64) -> Result<Option<Vec<Receipt>>, HistoryError> {
        let txn = self.begin_read()?;
        match whole_header(&txn, height)? {
            Some(_) => receipts_in(&txn, height).map(Some),
            None => Ok(None),
        }
    }

    /// The final transaction with this hash.
    ///
    /// # Errors
    /// The file failed.
    pub fn transaction(&self, hash: B256) -> Result<Option<Located>, HistoryError> {
        let Some(place) = self.place(&hash.0)? else { return Ok(None) };
        let (txn, at) = (self.begin_read()?, (place.height, place.index));
        let missing = HistoryError::Corrupt("a transaction's place is empty");
        let transaction =
            txn.open_table(TRANSACTIONS)?.get(at)?.map(|tx| Bytes::copy_from_slice(tx.value()));
        let receipt =
            txn.open_table(RECEIPTS)?.get(at)?.map(|receipt| decode_receipt(receipt.value()));
        let block = header_in(&txn, place.height)?.map(|header| header.digest());
        let (Some(transaction), Some(receipt), Some(block)) = (transaction, receipt, block) else {
            return Err(missing);
        };
        Ok(Some(Located { place, block, transaction, receipt: receipt? }))
    }

    /// Those of `heights` whose logs have a bloom that `may_match`; at most `limit` of them.
    ///
    /// # Errors
    /// The file failed, or the node began above the lowest of the heights.
    pub fn candidates(
        &self,
        heights: std::ops::RangeInclusive<u64>,
        may_match: impl Fn(&Bloom) -> bool,
        limit: usize,
    ) -> Result<Vec<u64>, HistoryError> {
        let txn = self.begin_read()?;
        missing(&txn, *heights.start())?;
        let headers = txn.open_table(HEADERS)?;
        let mut found = Vec::new();
        for entry in headers.range(heights)? {
            let (height, bytes) = entry?;
            let header = read_header(bytes.value())?;
            if may_match(&header.logs_bloom) {
                found.push(height.value());
                if found.len() >= limit {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// What the value of a state key was after block `height`, given that the state now reflects
    /// block `now`: `None` if no block between wrote the key.
    ///
    /// # Errors
    /// The file failed, or the state of `height` is no longer kept.
    pub(crate) fn overwritten(
        &self,
        key: &[u8; 32],
        height: u64,
        now: u64,
    ) -> Result<Option<Option<Value>>, HistoryError> {
        if height >= now {
            return Ok(None);
        }
        let txn = self.begin_read()?;
        let oldest = oldest_state(&txn)?;
        if height < oldest {
            return Err(HistoryError::Pruned { height, oldest });
        }
        let undo = txn.open_table(UNDO)?;
        let (from, to) = (undo_key(key, height + 1), undo_key(key, now));
        let mut range = undo.range::<&[u8; 40]>(&from..=&to)?;
        let Some(entry) = range.next() else { return Ok(None) };
        match entry?.1.value() {
            [] => Ok(Some(None)),
            bytes => <[u8; VALUE_BYTES]>::try_from(bytes)
                .map(|value| Some(Some(value)))
                .map_err(|_| HistoryError::Corrupt("an undone value has another length")),
        }
    }

    /// The oldest height whose state can be read.
    ///
    /// # Errors
    /// The file failed.
    pub fn oldest_state(&self) -> Result<u64, HistoryError> {
        oldest_state(&self.begin_read()?)
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn undo_key(key: &[u8], height: u64) -> [u8; 40] {
    let mut bytes = [0; 40];
    bytes[..32].copy_from_slice(key);
    bytes[32..].copy_from_slice(&height.to_be_bytes());
    bytes
}

/// The undo records are without gaps, so the state before the first one can be read; without any, that
/// of the block the history begins after.
fn oldest_state(txn: &ReadTransaction) -> Result<u64, HistoryError> {
    let first = txn.open_table(UNDO_KEYS)?.first()?.map(|(height, _)| height.value());
    Ok(first.map_or_else(|| first_in(txn), Ok)?.saturating_sub(1))
}

fn record_body(txn: &WriteTransaction, block: &Finalized) -> Result<(), HistoryError> {
    let height = block.header.height;
    let put = |table: &mut Table<'_, (u64, u32), &[u8]>, index: usize, bytes: &[u8]| {
        let index = u32::try_from(index).map_err(|_| HistoryError::Corrupt("index"))?;
        table.insert((height, index), bytes)?;
        Ok::<_, HistoryError>(())
    };
    let mut transactions = txn.open_table(TRANSACTIONS)?;
    for (index, transaction) in block.transactions.iter().enumerate() {
        put(&mut transactions, index, transaction)?;
    }
    let mut receipts = txn.open_table(RECEIPTS)?;
    for (index, receipt) in block.receipts.iter().enumerate() {
        put(&mut receipts, index, &encode_receipt(receipt))?;
    }
    let mut blobs = txn.open_table(BLOBS)?;
    for (index, blob) in block.blobs.iter().flatten().enumerate() {
        put(&mut blobs, index, blob)?;
    }
    Ok(())
}

fn record_undo(txn: &WriteTransaction, height: u64, undo: &Undo) -> Result<(), HistoryError> {
    if height == 0 {
        return Ok(());
    }
    let mut table = txn.open_table(UNDO)?;
    let mut keys = Vec::with_capacity(undo.len() * 32);
    for (key, value) in undo {
        keys.extend_from_slice(key);
        table.insert(&undo_key(key, height), value.as_ref().map_or(&[][..], |value| &value[..]))?;
    }
    txn.open_table(UNDO_KEYS)?.insert(height, &keys[..])?;
    Ok(())
}

fn read_header(bytes: &[u8]) -> Result<Header, HistoryError> {
    debug_assert_eq!(bytes.len(), Header::SIZE);
    Header::from_bytes(bytes).map_err(|_| HistoryError::Corrupt("a header does not decode"))
}

fn header_in(txn: &ReadTransaction, height: u64) -> Result<Option<Header>, HistoryError> {
    txn.open_table(HEADERS)?.get(height)?.map(|bytes| read_header(bytes.value())).transpose()
}

fn items(
    txn: &ReadTransaction,
    table: TableDefinition<'_, (u64, u32), &[u8]>,
    height: u64,
) -> Result<Vec<Bytes>, HistoryError> {
    let table = txn.open_table(table)?;
    if table.is_empty()? {
        return Ok(Vec::new());
    }
    table
        .range((height, 0)..=(height, u32::MAX))?
        .map(|entry| Ok(Bytes::copy_from_slice(entry?.1.value())))
        .collect()
}

fn receipts_in(txn: &ReadTransaction, height: u64) -> Result<Vec<Receipt>, HistoryError> {
    items(txn, RECEIPTS, height)?.iter().map(|bytes| decode_receipt(bytes)).collect()
}

#[cfg(test)]
pub(crate) mod tests;
