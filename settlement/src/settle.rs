//! The steps of settlement in their order.

mod accounts;
mod collect;
mod judge;
mod pay;
mod reward;
mod slash;
mod split;
mod stake;
mod statement;
mod vouchers;

use crate::check::{self, Violation};
use protocol::{
    Epoch, KindId, Micros, NetworkId, RailId, Tokens,
    author::{self, AuthorFault},
    inputs::Inputs,
    kind::{Carried, Kind},
    leaf::Dollars,
    merkle::Tree,
    statement::Statement,
};

/// Finds a kind by its number.
pub type Kinds<'k> = &'k dyn Fn(KindId) -> Option<&'static dyn Kind>;

/// A settled epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The statement.
    pub statement: Statement,
    /// The tree of its accounts and of authors at fault; the root is what validators vote on.
    pub tree: Tree,
}

/// Why an epoch cannot be settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettleError {
    /// The previous statement is of another chain or network.
    #[error("the previous statement is of another chain or network")]
    Foreign,
    /// The previous statement is not of an earlier epoch.
    #[error("epoch {0} does not follow the previous statement's epoch {1}")]
    Order(Epoch, Epoch),
    /// Evidence names another network or epoch.
    #[error("evidence of network {0}, epoch {1} was given")]
    Evidence(NetworkId, Epoch),
    /// A rail's class is none of cash, card and token credit.
    #[error("rail {0} has the unknown class {1}")]
    Class(RailId, u8),
    /// A sum left its range.
    #[error("the sum of {0} leaves its range")]
    Overflow(&'static str),
    /// The result breaks an invariant: a fault of this program, never of its input.
    #[error("invariant broken: {0}")]
    Violation(#[from] Violation),
}

/// Settles an epoch with the kinds of the registry.
///
/// `carried` is the evidence of the epoch as the replay of its blocks gives it, in any order: verified,
/// within quota and allowed skew, and naming this network and epoch. `faults` is what the same replay found
/// of the authors of batches, in any order; it pays and costs no device.
///
/// # Errors
/// [`SettleError`]: the files do not belong together, or an invariant would break.
pub fn settle(
    inputs: &Inputs,
    previous: &Statement,
    carried: Vec<Carried>,
    faults: Vec<AuthorFault>,
) -> Result<Settled, SettleError> {
    settle_with(&registry::kind, inputs, previous, carried, faults)
}

/// Settles an epoch with the kinds that `kinds` finds.
///
/// # Errors
/// As [`settle`].
pub fn settle_with(
    kinds: Kinds<'_>,
    inputs: &Inputs,
    previous: &Statement,
    carried: Vec<Carried>,
    faults: Vec<AuthorFault>,
) -> Result<Settled, SettleError> {
    precheck(inputs, previous, &carried)?;
    let collected = collect::collect(carried);
    let stakes = stake::net_stakes(inputs, previous)?;
    let mut judged = judge::judge(kinds, inputs, &stakes, &collected);
    let promised = vouchers::vouchers(inputs, previous, &collected.carried, &mut judged);
    let payments = pay::pay(kinds, inputs, previous, &promised, &mut judged)?;
    let mut changes = accounts::Changes::default();
    split::split(inputs, &payments, &mut judged, &mut changes)?;
    reward::reward(inputs, previous, &payments, &collected, &mut judged, &mut changes)?;
    slash::slash(inputs, previous, &collected, &mut judged, &mut changes)?;
    let accounts = accounts::accounts(inputs, previous, changes)?;
    let (authors, evidence) = (author::rows(faults), collected.digest);
    let parts = statement::Parts { judged, payments, accounts, evidence, authors };
    let statement = statement::statement(inputs, previous, parts)?;
    check::check(inputs, previous, &statement)?;
    let tree = statement.tree();
    Ok(Settled { statement, tree })
}

/// Whether the files belong together.
fn precheck(inputs: &Inputs, previous: &Statement, carried: &[Carried]) -> Result<(), SettleError> {
    if (previous.chain_id, previous.network) != (inputs.chain_id, inputs.network) {
        return Err(SettleError::Foreign);
    }
    let first = *previous == Statement::genesis(inputs.chain_id, inputs.network);
    if !first && inputs.epoch <= previous.epoch {
        return Err(SettleError::Order(inputs.epoch, previous.epoch));
    }
    for carried in carried {
        let payload = carried.envelope.payload();
        if (payload.network, payload.epoch) != (inputs.network, inputs.epoch) {
            return Err(SettleError::Evidence(payload.network, payload.epoch));
        }
    }
    if let Some(rail) = inputs.rails.iter().find(|rail| rail.class > CLASS_MAX) {
        return Err(SettleError::Class(rail.id, rail.class));
    }
    Ok(())
}

/// The classes of dollars: 0 cash, 1 card, 2 token credit.
const CLASS_MAX: u8 = 2;

/// Adds dollars.
fn add(sum: &mut Micros, more: Micros, what: &'static str) -> Result<(), SettleError> {
    *sum = sum.checked_add(more).ok_or(SettleError::Overflow(what))?;
    Ok(())
}

/// Adds dollars of a class.
fn add_class(
    sums: &mut Dollars,
    class: u8,
    more: Micros,
    what: &'static str,
) -> Result<(), SettleError> {
    let sum = match class {
        0 => &mut sums.cash,
        1 => &mut sums.card,
        _ => &mut sums.credit,
    };
    add(sum, more, what)
}

/// Adds tokens.
fn add_tokens(sum: &mut Tokens, more: Tokens, what: &'static str) -> Result<(), SettleError> {
    *sum = sum.checked_add(more).ok_or(SettleError::Overflow(what))?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod stakes;
#[cfg(test)]
mod tests;
