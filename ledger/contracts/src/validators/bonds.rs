//! Bonding coin, asking it back, and paying it out.

use super::state::{Owner, Request, Sums, Validators};
use crate::abi::ISystem::Empty;
use crate::abi::IValidators::{
    Bonded, InsufficientBond, NothingUnbonding, StillBound, Unbonding, Withdrawn,
};
use crate::address::VALIDATORS;
use crate::context::{Checked as _, Context, narrow};
use crate::env::{Failure, ensure};
use alloy_primitives::{Address, U256};

impl Validators {
    /// Bonds the coin that came with the call.
    pub(super) fn bond(&self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let (owner, amount) = (cx.caller(), cx.value());
        ensure!(!amount.is_zero(), Empty {});
        let total = self.add_bond(cx, owner, narrow(amount)?)?;
        cx.emit(VALIDATORS, &Bonded { owner, amount, total: U256::from(total) })
    }

    /// Counts coin that this contract holds as an owner's bond, and returns all of it.
    pub(super) fn add_bond(
        &self,
        cx: &mut Context<'_>,
        owner: Address,
        amount: u128,
    ) -> Result<u128, Failure> {
        let Owner { bond, keys } = self.owners.get(cx, owner)?;
        let bond = bond.plus(amount)?;
        self.owners.set(cx, owner, &Owner { bond, keys })?;
        let sums = self.sums.get(cx)?;
        let bonded = sums.bonded.plus(amount)?;
        self.sums.set(cx, &Sums { bonded, ..sums })?;
        Ok(bond)
    }

    pub(super) fn unbond(&self, cx: &mut Context<'_>, amount: U256) -> Result<(), Failure> {
        let owner = cx.caller();
        ensure!(!amount.is_zero(), Empty {});
        let Owner { bond, keys } = self.owners.get(cx, owner)?;
        let least = U256::from(self.bond_min.get(cx)?) * U256::from(keys);
        let needed = least.plus(amount)?;
        let error = InsufficientBond { owner, bond: U256::from(bond), needed };
        ensure!(needed <= U256::from(bond), error);
        let less: u128 = narrow(amount)?;
        self.owners.set(cx, owner, &Owner { bond: bond.minus(less)?, keys })?;
        let sums = self.sums.get(cx)?;
        let (bonded, unbonding) = (sums.bonded.minus(less)?, sums.unbonding.plus(less)?);
        self.sums.set(cx, &Sums { bonded, unbonding, ..sums })?;
        // The bond may back the committee of the next term, whose votes are judged for as long.
        let until = self.term(cx)?.plus(self.rules.get(cx)?.unbonding_terms)?.plus(2)?;
        let asked = self.requests.get(cx, owner)?.amount.plus(less)?;
        self.requests.set(cx, owner, &Request { amount: asked, until })?;
        cx.emit(VALIDATORS, &Unbonding { owner, amount, until })
    }

    pub(super) fn withdraw(&self, cx: &mut Context<'_>) -> Result<u128, Failure> {
        let owner = cx.caller();
        let Request { amount, until } = self.requests.get(cx, owner)?;
        ensure!(amount != 0, NothingUnbonding { owner });
        ensure!(self.term(cx)? >= until, StillBound { owner, until });
        self.requests.set(cx, owner, &Request { amount: 0, until: 0 })?;
        let sums = self.sums.get(cx)?;
        let unbonding = sums.unbonding.minus(amount)?;
        self.sums.set(cx, &Sums { unbonding, ..sums })?;
        let paid = U256::from(amount);
        cx.pay(VALIDATORS, owner, paid)?;
        cx.emit(VALIDATORS, &Withdrawn { owner, paid })?;
        Ok(amount)
    }
}
