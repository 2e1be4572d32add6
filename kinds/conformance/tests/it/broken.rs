//! Kinds that each break one rule; the suite must name it.

use conformance::{Violation, check, scene::Scene};
use protocol::{
    Digest, Height, KindId, Micros, Ppm, RailId, Reason, Tokens,
    cbor::Item,
    inputs::{Device, Inputs},
    kind::{Admission, Carried, Case, Duty, Finding, Kind, Offer, Survey, Usage, Use},
    manifest::Manifest,
    statement::Cause,
};
use std::sync::atomic::{AtomicU16, Ordering};

/// What is wrong with a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    Name,
    VaryingDuties,
    DutiesForAll,
    RepeatedDuties,
    DutiesOnDeadRails,
    WindowAfterTheEpoch,
    FirstEnvelopeDecides,
    CountsOthers,
    PaysSilence,
    SlashesSilence,
    QualityAboveOne,
    UnitsDoNotAddUp,
    NoReason,
    PaidReasonSlashes,
    InventedEvidence,
    FallingPrice,
    PriceWithoutTerms,
    StakeWithoutTerms,
}

/// A plain kind: one duty for each live rail, met by any envelope within the epoch.
#[derive(Debug)]
struct Plain(Fault, AtomicU16);

impl Plain {
    fn is(&self, fault: Fault) -> bool {
        self.0 == fault
    }
}

impl Kind for Plain {
    fn id(&self) -> KindId {
        KindId(9)
    }

    fn name(&self) -> &'static str {
        if self.is(Fault::Name) { "Two Words" } else { "plain" }
    }

    fn unit(&self) -> &'static str {
        "units"
    }

    fn envelope_max(&self) -> usize {
        4096
    }

    fn admit(&self, offer: &Offer, manifest: &Manifest) -> Result<Admission, Reason> {
        match manifest.terms(self.id()) {
            Some(terms) => Ok(Admission { stake: terms.stake(offer.capacity) }),
            None if self.is(Fault::StakeWithoutTerms) => Ok(Admission { stake: Tokens::ZERO }),
            None => Err(Reason::NotAdmitted),
        }
    }

    fn duties(&self, inputs: &Inputs, device: &Device) -> Vec<Duty> {
        if device.kind != self.id() && !self.is(Fault::DutiesForAll) {
            return Vec::new();
        }
        let last = inputs.clock.last(inputs.epoch);
        let late = Height(last.0 + 1);
        let to = if self.is(Fault::WindowAfterTheEpoch) { late } else { last };
        let calls = self.1.fetch_add(1, Ordering::Relaxed);
        let index = if self.is(Fault::VaryingDuties) { calls } else { 0 };
        let rails = inputs
            .rails_of(device.id)
            .filter(|rail| inputs.is_live(rail) || self.is(Fault::DutiesOnDeadRails));
        let duty = |rail: RailId| Duty {
            rail,
            index,
            from: inputs.first_height(),
            to,
            task: Item::of(&0u8),
        };
        let times = if self.is(Fault::RepeatedDuties) { 2 } else { 1 };
        rails.flat_map(|rail| vec![duty(rail.id); times]).collect()
    }

    fn survey(&self, _: &Inputs, _: &[Carried]) -> Survey {
        Survey::empty()
    }

    fn judge(&self, case: &Case<'_>) -> Finding {
        let own = |carried: &&Carried| {
            self.is(Fault::CountsOthers) || carried.envelope.device() == case.device.id
        };
        let evidence: Vec<&Carried> = case.evidence.iter().filter(own).collect();
        let heard = !evidence.is_empty();
        let paid = heard || self.is(Fault::PaysSilence);
        let count = u64::try_from(evidence.len()).unwrap_or(u64::MAX);
        let units = match evidence.first() {
            Some(first) if self.is(Fault::FirstEnvelopeDecides) => {
                first.envelope.payload().sequence
            }
            _ => count,
        };
        let units = if self.is(Fault::PaysSilence) { units + 1 } else { units };
        let uses: Vec<Use> = case
            .duties
            .iter()
            .map(|duty| Use { rail: duty.rail, units: if paid { units } else { 0 } })
            .collect();
        let due = u32::try_from(case.duties.len()).unwrap_or(u32::MAX);
        let mut finding = Finding {
            device: case.device.id,
            units: uses.iter().map(|used| used.units).sum(),
            uses,
            quality: if heard { Ppm::ONE } else { Ppm::ZERO },
            uniqueness: Ppm::ONE,
            confirmations: 0,
            faults: Vec::new(),
            causes: vec![Cause::of(if heard { Reason::Proven } else { Reason::Silent })],
            duties: (due, if heard { due } else { 0 }),
            heard,
        };
        let slash = |reason, evidence| Cause { reason, rail: None, duty: None, evidence };
        let named = evidence.iter().map(|carried| carried.digest).min().into_iter().collect();
        match self.0 {
            Fault::QualityAboveOne => finding.quality = Ppm(1_000_001),
            Fault::UnitsDoNotAddUp => finding.units += 1,
            Fault::NoReason => finding.causes.clear(),
            Fault::SlashesSilence if !heard => {
                finding.faults.push(slash(Reason::LongAbsence, vec![]));
            }
            Fault::PaidReasonSlashes if heard => {
                finding.faults.push(slash(Reason::Proven, named));
            }
            Fault::InventedEvidence => {
                finding.causes.push(slash(Reason::Proven, vec![Digest::of(b"invented")]));
            }
            _ => {}
        }
        finding
    }

    fn price(&self, usage: &Usage, manifest: &Manifest) -> Micros {
        let (Usage::Provided(units) | Usage::Delivered(units)) = *usage;
        match manifest.terms(self.id()) {
            Some(_) if self.is(Fault::FallingPrice) => Micros(units.min(10 - units.min(10))),
            Some(terms) => terms.dollars(units, terms.price),
            None if self.is(Fault::PriceWithoutTerms) => Micros(units),
            None => Micros::ZERO,
        }
    }
}

