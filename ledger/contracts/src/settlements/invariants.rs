//! What always holds for settlements.

use super::state::{Outcome, Settlements};
use crate::address::SETTLEMENTS;
use crate::context::Context;
use crate::invariants::{Broken, holds, sum};
use crate::networks::Networks;
use alloy_primitives::{Address, U256};
use protocol::{Epoch, NetworkId};
use std::collections::BTreeSet;

/// Decided epochs are in order, claims stay within what is claimable, outcomes conserve dollars, and the
/// coin held is that of open disputes.
pub(crate) fn check(cx: &mut Context<'_>, accounts: &BTreeSet<Address>) -> Result<(), Broken> {
    let settlements = Settlements::new();
    let mut bonds = U256::ZERO;
    for network in Networks::new().all(cx)? {
        check_finals(cx, &settlements, network)?;
        let course = settlements.courses.get(cx, network.0)?;
        if course.open {
            let dispute = settlements.disputes.get2(cx, network.0, course.disputed)?;
            bonds = sum([bonds, U256::from(dispute.bond)])?;
            let (last, now) = (settlements.last_final(cx, network)?, cx.epoch()?);
            let before = last.is_none_or(|last| last.0 < course.disputed);
            let disputed = course.disputed;
            holds!(before || !course.is_disputed(now), "network {network}: {disputed} is decided");
        }
        let outcome = settlements.latest(cx, network)?;
        let accounted = outcome.cash + outcome.card + outcome.credit + outcome.burned;
        holds!(outcome.spent == accounted, "network {network}: {accounted} accounted");
        let total = settlements.claimed(cx, network)?;
        let newest = Epoch(settlements.approved.get(cx, network.0)?);
        let approved = match settlements.standing(cx, network, newest)? {
            Some(outcome) if settlements.is_claimable(cx, network, &outcome)? => outcome,
            _ => Outcome::default(),
        };
        holds!(total.vested <= approved.vested, "network {network}: tokens claimed {total:?}");
        holds!(total.cash <= approved.cash, "network {network}: dollars claimed {total:?}");
        let (mut vested, mut cash) = (U256::ZERO, U256::ZERO);
        for account in accounts {
            let taken = settlements.taken.get2(cx, network.0, *account)?;
            vested = sum([vested, U256::from(taken.vested)])?;
            cash = sum([cash, U256::from(taken.cash)])?;
        }
        let agree = vested == U256::from(total.vested) && cash == U256::from(total.cash);
        holds!(agree, "network {network}: accounts took {vested} and {cash}, not {total:?}");
    }
    let held = cx.coin(SETTLEMENTS)?;
    holds!(held >= bonds, "{bonds} coin of dissenters, {held} held");
    Ok(())
}

/// Decided epochs ascend, know their places, and their windows begin in the same order.
fn check_finals(
    cx: &mut Context<'_>,
    settlements: &Settlements,
    network: NetworkId,
) -> Result<(), Broken> {
    let mut before: Option<(u64, u64)> = None;
    let finals = settlements.finals.at_key(cx, network.0)?.all(cx)?;
    for (place, epoch) in (0u64..).zip(finals) {
        let Outcome { index, decided, .. } = settlements.outcomes.get2(cx, network.0, epoch)?;
        holds!(index == place, "network {network}: epoch {epoch} in place {place}, says {index}");
        let ascends = before.is_none_or(|(last, start)| last < epoch && start <= decided);
        holds!(ascends, "network {network}: epoch {epoch} decided at {decided} after {before:?}");
        before = Some((epoch, decided));
    }
    Ok(())
}
