//! What must hold of every statement, computed again from the statement itself.
//!
//! This guards against faults of the steps before it: it shares no code with them beyond the types. A
//! statement that breaks a rule here is never voted on.

use protocol::{
    Account, Micros, Tokens,
    author::{AUTHORS_MAX, AuthorRow, EVIDENCE_MAX},
    inputs::Inputs,
    leaf::Dollars,
    statement::{AccountState, Cause, RailState, Statement, Totals},
};
use std::{cmp::Ordering, collections::BTreeMap};

/// A rule that a statement breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A list is out of order, or holds an id twice.
    #[error("{0} are not strictly ascending")]
    Order(&'static str),
    /// There is not exactly one row for each device of the roster.
    #[error("the rows are not the roster's")]
    Rows,
    /// A row has no cause.
    #[error("the row of device {0} has no cause")]
    NoCause(protocol::DeviceId),
    /// More authors at fault than a statement holds, or one without what proves it.
    #[error("the rows of authors at fault are too many, or one is empty")]
    Authors,
    /// Dollars were made or lost.
    #[error("dollars are not conserved: {spent} spent, {accounted} accounted")]
    Dollars {
        /// What was spent.
        spent: u128,
        /// What was earned and set aside to burn.
        accounted: u128,
    },
    /// A sum is not the sum of its parts.
    #[error("the total of {0} is not the sum of its parts")]
    Sum(&'static str),
    /// More vested than was granted.
    #[error("more tokens vested than were granted")]
    Vested,
    /// A cumulative amount fell.
    #[error("{0} fell")]
    Fell(&'static str),
    /// A rail paid more than its limit.
    #[error("rail {0} paid more than its limit")]
    Limit(protocol::RailId),
    /// A device lost more than its stake.
    #[error("device {0} lost more than its stake")]
    Stake(protocol::DeviceId),
    /// The devices of an owner lost more than the owner has left at stake.
    #[error("the devices of {0} lost more than it has at stake")]
    Owner(Account),
}

/// Checks a statement against what it was made from.
///
/// # Errors
/// The first rule that is broken.
pub fn check(
    inputs: &Inputs,
    previous: &Statement,
    statement: &Statement,
) -> Result<(), Violation> {
    order(statement)?;
    rows(inputs, statement)?;
    dollars(statement)?;
    tokens(statement)?;
    rails(inputs, previous, statement)?;
    stakes(inputs, previous, statement)?;
    deltas(previous, statement)?;
    authors(statement)?;
    accounts(previous, statement)
}

fn order(statement: &Statement) -> Result<(), Violation> {
    if !statement.rows.is_sorted_by(|a, b| a.device < b.device) {
        return Err(Violation::Order("rows"));
    }
    if !statement.rails.is_sorted_by(|a, b| a.rail < b.rail) {
        return Err(Violation::Order("rails"));
    }
    if !statement.devices.is_sorted_by(|a, b| a.device < b.device) {
        return Err(Violation::Order("devices"));
    }
    if !statement.authors.is_sorted_by(|a, b| a.author < b.author) {
        return Err(Violation::Order("authors"));
    }
    if !statement.accounts.is_sorted_by(|a, b| a.account < b.account) {
        return Err(Violation::Order("accounts"));
    }
    let tranches = |state: &AccountState| {
        state.tranches.is_sorted_by(|a, b| (a.from, a.epochs) < (b.from, b.epochs))
    };
    if !statement.accounts.iter().all(tranches) {
        return Err(Violation::Order("tranches"));
    }
    Ok(())
}

fn rows(inputs: &Inputs, statement: &Statement) -> Result<(), Violation> {
    let roster = inputs.roster.iter().map(|device| (device.id, device.owner));
    if !statement.rows.iter().map(|row| (row.device, row.owner)).eq(roster) {
        return Err(Violation::Rows);
    }
    match statement.rows.iter().find(|row| row.causes.is_empty()) {
        Some(row) => Err(Violation::NoCause(row.device)),
        None => Ok(()),
    }
}

/// Few enough rows, each of envelopes with bytes, reasons and some of them named.
fn authors(statement: &Statement) -> Result<(), Violation> {
    let sound = |row: &AuthorRow| {
        let named = |cause: &Cause| (1..=EVIDENCE_MAX).contains(&cause.evidence.len());
        let about = row.causes.iter().all(named) && !row.causes.is_empty();
        about && row.envelopes > 0 && row.envelopes <= row.bytes
    };
    let few = statement.authors.len() <= AUTHORS_MAX;
    if few && statement.authors.iter().all(sound) { Ok(()) } else { Err(Violation::Authors) }
}

fn dollars(statement: &Statement) -> Result<(), Violation> {
    let totals = &statement.totals;
    let sum = |pick: fn(&AccountState) -> Micros| {
        statement.accounts.iter().map(|state| u128::from(pick(state).0)).sum::<u128>()
    };
    let parts: [(u128, Micros, &'static str); 4] = [
        (sum(|state| state.spent), totals.spent, "dollars spent"),
        (sum(|state| state.earned.cash), totals.earned.cash, "cash earned"),
        (sum(|state| state.earned.card), totals.earned.card, "card dollars earned"),
        (sum(|state| state.earned.credit), totals.earned.credit, "credit earned"),
    ];
    for (sum, total, what) in parts {
        if sum != u128::from(total.0) {
            return Err(Violation::Sum(what));
        }
    }
    let spent = u128::from(totals.spent.0);
    let accounted = all(&totals.earned) + u128::from(totals.to_burn.0);
    if spent == accounted { Ok(()) } else { Err(Violation::Dollars { spent, accounted }) }
}

fn tokens(statement: &Statement) -> Result<(), Violation> {
    let totals = &statement.totals;
    let accounts = &statement.accounts;
    let vested: Tokens = accounts.iter().map(|state| state.vested(statement.epoch)).sum();
    let granted: Tokens = accounts.iter().map(AccountState::granted).sum();
    let slashed: Tokens = accounts.iter().map(|state| state.slashed).sum();
    if vested != totals.vested {
        return Err(Violation::Sum("tokens vested"));
    }
    if totals.topped_up.checked_add(totals.bootstrapped) != Some(granted) {
        return Err(Violation::Sum("tokens granted"));
    }
    if slashed != totals.slashed {
        return Err(Violation::Sum("stake lost"));
    }
    if vested > granted { Err(Violation::Vested) } else { Ok(()) }
}

fn rails(inputs: &Inputs, previous: &Statement, statement: &Statement) -> Result<(), Violation> {
    let mut now = 0u128;
    for state in &statement.rails {
        let paid = paid(state);
        let rail = inputs.rail(state.rail).ok_or(Violation::Limit(state.rail))?;
        let before = previous.rail(state.rail).map_or(0, self::paid);
        // A limit only rises, so what was paid before is within it too.
        if paid > u128::from(rail.limit.0) {
            return Err(Violation::Limit(state.rail));
        }
        now += paid.checked_sub(before).ok_or(Violation::Fell("what a rail paid"))?;
    }
    let spent = u128::from(statement.totals.spent.0);
    match spent.checked_sub(u128::from(previous.totals.spent.0)) {
        Some(delta) if delta == now => Ok(()),
        _ => Err(Violation::Sum("payments of rails")),
    }
}

fn stakes(inputs: &Inputs, previous: &Statement, statement: &Statement) -> Result<(), Violation> {
    // By owner: what is bound, what withdrawals took, and what its devices lose now.
    let mut owners: BTreeMap<Account, [Tokens; 3]> = BTreeMap::new();
    for (device, row) in inputs.roster.iter().zip(&statement.rows) {
        let before = previous.device(device.id).map_or(Tokens::ZERO, |state| state.slashed);
        let after = statement.device(device.id).map_or(Tokens::ZERO, |state| state.slashed);
        if row.slashed > device.stake {
            return Err(Violation::Stake(device.id));
        }
        if before.checked_add(row.slashed) != Some(after) {
            return Err(Violation::Sum("a device's slashes"));
        }
        let [bound, netted, lost] = owners.entry(device.owner).or_default();
        *bound = bound.saturating_add(device.stake);
        *netted = device.netted;
        *lost = lost.saturating_add(row.slashed);
    }
    for (owner, [bound, netted, lost]) in owners {
        let slashed =
            |of: &Statement| of.account(owner).map_or(Tokens::ZERO, |state| state.slashed);
        let before = slashed(previous);
        if lost > bound.saturating_sub(before.saturating_sub(netted)) {
            return Err(Violation::Owner(owner));
        }
        if before.checked_add(lost) != Some(slashed(statement)) {
            return Err(Violation::Sum("an owner's slashes"));
        }
    }
    Ok(())
}

/// A total, what the rows add to it, and its name.
type Part = (fn(&Totals) -> Tokens, Tokens, &'static str);

/// The rows add up to what the totals rose by.
fn deltas(previous: &Statement, statement: &Statement) -> Result<(), Violation> {
    let (before, after) = (&previous.totals, &statement.totals);
    let rows = &statement.rows;
    let parts: [Part; 3] = [
        (|totals| totals.topped_up, rows.iter().map(|row| row.top_up).sum(), "top-ups"),
        (|totals| totals.bootstrapped, rows.iter().map(|row| row.bootstrap).sum(), "presence"),
        (|totals| totals.slashed, rows.iter().map(|row| row.slashed).sum(), "slashes"),
    ];
    for (pick, sum, what) in parts {
        if pick(before).checked_add(sum) != Some(pick(after)) {
            return Err(Violation::Sum(what));
        }
    }
    if after.to_burn < before.to_burn || after.vested < before.vested {
        return Err(Violation::Fell("a total"));
    }
    Ok(())
}

/// No account disappears, and nothing of any falls.
fn accounts(previous: &Statement, statement: &Statement) -> Result<(), Violation> {
    let mut after = statement.accounts.iter();
    for before in &previous.accounts {
        let after = loop {
            let state = after.next().ok_or(Violation::Fell("an account"))?;
            match state.account.cmp(&before.account) {
                Ordering::Less => {}
                Ordering::Equal => break state,
                Ordering::Greater => return Err(Violation::Fell("an account")),
            }
        };
        let rose = before.earned.cash <= after.earned.cash
            && before.earned.card <= after.earned.card
            && before.earned.credit <= after.earned.credit
            && before.spent <= after.spent
            && before.slashed <= after.slashed
            && before.granted() <= after.granted()
            && before.vested(previous.epoch) <= after.vested(statement.epoch);
        if !rose {
            return Err(Violation::Fell("an account's amount"));
        }
    }
    Ok(())
}

fn paid(state: &RailState) -> u128 {
    u128::from(state.by_rate.0) + u128::from(state.by_voucher.0)
}

fn all(dollars: &Dollars) -> u128 {
    u128::from(dollars.cash.0) + u128::from(dollars.card.0) + u128::from(dollars.credit.0)
}

#[cfg(test)]
mod tests;
