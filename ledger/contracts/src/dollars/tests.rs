//! One dollar is one stablecoin, both ways.

use crate::abi::IDollars::{self, NoSuchClass};
use crate::abi::IGuard::BreakerOpen;
use crate::abi::ISystem::Empty;
use crate::abi::IToken::{self, ERC20InsufficientAllowance, ERC20InsufficientBalance};
use crate::address::{DOLLARS, STABLECOIN};
use crate::tests::world::{CUSTOMER, FUNDS, OPERATOR, World, config};
use alloy_primitives::U256;
use protocol::Ppm;

#[test]
fn dollars_are_made_and_redeemed_one_to_one() {
    let mut world = World::new();
    world.buy_dollars(CUSTOMER, 300);
    let class = IDollars::balanceOfClassCall { account: CUSTOMER, class: 0 };
    assert_eq!(world.view(DOLLARS, &class), U256::from(300));
    assert_eq!(world.balance(STABLECOIN, DOLLARS), U256::from(300));
    let give = IToken::transferCall { to: OPERATOR, value: U256::from(100) };
    world.ok(CUSTOMER, DOLLARS, &give);
    world.ok(OPERATOR, DOLLARS, &IDollars::redeemCall { amount: U256::from(100) });
    assert_eq!(world.balance(STABLECOIN, OPERATOR), U256::from(100));
    assert_eq!(world.balance(STABLECOIN, CUSTOMER), U256::from(FUNDS - 300));
    assert_eq!(world.view(DOLLARS, &IToken::totalSupplyCall {}), U256::from(200));
    assert_eq!(world.view(DOLLARS, &IDollars::stablecoinCall {}), STABLECOIN);
}

#[test]
fn what_is_not_there_is_refused() {
    let mut world = World::new();
    let deposit = IDollars::depositCall { stable: U256::ONE };
    let failure = world.fails(CUSTOMER, DOLLARS, &deposit);
    assert!(failure.revert::<ERC20InsufficientAllowance>().is_some());
    let redeem = |amount: u64| IDollars::redeemCall { amount: U256::from(amount) };
    let failure = world.fails(CUSTOMER, DOLLARS, &redeem(1));
    assert!(failure.revert::<ERC20InsufficientBalance>().is_some());
    assert_eq!(world.fails(CUSTOMER, DOLLARS, &redeem(0)).revert(), Some(Empty {}));
    for class in [1, 2, 255] {
        let call = IDollars::balanceOfClassCall { account: CUSTOMER, class };
        let failure = world.memory.view(DOLLARS, &call).unwrap_err();
        assert_eq!(failure.revert(), Some(NoSuchClass { class }));
    }
}

#[test]
fn the_breaker_bounds_what_leaves_in_a_window() {
    let mut world = World::with(&crate::GenesisConfig { breaker_share: Ppm(250_000), ..config() });
    world.buy_dollars(CUSTOMER, 1_000);
    let redeem = |amount: u64| IDollars::redeemCall { amount: U256::from(amount) };
    world.ok(CUSTOMER, DOLLARS, &redeem(200));
    let failure = world.fails(CUSTOMER, DOLLARS, &redeem(51));
    let (outflow, limit) = (U256::from(251), U256::from(250));
    assert_eq!(failure.revert(), Some(BreakerOpen { target: DOLLARS, outflow, limit }));
    world.ok(CUSTOMER, DOLLARS, &redeem(50));
    // The next window starts anew, from what is left.
    world.memory.height += 20;
    world.ok(CUSTOMER, DOLLARS, &redeem(187));
    assert!(world.fails(CUSTOMER, DOLLARS, &redeem(1)).revert::<BreakerOpen>().is_some());
}
