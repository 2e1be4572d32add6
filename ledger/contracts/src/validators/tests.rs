//! Bonds and keys, and what a registration proves.

use super::keys::{KEYS_MAX, KEYS_PER_OWNER, Place};
use super::state::{Seed, Validators};
use crate::abi::ISystem::{Empty, TooMany};
use crate::abi::IValidators::{
    self, Full, InsufficientBond, InvalidAccount, InvalidKey, InvalidSeedKey, KeyInUse, KeyRetired,
    NotOwner, NothingUnbonding, Registered, Retired, StillBound, TooManyKeys, registerCall,
    retireCall, unbondCall, withdrawCall,
};
use crate::address::{SETTLEMENTS, VALIDATORS};
use crate::context::Context;
use crate::testing::SeatKeys;
use crate::tests::world::{
    BOND, CHAIN, COIN, CUSTOMER, OPERATOR, STRANGER, VALIDATOR, World, config, seats,
};
use crate::{GenesisConfig, SeatRules};
use alloy_primitives::{Address, B256, U256};

pub(super) const RULES: SeatRules =
    SeatRules { term_length: 10, seats_max: 6, bond_min: COIN, unbonding_terms: 3 };

/// A world with short terms and these validators.
pub(super) fn world(of: &[(Address, u64)]) -> World {
    World::with(&GenesisConfig { validators: seats(of), seats: RULES, ..config() })
}

/// A registration by `owner` for itself of the keys numbered `number`.
pub(super) fn registration(owner: Address, number: u64) -> registerCall {
    SeatKeys::derive(number).register(CHAIN, owner, owner, "192.0.2.7:9000")
}

fn coins(coins: u64) -> U256 {
    U256::from(coins) * U256::from(COIN)
}

/// Calls Rust functions of the contract, past registration and its proofs.
pub(super) fn inside<T>(
    world: &mut World,
    act: impl FnOnce(&Validators, &mut Context<'_>) -> Result<T, crate::Failure>,
) -> T {
    let mut cx = Context::new(&mut world.memory, Address::ZERO, false);
    act(&Validators::new(), &mut cx).unwrap()
}

/// Gives an owner keys that nobody holds, and coin for them.
pub(super) fn stuff(world: &mut World, owner: Address, keys: u64, each: u128) {
    let bond = each * u128::from(keys);
    *world.memory.coins.entry(VALIDATORS).or_default() += U256::from(bond);
    world.memory.accounts.insert(owner);
    inside(world, |validators, cx| {
        validators.add_bond(cx, owner, bond)?;
        for _ in 0..keys {
            let order = validators.next_order(cx)?;
            let key = alloy_primitives::keccak256(order.to_be_bytes());
            let place = Place { owner, order, account: owner };
            validators.insert(cx, key, place, &Seed::new(&[7; 96], &[8; 48]))?;
        }
        Ok(())
    });
}

#[test]
fn a_bond_comes_back_once_it_answers_for_nothing() {
    let mut world = world(&[(VALIDATOR, 1)]);
    let none = world.fails(CUSTOMER, VALIDATORS, &IValidators::bondCall {});
    assert_eq!(none.revert(), Some(Empty {}));
    world.bond(CUSTOMER, 8 * COIN);
    world.ok(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 9));
    world.memory.advance(21);
    // The key needs its coin.
    let failure = world.fails(CUSTOMER, VALIDATORS, &unbondCall { amount: coins(7) + U256::ONE });
    let error = InsufficientBond { owner: CUSTOMER, bond: coins(8), needed: coins(8) + U256::ONE };
    assert_eq!(failure.revert(), Some(error));
    let failure = world.fails(CUSTOMER, VALIDATORS, &unbondCall { amount: U256::MAX });
    assert!(failure.revert::<crate::abi::ISystem::Overflow>().is_some());
    world.ok(CUSTOMER, VALIDATORS, &unbondCall { amount: coins(5) });
    let asked = world.view(VALIDATORS, &IValidators::unbondingCall { owner: CUSTOMER });
    assert_eq!((asked.amount, asked.until), (coins(5), 2 + 3 + 2));
    let left = world.view(VALIDATORS, &IValidators::bondOfCall { owner: CUSTOMER });
    assert_eq!((left.amount, left.keys), (coins(3), 1));
    world.memory.advance(69);
    let failure = world.fails(CUSTOMER, VALIDATORS, &withdrawCall {});
    assert_eq!(failure.revert(), Some(StillBound { owner: CUSTOMER, until: 7 }));
    world.memory.advance(70);
    assert_eq!(world.ok(CUSTOMER, VALIDATORS, &withdrawCall {}), coins(5));
    assert_eq!(world.memory.coins[&CUSTOMER], coins(5));
    assert_eq!(world.memory.coins[&VALIDATORS], U256::from(BOND) + coins(3));
    let failure = world.fails(CUSTOMER, VALIDATORS, &withdrawCall {});
    assert_eq!(failure.revert(), Some(NothingUnbonding { owner: CUSTOMER }));
}

