//! The invariants of all contracts together, checked after every test and every simulated block.

use crate::context::Context;
use crate::env::{Env, Failure};
use crate::{
    address, devices, dollars, guard, networks, rails, settlements, stakes, tokens, validators,
};
use alloy_primitives::{Address, U256};
use std::collections::BTreeSet;

/// An invariant that does not hold, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invariant broken: {0}")]
pub struct Broken(pub String);

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self(format!("state cannot be read: {failure}"))
    }
}

/// Fails with [`Broken`] unless a condition holds.
macro_rules! holds {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err($crate::invariants::Broken(format!($($words)+)));
        }
    };
}
pub(crate) use holds;

/// Checks every contract. `accounts` are all accounts that ever took part: mappings cannot be listed,
/// so sums over accounts are sums over these and the contracts themselves.
///
/// # Errors
/// [`Broken`] names the first invariant that does not hold.
pub fn check_invariants(env: &mut dyn Env, accounts: &BTreeSet<Address>) -> Result<(), Broken> {
    let mut cx = Context::new(env, Address::ZERO, true);
    let cx = &mut cx;
    let mut accounts = accounts.clone();
    accounts.extend(address::SINGLETONS);
    networks::invariants::check(cx)?;
    devices::invariants::check(cx, &accounts)?;
    dollars::invariants::check(cx)?;
    for contract in [address::DOLLARS, address::STABLECOIN] {
        tokens::invariants::check(cx, contract, &accounts)?;
    }
    for network in networks::Networks::new().all(cx)? {
        tokens::invariants::check(cx, address::token(network), &accounts)?;
    }
    stakes::invariants::check(cx)?;
    rails::invariants::check(cx, &accounts)?;
    settlements::invariants::check(cx, &accounts)?;
    validators::invariants::check(cx, &accounts)?;
    guard::invariants::check(cx)
}

/// The sum of amounts; more than 256 bits is a broken invariant.
pub(crate) fn sum(amounts: impl IntoIterator<Item = U256>) -> Result<U256, Broken> {
    amounts
        .into_iter()
        .try_fold(U256::ZERO, |sum, amount| sum.checked_add(amount))
        .ok_or_else(|| Broken("a sum of amounts exceeds 256 bits".into()))
}
