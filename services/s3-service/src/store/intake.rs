//! The bytes of a request into segments.
//!
//! * Up to [`Limits::small_bytes_max`](crate::config::Limits) they are packed: whatever waits when a
//!   group can start goes into one segment and one index transaction. A group waits a moment only
//!   for objects that are on their way already, so a lone client never waits.
//! * Above that they fill segments of their own as they come, evenly sized, a few at a time in
//!   memory. Segments are put into the index as they become durable, as *unborn*; the last
//!   transaction makes the object of them. Whatever fails before leaves garbage, and no object.

use super::{
    Store,
    upload::{BodyError, Filling, StoreError, Stored, split},
};
use crate::{
    checksum::{Digester, Digests, Expected, Given},
    codec::SEGMENT_BYTES_MAX,
    config::Limits,
    index::{BlobRef, Extent, IndexError, ObjectPut, PartPut, Tables},
    num::wide,
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

/// Small objects that may wait to be packed.
const WAITING_MAX: usize = 4_096;
/// Objects in one group.
const GROUP_MAX: usize = 2_048;

/// Into how many segments a body is cut at least, if each then has as many bytes as the limits ask for.
const SEGMENTS_AT_ONCE: u64 = 4;

/// What the bytes become.
#[derive(Clone, Debug)]
pub enum Target {
    /// An object. Its row comes without length, etag, checksum and blobs.
    Object(Box<ObjectPut>),
    /// A part of an upload, likewise.
    Part(Box<PartPut>),
}

impl Target {
    fn check(&self, tables: &Tables<'_>) -> Result<(), IndexError> {
        match self {
            Self::Object(item) => tables.check_put(item),
            Self::Part(item) => {
                tables.expect_upload(&item.bucket, &item.key, item.upload).map(|_| ())
            }
        }
    }

    fn put(
        &mut self,
        tables: &mut Tables<'_>,
        blob: Option<BlobRef>,
        now_ms: u64,
    ) -> Result<(), IndexError> {
        match self {
            Self::Object(item) => {
                item.object.blobs.extend(blob);
                item.object.modified_ms = now_ms;
                tables.put_object(item, now_ms)
            }
            Self::Part(item) => {
                item.part.blobs.extend(blob);
                item.part.modified_ms = now_ms;
                tables.put_part(item, now_ms)
            }
        }
    }

    /// Writes length and digests into the row.
    fn describe(&mut self, bytes: u64, digests: &Digests) {
        let checksum = digests.checksum.as_ref().map(|(algorithm, value)| crate::index::Checksum {
            algorithm: algorithm.code(),
            value: value.clone(),
            parts: 0,
        });
        match self {
            Self::Object(item) => {
                item.object.bytes = bytes;
                item.object.etag = alloy_primitives::hex::encode(digests.md5);
                item.object.checksum = checksum;
            }
            Self::Part(item) => {
                item.part.bytes = bytes;
                item.part.md5 = digests.md5;
                item.part.checksum = checksum;
            }
        }
    }
}

/// The bytes of a request and what they should be.
pub struct Incoming<S, T> {
    /// How many bytes.
    pub bytes: u64,
    /// The bytes.
    pub body: S,
    /// What the client says that they are.
    pub expected: Expected,
    /// Once the body is read: the checksum of its trailer.
    pub trailer: T,
}

impl<S, T> std::fmt::Debug for Incoming<S, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

struct Small {
    bytes: Bytes,
    target: Target,
    reply: oneshot::Sender<Result<(), StoreError>>,
    #[expect(dead_code, reason = "held for its drop")]
    space: OwnedSemaphorePermit,
}

/// Takes bytes in.
#[derive(Clone)]
pub struct Intake {
    store: Arc<Store>,
    small: mpsc::Sender<Small>,
    waiting_kib: Arc<Semaphore>,
    /// Small objects whose bytes are coming or waiting.
    coming: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}

/// Counts a small object as coming until it is dropped.
struct Coming(Arc<AtomicUsize>);

impl Coming {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Intake {
    /// Starts packing. It ends when the last handle is dropped.
    pub fn start(store: Arc<Store>) -> Self {
        let (small, queue) = mpsc::channel(WAITING_MAX);
        let kib = usize::try_from(store.limits.small_waiting_bytes_max >> 10).unwrap_or(1);
        let intake = Self {
            store: Arc::clone(&store),
            small,
            waiting_kib: Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS))),
            coming: Arc::default(),
        };
        tokio::spawn(pack(store, queue, Arc::clone(&intake.coming)));
        intake
    }

    /// Stores the bytes as `target`; durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the object or part is there then.
    pub async fn take<S, E, T>(
        &self,
        mut target: Target,
        mut incoming: Incoming<S, T>,
    ) -> Result<Digests, StoreError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: Into<StoreError>,
        T: FnOnce() -> Option<Vec<u8>> + Send,
    {
        let mut reader = Reader::new(&mut incoming, &self.store.limits);
        if reader.bytes <= self.store.limits.small_bytes_max {
            let coming = Coming::new(&self.coming);
            let kib = u32::try_from(reader.bytes >> 10).unwrap_or(u32::MAX).saturating_add(1);
            let space = Arc::clone(&self.waiting_kib)
                .acquire_many_owned(kib)
                .await
                .map_err(|_| StoreError::Stopping)?;
            let bytes = reader.whole().await?;
            let digests = verify(reader.digester, incoming.expected, incoming.trailer)?;
            target.describe(wide(bytes.len()), &digests);
            let (reply, answer) = oneshot::channel();
            let small = Small { bytes, target, reply, space };
            self.small.send(small).await.map_err(|_| StoreError::Stopping)?;
            answer.await.map_err(|_| StoreError::Stopping)??;
            drop(coming);
            return Ok(digests);
        }
        let mut large = Large::new(Arc::clone(&self.store));
        large.fill(&mut reader).await?;
        let digests = verify(reader.digester, incoming.expected, incoming.trailer)?;
        target.describe(incoming.bytes, &digests);
        large.put(target).await?;
        Ok(digests)
    }
}

