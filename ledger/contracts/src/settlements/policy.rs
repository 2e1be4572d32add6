//! What totals must satisfy before a root can be final: conservation, backing, and the manifest.

use super::state::Outcome;
use crate::abi::ISettlements::{
    BurnedTooLittle, ClassNotBacked, GrantedTooMuch, NotBacked, NotConserved, SlashedTooMuch,
    TotalsFell, VestedTooMuch,
};
use crate::context::{Checked as _, Context};
use crate::devices::Devices;
use crate::env::{Failure, ensure};
use crate::networks::Networks;
use crate::rails::Rails;
use crate::stakes::Stakes;
use alloy_primitives::U256;
use protocol::manifest::Manifest;
use protocol::reward::tokens_worth;
use protocol::units::mul_div;
use protocol::{Epoch, Micros, NetworkId, Ppm};

/// Payments of one rail in one epoch, each of which may round its burn down by less than a millionth.
const PAYMENTS_PER_RAIL: u128 = 4;
/// The numbers of the classes that do not exist yet.
const CARD: u8 = 1;
const CREDIT: u8 = 2;

/// Checks the totals `after` an epoch against those `before` it.
pub(super) fn check(
    cx: &mut Context<'_>,
    (network, epoch): (NetworkId, Epoch),
    before: &Outcome,
    after: &Outcome,
) -> Result<(), Failure> {
    let id = network.0;
    ensure!(!fell(before, after), TotalsFell { network: id });
    let (spent, backing) = (after.spent, Rails::new().backing.get(cx, id)?);
    let accounted = after.cash.plus(after.card)?.plus(after.credit)?.plus(after.burned)?;
    let conserved = spent == accounted;
    ensure!(conserved, NotConserved { spent: U256::from(spent), accounted: U256::from(accounted) });
    let error = NotBacked { spent: U256::from(spent), backing: U256::from(backing) };
    ensure!(spent <= backing, error);
    ensure!(after.card == 0, ClassNotBacked { class: CARD });
    ensure!(after.credit == 0, ClassNotBacked { class: CREDIT });

    let stakes = Stakes::new().totals.get(cx, id)?;
    let staked = stakes.held.plus(stakes.netted)?;
    let error = SlashedTooMuch { slashed: U256::from(after.slashed), staked: U256::from(staked) };
    ensure!(after.slashed <= staked, error);

    let manifest = Networks::new().manifest(cx, network, epoch)?;
    check_burn(cx, &manifest, before, after)?;
    let devices = Devices::new().registered.get(cx, id)?;
    check_grants(&manifest, (epoch, devices), before, after)
}

/// Whether any total is lower than before.
const fn fell(before: &Outcome, after: &Outcome) -> bool {
    after.vested < before.vested
        || after.cash < before.cash
        || after.card < before.card
        || after.credit < before.credit
        || after.spent < before.spent
        || after.burned < before.burned
        || after.slashed < before.slashed
        || after.topped_up < before.topped_up
        || after.bootstrapped < before.bootstrapped
}

/// The manifest's share of what was spent in this epoch was set aside to burn, but for rounding.
fn check_burn(
    cx: &mut Context<'_>,
    manifest: &Manifest,
    before: &Outcome,
    after: &Outcome,
) -> Result<(), Failure> {
    let spent = after.spent.minus(before.spent)?;
    let burned = after.burned.minus(before.burned)?;
    let share = mul_div(spent, u128::from(manifest.split.burn.0), u128::from(Ppm::ONE.0));
    let rounding = u128::from(Rails::new().count.get(cx)?) * PAYMENTS_PER_RAIL;
    let least = share.saturating_sub(rounding);
    let error = BurnedTooLittle { burned: U256::from(burned), least: U256::from(least) };
    ensure!(burned >= least, error);
    Ok(())
}

/// Top-ups stay below beta times the burn, pay for presence below its rate, and nothing vests that was
/// not granted.
fn check_grants(
    manifest: &Manifest,
    (epoch, devices): (Epoch, u64),
    before: &Outcome,
    after: &Outcome,
) -> Result<(), Failure> {
    let burned = after.burned.minus(before.burned)?;
    let burned = Micros(u64::try_from(burned).unwrap_or(u64::MAX));
    let most = tokens_worth(burned.share(manifest.beta), manifest.token_price).0;
    granted(after.topped_up.minus(before.topped_up)?, most)?;
    let presence = if epoch < manifest.bootstrap.until {
        manifest.bootstrap.per_device.0.saturating_mul(u128::from(devices))
    } else {
        0
    };
    granted(after.bootstrapped.minus(before.bootstrapped)?, presence)?;
    let all = after.topped_up.plus(after.bootstrapped)?;
    let error = VestedTooMuch { vested: U256::from(after.vested), granted: U256::from(all) };
    ensure!(after.vested <= all, error);
    Ok(())
}

fn granted(grant: u128, most: u128) -> Result<(), Failure> {
    let error = GrantedTooMuch { granted: U256::from(grant), most: U256::from(most) };
    ensure!(grant <= most, error);
    Ok(())
}
