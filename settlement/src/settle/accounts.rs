//! Step 8, accounts: the cumulative state of each account, and vesting.
//!
//! A grant is divided into what is free at once and what vests linearly. So that an account of a million
//! epochs stays small, tranches begin only at multiples of a step of 1/[`TRANCHES`] of the vesting time:
//! a grant vests from the next such epoch on (never earlier than it should), together with all other
//! grants of the same step. A tranche that has vested completely moves to the settled amount. Merging
//! never changes what has vested, since a tranche takes grants only up to its first epoch.

use super::{SettleError, add, add_class, add_tokens};
use protocol::{
    Account, Epoch, Micros, Tokens,
    inputs::Inputs,
    leaf::Dollars,
    manifest::Vesting,
    reward::{self, Tranche},
    statement::{AccountState, Statement},
};
use std::collections::BTreeMap;

/// Into how many steps the vesting time is divided at most.
pub(super) const TRANCHES: u32 = 32;

/// What this epoch adds.
#[derive(Default)]
pub(super) struct Changes {
    accounts: BTreeMap<Account, Change>,
    /// Dollars set aside to burn.
    pub(super) to_burn: Micros,
    /// Top-ups granted.
    pub(super) topped_up: Tokens,
    /// Pay for presence granted.
    pub(super) bootstrapped: Tokens,
    /// Stake taken.
    pub(super) slashed: Tokens,
}

/// What this epoch adds to one account.
#[derive(Default)]
struct Change {
    earned: Dollars,
    spent: Micros,
    slashed: Tokens,
    granted: Tokens,
}

/// The accounts after this epoch, and the network-wide additions.
pub(super) struct Accounts {
    /// Ascending by account.
    pub(super) states: Vec<AccountState>,
    /// What this epoch sets aside to burn.
    pub(super) to_burn: Micros,
    /// What it grants as top-ups.
    pub(super) topped_up: Tokens,
    /// What it grants for presence.
    pub(super) bootstrapped: Tokens,
    /// What it takes in slashes.
    pub(super) slashed: Tokens,
}

impl Changes {
    /// A payer spends.
    pub(super) fn spend(&mut self, account: Account, amount: Micros) -> Result<(), SettleError> {
        add(&mut self.accounts.entry(account).or_default().spent, amount, "an account's spending")
    }

    /// An account earns dollars of a class.
    pub(super) fn earn(
        &mut self,
        account: Account,
        class: u8,
        amount: Micros,
    ) -> Result<(), SettleError> {
        let change = self.accounts.entry(account).or_default();
        add_class(&mut change.earned, class, amount, "an account's earnings")
    }

    /// An account is granted tokens.
    pub(super) fn grant(&mut self, account: Account, amount: Tokens) -> Result<(), SettleError> {
        if amount.is_zero() {
            return Ok(());
        }
        add_tokens(&mut self.accounts.entry(account).or_default().granted, amount, "grants")
    }

    /// An account loses stake.
    pub(super) fn lose(&mut self, account: Account, amount: Tokens) -> Result<(), SettleError> {
        if amount.is_zero() {
            return Ok(());
        }
        add_tokens(&mut self.accounts.entry(account).or_default().slashed, amount, "slashes")
    }
}

/// Joins the changes with the previous accounts.
pub(super) fn accounts(
    inputs: &Inputs,
    previous: &Statement,
    changes: Changes,
) -> Result<Accounts, SettleError> {
    let Changes { mut accounts, to_burn, topped_up, bootstrapped, slashed } = changes;
    // Stake and deposits are released against a leaf: who may have to show one has one, be it empty.
    let owners = inputs.roster.iter().map(|device| device.owner);
    for account in owners.chain(inputs.rails.iter().map(|rail| rail.payer)) {
        accounts.entry(account).or_default();
    }
    let mut changed = accounts.into_iter().peekable();
    let mut states = Vec::with_capacity(previous.accounts.len());
    for earlier in &previous.accounts {
        while let Some((account, change)) = changed.next_if(|(new, _)| *new < earlier.account) {
            states.push(apply(inputs, blank(account), change)?);
        }
        let change = changed.next_if(|(account, _)| *account == earlier.account);
        let change = change.map(|(_, change)| change).unwrap_or_default();
        states.push(apply(inputs, earlier.clone(), change)?);
    }
    for (account, change) in changed {
        states.push(apply(inputs, blank(account), change)?);
    }
    Ok(Accounts { states, to_burn, topped_up, bootstrapped, slashed })
}

const fn blank(account: Account) -> AccountState {
    AccountState {
        account,
        settled: Tokens::ZERO,
        tranches: Vec::new(),
        earned: Dollars { cash: Micros::ZERO, card: Micros::ZERO, credit: Micros::ZERO },
        spent: Micros::ZERO,
        slashed: Tokens::ZERO,
    }
}

fn apply(
    inputs: &Inputs,
    mut state: AccountState,
    change: Change,
) -> Result<AccountState, SettleError> {
    for (class, amount) in
        [(0, change.earned.cash), (1, change.earned.card), (2, change.earned.credit)]
    {
        add_class(&mut state.earned, class, amount, "an account's earnings")?;
    }
    add(&mut state.spent, change.spent, "an account's spending")?;
    add_tokens(&mut state.slashed, change.slashed, "an account's slashes")?;
    vest(&mut state, change.granted, inputs.epoch, &inputs.manifest.vesting)?;
    Ok(state)
}

/// Adds a grant and settles tranches that have vested completely.
fn vest(
    state: &mut AccountState,
    granted: Tokens,
    epoch: Epoch,
    vesting: &Vesting,
) -> Result<(), SettleError> {
    let (free, later) = reward::vest(granted, begin(epoch, vesting.epochs), vesting);
    add_tokens(&mut state.settled, free, "tokens settled")?;
    if !later.amount.is_zero() {
        let place = state
            .tranches
            .binary_search_by_key(&(later.from, later.epochs), |there| (there.from, there.epochs));
        match place {
            Ok(at) => add_tokens(&mut state.tranches[at].amount, later.amount, "a tranche")?,
            Err(at) => state.tranches.insert(at, later),
        }
    }
    let (complete, rest): (Vec<Tranche>, Vec<Tranche>) =
        std::mem::take(&mut state.tranches).into_iter().partition(|there| there.is_complete(epoch));
    state.tranches = rest;
    for tranche in complete {
        add_tokens(&mut state.settled, tranche.amount, "tokens settled")?;
    }
    Ok(())
}

/// The first epoch at or after `epoch` in which a tranche may begin.
fn begin(epoch: Epoch, epochs: u32) -> Epoch {
    let step = u64::from(epochs.div_ceil(TRANCHES).max(1));
    Epoch(epoch.0.div_ceil(step).saturating_mul(step))
}
