//! The index on the agents: a service that lost its disk is made anew from its keys, the ledger and the
//! network (design 11).
//!
//! ```text
//! note (one an agent, sealed)  ->  dump  +  logs  +  the newest entries, in the note itself
//! ```
//! * Every transaction of the index leaves an entry in its journal ([`crate::index::Entry`]), in the same
//!   transaction.
//! * The entries that no log has yet travel in the **note**: a few KiB that each agent keeps for a rail,
//!   replaced whenever the index changed, at most once in [`crate::config::Limits::backup`].
//! * When they are too many for a note they become a **log**, and when logs are many all rows are
//!   **dumped**. Both are stored as customers' bytes are: segments, sealed, coded, masked, in datasets, proven,
//!   repaired. The note says which segments these are; where their shards are the agents are asked.
//!
//! The rule of durability: what is acknowledged survives the loss of the service's disk once a note that has
//! it is with k + 1 agents of distinct owners, which is about a second later; how many changes are behind is
//! shown ([`crate::Snapshot::backup_behind`]). No agent is told to let a shard go before that is so of the
//! index which says that the shard is not needed. So an index made anew names nothing that is gone.
//!
//! The note is sealed with a key that follows from the content key: agents learn its size and how often it
//! changes. One that gives an older note is outvoted: the highest number counts.

pub(crate) mod note;
mod recover;

pub use note::{Note, NoteError, Piece};
pub use recover::{RecoverError, Recovered, recover, recover_into};

use crate::{
    aside::aside,
    index::{Backup as Kept, BlobRef, Cursor, Entry, Extent, IndexError},
    num::wide,
    store::{Store, StoreError, abandon, settle},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use note::Sealer;
use protocol::{Account, RailId, net::Peer};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Bytes of entries that a note has at most.
const TAIL_MAX: usize = 64 << 10;
/// Bytes of entries that become one log, and of rows that are dumped into one segment.
const SEGMENT_MAX: usize = 32 << 20;
/// Bytes of rows read at once for a dump.
const PART_BYTES: usize = 1 << 20;
/// Logs after which all is dumped anew.
const LOGS_MAX: usize = 24;
/// Bytes of logs below which nothing is dumped anew for their size.
const LOG_BYTES_EASY: u64 = 8 << 20;
/// Steps of logging and dumping at once.
const ROUNDS: usize = 64;
/// Agents that are given the note at once; if too few take it, the next are.
const GIVEN_AT_ONCE: usize = 16;
/// How long an agent may take for it.
const GIVEN_WITHIN: Duration = Duration::from_secs(5);
/// How long after a dump or log failed none is tried, milliseconds.
const PUT_OFF_MS: u64 = 10_000;

/// Why the agents do not have the newest index.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackupError {
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A log or a dump could not be stored.
    #[error("the index could not be stored: {0}")]
    Store(#[from] StoreError),
    /// There is nobody to give it to.
    #[error("no rail is open, so that no agent keeps the index yet")]
    Nobody,
    /// Too few agents took the note.
    #[error("{got} owners' agents took the note of the index, {needed} are needed")]
    Few {
        /// How many did.
        got: usize,
        /// How many have to.
        needed: usize,
    },
    /// The note could not be made.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A log or a dump failed a moment ago.
    #[error("the index could not be stored a moment ago")]
    PutOff,
}

/// An agent that can be given the note.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The rail.
    pub rail: RailId,
    /// The agent.
    pub peer: Peer,
    /// Its owner.
    pub owner: Account,
}

/// Keeps the agents' notes up to date.
#[derive(Debug)]
pub struct Backup {
    store: Arc<Store>,
    sealer: Sealer,
    /// One step at a time.
    turn: tokio::sync::Mutex<()>,
    /// The number of the last transaction that the agents have.
    given: AtomicU64,
    put_off_until_ms: AtomicU64,
}

impl Backup {
    /// Backs up the index of `store`.
    pub fn new(store: Arc<Store>) -> Self {
        let sealer = Sealer::new(&store.keys.content);
        Self {
            store,
            sealer,
            turn: tokio::sync::Mutex::default(),
            given: AtomicU64::new(0),
            put_off_until_ms: AtomicU64::new(0),
        }
    }

