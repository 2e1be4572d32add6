//! The vault: dollars in, dollars out.

use super::state::{Purse, Rails};
use crate::abi::IRails::{Deposited, InsufficientDeposit, Withdrawn};
use crate::abi::ISystem::Empty;
use crate::address::RAILS;
use crate::context::{Checked as _, Context, narrow};
use crate::dollars::Dollars;
use crate::env::{Failure, ensure};
use crate::guard;
use alloy_primitives::{Address, U256};

impl Rails {
    pub(super) fn deposit(&self, cx: &mut Context<'_>, amount: U256) -> Result<(), Failure> {
        ensure!(!amount.is_zero(), Empty {});
        let payer = cx.caller();
        Dollars::new().token.transfer(cx, payer, RAILS, amount)?;
        let purse = self.purses.get(cx, payer)?;
        let deposited = purse.deposited.plus(narrow(amount)?)?;
        self.purses.set(cx, payer, &Purse { deposited, ..purse })?;
        cx.emit(RAILS, &Deposited { payer, amount })
    }

    pub(super) fn withdraw(&self, cx: &mut Context<'_>, amount: U256) -> Result<(), Failure> {
        ensure!(!amount.is_zero(), Empty {});
        let payer = cx.caller();
        let purse = self.purses.get(cx, payer)?;
        let free = U256::from(purse.deposited.minus(purse.reserved)?);
        ensure!(amount <= free, InsufficientDeposit { payer, free, needed: amount });
        let deposited = purse.deposited.minus(narrow(amount)?)?;
        self.purses.set(cx, payer, &Purse { deposited, ..purse })?;
        let cash = Dollars::new().token;
        let held = cash.balance(cx, RAILS)?;
        guard::outflow(cx, RAILS, amount, held)?;
        cash.transfer(cx, RAILS, payer, amount)?;
        cx.emit(RAILS, &Withdrawn { payer, amount })
    }

    /// Pays claimed cash to `to`. Only `Settlements` calls this, within what was approved.
    pub(crate) fn pay(
        &self,
        cx: &mut Context<'_>,
        to: Address,
        amount: U256,
    ) -> Result<(), Failure> {
        Dollars::new().token.transfer(cx, RAILS, to, amount)
    }

    /// Reserves `amount` of the payer's deposit for a network.
    pub(super) fn reserve(
        &self,
        cx: &mut Context<'_>,
        payer: Address,
        network: u64,
        amount: u64,
    ) -> Result<(), Failure> {
        let (purse, amount) = (self.purses.get(cx, payer)?, u128::from(amount));
        let free = U256::from(purse.deposited.minus(purse.reserved)?);
        let needed = U256::from(amount);
        ensure!(needed <= free, InsufficientDeposit { payer, free, needed });
        let reserved = purse.reserved.plus(amount)?;
        self.purses.set(cx, payer, &Purse { reserved, ..purse })?;
        let backing = self.backing.get(cx, network)?.plus(amount)?;
        self.backing.set(cx, network, &backing)
    }
}
