//! Making and redeeming cash.

use super::Dollars;
use crate::abi::IDollars::{Deposited, NoSuchClass, Redeemed};
use crate::abi::ISystem::Empty;
use crate::address::DOLLARS;
use crate::context::Context;
use crate::env::{Failure, ensure};
use crate::guard;
use alloy_primitives::{Address, U256};

/// The number of the cash class.
const CASH: u8 = 0;

impl Dollars {
    pub(super) fn deposit(&self, cx: &mut Context<'_>, amount: U256) -> Result<(), Failure> {
        ensure!(!amount.is_zero(), Empty {});
        let account = cx.caller();
        self.stable.spend_allowance(cx, account, DOLLARS, amount)?;
        self.stable.transfer(cx, account, DOLLARS, amount)?;
        self.token.mint(cx, account, amount)?;
        cx.emit(DOLLARS, &Deposited { account, amount })
    }

    pub(super) fn redeem(&self, cx: &mut Context<'_>, amount: U256) -> Result<(), Failure> {
        ensure!(!amount.is_zero(), Empty {});
        let account = cx.caller();
        let held = self.stable.balance(cx, DOLLARS)?;
        self.token.burn(cx, account, amount)?;
        guard::outflow(cx, DOLLARS, amount, held)?;
        self.stable.transfer(cx, DOLLARS, account, amount)?;
        cx.emit(DOLLARS, &Redeemed { account, amount })
    }

    pub(super) fn balance_of_class(
        &self,
        cx: &mut Context<'_>,
        account: Address,
        class: u8,
    ) -> Result<U256, Failure> {
        ensure!(class == CASH, NoSuchClass { class });
        self.token.balance(cx, account)
    }
}
