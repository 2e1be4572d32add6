//! Step 6, reward: tokens for devices that customers paid, and for presence in the beginning.
//!
//! The top-up of a payment is at most beta x its burn x quality x uniqueness, in tokens at the manifest's
//! price, times the cap of the device's tier; it goes to the device's owner. A rail to a service has no
//! top-up. Presence is paid per device and epoch until the manifest's date, to a device that may earn,
//! was heard, met all that was due and committed no fault, times the same cap. What is not granted stays
//! unissued. No more is granted in all than fits 128 bits: a manifest with huge figures must not keep an
//! epoch from being settled, as stakes and deposits wait for it.

use super::{
    SettleError, accounts::Changes, add_tokens, collect::Collected, judge::Judged, pay::Payment,
};
use protocol::{
    Ppm, Reason, Tokens,
    inputs::{Device, Inputs},
    reward,
    statement::{Cause, Statement},
};

/// Grants top-ups and presence.
pub(super) fn reward(
    inputs: &Inputs,
    previous: &Statement,
    payments: &[Payment],
    collected: &Collected,
    judged: &mut [Judged],
    changes: &mut Changes,
) -> Result<(), SettleError> {
    for payment in payments.iter().filter(|payment| !payment.now.is_zero()) {
        let Some(at) = payment.device else { continue };
        let (Some(device), Some(judged)) = (inputs.roster.get(at), judged.get_mut(at)) else {
            continue;
        };
        let burn = reward::split(payment.now, &inputs.manifest.split).burn;
        let (quality, uniqueness) = (judged.finding.quality, judged.finding.uniqueness);
        let full = reward::top_up(burn, quality, uniqueness, &inputs.manifest);
        let cap = inputs.manifest.tier_cap(device.tier);
        let granted = reward::scale(full, &[cap]);
        let capped = granted < full;
        let granted = granted.min(room(previous, changes));
        if capped {
            judged.causes.push(Cause::of(Reason::TierCap));
        }
        add_tokens(&mut judged.top_up, granted, "a device's top-up")?;
        add_tokens(&mut changes.topped_up, granted, "top-ups")?;
        changes.grant(device.owner, granted)?;
    }
    if inputs.epoch < inputs.manifest.bootstrap.until {
        for (device, judged) in inputs.roster.iter().zip(judged) {
            let faultless = !collected.conflicts.contains_key(&device.id);
            if faultless && deserves_presence(judged) {
                presence(inputs, device, judged, (previous, changes))?;
            }
        }
    }
    Ok(())
}

/// How much can still be granted.
fn room(previous: &Statement, changes: &Changes) -> Tokens {
    let totals = &previous.totals;
    [totals.topped_up, totals.bootstrapped, changes.topped_up, changes.bootstrapped]
        .into_iter()
        .fold(Tokens(u128::MAX), Tokens::saturating_sub)
}

fn deserves_presence(judged: &Judged) -> bool {
    let finding = &judged.finding;
    let (due, met) = finding.duties;
    judged.earns && finding.heard && met >= due && finding.faults.is_empty()
}

fn presence(
    inputs: &Inputs,
    device: &Device,
    judged: &mut Judged,
    (previous, changes): (&Statement, &mut Changes),
) -> Result<(), SettleError> {
    let cap = inputs.manifest.tier_cap(device.tier);
    let granted = reward::scale(inputs.manifest.bootstrap.per_device, &[cap]);
    let granted = granted.min(room(previous, changes));
    if cap < Ppm::ONE && !inputs.manifest.bootstrap.per_device.is_zero() {
        judged.causes.push(Cause::of(Reason::TierCap));
    }
    add_tokens(&mut judged.bootstrap, granted, "a device's pay for presence")?;
    add_tokens(&mut changes.bootstrapped, granted, "pay for presence")?;
    changes.grant(device.owner, granted)
}