/// Reads a body, counts and digests it.
struct Reader<'a, S> {
    bytes: u64,
    got: u64,
    body: &'a mut S,
    rest: Bytes,
    digester: Digester,
    /// How long the client kept us waiting so far, and may at least.
    waited: Duration,
    patience: Duration,
    /// What it must at least send, bytes a second.
    slowest: u64,
}

impl<'a, S, E> Reader<'a, S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
    E: Into<StoreError>,
{
    fn new<T>(incoming: &'a mut Incoming<S, T>, limits: &Limits) -> Self {
        let algorithm = incoming.expected.checksum.as_ref().map(|(algorithm, _)| *algorithm);
        Self {
            bytes: incoming.bytes,
            got: 0,
            body: &mut incoming.body,
            rest: Bytes::new(),
            digester: Digester::new(algorithm),
            waited: Duration::ZERO,
            patience: limits.client_patience,
            slowest: limits.slowest_client_bytes_per_s,
        }
    }

    /// What comes next. Only the time that the client takes counts, and what holds memory for its bytes
    /// does not wait for one that fell asleep.
    async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        let earned = Duration::from_millis(self.got.saturating_mul(1_000) / self.slowest.max(1));
        let left = (self.patience + earned).saturating_sub(self.waited);
        let begun = Instant::now();
        let Ok(chunk) = tokio::time::timeout(left, self.body.next()).await else {
            return Err(StoreError::Body(BodyError::Slow { expected: self.bytes, got: self.got }));
        };
        self.waited += begun.elapsed();
        chunk.transpose().map_err(E::into)
    }

    fn length(&self) -> StoreError {
        StoreError::Body(BodyError::Length { expected: self.bytes, got: self.got })
    }

    /// The next bytes, at most `most`; nothing at the end.
    async fn next(&mut self, most: u64) -> Result<Option<Bytes>, StoreError> {
        while self.rest.is_empty() {
            let Some(chunk) = self.chunk().await? else {
                return if self.got == self.bytes { Ok(None) } else { Err(self.length()) };
            };
            self.rest = chunk;
            self.got += wide(self.rest.len());
            if self.got > self.bytes {
                return Err(self.length());
            }
            self.digester.update(&self.rest);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(Some(self.rest.split_to(self.rest.len().min(most))))
    }

    async fn whole(&mut self) -> Result<Bytes, StoreError> {
        let Some(first) = self.next(u64::MAX).await? else { return Ok(Bytes::new()) };
        if wide(first.len()) == self.bytes {
            // Reads the end, and with it the trailer.
            self.next(1).await?;
            return Ok(first);
        }
        let mut whole = BytesMut::from(first);
        while let Some(more) = self.next(u64::MAX).await? {
            whole.extend_from_slice(&more);
        }
        Ok(whole.freeze())
    }
}

