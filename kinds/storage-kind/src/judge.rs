//! The judge of storage: what a device proved in an epoch, what it missed, and what was false.
//!
//! **What counts.** Only envelopes of this device, network and epoch, carried in the epoch or its
//! grace. The set of them decides, never their order.
//!
//! **A duty** is *met* by a proof that holds ([`crate::proof::check`]) and is carried from the
//! window's first height to [`duty::closes`]. A proof that holds but is carried earlier or later
//! earns nothing and is no fault. A proof for this very duty and this very version of the dataset
//! that does not hold is a *false proof*, whenever it is carried. A proof for anything else (another
//! rail, another device's rail, another version) says nothing about a duty and is refused.
//!
//! **A duty that was not met** is, in this order,
//! 1. a *declared loss*, if a loss of the rail was carried before the window opened;
//! 2. *late* or *early*, if a proof that holds was carried outside the window;
//! 3. a *selective miss*, if the device was there at the window's beginning and at its end: some
//!    envelope of it was signed within the window and before its last height, and some from then on until
//!    it closed. Those are the two heights of [`duty::reports`]. Evidence on one side alone does not
//!    accuse: a power cut in the middle of a window leaves some at its beginning, and the return leaves
//!    some at its end. Declarations of loss are never counted against who makes them;
//! 4. *missed*, if anything at all was heard from the window's beginning until it closed;
//! 5. *silent* otherwise. Silence costs pay, never stake (design 8).
//!
//! **When an envelope was signed** is not when it was carried: one that was on its way when the power went
//! says nothing of the time after it. A report names the height at which it was signed. A proof that holds
//! was signed when its window was open. All that counts as signed no earlier than the manifest's slack
//! before the block that carries it, which is the time that evidence is given to travel, and no later than
//! that block: so a report that lies about its height moves itself by the slack at most. An envelope
//! accuses only if it was surely signed where that says. Who wants to be accused of nothing sends nothing,
//! and is not paid; who goes on reporting, or proving other rails, without what it was asked for is.
//!
//! **A rail** is proven if all its duties are met, no proof on it was false and no loss of it was
//! declared in this epoch; then all bytes of its dataset are its units, else none. A rail with a duty
//! that was not met (other than by a declared loss) or with a false proof is missed, and two missed
//! rails zero the device's epoch. Rails beyond the capacity that the device offered, and staked for,
//! are unpaid.
//!
//! **Findings** hold at most one cause and one fault for each (reason, rail), with the first duty it
//! is about and at most [`EVIDENCE_MAX`] digests, ascending.

use crate::{
    body::{Evidence, Loss, Proof},
    duty::{self, Task},
    proof::{self, ProofError},
};
use protocol::{
    Account, Digest, Height, Ppm, RailId, Reason,
    body::{BAD_VOUCHERS_MAX, COMMON, Common},
    cbor::DecodeError,
    envelope::Body,
    kind::{Carried, Case, Duty, Finding, Use},
    statement::Cause,
    voucher::{self, SignedVoucher},
};
use std::collections::{BTreeMap, BTreeSet};

/// How many envelopes one cause names.
pub const EVIDENCE_MAX: usize = 8;

/// What became of one duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Met,
    Lost,
    Late,
    Early,
    Selective,
    Missed,
    Silent,
}

/// Judges one device.
pub fn judge(case: &Case<'_>) -> Finding {
    let evidence = own(case);
    let mut notes = Notes::default();
    let heard = Heard::read(case, &evidence, &mut notes);
    let rails = rails(case, &heard, &mut notes);
    let due = rails.values().map(|rail| rail.due).sum();
    let met = rails.values().map(|rail| rail.met).sum();
    let uses = uses(case, &rails, &mut notes);
    if due == 0 {
        notes.cause(Reason::NothingDue, None, None, []);
    }
    Finding {
        device: case.device.id,
        units: uses.iter().fold(0, |sum, used| used.units.saturating_add(sum)),
        uses,
        quality: Ppm::ratio(u64::from(met), u64::from(due)),
        // Every shard is masked for its place, so no copy stands for another (design 11).
        uniqueness: if evidence.is_empty() { Ppm::ZERO } else { Ppm::ONE },
        confirmations: confirmations(case, &heard.vouchers),
        faults: notes.faults.into_causes(),
        causes: notes.causes.into_causes(),
        duties: (due, met),
        heard: !evidence.is_empty(),
    }
}

