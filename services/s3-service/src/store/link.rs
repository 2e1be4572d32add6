//! Whole and partial shards to and from agents: what storing, reading and repairing share.
//!
//! No key is in here. A [`Link`] moves bytes that are sealed and masked, pays for what it reads, keeps in
//! mind how agents answer, and notes what is lost. That is all that a repair needs beside the mask key.

use super::ReadError;
use crate::{
    codec::{CodecError, Layout, SegmentId},
    config::Limits,
    fleet::Fleet,
    index::{Home, Segment, Writer},
    num::wide,
    placement::Spot,
    purse::{Purse, PurseError},
    shards::{Ask, Shards, ShardsError},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use protocol::{DeviceId, Digest, clock::Clock, net::Peer};
use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};
use storage_kind::{dataset::Shard, wire::Refusal};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Memory held for a segment on its way out. Whoever sends a shard has its part in it and nobody waits
/// for more while holding it, so that it comes back whatever else waits.
pub(crate) struct Space(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The way to the agents, with all that moving shards needs and no key.
pub struct Link {
    pub(crate) limits: Limits,
    pub(crate) writer: Writer,
    pub(crate) shards: Arc<dyn Shards>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) purse: Arc<Purse>,
    pub(crate) clock: Arc<dyn Clock>,
    /// KiB of shards that may be in memory on their way out.
    pub(super) outgoing: Arc<Semaphore>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A segment as those see it who move its shards: where each is, and how long.
pub(crate) struct Shelf {
    pub(crate) id: SegmentId,
    pub(crate) row: Segment,
    pub(crate) layout: Layout,
    /// Shards found to be other bytes than were stored.
    bad: Mutex<BTreeSet<usize>>,
}

impl Shelf {
    pub(crate) fn new(id: SegmentId, row: Segment) -> Result<Arc<Self>, CodecError> {
        let layout = row.layout()?;
        Ok(Arc::new(Self { id, row, layout, bad: Mutex::default() }))
    }

    fn is_bad(&self, shard: usize) -> bool {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).contains(&shard)
    }

    fn home(&self, shard: usize) -> Option<Home> {
        self.row.shards.get(shard).and_then(|row| row.home).filter(|_| !self.is_bad(shard))
    }
}

/// Where a shard is that an agent took.
pub(super) const fn home(spot: Spot) -> Home {
    Home { rail: spot.rail, device: spot.device }
}

impl Link {
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Waits for memory; nothing when the service stops.
    pub(crate) async fn space(&self, bytes: u64) -> Option<Space> {
        let most = self.limits.write_bytes_max >> 10;
        let wanted = u32::try_from((bytes >> 10).clamp(1, most)).unwrap_or(u32::MAX);
        let outgoing: Arc<Semaphore> = Arc::clone(&self.outgoing);
        outgoing.acquire_many_owned(wanted).await.map(Space).ok()
    }

    /// The shards that can be asked, the most promising first, and those in doubt.
    pub(super) fn order(&self, shelf: &Shelf) -> (Vec<usize>, Vec<usize>) {
        let now = self.now_ms();
        let mut ranked: Vec<_> = (0..shelf.row.shards.len())
            .filter_map(|shard| Some((self.fleet.rank(shelf.home(shard)?.device, now), shard)))
            .collect();
        ranked.sort_unstable();
        let doubtful = ranked.iter().filter(|((doubt, _), _)| *doubt).map(|(_, shard)| *shard);
        let doubtful = doubtful.collect();
        (ranked.into_iter().map(|(_, shard)| shard).collect(), doubtful)
    }

    /// Stores a shard on one agent, and keeps in mind how that went.
    pub(crate) async fn put_on(
        &self,
        spot: Spot,
        shard: Shard,
        bytes: Bytes,
    ) -> Result<Home, ShardsError> {
        let peer = self
            .fleet
            .peer(spot.device)
            .ok_or_else(|| ShardsError::Unreachable("the agent has no address".into()))?;
        let begun = Instant::now();
        let put = self.shards.put(peer, spot.rail, shard, bytes);
        let done = tokio::time::timeout(self.limits.timeout(shard.bytes), put)
            .await
            .unwrap_or_else(|_| Err(ShardsError::Silent("no answer in time".into())));
        match &done {
            Ok(()) => {
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.fleet.answered(spot.device, took.max(1));
                self.fleet.took(spot.device, shard.bytes);
                metrics::counter!("wayleave_s3_shard_bytes_put_total").increment(shard.bytes);
            }
            Err(ShardsError::Refused(
                Refusal::Full | Refusal::Leaving | Refusal::RateTooLow(_) | Refusal::LimitTooLow(_),
            )) => {
                self.fleet.offers(spot.device, 0);
            }
            Err(ShardsError::Refused(Refusal::Busy)) => {
                self.fleet.busy(spot.device, self.now_ms());
            }
            Err(error) => self.failed(spot.device, error),
        }
        done.map(|()| home(spot))
    }

