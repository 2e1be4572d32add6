//! How seats are shared out, and what an election costs.

use super::super::tests::{RULES, registration, stuff, world};
use super::{Claim, apportion};
use crate::abi::IValidators::{self, Seat, committeeCall, retireCall};
use crate::address::VALIDATORS;
use crate::env::{Env, Fault};
use crate::testing::{Memory, SeatKeys};
use crate::tests::world::{COIN, CUSTOMER, OPERATOR, STRANGER, VALIDATOR, World, config, seats};
use crate::{GenesisConfig, SeatRules};
use alloy_primitives::{Address, B256, LogData, U256};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn claim(owner: u8, bond: u128, keys: u64) -> Claim {
    Claim { owner: Address::repeat_byte(owner), bond, keys }
}

fn committee(world: &mut World, term: u64) -> Vec<Seat> {
    world.view(VALIDATORS, &committeeCall { term })
}

/// The accounts of a committee with their seats, by account.
fn accounts(world: &mut World, term: u64) -> Vec<(Address, u64)> {
    let accounts: BTreeSet<_> = committee(world, term).iter().map(|seat| seat.account).collect();
    let held = accounts.into_iter().map(|account| {
        (account, world.view(VALIDATORS, &IValidators::seatsOfCall { term, account }))
    });
    held.collect()
}

#[test]
fn largest_remainders_win_and_ties_go_by_address() {
    // Quotas of 5 seats: 2.5, 1.75, 0.75.
    let many = [claim(1, 100, 9), claim(2, 70, 9), claim(3, 30, 9)];
    assert_eq!(apportion(&many, 5), [2, 2, 1]);
    assert_eq!(apportion(&[claim(2, 1, 9), claim(1, 1, 9)], 1), [0, 1]);
    // What a large owner cannot use goes to the others by their bonds.
    assert_eq!(apportion(&[claim(1, 1_000, 1), claim(2, 20, 9), claim(3, 10, 9)], 4), [1, 2, 1]);
    assert_eq!(apportion(&[claim(1, 5, 2), claim(2, 5, 1)], 9), [2, 1]);
    assert_eq!(apportion(&[claim(1, 5, 0)], 9), [0]);
    assert_eq!(apportion(&[], 9), [0u64; 0]);
    assert_eq!(apportion(&[claim(1, u128::MAX, 300), claim(2, u128::MAX, 300)], 256), [128, 128]);
}

proptest! {
    #[test]
    fn seats_follow_stake(
        of in proptest::collection::vec((1u128..2_000, 1u64..12), 1..24),
        seats in 1u64..60,
        which in any::<proptest::sample::Index>(),
        more in 0u128..3_000,
    ) {
        let claims: Vec<Claim> =
            (1u8..).zip(&of).map(|(owner, (bond, keys))| claim(owner, *bond, *keys)).collect();
        let won = apportion(&claims, seats);
        let keys: u64 = claims.iter().map(|claim| claim.keys).sum();
        prop_assert_eq!(won.iter().sum::<u64>(), seats.min(keys), "every seat is given");
        let total: u128 = claims.iter().map(|claim| claim.bond).sum();
        let all = u128::from(seats.min(keys));
        let capped = claims.iter().any(|claim| claim.bond * all >= u128::from(claim.keys) * total);
        for (claim, won) in claims.iter().zip(&won) {
            prop_assert!(*won <= claim.keys, "nobody sits on a key it does not have");
            let quota = u64::try_from(claim.bond * all / total).unwrap();
            prop_assert!(*won >= quota.min(claim.keys), "nobody gets less than its quota");
            prop_assert!(capped || *won <= quota + 1, "nobody gets more than a seat above it");
        }
        let mut turned = claims.clone();
        turned.reverse();
        let mut again = apportion(&turned, seats);
        again.reverse();
        prop_assert_eq!(&again, &won, "the order of the claims does not matter");
        let which = which.index(claims.len());
        let mut richer = claims.clone();
        richer[which].bond += more;
        let after = apportion(&richer, seats);
        prop_assert!(after[which] >= won[which], "more stake never costs a seat");
    }
}

#[test]
fn a_bond_counts_one_term_later_and_leaves_the_same_way() {
    let mut world = world(&[(VALIDATOR, 2)]);
    world.bond(CUSTOMER, 10 * COIN);
    world.ok(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 9));
    let both = [(VALIDATOR, 2), (CUSTOMER, 1)];
    assert_eq!(accounts(&mut world, 1), [(VALIDATOR, 2)]);
    assert_eq!(committee(&mut world, 2), []);
    // Registered in term 0, elected at the beginning of term 1, seated in term 2.
    world.memory.advance(9);
    assert_eq!(committee(&mut world, 2), []);
    world.memory.advance(10);
    assert_eq!(accounts(&mut world, 2), both);
    world.ok(CUSTOMER, VALIDATORS, &retireCall { key: SeatKeys::derive(9).key() });
    assert_eq!(accounts(&mut world, 2), both);
    world.memory.advance(20);
    assert_eq!(accounts(&mut world, 3), [(VALIDATOR, 2)]);
    assert_eq!(world.view(VALIDATORS, &IValidators::allSeatsCall { term: 2 }), 3);
    let sorted = committee(&mut world, 2);
    assert!(sorted.is_sorted_by(|a, b| a.key < b.key));
    let terms = world.view(VALIDATORS, &IValidators::termsCall {});
    assert_eq!((terms.current, terms.length, terms.seatsMax), (2, 10, 6));
    assert_eq!((terms.unbondingTerms, terms.bondMin), (3, U256::from(COIN)));
}

