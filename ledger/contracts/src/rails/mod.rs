//! Rails: deposits, and money reserved from one payer towards one payee (design 8).
//!
//! A payer's account in a network is charged with at most `open + closed`: the limits of its rails not
//! yet released, and the most that released ones can have cost. A rail counts until its end; the first
//! epoch settled after it pays vouchers once more, so that what was presented in the last epoch is not
//! lost, and after that nothing is ever paid. When ended rails with limits `L` are released against the
//! account's leaf of an epoch after their end, then
//! `closed = min(leaf.spent, closed + L)`: all that the released rails ever cost is part of the leaf's
//! spending, and never more than their limits. While other rails stay open, their own spending may keep
//! up to that much reserved twice; it comes free with their release.
//!
//! If settlement stands still until the rails' end and the epoch after it are void, they are released late:
//! less what the newest final leaf says was spent, and less the vouchers presented by transaction, so
//! `closed` grows by `min(L, leaf.spent + presented)`. No later root can ask for more: of the epochs in
//! which they count none can become final any more, and the first one that does pays only what the ledger
//! recorded. They stay listed until then, so that the payee gets it; the rest comes free by a leaf.
//!
//! Invariants: a payer's deposit covers all it can be charged with; the dollars held here cover all
//! deposits less what was claimed; a network's payers can always be charged with what its settlements
//! approved; a rail is released once.

mod accounts;
mod calls;
pub(crate) mod invariants;
mod state;
mod vault;

#[cfg(test)]
mod tests;

use crate::abi::IRails::{self, IRailsCalls};
use crate::context::Context;
use crate::dispatch::{decode, empty, returns};
use crate::env::Failure;
use alloy_primitives::U256;
use protocol::NetworkId;
pub(crate) use state::Rails;

/// Answers a call.
pub(crate) fn call(cx: &mut Context<'_>, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use IRailsCalls as C;
    let rails = Rails::new();
    Ok(match decode::<C>(input)? {
        C::deposit(c) => rails.deposit(cx, c.amount).map(empty)?,
        C::withdraw(c) => rails.withdraw(cx, c.amount).map(empty)?,
        C::open(c) => returns::<IRails::openCall>(&rails.open(cx, &c.rail)?),
        C::openMany(c) => returns::<IRails::openManyCall>(&rails.open_many(cx, &c.rails)?),
        C::topUp(c) => rails.top_up(cx, c.rail, c.limit).map(empty)?,
        C::close(c) => rails.close(cx, c.rail).map(empty)?,
        C::freeze(c) => rails.freeze(cx, &c.datasets).map(empty)?,
        C::present(c) => rails.present(cx, &c.voucher, &c.signature).map(empty)?,
        C::release(c) => rails.release(cx, &c).map(empty)?,
        C::releaseLate(c) => rails.release_late(cx, &c).map(empty)?,
        C::rail(c) => returns::<IRails::railCall>(&rails.find(cx, c.rail)?.into()),
        C::railCount(_) => returns::<IRails::railCountCall>(&rails.count.get(cx)?),
        C::openRailCount(c) => {
            let count = rails.live.at_key(cx, c.network)?.len(cx)?;
            returns::<IRails::openRailCountCall>(&count)
        }
        C::openRailAt(c) => {
            let rail = rails.live_at(cx, NetworkId(c.network), c.index)?;
            returns::<IRails::openRailAtCall>(&rail)
        }
        C::depositOf(c) => {
            let purse = rails.purses.get(cx, c.payer)?;
            let (deposited, reserved) = (U256::from(purse.deposited), U256::from(purse.reserved));
            returns::<IRails::depositOfCall>(&IRails::depositOfReturn { deposited, reserved })
        }
        C::accountOf(c) => {
            let account = rails.accounts.get2(cx, c.payer, c.network)?;
            returns::<IRails::accountOfCall>(&account.into())
        }
        C::dataset(c) => {
            rails.find(cx, c.rail)?;
            returns::<IRails::datasetCall>(&rails.datasets.get(cx, c.rail)?.into())
        }
        C::backing(c) => {
            let backing = rails.backing.get(cx, c.network)?;
            returns::<IRails::backingCall>(&U256::from(backing))
        }
    })
}
