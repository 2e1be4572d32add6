//! Beginning in the middle: a node that fetched its state from others has no blocks below it.

use super::{Finalized, HASHES, HEADERS, History, HistoryError, META, UNDO, UNDO_KEYS, header_in};
use crate::header::Header;
use redb::{ReadTransaction, ReadableTable as _};

/// The name of the first height in `meta`.
const FIRST: &str = "first";

impl History {
    /// The first height from which blocks are here without gaps. Below it there is what the node had
    /// before it fetched its state from others: genesis at least.
    ///
    /// # Errors
    /// The file failed.
    pub fn first(&self) -> Result<u64, HistoryError> {
        first_in(&self.begin_read()?)
    }

    /// Begins at the block whose state was fetched, so that what follows it can be recorded. Doing so
    /// again changes nothing. State before it can no longer be read.
    ///
    /// # Errors
    /// The file failed, or holds another block as high.
    pub(crate) fn begin(&self, header: &Header) -> Result<(), HistoryError> {
        let (height, bytes) = (header.height, header.to_bytes());
        let before = self.first()?.checked_sub(1);
        let txn = self.begin_write()?;
        {
            let mut headers = txn.open_table(HEADERS)?;
            if headers.last()?.is_some_and(|(head, _)| head.value() >= height) {
                let recorded = headers.get(height)?.is_some_and(|header| header.value() == bytes);
                return if recorded { Ok(()) } else { Err(HistoryError::Conflict(height)) };
            }
            // The header at which it began the last time has no body, so it must not pass for a block.
            if let Some(before) = before {
                headers.remove(before)?;
                txn.open_table(HASHES)?.retain(|_, at| at != before)?;
            }
            headers.insert(height, &bytes[..])?;
        }
        txn.open_table(HASHES)?.insert(&header.digest().0, height)?;
        let first = height.saturating_add(1).to_be_bytes();
        txn.open_table(META)?.insert(FIRST, &first[..])?;
        txn.open_table(UNDO)?.retain(|_, _| false)?;
        txn.open_table(UNDO_KEYS)?.retain(|_, _| false)?;
        txn.commit()?;
        Ok(())
    }

    /// The block that a state of `height` stands on: of the one the history begins after, the header.
    ///
    /// # Errors
    /// The file failed, or the node began above the height.
    pub(crate) fn standing(&self, height: u64) -> Result<Option<Finalized>, HistoryError> {
        match self.finalized(height) {
            Err(HistoryError::Before { first, .. }) if height.checked_add(1) == Some(first) => {
                Ok(self.header(height)?.map(Finalized::base))
            }
            block => block,
        }
    }
}

pub(super) fn first_in(txn: &ReadTransaction) -> Result<u64, HistoryError> {
    let meta = txn.open_table(META)?;
    let Some(first) = meta.get(FIRST)? else { return Ok(0) };
    let bytes = <[u8; 8]>::try_from(first.value());
    bytes.map(u64::from_be_bytes).map_err(|_| HistoryError::Corrupt("the first height"))
}

/// Whether a height that is not here will come; an error if it never will.
pub(super) fn missing(txn: &ReadTransaction, height: u64) -> Result<(), HistoryError> {
    let first = first_in(txn)?;
    if height < first { Err(HistoryError::Before { height, first }) } else { Ok(()) }
}

/// The header of a block that is here whole: of the one the history begins after, only the header is.
pub(super) fn whole_header(
    txn: &ReadTransaction,
    height: u64,
) -> Result<Option<Header>, HistoryError> {
    let first = first_in(txn)?;
    match header_in(txn, height)? {
        Some(header) if height.checked_add(1) != Some(first) => Ok(Some(header)),
        _ => missing(txn, height).map(|()| None),
    }
}
