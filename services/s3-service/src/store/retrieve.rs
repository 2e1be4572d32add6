//! Ranges of segments back from agents.
//!
//! A read is cut into stretches of a few rows. Each stretch is one request an agent, several are
//! ahead of the client, and what is ahead is bounded over all requests. The first stretch is there
//! before an answer begins, so that what cannot be read is an error and not a broken body.
//!
//! Every byte is verified before it is handed on: a frame's tag holds or nothing of it is used. When
//! a tag does not hold, whole shards are read and checked against their hashes; that names the liar,
//! who gets nothing more, and the rest is decoded without them.

use super::{Store, readers::Reading};
use crate::{
    codec::{self, CodecError, Opener, SegmentId},
    fetch::{Fetch, Status},
    index::{Extent, Home, IndexError, Segment},
    num::{mem, wide},
    purse::PurseError,
    shards::{Ask, ShardsError},
};
use bytes::Bytes;
use futures::{
    Stream, StreamExt as _,
    future::BoxFuture,
    stream::{FuturesOrdered, FuturesUnordered},
};
use protocol::{Digest, net::Peer};
use s3s::stream::{ByteStream, RemainingLength};
use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Instant,
};
use storage_kind::wire::Refusal;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Why bytes could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Too few shards of a segment can be had now.
    #[error("too few of the shards answer to read this now: {cause}")]
    Lost {
        /// The segment.
        segment: SegmentId,
        /// What the last agent said.
        cause: String,
    },
    /// The codec refused.
    #[error("codec: {0}")]
    Codec(#[from] CodecError),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

/// A segment as a read sees it.
pub(super) struct View {
    pub(super) id: SegmentId,
    pub(super) row: Segment,
    opener: Opener,
    /// Shards found to be other bytes than were stored.
    bad: Mutex<BTreeSet<usize>>,
}

impl View {
    fn is_bad(&self, shard: usize) -> bool {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).contains(&shard)
    }

    fn home(&self, shard: usize) -> Option<Home> {
        self.row.shards.get(shard).and_then(|row| row.home).filter(|_| !self.is_bad(shard))
    }
}

/// A stretch of opened frames, with the memory that it takes.
struct Stretch {
    frames: VecDeque<Bytes>,
    space: OwnedSemaphorePermit,
}

type Ahead = FuturesOrdered<BoxFuture<'static, Result<Stretch, ReadError>>>;

/// A read under way: stretches in order.
struct Course {
    store: Arc<Store>,
    /// What is left: extents and the part wanted of each.
    left: VecDeque<(Extent, Range<u32>)>,
    view: Option<Arc<View>>,
    ahead: Ahead,
    #[expect(dead_code, reason = "held for its drop: garbage waits for it")]
    reading: Reading,
}

impl Course {
    /// The next stretch; nothing at the end.
    async fn next(&mut self) -> Result<Option<Stretch>, ReadError> {
        while self.ahead.len() < self.store.limits.read_ahead.max(1) {
            let Some((extent, wanted)) = self.left.front_mut() else { break };
            let view = match self.view.take().filter(|view| view.id == extent.segment) {
                Some(view) => view,
                None => self.store.view(extent.segment).await?,
            };
            let part = view.stretch(wanted, self.store.limits.stretch_rows);
            wanted.start = part.end;
            if wanted.start >= wanted.end {
                self.left.pop_front();
            }
            self.view = Some(Arc::clone(&view));
            let store = Arc::clone(&self.store);
            self.ahead.push_back(Box::pin(async move { store.stretch(&view, part).await }));
        }
        self.ahead.next().await.transpose()
    }
}

impl View {
    /// The first part of `wanted` that is one stretch: it ends where rows end.
    fn stretch(&self, wanted: &Range<u32>, rows_max: u32) -> Range<u32> {
        let layout = self.opener.layout();
        let first = layout.row_of(layout.frames_of(wanted).start);
        let beyond = layout.frame_at(first.saturating_add(rows_max.max(1)), 0);
        let end = u64::from(beyond) * u64::from(layout.frame_bytes());
        wanted.start..u32::try_from(end).unwrap_or(u32::MAX).min(wanted.end)
    }
}

/// The bytes of an object, as they come.
#[derive(Debug)]
pub struct Body {
    now: VecDeque<Bytes>,
    later: Option<mpsc::Receiver<Result<Stretch, ReadError>>>,
    space: Option<OwnedSemaphorePermit>,
    remaining: usize,
}

impl std::fmt::Debug for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stretch").field("frames", &self.frames.len()).finish_non_exhaustive()
    }
}

impl Body {
    /// No bytes.
    pub const fn empty() -> Self {
        Self { now: VecDeque::new(), later: None, space: None, remaining: 0 }
    }