#[test]
fn a_key_is_registered_by_who_holds_it() {
    let mut world = world(&[(VALIDATOR, 1)]);
    world.bond(CUSTOMER, 2 * COIN);
    world.bond(STRANGER, 2 * COIN);
    let good = registration(CUSTOMER, 9);
    let key = good.key;
    // Another owner, account or ledger than the key signed for.
    let failure = world.fails(STRANGER, VALIDATORS, &good);
    assert_eq!(failure.revert(), Some(InvalidKey { key }));
    let elsewhere = registerCall { account: STRANGER, ..good.clone() };
    let failure = world.fails(CUSTOMER, VALIDATORS, &elsewhere);
    assert_eq!(failure.revert(), Some(InvalidKey { key }));
    let other_ledger = SeatKeys::derive(9).register(CHAIN + 1, CUSTOMER, CUSTOMER, "");
    let failure = world.fails(CUSTOMER, VALIDATORS, &other_ledger);
    assert_eq!(failure.revert(), Some(InvalidKey { key }));
    // No point, no signature, another's possession, no point of the seed's group.
    let bad = B256::repeat_byte(2);
    let failure = world.fails(CUSTOMER, VALIDATORS, &registerCall { key: bad, ..good.clone() });
    assert_eq!(failure.revert(), Some(InvalidKey { key: bad }));
    let failure =
        world.fails(CUSTOMER, VALIDATORS, &registerCall { proof: vec![].into(), ..good.clone() });
    assert_eq!(failure.revert(), Some(InvalidKey { key }));
    let possession = registration(CUSTOMER, 8).possession;
    for (seed_key, possession) in [
        (good.seedKey.clone(), possession),
        (vec![0xff; 96].into(), good.possession.clone()),
        (vec![].into(), good.possession.clone()),
        (good.seedKey.clone(), vec![].into()),
    ] {
        let rogue = registerCall { seedKey: seed_key, possession, ..good.clone() };
        let failure = world.fails(CUSTOMER, VALIDATORS, &rogue);
        assert_eq!(failure.revert(), Some(InvalidSeedKey { key }));
    }
    for account in [Address::ZERO, SETTLEMENTS] {
        let lost = SeatKeys::derive(9).register(CHAIN, CUSTOMER, account, "");
        let failure = world.fails(CUSTOMER, VALIDATORS, &lost);
        assert_eq!(failure.revert(), Some(InvalidAccount { account }));
    }
    let long = registerCall { endpoint: "x".repeat(65), ..good.clone() };
    assert!(world.fails(CUSTOMER, VALIDATORS, &long).revert::<TooMany>().is_some());

    world.ok(CUSTOMER, VALIDATORS, &good);
    let info = world.view(VALIDATORS, &IValidators::keyInfoCall { key });
    assert_eq!((info.owner, info.account), (CUSTOMER, CUSTOMER));
    assert_eq!((info.seedKey, info.possession), (good.seedKey.clone(), good.possession.clone()));
    assert_eq!(info.endpoint, "192.0.2.7:9000");
    assert!(!info.retired && !info.convicted);
    // In use now, by whomever.
    let failure = world.fails(CUSTOMER, VALIDATORS, &good);
    assert_eq!(failure.revert(), Some(KeyInUse { key }));
    let failure = world.fails(STRANGER, VALIDATORS, &registration(STRANGER, 9));
    assert_eq!(failure.revert(), Some(KeyInUse { key }));
    let genesis = seats(&[(VALIDATOR, 1)])[0].key;
    let failure = world.fails(STRANGER, VALIDATORS, &registration(STRANGER, 1));
    assert_eq!(failure.revert(), Some(KeyInUse { key: genesis }));
    assert_eq!(world.memory.events::<Registered>(VALIDATORS).len(), 1);
    assert_eq!(world.view(VALIDATORS, &IValidators::keyCountCall {}), 2);
    assert_eq!(world.view(VALIDATORS, &IValidators::keyAtCall { index: 1 }), key);
}

