//! The rails that the store knows: their terms, what they paid, and what is committed on them.

use super::{Store, StoreError};
use crate::index::{self, IndexError, RAILS, RailRecord};
use protocol::{Epoch, Micros, RailId, cbor, inputs::Rail};
use redb::ReadableTable;
use std::sync::PoisonError;

/// A rail in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(super) terms: Rail,
    /// The most that its rate can have paid so far.
    by_rate: Micros,
    /// Bytes of its newest version.
    committed: u64,
    /// The newest version when an epoch closed last, if one did since the agent started.
    closed_at: Option<u64>,
}

impl Store {
    pub(super) fn load_rails(&self) -> Result<(), StoreError> {
        let mut known = Vec::new();
        for record in self.records()? {
            let (terms, by_rate) = (record.terms, record.by_rate());
            let committed = self.stat(terms.id)?.bytes;
            known.push((terms.id, Known { terms, by_rate, committed, closed_at: None }));
        }
        *self.rails.write().unwrap_or_else(PoisonError::into_inner) = known.into_iter().collect();
        Ok(())
    }

    /// Records the terms of rails as the ledger has them, so that shards can be stored for them.
    ///
    /// # Errors
    /// When the index fails.
    pub fn admit(&self, rails: &[Rail]) -> Result<(), StoreError> {
        let _turn = self.write_lock();
        let admitted = |terms: &Rail| {
            let known = index::rail(&self.index, terms.id)?;
            let record = RailRecord::admitted(known.as_ref(), terms);
            Ok((known.as_ref() != Some(&record)).then_some(record))
        };
        let news = rails.iter().filter_map(|terms| admitted(terms).transpose());
        let news: Vec<RailRecord> = news.collect::<Result<_, IndexError>>()?;
        self.keep(&news)
    }

    /// Follows the ledger into `epoch`: its inputs list these rails of the device, each with what its
    /// rate pays at most for this epoch. Rails that they should list and do not have ended.
    ///
    /// # Errors
    /// When the index fails.
    pub fn follow(&self, epoch: Epoch, listed: &[(Rail, Micros)]) -> Result<(), StoreError> {
        let _turn = self.write_lock();
        let mut news = Vec::new();
        for (terms, due) in listed {
            let known = index::rail(&self.index, terms.id)?;
            let mut record = RailRecord::admitted(known.as_ref(), terms);
            if record.earned.is_none_or(|(counted, _)| counted < epoch) {
                record.earned = Some((epoch, record.by_rate().saturating_add(*due)));
            }
            news.push(record);
        }
        for mut record in self.records()? {
            let Rail { id, opened, expiry, .. } = record.terms;
            let missing = !listed.iter().any(|(terms, _)| terms.id == id);
            if missing && opened < epoch && epoch <= expiry {
                // The epoch after its last would still list it.
                record.terms.expiry = Epoch(epoch.0.saturating_sub(2));
                news.push(record);
            }
        }
        self.keep(&news)
    }

    fn keep(&self, news: &[RailRecord]) -> Result<(), StoreError> {
        if news.is_empty() {
            return Ok(());
        }
        self.put_rails(news)?;
        let mut rails = self.rails.write().unwrap_or_else(PoisonError::into_inner);
        for record in news {
            let (terms, by_rate) = (record.terms, record.by_rate());
            let new = Known { terms, by_rate, committed: 0, closed_at: None };
            let known = rails.entry(terms.id).or_insert(new);
            *known = Known { terms, by_rate, ..*known };
        }
        Ok(())
    }

    pub(crate) fn put_rails(&self, records: &[RailRecord]) -> Result<(), IndexError> {
        let write = self.index.begin_write()?;
        {
            let mut table = write.open_table(RAILS)?;
            for record in records {
                table.insert(record.terms.id.0, cbor::to_vec(record).as_slice())?;
            }
        }
        Ok(write.commit()?)
    }

    pub(crate) fn records(&self) -> Result<Vec<RailRecord>, IndexError> {
        let table = self.index.begin_read()?.open_table(RAILS)?;
        table.iter()?.map(|entry| Ok(cbor::from_slice(entry?.1.value())?)).collect()
    }

    fn known(&self, rail: RailId) -> Option<Known> {
        self.rails.read().unwrap_or_else(PoisonError::into_inner).get(&rail).copied()
    }

    /// The terms of a rail, if it is known here.
    pub fn terms(&self, rail: RailId) -> Option<Rail> {
        self.known(rail).map(|known| known.terms)
    }

    /// The most that the rate of a rail can have paid so far.
    pub fn by_rate(&self, rail: RailId) -> Micros {
        self.known(rail).map(|known| known.by_rate).unwrap_or_default()
    }

    /// Bytes of the newest version of a rail's dataset.
    pub(crate) fn committed(&self, rail: RailId) -> u64 {
        self.known(rail).map_or(0, |known| known.committed)
    }

    pub(crate) fn set_committed(&self, rail: RailId, bytes: u64) {
        let mut rails = self.rails.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = rails.get_mut(&rail) {
            known.committed = bytes;
        }
    }

    /// Whether the customer committed since an epoch closed last, which one does now.
    pub(crate) fn close_at(&self, rail: RailId, newest: u64) -> bool {
        let mut rails = self.rails.write().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = rails.get_mut(&rail) else { return false };
        known.closed_at.replace(newest).is_some_and(|last| last < newest)
    }
}
