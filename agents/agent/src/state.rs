//! The agent as a state machine without input or output: events in, effects out.
//!
//! Rules:
//! * Effects are done in their order. A [`Effect::Record`] is durable before any effect after it
//!   begins; so no envelope is sent, and no sequence number used, that a crash could forget.
//! * The same events at the same times give the same effects.
//! * An epoch's inputs must have been checked against the ledger before they come in here.
//! * A duty's proof is made and sent once its window is open for the newest block: a proof sent
//!   earlier could be carried too early.
//! * Proofs come before reports: a report that goes out while a proof does not is a slash by one's own hand.
//!   Within the quota reports and vouchers leave room for all proofs still owed, and when a proof has to
//!   be dropped after all, the device is silent for the rest of the epoch, which costs pay only.
//! * Everything is bounded: open epochs by [`EPOCHS_MAX`], envelopes by [`crate::OUTBOX_MAX`], proofs
//!   under way by [`PROVING_MAX`].

use crate::{
    followed::{Followed, Progress},
    hardware::{Figures, ProveError},
    journal::{Kept, Purpose, Record, Recovered},
    metrics::Metrics,
    outbox::{Entry, Outbox, Status},
    sequence::Sequence,
};
use protocol::{
    DeviceId, Digest, Epoch, Height, Micros, NetworkId, RailId, Reason,
    body::{Common, Report, VOUCHERS_MAX},
    clock::EpochClock,
    envelope::{Body, ENVELOPE_MAX, Envelope, Payload},
    inputs::Inputs,
    key::DeviceSecret,
    kind::{Duty, Kind},
    voucher::SignedVoucher,
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// How many epochs are open at once: the present one and those in their grace.
pub const EPOCHS_MAX: usize = 4;
/// How many proofs are under way at once.
pub const PROVING_MAX: usize = 4;
/// How many heights before a window a loss must be found, so that a block can still carry the
/// declaration in time.
const DECLARE_LEAD: u64 = 1;

/// What an agent is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The network it serves.
    pub network: NetworkId,
    /// How many validators there are to send to. At least 1.
    pub validators: u64,
    /// After how many heights an accepted envelope must have been seen in a block, or it is given
    /// to another validator; fewer if little is left of its time.
    pub patience: u64,
    /// Whether hardware is looked at before a duty's window and losses are declared.
    pub declare_losses: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// There is a new newest block; and what the hardware says of itself.
    Head(Height, Figures),
    /// The inputs of an epoch, checked against the ledger.
    Inputs(Arc<Inputs>),
    /// The inputs of an epoch could not be had.
    NoInputs(Epoch),
    /// A duty's hardware was looked at; the body declares a loss.
    Inspected(Epoch, RailId, u16, Option<Body>),
    /// A proof was made, or could not be.
    Proven(Epoch, RailId, u16, Result<Body, ProveError>),
    /// The best vouchers there are.
    Vouchers(Epoch, Vec<SignedVoucher>),
    /// A validator was given an envelope.
    Submitted(u64, Submitted),
    /// A validator was asked whether a block carries an envelope: the height, if one does, or
    /// nothing known when it could not be asked.
    Looked(u64, Option<Option<Height>>),
}

/// What became of an envelope that was given to a validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It will be put into a batch, or was before; the validator's signed word.
    Accepted(Vec<u8>),
    /// It was refused.
    Refused(Reason),
    /// Nobody answered, or not as the protocol says.
    Unreachable(String),
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make these durable before anything that follows.
    Record(Vec<Record>),
    /// Fetch and check the inputs of an epoch; answer with [`Event::Inputs`] or [`Event::NoInputs`].
    Fetch(Epoch),
    /// Tell the hardware of a new epoch.
    Open(Arc<Inputs>),
    /// Tell the hardware that this epoch and those before it are closed.
    Close(Epoch),
    /// Look at a duty's hardware; answer with [`Event::Inspected`].
    Inspect(Arc<Inputs>, Duty),
    /// Prove a duty; answer with [`Event::Proven`].
    Prove(Arc<Inputs>, Duty),
    /// Collect the best vouchers; answer with [`Event::Vouchers`].
    Collect(Epoch),
    /// Give an envelope (of this sequence number) to a validator; answer with [`Event::Submitted`].
    Submit {
        /// Its sequence number.
        sequence: u64,
        /// Which validator, from 0.
        validator: u64,
        /// The envelope.
        bytes: Arc<[u8]>,
    },
    /// Ask a validator whether a block carries an envelope; answer with [`Event::Looked`].
    Look {
        /// Its sequence number.
        sequence: u64,
        /// Which validator, from 0.
        validator: u64,
        /// The envelope's digest.
        digest: Digest,
    },
}

