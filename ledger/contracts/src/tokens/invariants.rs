//! What always holds for a token.

use super::calls::SUPPLY_MAX;
use super::state::Token;
use crate::context::Context;
use crate::invariants::{Broken, holds, sum};
use alloy_primitives::{Address, U256};
use std::collections::{BTreeMap, BTreeSet};

/// Supply is the sum of balances, fits 128 bits, and a delegate's votes are the balances behind it.
pub(crate) fn check(
    cx: &mut Context<'_>,
    address: Address,
    accounts: &BTreeSet<Address>,
) -> Result<(), Broken> {
    let token = Token::at(address);
    if !token.exists(cx)? {
        return Ok(());
    }
    let mut balances = BTreeMap::new();
    let mut votes: BTreeMap<Address, U256> = BTreeMap::new();
    for account in accounts {
        let balance = token.balance(cx, *account)?;
        balances.insert(*account, balance);
        let delegate = token.delegates.get(cx, *account)?;
        let counted = votes.entry(delegate).or_default();
        *counted = sum([*counted, balance])?;
    }
    let (supply, held) = (token.supply.get(cx)?, sum(balances.into_values())?);
    holds!(supply == held, "token {address}: supply {supply}, balances {held}");
    holds!(supply <= SUPPLY_MAX, "token {address}: supply {supply} exceeds 128 bits");
    if !token.kind(cx)?.votes {
        return Ok(());
    }
    for account in accounts {
        let (counted, behind) =
            (token.votes(cx, *account)?, votes.get(account).copied().unwrap_or_default());
        holds!(counted == behind, "token {address}: {account} has {counted} votes, not {behind}");
    }
    Ok(())
}