/// The evidence that counts, in an order of its own.
fn own<'c>(case: &Case<'c>) -> Vec<&'c Carried> {
    let inputs = case.inputs;
    let counts = |carried: &&Carried| {
        let payload = carried.envelope.payload();
        carried.envelope.device() == case.device.id
            && payload.network == inputs.network
            && payload.epoch == inputs.epoch
            && inputs.clock.accepts(inputs.epoch, carried.height)
    };
    let mut evidence: Vec<&Carried> = case.evidence.iter().filter(counts).collect();
    evidence.sort_unstable_by_key(|carried| {
        (carried.height, carried.envelope.payload().sequence, carried.digest)
    });
    evidence
}

/// When an envelope was carried, and its digest.
type Seen = (Height, Digest);
/// The duties with their tasks, by rail and index.
type Duties<'c> = BTreeMap<(RailId, u16), (&'c Duty, Task)>;

/// An envelope by which the device was there.
#[derive(Clone, Copy)]
struct Presence {
    /// Signed at this height or later, by the newest block that the device knew.
    earliest: Height,
    /// Signed at this height or earlier.
    latest: Height,
    carried: Height,
    digest: Digest,
}

impl Presence {
    /// Carried as `seen`, signed at most `slack` heights before.
    fn new((carried, digest): Seen, slack: u16) -> Self {
        let earliest = Height(carried.0.saturating_sub(u64::from(slack)));
        Self { earliest, latest: carried, carried, digest }
    }

    /// Signed at `height`, as far as that can be.
    fn at(self, height: Height) -> Self {
        let at = height.clamp(self.earliest, self.latest);
        Self { earliest: at, latest: at, ..self }
    }

    /// Signed at `height` or later, as far as that can be.
    fn since(self, height: Height) -> Self {
        Self { earliest: height.clamp(self.earliest, self.latest), ..self }
    }
}

/// A body that storage understands.
enum Said {
    Common(Common),
    Proof(Proof),
    Loss(Loss),
}

impl Said {
    fn read(body: &Body) -> Result<Self, DecodeError> {
        if body.kind == COMMON {
            return Common::from_body(body).map(Self::Common);
        }
        Ok(match Evidence::from_body(body)? {
            Evidence::Proof(proof) => Self::Proof(proof),
            Evidence::Loss(loss) => Self::Loss(loss),
        })
    }
}

/// What the device said, sorted by what it is about. Its methods say when an envelope shows the device, by
/// which a missed duty becomes selective, if it does.
#[derive(Default)]
struct Heard {
    /// For each duty, the proofs that hold, ascending by height.
    proofs: BTreeMap<(RailId, u16), Vec<Seen>>,
    /// Duties with a false proof.
    false_proofs: BTreeSet<(RailId, u16)>,
    /// The first loss declared on each rail.
    losses: BTreeMap<RailId, Seen>,
    /// All envelopes but declarations of loss, ascending by the height that carries them.
    presence: Vec<Presence>,
    vouchers: Vec<SignedVoucher>,
}

impl Heard {
    fn read(case: &Case<'_>, evidence: &[&Carried], notes: &mut Notes) -> Self {
        let duties: Duties<'_> = case
            .duties
            .iter()
            .filter_map(|duty| Some(((duty.rail, duty.index), (duty, Task::of(duty).ok()?))))
            .collect();
        let mut heard = Self::default();
        for carried in evidence {
            let seen = (carried.height, carried.digest);
            let there = Presence::new(seen, case.inputs.manifest.evidence.slack);
            let there = match Said::read(&carried.envelope.payload().body) {
                Ok(Said::Common(common)) => Some(heard.common(common, there)),
                Ok(Said::Proof(proof)) => {
                    let since = heard.proof(&duties, &proof, seen, notes);
                    Some(since.map_or(there, |height| there.since(height)))
                }
                Ok(Said::Loss(loss)) => {
                    heard.loss(&duties, &loss, seen, notes);
                    None
                }
                Err(_) => {
                    notes.cause(Reason::MalformedBody, None, None, [carried.digest]);
                    Some(there)
                }
            };
            heard.presence.extend(there);
        }
        heard
    }

    fn common(&mut self, common: Common, there: Presence) -> Presence {
        match common {
            Common::Report(report) => there.at(report.at),
            Common::Vouchers(vouchers) => {
                self.vouchers.extend(vouchers);
                there
            }
        }
    }

