//! Validators: coin bonded for seats, keys, committees elected from them, and double votes (design 5).
//!
//! An *owner* bonds the ledger's coin and registers *keys*; each key can hold one seat of a committee,
//! and names the *account* that gets the seat's tips and votes in `Settlements`. A contract of its own
//! beside `Stakes`: that one holds a network's tokens for devices, this one the ledger's coin for seats,
//! and neither can touch the other's money.
//!
//! **Terms.** A term is a fixed number of heights. At the beginning of the first block of term t, before
//! its transactions, the committee of term t+1 is elected ([`begin_block`]; `election.rs`), from the state
//! that term t-1 left. That state is final before a block of term t is, so all agree on the next
//! committee for a whole term before it acts. Genesis names those of terms 0 and 1.
//!
//! **Keys.** The registering transaction carries the key's signature for this ledger, owner and account,
//! and the seed key's proof of possession, so nobody registers what another holds. A key is used once:
//! retired, it answers for what it voted and is never registered again. Each key needs the least bond. At
//! most [`KEYS_MAX`] are in use, [`KEYS_PER_OWNER`] of them an owner's; when all places are taken, the
//! newest key of the owner with the least bond a key yields to an owner who bonds more for each of theirs
//! (finding it reads every key: about 7 million gas, and only then).
//!
//! **Bonds.** What is asked back in term u may back the committees up to that of u+1, whose double votes
//! are heard for `unbonding_terms` more: it is paid from term u + `unbonding_terms` + 2 on, and a
//! conviction until then reaches it. There is no breaker on this outflow: the wait is longer than any
//! breaker's window.
//!
//! **Double votes** (`votes.rs`, `conviction.rs`). Two votes of one seat in one view, of which an honest
//! validator signs at most one, convict its key once. What backed the seat at its election (the owner's
//! bond over its seats) is held at once, asked back or not; a hundredth of it goes to the reporter. After
//! the window, 5 % of it is lost, or three times the share of seats that were convicted within the window
//! on either side, so that a third of them loses all: one broken machine costs little, a conspiracy
//! everything. What is lost goes to the zero address, whose coin nobody can move. A report can be copied
//! by whoever sees it before it is in a block; the offender pays the same.
//!
//! **Authors' faults** (`faults.rs`). A key's batches of evidence are signed with it, and what no honest author
//! puts into one costs the owner up to the least bond of a key for each epoch of a network: settlement counts
//! it, and anybody presents the leaf that says so.
//!
//! **Fines.** `Settlements` takes a share of what backed a seat that decided what was overruled (`fines.rs`),
//! as far as it is still here: the same coin that a double vote costs, reached for as long.
//!
//! Coin goes out without running code at the receiver, so nothing is re-entered.
//!
//! Invariants: the coin held here is at least bonds, what is asked back, and what is held for convicted
//! keys (more only if somebody forces coin upon this address, which is then nobody's); a key has one owner
//! for ever; a committee never changes once elected, and is kept until its votes are no longer judged.

mod bonds;
mod conviction;
mod election;
mod faults;
mod fines;
mod founding;
pub(crate) mod invariants;
mod keys;
mod state;
mod votes;

#[cfg(test)]
mod tests;

use crate::abi::IValidators::{self, IValidatorsCalls, bondCall};
use crate::context::Context;
use crate::dispatch::{decode, empty, returns};
use crate::env::Failure;
use alloy_primitives::U256;
use alloy_sol_types::SolCall as _;
pub use election::begin_block;
#[cfg(doc)]
use keys::{KEYS_MAX, KEYS_PER_OWNER};
pub use keys::{REGISTRATION_NAMESPACE, registration};
pub(crate) use state::Validators;
pub use votes::VOTES_NAMESPACE;

/// The most seats that a committee can have.
pub const SEATS_MAX: u64 = 256;

/// The most terms in which a double vote is heard: releasing what is held counts over twice as many.
pub const UNBONDING_TERMS_MAX: u64 = 1_024;

/// Whether an input calls a function that takes coin.
pub(crate) fn takes_coin(input: &[u8]) -> bool {
    input.starts_with(&bondCall::SELECTOR)
}