/// The violations that a kind with this fault commits in a hundred scenes, without repetition.
fn violations(fault: Fault) -> Vec<Violation> {
    let kind = Plain(fault, AtomicU16::new(0));
    let mut found: Vec<Violation> = Vec::new();
    for number in 0..100 {
        if let Err(violation) = check(&kind, &Scene::new(&kind, number))
            && !found.contains(&violation)
        {
            found.push(violation);
        }
    }
    found
}

#[test]
fn a_kind_without_faults_passes() {
    assert_eq!(violations(Fault::Nothing), []);
}

#[test]
fn each_broken_rule_is_named() {
    let fault_not_slashing = "a fault does not slash or names no evidence";
    for (fault, violation) in [
        (Fault::Name, Violation::Names),
        (Fault::VaryingDuties, Violation::DutiesVary),
        (Fault::DutiesForAll, Violation::DutiesOfOthers),
        (Fault::RepeatedDuties, Violation::DutiesOrder),
        (Fault::DutiesOnDeadRails, Violation::DutiesRail),
        (Fault::WindowAfterTheEpoch, Violation::DutiesWindow),
        (Fault::FirstEnvelopeDecides, Violation::Order),
        (Fault::CountsOthers, Violation::Others),
        (Fault::PaysSilence, Violation::Silence),
        (Fault::SlashesSilence, Violation::Causes(fault_not_slashing)),
        (Fault::QualityAboveOne, Violation::Bounds("a fraction is above 1")),
        (Fault::UnitsDoNotAddUp, Violation::Bounds("units do not add up")),
        (Fault::NoReason, Violation::Causes("the row has no reason")),
        (Fault::PaidReasonSlashes, Violation::Causes(fault_not_slashing)),
        (Fault::InventedEvidence, Violation::Causes("evidence is named that is not there")),
        (Fault::FallingPrice, Violation::Price),
        (Fault::PriceWithoutTerms, Violation::Price),
        (Fault::StakeWithoutTerms, Violation::Stake),
    ] {
        assert!(violations(fault).contains(&violation), "{fault:?}: {:?}", violations(fault));
    }
}
