//! Settlements: the clock of epochs, announced inputs, votes on roots, and claims (design 8 and 9).
//!
//! An epoch is a range of heights. Validators announce the hash of its inputs file, and after its grace
//! vote on the outcome; 2/3 of the seats make either final. A vote that breaks conservation or the
//! manifest's policy is refused (`policy.rs`). A final root is claimable one epoch later: any account
//! takes what its cumulative leaf says beyond what it took before.
//!
//! **Void epochs.** An epoch that is not final [`OPEN_EPOCHS`] epochs after its own is void: it can never
//! become final, its evidence pays and costs nothing, and settlement goes on with the first epoch that is
//! not void, from the last final statement. Two things hang on it. What a payer reserved for an epoch can
//! be freed once the epoch is void, as no later root can ask for it (`rails`). And no epoch that cannot be
//! settled, whatever the cause, holds the money of a network for good. It is a matter of heights alone, so
//! that nobody can void an epoch in order not to pay for it; who wants to has to hold a third of the seats
//! for that long, and who holds them can withhold every root anyway.
//!
//! **Who votes.** The committee of the next term (design 9): the first choice made for an epoch begins a
//! *round* of the committee that follows the running one, which is elected already. If that committee has
//! not decided when its own term and one more are over ([`ROUND_TERMS`]), the next choice begins a new
//! round, of the committee then next, with nothing counted. So no committee that lost its validators holds
//! an epoch open, and nobody votes with seats that were given up long ago. Inputs and outcome of an epoch
//! are decided in rounds of their own; what is decided stays.
//!
//! Invariants: epochs of a network become final one after another, each once; totals never fall; what is
//! claimed of an asset never exceeds what was approved; ballots of different rounds are never added.

mod calls;
mod claims;
pub(crate) mod invariants;
mod leaves;
mod policy;
mod state;

#[cfg(test)]
mod tests;

use crate::abi::ISettlements::{self, ISettlementsCalls};
use crate::context::Context;
use crate::dispatch::{decode, empty, returns};
use crate::env::Failure;
use crate::validators::Validators;
use alloy_primitives::U256;
pub(crate) use calls::OPEN_EPOCHS;
#[cfg(any(test, doc))]
pub(crate) use calls::ROUND_TERMS;
use protocol::{Epoch, NetworkId};
pub(crate) use state::{Clock, Settlements};

/// Answers a call.
pub(crate) fn call(cx: &mut Context<'_>, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use ISettlementsCalls as C;
    let settlements = Settlements::new();
    Ok(match decode::<C>(input)? {
        C::announce(c) => {
            settlements.announce(cx, NetworkId(c.network), Epoch(c.epoch), c.inputs).map(empty)?
        }
        C::vote(c) => {
            settlements.vote(cx, NetworkId(c.network), Epoch(c.epoch), &c.outcome).map(empty)?
        }
        C::claim(c) => {
            let paid = settlements.claim(cx, Epoch(c.epoch), &c.leaf, &c.proof)?;
            let (vested, cash) = (U256::from(paid.vested), U256::from(paid.cash));
            returns::<ISettlements::claimCall>(&ISettlements::claimReturn { vested, cash })
        }
        C::root(c) => {
            let outcome = settlements.outcomes.get2(cx, c.network, c.epoch)?;
            returns::<ISettlements::rootCall>(&outcome.root)
        }
        C::finalEpoch(c) => {
            let last = settlements.finals.get(cx, c.network)?;
            let (any, epoch) = (last.any, last.epoch);
            returns::<ISettlements::finalEpochCall>(&ISettlements::finalEpochReturn { any, epoch })
        }
        C::nextEpoch(c) => {
            let next = settlements.next_epoch(cx, NetworkId(c.network))?;
            returns::<ISettlements::nextEpochCall>(&next.0)
        }
        C::finalBefore(c) => {
            let before = settlements.final_before(cx, NetworkId(c.network), Epoch(c.epoch))?;
            let (any, epoch) = (before.any, before.epoch);
            returns::<ISettlements::finalBeforeCall>(&ISettlements::finalBeforeReturn {
                any,
                before: epoch,
            })
        }
        C::inputs(c) => {
            let inputs = settlements.inputs.get2(cx, c.network, c.epoch)?;
            returns::<ISettlements::inputsCall>(&inputs)
        }
        C::outcome(c) => {
            let outcome = settlements.outcomes.get2(cx, c.network, c.epoch)?;
            returns::<ISettlements::outcomeCall>(&outcome.into())
        }
        C::claimed(c) => {
            let taken = settlements.taken.get2(cx, c.network, c.account)?;
            let (vested, cash) = (U256::from(taken.vested), U256::from(taken.cash));
            returns::<ISettlements::claimedCall>(&ISettlements::claimedReturn { vested, cash })
        }
        C::claimedTotal(c) => {
            let taken = settlements.claimed(cx, NetworkId(c.network))?;
            let (vested, cash) = (U256::from(taken.vested), U256::from(taken.cash));
            let totals = ISettlements::claimedTotalReturn { vested, cash };
            returns::<ISettlements::claimedTotalCall>(&totals)
        }
        C::toBurn(c) => {
            let burned = settlements.latest(cx, NetworkId(c.network))?.burned;
            returns::<ISettlements::toBurnCall>(&U256::from(burned))
        }
        committee => return call_committee(cx, &settlements, committee),
    })
}

