//! What the store keeps beside shards: a note a rail, and whether the device leaves.
//!
//! A note is the customer's: a few bytes in which their service finds where to begin if it loses its own
//! disk. The newest one counts, and it goes with the rail.
//!
//! A device that leaves keeps saying so when it is started again, until it is told otherwise.

use super::{Store, StoreError};
use crate::index::{self, IndexError, NOTES};
use protocol::{Epoch, RailId};
use std::sync::{PoisonError, atomic::Ordering};
use storage_kind::wire::Refusal;

/// What a device that leaves still has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Drain {
    /// Bytes of shards.
    pub bytes: u64,
    /// Shards. With none left nothing is asked of the device any more.
    pub shards: u64,
    /// Rails towards it that have not ended.
    pub rails: usize,
}

impl Store {
    /// Keeps a rail's note; durable when this returns.
    ///
    /// # Errors
    /// [`Refusal::Full`], [`Refusal::Disk`].
    pub fn note(&self, rail: RailId, note: &[u8]) -> Result<(), Refusal> {
        let _turn = self.write_lock();
        let more = note.len().saturating_sub(self.noted(rail)?.len());
        if u64::try_from(more).unwrap_or(u64::MAX) > self.free() {
            return Err(Refusal::Full);
        }
        Ok(self.write_note(rail, note)?)
    }

    fn write_note(&self, rail: RailId, note: &[u8]) -> Result<(), IndexError> {
        let write = self.index.begin_write()?;
        write.open_table(NOTES)?.insert(rail.0, note)?;
        Ok(write.commit()?)
    }

    /// A rail's note; empty if there is none.
    ///
    /// # Errors
    /// When the index fails.
    pub fn noted(&self, rail: RailId) -> Result<Vec<u8>, StoreError> {
        let read = self.index.begin_read()?;
        let notes = read.open_table(NOTES).map_err(IndexError::from)?;
        let found = notes.get(rail.0).map_err(IndexError::from)?;
        Ok(found.map(|note| note.value().to_vec()).unwrap_or_default())
    }

    /// Whether the device leaves, and takes nothing new.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Decides whether the device leaves; durable when this returns.
    ///
    /// # Errors
    /// When the index fails.
    pub fn leave(&self, leaving: bool) -> Result<(), StoreError> {
        let _turn = self.write_lock();
        index::set_leaving(&self.index, leaving)?;
        self.leaving.store(leaving, Ordering::SeqCst);
        Ok(())
    }

    /// What is still here of those rails that count in `epoch`, if the device leaves.
    pub fn drain(&self, epoch: Option<Epoch>) -> Option<Drain> {
        let rails = self.rails.read().unwrap_or_else(PoisonError::into_inner);
        let open = rails.values().filter(|known| epoch.is_none_or(|now| known.terms.expiry >= now));
        let (usage, rails) = (self.usage(), open.count());
        let left = Drain { bytes: usage.bytes, shards: usage.shards, rails };
        self.is_leaving().then_some(left)
    }
}
