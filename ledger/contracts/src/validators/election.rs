//! The beginning of a block, and the election of a committee.
//!
//! Seats are apportioned to owners by bond with the largest remainder (Hamilton), since votes are equal in
//! simplex. Nobody gets more seats than keys with the least bond; what an owner cannot use is shared out
//! again among the others. Equal remainders go by the owner's address, and an owner's seats to its keys in
//! the order of registration. Without any candidate the committee before stays.
//!
//! While there are no more keys than seats every key with the least bond has one. Then the least bond is the
//! price of a vote: an owner has as many votes as it bonds multiples of it and registers keys for, and what it
//! bonds beyond its keys buys nothing. Whoever founds a ledger sets that price; below what honest owners have
//! behind each key, others buy the same votes for less (`wayleave init` refuses to found that).
//!
//! The election of a full contract (1,024 keys of as many owners, 256 seats) loads 5,127 values, those
//! that are only written included: 0.1 s at some 20 microseconds each, and 20 ms of computing (optimised,
//! one core of an AMD EPYC). None loads more. It is no transaction and pays no gas.

use super::state::{Active, Owner, Rules, Validators};
use crate::context::Context;
use crate::env::{Env, Failure};
use alloy_primitives::{Address, B256, U256};
use std::collections::BTreeMap;

/// An owner's claim on seats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) owner: Address,
    /// Coin in its smallest unit.
    pub(super) bond: u128,
    /// The most seats that it can fill.
    pub(super) keys: u64,
}

/// The seats of each claim, in the order of the claims: all `seats`, or as many as there are keys.
pub(super) fn apportion(claims: &[Claim], seats: u64) -> Vec<u64> {
    let keys = claims.iter().fold(0u64, |sum, claim| sum.saturating_add(claim.keys));
    let mut left = seats.min(keys);
    let mut won = vec![0; claims.len()];
    let mut open: Vec<(usize, &Claim)> =
        claims.iter().enumerate().filter(|(_, claim)| claim.keys > 0).collect();
    let sum = |open: &[(usize, &Claim)]| -> U256 {
        open.iter().map(|(_, claim)| U256::from(claim.bond)).sum()
    };
    loop {
        // Who has a claim on all its keys or more gets those; the others' shares only grow by it.
        let total = sum(&open);
        let (full, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, claim)| {
            U256::from(claim.bond) * U256::from(left) >= U256::from(claim.keys) * total
        });
        open = rest;
        if full.is_empty() {
            break;
        }
        for (index, claim) in full {
            won[index] = claim.keys.min(left);
            left -= won[index];
        }
    }
    let total = sum(&open);
    let mut remainders: Vec<(U256, &Claim, usize)> = Vec::with_capacity(open.len());
    let mut given = 0u64;
    for (index, claim) in open {
        // Somebody is open, so the sum of their bonds is not zero: a claim without bond was full at once.
        let (whole, rest) = (U256::from(claim.bond) * U256::from(left)).div_rem(total);
        won[index] = whole.saturating_to();
        given = given.saturating_add(won[index]);
        remainders.push((rest, claim, index));
    }
    remainders.sort_by(|(a, one, _), (b, other, _)| b.cmp(a).then(one.owner.cmp(&other.owner)));
    let over = usize::try_from(left.saturating_sub(given)).unwrap_or(usize::MAX);
    for (_, _, index) in remainders.into_iter().take(over) {
        won[index] += 1;
    }
    won
}

/// A key that won a seat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elected {
    pub(super) key: B256,
    pub(super) owner: Address,
    /// The part of the owner's bond that stands behind this seat.
    pub(super) backing: u128,
}

impl Validators {
    /// Elects the committee of term `next`, and forgets the one whose votes are no longer judged.
    pub(super) fn elect(&self, cx: &mut Context<'_>, next: u64, mix: B256) -> Result<(), Failure> {
        let Rules { seats_max, unbonding_terms, .. } = self.rules.get(cx)?;
        let mut elected = self.winners(cx, seats_max)?;
        if elected.is_empty() {
            elected = self.again(cx, next.saturating_sub(1))?;
        }
        self.install(cx, next, elected)?;
        self.mixes.set(cx, next, &mix)?;
        match next.checked_sub(unbonding_terms.saturating_add(2)) {
            Some(old) => self.forget(cx, old),
            None => Ok(()),
        }
    }