/// The agent of one device in one network.
pub struct Agent {
    settings: Settings,
    secret: DeviceSecret,
    device: DeviceId,
    kind: Arc<dyn Kind>,
    clock: EpochClock,
    head: Option<Height>,
    figures: Figures,
    fetching: Option<Epoch>,
    epochs: BTreeMap<Epoch, Followed>,
    outbox: Outbox,
    /// The validator to begin with: one that failed the last envelope is not it.
    first: u64,
    sequence: Sequence,
    presented: BTreeMap<RailId, Micros>,
    records: Vec<Record>,
    /// Records that may wait for the next transaction: forgetting them costs a repetition only.
    lazy: Vec<Record>,
    metrics: Metrics,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("device", &self.device)
            .field("head", &self.head)
            .field("outbox", &self.outbox.live())
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent that goes on where the journal stopped.
    pub fn new(
        settings: Settings,
        secret: DeviceSecret,
        kind: Arc<dyn Kind>,
        clock: EpochClock,
        recovered: Recovered,
    ) -> Self {
        Self {
            settings: Settings { validators: settings.validators.max(1), ..settings },
            device: secret.id(),
            secret,
            kind,
            clock,
            head: None,
            figures: Figures::default(),
            fetching: None,
            epochs: BTreeMap::new(),
            outbox: Outbox::recover(recovered.outbox),
            first: 0,
            sequence: Sequence::after(recovered.reserved),
            presented: recovered.presented,
            records: Vec::new(),
            lazy: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// The device.
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// What was done so far.
    pub fn metrics(&self) -> Metrics {
        Metrics { outbox: self.outbox.live(), ..self.metrics.clone() }
    }

    /// Takes in one event at `now_ms` (milliseconds since 1970) and says what is to be done.
    pub fn handle(&mut self, event: Event, now_ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Head(height, figures) => self.advance(height, figures, &mut effects),
            Event::Inputs(inputs) => self.adopt(inputs, &mut effects),
            Event::NoInputs(epoch) => {
                self.fetching = self.fetching.filter(|fetching| *fetching != epoch);
            }
            Event::Inspected(epoch, rail, index, loss) => {
                self.inspected((epoch, rail, index), loss, now_ms);
            }
            Event::Proven(epoch, rail, index, outcome) => {
                self.proven((epoch, rail, index), outcome, now_ms);
            }
            Event::Vouchers(epoch, vouchers) => self.present(epoch, &vouchers, now_ms),
            Event::Submitted(sequence, outcome) => self.submitted(sequence, outcome),
            Event::Looked(sequence, found) => self.looked(sequence, found),
        }
        self.pump(now_ms, &mut effects);
        if !self.records.is_empty() {
            // The lazy ones are older: what is forgotten now must not come back with them.
            let mut records = std::mem::take(&mut self.lazy);
            records.append(&mut self.records);
            effects.insert(0, Effect::Record(records));
        }
        effects
    }

    fn advance(&mut self, height: Height, figures: Figures, effects: &mut Vec<Effect>) {
        self.figures = figures;
        if self.head.is_some_and(|head| height <= head) {
            return;
        }
        self.head = Some(height);
        self.metrics.head = Some(height);
        self.close_epochs(height, effects);
        let epoch = self.clock.epoch(height);
        if !self.epochs.contains_key(&epoch) && self.fetching != Some(epoch) {
            self.fetching = Some(epoch);
            effects.push(Effect::Fetch(epoch));
        }
    }

    /// Closes the epochs whose evidence can no longer be carried.
    fn close_epochs(&mut self, head: Height, effects: &mut Vec<Effect>) {
        let closed = |epoch: &Epoch| self.clock.grace_end(*epoch) < head;
        let open = self.epochs.keys().copied().chain(self.outbox.epochs());
        let Some(last) = open.filter(closed).max() else { return };
        for (_, followed) in self.epochs.extract_if(..=last, |_, _| true) {
            let unproven = followed
                .tasks
                .iter()
                .filter(|task| matches!(task.progress, Progress::Ahead | Progress::Proving));
            self.metrics.missed = add(self.metrics.missed, unproven.count());
        }
        self.outbox.forget(last);
        self.records.push(Record::Forget(last));
        effects.push(Effect::Close(last));
    }

    fn adopt(&mut self, inputs: Arc<Inputs>, effects: &mut Vec<Effect>) {
        let epoch = inputs.epoch;
        self.fetching = self.fetching.filter(|fetching| *fetching != epoch);
        let Some(head) = self.head else { return };
        let wanted = inputs.network == self.settings.network
            && inputs.clock == self.clock
            && !self.epochs.contains_key(&epoch)
            && self.epochs.len() < EPOCHS_MAX
            && self.clock.grace_end(epoch) >= head;
        if !wanted {
            return;
        }
        let enrolled = inputs.device(self.device);
        let duties = enrolled.map(|device| self.kind.duties(&inputs, device)).unwrap_or_default();
        self.metrics.epoch = self.metrics.epoch.max(Some(epoch));
        self.metrics.enrolled = enrolled.is_some();
        effects.push(Effect::Open(Arc::clone(&inputs)));
        let kept: Vec<Kept> = self.outbox.of(epoch).map(|(at, entry)| entry.kept(at)).collect();
        let followed = Followed::new(inputs, self.device, duties, kept.into_iter());
        if self.settings.declare_losses {
            let in_time = |duty: &Duty| head.0.saturating_add(DECLARE_LEAD) < duty.from.0;
            let ahead = followed.tasks.iter().filter(|task| task.progress == Progress::Ahead);
            effects.extend(
                ahead
                    .filter(|task| in_time(&task.duty))
                    .map(|task| Effect::Inspect(Arc::clone(&followed.inputs), task.duty.clone())),
            );
        }
        self.epochs.insert(epoch, followed);
    }

    fn inspected(&mut self, at: (Epoch, RailId, u16), loss: Option<Body>, now_ms: u64) {
        let ((epoch, rail, index), Some(body)) = (at, loss) else { return };
        let Some(head) = self.head else { return };
        let Some(followed) = self.epochs.get_mut(&epoch) else { return };
        let Some(task) = followed.task(rail, index) else { return };
        // A declaration that no block can carry before the window would not spare the stake.
        let until = Height(task.duty.from.0.saturating_sub(1));
        if task.progress != Progress::Ahead || until <= head {
            return;
        }
        // One declaration covers all later windows of its rail.
        let declared = followed
            .tasks
            .iter()
            .any(|task| task.duty.rail == rail && task.progress == Progress::Lost);
        followed.set(rail, index, Progress::Lost);
        if declared {
            return;
        }
        if self.enqueue(epoch, Purpose::Loss(rail, index), body, until, now_ms) {
            self.metrics.losses += 1;
        }
    }

    fn proven(
        &mut self,
        (epoch, rail, index): (Epoch, RailId, u16),
        outcome: Result<Body, ProveError>,
        now_ms: u64,
    ) {
        let Some(followed) = self.epochs.get_mut(&epoch) else { return };
        let Some(task) = followed.task(rail, index) else { return };
        if task.progress != Progress::Proving {
            return;
        }
        let until = followed.deadline(&task.duty);
        let made = outcome.map_err(|error| {
            tracing::warn!(%rail, index, %error, "a duty cannot be proven");
        });
        let made = made.is_ok_and(|body| {
            self.enqueue(epoch, Purpose::Proof(rail, index), body, until, now_ms)
        });
        self.metrics.proofs += u64::from(made);
        self.metrics.missed += u64::from(!made);
        if let Some(followed) = self.epochs.get_mut(&epoch) {
            followed.set(rail, index, if made { Progress::Proven } else { Progress::Missed });
        }
    }

    fn present(&mut self, epoch: Epoch, vouchers: &[SignedVoucher], now_ms: u64) {
        let Some(followed) = self.epochs.get(&epoch) else { return };
        let inputs = Arc::clone(&followed.inputs);
        let news: Vec<SignedVoucher> = vouchers
            .iter()
            .filter(|signed| {
                // One that has just ended is in the inputs once more, for its last vouchers.
                let rail = inputs.rail(signed.voucher.rail);
                rail.is_some_and(|rail| {
                    let counts = rail.opened < epoch && epoch <= rail.expiry.next();
                    rail.device == self.device && counts
                })
            })
            .filter(|signed| {
                self.presented
                    .get(&signed.voucher.rail)
                    .is_none_or(|at| *at < signed.voucher.amount)
            })
            .copied()
            .collect();
        for part in news.chunks(VOUCHERS_MAX) {
            let amounts = part.iter().map(|signed| (signed.voucher.rail, signed.voucher.amount));
            let purpose = Purpose::Vouchers(amounts.collect());
            let until = self.clock.grace_end(epoch);
            let body = Common::Vouchers(part.to_vec()).to_body();
            self.metrics.vouchers += u64::from(self.enqueue(epoch, purpose, body, until, now_ms));
        }
    }

    fn submitted(&mut self, sequence: u64, outcome: Submitted) {
        let (Some(head), Some(entry)) = (self.head, self.outbox.get(sequence)) else { return };
        let open = self.clock.epoch(head) == entry.epoch;
        // Every validator is tried at once before the next block is waited for.
        let again = match entry.tries % self.settings.validators {
            0 => Height(head.0.saturating_add(1)),
            _ => head,
        };
        match outcome {
            Submitted::Accepted(acceptance) => {
                self.metrics.accepted += 1;
                self.lazy.extend(self.outbox.accept(sequence, head, &acceptance).map(Record::Keep));
            }
            Submitted::Refused(Reason::QueueFull) => {
                self.fails(sequence);
                self.outbox.set(sequence, Status::Waiting(again));
            }
            // A validator that is a block behind, or has not adopted the inputs yet.
            Submitted::Refused(Reason::WrongEpoch | Reason::UnknownDevice) if open => {
                self.outbox.set(sequence, Status::Waiting(Height(head.0.saturating_add(1))));
            }
            Submitted::Refused(reason) => {
                tracing::warn!(%reason, purpose = ?entry.purpose, "evidence was refused");
                *self.metrics.refused.entry(reason).or_default() += 1;
                self.settle(sequence);
            }
            Submitted::Unreachable(error) => {
                tracing::debug!(%error, "validator cannot be reached");
                self.fails(sequence);
                self.outbox.set(sequence, Status::Waiting(again));
            }
        }
    }

    fn looked(&mut self, sequence: u64, found: Option<Option<Height>>) {
        let (Some(head), Some(entry)) = (self.head, self.outbox.get(sequence)) else { return };
        match found {
            Some(Some(_)) => {
                if let Purpose::Vouchers(amounts) = entry.purpose.clone() {
                    for (rail, amount) in amounts {
                        let best = self.presented.entry(rail).or_default();
                        *best = amount.max(*best);
                        self.lazy.push(Record::Presented(rail, *best));
                    }
                }
                self.metrics.carried += 1;
                self.settle(sequence);
            }
            Some(None) => {
                self.fails(sequence);
                self.outbox.set(sequence, Status::Waiting(head));
            }
            None => self.outbox.set(sequence, Status::Accepted(head)),
        }
    }

    /// Whom an envelope was given to last did not have it carried: the next ones begin with somebody else.
    fn fails(&mut self, sequence: u64) {
        let validators = self.settings.validators;
        let next = self.outbox.get(sequence).map_or(self.first, |entry| entry.turn(validators));
        if next == (self.first + 1) % validators {
            self.first = next;
        }
    }

    fn settle(&mut self, sequence: u64) {
        self.lazy.extend(self.outbox.settle(sequence).map(Record::Keep));
    }

    /// Does whatever the present head makes due.
    fn pump(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let Some(head) = self.head else { return };
        for sequence in self.outbox.overdue(head) {
            self.metrics.expired += 1;
            self.settle(sequence);
        }
        let epochs: Vec<Epoch> = self.epochs.keys().copied().collect();
        for epoch in epochs {
            self.prove(epoch, head, effects);
            self.report(epoch, head, now_ms);
            self.collect(epoch, head, effects);
        }
        for sequence in self.outbox.ready(head, self.settings.patience) {
            self.send(sequence, effects);
        }
    }

    /// Starts proofs of duties whose window is open, and gives up those that come too late.
    fn prove(&mut self, epoch: Epoch, head: Height, effects: &mut Vec<Effect>) {
        let proving = |followed: &Followed| {
            followed.tasks.iter().filter(|task| task.progress == Progress::Proving).count()
        };
        let mut free = PROVING_MAX.saturating_sub(self.epochs.values().map(proving).sum());
        let Some(followed) = self.epochs.get_mut(&epoch) else { return };
        let slack = u64::from(followed.inputs.manifest.evidence.slack);
        for task in &mut followed.tasks {
            if task.progress != Progress::Ahead || head < task.duty.from {
                continue;
            }
            if task.duty.to.0.saturating_add(slack) <= head.0 {
                task.progress = Progress::Missed;
                self.metrics.missed += 1;
            } else if free > 0 {
                free -= 1;
                task.progress = Progress::Proving;
                effects.push(Effect::Prove(Arc::clone(&followed.inputs), task.duty.clone()));
            }
        }
    }

    fn report(&mut self, epoch: Epoch, head: Height, now_ms: u64) {
        let Some(followed) = self.epochs.get_mut(&epoch) else { return };
        let Some(until) = followed.report_due(head).filter(|_| followed.kind.is_some()) else {
            return;
        };
        followed.reported = Some(head);
        let Figures { used, free } = self.figures;
        let body = Common::Report(Report { used, free, at: head }).to_body();
        self.metrics.reports +=
            u64::from(self.enqueue(epoch, Purpose::Report, body, until, now_ms));
    }

    fn collect(&mut self, epoch: Epoch, head: Height, effects: &mut Vec<Effect>) {
        let Some(followed) = self.epochs.get_mut(&epoch) else { return };
        if followed.kind.is_some() && followed.vouchers_due(head) {
            followed.vouchers_asked = true;
            effects.push(Effect::Collect(epoch));
        }
    }

    /// Signs `body` and puts it into the outbox. False if size, quota or outbox forbid it.
    fn enqueue(
        &mut self,
        epoch: Epoch,
        purpose: Purpose,
        body: Body,
        until: Height,
        now_ms: u64,
    ) -> bool {
        let (Some(head), Some(followed)) = (self.head, self.epochs.get_mut(&epoch)) else {
            return false;
        };
        let own = followed.kind == Some(body.kind);
        let limit = if own { self.kind.envelope_max() } else { ENVELOPE_MAX };
        let (sequence, reserve) = self.sequence.take(now_ms);
        self.records.extend(reserve.map(Record::Reserve));
        let network = self.settings.network;
        let payload = Payload { network, epoch, sequence, time_ms: now_ms, body };
        let envelope = Envelope::sign(&self.secret, &payload);
        let size = u32::try_from(envelope.bytes().len()).unwrap_or(u32::MAX);
        let room = followed.room(&purpose, answer_bytes(&*self.kind));
        let fits = envelope.bytes().len() <= limit && u64::from(size) <= room;
        let made_room = if fits { self.outbox.make_room(&purpose).ok() } else { None };
        self.metrics.dropped += u64::from(made_room != Some(None));
        if made_room.is_none() {
            tracing::warn!(?purpose, size, room, "an envelope is over its limit, quota or outbox");
            followed.muted |= matches!(purpose, Purpose::Proof(..));
            return false;
        }
        followed.bytes = followed.bytes.saturating_add(u64::from(size));
        let entry = Entry {
            epoch,
            purpose,
            made_at: head,
            until,
            size,
            digest: envelope.digest(),
            bytes: envelope.bytes().into(),
            acceptance: Arc::default(),
            status: Status::Waiting(head),
            first: self.first,
            tries: 0,
        };
        self.records.push(Record::Keep(entry.kept(sequence)));
        self.outbox.insert(sequence, entry);
        true
    }

    /// Submits an envelope, or looks for one that was accepted.
    fn send(&mut self, sequence: u64, effects: &mut Vec<Effect>) {
        let Some(entry) = self.outbox.get(sequence) else { return };
        let validators = self.settings.validators;
        if let Status::Accepted(_) = entry.status {
            // Asked of the next validator: the one that accepted it would be judging itself.
            let validator = entry.turn(validators);
            effects.push(Effect::Look { sequence, validator, digest: entry.digest });
            return self.outbox.set(sequence, Status::Looking);
        }
        let (bytes, validator) = (Arc::clone(&entry.bytes), entry.turn(validators));
        let tries = self.outbox.next_try(sequence);
        self.metrics.resent += u64::from(tries > 0);
        effects.push(Effect::Submit { sequence, validator, bytes });
        self.outbox.set(sequence, Status::Submitting);
    }
}

/// The bytes kept free for a proof that is still to be made: as many as the quota reckons with.
fn answer_bytes(kind: &dyn Kind) -> u64 {
    u64::try_from(kind.envelope_max().min(2 * ENVELOPE_MAX)).unwrap_or(u64::MAX)
}

fn add(counter: u64, more: usize) -> u64 {
    counter.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
