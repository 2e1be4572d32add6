//! Step 4, pay: what each rail pays in this epoch.
//!
//! A rail pays the new part of what was promised by voucher, then the lesser of its rate and the price of
//! the units proven on it; both together never more than what is left of its limit. In the first epoch
//! settled after its end it pays vouchers only. A rail of a device that may not earn, or that is not its
//! payee's any more, pays nothing. Where less is paid than was promised or proven, the device's row
//! says why.

use super::{
    Kinds, SettleError, add,
    judge::{Judged, place},
    vouchers::{self, Promise},
};
use protocol::{
    Micros, RailId, Reason,
    inputs::{Inputs, Rail},
    kind::Usage,
    statement::{Cause, RailState, Statement},
};
use std::collections::BTreeMap;

/// What one rail pays in this epoch.
pub(super) struct Payment {
    /// The rail's place among the inputs' rails.
    pub(super) rail: usize,
    /// The serving device's place in the roster; nothing for a rail to a service.
    pub(super) device: Option<usize>,
    /// What is paid now.
    pub(super) now: Micros,
    /// What the rail paid so far, now included.
    pub(super) state: RailState,
}

/// All rails, ascending by id.
pub(super) fn pay(
    kinds: Kinds<'_>,
    inputs: &Inputs,
    previous: &Statement,
    promised: &BTreeMap<RailId, Promise>,
    judged: &mut [Judged],
) -> Result<Vec<Payment>, SettleError> {
    let units = units(inputs, judged);
    let mut payments = Vec::with_capacity(inputs.rails.len());
    for (at, rail) in inputs.rails.iter().enumerate() {
        let device = place(inputs, rail.device);
        let earlier = RailState {
            rail: rail.id,
            by_rate: Micros::ZERO,
            by_voucher: Micros::ZERO,
            nonce: rail.nonce,
        };
        let earlier = previous.rail(rail.id).copied().unwrap_or(earlier);
        let mut payment = Payment { rail: at, device, now: Micros::ZERO, state: earlier };
        let of_device = device.and_then(|device| judged.get_mut(device));
        let (live, ended) = (inputs.is_live(rail), inputs.epoch > rail.expiry);
        let earns = of_device.as_ref().is_none_or(|judged| judged.earns);
        if vouchers::pays(inputs, previous, rail) && earns {
            let units = units.get(&rail.id).filter(|_| live);
            let worth = units.map(|units| worth(kinds, inputs, rail, *units));
            let causes = pay_one(rail, promised.get(&rail.id), worth, &mut payment)?;
            if let Some(judged) = of_device {
                add(&mut judged.paid, payment.now, "a device's pay")?;
                judged.causes.extend(causes);
            }
        } else if let Some(judged) = of_device {
            let sold = (!inputs.pays_owner(rail)).then_some(Reason::OtherOwner);
            let reason = ended.then_some(Reason::RailExpired).or(sold);
            judged.causes.extend(reason.map(|reason| Cause::on(reason, rail.id)));
        }
        payments.push(payment);
    }
    Ok(payments)
}

/// The units proven on each rail, of devices that serve it.
fn units(inputs: &Inputs, judged: &[Judged]) -> BTreeMap<RailId, u64> {
    let mut units = BTreeMap::new();
    for (device, judged) in inputs.roster.iter().zip(judged) {
        for used in &judged.finding.uses {
            let serves = inputs.rail(used.rail).is_some_and(|rail| rail.device == device.id);
            if serves && used.units > 0 {
                units.insert(used.rail, used.units);
            }
        }
    }
    units
}

/// What units proven on a rail are worth at the manifest's price.
fn worth(kinds: Kinds<'_>, inputs: &Inputs, rail: &Rail, units: u64) -> Micros {
    inputs
        .device(rail.device)
        .and_then(|device| kinds(device.kind))
        .map_or(Micros::ZERO, |kind| kind.price(&Usage::Provided(units), &inputs.manifest))
}

/// Pays one rail, and says why it is less than promised or proven.
fn pay_one(
    rail: &Rail,
    promise: Option<&Promise>,
    worth: Option<Micros>,
    payment: &mut Payment,
) -> Result<Vec<Cause>, SettleError> {
    let mut causes = Vec::new();
    let state = &mut payment.state;
    let paid = state.by_rate.saturating_add(state.by_voucher);
    let mut room = rail.limit.saturating_sub(paid);
    let mut short = false;
    if let Some(promise) = promise {
        let due = promise.amount.saturating_sub(state.by_voucher);
        let now = due.min(room);
        room = room.saturating_sub(now);
        short |= now < due;
        add(&mut state.by_voucher, now, "a rail's vouchers")?;
        add(&mut payment.now, now, "a rail's pay")?;
        if !now.is_zero() {
            state.nonce = promise.nonce.unwrap_or(state.nonce).max(state.nonce);
            let evidence = promise.evidence.into_iter().collect();
            causes.push(Cause { evidence, ..Cause::on(Reason::VoucherPaid, rail.id) });
        }
    }
    if let Some(worth) = worth {
        let due = worth.min(rail.rate);
        let now = due.min(room);
        short |= now < due;
        add(&mut state.by_rate, now, "a rail's rate")?;
        add(&mut payment.now, now, "a rail's pay")?;
        if worth > rail.rate {
            causes.push(Cause::on(Reason::RateCapped, rail.id));
        } else if worth.is_zero() {
            causes.push(Cause::on(Reason::Dust, rail.id));
        }
    }
    if short {
        causes.push(Cause::on(Reason::LimitReached, rail.id));
    }
    Ok(causes)
}
