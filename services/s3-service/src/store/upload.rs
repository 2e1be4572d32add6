//! One segment onto its agents.
//!
//! All shards go out at once, each to its agent and, when that fails, to spare agents. Shards that an
//! agent keeps waiting for too long go to spares as well, and the first to take one counts; the other
//! is a spare again. With k + 1 durable the segment counts as stored; what is still under way then is
//! followed in the background and, if it fails, stays queued in the index until upkeep finds it a home.

use super::{
    ReadError, Store,
    link::{Space, home},
};
use crate::{
    aside::aside,
    codec::{self, CodecError, Layout, Sealer, SegmentId},
    index::{Home, IndexError, Segment, ShardRow},
    num::{mem, wide},
    placement::{self, Spot, TooFew},
    shards::ShardsError,
};
use bytes::Bytes;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use storage_kind::dataset::Shard;
use tokio::task::JoinSet;

/// Segments up to this size are sealed where they are: another thread costs more, bytes.
const SEALED_HERE_MAX: u32 = 64 << 10;
/// How long shards that became durable late wait for others, to be noted in one transaction.
const LATE_WINDOW: Duration = Duration::from_millis(20);

/// Why bytes were not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Not enough agents.
    #[error("nothing can be stored now: {0}")]
    Agents(TooFew),
    /// Too few agents took their shard.
    #[error("only {durable} of the {needed} shards needed became durable: {cause}")]
    Durable {
        /// Shards that are durable.
        durable: usize,
        /// How many are needed.
        needed: usize,
        /// What the last failing agent said.
        cause: String,
    },
    /// The codec refused.
    #[error("codec: {0}")]
    Codec(#[from] CodecError),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The client's bytes ended early, or were not as announced.
    #[error("{0}")]
    Body(BodyError),
    /// What is copied could not be read.
    #[error("the source could not be read: {0}")]
    Source(Box<ReadError>),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        Self::Source(Box::new(error))
    }
}

impl From<s3s::StdError> for StoreError {
    fn from(error: s3s::StdError) -> Self {
        Self::Body(BodyError::Broken(error.to_string()))
    }
}

