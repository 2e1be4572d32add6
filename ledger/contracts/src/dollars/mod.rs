//! Dollars of the cash class: made from the stablecoin one to one, redeemed to it.
//!
//! At this address the token code answers too, so that dollars are an ERC-20 with permit. Other classes
//! (card, token credit) have their own rules of making and paying out and do not exist yet; asking for
//! one is refused.
//!
//! Invariants: the stablecoin held here is at least the supply of dollars; dollars are made in one place
//! (`deposit`) and destroyed in one (`redeem`).

mod calls;
pub(crate) mod invariants;
mod state;

#[cfg(test)]
mod tests;

use crate::abi::IDollars::{self, IDollarsCalls};
use crate::address::STABLECOIN;
use crate::context::Context;
use crate::dispatch::{decode, empty, is_for, returns};
use crate::env::Failure;
use crate::tokens;
pub(crate) use state::Dollars;

/// Answers a call.
pub(crate) fn call(cx: &mut Context<'_>, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use IDollarsCalls as C;
    let dollars = Dollars::new();
    if !is_for::<C>(input) {
        return tokens::call_token(cx, &dollars.token, input);
    }
    Ok(match decode::<C>(input)? {
        C::deposit(c) => dollars.deposit(cx, c.stable).map(empty)?,
        C::redeem(c) => dollars.redeem(cx, c.amount).map(empty)?,
        C::balanceOfClass(c) => {
            let balance = dollars.balance_of_class(cx, c.account, c.class)?;
            returns::<IDollars::balanceOfClassCall>(&balance)
        }
        C::stablecoin(_) => returns::<IDollars::stablecoinCall>(&STABLECOIN),
    })
}
