//! Ranges of segments back from agents.
//!
//! A read is cut into stretches of a few rows. Each stretch is one request an agent, several are
//! ahead of the client, and what is ahead is bounded over all requests. The first stretch is there
//! before an answer begins, so that what cannot be read is an error and not a broken body.
//!
//! Every byte is verified before it is handed on: a frame's tag holds or nothing of it is used. When
//! a tag does not hold, whole shards are read and checked against their hashes; that names the liar,
//! who gets nothing more, and the rest is decoded without them.

use super::{Store, link::Shelf, readers::Reading};
use crate::{
    codec::{self, CodecError, Opener, SegmentId},
    fetch::{Fetch, Status},
    index::{Extent, IndexError, Segment},
    num::{mem, wide},
};
use bytes::Bytes;
use futures::{
    Stream, StreamExt as _,
    future::BoxFuture,
    stream::{FuturesOrdered, FuturesUnordered},
};
use s3s::stream::{ByteStream, RemainingLength};
use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
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

/// A segment as a read sees it: where its shards are, and what opens their frames.
pub(super) struct View {
    shelf: Arc<Shelf>,
    opener: Opener,
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
            let view = match self.view.take().filter(|view| view.shelf.id == extent.segment) {
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

    async fn view(&self, id: SegmentId) -> Result<Arc<View>, ReadError> {
        let row = self
            .writer
            .glance(move |reader| reader.segment(id))
            .await?
            .ok_or(IndexError::Damaged("a segment is mentioned and missing"))?;
        self.view_of(id, row)
    }

    fn view_of(&self, id: SegmentId, row: Segment) -> Result<Arc<View>, ReadError> {
        let shelf = Shelf::new(id, row)?;
        let opener = Opener::new(&self.keys, id, shelf.layout)?;
        Ok(Arc::new(View { shelf, opener }))
    }

    #[tracing::instrument(name = "s3.stretch.read", level = "debug", skip_all, fields(id = %view.shelf.id))]
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
        let (order, doubtful) = self.order(&view.shelf);
        let total = view.shelf.row.shards.len();
        let columns: Vec<usize> = columns.into_iter().collect();
        let fetch = Fetch::new(usize::from(k), total, columns.clone(), order, &doubtful);
        let mut pieces = self.pieces(view, fetch, &span).await?;
        let opened = open(view, &mut pieces, &columns, &frames, rows.start);
        if opened.is_err() {
            // Somebody altered bytes. Whole shards have hashes, which tell who. Who holds memory for
            // reads never waits for the other: one that stores what it reads waits the other way.
            drop(space);
            let gave: Vec<usize> = (0..total).filter(|shard| pieces[*shard].is_some()).collect();
            let (shards, _space) = self.link.whole(&view.shelf, None, &gave).await?;
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
        let mut pieces: Vec<Option<Vec<u8>>> = vec![None; view.shelf.row.shards.len()];
        let mut asked = FuturesUnordered::new();
        let mut cause = String::from("no agent holds a shard");
        let hedge = tokio::time::sleep(self.limits.hedge);
        tokio::pin!(hedge);
        let mut hedged = false;
        loop {
            for shard in fetch.ask() {
                let (link, shelf) = (Arc::clone(&self.link), Arc::clone(&view.shelf));
                let span = span.clone();
                asked.push(async move { (shard, link.get(&shelf, shard, span).await) });
            }
            match fetch.status() {
                Status::Ready => return Ok(pieces),
                Status::Lost => return Err(ReadError::Lost { segment: view.shelf.id, cause }),
                Status::Waiting => {}
            }
            tokio::select! {
                biased;
                Some((shard, got)) = asked.next() => match got {
                    Ok(bytes) => {
                        let mut bytes = Vec::from(bytes);
                        let index = u8::try_from(shard).unwrap_or(u8::MAX);
                        view.opener.uncover(index, span.start, &mut bytes)?;
                        pieces[shard] = Some(bytes);
                        fetch.arrived(shard);
                    }
                    Err(error) => {
                        tracing::debug!(id = %view.shelf.id, shard, %error, "a shard was not read");
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