fn verify(
    digester: Digester,
    expected: Expected,
    trailer: impl FnOnce() -> Option<Vec<u8>>,
) -> Result<Digests, StoreError> {
    let digests = digester.finish();
    let wrong = |error| Err(StoreError::Body(error));
    if expected.md5.is_some_and(|md5| md5 != digests.md5) {
        return wrong(BodyError::Md5);
    }
    if let (Some((algorithm, given)), Some((_, value))) = (expected.checksum, &digests.checksum) {
        let given = match given {
            Given::Value(given) => Some(given),
            Given::Trailer => {
                Some(trailer().ok_or(StoreError::Body(BodyError::NoChecksum(algorithm.name())))?)
            }
            Given::Nowhere => None,
        };
        if given.is_some_and(|given| given != *value) {
            return wrong(BodyError::Checksum(algorithm.name()));
        }
    }
    Ok(digests)
}

/// How large the segments of so many bytes are at most: few, but small enough that the first is sealed
/// and sent while the others come.
fn segment_bytes(bytes: u64, easy: u64) -> u64 {
    bytes.div_ceil(SEGMENTS_AT_ONCE).max(easy).clamp(1, SEGMENT_BYTES_MAX)
}

/// A large body on its way. Dropped before the end, by an error or because the client went, it leaves
/// its segments as garbage.
struct Large {
    store: Arc<Store>,
    under_way: VecDeque<JoinHandle<Result<Extent, StoreError>>>,
    extents: Vec<Extent>,
}

impl Large {
    const fn new(store: Arc<Store>) -> Self {
        Self { store, under_way: VecDeque::new(), extents: Vec::new() }
    }

    async fn fill<S, E>(&mut self, reader: &mut Reader<'_, S>) -> Result<(), StoreError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: Into<StoreError>,
    {
        let largest = segment_bytes(reader.bytes, self.store.limits.segment_bytes_easy);
        for bytes in split(reader.bytes, largest) {
            while self.under_way.len() >= self.store.limits.segments_per_upload {
                self.settle().await?;
            }
            let mut filling = self.store.begin(bytes, false).await?;
            while filling.sealer.missing() > 0 {
                let more = reader.next(filling.sealer.missing()).await?;
                filling.sealer.push(&more.ok_or_else(|| reader.length())?)?;
            }
            let store = Arc::clone(&self.store);
            // Into the index as soon as it is durable: agents keep for good only what is asked for there,
            // however slowly the rest comes.
            self.under_way.push_back(tokio::spawn(async move {
                let stored = store.finish(filling).await?;
                settle(&store, stored).await
            }));
        }
        // Reads the end, and with it the trailer.
        if reader.next(1).await?.is_some() {
            return Err(reader.length());
        }
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until the oldest segment under way is in the index, unborn.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let Some(task) = self.under_way.front_mut() else { return Ok(()) };
        let extent = task.await.map_err(|_| StoreError::Stopping);
        self.under_way.pop_front();
        self.extents.push(extent??);
        Ok(())
    }

    async fn put(&mut self, mut target: Target) -> Result<(), StoreError> {
        let (extents, now_ms) = (self.extents.clone(), self.store.now_ms());
        self.store
            .writer
            .write(move |tables| {
                target.check(tables)?;
                let blob = tables.add_blob(extents)?;
                target.put(tables, Some(blob), now_ms)
            })
            .await?;
        self.extents.clear();
        Ok(())
    }
}

/// Puts a stored segment into the index, where nothing needs it yet.
pub(crate) async fn settle(store: &Arc<Store>, stored: Stored) -> Result<Extent, StoreError> {
    let (id, row) = (stored.id, stored.row.clone());
    store.writer.write(move |tables| tables.add_segment(id, &row)).await?;
    let extent = Extent { segment: id, offset: 0, bytes: stored.plain() };
    stored.follow(store);
    Ok(extent)
}

impl Drop for Large {
    fn drop(&mut self) {
        let under_way = std::mem::take(&mut self.under_way);
        let extents = std::mem::take(&mut self.extents);
        if under_way.is_empty() && extents.is_empty() {
            return;
        }
        // Outside a runtime the process is ending; the next start finds them unborn.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(give_up(Arc::clone(&self.store), under_way, extents));
        }
    }
}

/// What was stored is garbage, unless an object needs it.
async fn give_up(
    store: Arc<Store>,
    under_way: VecDeque<JoinHandle<Result<Extent, StoreError>>>,
    mut extents: Vec<Extent>,
) {
    for task in under_way {
        // One that fails was never in the index.
        extents.extend(task.await.ok().and_then(Result::ok));
    }
    abandon(&store, extents).await;
}

