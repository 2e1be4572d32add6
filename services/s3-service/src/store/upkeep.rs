//! What is done in the background, one step at a time: queued shards find homes, garbage goes, loose
//! segments are packed again.
//!
//! Every step reads what to do from the index, so that a restart loses nothing, and is bounded. The
//! least healthy segments come first (design 11).

use super::{ReadError, Store, StoreError, retrieve::View};
use crate::{
    codec,
    index::{Extent, Home, IndexError, Loose, Move, Queued},
    num::wide,
    placement,
};
use protocol::{Account, DeviceId, RailId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use storage_kind::dataset::Shard;

/// Shards repaired in one step.
const REPAIRS: usize = 16;
/// Garbage segments collected in one step.
const COLLECTED: usize = 256;
/// Shards found stranded in one step.
const STRANDED: usize = 256;
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

/// The background worker.
#[derive(Debug)]
pub struct Upkeep {
    store: Arc<Store>,
    /// Garbage found earlier, and the reads that must end before it goes.
    found: Vec<(codec::SegmentId, u64)>,
}

impl Upkeep {
    /// A worker on `store`.
    pub const fn new(store: Arc<Store>) -> Self {
        Self { store, found: Vec::new() }
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

    /// Marks shards on rails that are not among those that still count as lost. How many.
    ///
    /// # Errors
    /// [`UpkeepError::Index`].
    pub async fn leave(&self, counting: BTreeMap<RailId, DeviceId>) -> Result<usize, UpkeepError> {
        let writer = &self.store.writer;
        let stranded = writer
            .read(move |reader| {
                // Segments are looked through only when a rail that holds something is gone.
                let rails = reader.rails()?;
                if rails.iter().all(|(id, row)| row.held == 0 || counting.contains_key(id)) {
                    return Ok(Vec::new());
                }
                let gone = |home: &Home| counting.get(&home.rail) != Some(&home.device);
                reader.stranded(gone, STRANDED)
            })
            .await?;
        let count = stranded.len();
        if count > 0 {
            writer
                .write(move |tables| {
                    for (segment, index, home) in stranded {
                        tables.shard_lost(segment, index, home)?;
                    }
                    Ok(())
                })
                .await?;
        }
        Ok(count)
    }

    async fn repair(&self) -> Result<usize, UpkeepError> {
        let queued = self.store.writer.read(|reader| reader.queued(4 * REPAIRS)).await?;
        let queued =
            queued.into_iter().filter(|shard| !self.store.under_way.contains(shard.segment));
        let mut repaired = 0;
        let mut failed = None;
        for shard in queued.take(REPAIRS) {
            match self.repair_one(shard).await {
                Ok(true) => repaired += 1,
                Ok(false) => {}
                Err(error) => failed = Some(error),
            }
        }
        metrics::counter!("wayleave_s3_shards_repaired_total").increment(wide(repaired));
        failed.map_or(Ok(repaired), Err)
    }

    /// Rebuilds a shard from others and stores it with an owner who has none of its segment.
    async fn repair_one(&self, queued: Queued) -> Result<bool, UpkeepError> {
        let store = &self.store;
        let _reading = store.reading();
        let view = match store.view(queued.segment).await {
            Ok(view) => view,
            // Forgotten in the meantime.
            Err(ReadError::Index(IndexError::Damaged(_))) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let index = usize::from(queued.index);
        let layout = view.row.layout().map_err(StoreError::from)?;
        let bytes = wide(layout.shard_bytes());
        let spots = placement::replace(
            view.id,
            bytes,
            &store.fleet.candidates(store.now_ms()),
            &owners(store, &view),
        );
        if spots.is_empty() {
            return Ok(false);
        }
        let (shards, space) = store.whole(&view, Some(index)).await?;
        let (keys, id) = (store.keys.clone(), view.id);
        let (shape, missing) = (layout.shape(), queued.index);
        let rebuilt =
            tokio::task::spawn_blocking(move || codec::rebuild(&keys, id, shape, shards, missing))
                .await
                .map_err(|_| StoreError::Stopping)?
                .map_err(StoreError::from)?;
        if rebuilt.hash != view.row.shards[index].hash {
            return Err(IndexError::Damaged("a rebuilt shard has another hash").into());
        }
        for spot in spots {
            let shard = Shard { hash: rebuilt.hash, bytes };
            if let Ok(home) = store.put_on(spot, shard, rebuilt.bytes.clone()).await {
                drop(space);
                let stored = store
                    .writer
                    .write(move |tables| tables.shard_stored(id, missing, home))
                    .await?;
                return Ok(stored);
            }
        }
        Ok(false)
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
        let mark = store.readers.mark();
        let garbage = store.writer.read(|reader| reader.garbage(COLLECTED)).await?;
        for segment in garbage {
            if self.found.len() < COLLECTED && self.found.iter().all(|(id, _)| *id != segment) {
                self.found.push((segment, mark));
            }
        }
        Ok(count)
    }

    /// Packs the live bytes of loose segments into a new one, if enough are loose.
    async fn pack_again(&self) -> Result<usize, UpkeepError> {
        let store = &self.store;
        let loose = store.writer.read(|reader| reader.loose(LOOSE)).await?;
        if loose.len() < store.limits.loose_min.max(2) {
            return Ok(0);
        }
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

/// The owners that keep shards of a segment.
fn owners(store: &Store, view: &View) -> BTreeSet<Account> {
    let homes = view.row.shards.iter().filter_map(|shard| shard.home);
    homes.filter_map(|home| store.fleet.owner(home.device)).collect()
}
