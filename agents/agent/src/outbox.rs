//! Envelopes on their way to a block: where each stands, and when to try again, or elsewhere.
//!
//! ```text
//! Waiting -> Submitting -> Accepted -> Looking -> Done
//!    ^           |                        |
//!    +-----------+------------------------+      unreachable, queue full, or not seen in n blocks
//! ```
//! Every failure moves an envelope on to the next validator, while it is still of use: one that accepted
//! it gets a third of what is left of its time at most. One that is of no more use (its window is over)
//! is done. Done envelopes stay, without their bytes, until their epoch closes, so that a
//! restart does not make them again. At most [`OUTBOX_MAX`] are on their way; a report makes room
//! for a proof, a loss or vouchers, never the other way round.

use crate::journal::{Kept, Purpose};
use protocol::{Digest, Epoch, Height};
use std::{collections::BTreeMap, sync::Arc};

/// How many envelopes may be on their way at once.
pub const OUTBOX_MAX: usize = 1_024;
/// How many are being submitted or looked for at once.
pub const SUBMITTING_MAX: usize = 16;

/// Where an envelope stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// To be given to a validator at or after this height.
    Waiting(Height),
    /// Being given to one.
    Submitting,
    /// Accepted by one at this height, not yet seen in a block.
    Accepted(Height),
    /// A validator is being asked whether a block carries it.
    Looking,
    /// Needs nothing more.
    Done,
}

/// An envelope.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) epoch: Epoch,
    pub(crate) purpose: Purpose,
    pub(crate) made_at: Height,
    pub(crate) until: Height,
    pub(crate) size: u32,
    pub(crate) digest: Digest,
    pub(crate) bytes: Arc<[u8]>,
    /// The newest acceptance of a validator.
    pub(crate) acceptance: Arc<[u8]>,
    pub(crate) status: Status,
    /// The validator to begin with.
    pub(crate) first: u64,
    /// How often it was given to a validator; picks the next one.
    pub(crate) tries: u64,
}

impl Entry {
    /// The form in which the journal keeps it.
    pub(crate) fn kept(&self, sequence: u64) -> Kept {
        Kept {
            epoch: self.epoch,
            sequence,
            purpose: self.purpose.clone(),
            made_at: self.made_at,
            until: self.until,
            size: self.size,
            bytes: self.bytes.to_vec(),
            acceptance: self.acceptance.to_vec(),
        }
    }

    fn recovered(kept: Kept) -> Self {
        let status = if kept.bytes.is_empty() { Status::Done } else { Status::Waiting(Height(0)) };
        Self {
            epoch: kept.epoch,
            purpose: kept.purpose,
            made_at: kept.made_at,
            until: kept.until,
            size: kept.size,
            digest: Digest::of(&kept.bytes),
            bytes: kept.bytes.into(),
            acceptance: kept.acceptance.into(),
            status,
            first: 0,
            tries: 0,
        }
    }

    /// Which of so many validators has its next turn.
    pub(crate) const fn turn(&self, validators: u64) -> u64 {
        self.first.wrapping_add(self.tries) % validators
    }

    /// Whether a validator that accepted it at a height has had its time at `head`: `patience` heights, and where
    /// those would leave nobody else enough, a third of what was left then.
    fn waited(&self, accepted: Height, head: Height, patience: u64) -> bool {
        let left = self.until.0.saturating_sub(accepted.0);
        head.0.saturating_sub(accepted.0) >= patience.min((left / 3).max(1))
    }

    fn is_live(&self) -> bool {
        self.status != Status::Done
    }
}

/// All envelopes of open epochs by sequence number.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: BTreeMap<u64, Entry>,
    live: usize,
}

