//! Step 5, split: each rail's payment is divided by the manifest, once an epoch.
//!
//! The operator's part goes to the rail's payee, the burn's is set aside, the treasury's goes to the
//! treasury with what rounding leaves over. The stakers' parts of all payments of one class are pooled and
//! divided among the owners of the roster's devices by net stake, rounded down; what is left over, or
//! all of it if nobody has stake, goes to the treasury.

use super::{
    CLASS_MAX, SettleError, accounts::Changes, add, add_class, judge::Judged, pay::Payment,
};
use protocol::{Account, Micros, inputs::Inputs, leaf::Dollars, reward, units::mul_div};
use std::collections::BTreeMap;

/// Divides all payments.
pub(super) fn split(
    inputs: &Inputs,
    payments: &[Payment],
    judged: &mut [Judged],
    changes: &mut Changes,
) -> Result<(), SettleError> {
    let mut pools = Dollars::default();
    for payment in payments.iter().filter(|payment| !payment.now.is_zero()) {
        let rail = &inputs.rails[payment.rail];
        let parts = reward::split(payment.now, &inputs.manifest.split);
        changes.spend(rail.payer, payment.now)?;
        changes.earn(rail.payee, rail.class, parts.operator)?;
        changes.earn(inputs.treasury, rail.class, parts.treasury)?;
        add_class(&mut pools, rail.class, parts.stakers, "the stakers' parts")?;
        add(&mut changes.to_burn, parts.burn, "dollars to burn")?;
        if let Some(judged) = payment.device.and_then(|device| judged.get_mut(device)) {
            add(&mut judged.earned, parts.operator, "a device's earnings")?;
        }
    }
    let owners = owners(inputs, judged)?;
    for class in 0..=CLASS_MAX {
        divide(inputs, class, pool(&pools, class), &owners, changes)?;
    }
    Ok(())
}

/// The net stake of each owner on the roster.
fn owners(inputs: &Inputs, judged: &[Judged]) -> Result<BTreeMap<Account, u128>, SettleError> {
    let mut owners: BTreeMap<Account, u128> = BTreeMap::new();
    for (device, judged) in inputs.roster.iter().zip(judged) {
        if !judged.net_stake.is_zero() {
            let stake = owners.entry(device.owner).or_default();
            *stake =
                stake.checked_add(judged.net_stake.0).ok_or(SettleError::Overflow("the stakes"))?;
        }
    }
    Ok(owners)
}

fn divide(
    inputs: &Inputs,
    class: u8,
    pool: Micros,
    owners: &BTreeMap<Account, u128>,
    changes: &mut Changes,
) -> Result<(), SettleError> {
    if pool.is_zero() {
        return Ok(());
    }
    let total = owners
        .values()
        .try_fold(0u128, |sum, stake| sum.checked_add(*stake))
        .ok_or(SettleError::Overflow("the stakes"))?;
    let mut left = pool;
    for (owner, stake) in owners {
        let part = mul_div(u128::from(pool.0), *stake, total);
        // A part of the pool is at most the pool, which fits 64 bits.
        let part = Micros(u64::try_from(part).unwrap_or(pool.0)).min(left);
        left = left.saturating_sub(part);
        if !part.is_zero() {
            changes.earn(*owner, class, part)?;
        }
    }
    if left.is_zero() { Ok(()) } else { changes.earn(inputs.treasury, class, left) }
}

const fn pool(pools: &Dollars, class: u8) -> Micros {
    match class {
        0 => pools.cash,
        1 => pools.card,
        _ => pools.credit,
    }
}
