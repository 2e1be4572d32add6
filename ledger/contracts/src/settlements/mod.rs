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

mod announce;
mod claims;
mod course;
mod disputes;
pub(crate) mod invariants;
mod leaves;
mod policy;
mod rounds;
mod state;

#[cfg(test)]
mod tests;

use crate::abi::ISettlements::{self, ISettlementsCalls, dissentCall};
use crate::context::Context;
use crate::dispatch::{decode, empty, returns};
use crate::env::Failure;
use crate::validators::Validators;
use alloy_primitives::U256;
use alloy_sol_types::SolCall as _;
#[cfg(any(test, doc))]
pub(crate) use announce::HEARING_TERMS;
#[cfg(any(test, doc))]
pub(crate) use course::OPEN_EPOCHS;
use protocol::{Epoch, NetworkId};
pub(crate) use state::{Clock, Settlements};

/// Whether an input calls a function that takes coin.
pub(crate) fn takes_coin(input: &[u8]) -> bool {
    input.starts_with(&dissentCall::SELECTOR)
}

/// Answers a call.
pub(crate) fn call(cx: &mut Context<'_>, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use ISettlementsCalls as C;
    let settlements = Settlements::new();
    let of = |network: u64, epoch: u64| (NetworkId(network), Epoch(epoch));
    Ok(match decode::<C>(input)? {
        C::announce(c) => {
            settlements.announce(cx, NetworkId(c.network), Epoch(c.epoch), c.inputs).map(empty)?
        }
        C::commit(c) => {
            settlements.commit(cx, of(c.network, c.epoch), c.round, c.ballot).map(empty)?
        }
        C::reveal(c) => {
            settlements.reveal(cx, of(c.network, c.epoch), &c.outcome, c.salt).map(empty)?
        }
        C::dissent(c) => settlements.dissent(cx, of(c.network, c.epoch), &c.outcome).map(empty)?,
        C::endDispute(c) => {
            settlements.end_dispute(cx, NetworkId(c.network), Epoch(c.epoch)).map(empty)?
        }
        C::fine(c) => settlements.fine(cx, of(c.network, c.epoch), c.round, c.seat).map(empty)?,
        C::claim(c) => {
            let paid = settlements.claim(cx, Epoch(c.epoch), &c.leaf, &c.proof)?;
            let (vested, cash) = (U256::from(paid.vested), U256::from(paid.cash));
            returns::<ISettlements::claimCall>(&ISettlements::claimReturn { vested, cash })
        }
        view => return call_decided(cx, &settlements, view),
    })
}

/// Answers a call about what was decided, and claims.
fn call_decided(
    cx: &mut Context<'_>,
    settlements: &Settlements,
    call: ISettlementsCalls,
) -> Result<Vec<u8>, Failure> {
    use ISettlementsCalls as C;
    Ok(match call {
        C::root(c) => {
            let outcome = settlements.standing(cx, NetworkId(c.network), Epoch(c.epoch))?;
            returns::<ISettlements::rootCall>(&outcome.unwrap_or_default().root)
        }
        C::outcome(c) => {
            let outcome = settlements.standing(cx, NetworkId(c.network), Epoch(c.epoch))?;
            returns::<ISettlements::outcomeCall>(&outcome.unwrap_or_default().into())
        }
        C::finalEpoch(c) => {
            let last = settlements.last_final(cx, NetworkId(c.network))?;
            let (any, epoch) = (last.is_some(), last.map_or(0, |last| last.0));
            returns::<ISettlements::finalEpochCall>(&ISettlements::finalEpochReturn { any, epoch })
        }
        C::finalBefore(c) => {
            let found = settlements.final_before(cx, NetworkId(c.network), Epoch(c.epoch))?;
            let (any, before) = (found.is_some(), found.map_or(0, |found| found.0));
            let answer = ISettlements::finalBeforeReturn { any, before };
            returns::<ISettlements::finalBeforeCall>(&answer)
        }
        C::nextEpoch(c) => {
            let next = settlements.next_epoch(cx, NetworkId(c.network))?;
            returns::<ISettlements::nextEpochCall>(&next.0)
        }
        C::claimableFrom(c) => {
            let from = settlements.claimable_from(cx, NetworkId(c.network), Epoch(c.epoch))?;
            returns::<ISettlements::claimableFromCall>(&from.unwrap_or_default())
        }
        C::claimableEpoch(c) => {
            let found = settlements.claimable_epoch(cx, NetworkId(c.network))?;
            let (any, epoch) = (found.is_some(), found.map_or(0, |found| found.0));
            let answer = ISettlements::claimableEpochReturn { any, epoch };
            returns::<ISettlements::claimableEpochCall>(&answer)
        }
        C::inputs(c) => {
            let inputs = settlements.inputs.get2(cx, c.network, c.epoch)?;
            returns::<ISettlements::inputsCall>(&inputs)
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
            let burned = match settlements.claimable_epoch(cx, NetworkId(c.network))? {
                Some(epoch) => settlements.outcomes.get2(cx, c.network, epoch.0)?.burned,
                None => 0,
            };
            returns::<ISettlements::toBurnCall>(&U256::from(burned))
        }
        votes => return call_votes(cx, settlements, votes),
    })
}

