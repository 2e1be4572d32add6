//! The intake: evidence in, durable, answered, and handed to the ledger in batches.
//!
//! [`evidence::Ingest`] decides and [`evidence::Journal`] makes durable; this module puts one lock around
//! both and keeps the batches that are under way. An acceptance is given only after the journal synced.

use evidence::{
    Batch, BlockEvidence, Head, Ingest, Journal, Sizes,
    ingest::Limits,
    journal::JournalError,
    replay::batches,
    wire::{Answer, Submit},
};
use protocol::{Digest, Epoch, Height, Reason, inputs::Inputs, key::DeviceSecret};
use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Batches under way at once: more wait in the pool until a block holds some of these.
const UNDER_WAY_MAX: usize = 8;
/// After how many blocks without it a batch is handed over again.
const AGAIN_AFTER: u64 = 4;

/// Evidence on its way into blocks.
#[derive(Debug)]
pub struct Intake {
    chain_id: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ingest: Ingest,
    journal: Journal,
    under_way: Vec<UnderWay>,
}

/// A batch that no final block holds yet.
#[derive(Clone, Debug)]
struct UnderWay {
    bytes: bytes::Bytes,
    digest: Digest,
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
        chain_id: u64,
        sizes: Sizes,
    ) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        let (journal, envelopes) = Journal::open(folder)?;
        let ingest = Ingest::new(secret, chain_id, sizes, Limits::default());
        let state = Mutex::new(State { ingest, journal, under_way: Vec::new() });
        Ok((Self { chain_id, state }, envelopes))
    }

    /// Puts back what was accepted before a restart, once the open epochs are known.
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
            tracing::error!(%error, "accepted evidence could not be made durable; it is refused");
            for (_, bytes) in &fresh {
                state.ingest.retract(bytes);
            }
            for answer in &mut answers {
                if matches!(answer, Answer::Accepted(_)) {
                    *answer = Answer::Refused(Reason::QueueFull);
                }
            }
        }
        answers
    }

    /// Tells of a final block: what it carries is done, epochs close.
    pub fn block(&self, evidence: &BlockEvidence) {
        let mut state = self.lock();
        for batch in batches(evidence.blobs(), self.chain_id, None) {
            state.ingest.carried(&batch);
        }
        for blob in evidence.blobs() {
            let digest = Digest::of(blob);
            state.under_way.retain(|batch| batch.digest != digest);
        }
        state.ingest.advance(Head { height: evidence.height, time_ms: evidence.time_ms });
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
                metrics::counter!("wayleave_evidence_late_total").increment(u64::try_from(late).unwrap_or(u64::MAX));
            }
            let Some(batch) = batch else { break };
            let bytes = bytes::Bytes::from(Batch::to_bytes(&batch));
            let digest = Digest::of(&bytes);
            due.push(bytes.clone());
            state.under_way.push(UnderWay { bytes, digest, handed_over: height });
        }
        due
    }

    /// Drops journals of epochs before `epoch`, whose evidence no block may carry any more.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn forget_before(&self, epoch: Epoch) -> Result<(), JournalError> {
        let mut state = self.lock();
        state.under_way.retain(|batch| batch.handed_over.0 > 0);
        state.journal.forget_before(epoch)
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
