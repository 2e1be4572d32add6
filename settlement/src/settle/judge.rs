//! Step 2, judge: what each device of the roster did, and whether it may earn.
//!
//! A device earns if its kind admits its offer and its *net stake* (the stake on the ledger less what
//! earlier statements took, [`super::stake`]) covers what the kind demands. One that may not earn is judged all the same:
//! its faults cost stake, its row says what it did.

use super::{Kinds, collect::Collected};
use protocol::{
    DeviceId, KindId, Micros, Reason, Tokens,
    inputs::{Device, Inputs},
    kind::{Case, Finding, Kind, Offer, Survey},
    statement::Cause,
};
use std::collections::BTreeMap;

/// What is known of a device, and what later steps add to its row.
pub(super) struct Judged {
    /// The judge's finding; empty if no judge knows the kind.
    pub(super) finding: Finding,
    /// Its part of its owner's stake, less what earlier statements took.
    pub(super) net_stake: Tokens,
    /// Whether it may earn in this epoch.
    pub(super) earns: bool,
    /// What customers paid.
    pub(super) paid: Micros,
    /// The owner's part of it.
    pub(super) earned: Micros,
    /// The top-up granted.
    pub(super) top_up: Tokens,
    /// Pay for presence granted.
    pub(super) bootstrap: Tokens,
    /// Stake taken in this epoch.
    pub(super) slashed: Tokens,
    /// Epochs without a sign of life while something was due, this one included.
    pub(super) absent: u32,
    /// Why, beyond the finding's causes and faults.
    pub(super) causes: Vec<Cause>,
}

/// Judges all devices of the roster, in its order, which is that of `stakes`.
pub(super) fn judge(
    kinds: Kinds<'_>,
    inputs: &Inputs,
    stakes: &[Tokens],
    collected: &Collected,
) -> Vec<Judged> {
    let mut surveys: BTreeMap<KindId, Option<(&'static dyn Kind, Survey)>> = BTreeMap::new();
    let mut judged = Vec::with_capacity(inputs.roster.len());
    for (device, net_stake) in inputs.roster.iter().zip(stakes) {
        let known = surveys.entry(device.kind).or_insert_with(|| {
            let kind = kinds(device.kind).filter(|kind| inputs.manifest.terms(kind.id()).is_some());
            kind.map(|kind| (kind, kind.survey(inputs, &collected.carried)))
        });
        let known = known.as_ref().map(|(kind, survey)| (*kind, survey));
        judged.push(judge_one(inputs, *net_stake, collected, (device, known)));
    }
    judged
}

fn judge_one(
    inputs: &Inputs,
    net_stake: Tokens,
    collected: &Collected,
    (device, known): (&Device, Option<(&'static dyn Kind, &Survey)>),
) -> Judged {
    let evidence = collected.of(device.id);
    let barred = match known {
        None => Some(Reason::NotAdmitted),
        Some((kind, _)) => barred(kind, inputs, device, net_stake),
    };
    let finding = known.map_or_else(
        || Finding { device: device.id, heard: !evidence.is_empty(), ..Finding::default() },
        |(kind, survey)| {
            let duties = kind.duties(inputs, device);
            kind.judge(&Case { inputs, device, duties: &duties, evidence, survey })
        },
    );
    Judged {
        finding,
        net_stake,
        earns: barred.is_none(),
        paid: Micros::ZERO,
        earned: Micros::ZERO,
        top_up: Tokens::ZERO,
        bootstrap: Tokens::ZERO,
        slashed: Tokens::ZERO,
        absent: 0,
        causes: barred.into_iter().map(Cause::of).collect(),
    }
}

/// Why the device may not earn, if so.
fn barred(kind: &dyn Kind, inputs: &Inputs, device: &Device, net_stake: Tokens) -> Option<Reason> {
    let offer = Offer { capacity: device.capacity, tier: device.tier, cell: device.cell };
    match kind.admit(&offer, &inputs.manifest) {
        Err(reason) => Some(reason),
        Ok(admission) => (net_stake < admission.stake).then_some(Reason::Understaked),
    }
}

/// The place of a device in the roster, which is its place among the judged.
pub(super) fn place(inputs: &Inputs, device: DeviceId) -> Option<usize> {
    inputs.roster.binary_search_by_key(&device, |device| device.id).ok()
}
