//! What is done in the background, one step at a time: shards find homes ([`crate::repair`]), garbage goes,
//! loose segments are packed again, the health of all is looked at.
//!
//! Every step reads what to do from the index, so that a restart loses nothing, and is bounded.

use super::{ReadError, Shelf, Store, StoreError};
use crate::{
    codec::SegmentId,
    index::{Extent, IndexError, Loose, Move, Queued, Tables},
    num::wide,
    repair::{
        Standing,
        plan::{Key, Planner, REPAIRS},
        survey::Health,
        worker::{RepairError, Worker},
    },
};
use futures::{StreamExt as _, stream};
use protocol::RailId;
use std::{collections::BTreeSet, sync::Arc};
use storage_kind::health::Population;

/// Rounds of repairs in one step.
const ROUNDS: usize = 16;
/// Repairs under way at once. Each holds the memory of k shards.
const AT_ONCE: usize = 4;
/// Queued shards of which the most urgent are repaired in one step; the next step looks at the next.
const LOOKED_AT: usize = 4_096;
/// The chance that an agent fails on a day, in parts of 10^9 (Storj's figure). Only the order of
/// repairs follows from it.
const FAILURE_PPB: u32 = 54_350;
/// Segments whose health is looked at in one go.
const SURVEYED: usize = 4_096;
/// Garbage segments collected in one step.
const COLLECTED: usize = 256;
/// Shards found stranded in one step.
const STRANDED: usize = 1_024;
/// How long all shards on rails that are left are known to be queued, milliseconds.
const LEFT_MS: u64 = 60_000;
/// Plain bytes packed again in one step.
const PACKED_BYTES: u64 = 32 << 20;
/// Loose segments looked at in one step.
const LOOSE: usize = 4_096;

