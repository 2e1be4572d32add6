//! Storing and reading blobs on agents: the shell around codec, placement, fetch and index.
//!
//! * [`intake`]: bytes of a request into segments, small ones packed in groups;
//! * [`upload`]: one segment's shards onto agents, until k + 1 are durable;
//! * [`retrieve`]: ranges of segments back from agents;
//! * [`link`]: single shards to and from agents, without any key;
//! * [`upkeep`]: what is done in the background, repairs among it.
//!
//! Acknowledged means: k + 1 shards of every segment are durable on agents of distinct owners, and
//! the index entry is durable (design 11).

mod intake;
mod link;
mod readers;
mod retrieve;
mod upkeep;
mod upload;

pub use intake::{Incoming, Intake, Target};
pub(crate) use intake::{abandon, settle};
pub use link::Link;
pub(crate) use link::{Shelf, Space};
pub(crate) use retrieve::Answer;
pub use retrieve::{Body, ReadError};
pub use upkeep::{Upkeep, UpkeepError};
pub use upload::{BodyError, StoreError};

use crate::{
    codec::{self, ContentKeys, SegmentId, Shape},
    config::Limits,
    fleet::Fleet,
    index::Writer,
    keys::{self, Random},
    num::{mem, wide},
    purse::Purse,
    repair::survey::Health,
    shards::Shards,
};
use protocol::clock::Clock;
use readers::Readers;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use upload::{Late, UnderWay};

/// What all parts of the service share.
pub struct Store {
    pub(crate) keys: ContentKeys,
    pub(crate) shape: Shape,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) link: Arc<Link>,
    readers: Readers,
    under_way: Arc<UnderWay>,
    late: Late,
    /// How healthy the segments were when that was looked at last.
    health: Mutex<Option<Health>>,
    /// KiB of pieces that may be in memory on their way in.
    incoming: Arc<Semaphore>,
    /// Copies that read and store at once. They hold memory of both kinds, and all of them together
    /// only so much of that for reads that other reads come to an end.
    pub(crate) copies: Semaphore,
}

/// What a store is made of.
#[derive(Clone)]
pub struct Parts {
    /// Content and mask key.
    pub keys: ContentKeys,
    /// The erasure code of new segments.
    pub shape: Shape,
    /// Limits.
    pub limits: Limits,
    /// The index.
    pub writer: Writer,
    /// The way to the agents.
    pub shards: Arc<dyn Shards>,
    /// The agents.
    pub fleet: Arc<Fleet>,
    /// Vouchers.
    pub purse: Arc<Purse>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where random bytes come from.
    pub random: Arc<dyn Random>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Store {
    /// A store of these parts.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { keys, shape, limits, writer, shards, fleet, purse, clock, random } = parts;
        let kib = |bytes: u64| {
            let kib = usize::try_from(bytes >> 10).unwrap_or(usize::MAX);
            Arc::new(Semaphore::new(kib.clamp(1, Semaphore::MAX_PERMITS)))
        };
        Arc::new(Self {
            keys,
            shape,
            random,
            link: Arc::new(Link {
                limits,
                writer,
                shards,
                fleet,
                purse,
                clock,
                outgoing: kib(limits.write_bytes_max),
            }),
            readers: Readers::default(),
            under_way: Arc::default(),
            late: Late::default(),
            health: Mutex::default(),
            incoming: kib(limits.read_bytes_max),
            copies: Semaphore::new(copies_max(shape, &limits)),
        })
    }
}

impl Store {
    /// How healthy the segments were when that was looked at last, if it was.
    pub fn health(&self) -> Option<Health> {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new segment's id.
    fn segment_id(&self) -> Result<SegmentId, StoreError> {
        keys::draw(&*self.random).map(SegmentId).map_err(|_| StoreError::Random)
    }

    fn note_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Some(health);
    }
}

/// A store is a link that has the keys.
impl std::ops::Deref for Store {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

/// How many copies may hold half of the memory for reads: each reads ahead, gives one stretch out and
/// has one ready.
fn copies_max(shape: Shape, limits: &Limits) -> usize {
    let row = u64::from(shape.k()) * u64::from(codec::FRAME_BYTES_MAX);
    let stretch = u64::from(limits.stretch_rows).saturating_mul(row);
    let each = wide(limits.read_ahead).saturating_add(2).saturating_mul(stretch).max(1);
    mem(limits.read_bytes_max / 2 / each).max(1)
}
