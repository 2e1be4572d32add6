//! Pausing, and counting what leaves.

use super::state::{Guard, Outflow, Pauses};
use crate::abi::IGuard::{
    BreakerOpen, FunctionPaused, FunctionResumed, NotGuardian, NotPausable, PauseTooLong,
    PausedRecently,
};
use crate::abi::ISystem::Paused;
use crate::abi::IValidators::{accuseCall, chargeCall};
use crate::address::{GUARD, SETTLEMENTS, VALIDATORS, is_system};
use crate::context::{Checked as _, Context, narrow};
use crate::env::{Failure, ensure};
use alloy_primitives::{Address, B256, FixedBytes, U256};
use alloy_sol_types::SolCall as _;

/// The whole of a share, in millionths.
const WHOLE: u64 = 1_000_000;

/// Reverts if the function is paused. Costs one slot as long as nothing is.
pub(crate) fn check(
    cx: &mut Context<'_>,
    target: Address,
    selector: FixedBytes<4>,
) -> Result<(), Failure> {
    let guard = Guard::new();
    if guard.pauses.get(cx)?.latest <= cx.height() {
        return Ok(());
    }
    let until = guard.paused_until(cx, target, selector)?;
    ensure!(until <= cx.height(), Paused { selector, until });
    Ok(())
}

/// Counts `amount` as leaving `contract`, which holds `held` before it; reverts if the window's limit
/// is exceeded.
pub(crate) fn outflow(
    cx: &mut Context<'_>,
    contract: Address,
    amount: U256,
    held: U256,
) -> Result<(), Failure> {
    let guard = Guard::new();
    let breaker = guard.breaker.get(cx)?;
    let window = cx.height() / breaker.window.max(1);
    let last = guard.outflows.get(cx, contract)?;
    let left = if last.window == window { U256::from(last.amount) } else { U256::ZERO };
    let outflow = left.plus(amount)?;
    let share = U256::from(breaker.share.min(WHOLE));
    let base = narrow::<u128>(held.plus(left)?)?;
    let limit = U256::from(base) * share / U256::from(WHOLE);
    let limit = limit.max(U256::from(breaker.floor));
    ensure!(outflow <= limit, BreakerOpen { target: contract, outflow, limit });
    guard.outflows.set(cx, contract, &Outflow { window, amount: narrow(outflow)? })
}

fn key(cx: &mut Context<'_>, target: Address, selector: FixedBytes<4>) -> Result<B256, Failure> {
    cx.keccak(&[target.as_slice(), selector.as_slice()].concat())
}

impl Guard {
    pub(super) fn paused_until(
        &self,
        cx: &mut Context<'_>,
        target: Address,
        selector: FixedBytes<4>,
    ) -> Result<u64, Failure> {
        let key = key(cx, target, selector)?;
        self.until.get(cx, key)
    }

    fn only_guardian(&self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let caller = cx.caller();
        ensure!(caller == self.guardian.get(cx)?, NotGuardian { caller });
        Ok(())
    }

    pub(super) fn pause(
        &self,
        cx: &mut Context<'_>,
        target: Address,
        selector: FixedBytes<4>,
        until: u64,
    ) -> Result<(), Failure> {
        self.only_guardian(cx)?;
        let open = match target {
            // Settled pay is claimed, votes are cast and dissent is heard in time, whoever is against it.
            GUARD | SETTLEMENTS => true,
            // Nobody gains the time in which the report of a double vote, or of an author's faults, comes
            // too late.
            VALIDATORS => [accuseCall::SELECTOR, chargeCall::SELECTOR].contains(&selector.0),
            _ => false,
        };
        ensure!(is_system(target) && !open, NotPausable { target, selector });
        let Pauses { longest, latest } = self.pauses.get(cx)?;
        let height = cx.height();
        let last = height.plus(longest)?;
        ensure!(until <= last, PauseTooLong { until, latest: last });
        let before = self.paused_until(cx, target, selector)?;
        let from = before.plus(longest)?;
        ensure!(before == 0 || height >= from, PausedRecently { from });
        let key = key(cx, target, selector)?;
        self.until.set(cx, key, &until)?;
        self.pauses.set(cx, &Pauses { longest, latest: latest.max(until) })?;
        cx.emit(GUARD, &FunctionPaused { target, selector, until })
    }

    /// Ends a pause now; the time until the next is counted from here.
    pub(super) fn resume(
        &self,
        cx: &mut Context<'_>,
        target: Address,
        selector: FixedBytes<4>,
    ) -> Result<(), Failure> {
        self.only_guardian(cx)?;
        let height = cx.height();
        if self.paused_until(cx, target, selector)? > height {
            let key = key(cx, target, selector)?;
            self.until.set(cx, key, &height)?;
        }
        cx.emit(GUARD, &FunctionResumed { target, selector })
    }

    pub(super) fn outflow_of(
        &self,
        cx: &mut Context<'_>,
        target: Address,
    ) -> Result<(U256, u64), Failure> {
        let length = self.breaker.get(cx)?.window;
        let last = self.outflows.get(cx, target)?;
        let current = cx.height() / length.max(1);
        let amount = if last.window == current { last.amount } else { 0 };
        Ok((U256::from(amount), length))
    }
}
