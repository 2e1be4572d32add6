//! What always holds for settlements.

use super::state::Settlements;
use crate::context::Context;
use crate::invariants::{Broken, holds, sum};
use crate::networks::Networks;
use alloy_primitives::{Address, U256};
use std::collections::BTreeSet;

/// Claims stay within what was approved, and outcomes conserve dollars.
pub(crate) fn check(cx: &mut Context<'_>, accounts: &BTreeSet<Address>) -> Result<(), Broken> {
    let settlements = Settlements::new();
    for network in Networks::new().all(cx)? {
        let outcome = settlements.latest(cx, network)?;
        let last = settlements.finals.get(cx, network.0)?;
        holds!(outcome.settled == last.any, "network {network}: final without an outcome");
        holds!(outcome.spent == last.spent, "network {network}: {} spent", last.spent);
        let accounted = outcome.cash + outcome.card + outcome.credit + outcome.burned;
        holds!(outcome.spent == accounted, "network {network}: {accounted} accounted");
        let total = settlements.claimed(cx, network)?;
        holds!(total.vested <= outcome.vested, "network {network}: tokens claimed {total:?}");
        holds!(total.cash <= outcome.cash, "network {network}: dollars claimed {total:?}");
        let (mut vested, mut cash) = (U256::ZERO, U256::ZERO);
        for account in accounts {
            let taken = settlements.taken.get2(cx, network.0, *account)?;
            vested = sum([vested, U256::from(taken.vested)])?;
            cash = sum([cash, U256::from(taken.cash)])?;
        }
        let agree = vested == U256::from(total.vested) && cash == U256::from(total.cash);
        holds!(agree, "network {network}: accounts took {vested} and {cash}, not {total:?}");
    }
    Ok(())
}
