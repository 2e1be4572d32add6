//! The suite that every resource kind passes (design 7).
//!
//! [`check`] runs all rules on one [`scene::Scene`]: a small network with evidence that a kind may
//! meet, most of it hostile, made from one number. The tests of this crate walk the list of kinds
//! with many scenes, and prove of each rule that a kind which breaks it is caught.
//!
//! The rules:
//! * **names**: a number other than 0, a name of one lower-case word, a unit, a bounded envelope;
//! * **duties** follow from the inputs file alone and are the same whenever they are asked for; they
//!   ascend by (rail, index), concern live rails of the device alone, and lie within the epoch;
//! * **judgement** is the same for every order of the evidence, counts nobody else's envelopes, never
//!   panics, and stays in its bounds: fractions at most 1, units that add up, causes that exist;
//! * **silence** earns nothing and never faults;
//! * **faults** cost stake by their reason and name evidence that is there;
//! * **prices** and **stakes** never fall as units grow, and are nothing without terms.

pub mod scene;

use protocol::{
    Digest, Micros, Ppm, Reason,
    envelope::PROOF_MAX,
    inputs::{Device, Inputs},
    kind::{Carried, Case, Duty, Finding, Kind, Offer, Usage},
    manifest::Manifest,
    reason::Effect,
    statement::Cause,
};
use scene::Scene;
use std::collections::BTreeSet;

/// A rule that a kind breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Number 0, a name that is not one lower-case word, no unit, or an envelope without bound.
    #[error("number, name, unit or envelope size is not allowed")]
    Names,
    /// Two calls gave different duties.
    #[error("duties differ from one call to the next")]
    DutiesVary,
    /// Duties for a device of another kind.
    #[error("a device of another kind has duties")]
    DutiesOfOthers,
    /// Duties out of order or repeated.
    #[error("duties are not strictly ascending by rail and index")]
    DutiesOrder,
    /// A duty for a rail that is not live or not the device's.
    #[error("a duty is for a rail that is not live or not the device's")]
    DutiesRail,
    /// A window that is empty or leaves the epoch.
    #[error("a window is empty or leaves the epoch")]
    DutiesWindow,
    /// Another order of the evidence gave another finding.
    #[error("the order of the evidence decides")]
    Order,
    /// Envelopes of other devices changed a finding.
    #[error("envelopes of others decide")]
    Others,
    /// Silence earned something, or faulted, or is called heard.
    #[error("silence earns, faults, or is called heard")]
    Silence,
    /// A fraction above 1, units that do not add up, uses out of order, or too many duties met.
    #[error("the finding is out of bounds: {0}")]
    Bounds(&'static str),
    /// A row without a reason, a reason in the wrong list, or evidence that is not there.
    #[error("causes: {0}")]
    Causes(&'static str),
    /// More units cost less, or something costs without terms.
    #[error("prices fall as units grow, or exist without terms")]
    Price,
    /// More capacity needs less stake, or an offer is admitted without terms.
    #[error("stakes fall as capacity grows, or exist without terms")]
    Stake,
}

/// Runs every rule on one scene.
///
/// # Errors
/// The first rule that the kind breaks.
pub fn check(kind: &dyn Kind, scene: &Scene) -> Result<(), Violation> {
    names(kind)?;
    prices(kind, &scene.inputs.manifest)?;
    stakes(kind, &scene.inputs.manifest)?;
    for device in &scene.inputs.roster {
        duties(kind, &scene.inputs, device)?;
        if device.kind == kind.id() {
            judgement(kind, scene, device)?;
        }
    }
    Ok(())
}

fn hold(holds: bool, violation: Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation) }
}

fn names(kind: &dyn Kind) -> Result<(), Violation> {
    let name = kind.name();
    let word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
    let bounded = (1..=PROOF_MAX).contains(&kind.envelope_max());
    hold(kind.id().0 != 0 && word && !kind.unit().is_empty() && bounded, Violation::Names)
}

fn duties(kind: &dyn Kind, inputs: &Inputs, device: &Device) -> Result<(), Violation> {
    let duties = kind.duties(inputs, device);
    hold(kind.duties(inputs, device) == duties, Violation::DutiesVary)?;
    if let Ok(read) = Inputs::from_bytes(&inputs.to_bytes()) {
        hold(kind.duties(&read, device) == duties, Violation::DutiesVary)?;
    }
    hold(device.kind == kind.id() || duties.is_empty(), Violation::DutiesOfOthers)?;
    let ascend = duties.is_sorted_by(|a, b| (a.rail, a.index) < (b.rail, b.index));
    hold(ascend, Violation::DutiesOrder)?;
    let own = |duty: &Duty| {
        let rail = inputs.rail(duty.rail);
        rail.is_some_and(|rail| rail.device == device.id && inputs.is_live(rail))
    };
    hold(duties.iter().all(own), Violation::DutiesRail)?;
    let (first, last) = (inputs.first_height(), inputs.clock.last(inputs.epoch));
    let within = |duty: &Duty| first <= duty.from && duty.from <= duty.to && duty.to <= last;
    hold(duties.iter().all(within), Violation::DutiesWindow)
}