    /// Takes in a proof. If it holds, the height before which it was not signed.
    fn proof(
        &mut self,
        duties: &Duties<'_>,
        proof: &Proof,
        seen: Seen,
        notes: &mut Notes,
    ) -> Option<Height> {
        let key = (proof.rail, proof.index);
        let Some((duty, task)) = duties.get(&key) else {
            notes.cause(Reason::NotDue, None, None, [seen.1]);
            return None;
        };
        match proof::check(duty, task, proof) {
            Ok(()) => {
                self.proofs.entry(key).or_default().push(seen);
                return Some(duty.from);
            }
            Err(ProofError::OtherDuty(..)) => notes.cause(Reason::NotDue, None, None, [seen.1]),
            Err(ProofError::OtherVersion(_)) => {
                notes.cause(Reason::WrongDataset, Some(key.0), Some(key.1), [seen.1]);
            }
            Err(ProofError::Path(_) | ProofError::Slice(_)) => {
                self.false_proofs.insert(key);
                notes.fault(Reason::FalseProof, key.0, key.1, [seen.1]);
            }
        }
        None
    }

    fn loss(&mut self, duties: &Duties<'_>, loss: &Loss, seen: Seen, notes: &mut Notes) {
        let first = duties.range((loss.rail, 0)..).next();
        match first.filter(|((rail, _), _)| *rail == loss.rail) {
            None => notes.cause(Reason::NotDue, None, None, [seen.1]),
            Some((_, (_, task))) if task.version != loss.version => {
                notes.cause(Reason::WrongDataset, Some(loss.rail), None, [seen.1]);
            }
            Some(_) => {
                self.losses.entry(loss.rail).or_insert(seen);
                notes.cause(Reason::DeclaredLoss, Some(loss.rail), None, [seen.1]);
            }
        }
    }

    /// The envelopes carried from one height to another, both inclusive.
    fn between(&self, from: Height, to: Height) -> &[Presence] {
        let start = self.presence.partition_point(|there| there.carried < from);
        let end = self.presence.partition_point(|there| there.carried <= to);
        self.presence.get(start..end).unwrap_or(&[])
    }
}

/// What became of one rail.
#[derive(Default)]
struct RailOutcome {
    bytes: u64,
    due: u32,
    met: u32,
    missed: bool,
    lost: bool,
    proofs: Vec<Digest>,
}

fn rails(case: &Case<'_>, heard: &Heard, notes: &mut Notes) -> BTreeMap<RailId, RailOutcome> {
    let mut rails: BTreeMap<RailId, RailOutcome> = BTreeMap::new();
    for duty in case.duties {
        let Ok(task) = Task::of(duty) else { continue };
        let key = (duty.rail, duty.index);
        let (outcome, because) = outcome(case, heard, duty);
        let rail = rails.entry(duty.rail).or_default();
        rail.bytes = task.bytes;
        rail.lost = heard.losses.contains_key(&duty.rail);
        rail.due = rail.due.saturating_add(1);
        rail.missed |= !matches!(outcome, Outcome::Met | Outcome::Lost);
        let reason = match outcome {
            Outcome::Met => {
                rail.met = rail.met.saturating_add(1);
                rail.proofs.extend(because.iter().copied());
                None
            }
            // Noted with the declaration itself.
            Outcome::Lost => None,
            Outcome::Late => Some(Reason::LateProof),
            Outcome::Early => Some(Reason::EarlyProof),
            Outcome::Selective => {
                notes.fault(Reason::SelectiveMiss, key.0, key.1, because.iter().copied());
                Some(Reason::MissedDuty)
            }
            Outcome::Missed => Some(Reason::MissedDuty),
            Outcome::Silent => Some(Reason::Silent),
        };
        if let Some(reason) = reason {
            notes.cause(reason, Some(key.0), Some(key.1), because);
        }
    }
    for (rail, _) in &heard.false_proofs {
        if let Some(outcome) = rails.get_mut(rail) {
            outcome.missed = true;
        }
    }
    rails
}

/// What became of a duty, and the envelopes that show it.
fn outcome(case: &Case<'_>, heard: &Heard, duty: &Duty) -> (Outcome, Vec<Digest>) {
    let key = (duty.rail, duty.index);
    let closes = duty::closes(case.inputs, duty);
    let proofs = heard.proofs.get(&key).map_or(&[][..], Vec::as_slice);
    let in_window = proofs.iter().find(|(height, _)| (duty.from..=closes).contains(height));
    if let Some((_, digest)) = in_window
        && !heard.false_proofs.contains(&key)
    {
        return (Outcome::Met, vec![*digest]);
    }
    if let Some((height, digest)) = heard.losses.get(&duty.rail)
        && *height < duty.from
    {
        return (Outcome::Lost, vec![*digest]);
    }
    if let Some((height, digest)) = proofs.first()
        && in_window.is_none()
    {
        let outcome = if *height < duty.from { Outcome::Early } else { Outcome::Late };
        return (outcome, vec![*digest]);
    }
    let there = heard.between(duty.from, closes);
    let begun = there.iter().find(|one| duty.from <= one.earliest && one.latest < duty.to);
    let ended = there.iter().rfind(|one| duty.to <= one.earliest);
    match (begun, ended, there) {
        // A false proof for this duty is a fault of its own already.
        _ if heard.false_proofs.contains(&key) => (Outcome::Missed, Vec::new()),
        (Some(first), Some(last), _) => (Outcome::Selective, vec![first.digest, last.digest]),
        (_, _, [one, ..]) => (Outcome::Missed, vec![one.digest]),
        (_, _, []) => (Outcome::Silent, Vec::new()),
    }
}