    /// Reads a range of a shard, and keeps in mind how that went.
    pub(super) async fn get(
        self: &Arc<Self>,
        shelf: &Shelf,
        shard: usize,
        span: Range<usize>,
    ) -> Result<Bytes, String> {
        let home = shelf.home(shard).ok_or("the shard is nowhere")?;
        let peer = self.fleet.peer(home.device).ok_or("the agent has no address")?;
        let length = wide(span.len());
        let unpaid = |error: PurseError| error.to_string();
        let mut ask = Ask {
            rail: home.rail,
            shard: shelf.row.shards[shard].hash,
            offset: wide(span.start),
            length,
            voucher: self.purse.more(home.rail, length).await.map_err(unpaid)?,
        };
        let begun = Instant::now();
        let mut got = self.ask(peer, ask).await;
        // The agent saw a price change earlier, or the last voucher did not arrive, or not yet.
        if let Err(ShardsError::Refused(Refusal::VoucherNeeded(due))) = got
            && (self.purse.owes(home.rail, due).await || ask.voucher.is_none())
        {
            ask.voucher = Some(self.purse.voucher(home.rail, 0).await.map_err(unpaid)?);
            got = self.ask(peer, ask).await;
        }
        if matches!(got, Err(ShardsError::Unreachable(_) | ShardsError::Refused(_))) {
            self.purse.refund(home.rail, length).await;
        }
        match &got {
            Ok(_) => {
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.fleet.answered(home.device, took.max(1));
            }
            Err(ShardsError::Refused(Refusal::Busy)) => {
                self.fleet.busy(home.device, self.now_ms());
            }
            Err(error) => {
                self.failed(home.device, error);
                if matches!(error, ShardsError::Refused(Refusal::NotHeld(_))) {
                    self.lost(shelf, shard);
                }
            }
        }
        got.map_err(|error| error.to_string())
    }

    /// An agent failed; one that gives no answer may be gone.
    pub(crate) fn failed(&self, device: DeviceId, error: &ShardsError) {
        match error {
            ShardsError::Unreachable(_) | ShardsError::Silent(_) => {
                self.fleet.silent(device, self.now_ms());
            }
            ShardsError::Refused(_) | ShardsError::Wrong(_) => {
                self.fleet.failed(device, self.now_ms());
            }
        }
    }

    async fn ask(&self, peer: Peer, ask: Ask) -> Result<Bytes, ShardsError> {
        tokio::time::timeout(self.limits.timeout(ask.length), self.shards.get(peer, ask))
            .await
            .unwrap_or_else(|_| Err(ShardsError::Silent("no answer in time".into())))
            .and_then(|bytes| match wide(bytes.len()) == ask.length {
                true => Ok(bytes),
                false => Err(ShardsError::Wrong("another number of bytes")),
            })
    }

    /// A shard is not where it should be: it is queued for repair.
    fn lost(self: &Arc<Self>, shelf: &Shelf, shard: usize) {
        let (id, Some(home)) = (shelf.id, shelf.home(shard)) else { return };
        shelf.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(shard);
        metrics::counter!("wayleave_s3_shards_lost_total").increment(1);
        tracing::warn!(segment = %id, shard, device = %home.device, "an agent lost a shard");
        let writer = self.writer.clone();
        tokio::spawn(async move {
            let index = u8::try_from(shard).unwrap_or(u8::MAX);
            let noted = writer.write(move |tables| tables.shard_lost(id, index, home)).await;
            if let Err(error) = noted {
                tracing::warn!(segment = %id, %error, "a lost shard was not noted");
            }
        });
    }

    /// One whole shard from where it is, checked against its hash; nothing if it is not given.
    pub(crate) async fn one(
        self: &Arc<Self>,
        shelf: &Arc<Shelf>,
        shard: usize,
    ) -> Option<(Bytes, Space)> {
        let span = 0..shelf.layout.shard_bytes();
        let space = self.space(wide(span.len())).await?;
        let bytes = self.get(shelf, shard, span).await.ok()?;
        (Digest::of(&bytes) == shelf.row.shards.get(shard)?.hash).then_some((bytes, space))
    }

    /// Whole shards, checked against their hashes, at least k of them, without shard `but`; those of
    /// `first` before others, as one of them is suspected.
    pub(crate) async fn whole(
        self: &Arc<Self>,
        shelf: &Arc<Shelf>,
        but: Option<usize>,
        first: &[usize],
    ) -> Result<(Vec<Option<Vec<u8>>>, Space), ReadError> {
        let layout = shelf.layout;
        let k = usize::from(layout.shape().k());
        let span = 0..layout.shard_bytes();
        let bytes = wide(span.len()) * wide(k);
        let space = self.space(bytes).await.ok_or(ReadError::Stopping)?;
        let mut shards: Vec<Option<Vec<u8>>> = vec![None; shelf.row.shards.len()];
        let mut cause = String::from("no agent holds a shard");
        let (mut order, _) = self.order(shelf);
        order.sort_by_key(|shard| !first.contains(shard));
        let mut order = order.into_iter().filter(|shard| Some(*shard) != but);
        let mut asked = FuturesUnordered::new();
        let mut good = 0;
        loop {
            while good + asked.len() < k {
                let Some(shard) = order.next() else {
                    return Err(ReadError::Lost { segment: shelf.id, cause });
                };
                let (link, shelf, span) = (Arc::clone(self), Arc::clone(shelf), span.clone());
                asked.push(async move { (shard, link.get(&shelf, shard, span).await) });
            }
            match asked.next().await {
                Some((shard, Ok(bytes))) => {
                    if Digest::of(&bytes) == shelf.row.shards[shard].hash {
                        shards[shard] = Some(Vec::from(bytes));
                        good += 1;
                    } else {
                        if let Some(home) = shelf.home(shard) {
                            self.fleet.lied(home.device);
                        }
                        cause = "an agent answered other bytes than were stored".into();
                        self.lost(shelf, shard);
                    }
                }
                Some((_, Err(error))) => cause = error,
                None => return Ok((shards, space)),
            }
        }
    }
}