/// Answers a call about votes and disputes.
fn call_votes(
    cx: &mut Context<'_>,
    settlements: &Settlements,
    call: ISettlementsCalls,
) -> Result<Vec<u8>, Failure> {
    use ISettlementsCalls as C;
    Ok(match call {
        C::ballotHash(c) => {
            let place = (NetworkId(c.network), Epoch(c.epoch), c.round);
            let choice = rounds::choice(cx, &c.outcome)?;
            let ballot = settlements.ballot(cx, place, c.validator, (choice, c.salt))?;
            returns::<ISettlements::ballotHashCall>(&ballot)
        }
        C::roundOf(c) => {
            let round = settlements.round(cx, NetworkId(c.network), Epoch(c.epoch))?;
            let span = settlements.span(cx)?;
            let until = if round.opened == 0 { 0 } else { round.revealed_until(span) };
            returns::<ISettlements::roundOfCall>(&ISettlements::Round {
                number: round.number,
                term: round.term,
                opened: round.opened,
                commitsUntil: round.closed,
                revealsUntil: until,
            })
        }
        C::voteOf(c) => {
            let epoch = (NetworkId(c.network), Epoch(c.epoch));
            let vote = settlements.votes(cx, epoch, c.round)?.get(cx, c.validator)?;
            let (ballot, choice) = (vote.ballot, vote.choice);
            returns::<ISettlements::voteOfCall>(&ISettlements::voteOfReturn { ballot, choice })
        }
        C::disputeOf(c) => {
            let course = settlements.courses.get(cx, c.network)?;
            let dispute = settlements.disputes.get2(cx, c.network, c.epoch)?;
            returns::<ISettlements::disputeOfCall>(&ISettlements::disputeOfReturn {
                dissenter: dispute.dissenter,
                bond: U256::from(dispute.bond),
                disputed: dispute.disputed,
                choice: dispute.choice,
                open: course.open && course.disputed == c.epoch,
            })
        }
        C::rulingOf(c) => {
            let of = settlements.rulings.at_key(cx, c.network)?.at_key(cx, c.epoch)?;
            let ruling = of.get(cx, c.round)?;
            returns::<ISettlements::rulingOfCall>(&ISettlements::rulingOfReturn {
                dissenter: ruling.dissenter,
                overruled: ruling.overruled,
                choice: ruling.choice,
            })
        }
        C::dissentBond(_) => {
            let bond = settlements.dissent_bond(cx)?;
            returns::<ISettlements::dissentBondCall>(&U256::from(bond))
        }
        C::announcementOf(c) => {
            let epoch = (NetworkId(c.network), Epoch(c.epoch));
            let choice = settlements.announcement_of(cx, epoch, c.validator)?;
            returns::<ISettlements::announcementOfCall>(&choice)
        }
        committee => return call_committee(cx, settlements, committee),
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
        C::voters(c) => {
            let (network, epoch) = (NetworkId(c.network), Epoch(c.epoch));
            let announcing = settlements.hearing(cx, network, epoch)?.term;
            let voting = settlements.round(cx, network, epoch)?.term;
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
