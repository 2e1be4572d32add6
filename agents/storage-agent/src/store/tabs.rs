//! Tabs in the store: changed in memory, durable as far as the credit wants it.

use super::{Store, StoreError};
use crate::{
    index::{IndexError, TABS},
    tab::Tab,
};
use protocol::{Micros, RailId, cbor};
use redb::ReadableTable;
use std::{collections::BTreeMap, sync::PoisonError};
use storage_kind::wire::Refusal;

impl Store {
    /// Reads what is kept. Tabs in memory are newer.
    pub(super) fn load_tabs(
        &self,
        table: &impl ReadableTable<u64, &'static [u8]>,
    ) -> Result<(), IndexError> {
        let mut tabs = self.tabs.lock().unwrap_or_else(PoisonError::into_inner);
        tabs.values_mut().for_each(|(_, kept)| *kept = Tab::default());
        for entry in table.iter()? {
            let (rail, tab) = entry?;
            let kept: Tab = cbor::from_slice(tab.value())?;
            tabs.entry(RailId(rail.value())).or_insert((kept, kept)).1 = kept;
        }
        Ok(())
    }

    /// What the best voucher of a rail promises.
    pub fn promised(&self, rail: RailId) -> Micros {
        let tabs = self.tabs.lock().unwrap_or_else(PoisonError::into_inner);
        tabs.get(&rail).map(|(tab, _)| tab.promised()).unwrap_or_default()
    }

    /// Changes a rail's tab. If losing the change in a crash would cost more than `credit` bytes, it
    /// is durable when this returns; else with the next [`Store::flush`].
    ///
    /// # Errors
    /// What `change` says, or that the index failed.
    pub fn tab<R>(
        &self,
        rail: RailId,
        credit: u64,
        change: impl FnOnce(&mut Tab) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let (outcome, exposed) = {
            let mut tabs = self.tabs.lock().unwrap_or_else(PoisonError::into_inner);
            let (tab, kept) = tabs.entry(rail).or_default();
            let outcome = change(tab)?;
            (outcome, tab.exposed(kept, credit))
        };
        if exposed {
            self.flush()?;
        }
        Ok(outcome)
    }

    /// Whether a delivery of so many bytes more makes [`Store::tab`] wait for the disk.
    pub fn exposes(&self, rail: RailId, credit: u64, bytes: u64) -> bool {
        let tabs = self.tabs.lock().unwrap_or_else(PoisonError::into_inner);
        let (tab, kept) = tabs.get(&rail).copied().unwrap_or_default();
        let next = Tab { delivered: tab.delivered.saturating_add(bytes), ..tab };
        next.exposed(&kept, credit)
    }

    /// Makes all tabs durable.
    ///
    /// # Errors
    /// When the index fails.
    pub fn flush(&self) -> Result<(), StoreError> {
        let _turn = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let news: Vec<(RailId, Tab)> = {
            let tabs = self.tabs.lock().unwrap_or_else(PoisonError::into_inner);
            let news = tabs.iter().filter(|(_, (tab, kept))| tab != kept);
            news.map(|(rail, (tab, _))| (*rail, *tab)).collect()
        };
        if news.is_empty() {
            return Ok(());
        }
        self.put_tabs(&news)?;
        let mut tabs = self.tabs.lock().unwrap_or_else(PoisonError::into_inner);
        for (rail, written) in news {
            if let Some((_, kept)) = tabs.get_mut(&rail) {
                *kept = written;
            }
        }
        Ok(())
    }

    fn put_tabs(&self, news: &[(RailId, Tab)]) -> Result<(), IndexError> {
        let write = self.index.begin_write()?;
        {
            let mut table = write.open_table(TABS)?;
            for (rail, tab) in news {
                table.insert(rail.0, cbor::to_vec(tab).as_slice())?;
            }
        }
        Ok(write.commit()?)
    }

    /// Forgets the terms and the tab of a rail that is gone from the index.
    pub(crate) fn forget_rail(&self, rail: RailId) {
        self.rails.write().unwrap_or_else(PoisonError::into_inner).remove(&rail);
        self.tabs.lock().unwrap_or_else(PoisonError::into_inner).remove(&rail);
    }

    /// The tabs of all rails.
    pub fn tabs(&self) -> BTreeMap<RailId, Tab> {
        let tabs = self.tabs.lock().unwrap_or_else(PoisonError::into_inner);
        tabs.iter().map(|(rail, (tab, _))| (*rail, *tab)).collect()
    }
}
