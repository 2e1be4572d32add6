//! What is done in the background, one step at a time: queued shards find homes, garbage goes, loose
//! segments are packed again.
//!
//! Every step reads what to do from the index, so that a restart loses nothing, and is bounded. The
//! least healthy segments come first (design 11), in the order of [`storage_kind::health`]; a shard
//! whose repair failed waits, longer each time, as every try may cost the delivery of k others.

use super::{ReadError, Store, StoreError, retrieve::View, upload::Space};
use crate::{
    codec::{self, SegmentId},
    index::{Extent, Home, IndexError, Loose, Move, Queued, Tables},
    num::wide,
    placement::{self, Spot},
    shards::ShardsError,
};
use bytes::Bytes;
use protocol::{Account, DeviceId, RailId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use storage_kind::{
    dataset::Shard,
    health::{self, Population},
    wire::Refusal,
};

/// Shards repaired in one step.
const REPAIRS: usize = 16;
/// Queued shards of which the most urgent are repaired in one step; the next step looks at the next.
const LOOKED_AT: usize = 4_096;
/// Agents asked whether they take a shard before others are read for it.
const ASKED: usize = 8;
/// How long an agent may take to say what it takes.
const ASKED_WITHIN: Duration = Duration::from_secs(3);
/// How long a shard waits after a repair that failed, milliseconds; doubled with every further one.
const PUT_OFF_MS: u64 = 1_000;
/// How often that is doubled at most.
const PUT_OFF_DOUBLED_MAX: u32 = 6;
/// Shards that wait so at most; beyond it the one that is due first is tried at once.
const PUT_OFF_MAX: usize = 65_536;
/// The chance that an agent fails on a day, in parts of 10^9 (Storj's figure). Only the order of
/// repairs follows from it.
const FAILURE_PPB: u32 = 54_350;
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

/// A repair that failed.
#[derive(Clone, Copy, Debug)]
struct PutOff {
    until_ms: u64,
    failures: u32,
}

/// The background worker.
#[derive(Debug)]
pub struct Upkeep {
    store: Arc<Store>,
    /// Garbage found earlier, and the reads that must end before it goes.
    found: Vec<(SegmentId, u64)>,
    /// The queued shard that was looked at last.
    looked_at: Option<(SegmentId, u8)>,
    put_off: BTreeMap<(SegmentId, u8), PutOff>,
    /// The rails on which shards may stay, once they are known.
    staying: Option<BTreeMap<RailId, DeviceId>>,
    /// The rails all of whose shards are queued, and when that was so.
    left: (BTreeSet<RailId>, u64),
}

impl Upkeep {
    /// A worker on `store`.
    pub const fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            found: Vec::new(),
            looked_at: None,
            put_off: BTreeMap::new(),
            staying: None,
            left: (BTreeSet::new(), 0),
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
        failed.map_or(Ok(done), Err)
    }

    /// Queues the shards on rails that are not among those where they may stay. They can be read where
    /// they are until they have moved. How many were queued.
    ///
    /// # Errors
    /// [`UpkeepError::Index`].
    pub async fn leave(
        &mut self,
        staying: BTreeMap<RailId, DeviceId>,
    ) -> Result<usize, UpkeepError> {
        let (writer, now) = (&self.store.writer, self.store.now_ms());
        let held = writer.read(|reader| reader.rails()).await?.into_iter();
        let left: BTreeSet<RailId> = held
            .filter(|(id, row)| row.held > 0 && !staying.contains_key(id))
            .map(|(id, _)| id)
            .collect();
        self.staying = Some(staying.clone());
        // Segments are looked through only when there is something to find.
        if left.is_empty() || (self.left.0 == left && now < self.left.1.saturating_add(LEFT_MS)) {
            return Ok(0);
        }
        let gone = move |home: &Home| staying.get(&home.rail) != Some(&home.device);
        let stranded = writer.read(move |reader| reader.stranded(gone, STRANDED)).await?;
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

    async fn repair(&mut self) -> Result<usize, UpkeepError> {
        let (mut repaired, mut failed) = (0, None);
        for shard in self.urgent().await? {
            let key = (shard.segment, shard.index);
            match self.repair_one(shard).await {
                Ok(true) => {
                    repaired += 1;
                    self.put_off.remove(&key);
                    continue;
                }
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
            self.put_off(key);
        }
        metrics::counter!("wayleave_s3_shards_repaired_total").increment(wide(repaired));
        failed.map_or(Ok(repaired), Err)
    }

    /// The shards to repair now: those of the segments that are expected to be lost first. Segments
    /// that are lost already cannot be helped, and must not be in the way.
    async fn urgent(&mut self) -> Result<Vec<Queued>, IndexError> {
        let (store, after, now) = (&self.store, self.looked_at, self.store.now_ms());
        let queued = store.writer.read(move |reader| reader.queued(after, LOOKED_AT)).await?;
        let last = queued.last().map(|shard| (shard.segment, shard.index));
        self.looked_at = last.filter(|_| queued.len() == LOOKED_AT);
        let nodes = u32::try_from(store.fleet.agents().len()).unwrap_or(u32::MAX);
        let population = Population { nodes, failure_ppb: FAILURE_PPB };
        let due = |shard: &Queued| {
            self.put_off.get(&(shard.segment, shard.index)).is_none_or(|off| off.until_ms <= now)
        };
        let mut urgent: Vec<_> = queued
            .into_iter()
            .filter(|shard| shard.durable >= shard.needed && due(shard))
            .filter(|shard| !store.under_way.contains(shard.segment))
            .map(|shard| (health(&shard).millidays(&population), shard))
            .collect();
        urgent
            .sort_by_key(|(days, shard)| (*days, shard.from.is_some(), shard.segment, shard.index));
        urgent.truncate(REPAIRS);
        Ok(urgent.into_iter().map(|(_, shard)| shard).collect())
    }

    fn put_off(&mut self, key: (SegmentId, u8)) {
        let failures = self.put_off.get(&key).map_or(0, |off| off.failures);
        let wait = PUT_OFF_MS << failures.min(PUT_OFF_DOUBLED_MAX);
        let until_ms = self.store.now_ms().saturating_add(wait);
        if self.put_off.len() >= PUT_OFF_MAX {
            let first = self.put_off.iter().min_by_key(|(_, off)| off.until_ms);
            let first = first.map(|(key, _)| *key);
            first.and_then(|first| self.put_off.remove(&first));
        }
        self.put_off.insert(key, PutOff { until_ms, failures: failures.saturating_add(1) });
    }

    /// Stores a shard with an owner who has none other of its segment: as it is read where it is, if
    /// it only has to move, or rebuilt from others.
    async fn repair_one(&self, queued: Queued) -> Result<bool, UpkeepError> {
        let store = &self.store;
        let (id, index) = (queued.segment, queued.index);
        let stays = |home: &Home| {
            self.staying.as_ref().is_some_and(|on| on.get(&home.rail) == Some(&home.device))
        };
        if let Some(home) = queued.from.filter(stays) {
            store.writer.write(move |tables| tables.shard_stays(id, index, home)).await?;
            return Ok(true);
        }
        let _reading = store.reading();
        let view = match store.view(id).await {
            Ok(view) => view,
            // Forgotten in the meantime.
            Err(ReadError::Index(IndexError::Damaged(_))) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let layout = view.row.layout().map_err(StoreError::from)?;
        let hash = view.row.shards.get(usize::from(index)).map(|shard| shard.hash);
        let hash = hash.ok_or(IndexError::Damaged("a segment has fewer shards"))?;
        let shard = Shard { hash, bytes: wide(layout.shard_bytes()) };
        let Some(spot) = self.spot(&view, index, shard.bytes).await else { return Ok(false) };
        let (bytes, space) = self.bytes(&view, index, queued.from.is_some()).await?;
        let Ok(to) = store.put_on(spot, shard, bytes).await else { return Ok(false) };
        drop(space);
        let change = move |tables: &mut Tables<'_>| match queued.from {
            Some(from) => tables.shard_moved(id, index, from, to),
            None => tables.shard_stored(id, index, to),
        };
        Ok(store.writer.write(change).await?)
    }

    /// An agent that says it takes a shard. They are asked before anything is read, as reading costs.
    async fn spot(&self, view: &View, index: u8, bytes: u64) -> Option<Spot> {
        let (store, now) = (&self.store, self.store.now_ms());
        let taken = owners(store, view, index);
        let spots = placement::replace(view.id, bytes, &store.fleet.candidates(now), &taken);
        for spot in spots.into_iter().take(ASKED) {
            let Some(peer) = store.fleet.peer(spot.device) else { continue };
            match tokio::time::timeout(ASKED_WITHIN, store.shards.terms(peer)).await {
                Ok(Ok(terms)) if terms.free >= bytes => return Some(spot),
                Ok(Ok(terms)) => store.fleet.offers(spot.device, terms.free),
                Ok(Err(ShardsError::Refused(Refusal::Busy))) => {}
                Ok(Err(_)) | Err(_) => store.fleet.failed(spot.device, store.now_ms()),
            }
        }
        None
    }

    /// The bytes of a shard, whole and checked, from where it is or rebuilt from others.
    async fn bytes(
        &self,
        view: &Arc<View>,
        index: u8,
        is_there: bool,
    ) -> Result<(Bytes, Space), UpkeepError> {
        let (store, at) = (&self.store, usize::from(index));
        if is_there && let Some(found) = store.one(view, at).await {
            return Ok(found);
        }
        let (shards, space) = store.whole(view, Some(at), &[]).await?;
        let (keys, id) = (store.keys.clone(), view.id);
        let shape = view.row.layout().map_err(StoreError::from)?.shape();
        let rebuilt =
            tokio::task::spawn_blocking(move || codec::rebuild(&keys, id, shape, shards, index))
                .await
                .map_err(|_| StoreError::Stopping)?
                .map_err(StoreError::from)?;
        if view.row.shards.get(at).is_none_or(|shard| shard.hash != rebuilt.hash) {
            return Err(IndexError::Damaged("a rebuilt shard has another hash").into());
        }
        Ok((rebuilt.bytes, space))
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

/// The owners that keep shards of a segment other than shard `but`.
fn owners(store: &Store, view: &View, but: u8) -> BTreeSet<Account> {
    let shards = (0u8..).zip(&view.row.shards).filter(|(index, _)| *index != but);
    shards.filter_map(|(_, shard)| store.fleet.owner(shard.home?.device)).collect()
}

fn health(shard: &Queued) -> health::Segment {
    health::Segment {
        healthy: shard.durable.into(),
        needed: shard.needed.into(),
        moving: shard.moving.into(),
    }
}

#[cfg(test)]
mod tests;