fn judgement(kind: &dyn Kind, scene: &Scene, device: &Device) -> Result<(), Violation> {
    let inputs = &scene.inputs;
    let duties = kind.duties(inputs, device);
    let judge = |evidence: &[Carried], all: &[Carried]| {
        let survey = kind.survey(inputs, all);
        kind.judge(&Case { inputs, device, duties: &duties, evidence, survey: &survey })
    };
    let own: Vec<Carried> = scene.of(device.id).cloned().collect();
    let finding = judge(&own, &scene.evidence);
    bounds(device, inputs, &duties, &finding)?;
    causes(&own, &finding)?;

    let mut turned = own.clone();
    turned.reverse();
    let mut all_turned = scene.evidence.clone();
    all_turned.reverse();
    hold(judge(&turned, &all_turned) == finding, Violation::Order)?;
    turned.sort_by_key(|carried| Digest::of(&carried.digest.0));
    hold(judge(&turned, &scene.evidence) == finding, Violation::Order)?;
    hold(judge(&scene.evidence, &scene.evidence) == finding, Violation::Others)?;

    let silent = judge(&[], &[]);
    bounds(device, inputs, &duties, &silent)?;
    causes(&[], &silent)?;
    let nothing = silent.units == 0
        && silent.faults.is_empty()
        && !silent.heard
        && silent.confirmations == 0
        && silent.duties.1 == 0;
    hold(nothing, Violation::Silence)?;
    hold(finding.heard || finding.units == 0, Violation::Silence)
}

fn bounds(
    device: &Device,
    inputs: &Inputs,
    duties: &[Duty],
    finding: &Finding,
) -> Result<(), Violation> {
    let fractions = finding.quality <= Ppm::ONE && finding.uniqueness <= Ppm::ONE;
    let sum = finding.uses.iter().try_fold(0u64, |sum, used| sum.checked_add(used.units));
    let ascend = finding.uses.is_sorted_by(|a, b| a.rail < b.rail);
    let own = finding
        .uses
        .iter()
        .all(|used| inputs.rail(used.rail).is_some_and(|rail| rail.device == device.id));
    let due = u32::try_from(duties.len()).unwrap_or(u32::MAX);
    hold(finding.device == device.id, Violation::Bounds("it is of another device"))?;
    hold(fractions, Violation::Bounds("a fraction is above 1"))?;
    hold(ascend && own, Violation::Bounds("uses are out of order or of other rails"))?;
    hold(sum == Some(finding.units), Violation::Bounds("units do not add up"))?;
    hold(
        finding.duties.0 == due && finding.duties.1 <= due,
        Violation::Bounds("more duties are met or due than there are"),
    )
}

fn causes(evidence: &[Carried], finding: &Finding) -> Result<(), Violation> {
    let known: BTreeSet<Digest> = evidence.iter().map(|carried| carried.digest).collect();
    let slashes = |reason: Reason| reason.effect() == Effect::Slashed;
    let there = |cause: &Cause| cause.evidence.iter().all(|digest| known.contains(digest));
    let all = || finding.causes.iter().chain(&finding.faults);
    hold(all().next().is_some(), Violation::Causes("the row has no reason"))?;
    hold(
        finding.faults.iter().all(|fault| slashes(fault.reason) && !fault.evidence.is_empty()),
        Violation::Causes("a fault does not slash or names no evidence"),
    )?;
    hold(
        finding.causes.iter().all(|cause| !slashes(cause.reason)),
        Violation::Causes("a cause slashes"),
    )?;
    hold(all().all(there), Violation::Causes("evidence is named that is not there"))
}

/// Numbers of units at which prices and stakes are compared, ascending.
const UNITS: [u64; 9] = [0, 1, 1_000, 1 << 20, 1 << 30, (1 << 30) + 1, 1 << 40, 1 << 62, u64::MAX];

/// A manifest that is the same but for the kind, which it does not have.
fn without(kind: &dyn Kind, manifest: &Manifest) -> Manifest {
    let mut without = manifest.clone();
    without.kinds.retain(|terms| terms.kind != kind.id());
    without
}

fn prices(kind: &dyn Kind, manifest: &Manifest) -> Result<(), Violation> {
    let none = without(kind, manifest);
    for usage in [Usage::Provided, Usage::Delivered] {
        let prices = UNITS.map(|units| kind.price(&usage(units), manifest));
        let free = UNITS.iter().all(|units| kind.price(&usage(*units), &none) == Micros::ZERO);
        let nothing = prices[0] == Micros::ZERO;
        hold(prices.is_sorted() && nothing && free, Violation::Price)?;
    }
    Ok(())
}

fn stakes(kind: &dyn Kind, manifest: &Manifest) -> Result<(), Violation> {
    let none = without(kind, manifest);
    for tier in 0..=3 {
        let offer = |capacity| Offer { capacity, tier, cell: 0 };
        let admitted = UNITS.iter().filter_map(|units| kind.admit(&offer(*units), manifest).ok());
        let stakes: Vec<_> = admitted.map(|admission| admission.stake).collect();
        let refused = UNITS.iter().all(|units| kind.admit(&offer(*units), &none).is_err());
        hold(stakes.is_sorted() && refused, Violation::Stake)?;
    }
    Ok(())
}
