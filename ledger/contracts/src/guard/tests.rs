//! Pauses are for one function, for a limited time, and never for settled pay.

use crate::abi::IDollars;
use crate::abi::IGuard::{
    self, NotGuardian, NotPausable, PauseTooLong, PausedRecently, outflowCall, pauseCall,
    pausedUntilCall, resumeCall,
};
use crate::abi::ISettlements::{announceCall, claimCall, commitCall, dissentCall, revealCall};
use crate::abi::ISystem::Paused;
use crate::abi::IValidators::{accuseCall, chargeCall};
use crate::address::{DOLLARS, GUARD, SETTLEMENTS, STABLECOIN, VALIDATORS};
use crate::tests::world::{CUSTOMER, GUARDIAN, PAUSE, STRANGER, World};
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;

fn pause<C: SolCall>(target: Address, until: u64) -> pauseCall {
    pauseCall { target, selector: C::SELECTOR.into(), until }
}

#[test]
fn a_pause_stops_one_function_and_ends_by_itself() {
    let mut world = World::new();
    world.buy_dollars(CUSTOMER, 100);
    let redeem = IDollars::redeemCall { amount: U256::ONE };
    world.ok(GUARDIAN, GUARD, &pause::<IDollars::redeemCall>(DOLLARS, PAUSE));
    let failure = world.fails(CUSTOMER, DOLLARS, &redeem);
    let selector = IDollars::redeemCall::SELECTOR.into();
    assert_eq!(failure.revert(), Some(Paused { selector, until: PAUSE }));
    world.buy_dollars(CUSTOMER, 1);
    world.memory.height = PAUSE;
    world.ok(CUSTOMER, DOLLARS, &redeem);
    // Not again before the function was open for as long.
    let again = pause::<IDollars::redeemCall>(DOLLARS, PAUSE + 5);
    let failure = world.fails(GUARDIAN, GUARD, &again);
    assert_eq!(failure.revert(), Some(PausedRecently { from: 2 * PAUSE }));
    world.memory.height = 2 * PAUSE;
    world.ok(GUARDIAN, GUARD, &pause::<IDollars::redeemCall>(DOLLARS, 3 * PAUSE));
    let resume = resumeCall { target: DOLLARS, selector };
    world.ok(GUARDIAN, GUARD, &resume);
    world.ok(CUSTOMER, DOLLARS, &redeem);
    let until = pausedUntilCall { target: DOLLARS, selector };
    assert_eq!(world.view(GUARD, &until), 2 * PAUSE);
    assert_eq!(world.view(GUARD, &outflowCall { target: DOLLARS }).amount, U256::ONE);
    assert_eq!(world.view(GUARD, &IGuard::guardianCall {}), GUARDIAN);
}

#[test]
fn pauses_have_limits() {
    let mut world = World::new();
    let redeem = pause::<IDollars::redeemCall>(DOLLARS, 1);
    let failure = world.fails(STRANGER, GUARD, &redeem);
    assert_eq!(failure.revert(), Some(NotGuardian { caller: STRANGER }));
    let failure = world.fails(GUARDIAN, GUARD, &pause::<IDollars::redeemCall>(DOLLARS, PAUSE + 1));
    assert_eq!(failure.revert(), Some(PauseTooLong { until: PAUSE + 1, latest: PAUSE }));
    for never in [
        pause::<claimCall>(SETTLEMENTS, 1),
        pause::<commitCall>(SETTLEMENTS, 1),
        pause::<revealCall>(SETTLEMENTS, 1),
        pause::<dissentCall>(SETTLEMENTS, 1),
        pause::<announceCall>(SETTLEMENTS, 1),
        pause::<accuseCall>(VALIDATORS, 1),
        pause::<chargeCall>(VALIDATORS, 1),
        pause::<resumeCall>(GUARD, 1),
        pause::<claimCall>(STRANGER, 1),
    ] {
        let failure = world.fails(GUARDIAN, GUARD, &never);
        assert!(failure.revert::<NotPausable>().is_some(), "{never:?}");
    }
    world.ok(GUARDIAN, GUARD, &pause::<crate::abi::IToken::transferCall>(STABLECOIN, 1));
}