/// What is counted on each rail, with the reason where it is nothing.
fn uses(case: &Case<'_>, rails: &BTreeMap<RailId, RailOutcome>, notes: &mut Notes) -> Vec<Use> {
    let two_missed = rails.values().filter(|rail| rail.missed).count() >= 2;
    if two_missed {
        notes.cause(Reason::TwoRailsMissed, None, None, []);
    }
    let mut room = case.device.capacity;
    let mut count = |rail: RailId, outcome: &RailOutcome| {
        if outcome.missed || outcome.lost {
            return 0;
        }
        notes.cause(Reason::Proven, Some(rail), None, outcome.proofs.iter().copied());
        if two_missed {
            return 0;
        }
        match room.checked_sub(outcome.bytes) {
            Some(rest) => {
                room = rest;
                outcome.bytes
            }
            None => {
                notes.cause(Reason::OverCapacity, Some(rail), None, []);
                0
            }
        }
    };
    rails.iter().map(|(rail, outcome)| Use { rail: *rail, units: count(*rail, outcome) }).collect()
}

/// How many customers confirmed the device by a voucher on one of its rails. Its own owner is none.
fn confirmations(case: &Case<'_>, vouchers: &[SignedVoucher]) -> u32 {
    let inputs = case.inputs;
    let domain = voucher::domain(inputs.chain_id, inputs.rails_contract);
    let mut customers: BTreeSet<Account> = BTreeSet::new();
    let mut bad = 0;
    for signed in vouchers {
        let promise = signed.voucher;
        let Some(rail) = inputs.rail(promise.rail) else { continue };
        let fits = rail.device == case.device.id
            && rail.payer != case.device.owner
            && promise.network == inputs.network
            && promise.nonce >= rail.nonce
            && promise.amount.0 > 0
            && inputs.is_live(rail);
        // The signature comes last: it is the dear part, and one a customer is enough.
        if !fits || customers.contains(&rail.payer) {
            continue;
        }
        if signed.signer(&domain) == Some(rail.signer) {
            customers.insert(rail.payer);
        } else {
            bad += 1;
        }
        if bad == BAD_VOUCHERS_MAX {
            break;
        }
    }
    u32::try_from(customers.len()).unwrap_or(u32::MAX)
}

/// Causes under construction: one for each (rail, reason).
#[derive(Default)]
struct CauseSet(BTreeMap<(Option<RailId>, Reason), Because>);

#[derive(Default)]
struct Because {
    /// The first duty it is about.
    duty: Option<u16>,
    evidence: BTreeSet<Digest>,
}

impl CauseSet {
    fn add(
        &mut self,
        reason: Reason,
        rail: Option<RailId>,
        duty: Option<u16>,
        evidence: impl IntoIterator<Item = Digest>,
    ) {
        let because = self.0.entry((rail, reason)).or_default();
        because.duty = because.duty.into_iter().chain(duty).min();
        because.evidence.extend(evidence);
    }

    fn into_causes(self) -> Vec<Cause> {
        self.0
            .into_iter()
            .map(|((rail, reason), because)| Cause {
                reason,
                rail,
                duty: because.duty,
                evidence: because.evidence.into_iter().take(EVIDENCE_MAX).collect(),
            })
            .collect()
    }
}

/// Everything noted while judging.
#[derive(Default)]
struct Notes {
    causes: CauseSet,
    faults: CauseSet,
}

impl Notes {
    fn cause(
        &mut self,
        reason: Reason,
        rail: Option<RailId>,
        duty: Option<u16>,
        evidence: impl IntoIterator<Item = Digest>,
    ) {
        self.causes.add(reason, rail, duty, evidence);
    }

    fn fault(
        &mut self,
        reason: Reason,
        rail: RailId,
        duty: u16,
        evidence: impl IntoIterator<Item = Digest>,
    ) {
        self.faults.add(reason, Some(rail), Some(duty), evidence);
    }
}

#[cfg(test)]
mod tests;