#[test]
fn keys_are_bounded_by_coin_and_by_number() {
    let mut world = world(&[(VALIDATOR, 1)]);
    world.bond(CUSTOMER, 2 * COIN - 1);
    world.ok(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 9));
    let failure = world.fails(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 10));
    let bond = coins(2) - U256::ONE;
    let error = InsufficientBond { owner: CUSTOMER, bond, needed: coins(2) };
    assert_eq!(failure.revert(), Some(error));
    stuff(&mut world, STRANGER, KEYS_PER_OWNER, 2 * COIN);
    let failure = world.fails(STRANGER, VALIDATORS, &registration(STRANGER, 10));
    let error = TooManyKeys { owner: STRANGER, limit: KEYS_PER_OWNER };
    assert_eq!(failure.revert(), Some(error));
}

#[test]
fn only_an_owner_changes_its_keys_and_a_retired_key_stays_so() {
    let mut world = world(&[(VALIDATOR, 1)]);
    world.bond(CUSTOMER, 2 * COIN);
    let register = registration(CUSTOMER, 9);
    let key = register.key;
    world.ok(CUSTOMER, VALIDATORS, &register);
    let retire = retireCall { key };
    let endpoint = "[2001:db8::1]:9000".to_owned();
    let set = IValidators::setEndpointCall { key, endpoint: endpoint.clone() };
    let error = NotOwner { key, caller: STRANGER };
    assert_eq!(world.fails(STRANGER, VALIDATORS, &retire).revert(), Some(error.clone()));
    assert_eq!(world.fails(STRANGER, VALIDATORS, &set).revert(), Some(error));
    world.ok(CUSTOMER, VALIDATORS, &set);
    let info = IValidators::keyInfoCall { key };
    assert_eq!(world.view(VALIDATORS, &info).endpoint, endpoint);
    world.ok(CUSTOMER, VALIDATORS, &retire);
    assert!(world.view(VALIDATORS, &info).retired);
    assert_eq!(world.fails(CUSTOMER, VALIDATORS, &retire).revert(), Some(KeyRetired { key }));
    assert_eq!(world.fails(CUSTOMER, VALIDATORS, &set).revert(), Some(KeyRetired { key }));
    assert_eq!(world.fails(CUSTOMER, VALIDATORS, &register).revert(), Some(KeyInUse { key }));
    // Its coin is free to leave, and its place to be taken.
    world.ok(CUSTOMER, VALIDATORS, &unbondCall { amount: coins(2) });
    assert_eq!(world.view(VALIDATORS, &IValidators::keyCountCall {}), 1);
}

