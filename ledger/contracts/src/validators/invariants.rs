//! What always holds for validators.

use super::keys::{KEYS_MAX, KEYS_PER_OWNER};
use super::state::{Active, Validators};
use crate::address::VALIDATORS;
use crate::context::Context;
use crate::invariants::{Broken, holds, sum};
use alloy_primitives::{Address, U256};
use std::collections::{BTreeMap, BTreeSet};

/// Coin adds up, keys in use and their records agree, and the committees that matter are whole.
pub(crate) fn check(cx: &mut Context<'_>, accounts: &BTreeSet<Address>) -> Result<(), Broken> {
    let validators = Validators::new();
    check_coin(cx, &validators, accounts)?;
    let active = validators.active.all(cx)?;
    let count = u64::try_from(active.len()).unwrap_or(u64::MAX);
    holds!(count <= KEYS_MAX, "{count} keys in use");
    let (mut owners, mut orders) = (BTreeMap::new(), BTreeSet::new());
    for (index, Active { key, owner, order }) in (0u64..).zip(active) {
        let record = validators.keys.get(cx, key)?;
        let agree = record.owner == owner && record.order == order && record.index == index;
        holds!(agree && !record.retired && !record.convicted, "key {key} in use: {record:?}");
        holds!(orders.insert(order), "two keys in place {order}");
        *owners.entry(owner).or_insert(0u64) += 1;
    }
    for (owner, keys) in owners {
        let held = validators.owners.get(cx, owner)?.keys;
        holds!(held == keys && keys <= KEYS_PER_OWNER, "{owner} has {keys} keys, says {held}");
    }
    let length = validators.rules.get(cx)?.length;
    if length == 0 {
        return Ok(());
    }
    let term = validators.term(cx)?;
    for term in [term, term.saturating_add(1)] {
        check_committee(cx, &validators, term)?;
    }
    Ok(())
}

fn check_coin(
    cx: &mut Context<'_>,
    validators: &Validators,
    accounts: &BTreeSet<Address>,
) -> Result<(), Broken> {
    let sums = validators.sums.get(cx)?;
    let (mut bonded, mut unbonding, mut locked) = (U256::ZERO, U256::ZERO, U256::ZERO);
    for account in accounts {
        bonded = sum([bonded, U256::from(validators.owners.get(cx, *account)?.bond)])?;
        unbonding = sum([unbonding, U256::from(validators.requests.get(cx, *account)?.amount)])?;
    }
    for key in validators.convicted.all(cx)? {
        locked = sum([locked, U256::from(validators.locks.get(cx, key)?.amount)])?;
    }
    let all = [sums.bonded, sums.unbonding, sums.locked].map(U256::from);
    holds!(all == [bonded, unbonding, locked], "{bonded}, {unbonding}, {locked} of {sums:?}");
    let (owed, held) = (sum(all)?, cx.coin(VALIDATORS)?);
    holds!(held >= owed, "{owed} coin owed to validators, {held} held");
    Ok(())
}

fn check_committee(cx: &mut Context<'_>, validators: &Validators, term: u64) -> Result<(), Broken> {
    let keys = validators.committees.at_key(cx, term)?.all(cx)?;
    holds!(keys.is_sorted_by(|a, b| a < b), "committee {term} is not in order");
    let mut seats = BTreeMap::new();
    for key in keys {
        let account = validators.keys.get(cx, key)?.account;
        *seats.entry(account).or_insert(0u64) += 1;
    }
    for (account, count) in seats {
        let held = validators.seats_of(cx, term, account)?;
        holds!(held == count, "{account} has {count} seats in term {term}, says {held}");
    }
    Ok(())
}
