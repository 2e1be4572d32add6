//! Stakes: tokens of a network that answer for a device's faults.
//!
//! Stake is bound by the device's owner, asked back (unbonding), and paid after the unbonding epochs of the
//! manifest that held when it was asked, against the owner's leaf of a final epoch not before the request.
//! The leaf says how much the owner lost to slashes since the beginning; what was not yet netted is taken
//! from the payment and destroyed.
//!
//! **Slashes are an owner's, here and in settlement**, not a device's: leaves know accounts only, and
//! whichever device's stake is withdrawn first pays what its owner owes. So settlement counts all stake of
//! an owner in a network as one whole, less what the owner lost and no withdrawal has paid yet, and divides
//! the rest over the devices by what is bound on each. A device changes hands without stake, so neither
//! stake nor debt goes with it.
//!
//! If settlement stands still, so that all epochs up to that of the request that are not final are void, the
//! newest final leaf is as good: no slash of the time in which the stake was bound can follow. A device that
//! was in no final epoch needs none then.
//!
//! Stake of a device that no inputs name yet (it was registered in this epoch, or retired before it
//! counted, or its network has not begun) has answered for nothing, and its owner may have no leaf: it is
//! paid as soon as it is asked back.
//!
//! Invariants: the tokens held here are at least all stake, bound and asked back; a slash is netted
//! once; no stake leaves without a leaf.

mod calls;
pub(crate) mod invariants;
mod state;

#[cfg(test)]
mod tests;

use crate::abi::IStakes::{self, IStakesCalls};
use crate::context::Context;
use crate::dispatch::{decode, empty, returns};
use crate::env::Failure;
use alloy_primitives::U256;
pub(crate) use state::Stakes;

/// Answers a call.
pub(crate) fn call(cx: &mut Context<'_>, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use IStakesCalls as C;
    let stakes = Stakes::new();
    Ok(match decode::<C>(input)? {
        C::stake(c) => stakes.stake(cx, c.device, c.amount).map(empty)?,
        C::unbond(c) => stakes.unbond(cx, c.device, c.amount).map(empty)?,
        C::withdraw(c) => {
            let paid = stakes.withdraw(cx, &c)?;
            returns::<IStakes::withdrawCall>(&U256::from(paid))
        }
        C::stakeOf(c) => {
            let bound = stakes.bound.get(cx, c.device)?;
            returns::<IStakes::stakeOfCall>(&U256::from(bound))
        }
        C::unbonding(c) => {
            let request = stakes.requests.get(cx, c.device)?;
            let (amount, epoch) = (U256::from(request.amount), request.epoch);
            returns::<IStakes::unbondingCall>(&IStakes::unbondingReturn { amount, epoch })
        }
        C::slashed(c) => {
            let slashed = stakes.netted.get2(cx, c.network, c.owner)?;
            returns::<IStakes::slashedCall>(&U256::from(slashed))
        }
        C::total(c) => {
            let totals = stakes.totals.get(cx, c.network)?;
            returns::<IStakes::totalCall>(&U256::from(totals.held))
        }
    })
}