    fn winners(&self, cx: &mut Context<'_>, seats: u64) -> Result<Vec<Elected>, Failure> {
        let least = self.bond_min.get(cx)?.max(1);
        let mut keys: BTreeMap<Address, Vec<(u64, B256)>> = BTreeMap::new();
        for Active { key, owner, order } in self.active.all(cx)? {
            keys.entry(owner).or_default().push((order, key));
        }
        let mut claims = Vec::with_capacity(keys.len());
        for (owner, keys) in &keys {
            let Owner { bond, .. } = self.owners.get(cx, *owner)?;
            let backed = u64::try_from(bond / least).unwrap_or(u64::MAX);
            let keys = u64::try_from(keys.len()).unwrap_or(u64::MAX).min(backed);
            claims.push(Claim { owner: *owner, bond, keys });
        }
        let won = apportion(&claims, seats);
        let mut elected = Vec::new();
        for ((claim, won), mut keys) in claims.iter().zip(won).zip(keys.into_values()) {
            keys.sort_unstable();
            let backing = claim.bond.checked_div(u128::from(won)).unwrap_or(0);
            let seats = keys.into_iter().take(usize::try_from(won).unwrap_or(usize::MAX));
            let owner = claim.owner;
            elected.extend(seats.map(|(_, key)| Elected { key, owner, backing }));
        }
        Ok(elected)
    }

    /// The committee of a term, to serve once more.
    fn again(&self, cx: &mut Context<'_>, term: u64) -> Result<Vec<Elected>, Failure> {
        let keys = self.committees.at_key(cx, term)?.all(cx)?;
        let elected = |key| {
            let owner = self.keys.get(cx, key)?.owner;
            let backing = self.backing.get2(cx, term, owner)?;
            Ok(Elected { key, owner, backing })
        };
        keys.into_iter().map(elected).collect()
    }

    /// Writes the committee of a term.
    pub(super) fn install(
        &self,
        cx: &mut Context<'_>,
        term: u64,
        mut elected: Vec<Elected>,
    ) -> Result<(), Failure> {
        elected.sort_unstable_by_key(|elected| elected.key);
        let (mut seats, mut backing) = (BTreeMap::new(), BTreeMap::new());
        let committee = self.committees.at_key(cx, term)?;
        for Elected { key, owner, backing: each } in elected {
            committee.push(cx, &key)?;
            let account = self.keys.get(cx, key)?.account;
            *seats.entry(account).or_insert(0u64) += 1;
            backing.insert(owner, each);
        }
        for (account, seats) in seats {
            self.seats.set2(cx, term, account, &seats)?;
        }
        for (owner, backing) in backing {
            self.backing.set2(cx, term, owner, &backing)?;
        }
        Ok(())
    }

    fn forget(&self, cx: &mut Context<'_>, term: u64) -> Result<(), Failure> {
        for key in self.committees.at_key(cx, term)?.take(cx)? {
            let record = self.keys.get(cx, key)?;
            self.seats.set2(cx, term, record.account, &0)?;
            self.backing.set2(cx, term, record.owner, &0)?;
        }
        self.mixes.set(cx, term, &B256::ZERO)
    }
}

/// What happens at the beginning of a block, before its transactions: block 1 keeps the hash of the genesis
/// block, `parent`; the first block of each term but term 0 elects the committee of the next and keeps
/// `mix`, the seed mix after this block's reveal, to order its leaders by. The executor
/// calls it for every block, on the state as the block found it.
///
/// # Errors
/// [`Failure::Fault`] only, when the state cannot be read: nothing that a transaction wrote makes an
/// election fail.
pub fn begin_block(env: &mut dyn Env, parent: B256, mix: B256) -> Result<(), Failure> {
    let mut cx = Context::new(env, Address::ZERO, false);
    let (cx, validators) = (&mut cx, Validators::new());
    let (height, length) = (cx.height(), validators.rules.get(cx)?.length);
    if length == 0 {
        return Ok(());
    }
    if height == 1 {
        validators.genesis.set(cx, &parent)?;
    }
    if height == 0 || !height.is_multiple_of(length) {
        return Ok(());
    }
    validators.elect(cx, (height / length).saturating_add(1), mix)
}

#[cfg(test)]
mod tests;