/// Answers a call.
pub(crate) fn call(cx: &mut Context<'_>, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use IValidatorsCalls as C;
    let validators = Validators::new();
    Ok(match decode::<C>(input)? {
        C::bond(_) => validators.bond(cx).map(empty)?,
        C::unbond(c) => validators.unbond(cx, c.amount).map(empty)?,
        C::withdraw(_) => {
            let paid = validators.withdraw(cx)?;
            returns::<IValidators::withdrawCall>(&U256::from(paid))
        }
        C::register(c) => validators.register(cx, &c).map(empty)?,
        C::replace(c) => validators.replace(cx, c).map(empty)?,
        C::retire(c) => validators.retire(cx, c.key).map(empty)?,
        C::setEndpoint(c) => validators.set_endpoint(cx, c.key, &c.endpoint).map(empty)?,
        C::accuse(c) => validators.accuse(cx, &c.first, &c.second).map(empty)?,
        C::release(c) => validators.release(cx, c.key).map(empty)?,
        C::charge(c) => {
            let taken = validators.charge(cx, &c.leaf, &c.proof)?;
            returns::<IValidators::chargeCall>(&U256::from(taken))
        }
        view => return call_view(cx, &validators, view),
    })
}

/// Answers a call that only reads.
fn call_view(
    cx: &mut Context<'_>,
    validators: &Validators,
    call: IValidatorsCalls,
) -> Result<Vec<u8>, Failure> {
    use IValidatorsCalls as C;
    Ok(match call {
        C::committee(c) => {
            returns::<IValidators::committeeCall>(&validators.committee(cx, c.term)?)
        }
        C::terms(_) => {
            let rules = validators.rules.get(cx)?;
            returns::<IValidators::termsCall>(&IValidators::termsReturn {
                current: validators.term(cx)?,
                length: rules.length,
                seatsMax: rules.seats_max,
                unbondingTerms: rules.unbonding_terms,
                bondMin: U256::from(validators.bond_min.get(cx)?),
            })
        }
        C::seatsOf(c) => {
            returns::<IValidators::seatsOfCall>(&validators.seats_of(cx, c.term, c.account)?)
        }
        C::order(c) => returns::<IValidators::orderCall>(&validators.mixes.get(cx, c.term)?),
        C::allSeats(c) => returns::<IValidators::allSeatsCall>(&validators.all_seats(cx, c.term)?),
        C::keyCount(_) => returns::<IValidators::keyCountCall>(&validators.active.len(cx)?),
        C::keyAt(c) => {
            let active = validators.active.get(cx, c.index)?;
            returns::<IValidators::keyAtCall>(&active.map(|active| active.key).unwrap_or_default())
        }
        C::keyInfo(c) => returns::<IValidators::keyInfoCall>(&validators.info(cx, c.key)?),
        C::bondOf(c) => {
            let owner = validators.owners.get(cx, c.owner)?;
            let (amount, keys) = (U256::from(owner.bond), owner.keys);
            returns::<IValidators::bondOfCall>(&IValidators::bondOfReturn { amount, keys })
        }
        C::unbonding(c) => {
            let request = validators.requests.get(cx, c.owner)?;
            let (amount, until) = (U256::from(request.amount), request.until);
            returns::<IValidators::unbondingCall>(&IValidators::unbondingReturn { amount, until })
        }
        C::lockOf(c) => {
            let lock = validators.locks.get(cx, c.key)?;
            let until = if lock.open { validators.lock_end(cx, &lock)? } else { 0 };
            let amount = U256::from(lock.amount);
            returns::<IValidators::lockOfCall>(&IValidators::lockOfReturn { amount, until })
        }
        C::dueOf(c) => returns::<IValidators::dueOfCall>(&U256::from(validators.due(cx, &c.leaf)?)),
        C::genesisHash(_) => returns::<IValidators::genesisHashCall>(&validators.genesis.get(cx)?),
        other => {
            use crate::abi::ISystem::UnknownSelector;
            use alloy_sol_types::SolInterface as _;
            return Err(UnknownSelector { selector: other.selector().into() }.into());
        }
    })
}
