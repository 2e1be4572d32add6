//! What a run is measured by: when a block was proposed and final, and the bytes that validators sent.

use crate::report::median;
use commonware_actor::{Feedback, Unreliable};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{CheckedSender, LimitedSender, Recipients};
use commonware_runtime::{Clock, IoBufs, deterministic};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// How often a run looks whether it is over, on the simulated clock.
const LOOK: Duration = Duration::from_secs(1);

/// One block's measurements.
#[derive(Debug)]
struct Row {
    proposed: SystemTime,
    proposer: PublicKey,
    finals: Vec<SystemTime>,
    by_proposer: usize,
    by_others: usize,
}

/// What one run showed of one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Bytes sent by its proposer.
    pub(crate) proposer: f64,
    /// Bytes sent by each other validator.
    pub(crate) other: f64,
    /// From its proposal until a quorum has it and knows that it is final.
    pub(crate) milliseconds: f64,
}

/// The measurements of a run, shared by its validators.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    seats: u16,
    rows: Arc<Mutex<BTreeMap<u64, Row>>>,
}

impl Meter {
    pub(crate) fn new(seats: u16) -> Self {
        Self { seats, rows: Arc::default() }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<u64, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quorum(&self) -> usize {
        usize::from(self.seats - (self.seats - 1) / 3)
    }

    /// `proposer` has made the block at `height`.
    pub(crate) fn proposed(&self, height: u64, proposer: PublicKey, at: SystemTime) {
        let row = Row { proposed: at, proposer, finals: Vec::new(), by_proposer: 0, by_others: 0 };
        self.rows().insert(height, row);
    }

    /// A validator has the final block at `height`.
    pub(crate) fn finalized(&self, height: u64, at: SystemTime) {
        if let Some(row) = self.rows().get_mut(&height) {
            row.finals.push(at);
        }
    }

    /// Bytes of a block left `from`. Blocks are seconds apart, so they are the newest one's.
    fn sent(&self, from: &PublicKey, bytes: usize) {
        if let Some(mut row) = self.rows().last_entry() {
            let row = row.get_mut();
            let sum = if row.proposer == *from { &mut row.by_proposer } else { &mut row.by_others };
            *sum += bytes;
        }
    }

    /// Waits until a quorum has the block at `height`.
    pub(crate) async fn wait(&self, context: &deterministic::Context, height: u64) {
        while self.rows().get(&height).is_none_or(|row| row.finals.len() < self.quorum()) {
            context.sleep(LOOK).await;
        }
    }

    /// Medians of the blocks after the first `warm` that a quorum has.
    pub(crate) fn seen(&self, warm: u64) -> Seen {
        let rows = self.rows();
        let counted: Vec<&Row> = rows
            .range(warm + 1..)
            .map(|(_, row)| row)
            .filter(|row| row.finals.len() >= self.quorum())
            .collect();
        let bytes = |of: fn(&Row) -> usize| {
            let sums = counted.iter().map(|row| u32::try_from(of(row)).unwrap_or(u32::MAX));
            median(sums.map(f64::from).collect())
        };
        let time = |row: &&Row| {
            let mut finals = row.finals.clone();
            finals.sort();
            let at = finals.get(self.quorum() - 1).copied().unwrap_or(row.proposed);
            at.duration_since(row.proposed).unwrap_or_default().as_secs_f64() * 1000.0
        };
        Seen {
            proposer: bytes(|row| row.by_proposer),
            other: bytes(|row| row.by_others) / f64::from(self.seats - 1),
            milliseconds: median(counted.iter().map(time).collect()),
        }
    }
}

/// The sending end of a channel, whose bytes are counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    pub(crate) inner: S,
    pub(crate) from: PublicKey,
    pub(crate) meter: Meter,
}

/// Recipients that may be sent to, counted.
pub(crate) struct Checked<'a, C> {
    inner: C,
    from: &'a PublicKey,
    meter: &'a Meter,
}

impl<S: LimitedSender<PublicKey = PublicKey>> LimitedSender for Counted<S> {
    type PublicKey = PublicKey;
    type Checked<'a>
        = Checked<'a, S::Checked<'a>>
    where
        Self: 'a;

    fn check(
        &mut self,
        recipients: Recipients<PublicKey>,
    ) -> Result<Self::Checked<'_>, SystemTime> {
        let inner = self.inner.check(recipients)?;
        Ok(Checked { inner, from: &self.from, meter: &self.meter })
    }
}

impl<C: CheckedSender<PublicKey = PublicKey>> CheckedSender for Checked<'_, C> {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        self.inner.recipients()
    }

    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        let message = message.into();
        let others = self.inner.recipients().iter().filter(|to| *to != self.from).count();
        self.meter.sent(self.from, message.len() * others);
        self.inner.send(message, priority)
    }
}
