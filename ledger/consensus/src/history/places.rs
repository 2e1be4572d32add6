//! Where transactions stand, by their hashes.
//!
//! Hashes are spread evenly over their table: to write those of a block at once would change a page of the
//! file for nearly every transaction, which is more than all else that is written of it. So the last
//! [`WAITING`] wait in memory, in order, and each block takes as many as it brings into the table, from where
//! the block before it stopped: many that stand beside one another, in few pages.
//!
//! * Nothing depends on memory: `meta` names a height below which all are in the table, and who opens the
//!   file reads the transactions from there on again, once it is found undamaged and the first is asked for.
//!   That height is moved up whenever all of the order has been gone through, so there are at most some four
//!   times [`WAITING`] of them.
//! * A hash leaves memory after the table has it, so whoever asks memory first and the table second
//!   misses none.

use super::{History, HistoryError, META, PLACES, TRANSACTIONS};
use alloy_primitives::keccak256;
use redb::{ReadTransaction, ReadableTable as _, WriteTransaction};
use std::{collections::BTreeMap, sync::PoisonError};

/// The name in `meta` of the height below which all places are in the table.
const UNPLACED: &str = "unplaced";
/// Most hashes in memory, but for those of one block.
const WAITING: usize = if cfg!(test) { 64 } else { 32_768 };

type Hash = [u8; 32];

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Height of its block.
    pub height: u64,
    /// Its index in the block.
    pub index: u32,
}

/// The hashes in memory.
#[derive(Debug, Default)]
pub(super) struct Places {
    waiting: BTreeMap<Hash, (u64, u32)>,
    /// From where on the next are moved.
    next: Hash,
    /// The height at which going through the order began.
    began: u64,
}

/// What a block takes into the table.
#[derive(Debug)]
pub(super) struct Move {
    hashes: Vec<Hash>,
    /// Whether nothing is left behind them in the order.
    last: bool,
}

impl Places {
    /// What was final since all were in the table, and is not in it.
    pub(super) fn read(txn: &ReadTransaction, head: Option<u64>) -> Result<Self, HistoryError> {
        let table = txn.open_table(PLACES)?;
        let mut waiting = BTreeMap::new();
        for entry in txn.open_table(TRANSACTIONS)?.range((unplaced(txn)?, 0)..)? {
            let (place, transaction) = entry?;
            let hash = keccak256(transaction.value()).0;
            if table.get(&hash)?.is_none() {
                waiting.insert(hash, place.value());
            }
        }
        Ok(Self { waiting, next: Hash::default(), began: after(head) })
    }

    /// Writes into the table what goes there with the block at `height`, which brings `count` more.
    fn write(
        &self,
        txn: &WriteTransaction,
        height: u64,
        count: usize,
    ) -> Result<Move, HistoryError> {
        let most = (self.waiting.len() + count).saturating_sub(WAITING);
        let mut table = txn.open_table(PLACES)?;
        let mut hashes = Vec::new();
        for (hash, place) in self.waiting.range(self.next..).take(most) {
            table.insert(hash, *place)?;
            hashes.push(*hash);
        }
        let last = hashes.len() < most;
        if last {
            txn.open_table(META)?.insert(UNPLACED, &self.began.to_be_bytes()[..])?;
        }
        tracing::trace!(height, moved = hashes.len(), last, "places of transactions");
        Ok(Move { hashes, last })
    }

    /// Forgets what is in the table now, and takes what the block at `height` brings.
    fn written(&mut self, height: u64, moved: &Move, new: Vec<Hash>) {
        for hash in &moved.hashes {
            self.waiting.remove(hash);
        }
        if moved.last {
            (self.next, self.began) = (Hash::default(), height);
        } else if let Some(hash) = moved.hashes.last() {
            self.next = *hash;
        }
        self.waiting.extend(new.into_iter().zip((0..).map(|index| (height, index))));
    }
}

impl History {
    /// Works with the hashes in memory; the first to do so reads them.
    fn places<T>(&self, work: impl FnOnce(&mut Places) -> T) -> Result<T, HistoryError> {
        // What panicked between two of its changes forgot nothing that is not in the table.
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = &mut *places {
            return Ok(work(places));
        }
        let (txn, head) = (self.begin_read()?, self.head()?);
        Ok(work(places.insert(Places::read(&txn, head)?)))
    }

    /// What the block at `height` writes of places; [`History::places_written`] follows the commit.
    pub(super) fn write_places(
        &self,
        txn: &WriteTransaction,
        height: u64,
        count: usize,
    ) -> Result<Move, HistoryError> {
        self.places(|places| places.write(txn, height, count))?
    }

    /// Notes what is durable.
    pub(super) fn places_written(
        &self,
        height: u64,
        moved: &Move,
        new: Vec<Hash>,
    ) -> Result<(), HistoryError> {
        self.places(|places| places.written(height, moved, new))
    }

    /// Where a transaction stands.
    pub(super) fn place(&self, hash: &Hash) -> Result<Option<Place>, HistoryError> {
        let waiting = self.places(|places| places.waiting.get(hash).copied())?;
        let place = match waiting {
            Some(place) => Some(place),
            None => self.begin_read()?.open_table(PLACES)?.get(hash)?.map(|place| place.value()),
        };
        Ok(place.map(|(height, index)| Place { height, index }))
    }
}

const fn after(head: Option<u64>) -> u64 {
    match head {
        Some(head) => head.saturating_add(1),
        None => 0,
    }
}

/// Says that all places up to `head` are in the table, in a file that does not say from where on they may not be.
pub(super) fn begin(txn: &WriteTransaction, head: Option<u64>) -> Result<(), HistoryError> {
    let mut meta = txn.open_table(META)?;
    if meta.get(UNPLACED)?.is_none() {
        meta.insert(UNPLACED, &after(head).to_be_bytes()[..])?;
    }
    Ok(())
}

fn unplaced(txn: &ReadTransaction) -> Result<u64, HistoryError> {
    const WRONG: HistoryError = HistoryError::Corrupt("the height of places");
    let meta = txn.open_table(META)?;
    let height = meta.get(UNPLACED)?.ok_or(WRONG)?;
    <[u8; 8]>::try_from(height.value()).map(u64::from_be_bytes).map_err(|_| WRONG)
}

#[cfg(test)]
mod tests;
