//! Step 7, slash: what objective faults cost, by the manifest's table.
//!
//! Faults are the kind's (false proofs, selective misses), two payloads under one identity, and an absence
//! beyond the allowance. Each reason costs its share of the device's net stake once an epoch, however many
//! times it occurred; several reasons add up, and never to more than the net stake. The owner loses it:
//! what is kept of a device itself is a figure for people.
//!
//! *Absence*: an epoch in which something was due and nothing was heard counts as absent; one in which
//! the device was heard ends the count; one in which nothing was due changes nothing. A device that once
//! served paid data is slashed in the epoch in which the count first exceeds the allowance, and not again
//! before it was heard. Shorter silence costs pay, never stake.

use super::{SettleError, accounts::Changes, add_tokens, collect::Collected, judge::Judged};
use protocol::{
    DeviceId, Ppm, Reason, Tokens,
    inputs::Inputs,
    manifest::Slashes,
    statement::{Cause, DeviceState, Statement},
};
use std::collections::BTreeSet;

/// Takes stake, and counts absences.
pub(super) fn slash(
    inputs: &Inputs,
    previous: &Statement,
    collected: &Collected,
    judged: &mut [Judged],
    changes: &mut Changes,
) -> Result<(), SettleError> {
    for (device, judged) in inputs.roster.iter().zip(judged) {
        let mut faults = std::mem::take(&mut judged.finding.faults);
        faults.extend(collected.conflicts.get(&device.id).into_iter().flatten().cloned());
        let earlier = previous.device(device.id);
        judged.absent = absent(earlier, judged);
        let allowance = u32::from(inputs.manifest.evidence.absence_epochs);
        let served = earlier.is_some_and(|state| state.served);
        let exceeded = judged.absent == allowance.saturating_add(1)
            && earlier.map_or(0, |state| state.absent) == allowance;
        if served && exceeded {
            faults.push(Cause::of(Reason::LongAbsence));
        }
        let amount = cost(&inputs.manifest.slashes, &faults, judged.net_stake);
        judged.slashed = amount;
        judged.finding.faults = faults;
        add_tokens(&mut changes.slashed, amount, "slashes")?;
        changes.lose(device.owner, amount)?;
    }
    Ok(())
}

/// Consecutive absences, this epoch included.
fn absent(earlier: Option<&DeviceState>, judged: &Judged) -> u32 {
    let before = earlier.map_or(0, |state| state.absent);
    match (judged.finding.heard, judged.finding.duties.0) {
        (true, _) => 0,
        (false, 0) => before,
        (false, _) => before.saturating_add(1),
    }
}

/// What faults cost of a net stake.
fn cost(table: &Slashes, faults: &[Cause], net_stake: Tokens) -> Tokens {
    let reasons: BTreeSet<Reason> = faults.iter().map(|fault| fault.reason).collect();
    let sum: Tokens = reasons.into_iter().map(|reason| net_stake.share(share(table, reason))).sum();
    sum.min(net_stake)
}

/// The table's share for a reason; reasons that are no faults cost nothing.
const fn share(table: &Slashes, reason: Reason) -> Ppm {
    match reason {
        Reason::ConflictingPayloads => table.conflicting_payloads,
        Reason::FalseProof => table.false_proof,
        Reason::SelectiveMiss => table.selective_miss,
        Reason::LongAbsence => table.long_absence,
        _ => Ppm::ZERO,
    }
}

/// What is remembered of a device after this epoch, if anything.
pub(super) fn remembered(
    device: DeviceId,
    earlier: Option<&DeviceState>,
    judged: &Judged,
) -> Option<DeviceState> {
    let before = earlier.map_or(Tokens::ZERO, |state| state.slashed);
    let state = DeviceState {
        device,
        slashed: before.saturating_add(judged.slashed),
        absent: judged.absent,
        served: earlier.is_some_and(|state| state.served) || !judged.paid.is_zero(),
    };
    let blank = DeviceState { device, slashed: Tokens::ZERO, absent: 0, served: false };
    (state != blank).then_some(state)
}
