//! The journal: small shards that are durable and not yet in the index.
//!
//! A small shard in a file of its own, or in a transaction of its own, costs several syncs and dozens
//! of writes. In the journal all that wait together cost one write and one sync, on blocks that the
//! file has already; the index takes many over at once later ([`crate::fresh`]).
//!
//! ```text
//! entry   = digest (32) | generation (8) | length of the records (4) | records | zeros to the next block
//! digest  = BLAKE3(generation | length | records)
//! records = canonical CBOR
//! ```
//! Rules:
//! * an entry begins on a block of its own, so that no block that holds what was acknowledged is ever
//!   written again before the index has it;
//! * the index names the generation that counts, a random number: bytes of a shard from earlier cannot
//!   pass for an entry. When it has taken all over it names the next one in the same transaction, and
//!   the file is written from its beginning again;
//! * what is read back ends at the first entry that is not whole or of another generation. An entry is
//!   acknowledged after a sync that covers all before it, so nothing acknowledged lies beyond;
//! * after a write or a sync that failed nothing more is appended: what the system has of the file is
//!   not known. The index takes over, and a new generation begins.

use minicbor::{Decode, Encode};
use protocol::{Digest, RailId, cbor};
use redb::StorageBackend;
use std::io;

/// Entries begin at multiples of this, bytes.
const BLOCK: usize = 4 << 10;
const DIGEST: usize = 32;
const HEADER: usize = DIGEST + 8 + 4;
/// The file grows by this much at once, so that most entries need no new blocks, bytes.
const GROWTH: usize = 256 << 10;
/// The longest file, bytes.
const LENGTH_MAX: u64 = 8 << 20;
/// The most bytes of shards in one entry. Less than half of the file, whatever else is in it.
pub(crate) const ENTRY_BYTES_MAX: usize = 2 << 20;
/// The most shards in one entry.
pub(crate) const ENTRY_SHARDS_MAX: usize = 512;

/// One shard in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Record {
    /// The rail it is for.
    #[n(0)]
    pub(crate) rail: RailId,
    /// Its hash.
    #[n(1)]
    pub(crate) hash: Digest,
    /// Its bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) bytes: Vec<u8>,
}

/// A journal that is open.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Box<dyn StorageBackend>,
    generation: u64,
    /// Where the next entry begins.
    end: u64,
    /// How long the file is.
    length: u64,
    failed: bool,
}

impl Journal {
    /// Opens the journal and reads back what the index, which is at `generation`, does not have.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn open(
        file: Box<dyn StorageBackend>,
        generation: u64,
    ) -> io::Result<(Self, Vec<Record>)> {
        let length = file.len()?;
        let mut journal = Self { file, generation, end: 0, length, failed: false };
        let mut all = Vec::new();
        while let Some((records, next)) = journal.entry()? {
            all.extend(records);
            journal.end = next;
        }
        Ok((journal, all))
    }

    /// The entry at the end of what was read so far, and where the next one begins.
    fn entry(&self) -> io::Result<Option<(Vec<Record>, u64)>> {
        let Some(header) = self.read(self.end, HEADER)? else { return Ok(None) };
        let (digest, rest) = header.split_at(DIGEST);
        let (generation, length) = rest.split_at(8);
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if generation != self.generation.to_be_bytes() {
            return Ok(None);
        }
        let summed = self.read(self.end + wide(DIGEST), HEADER - DIGEST + length)?;
        let Some(summed) = summed.filter(|summed| Digest::of(summed).0 == digest) else {
            return Ok(None);
        };
        let Ok(records) = cbor::from_slice(&summed[HEADER - DIGEST..]) else { return Ok(None) };
        let next = (self.end + wide(HEADER + length)).next_multiple_of(wide(BLOCK));
        Ok(Some((records, next)))
    }

    /// Bytes of the file, if it has so many.
    fn read(&self, at: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
        if at + wide(length) > self.length {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        self.file.read(at, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Whether an entry can be appended; if not, a new generation has to begin.
    pub(crate) fn takes(&self) -> bool {
        // CBOR adds at most 64 bytes a record, and an entry fills up its last block.
        let most = ENTRY_BYTES_MAX + ENTRY_SHARDS_MAX * 64 + HEADER + 2 * BLOCK;
        !self.failed && self.end + wide(most) <= LENGTH_MAX
    }

    /// Whether anything was appended, or tried, in this generation.
    pub(crate) const fn is_clean(&self) -> bool {
        self.end == 0 && !self.failed
    }

    /// Appends an entry, which is durable when this returns. Only if the journal [`Self::takes`] one,
    /// of at most [`ENTRY_BYTES_MAX`] and [`ENTRY_SHARDS_MAX`].
    ///
    /// # Errors
    /// When the system fails; the records may or may not be read back later.
    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let records = cbor::to_vec(&records);
        let length = u32::try_from(records.len()).map_err(io::Error::other)?;
        let whole = HEADER + records.len();
        let mut entry = Vec::with_capacity(whole.next_multiple_of(BLOCK));
        entry.extend_from_slice(&[0; DIGEST]);
        entry.extend_from_slice(&self.generation.to_be_bytes());
        entry.extend_from_slice(&length.to_be_bytes());
        entry.extend_from_slice(&records);
        let digest = Digest::of(&entry[DIGEST..]);
        entry[..DIGEST].copy_from_slice(&digest.0);
        entry.resize(entry.len().next_multiple_of(BLOCK), 0);
        let written = self.write(&entry);
        self.failed |= written.is_err();
        written
    }

    fn write(&mut self, entry: &[u8]) -> io::Result<()> {
        let end = self.end + wide(entry.len());
        if end > self.length {
            let length = end.next_multiple_of(wide(GROWTH));
            self.file.set_len(length)?;
            // Zeros that are written have their blocks; zeros that a file is stretched by have none.
            let zeros = usize::try_from(length - end).unwrap_or(0);
            self.file.write(end, &vec![0; zeros])?;
            self.length = length;
        }
        self.file.write(self.end, entry)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// The index has taken all over and names `generation` now.
    pub(crate) const fn restart(&mut self, generation: u64) {
        self.generation = generation;
        self.end = 0;
        self.failed = false;
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
