//! The intake: evidence in, durable, answered, and handed to the ledger in batches.
//!
//! [`evidence::Ingest`] decides and [`evidence::Journal`] makes durable; this module puts one lock around
//! both and keeps the batches that are under way. An acceptance is given only after the journal synced,
//! and what is in the journal is handed over again after a restart, so nothing that was accepted is lost
//! by `kill -9`. A batch is kept until a final block holds it or its epoch takes no more evidence.

use evidence::{
    BlockEvidence, Head, Ingest, Journal, Sizes,
    ingest::Limits,
    journal::JournalError,
    replay::batches,
    wire::{Answer, Submit},
};
use protocol::{
    Digest, Epoch, Height, Reason, clock::EpochClock, inputs::Inputs, key::DeviceSecret,
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Batches under way at once: more wait in the pool until a block holds some of these.
pub const UNDER_WAY_MAX: usize = 8;
/// After how many blocks without it a batch is handed over again.
pub const AGAIN_AFTER: u64 = 4;

/// Evidence on its way into blocks.
#[derive(Debug)]
pub struct Intake {
    chain_id: u64,
    clock: EpochClock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ingest: Ingest,
    journal: Journal,
    under_way: Vec<UnderWay>,
    /// Which block carries an envelope, by the epoch of the block.
    carried: BTreeMap<Epoch, BTreeMap<Digest, Height>>,
}

/// A batch that no final block holds yet.
#[derive(Clone, Debug)]
struct UnderWay {
    bytes: bytes::Bytes,
    digest: Digest,
    taken: Height,
    handed_over: Height,
}

impl Intake {
    /// Opens the journal in `folder`; what is in it is restored by [`Intake::restore`].
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn open(
        folder: &Path,
        secret: DeviceSecret,
        (chain_id, clock): (u64, EpochClock),
        (sizes, limits): (Sizes, Limits),
    ) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        let (journal, envelopes) = Journal::open(folder)?;
        let ingest = Ingest::new(secret, chain_id, sizes, limits);
        let (under_way, carried) = (Vec::new(), BTreeMap::new());
        let state = Mutex::new(State { ingest, journal, under_way, carried });
        Ok((Self { chain_id, clock, state }, envelopes))
    }

    /// Puts back what was accepted before a restart, once the open epochs and what their blocks carry
    /// are known. Returns how many envelopes wait for a block again.
    pub fn restore(&self, envelopes: &[Vec<u8>]) -> usize {
        let mut state = self.lock();
        envelopes.iter().filter(|bytes| state.ingest.restore(bytes)).count()
    }

    /// Opens an epoch.
    pub fn open_epoch(&self, inputs: Arc<Inputs>) {
        self.lock().ingest.open(inputs);
    }

    /// Answers a request. Blocks for the sync of the journal.
    pub fn submit(&self, submit: &Submit, now_ms: u64) -> Vec<Answer> {
        let mut state = self.lock();
        let mut answers: Vec<_> =
            submit.envelopes().map(|bytes| state.ingest.submit(bytes, now_ms)).collect();
        let fresh: Vec<(Epoch, &[u8])> = submit
            .envelopes()
            .zip(&answers)
            .filter_map(|(bytes, answer)| match answer {
                Answer::Accepted(acceptance) => Some((acceptance.epoch, bytes)),
                Answer::Replayed(_) | Answer::Refused(_) => None,
            })
            .collect();
        if fresh.is_empty() {
            return answers;
        }
        if let Err(error) = state.journal.append(fresh.iter().copied()) {
            tracing::error!(%error, "evidence could not be made durable and is refused");
            for (_, bytes) in &fresh {
                state.ingest.retract(bytes);
            }
            // A repetition within the request is answered like the envelope that it repeats.
            for answer in &mut answers {
                if answer.acceptance().is_some() {
                    *answer = Answer::Refused(Reason::QueueFull);
                }
            }
        }
        answers
    }

    /// Tells again of a final block, after an epoch was opened later than the block: what it carries of
    /// the epoch is done and counts against quotas.
    pub fn recall(&self, evidence: &BlockEvidence) {
        let batches = batches(evidence.blobs(), self.chain_id, None);
        let mut state = self.lock();
        for batch in &batches {
            state.ingest.carried(batch);
        }
    }

    /// Tells of a final block: what it carries is done, epochs close.
    pub fn block(&self, evidence: &BlockEvidence) {
        let batches = batches(evidence.blobs(), self.chain_id, None);
        let epoch = self.clock.epoch(evidence.height);
        let mut state = self.lock();
        for batch in batches {
            state.ingest.carried(&batch);
            let carried = state.carried.entry(epoch).or_default();
            for envelope in batch.envelopes() {
                carried.entry(Digest::of(envelope)).or_insert(evidence.height);
            }
        }
        for blob in evidence.blobs() {
            let digest = Digest::of(blob);
            state.under_way.retain(|batch| batch.digest != digest);
        }
        state.advance(Head { height: evidence.height, time_ms: evidence.time_ms }, &self.clock);
    }

    /// The block that carries the envelope with this digest, as far back as the last epochs that could
    /// take it.
    pub fn carried(&self, digest: Digest) -> Option<Height> {
        let state = self.lock();
        state.carried.values().find_map(|carried| carried.get(&digest).copied())
    }

    /// The batches to hand to the ledger now: new ones, and old ones that no block took up.
    pub fn due(&self, height: Height) -> Vec<bytes::Bytes> {
        let mut state = self.lock();
        let mut due = Vec::new();
        for batch in &mut state.under_way {
            if height.0 >= batch.handed_over.0.saturating_add(AGAIN_AFTER) {
                batch.handed_over = height;
                due.push(batch.bytes.clone());
            }
        }
        while state.under_way.len() < UNDER_WAY_MAX {
            let (batch, late) = state.ingest.take();
            if late > 0 {
                tracing::warn!(late, "accepted evidence came too late for any block");
                metrics::counter!("wayleave_evidence_late_total")
                    .increment(u64::try_from(late).unwrap_or(u64::MAX));
            }
            let Some(batch) = batch else { break };
            let bytes = bytes::Bytes::from(batch.to_bytes());
            let digest = Digest::of(&bytes);
            due.push(bytes.clone());
            state.under_way.push(UnderWay { bytes, digest, taken: height, handed_over: height });
        }
        due
    }

    /// Bytes of envelopes that wait for a block.
    pub fn waiting_bytes(&self) -> usize {
        self.lock().ingest.waiting_bytes()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic between the steps of `submit` leaves evidence that is in the pool and was never
        // answered, which is harmless: the agent sends it again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Moves on to a final block, and forgets what no later block can concern.
    fn advance(&mut self, head: Head, clock: &EpochClock) {
        self.ingest.advance(head);
        let epoch = clock.epoch(head.height);
        let Some(before) = epoch.previous() else { return };
        self.carried = self.carried.split_off(&before);
        // What an open epoch sent can be carried until the grace of the epoch after it at the latest.
        self.under_way
            .retain(|batch| head.height <= clock.grace_end(clock.epoch(batch.taken).next()));
        if head.height <= clock.grace_end(before) {
            return;
        }
        if let Err(error) = self.journal.forget_before(epoch) {
            tracing::warn!(%error, "an old journal could not be removed");
        }
    }
}

#[cfg(test)]
mod tests;