/// Answers a call about the clock or the committee.
fn call_committee(
    cx: &mut Context<'_>,
    settlements: &Settlements,
    call: ISettlementsCalls,
) -> Result<Vec<u8>, Failure> {
    use ISettlementsCalls as C;
    Ok(match call {
        C::ballotOf(c) => {
            let epoch = (NetworkId(c.network), Epoch(c.epoch));
            let kept = (&settlements.voting, &settlements.ballots);
            let ballot = settlements.choice_of(cx, kept, epoch, c.validator)?;
            returns::<ISettlements::ballotOfCall>(&ballot)
        }
        C::announcementOf(c) => {
            let epoch = (NetworkId(c.network), Epoch(c.epoch));
            let kept = (&settlements.announcing, &settlements.announced);
            let choice = settlements.choice_of(cx, kept, epoch, c.validator)?;
            returns::<ISettlements::announcementOfCall>(&choice)
        }
        C::voters(c) => {
            let epoch = (NetworkId(c.network), Epoch(c.epoch));
            let announcing = settlements.round(cx, &settlements.announcing, epoch)?.term;
            let voting = settlements.round(cx, &settlements.voting, epoch)?.term;
            let terms = ISettlements::votersReturn { announcing, voting };
            returns::<ISettlements::votersCall>(&terms)
        }
        C::seats(c) => {
            let validators = Validators::new();
            let next = validators.term(cx)?.saturating_add(1);
            let held = validators.seats_of(cx, next, c.validator)?;
            let total = validators.all_seats(cx, next)?;
            returns::<ISettlements::seatsCall>(&ISettlements::seatsReturn { held, total })
        }
        C::clock(_) => {
            let Clock { length, grace, .. } = settlements.clock(cx)?;
            returns::<ISettlements::clockCall>(&ISettlements::clockReturn { length, grace })
        }
        C::currentEpoch(_) => {
            let epoch = settlements.current_epoch(cx)?;
            returns::<ISettlements::currentEpochCall>(&epoch.0)
        }
        C::disputeWindow(_) => {
            let dispute = settlements.clock(cx)?.dispute;
            returns::<ISettlements::disputeWindowCall>(&dispute)
        }
        other => {
            use crate::abi::ISystem::UnknownSelector;
            use alloy_sol_types::SolInterface as _;
            return Err(UnknownSelector { selector: other.selector().into() }.into());
        }
    })
}
