//! What stays of every term: its committee, and how it ended.

use super::{History, HistoryError};
use crate::committee::{Committee, Validator};
use redb::TableDefinition;

/// The seats of terms.
pub(super) const COMMITTEES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("committees");
/// How terms ended.
pub(super) const LINKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("links");

impl History {
    /// Records the committee of a term. Recording it again changes nothing.
    ///
    /// # Errors
    /// The file failed.
    pub(crate) fn record_committee(
        &self,
        term: u64,
        committee: &Committee,
    ) -> Result<(), HistoryError> {
        if self.begin_read()?.open_table(COMMITTEES)?.get(term)?.is_some() {
            return Ok(());
        }
        let seats: Vec<u8> =
            committee.validators().copied().flat_map(Validator::to_bytes).collect();
        let txn = self.begin_write()?;
        txn.open_table(COMMITTEES)?.insert(term, &seats[..])?;
        txn.commit()?;
        Ok(())
    }

    /// The validators of a term, by key, or nothing if this node never knew them.
    ///
    /// # Errors
    /// The file failed.
    pub fn committee(&self, term: u64) -> Result<Option<Vec<Validator>>, HistoryError> {
        let committees = self.begin_read()?.open_table(COMMITTEES)?;
        let Some(seats) = committees.get(term)? else { return Ok(None) };
        let (seats, rest) = seats.value().as_chunks();
        if !rest.is_empty() {
            return Err(HistoryError::Corrupt("a committee's seats are cut off"));
        }
        Ok(Some(seats.iter().map(Validator::from_bytes).collect()))
    }

    /// How a term ended, as [`History::keep_link`] was given it.
    ///
    /// # Errors
    /// The file failed.
    pub(crate) fn link(&self, term: u64) -> Result<Option<Vec<u8>>, HistoryError> {
        let links = self.begin_read()?.open_table(LINKS)?;
        Ok(links.get(term)?.map(|link| link.value().to_vec()))
    }

    /// Keeps how a term ended.
    ///
    /// # Errors
    /// The file failed.
    pub(crate) fn keep_link(&self, term: u64, link: &[u8]) -> Result<(), HistoryError> {
        let txn = self.begin_write()?;
        txn.open_table(LINKS)?.insert(term, link)?;
        txn.commit()?;
        Ok(())
    }
}
