//! The intake: evidence in, durable, answered, and handed to the ledger in batches.
//!
//! [`evidence::Ingest`] decides and [`evidence::Journal`] makes durable; this module lets many ask at once
//! and keeps the batches that are under way. An acceptance is given and a batch is signed only after the
//! journal synced, and what is in the journal is handed over again after a restart, so nothing that was
//! accepted is lost by `kill -9`, and nothing that was signed is forgotten: the author of a batch answers for
//! it. A batch is kept until a final block holds it or its epoch takes no more evidence.
//!
//! Requests share syncs: while one thread is at the disk with a group of envelopes, the others take in
//! theirs, which make the next group; whoever finds the disk free takes that there, and all of a group are
//! answered together. Who repeats what is on its way to the disk waits for it as well. A group holds what
//! the requests under way hold, which the shells bound ([`crate::http::SUBMITS_MAX`]). If it cannot be made
//! durable, or the journal panics, all of it is taken back and refused, and so is who repeated some of it.

use evidence::{
    Batch, BlockEvidence, Head, Ingest, Journal, Opening, Sizes,
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
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
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
    /// Told whenever a group is done.
    turn: Condvar,
    /// Never locked by who holds the state.
    journal: Mutex<Journal>,
}

#[derive(Debug)]
struct State {
    ingest: Ingest,
    /// What was accepted and no thread has taken to the disk yet.
    group: Group,
    /// The group that a thread is at the disk with, and its first place in the order of intake.
    syncing: Option<(Durable, u64)>,
    under_way: Vec<UnderWay>,
    /// Which block carries an envelope of a device, by the epoch of the block. Bounded as what is known of open
    /// epochs is ([`evidence::ingest::KNOWN_MAX`]).
    carried: BTreeMap<Epoch, BTreeMap<Digest, Height>>,
}

/// Whether a group is durable, once that is known.
type Durable = Arc<OnceLock<bool>>;