impl Outbox {
    pub(crate) fn recover(kept: Vec<Kept>) -> Self {
        let entries: BTreeMap<_, _> =
            kept.into_iter().map(|kept| (kept.sequence, Entry::recovered(kept))).collect();
        let live = entries.values().filter(|entry| entry.is_live()).count();
        Self { entries, live }
    }

    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(&sequence)
    }

    pub(crate) fn of(&self, epoch: Epoch) -> impl Iterator<Item = (u64, &Entry)> {
        let ours = move |entry: &&Entry| entry.epoch == epoch;
        self.entries
            .iter()
            .map(|(sequence, entry)| (*sequence, entry))
            .filter(move |(_, e)| ours(e))
    }

    /// The epochs of all envelopes.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = Epoch> {
        self.entries.values().map(|entry| entry.epoch)
    }

    /// Whether there is room for an envelope of this purpose; a report gives way if need be, and its
    /// sequence number is returned.
    pub(crate) fn make_room(&mut self, purpose: &Purpose) -> Result<Option<u64>, Full> {
        if self.live < OUTBOX_MAX {
            return Ok(None);
        }
        if *purpose == Purpose::Report {
            return Err(Full);
        }
        let report = self.entries.iter().find(|(_, entry)| {
            entry.purpose == Purpose::Report && matches!(entry.status, Status::Waiting(_))
        });
        let sequence = *report.ok_or(Full)?.0;
        self.settle(sequence);
        Ok(Some(sequence))
    }

    pub(crate) fn insert(&mut self, sequence: u64, entry: Entry) {
        self.live += usize::from(entry.is_live());
        self.entries.insert(sequence, entry);
    }

    /// Moves an envelope that is not done to another status.
    pub(crate) fn set(&mut self, sequence: u64, status: Status) {
        if let Some(entry) = self.entries.get_mut(&sequence).filter(|entry| entry.is_live()) {
            entry.status = status;
        }
    }

    /// Notes that a validator accepted an envelope at `head`, and keeps its word.
    pub(crate) fn accept(
        &mut self,
        sequence: u64,
        head: Height,
        acceptance: &[u8],
    ) -> Option<Kept> {
        let entry = self.entries.get_mut(&sequence).filter(|entry| entry.is_live())?;
        entry.status = Status::Accepted(head);
        entry.acceptance = acceptance.into();
        Some(entry.kept(sequence))
    }

    /// Notes another try and returns its number from 0.
    pub(crate) fn next_try(&mut self, sequence: u64) -> u64 {
        let Some(entry) = self.entries.get_mut(&sequence) else { return 0 };
        entry.tries += 1;
        entry.tries - 1
    }

    /// Marks an envelope done and drops its bytes. Returns it as the journal keeps it, if it was not
    /// done before.
    pub(crate) fn settle(&mut self, sequence: u64) -> Option<Kept> {
        let entry = self.entries.get_mut(&sequence).filter(|entry| entry.is_live())?;
        entry.status = Status::Done;
        entry.bytes = Arc::default();
        self.live -= 1;
        Some(entry.kept(sequence))
    }

    /// Envelopes that nobody has accepted and that are of no more use when `head` is the newest block:
    /// what is sent now is carried by the next one at the earliest.
    pub(crate) fn overdue(&self, head: Height) -> Vec<u64> {
        let waiting = |entry: &Entry| matches!(entry.status, Status::Waiting(_));
        self.entries
            .iter()
            .filter(|(_, entry)| waiting(entry) && entry.until <= head)
            .map(|(sequence, _)| *sequence)
            .collect()
    }

    /// What to submit and what to look for at `head`, the most urgent first, as far as slots are free.
    pub(crate) fn ready(&self, head: Height, patience: u64) -> Vec<u64> {
        let busy = |entry: &Entry| matches!(entry.status, Status::Submitting | Status::Looking);
        let free = SUBMITTING_MAX.saturating_sub(self.entries.values().filter(|e| busy(e)).count());
        let mut ready: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| match entry.status {
                Status::Waiting(at) => at <= head,
                Status::Accepted(at) => entry.waited(at, head, patience),
                _ => false,
            })
            .map(|(sequence, entry)| (&entry.purpose, entry.until, *sequence))
            .collect();
        ready.sort_unstable();
        ready.into_iter().take(free).map(|(_, _, sequence)| sequence).collect()
    }

    /// Drops all envelopes of `epoch` and those before it.
    pub(crate) fn forget(&mut self, epoch: Epoch) {
        self.entries.retain(|_, entry| entry.epoch > epoch);
        self.live = self.entries.values().filter(|entry| entry.is_live()).count();
    }
}

/// The outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;