/// Why a step was not finished.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpkeepError {
    /// Bytes could not be read.
    #[error("read: {0}")]
    Read(#[from] ReadError),
    /// Bytes could not be stored.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// A shard could not be repaired.
    #[error("repair: {0}")]
    Repair(#[from] RepairError),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Shards that found a home.
    pub repaired: usize,
    /// Segments forgotten.
    pub collected: usize,
    /// Extents moved into a new segment.
    pub moved: usize,
}

/// The background worker.
#[derive(Debug)]
pub struct Upkeep {
    store: Arc<Store>,
    planner: Planner,
    worker: Worker,
    /// Garbage found earlier, and the reads that must end before it goes.
    found: Vec<(SegmentId, u64)>,
    /// The queued shard that was looked at last.
    looked_at: Option<Key>,
    /// Where shards may stay and can be read, once that is known.
    standing: Option<Arc<Standing>>,
    /// The rails all of whose shards are queued, and when that was so.
    left: (BTreeSet<RailId>, u64),
    surveyed_ms: Option<u64>,
}

impl Upkeep {
    /// A worker on `store`.
    pub fn new(store: Arc<Store>) -> Self {
        let worker = Worker::new(store.keys.mask.clone(), Arc::clone(&store.link));
        Self {
            planner: Planner::new(store.limits.repair_bytes_per_s),
            worker,
            store,
            found: Vec::new(),
            looked_at: None,
            standing: None,
            left: (BTreeSet::new(), 0),
            surveyed_ms: None,
        }
    }

    /// One step of everything. A part that fails does not keep the others from being done.
    ///
    /// # Errors
    /// The last part's that failed.
    #[tracing::instrument(name = "s3.upkeep.step", level = "debug", skip_all)]
    pub async fn step(&mut self) -> Result<Done, UpkeepError> {
        let mut done = Done::default();
        let mut failed = None;
        match self.repair().await {
            Ok(repaired) => done.repaired = repaired,
            Err(error) => failed = Some(error),
        }
        match self.pack_again().await {
            Ok(moved) => done.moved = moved,
            Err(error) => failed = Some(error),
        }
        match self.collect().await {
            Ok(collected) => done.collected = collected,
            Err(error) => failed = Some(error.into()),
        }
        if let Err(error) = self.survey().await {
            failed = Some(error.into());
        }
        failed.map_or(Ok(done), Err)
    }

    /// Takes note of where shards may stay and can be read, and queues those that may not stay where they
    /// are. They can be read there until they have moved, if they can now. How many were queued.
    ///
    /// # Errors
    /// [`UpkeepError::Index`].
    pub async fn leave(&mut self, standing: Standing) -> Result<usize, UpkeepError> {
        let (writer, now) = (&self.store.writer, self.store.now_ms());
        let standing = Arc::new(standing);
        self.standing = Some(Arc::clone(&standing));
        let held = writer.read(|reader| reader.rails()).await?.into_iter();
        let left: BTreeSet<RailId> = held
            .filter(|(id, row)| row.held > 0 && !standing.staying.contains_key(id))
            .map(|(id, _)| id)
            .collect();
        // Segments are looked through only when there is something to find.
        if left.is_empty() || (self.left.0 == left && now < self.left.1.saturating_add(LEFT_MS)) {
            return Ok(0);
        }
        let stranded = writer
            .read(move |reader| reader.stranded(|home| !standing.stays(home), STRANDED))
            .await?;
        let count = stranded.len();
        if count > 0 {
            writer
                .write(move |tables| {
                    stranded
                        .into_iter()
                        .try_for_each(|(id, index, at)| tables.shard_leaves(id, index, at))
                })
                .await?;
        }
        if count < STRANDED {
            self.left = (left, now);
        }
        Ok(count)
    }

    /// Repairs what is most urgent, as fast as it may.
    async fn repair(&mut self) -> Result<usize, UpkeepError> {
        let (mut repaired, mut failed) = (0, None);
        for _ in 0..ROUNDS {
            let urgent = self.urgent().await?;
            let (count, before) = (urgent.len(), repaired);
            let this = &*self;
            let outcomes: Vec<_> =
                stream::iter(urgent)
                    .map(|shard| async move {
                        ((shard.segment, shard.index), this.repair_one(shard).await)
                    })
                    .buffer_unordered(AT_ONCE)
                    .collect()
                    .await;
            for (key, outcome) in outcomes {
                match outcome {
                    Ok(true) => {
                        repaired += 1;
                        self.planner.done(key);
                        continue;
                    }
                    Ok(false) => {}
                    Err(error) => failed = Some(error),
                }
                self.planner.failed(key, self.store.now_ms());
            }
            // Others have their turn when there is little to do, or nothing works.
            if count < REPAIRS || repaired == before {
                break;
            }
        }
        metrics::counter!("wayleave_s3_shards_repaired_total").increment(wide(repaired));
        failed.map_or(Ok(repaired), Err)
    }

    /// The shards to repair now.
    async fn urgent(&mut self) -> Result<Vec<Queued>, IndexError> {
        let (store, after, now) = (&self.store, self.looked_at, self.store.now_ms());
        let standing = self.standing.clone();
        let queued = store
            .writer
            .read(move |reader| {
                let alive = |home: &_| standing.as_ref().is_none_or(|at| at.is_alive(home));
                reader.queued(after, LOOKED_AT, alive)
            })
            .await?;
        let last = queued.last().map(|shard| (shard.segment, shard.index));
        self.looked_at = last.filter(|_| queued.len() == LOOKED_AT);
        let nodes = u32::try_from(store.fleet.agents().len()).unwrap_or(u32::MAX);
        let population = Population { nodes, failure_ppb: FAILURE_PPB };
        let busy = |id| store.under_way.contains(id);
        Ok(self.planner.next(queued, &population, busy, now))
    }

    /// Finds a home for a shard. Whether it has one now, or needs none.
    async fn repair_one(&self, queued: Queued) -> Result<bool, UpkeepError> {
        let store = &self.store;
        let (id, index) = (queued.segment, queued.index);
        let stays = |home: &_| self.standing.as_ref().is_some_and(|on| on.stays(home));
        if let Some(home) = queued.from.filter(stays) {
            store.writer.write(move |tables| tables.shard_stays(id, index, home)).await?;
            return Ok(true);
        }
        let _reading = store.reading();
        // Forgotten in the meantime.
        let Some(row) = store.writer.read(move |reader| reader.segment(id)).await? else {
            return Ok(true);
        };
        let shelf = Shelf::new(id, row).map_err(StoreError::from)?;
        let readable = |home: &_| self.standing.as_ref().is_none_or(|at| at.is_alive(home));
        let from = queued.from.filter(readable);
        let Some(to) = self.worker.repair(&shelf, index, from).await? else { return Ok(false) };
        let siblings = store.fleet.siblings(to.device);
        let change = move |tables: &mut Tables<'_>| {
            // A shard that became durable in the meantime may stand with the same owner.
            if tables.is_beside(id, index, &siblings)? {
                return Ok(false);
            }
            match queued.from {
                Some(from) => tables.shard_moved(id, index, from, to),
                None => tables.shard_stored(id, index, to),
            }
        };
        Ok(store.writer.write(change).await?)
    }

    /// Looks at the health of all segments, when it is time.
    async fn survey(&mut self) -> Result<(), IndexError> {
        let (store, now) = (&self.store, self.store.now_ms());
        let every = u64::try_from(store.limits.survey.as_millis()).unwrap_or(u64::MAX);
        let is_due = self.surveyed_ms.is_none_or(|last| now >= last.saturating_add(every));
        // Before the first look at the ledger nobody knows what can be read.
        let Some(standing) = self.standing.clone().filter(|_| is_due) else { return Ok(()) };
        let (mut health, mut after) = (Health::default(), None);
        loop {
            let standing = Arc::clone(&standing);
            let (counted, next) = store
                .writer
                .read(move |reader| reader.survey(after, SURVEYED, |home| standing.is_alive(home)))
                .await?;
            counted.iter().for_each(|segment| health.add(segment));
            after = next;
            if after.is_none() {
                break;
            }
        }
        store.note_health(health);
        self.surveyed_ms = Some(now);
        Ok(())
    }

    /// Forgets garbage that nobody reads any more.
    async fn collect(&mut self) -> Result<usize, IndexError> {
        let store = Arc::clone(&self.store);
        let (over, found): (Vec<_>, Vec<_>) = std::mem::take(&mut self.found)
            .into_iter()
            .partition(|(_, mark)| store.readers.are_over(*mark));
        self.found = found;
        let count = over.len();
        if count > 0 {
            let forget: Vec<_> = over.into_iter().map(|(segment, _)| segment).collect();
            store
                .writer
                .write(move |tables| forget.into_iter().try_for_each(|id| tables.forget(id)))
                .await?;
        }
        let garbage = store.writer.read(|reader| reader.garbage(COLLECTED)).await?;
        self.find(garbage);
        Ok(count)
    }

    /// Garbage that was listed waits for all reads that began before now: each may have asked the
    /// index before it was garbage.
    fn find(&mut self, garbage: Vec<SegmentId>) {
        let mark = self.store.readers.mark();
        for segment in garbage {
            if self.found.len() < COLLECTED && self.found.iter().all(|(id, _)| *id != segment) {
                self.found.push((segment, mark));
            }
        }
    }

    /// Packs the live bytes of the smaller loose segments into a new one, if enough are loose.
    async fn pack_again(&self) -> Result<usize, UpkeepError> {
        let store = &self.store;
        let loose = store.writer.read(|reader| reader.loose(LOOSE)).await?;
        let loose = alike(loose, store.limits.loose_min.max(2));
        let _reading = store.reading();
        let mut sources = Vec::new();
        let mut total = 0;
        for Loose { segment, live } in loose {
            if total + live > PACKED_BYTES {
                break;
            }
            total += live;
            sources.extend(store.writer.read(move |reader| reader.live(segment)).await?);
        }
        // What was dropped since counts less.
        let total = sources.iter().map(|(_, extent)| u64::from(extent.bytes)).sum();
        if sources.is_empty() {
            return Ok(0);
        }
        let mut filling = store.begin(total, true).await?;
        let mut moves = Vec::with_capacity(sources.len());
        let mut offset = 0;
        for (blob, from) in sources {
            let range = 0..u64::from(from.bytes);
            let body = store.read(vec![from], range, store.reading()).await?;
            filling.sealer.push(&body.collect().await?).map_err(StoreError::from)?;
            let to = Extent { segment: filling.id(), offset, bytes: from.bytes };
            offset += from.bytes;
            moves.push(Move { blob, from, to });
        }
        let stored = store.finish(filling).await?;
        let (id, row, now_ms) = (stored.id, stored.row.clone(), store.now_ms());
        let moved =
            store.writer.write(move |tables| tables.relocate(id, &row, &moves, now_ms)).await?;
        stored.follow(store);
        metrics::counter!("wayleave_s3_extents_moved_total").increment(wide(moved));
        Ok(moved)
    }
}

/// Once `least` segments are loose, as many of the smallest as make at least twice the largest of them:
/// what a byte is packed into then doubles each time, so that it is packed again a few times only.
fn alike(mut loose: Vec<Loose>, least: usize) -> Vec<Loose> {
    if loose.len() < least {
        return Vec::new();
    }
    loose.sort_by_key(|segment| (segment.live, segment.segment));
    let (mut total, mut count) = (0, 0);
    for (at, segment) in (1..).zip(&loose) {
        total += segment.live;
        if total >= 2 * segment.live {
            count = at;
        }
    }
    loose.truncate(if count > 1 { count } else { 0 });
    loose
}

#[cfg(test)]
mod tests;
