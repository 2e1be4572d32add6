//! The decoders of what the agent keeps on its disk, as crate `fuzz` tries them. They are no part of the agent's
//! interface: nothing else calls them.
//!
//! Each reads `bytes` and, if they are what it wants, gives what the decoded value encodes to.

use crate::{
    index::{Change, RailRecord},
    journal::{Journal, Record},
};
use protocol::{Digest, cbor};
use redb::{StorageBackend as _, backends::InMemoryBackend};

/// The generation of the journals below.
const GENERATION: u64 = 1;

/// What is known of a rail.
pub fn rail_record(bytes: &[u8]) -> Option<Vec<u8>> {
    cbor::from_slice::<RailRecord>(bytes).ok().map(|record| cbor::to_vec(&record))
}

/// A version of a dataset.
pub fn change(bytes: &[u8]) -> Option<Vec<u8>> {
    cbor::from_slice::<Change>(bytes).ok().map(|change| cbor::to_vec(&change))
}

/// The shards in a journal's file; each entry's as one item.
pub fn journal(file: &[u8]) -> Option<Vec<u8>> {
    let records = read(file)?;
    (!records.is_empty()).then(|| cbor::to_vec(&records))
}

/// The file of a journal with these shards in one entry.
pub fn journal_file(records: &[u8]) -> Option<Vec<u8>> {
    let generation = GENERATION.to_be_bytes();
    let length = u32::try_from(records.len()).ok()?.to_be_bytes();
    let summed = [&generation[..], &length, records].concat();
    Some([&Digest::of(&summed).0[..], &summed].concat())
}

fn read(file: &[u8]) -> Option<Vec<Record>> {
    let memory = InMemoryBackend::new();
    memory.set_len(u64::try_from(file.len()).ok()?).ok()?;
    memory.write(0, file).ok()?;
    let (_, records) = Journal::open(Box::new(memory), GENERATION).ok()?;
    Some(records)
}