    /// All bytes at once.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn collect(mut self) -> Result<Vec<u8>, ReadError> {
        let mut all = Vec::with_capacity(self.remaining);
        while let Some(bytes) = self.next().await {
            all.extend_from_slice(&bytes?);
        }
        Ok(all)
    }
}

impl Stream for Body {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(bytes) = self.now.pop_front() {
                self.remaining = self.remaining.saturating_sub(bytes.len());
                return Poll::Ready(Some(Ok(bytes)));
            }
            self.space = None;
            let Some(later) = &mut self.later else { return Poll::Ready(None) };
            match std::task::ready!(later.poll_recv(cx)) {
                Some(Ok(stretch)) => {
                    self.now = stretch.frames;
                    self.space = Some(stretch.space);
                }
                Some(Err(error)) => {
                    self.later = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None if self.remaining > 0 => {
                    self.later = None;
                    return Poll::Ready(Some(Err(ReadError::Stopping)));
                }
                None => self.later = None,
            }
        }
    }
}

/// A body as S3 wants it.
pub(crate) struct Answer(pub(crate) Body);

impl Stream for Answer {
    type Item = Result<Bytes, s3s::StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map_err(|error| Box::new(error) as s3s::StdError)
    }
}

impl ByteStream for Answer {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.0.remaining)
    }
}

impl Store {
    /// Begins a read: garbage is kept from now on. To be called before the index is asked.
    pub(crate) fn reading(&self) -> Reading {
        self.readers.enter()
    }

    /// Reads `range` of the bytes of `extents`.
    ///
    /// # Errors
    /// [`ReadError`] if not even the first stretch can be read.
    pub(crate) async fn read(
        self: &Arc<Self>,
        extents: Vec<Extent>,
        range: Range<u64>,
        reading: Reading,
    ) -> Result<Body, ReadError> {
        self.read_from(extents, range, reading, None).await
    }