/// What is wrong with the bytes of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Fewer or more bytes than announced.
    #[error("{got} bytes came, {expected} were announced")]
    Length {
        /// What was announced.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The connection broke, or the chunks' signatures do not hold.
    #[error("the body could not be read: {0}")]
    Broken(String),
    /// The client keeps the service waiting for too long.
    #[error("the client sends too slowly, or stopped: {got} of {expected} bytes came")]
    Slow {
        /// What was announced.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// `Content-MD5` is of other bytes.
    #[error("the Content-MD5 given does not match what came")]
    Md5,
    /// The checksum given is of other bytes.
    #[error("the {0} checksum given does not match what came")]
    Checksum(&'static str),
    /// A checksum was announced and did not come.
    #[error("the {0} checksum announced did not come")]
    NoChecksum(&'static str),
}

/// Segments whose shards are still on their way: what is queued of them needs no repair yet.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<BTreeSet<SegmentId>>);

/// A segment is under way until this is dropped.
struct OnItsWay {
    id: SegmentId,
    all: Arc<UnderWay>,
}

impl UnderWay {
    fn enter(self: &Arc<Self>, id: SegmentId) -> OnItsWay {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        OnItsWay { id, all: Arc::clone(self) }
    }

    pub(super) fn contains(&self, id: SegmentId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// A segment of which enough is durable, not yet in the index.
pub(crate) struct Stored {
    pub(crate) id: SegmentId,
    pub(crate) row: Segment,
    rest: JoinSet<(usize, Result<Spot, ShardsError>)>,
    on_its_way: OnItsWay,
}

/// What those who send the shards of a segment share. The memory is free when the last of them ends,
/// whether the segment was settled or not: its upload may be waiting for the memory of the next.
struct Sending {
    spares: Mutex<VecDeque<Spot>>,
    #[expect(dead_code, reason = "held for its drop")]
    space: Space,
}

impl Sending {
    /// The next spare agent.
    fn spare(&self) -> Option<Spot> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// An agent can have another shard than the one it was asked for.
    fn give_back(&self, spot: Spot) {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).push_back(spot);
    }
}

/// A segment being filled.
pub(crate) struct Filling {
    pub(crate) sealer: Sealer,
    id: SegmentId,
    layout: Layout,
    packed: bool,
    space: Space,
}

impl Store {
    /// Begins a segment of `plain` bytes, once there is memory for it.
    pub(crate) async fn begin(&self, plain: u64, packed: bool) -> Result<Filling, StoreError> {
        let layout = Layout::new(self.shape, plain)?;
        let space = self.space(layout.stored_bytes()).await.ok_or(StoreError::Stopping)?;
        let id = self.segment_id()?;
        let sealer = Sealer::new(&self.keys, id, layout)?;
        Ok(Filling { sealer, id, layout, packed, space })
    }

    /// Seals a full segment and stores it.
    pub(crate) async fn finish(self: &Arc<Self>, filling: Filling) -> Result<Stored, StoreError> {
        let Filling { sealer, id, layout, packed, space } = filling;
        let shards = if layout.plain_bytes() <= SEALED_HERE_MAX {
            sealer.finish(&self.keys)?
        } else {
            let store = Arc::clone(self);
            aside(move || sealer.finish(&store.keys)).await.ok_or(StoreError::Stopping)??
        };
        self.upload(id, layout, shards, packed, space).await
    }

    #[tracing::instrument(name = "s3.segment.upload", skip_all, fields(%id))]
    async fn upload(
        self: &Arc<Self>,
        id: SegmentId,
        layout: Layout,
        shards: Vec<codec::Shard>,
        packed: bool,
        space: Space,
    ) -> Result<Stored, StoreError> {
        let bytes = wide(layout.shard_bytes());
        let now = self.now_ms();
        let placed = placement::place(id, self.shape, bytes, &self.fleet.candidates(now))
            .map_err(StoreError::Agents)?;
        let on_its_way = self.under_way.enter(id);
        let sending = Arc::new(Sending { spares: Mutex::new(placed.spares.into()), space });
        let mut rest = JoinSet::new();
        for (index, spot) in placed.chosen.into_iter().enumerate() {
            self.send(&mut rest, index, &shards[index], spot, &sending);
        }
        let rows = shards.iter().map(|shard| ShardRow { hash: shard.hash, home: None }).collect();
        let mut row = Segment {
            plain: layout.plain_bytes(),
            k: self.shape.k(),
            live: 0,
            created_ms: now,
            packed,
            shards: rows,
        };
        let needed = usize::from(self.shape.acknowledge());
        let (mut durable, mut cause) = (0, String::from("no agent was left to try"));
        let stall = tokio::time::sleep(self.limits.stall);
        tokio::pin!(stall);
        // Shards that were kept waiting for too long, until a spare agent is there for them too.
        let (mut stalled, mut waiting) = (false, VecDeque::new());
        while durable < needed {
            tokio::select! {
                biased;
                done = rest.join_next() => match done {
                    // The first of two that take the same shard counts. The other was not slow but
                    // asked needlessly: it can have a shard that still waits.
                    Some(Ok((index, Ok(spot)))) if row.shards[index].home.is_some() => {
                        sending.give_back(spot);
                    }
                    Some(Ok((index, Ok(spot)))) => {
                        durable += 1;
                        row.shards[index].home = Some(home(spot));
                    }
                    Some(Ok((_, Err(error)))) => cause = error.to_string(),
                    Some(Err(_)) => return Err(StoreError::Stopping),
                    None => return Err(StoreError::Durable { durable, needed, cause }),
                },
                () = &mut stall, if !stalled => {
                    waiting = (0..shards.len()).filter(|at| row.shards[*at].home.is_none()).collect();
                    stalled = true;
                }
            }
            waiting.retain(|index| row.shards[*index].home.is_none());
            while let Some(index) = waiting.front().copied() {
                let Some(spot) = sending.spare() else { break };
                waiting.pop_front();
                self.send(&mut rest, index, &shards[index], spot, &sending);
            }
        }
        // Whoever finished in the meantime counts too.
        while let Some(Ok((index, done))) = rest.try_join_next() {
            let first = &mut row.shards[index].home;
            *first = first.or(done.ok().map(home));
        }
        metrics::counter!("wayleave_s3_segments_stored_total").increment(1);
        Ok(Stored { id, row, rest, on_its_way })
    }

    /// Begins to store a shard on `spot` or on a spare.
    fn send(
        self: &Arc<Self>,
        rest: &mut JoinSet<(usize, Result<Spot, ShardsError>)>,
        index: usize,
        shard: &codec::Shard,
        spot: Spot,
        sending: &Arc<Sending>,
    ) {
        let (store, sending) = (Arc::clone(self), Arc::clone(sending));
        let (hash, bytes) = (shard.hash, shard.bytes.clone());
        rest.spawn(async move {
            let named = Shard { hash, bytes: wide(bytes.len()) };
            (index, store.put_somewhere(spot, &sending, named, bytes).await)
        });
    }

    /// Stores a shard on `spot` or, failing that, on one of the spares.
    async fn put_somewhere(
        &self,
        mut spot: Spot,
        sending: &Sending,
        shard: Shard,
        bytes: Bytes,
    ) -> Result<Spot, ShardsError> {
        loop {
            match self.put_on(spot, shard, bytes.clone()).await {
                Ok(_) => return Ok(spot),
                Err(error) => {
                    tracing::debug!(device = %spot.device, %error, "a shard was not taken");
                    spot = sending.spare().ok_or(error)?;
                }
            }
        }
    }
}

impl Filling {
    /// The segment that it will be.
    pub(super) const fn id(&self) -> SegmentId {
        self.id
    }
}

impl Stored {
    /// How many plain bytes it has.
    pub(crate) fn plain(&self) -> u32 {
        self.row.plain
    }

    /// To be called when the segment is in the index: notes what becomes durable later.
    pub(crate) fn follow(self, store: &Arc<Store>) {
        let Self { id, mut rest, on_its_way, .. } = self;
        if rest.is_empty() {
            return;
        }
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut homes = Vec::new();
            while let Some(Ok((index, done))) = rest.join_next().await {
                if let (Ok(spot), Ok(index)) = (done, u8::try_from(index)) {
                    homes.push((index, home(spot)));
                }
            }
            if !homes.is_empty() {
                store.note(LateShards { id, homes, on_its_way }).await;
            }
        });
    }
}

/// Shards of a segment that became durable after it was acknowledged.
struct LateShards {
    id: SegmentId,
    homes: Vec<(u8, Home)>,
    /// Held until they are noted: upkeep would repair them.
    #[expect(dead_code, reason = "held for its drop")]
    on_its_way: OnItsWay,
}

/// Late shards that wait to be noted. Each is of a segment whose memory was granted, so these are few.
#[derive(Default)]
pub(super) struct Late(Mutex<Vec<LateShards>>);

impl Store {
    /// Notes late shards. Nobody waits for it, so the first waits for others to come along.
    async fn note(self: &Arc<Self>, shards: LateShards) {
        let is_first = {
            let mut late = self.late.0.lock().unwrap_or_else(PoisonError::into_inner);
            late.push(shards);
            late.len() == 1
        };
        if !is_first {
            return;
        }
        tokio::time::sleep(LATE_WINDOW).await;
        let late = std::mem::take(&mut *self.late.0.lock().unwrap_or_else(PoisonError::into_inner));
        let homes: Vec<_> = late
            .iter()
            .flat_map(|shards| shards.homes.iter().map(|(index, home)| (shards.id, *index, *home)))
            .collect();
        let noted = self.writer.write(move |tables| {
            for (id, index, home) in homes {
                tables.shard_stored(id, index, home)?;
            }
            Ok(())
        });
        if let Err(error) = noted.await {
            tracing::warn!(%error, segments = late.len(), "durable shards were not noted");
        }
    }
}

/// Splits `bytes` into segments of even size, none above `most`.
pub(super) fn split(bytes: u64, most: u64) -> Vec<u64> {
    let count = bytes.div_ceil(most.max(1));
    if count == 0 {
        return Vec::new();
    }
    let (each, more) = (bytes / count, bytes % count);
    let mut parts = vec![each + 1; mem(more)];
    parts.resize(mem(count), each);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn segments_are_even(bytes in 0u64..1 << 40, most in 1u64 << 20..1 << 30) {
            let parts = split(bytes, most);
            prop_assert_eq!(parts.iter().sum::<u64>(), bytes);
            let (low, high) = (parts.iter().min(), parts.iter().max());
            prop_assert!(high.is_none_or(|high| *high <= most && high - low.unwrap() <= 1));
        }
    }
}