#[test]
fn a_committee_is_forgotten_when_its_votes_are_no_longer_judged() {
    let mut world = world(&[(VALIDATOR, 2)]);
    let seat = |world: &mut World, term| {
        let of = IValidators::seatsOfCall { term, account: VALIDATOR };
        (committee(world, term).len(), world.view(VALIDATORS, &of))
    };
    world.memory.advance(59);
    assert_eq!(seat(&mut world, 2), (2, 2));
    assert_eq!(seat(&mut world, 1), (0, 0));
    world.memory.advance(60);
    assert_eq!(seat(&mut world, 2), (0, 0));
    assert_eq!(seat(&mut world, 7), (2, 2));
    world.memory.check().unwrap();
}

#[test]
fn without_candidates_the_committee_stays() {
    let mut world = world(&[(VALIDATOR, 2)]);
    let before = committee(&mut world, 1);
    for validator in seats(&[(VALIDATOR, 2)]) {
        world.ok(VALIDATOR, VALIDATORS, &retireCall { key: validator.key });
    }
    for term in 2..12 {
        world.memory.advance((term - 1) * RULES.term_length);
        assert_eq!(committee(&mut world, term), before, "term {term}");
        world.memory.check().unwrap();
    }
    // Whoever registers takes over.
    world.bond(OPERATOR, COIN);
    world.ok(OPERATOR, VALIDATORS, &registration(OPERATOR, 9));
    world.memory.advance(11 * RULES.term_length);
    assert_eq!(accounts(&mut world, 12), [(OPERATOR, 1)]);
}

#[test]
fn seats_in_committees_follow_bonds() {
    let mut world = world(&[(VALIDATOR, 4)]);
    for (owner, coins, keys) in [(CUSTOMER, 30, 9..12), (STRANGER, 10, 12..14)] {
        world.bond(owner, coins * COIN);
        for number in keys {
            world.ok(owner, VALIDATORS, &registration(owner, number));
        }
    }
    world.memory.advance(10);
    // 40 : 30 : 10 of 6 seats are 3, 2.25 and 0.75.
    assert_eq!(accounts(&mut world, 2), [(STRANGER, 1), (VALIDATOR, 3), (CUSTOMER, 2)]);
}

/// Counts the slots that an executor has to load: each once, those only written included.
struct Counting<'a>(&'a mut Memory, BTreeSet<(Address, U256)>);

impl Env for Counting<'_> {
    fn load(&mut self, contract: Address, slot: U256) -> Result<U256, Fault> {
        self.1.insert((contract, slot));
        self.0.load(contract, slot)
    }

    fn store(&mut self, contract: Address, slot: U256, value: U256) -> Result<(), Fault> {
        self.1.insert((contract, slot));
        self.0.store(contract, slot, value)
    }

    fn log(&mut self, _: Address, _: LogData) -> Result<(), Fault> {
        Err(Fault::Storage("nobody sees logs of an election".to_owned()))
    }

    fn charge(&mut self, _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn mark(&mut self, _: Address) -> Result<(), Fault> {
        Err(Fault::Storage("an election makes no account".to_owned()))
    }

    fn has_code(&mut self, account: Address) -> Result<bool, Fault> {
        self.0.has_code(account)
    }

    fn pay(&mut self, _: Address, _: Address, _: U256) -> Result<(), Fault> {
        Err(Fault::Storage("an election pays nothing".to_owned()))
    }

    fn balance(&mut self, account: Address) -> Result<U256, Fault> {
        self.0.balance(account)
    }

    fn height(&self) -> u64 {
        self.0.height
    }

    fn timestamp(&self) -> u64 {
        self.0.timestamp
    }

    fn chain_id(&self) -> u64 {
        self.0.chain_id
    }
}

#[test]
fn the_dearest_election_is_bounded() {
    let rules = SeatRules { seats_max: 256, unbonding_terms: 1, ..RULES };
    let genesis = GenesisConfig { seats: rules, ..config() };
    let mut world = World::with(&genesis);
    // As many owners as keys, each with another bond, so that capping takes its most rounds.
    for number in 0..1_023u128 {
        let mut bytes = [0x30; 20];
        bytes[..16].copy_from_slice(&number.to_be_bytes());
        let bond = (COIN + number) << (number / 16).min(60);
        stuff(&mut world, Address::from(bytes), 1, bond);
    }
    world.memory.advance(59);
    world.memory.height = 60;
    let mut counting = Counting(&mut world.memory, BTreeSet::new());
    let began = std::time::Instant::now();
    super::begin_block(&mut counting, B256::ZERO).unwrap();
    let elapsed = began.elapsed();
    let loads = counting.1.len();
    assert_eq!(world.view(VALIDATORS, &IValidators::allSeatsCall { term: 7 }), 256);
    assert_eq!(world.view(VALIDATORS, &IValidators::allSeatsCall { term: 4 }), 0);
    world.memory.check().unwrap();
    assert_eq!(loads, 5_125, "the module's documentation says how many, and it took {elapsed:?}");
}
