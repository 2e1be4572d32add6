//! Bytes of requests and answers in memory: bounded in all, and for each host.
//!
//! * A host may announce so much at once and no more ([`Share`]): what it announces and never sends is
//!   taken from nobody but itself.
//! * Memory in all is taken in pieces, as bytes arrive. When all of it is taken, one request may grow beyond
//!   it until it is whole, so that requests which each have half of their bytes never wait for one another.
//! * Room for an answer is taken whole before its request is handled, and given back when the answer is
//!   with the asker or given up.

use std::sync::Arc;

use iroh::endpoint::RecvStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Limits,
    frame::{self, ReadError},
    limits::HEADER_BYTES_MAX,
};

/// How many bytes of a request are made room for at a time.
const PIECE_BYTES: usize = 64 << 10;

/// All memory of an endpoint, in KiB.
#[derive(Debug)]
pub(crate) struct Memory {
    requests: Arc<Semaphore>,
    /// The one request that may grow beyond `requests`.
    beyond: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// What one host may announce, and what answers to it may hold, in KiB.
#[derive(Debug)]
pub(crate) struct Share {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

/// The room of one request. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Room {
    memory: Arc<Memory>,
    _announced: OwnedSemaphorePermit,
    pieces: Option<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
}

/// The room of one answer. Dropping it gives it back.
pub(crate) type AnswerRoom = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Memory {
    pub(crate) fn new(limits: &Limits, frame_max: usize) -> Self {
        let whole = frame_max + HEADER_BYTES_MAX;
        Self {
            requests: semaphore(limits.inbound_bytes_max.max(whole)),
            beyond: Arc::new(Semaphore::new(1)),
            answers: semaphore(limits.outbound_bytes_max.max(whole)),
        }
    }

    /// Room for a request of `bytes`, of which nothing has arrived yet.
    pub(crate) async fn announce(
        self: &Arc<Self>,
        share: &Share,
        bytes: usize,
    ) -> Result<Room, ReadError> {
        let announced = acquire(&share.requests, bytes).await?;
        let memory = Arc::clone(self);
        Ok(Room { memory, _announced: announced, pieces: None, beyond: None })
    }

    /// Room for an answer of up to `bytes`.
    pub(crate) async fn answer(
        &self,
        share: &Share,
        bytes: usize,
    ) -> Result<AnswerRoom, ReadError> {
        let own = acquire(&share.answers, bytes).await?;
        Ok((own, acquire(&self.answers, bytes).await?))
    }
}

impl Share {
    /// Half of everything, and never less than one whole request.
    pub(crate) fn new(limits: &Limits, frame_max: usize) -> Self {
        let whole = frame_max + HEADER_BYTES_MAX;
        Self {
            requests: semaphore((limits.inbound_bytes_max / 2).max(whole)),
            answers: semaphore((limits.outbound_bytes_max / 2).max(whole)),
        }
    }
}

impl Room {
    /// Reads the next `bytes` bytes, which were announced, taking memory as they arrive.
    pub(crate) async fn read(
        &mut self,
        stream: &mut RecvStream,
        bytes: usize,
    ) -> Result<Vec<u8>, ReadError> {
        let mut read = Vec::with_capacity(bytes);
        while read.len() < bytes {
            let piece = PIECE_BYTES.min(bytes - read.len());
            self.grow(piece).await?;
            frame::append(stream, &mut read, piece).await?;
        }
        Ok(read)
    }

    async fn grow(&mut self, bytes: usize) -> Result<(), ReadError> {
        if self.beyond.is_some() {
            return Ok(());
        }
        tokio::select! {
            biased;
            more = acquire(&self.memory.requests, bytes) => {
                let more = more?;
                match &mut self.pieces {
                    Some(pieces) => pieces.merge(more),
                    None => self.pieces = Some(more),
                }
            }
            beyond = acquire(&self.memory.beyond, 1) => self.beyond = Some(beyond?),
        }
        Ok(())
    }
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

fn semaphore(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(kib(bytes).min(Semaphore::MAX_PERMITS)))
}

async fn acquire(
    semaphore: &Arc<Semaphore>,
    bytes: usize,
) -> Result<OwnedSemaphorePermit, ReadError> {
    let permits = u32::try_from(kib(bytes)).unwrap_or(u32::MAX);
    let acquired = Arc::clone(semaphore).acquire_many_owned(permits).await;
    acquired.map_err(|_| ReadError::Lost("endpoint closed".into()))
}