    /// How many transactions of the index the agents do not have.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn behind(&self) -> Result<u64, IndexError> {
        let sequence = self.store.writer.read(|reader| reader.sequence()).await?;
        Ok(sequence.saturating_sub(self.given.load(Ordering::SeqCst)))
    }

    /// Gives the agents at `places` what changed. All that the index had when this was called is with them
    /// when it returns.
    ///
    /// # Errors
    /// [`BackupError`]; the next step tries again.
    pub async fn step(&self, places: &[Place]) -> Result<(), BackupError> {
        let _turn = self.turn.lock().await;
        let wanted = self.store.writer.read(|reader| reader.sequence()).await?;
        let given = self.given.load(Ordering::SeqCst);
        if wanted == given {
            return Ok(());
        }
        if places.is_empty() {
            return Err(BackupError::Nobody);
        }
        for _ in 0..ROUNDS {
            let (kept, entries) = self.look().await?;
            if is_due(&kept) {
                self.object(Self::dump(self)).await?;
            } else if bytes_of(&entries) > TAIL_MAX {
                self.object(self.log(kept, entries)).await?;
            } else {
                break;
            }
        }
        let (sequence, note) = self.note().await?;
        self.give(places, self.sealer.seal(&note, &*self.store.random)?.into()).await?;
        self.given.store(sequence, Ordering::SeqCst);
        Ok(())
    }

    /// What the agents have, and what comes next.
    async fn look(&self) -> Result<(Kept, Vec<Entry>), IndexError> {
        let read = self.store.writer.read(|reader| {
            let kept = reader.backup()?;
            let entries = reader.journal(kept.logged, SEGMENT_MAX)?;
            Ok((kept, entries))
        });
        read.await
    }

    /// Stores a log or a dump, unless that failed a moment ago.
    async fn object(
        &self,
        stored: impl Future<Output = Result<(), BackupError>>,
    ) -> Result<(), BackupError> {
        let now = self.store.now_ms();
        if now < self.put_off_until_ms.load(Ordering::SeqCst) {
            return Err(BackupError::PutOff);
        }
        let stored = stored.await;
        if stored.is_err() {
            self.put_off_until_ms.store(now.saturating_add(PUT_OFF_MS), Ordering::SeqCst);
        }
        stored
    }

    /// Stores entries as a log.
    async fn log(&self, kept: Kept, entries: Vec<Entry>) -> Result<(), BackupError> {
        let logged = entries.last().map_or(kept.logged, |entry| entry.sequence);
        let extent = self.segment(&note::frames(&entries)).await?;
        self.keep(vec![extent], move |log| {
            let logs = kept.logs.iter().copied().chain([log]).collect();
            Kept { logs, logged, ..kept.clone() }
        })
        .await
    }

    /// Stores all rows as they are at one moment.
    async fn dump(&self) -> Result<(), BackupError> {
        let mut extents = Vec::new();
        let dumped = self.dump_into(&mut extents).await;
        let logged = match dumped {
            Ok(logged) => logged,
            Err(error) => {
                abandon(&self.store, extents).await;
                return Err(error);
            }
        };
        self.keep(extents, move |dump| Kept {
            dump: vec![dump],
            logs: Vec::new(),
            logged,
            complete: true,
        })
        .await?;
        metrics::counter!("wayleave_s3_index_dumps_total").increment(1);
        Ok(())
    }

    async fn dump_into(&self, extents: &mut Vec<Extent>) -> Result<u64, BackupError> {
        let mut reader = self.store.writer.index().reader()?;
        let (mut cursor, mut bytes): (Option<Cursor>, Vec<u8>) = (None, Vec::new());
        loop {
            let part = aside(move || {
                let part = reader.dump(cursor, PART_BYTES);
                part.map(|part| (reader, part))
            });
            let (same, (entry, next)) = part.await.ok_or(IndexError::Closed)??;
            reader = same;
            let sequence = entry.sequence;
            bytes.extend_from_slice(&note::frames(&[entry]));
            if next.is_none() || bytes.len() >= SEGMENT_MAX {
                extents.push(self.segment(&std::mem::take(&mut bytes)).await?);
            }
            cursor = next;
            if cursor.is_none() {
                return Ok(sequence);
            }
        }
    }

    /// Stores bytes as a segment of their own, which nothing needs yet.
    async fn segment(&self, bytes: &[u8]) -> Result<Extent, StoreError> {
        let store = &self.store;
        let mut filling = store.begin(wide(bytes.len()), false).await?;
        filling.sealer.push(bytes)?;
        settle(store, store.finish(filling).await?).await
    }

    /// Makes a blob of what was stored, and notes what it is.
    async fn keep(
        &self,
        extents: Vec<Extent>,
        new: impl FnOnce(BlobRef) -> Kept + Send + 'static,
    ) -> Result<(), BackupError> {
        let now_ms = self.store.now_ms();
        let kept = self.store.writer.write(move |tables| {
            let blob = tables.add_blob(extents)?;
            tables.backed_up(&new(blob), now_ms)
        });
        Ok(kept.await?)
    }

    /// The note as it should be now, and the number of the last transaction that it has.
    async fn note(&self) -> Result<(u64, Note), BackupError> {
        let read = self.store.writer.read(|reader| {
            let kept = reader.backup()?;
            let piece = |extent: Extent| {
                let row = reader.segment(extent.segment)?;
                let row = row.ok_or(IndexError::Damaged("a backup is mentioned and missing"))?;
                Ok(Piece {
                    segment: extent.segment,
                    plain: row.plain,
                    needed: row.k,
                    shards: row.shards.iter().map(|shard| shard.hash).collect(),
                })
            };
            let blobs: Vec<_> = kept.dump.iter().chain(&kept.logs).copied().collect();
            let pieces = reader.extents(&blobs)?.into_iter().map(piece);
            let pieces = pieces.collect::<Result<Vec<_>, IndexError>>()?;
            let tail = reader.journal(kept.logged, usize::MAX)?;
            Ok(Note { sequence: reader.sequence()?, logged: kept.logged, pieces, tail })
        });
        let note = read.await?;
        Ok((note.sequence, note))
    }

    /// Gives the note to one agent an owner until enough have it.
    async fn give(&self, places: &[Place], note: Bytes) -> Result<(), BackupError> {
        let now = self.store.now_ms();
        let mut ranked: Vec<_> = places.to_vec();
        let doubt = |place: &Place| {
            let device = protocol::key::DeviceKey::Ed25519(place.peer.key).id();
            self.store.fleet.is_doubtful(device, now)
        };
        ranked.sort_by_key(|place| (doubt(place), place.rail));
        let mut owners = BTreeSet::new();
        ranked.retain(|place| owners.insert(place.owner));
        let needed = usize::from(self.store.shape.acknowledge()).min(ranked.len());
        let mut got = 0;
        for some in ranked.chunks(GIVEN_AT_ONCE) {
            let given = stream::iter(some.to_vec()).map(|place| {
                let given = self.store.shards.note(place.peer, place.rail, note.clone());
                tokio::time::timeout(GIVEN_WITHIN, given)
            });
            let given: Vec<_> = given.buffer_unordered(GIVEN_AT_ONCE).collect().await;
            got += given.iter().filter(|given| matches!(given, Ok(Ok(())))).count();
            if got >= needed {
                return Ok(());
            }
        }
        Err(BackupError::Few { got, needed })
    }
}

/// Whether all is to be dumped anew: there is no whole yet, or its logs cost more than a dump would.
fn is_due(kept: &Kept) -> bool {
    let bytes = |blobs: &[BlobRef]| blobs.iter().map(|blob| blob.bytes).sum::<u64>();
    let large = bytes(&kept.logs) > LOG_BYTES_EASY.max(bytes(&kept.dump));
    !kept.complete || kept.logs.len() >= LOGS_MAX || large
}

fn bytes_of(entries: &[Entry]) -> usize {
    let rows = entries.iter().flat_map(|entry| &entry.changes);
    rows.map(|change| change.key.len() + change.row.as_ref().map_or(0, Vec::len) + 8).sum()
}

#[cfg(test)]
mod tests;
