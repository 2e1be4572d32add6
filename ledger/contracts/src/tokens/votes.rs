//! Votes by checkpoint (ERC-5805): who could vote with how much at any past height.
//!
//! An account's balance counts for nobody until it names a delegate, itself or another.

use super::state::{Checkpoint, Token};
use crate::abi::IVotes::{
    DelegateChanged, DelegateVotesChanged, ERC5805FutureLookup, InvalidAccountNonce,
    InvalidSignature, VotesExpiredSignature, delegateBySigCall,
};
use crate::context::{Checked as _, Context, narrow};
use crate::env::{Failure, ensure};
use crate::signature::recover;
use crate::storage::List;
use alloy_primitives::{Address, U256, aliases::U48};

/// The clock of ERC-6372.
pub(super) const CLOCK_MODE: &str = "mode=blocknumber&from=default";

mod typed {
    //! The typed data that wallets show.
    alloy_sol_types::sol! {
        struct Delegation {
            address delegatee;
            uint256 nonce;
            uint256 expiry;
        }
    }
}

/// The height, as ERC-6372 counts it.
pub(super) fn clock(cx: &Context<'_>) -> U48 {
    U48::saturating_from(cx.height())
}

impl Token {
    pub(super) fn votes(&self, cx: &mut Context<'_>, account: Address) -> Result<U256, Failure> {
        let list = self.checkpoints.at_key(cx, account)?;
        latest(cx, &list).map(U256::from)
    }

    pub(super) fn past_votes(
        &self,
        cx: &mut Context<'_>,
        account: Address,
        timepoint: U256,
    ) -> Result<U256, Failure> {
        let height = past_height(cx, timepoint)?;
        let list = self.checkpoints.at_key(cx, account)?;
        amount_at(cx, &list, height).map(U256::from)
    }

    pub(super) fn past_supply(
        &self,
        cx: &mut Context<'_>,
        timepoint: U256,
    ) -> Result<U256, Failure> {
        let height = past_height(cx, timepoint)?;
        amount_at(cx, &self.supplies, height).map(U256::from)
    }

    pub(super) fn delegate(
        &self,
        cx: &mut Context<'_>,
        delegator: Address,
        to: Address,
    ) -> Result<(), Failure> {
        let from = self.delegates.get(cx, delegator)?;
        self.delegates.set(cx, delegator, &to)?;
        let changed = DelegateChanged { delegator, fromDelegate: from, toDelegate: to };
        cx.emit(self.address, &changed)?;
        let balance = self.balances.get(cx, delegator)?;
        self.shift(cx, from, to, balance)
    }

    pub(super) fn delegate_by_sig(
        &self,
        cx: &mut Context<'_>,
        call: &delegateBySigCall,
    ) -> Result<(), Failure> {
        let delegateBySigCall { delegatee, nonce, expiry, v, r, s } = *call;
        ensure!(U256::from(cx.timestamp()) <= expiry, VotesExpiredSignature { expiry });
        let message = typed::Delegation { delegatee, nonce, expiry };
        let digest = self.signing_hash(cx, &message)?;
        let Some(signer) = recover(cx, digest, v, r, s)? else {
            return Err(InvalidSignature {}.into());
        };
        let current = U256::from(self.use_nonce(cx, signer)?);
        let error = InvalidAccountNonce { account: signer, currentNonce: current };
        ensure!(current == nonce, error);
        self.delegate(cx, signer, delegatee)
    }

    /// Moves votes with a balance: the zero address stands for what is made or destroyed.
    pub(super) fn move_votes(
        &self,
        cx: &mut Context<'_>,
        from: Address,
        to: Address,
        amount: U256,
    ) -> Result<(), Failure> {
        if !self.kind(cx)?.votes {
            return Ok(());
        }
        let mut delegate = |account: Address| {
            if account.is_zero() { Ok(Address::ZERO) } else { self.delegates.get(cx, account) }
        };
        let (from, to) = (delegate(from)?, delegate(to)?);
        self.shift(cx, from, to, amount)
    }

    /// Moves votes between delegates.
    fn shift(
        &self,
        cx: &mut Context<'_>,
        from: Address,
        to: Address,
        amount: U256,
    ) -> Result<(), Failure> {
        if from == to || amount.is_zero() {
            return Ok(());
        }
        let amount: u128 = narrow(amount)?;
        if !from.is_zero() {
            let list = self.checkpoints.at_key(cx, from)?;
            let before = latest(cx, &list)?;
            self.set_votes(cx, from, &list, (before, before.minus(amount)?))?;
        }
        if !to.is_zero() {
            let list = self.checkpoints.at_key(cx, to)?;
            let before = latest(cx, &list)?;
            self.set_votes(cx, to, &list, (before, before.plus(amount)?))?;
        }
        Ok(())
    }

    fn set_votes(
        &self,
        cx: &mut Context<'_>,
        delegate: Address,
        list: &List<Checkpoint>,
        change: (u128, u128),
    ) -> Result<(), Failure> {
        let (before, after) = change;
        write(cx, list, after)?;
        let (previous, new) = (U256::from(before), U256::from(after));
        let event = DelegateVotesChanged { delegate, previousVotes: previous, newVotes: new };
        cx.emit(self.address, &event)
    }

    /// Notes the supply from this height on, for tokens with votes.
    pub(super) fn record_supply(&self, cx: &mut Context<'_>, supply: U256) -> Result<(), Failure> {
        if !self.kind(cx)?.votes {
            return Ok(());
        }
        write(cx, &self.supplies, narrow(supply)?)
    }
}

fn past_height(cx: &Context<'_>, timepoint: U256) -> Result<u64, Failure> {
    let error = ERC5805FutureLookup { timepoint, clock: clock(cx) };
    ensure!(timepoint < U256::from(cx.height()), error);
    narrow(timepoint)
}

fn latest(cx: &mut Context<'_>, list: &List<Checkpoint>) -> Result<u128, Failure> {
    Ok(list.last(cx)?.map_or(0, |checkpoint| checkpoint.amount))
}

/// Notes an amount from this height on: one checkpoint a height.
fn write(cx: &mut Context<'_>, list: &List<Checkpoint>, amount: u128) -> Result<(), Failure> {
    let next = Checkpoint { height: cx.height(), amount };
    match list.last(cx)? {
        Some(last) if last.height == next.height => {
            let index = list.len(cx)?.minus(1)?;
            list.set(cx, index, &next)
        }
        _ => list.push(cx, &next).map(|_| ()),
    }
}

/// The amount that held at the end of `height`: the last checkpoint not after it.
fn amount_at(cx: &mut Context<'_>, list: &List<Checkpoint>, height: u64) -> Result<u128, Failure> {
    let (mut low, mut high) = (0, list.len(cx)?);
    while low < high {
        let middle = low + (high - low) / 2;
        match list.get(cx, middle)? {
            Some(checkpoint) if checkpoint.height <= height => low = middle + 1,
            _ => high = middle,
        }
    }
    match low.checked_sub(1) {
        Some(index) => Ok(list.get(cx, index)?.map_or(0, |checkpoint| checkpoint.amount)),
        None => Ok(0),
    }
}