/// Accepted envelopes that become durable together.
#[derive(Debug, Default)]
struct Group {
    records: Vec<(Epoch, Vec<u8>)>,
    durable: Durable,
    /// The place of its first envelope in the order of intake, if there is one.
    from: u64,
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
        ledger: (u64, EpochClock),
        (sizes, limits): (Sizes, Limits),
    ) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        let (journal, envelopes) = Journal::open(folder)?;
        let ingest = Ingest::new(secret, ledger.0, sizes, limits);
        Ok((Self::new(journal, ingest, ledger), envelopes))
    }

    fn new(journal: Journal, ingest: Ingest, (chain_id, clock): (u64, EpochClock)) -> Self {
        let state = State {
            ingest,
            group: Group::default(),
            syncing: None,
            under_way: Vec::new(),
            carried: BTreeMap::new(),
        };
        let (state, journal) = (Mutex::new(state), Mutex::new(journal));
        Self { chain_id, clock, state, turn: Condvar::new(), journal }
    }

    /// Puts back what was accepted before a restart, once the open epochs and what their blocks carry
    /// are known. Returns how many envelopes wait for a block again.
    pub fn restore(&self, envelopes: &[Vec<u8>]) -> usize {
        let mut state = self.lock();
        envelopes.iter().filter(|bytes| state.ingest.restore(bytes)).count()
    }

    /// Opens an epoch.
    pub fn open_epoch(&self, inputs: Arc<Inputs>) {
        self.open_late(self.opening(inputs, 1), &[]);
    }

    /// An epoch to be opened once it was told of the blocks that may carry some of it, one of so many at once.
    pub fn opening(&self, inputs: Arc<Inputs>, parts: usize) -> Opening {
        self.lock().ingest.opening(inputs, parts)
    }

    /// Opens an epoch after blocks that may carry some of it, and perhaps after a restart: what they carry
    /// of the epoch is done and counts against quotas, and what was accepted waits again. All at once, so that
    /// nothing new is accepted before the old is known.
    pub fn open_late(&self, opening: Opening, accepted: &[Vec<u8>]) {
        let mut state = self.lock();
        for (digest, height) in opening.carried() {
            let epoch = self.clock.epoch(*height);
            state.carried.entry(epoch).or_default().entry(*digest).or_insert(*height);
        }
        state.ingest.open_with(opening);
        for bytes in accepted {
            state.ingest.restore(bytes);
        }
    }

    /// Answers a request. Blocks for the sync of the journal.
    pub fn submit(&self, submit: &Submit, now_ms: u64) -> Vec<Answer> {
        let mut guard = self.lock();
        let State { ingest, group, .. } = &mut *guard;
        let mut answers = Vec::new();
        for bytes in submit.envelopes() {
            let order = ingest.taken_in();
            let answer = ingest.submit(bytes, now_ms);
            if let Answer::Accepted(acceptance) = &answer {
                if group.records.is_empty() {
                    group.from = order;
                }
                group.records.push((acceptance.epoch, bytes.to_vec()));
            }
            answers.push(answer);
        }
        let promises = answers.iter().any(|answer| answer.acceptance().is_some());
        if promises {
            let (before, last) = self.wait(guard);
            for answer in &mut answers {
                // What is repeated may be in either group.
                let durable = match answer {
                    Answer::Accepted(_) => last,
                    Answer::Replayed(_) => before && last,
                    Answer::Refused(_) => true,
                };
                if !durable {
                    *answer = Answer::Refused(Reason::QueueFull);
                }
            }
        }
        answers
    }

    /// Waits for all that was accepted so far: whether the group at the disk is durable, and the group
    /// that waits. One that is not there is.
    fn wait<'s>(&'s self, mut state: MutexGuard<'s, State>) -> (bool, bool) {
        let before = state.syncing.as_ref().map(|(durable, _)| durable.clone());
        let last = (!state.group.records.is_empty()).then(|| state.group.durable.clone());
        let known = |group: &Option<Durable>| match group {
            Some(group) => group.get().copied(),
            None => Some(true),
        };
        loop {
            if let (Some(before), Some(last)) = (known(&before), known(&last)) {
                return (before, last);
            }
            state = if state.syncing.is_some() {
                self.turn.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.sync(state)
            };
        }
    }

    /// Takes the waiting group to the disk, which is free, while others may take in more.
    fn sync<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let group = std::mem::take(&mut state.group);
        state.syncing = Some((group.durable.clone(), group.from));
        drop(state);
        let records = group.records.iter().map(|(epoch, bytes)| (*epoch, bytes.as_slice()));
        // A panic must not leave those who wait for this group, and all after them, waiting for ever.
        // The journal mends itself before it is written to again.
        let written = catch_unwind(AssertUnwindSafe(|| self.journal().append(records)));
        let failure = match &written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the journal panicked".to_owned()),
        };
        let mut state = self.lock();
        if let Some(error) = &failure {
            tracing::error!(%error, "evidence could not be made durable and is refused");
            for (_, bytes) in &group.records {
                state.ingest.retract(bytes);
            }
        }
        // Nobody else sets it: who is at the disk with a group took it out of the state.
        let _ = group.durable.set(failure.is_none());
        state.syncing = None;
        self.turn.notify_all();
        state
    }

    /// Tells of a final block: what it carries is done, epochs close.
    pub fn block(&self, evidence: &BlockEvidence) {
        self.block_of(evidence, &batches(evidence.blobs(), self.chain_id, None));
    }

    /// The same of a block whose batches were read already.
    pub fn block_of(&self, evidence: &BlockEvidence, batches: &[Batch]) {
        let epoch = self.clock.epoch(evidence.height);
        let mut state = self.lock();
        for batch in batches {
            let known = state.ingest.carried(batch);
            let carried = state.carried.entry(epoch).or_default();
            for digest in known {
                carried.entry(digest).or_insert(evidence.height);
            }
        }
        for blob in evidence.blobs() {
            let digest = Digest::of(blob);
            state.under_way.retain(|batch| batch.digest != digest);
        }
        state.advance(Head { height: evidence.height, time_ms: evidence.time_ms }, &self.clock);
        drop(state);
        if epoch.previous().is_some_and(|before| evidence.height > self.clock.grace_end(before))
            && let Err(error) = self.journal().forget_before(epoch)
        {
            tracing::warn!(%error, "an old journal could not be removed");
        }
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
            let durable = state.durable_before();
            let (batch, late) = state.ingest.take_before(durable);
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

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The place in the order of intake before which all is durable.
    fn durable_before(&self) -> u64 {
        let waiting = (!self.group.records.is_empty()).then_some(self.group.from);
        self.syncing.as_ref().map(|(_, from)| *from).or(waiting).unwrap_or(u64::MAX)
    }

    /// Moves on to a final block, and forgets what no later block can concern.
    fn advance(&mut self, head: Head, clock: &EpochClock) {
        self.ingest.advance(head);
        let epoch = clock.epoch(head.height);
        let Some(before) = epoch.previous() else { return };
        self.carried = self.carried.split_off(&before);
        // What an open epoch sent can be carried until the grace of the epoch after it at the latest.
        self.under_way
            .retain(|batch| head.height <= clock.grace_end(clock.epoch(batch.taken).next()));
    }
}

#[cfg(test)]
mod tests;