/// Segments that nothing needs are garbage.
pub(crate) async fn abandon(store: &Store, extents: Vec<Extent>) {
    let now_ms = store.now_ms();
    let given_up = store
        .writer
        .write(move |tables| {
            extents.iter().try_for_each(|extent| tables.abandon(extent.segment, now_ms))
        })
        .await;
    if let Err(error) = given_up {
        tracing::warn!(%error, "segments of a failed upload stay unborn until the next start");
    }
}

/// Packs what waits, a few groups at a time.
async fn pack(store: Arc<Store>, mut queue: mpsc::Receiver<Small>, coming: Arc<AtomicUsize>) {
    let groups = Arc::new(Semaphore::new(store.limits.groups_max));
    let mut held: Option<Small> = None;
    loop {
        let first = match held.take() {
            Some(small) => small,
            None => match queue.recv().await {
                Some(small) => small,
                None => return,
            },
        };
        let Ok(turn) = Arc::clone(&groups).acquire_owned().await else { return };
        let mut bytes = wide(first.bytes.len());
        let mut group = vec![first];
        let until = Instant::now() + store.limits.group_window;
        while group.len() < GROUP_MAX {
            let next = match queue.try_recv() {
                Ok(small) => Some(small),
                Err(_) if coming.load(Ordering::Relaxed) > group.len() => {
                    tokio::time::timeout_at(until, queue.recv()).await.unwrap_or(None)
                }
                Err(_) => None,
            };
            let Some(small) = next else { break };
            bytes += wide(small.bytes.len());
            if bytes > store.limits.group_bytes_max {
                held = Some(small);
                break;
            }
            group.push(small);
        }
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            put_group(&store, group).await;
            drop(turn);
        });
    }
}

/// Stores a group and answers each of it.
#[tracing::instrument(name = "s3.group.put", skip_all, fields(objects = group.len()))]
async fn put_group(store: &Arc<Store>, group: Vec<Small>) {
    let mut replies = Vec::with_capacity(group.len());
    let mut items = Vec::with_capacity(group.len());
    for small in group {
        replies.push(small.reply);
        items.push((small.bytes, small.target));
    }
    match store_group(store, items).await {
        Ok(outcomes) => {
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // Whoever asked may have gone.
                let _ = reply.send(outcome.map_err(StoreError::from));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

type Outcomes = Vec<Result<(), IndexError>>;

async fn store_group(
    store: &Arc<Store>,
    items: Vec<(Bytes, Target)>,
) -> Result<Outcomes, StoreError> {
    let total = items.iter().map(|(bytes, _)| wide(bytes.len())).sum();
    let mut stored = None;
    if total > 0 {
        let mut filling: Filling = store.begin(total, true).await?;
        for (bytes, _) in &items {
            filling.sealer.push(bytes)?;
        }
        stored = Some(store.finish(filling).await?);
    }
    let segment = stored.as_ref().map(|stored| (stored.id, stored.row.clone()));
    let now_ms = store.now_ms();
    let outcomes = store
        .writer
        .write(move |tables| {
            if let Some((id, row)) = &segment {
                tables.add_segment(*id, row)?;
            }
            let mut offset = 0;
            let mut outcomes = Vec::with_capacity(items.len());
            for (bytes, mut target) in items {
                let length = u32::try_from(bytes.len())
                    .map_err(|_| IndexError::Damaged("a small object is too large"))?;
                let at = segment.as_ref().filter(|_| length > 0).map(|(id, _)| Extent {
                    segment: *id,
                    offset,
                    bytes: length,
                });
                offset += length;
                if let Err(error) = target.check(tables) {
                    outcomes.push(Err(error));
                    continue;
                }
                let blob = at.map(|extent| tables.add_blob(vec![extent])).transpose()?;
                target.put(tables, blob, now_ms)?;
                outcomes.push(Ok(()));
            }
            if let Some((id, _)) = &segment {
                tables.abandon(*id, now_ms)?;
            }
            Ok(outcomes)
        })
        .await?;
    if let Some(stored) = stored {
        stored.follow(store);
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_are_cut_so_that_sealing_and_sending_overlap() {
        let mib = |count: u64| count << 20;
        for (bytes, segments, largest) in [
            (mib(1) + 1, 1, mib(1) + 1),
            (mib(8), 1, mib(8)),
            (mib(12), 2, mib(6)),
            (mib(64), 4, mib(16)),
            (mib(256), 4, mib(64)),
            (mib(1_024), 16, mib(64)),
        ] {
            let parts = split(bytes, segment_bytes(bytes, Limits::default().segment_bytes_easy));
            assert_eq!((parts.len(), parts.iter().max()), (segments, Some(&largest)), "{bytes}");
        }
    }
}