    /// As [`Store::read`], with a segment that was looked up already.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub(crate) async fn read_from(
        self: &Arc<Self>,
        extents: Vec<Extent>,
        range: Range<u64>,
        reading: Reading,
        segment: Option<(SegmentId, Segment)>,
    ) -> Result<Body, ReadError> {
        let remaining = mem(range.end.saturating_sub(range.start));
        let mut course = Course {
            store: Arc::clone(self),
            left: overlap(extents, &range),
            view: segment.map(|(id, row)| self.view_of(id, row)).transpose()?,
            ahead: Ahead::new(),
            reading,
        };
        let Some(first) = course.next().await? else { return Ok(Body::empty()) };
        let mut body = Body { now: first.frames, later: None, space: Some(first.space), remaining };
        if !(course.left.is_empty() && course.ahead.is_empty()) {
            let (to, from) = mpsc::channel(1);
            body.later = Some(from);
            tokio::spawn(async move {
                while let Some(next) = course.next().await.transpose() {
                    let last = next.is_err();
                    // A client that went ends the read.
                    if to.send(next).await.is_err() || last {
                        return;
                    }
                }
            });
        }
        Ok(body)
    }

    pub(super) async fn view(&self, id: SegmentId) -> Result<Arc<View>, ReadError> {
        let row = self
            .writer
            .read(move |reader| reader.segment(id))
            .await?
            .ok_or(IndexError::Damaged("a segment is mentioned and missing"))?;
        self.view_of(id, row)
    }

    fn view_of(&self, id: SegmentId, row: Segment) -> Result<Arc<View>, ReadError> {
        let opener = Opener::new(&self.keys, id, row.layout()?)?;
        Ok(Arc::new(View { id, row, opener, bad: Mutex::default() }))
    }

    /// The shards that can be asked, the most promising first, and those in doubt.
    fn order(&self, view: &View) -> (Vec<usize>, Vec<usize>) {
        let now = self.now_ms();
        let mut ranked: Vec<_> = (0..view.row.shards.len())
            .filter_map(|shard| Some((self.fleet.rank(view.home(shard)?.device, now), shard)))
            .collect();
        ranked.sort_unstable();
        let doubtful = ranked.iter().filter(|((doubt, _), _)| *doubt).map(|(_, shard)| *shard);
        let doubtful = doubtful.collect();
        (ranked.into_iter().map(|(_, shard)| shard).collect(), doubtful)
    }

    #[tracing::instrument(name = "s3.stretch.read", level = "debug", skip_all, fields(id = %view.id))]
    async fn stretch(
        self: &Arc<Self>,
        view: &Arc<View>,
        wanted: Range<u32>,
    ) -> Result<Stretch, ReadError> {
        let layout = *view.opener.layout();
        let frames = layout.frames_of(&wanted);
        let rows = layout.rows_of(&frames);
        let span = layout.bytes_of(&rows);
        let k = layout.shape().k();
        let columns: BTreeSet<usize> =
            frames.clone().take(usize::from(k)).map(|f| usize::from(layout.shard_of(f))).collect();
        let taken = wide(span.len()) * wide(columns.len());
        let mut space = self.read_space(taken).await?;
        let (order, doubtful) = self.order(view);
        let total = view.row.shards.len();
        let columns: Vec<usize> = columns.into_iter().collect();
        let fetch = Fetch::new(usize::from(k), total, columns.clone(), order, &doubtful);
        let mut pieces = self.pieces(view, fetch, &span).await?;
        let opened = open(view, &mut pieces, &columns, &frames, rows.start);
        if opened.is_err() {
            // Somebody altered bytes. Whole shards have hashes, which tell who. Who holds memory for
            // reads never waits for the other: one that stores what it reads waits the other way.
            drop(space);
            let gave: Vec<usize> = (0..total).filter(|shard| pieces[*shard].is_some()).collect();
            let (shards, _space) = self.whole(view, None, &gave).await?;
            space = self.read_space(taken).await?;
            pieces = shards
                .into_iter()
                .map(|shard| shard.and_then(|bytes| bytes.get(span.clone()).map(<[u8]>::to_vec)))
                .collect();
            for (index, piece) in (0u8..).zip(&mut pieces) {
                if let Some(piece) = piece {
                    view.opener.uncover(index, span.start, piece)?;
                }
            }
            open(view, &mut pieces, &columns, &frames, rows.start)?;
        }
        let pieces: Vec<Bytes> =
            pieces.into_iter().map(|piece| Bytes::from(piece.unwrap_or_default())).collect();
        let frames = frames
            .filter_map(|frame| {
                let piece = pieces.get(usize::from(layout.shard_of(frame)))?;
                Some(piece.slice(view.opener.plain_in(rows.start, frame, &wanted)))
            })
            .collect();
        metrics::counter!("wayleave_s3_bytes_read_total")
            .increment(u64::from(wanted.end - wanted.start));
        Ok(Stretch { frames, space })
    }

    async fn read_space(&self, bytes: u64) -> Result<OwnedSemaphorePermit, ReadError> {
        let most = (self.limits.read_bytes_max >> 10).max(1);
        let kib = u32::try_from((bytes >> 10).clamp(1, most)).unwrap_or(u32::MAX);
        Arc::clone(&self.incoming).acquire_many_owned(kib).await.map_err(|_| ReadError::Stopping)
    }

    /// Runs a fetch: uncovered pieces of `span`, enough of them.
    async fn pieces(
        self: &Arc<Self>,
        view: &Arc<View>,
        mut fetch: Fetch,
        span: &Range<usize>,
    ) -> Result<Vec<Option<Vec<u8>>>, ReadError> {
        let mut pieces: Vec<Option<Vec<u8>>> = vec![None; view.row.shards.len()];
        let mut asked = FuturesUnordered::new();
        let mut cause = String::from("no agent holds a shard");
        let hedge = tokio::time::sleep(self.limits.hedge);
        tokio::pin!(hedge);
        let mut hedged = false;
        loop {
            for shard in fetch.ask() {
                let (store, view, span) = (Arc::clone(self), Arc::clone(view), span.clone());
                asked.push(async move { (shard, store.get(&view, shard, span).await) });
            }
            match fetch.status() {
                Status::Ready => return Ok(pieces),
                Status::Lost => return Err(ReadError::Lost { segment: view.id, cause }),
                Status::Waiting => {}
            }
            tokio::select! {
                Some((shard, got)) = asked.next() => match got {
                    Ok(bytes) => {
                        let mut bytes = Vec::from(bytes);
                        let index = u8::try_from(shard).unwrap_or(u8::MAX);
                        view.opener.uncover(index, span.start, &mut bytes)?;
                        pieces[shard] = Some(bytes);
                        fetch.arrived(shard);
                    }
                    Err(error) => {
                        tracing::debug!(id = %view.id, shard, %error, "a shard was not read");
                        cause = error;
                        fetch.failed(shard);
                    }
                },
                () = &mut hedge, if !hedged => {
                    hedged = true;
                    fetch.hedge();
                    metrics::counter!("wayleave_s3_reads_hedged_total").increment(1);
                }
            }
        }
    }

    /// Reads a range of a shard, and keeps in mind how that went.
    async fn get(
        self: &Arc<Self>,
        view: &View,
        shard: usize,
        span: Range<usize>,
    ) -> Result<Bytes, String> {
        let home = view.home(shard).ok_or("the shard is nowhere")?;
        let peer = self.fleet.peer(home.device).ok_or("the agent has no address")?;
        let length = wide(span.len());
        let unpaid = |error: PurseError| error.to_string();
        let mut ask = Ask {
            rail: home.rail,
            shard: view.row.shards[shard].hash,
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
                self.fleet.failed(home.device, self.now_ms());
                if matches!(error, ShardsError::Refused(Refusal::NotHeld(_))) {
                    self.lost(view, shard);
                }
            }
        }
        got.map_err(|error| error.to_string())
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
    fn lost(self: &Arc<Self>, view: &View, shard: usize) {
        let (id, Some(home)) = (view.id, view.home(shard)) else { return };
        view.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(shard);
        metrics::counter!("wayleave_s3_shards_lost_total").increment(1);
        tracing::warn!(segment = %id, shard, device = %home.device, "an agent lost a shard");
        let store = Arc::clone(self);
        tokio::spawn(async move {
            let index = u8::try_from(shard).unwrap_or(u8::MAX);
            let noted = store.writer.write(move |tables| tables.shard_lost(id, index, home)).await;
            if let Err(error) = noted {
                tracing::warn!(segment = %id, %error, "a lost shard was not noted");
            }
        });
    }

    /// One whole shard from where it is, checked against its hash; nothing if it is not given.
    pub(super) async fn one(
        self: &Arc<Self>,
        view: &Arc<View>,
        shard: usize,
    ) -> Option<(Bytes, super::upload::Space)> {
        let span = 0..view.opener.layout().shard_bytes();
        let space = self.space(wide(span.len())).await.ok()?;
        let bytes = self.get(view, shard, span).await.ok()?;
        (Digest::of(&bytes) == view.row.shards.get(shard)?.hash).then_some((bytes, space))
    }

    /// Whole shards, checked against their hashes, at least k of them, without shard `but`; those of
    /// `first` before others, as one of them is suspected.
    pub(super) async fn whole(
        self: &Arc<Self>,
        view: &Arc<View>,
        but: Option<usize>,
        first: &[usize],
    ) -> Result<(Vec<Option<Vec<u8>>>, super::upload::Space), ReadError> {
        let layout = *view.opener.layout();
        let k = usize::from(layout.shape().k());
        let span = 0..layout.shard_bytes();
        let bytes = wide(span.len()) * wide(k);
        let space = self.space(bytes).await.map_err(|_| ReadError::Stopping)?;
        let mut shards: Vec<Option<Vec<u8>>> = vec![None; view.row.shards.len()];
        let mut cause = String::from("no agent holds a shard");
        let (mut order, _) = self.order(view);
        order.sort_by_key(|shard| !first.contains(shard));
        let mut order = order.into_iter().filter(|shard| Some(*shard) != but);
        let mut asked = FuturesUnordered::new();
        let mut good = 0;
        loop {
            while good + asked.len() < k {
                let Some(shard) = order.next() else {
                    return Err(ReadError::Lost { segment: view.id, cause });
                };
                let (store, view, span) = (Arc::clone(self), Arc::clone(view), span.clone());
                asked.push(async move { (shard, store.get(&view, shard, span).await) });
            }
            match asked.next().await {
                Some((shard, Ok(bytes))) => {
                    if Digest::of(&bytes) == view.row.shards[shard].hash {
                        shards[shard] = Some(Vec::from(bytes));
                        good += 1;
                    } else {
                        if let Some(home) = view.home(shard) {
                            self.fleet.lied(home.device);
                        }
                        cause = "an agent answered other bytes than were stored".into();
                        self.lost(view, shard);
                    }
                }
                Some((_, Err(error))) => cause = error,
                None => return Ok((shards, space)),
            }
        }
    }
}