#[test]
fn a_new_key_takes_the_old_ones_seat() {
    let mut world = world(&[(VALIDATOR, 5)]);
    world.bond(CUSTOMER, 20 * COIN);
    for number in [9, 10] {
        world.ok(CUSTOMER, VALIDATORS, &registration(CUSTOMER, number));
    }
    // 50 : 20 of 6 seats are 4 : 2; with a third key of the same bond the first two are seated.
    world.ok(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 11));
    let next = registration(CUSTOMER, 12);
    let old = SeatKeys::derive(9).key();
    let replace = IValidators::replaceCall {
        old,
        key: next.key,
        seedKey: next.seedKey,
        possession: next.possession,
        proof: next.proof,
        account: next.account,
        endpoint: next.endpoint,
    };
    world.memory.advance(10);
    let failure = world.fails(STRANGER, VALIDATORS, &replace);
    assert_eq!(failure.revert(), Some(NotOwner { key: old, caller: STRANGER }));
    world.ok(CUSTOMER, VALIDATORS, &replace);
    world.memory.advance(20);
    let seated = |world: &mut World, term, numbers: [u64; 2]| {
        let seats = world.view(VALIDATORS, &IValidators::committeeCall { term });
        let mine: Vec<_> = seats.iter().filter(|seat| seat.account == CUSTOMER).collect();
        let keys: Vec<_> = mine.iter().map(|seat| seat.key).collect();
        let mut expected = numbers.map(|number| SeatKeys::derive(number).key());
        expected.sort();
        assert_eq!(keys, expected, "term {term}");
    };
    // The committee that was elected before the change keeps the old key.
    seated(&mut world, 2, [9, 10]);
    seated(&mut world, 3, [12, 10]);
    let failure = world.fails(CUSTOMER, VALIDATORS, &replace);
    assert_eq!(failure.revert(), Some(KeyRetired { key: old }));
}

#[test]
fn when_all_places_are_taken_the_cheapest_key_yields() {
    let mut world = world(&[(VALIDATOR, 1)]);
    let owners: Vec<Address> = (0x20..0x28).map(Address::repeat_byte).collect();
    for (owner, coins) in owners.iter().zip([9, 9, 9, 3, 9, 9, 9, 9]) {
        let keys = if *owner == owners[0] { KEYS_PER_OWNER - 1 } else { KEYS_PER_OWNER };
        stuff(&mut world, *owner, keys, coins * COIN);
    }
    assert_eq!(world.view(VALIDATORS, &IValidators::keyCountCall {}), KEYS_MAX);
    world.bond(CUSTOMER, 3 * COIN);
    let failure = world.fails(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 9));
    let full = Full { limit: KEYS_MAX, cheapest: coins(3) };
    assert_eq!(failure.revert(), Some(full));
    world.bond(CUSTOMER, COIN);
    world.memory.gas_limit = 12_000_000;
    world.ok(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 9));
    world.memory.gas_limit = u64::MAX;
    let retired = world.memory.events::<Retired>(VALIDATORS);
    assert_eq!(retired.iter().map(|event| event.owner).collect::<Vec<_>>(), [owners[3]]);
    assert_eq!(world.view(VALIDATORS, &IValidators::keyCountCall {}), KEYS_MAX);
    // A second key would halve what is bonded for each.
    let failure = world.fails(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 10));
    assert!(failure.revert::<Full>().is_some());
    let left = world.view(VALIDATORS, &IValidators::bondOfCall { owner: owners[3] });
    assert_eq!((left.keys, left.amount), (KEYS_PER_OWNER - 1, coins(3 * KEYS_PER_OWNER)));
}

#[test]
fn a_registration_costs_what_it_makes_the_ledger_do() {
    let mut world = world(&[(VALIDATOR, 1)]);
    world.bond(OPERATOR, COIN);
    world.ok(OPERATOR, VALIDATORS, &registration(OPERATOR, 9));
    // A pairing check and a signature, besides storage.
    assert!(world.memory.gas_used() > 156_900);
}

#[test]
fn coin_that_is_forced_upon_the_contract_is_nobodys() {
    let mut world = world(&[(VALIDATOR, 1)]);
    *world.memory.coins.get_mut(&VALIDATORS).unwrap() += U256::ONE;
    world.memory.check().unwrap();
    *world.memory.coins.get_mut(&VALIDATORS).unwrap() -= U256::from(2);
    assert!(world.memory.check().is_err());
}
