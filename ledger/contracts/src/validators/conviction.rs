//! Double votes: convicting a key, and releasing what was held for it.

use super::state::{Key, Lock, Sums, Validators};
use super::votes::Vote;
use crate::abi::IValidators::{
    AlreadyConvicted, Convicted, InvalidVote, MalformedVote, NoConflict, NoSuchSeat, NothingLocked,
    Released, StillBound, TooLate,
};
use crate::address::VALIDATORS;
use crate::context::{Checked as _, Context, narrow};
use crate::env::{Failure, ensure};
use crate::signature;
use alloy_primitives::{Address, B256, U256};

/// The part of what is held that is lost at least: one in 20.
const PENALTY: u128 = 20;
/// The part of what is held that the reporter gets: one in 100.
const REWARD: u128 = 100;
/// A third of the seats loses everything.
const CORRELATION: u64 = 3;

impl Validators {
    pub(super) fn accuse(
        &self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Result<(), Failure> {
        let (Some(one), Some(two)) = (Vote::read(first), Vote::read(second)) else {
            return Err(MalformedVote {}.into());
        };
        ensure!(one.conflicts(&two), NoConflict {});
        let (term, signer) = (one.term, one.signer);
        let until = term.saturating_add(self.rules.get(cx)?.unbonding_terms);
        ensure!(self.term(cx)? <= until, TooLate { term, until });
        let key = self.committees.at_key(cx, term)?.get(cx, signer)?;
        let key = key.ok_or(NoSuchSeat { term, signer })?;
        let record = self.keys.get(cx, key)?;
        ensure!(!record.convicted, AlreadyConvicted { key });
        let genesis = self.genesis.get(cx)?;
        for vote in [&one, &two] {
            let signed = (&vote.namespace(genesis)[..], vote.body);
            let valid = signature::validator_signed(cx, key, signed, vote.signature)?;
            ensure!(valid && !genesis.is_zero(), InvalidVote { key });
        }
        if !record.retired {
            self.remove(cx, key)?;
        }
        let (locked, reward) = self.convict(cx, key, term)?;
        let (owner, reporter) = (record.owner, cx.caller());
        let (locked, reward) = (U256::from(locked), U256::from(reward));
        if !reward.is_zero() {
            cx.pay(VALIDATORS, reporter, reward)?;
        }
        let event = Convicted { key, owner, reporter, term, view: one.view, locked, reward };
        cx.emit(VALIDATORS, &event)
    }

    /// Holds what backed a key's seat in `term`. Gives what is held, and what of it is the reporter's.
    fn convict(&self, cx: &mut Context<'_>, key: B256, term: u64) -> Result<(u128, u128), Failure> {
        let record = self.keys.get(cx, key)?;
        let owner = record.owner;
        self.keys.set(cx, key, &Key { convicted: true, ..record })?;
        self.convicted.push(cx, &key)?;
        let since = self.term(cx)?;
        let count = self.convictions.get(cx, since)?.plus(1)?;
        self.convictions.set(cx, since, &count)?;

        let backing = self.backing.get2(cx, term, owner)?;
        let locked = self.seize(cx, owner, backing)?;
        let reward = locked / REWARD;
        let seats = self.all_seats(cx, term)?;
        let lock = Lock { amount: locked.minus(reward)?, reward, since, seats, open: true };
        self.locks.set(cx, key, &lock)?;
        let sums = self.sums.get(cx)?;
        let all = sums.locked.plus(lock.amount)?;
        self.sums.set(cx, &Sums { locked: all, ..sums })?;
        Ok((locked, reward))
    }

    pub(super) fn release(&self, cx: &mut Context<'_>, key: B256) -> Result<(), Failure> {
        let lock = self.locks.get(cx, key)?;
        ensure!(lock.open, NothingLocked { key });
        let owner = self.keys.get(cx, key)?.owner;
        let until = self.lock_end(cx, &lock)?;
        ensure!(self.term(cx)? >= until, StillBound { owner, until });
        let taken = self.penalty(cx, &lock)?.saturating_sub(lock.reward).min(lock.amount);
        let paid = lock.amount.minus(taken)?;
        self.locks.set(cx, key, &Lock { amount: 0, open: false, ..lock })?;
        let sums = self.sums.get(cx)?;
        let locked = sums.locked.minus(lock.amount)?;
        self.sums.set(cx, &Sums { locked, ..sums })?;
        let (taken, paid) = (U256::from(taken), U256::from(paid));
        for (to, amount) in [(Address::ZERO, taken), (owner, paid)] {
            if !amount.is_zero() {
                cx.pay(VALIDATORS, to, amount)?;
            }
        }
        cx.emit(VALIDATORS, &Released { key, owner, taken, paid })
    }

    /// The first term in which all double votes of the window are reported.
    pub(super) fn lock_end(&self, cx: &mut Context<'_>, lock: &Lock) -> Result<u64, Failure> {
        lock.since.plus(self.rules.get(cx)?.unbonding_terms)?.plus(1)
    }

    /// What a convicted key loses in all, the reporter's part included.
    fn penalty(&self, cx: &mut Context<'_>, lock: &Lock) -> Result<u128, Failure> {
        let window = self.rules.get(cx)?.unbonding_terms;
        let (first, last) = (lock.since.saturating_sub(window), lock.since.plus(window)?);
        let mut convicted = 0u64;
        for term in first..=last {
            convicted = convicted.plus(self.convictions.get(cx, term)?)?;
        }
        let whole = lock.amount.plus(lock.reward)?;
        let share = U256::from(convicted.saturating_mul(CORRELATION));
        let correlated = U256::from(whole) * share / U256::from(lock.seats.max(1));
        narrow(correlated.max(U256::from(whole / PENALTY)).min(U256::from(whole)))
    }
}

#[cfg(test)]
mod tests;