/// Rebuilds what is missing of the wanted columns and opens their frames.
fn open(
    view: &View,
    pieces: &mut [Option<Vec<u8>>],
    columns: &[usize],
    frames: &Range<u32>,
    first_row: u32,
) -> Result<(), CodecError> {
    if columns.iter().any(|column| pieces[*column].is_none()) {
        codec::reconstruct(view.opener.layout().shape(), pieces, false)?;
    }
    for column in columns {
        let piece = pieces[*column].as_mut().ok_or(CodecError::TooFew)?;
        let shard = u8::try_from(*column).unwrap_or(u8::MAX);
        view.opener.open(shard, first_row, frames, piece)?;
    }
    Ok(())
}

/// The parts of `extents` that overlap `range` of all their bytes.
fn overlap(extents: Vec<Extent>, range: &Range<u64>) -> VecDeque<(Extent, Range<u32>)> {
    let mut at = 0u64;
    let mut parts = VecDeque::new();
    for extent in extents {
        let (begins, ends) = (at, at + u64::from(extent.bytes));
        at = ends;
        let (from, to) = (range.start.max(begins), range.end.min(ends));
        if from < to {
            // Both are within the extent, whose length fits.
            let within = |place: u64| {
                extent.offset.saturating_add(u32::try_from(place - begins).unwrap_or(u32::MAX))
            };
            parts.push_back((extent, within(from)..within(to)));
        }
    }
    parts
}
