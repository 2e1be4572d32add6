//! Settlements: the clock of epochs, announced inputs, votes on roots, dissent, and claims (design 8 and 9).
//!
//! An epoch is a range of heights. Validators announce the hash of its inputs file, and after its grace vote
//! on the outcome; 2/3 of the seats make either final. A vote that breaks conservation or the manifest's
//! policy cannot be revealed (`policy.rs`). What is decided can be disputed within a window; after it the root
//! is *claimable*, for good: any account takes what its cumulative leaf says beyond what it took before.
//!
//! **Who votes.** The committee of the next term (design 9), which is elected already: whoever gets a seat by
//! what it learns of an epoch comes too late to vote on it.
//!
//! **Commit and reveal** (`rounds.rs`). A lazy validator that copies the votes of others gives its name to
//! roots that nobody computed. So votes are hidden first: a ballot is the hash of the choice, a salt, the
//! round and the *validator*, so that a copied ballot is worth nothing to who copies it. Commits close when
//! all seats have committed, or after as many blocks as the grace has (four at least); only then reveals count, for as long.
//! No commit counts in a block in which a reveal does. A single validator commits in one block and reveals in
//! the next. What this does not prevent: a validator may ask another one outright, and what was revealed in a
//! round without a quorum can be copied in the next.
//!
//! **Without a quorum** a round is over: when its time is, or as soon as no choice can have 2/3 of its seats
//! any more. The next commit begins a new one, of the committee then next, with nothing counted. Nobody is
//! penalised, since who did not vote may have been cut off, and who voted for something else may run a judge
//! that is to be corrected. So no committee that lost its validators holds an epoch open.
//!
//! **Inputs are announced openly** (`announce.rs`), each validator's word replacing its earlier one. They are
//! built by everybody from the same final state in a moment, and any honest one's is right: copying gains
//! nothing, and the hidden way would only cost blocks at an epoch's beginning, when agents wait for duties. If
//! a committee has not fixed them when its term and one more are over ([`HEARING_TERMS`]), a later one begins
//! anew.
//!
//! **Dissent** (`disputes.rs`). Two thirds of a committee can lie, or run the same wrong judge. Whoever
//! recomputes an epoch names another outcome with a bond, before anything of it is paid. The epoch and all
//! that were decided after it are open again, and votes begin anew in the committee then next (the same people if stakes and terms did not change since):
//! * the same choice again: the bond is destroyed, all of it, so that nobody gains by voting against who
//!   dissents; the window goes on where it stood, so that a bond buys the time of one vote and no more;
//! * another choice: the bond goes back, and the new outcome has a window of its own. Each seat that had
//!   revealed what was overruled, in the round that decided it, can be fined once, for half of which the
//!   dissenter is paid. Not before the new outcome is claimable, and never if it is overruled itself: else a
//!   bribed committee could fine those who told the truth;
//! * void before any decision: the bond goes back, as nobody said who was wrong.
//!
//! A dissent can be copied by whoever sees it before it is in a block; those who lied pay the same.
//!
//! At most one dispute of a network is open. Its windows stand still meanwhile, and epochs stay open for as
//! much longer as the disputed one was old (`course.rs` says which attacks that answers).
//!
//! *Dropping the later epochs cannot lose anything.* Windows end in the order in which epochs were decided, so
//! none of those after a disputable one is claimable: nothing of them was paid, freed, slashed or burned, as
//! everything that moves money asks `verify`, `is_closed` or `claimable_epoch` and never what is merely
//! decided. Their inputs stay fixed and their evidence archived; who settles them again from the same
//! statement gets the same outcome, and from a corrected one the right one. They have time to be decided
//! again, and keep what passed of their windows. So dissent can delay money, at a bond for each vote, and can
//! neither create, move nor destroy any but bonds.
//!
//! **Void epochs.** An epoch that is not decided [`OPEN_EPOCHS`] epochs after its own is void: its evidence
//! pays and costs nothing, and settlement goes on with the first epoch that is not void, from the last
//! statement. Two things hang on it. What a payer reserved for an epoch can be freed once the epoch is void
//! for good (`is_closed`), as no later root can ask for it (`rails`). And no epoch that cannot be settled,
//! whatever the cause, holds the money of a network for good. It is a matter of heights alone, so that nobody
//! can void an epoch in order not to pay for it; who wants to has to hold a third of the seats for that long,
//! and who holds them can withhold every root anyway.
//!
//! **What fines do not reach.** A validator that asked its bond back in time, or whose committee is forgotten
//! (after the terms in which double votes are heard): a ledger's terms of unbonding should last longer than
//! two windows and the votes between them. And two votes in a row that lie, of two committees or of one: full
//! nodes refuse such a root, and nothing on the ledger can. Nor does dissent reach false *inputs*: once two thirds of a
//! committee have fixed a file, an outcome has to name it, and full nodes refuse whatever is decided by it. To let
//! others be fixed later would have honest validators judge by them what honest devices proved by the first, and
//! slash those for it: evidence does not say which inputs it was made for.
//!
//! Storage grows by one record for each epoch that is decided and disputed, one for each hearing, vote and
//! tally that a validator with a seat pays for, and one for each fine. No call reads or writes more of it for
//! more validators, epochs or accounts but by halving.
//!
//! Invariants: epochs of a network are decided one after another, and stand once; totals never fall; a
//! claimable epoch never ceases to be, and none is claimable after one that is not; what is claimed of an
//! asset never exceeds what a claimable root approved; ballots of different rounds are never added; the coin
//! held here is the bonds of open disputes (or more, if somebody forces coin upon this address).

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
