//! Double votes signed with commonware's own types, and what they cost.

use super::super::tests::{RULES, registration, world};
use crate::abi::IValidators::{
    self, AlreadyConvicted, Convicted, InvalidVote, MalformedVote, NoConflict, NoSuchSeat,
    NothingLocked, StillBound, TooLate, accuseCall, releaseCall, retireCall, unbondCall,
    withdrawCall,
};
use crate::address::VALIDATORS;
use crate::testing::SeatKeys;
use crate::tests::world::{BOND, COIN, CUSTOMER, STRANGER, VALIDATOR, World, config, seats};
use crate::{GenesisConfig, SeatRules};
use alloy_primitives::{Address, B256, U256};
use commonware_codec::Encode as _;
use commonware_consensus::{
    simplex::{
        scheme::ed25519::Scheme,
        types::{Finalize, Notarize, Nullify, Proposal, Vote},
    },
    types::{Epoch, Round, View},
};
use commonware_cryptography::{Signer as _, sha256};
use commonware_utils::ordered::Set;

/// The genesis hash that the ledger in memory has.
const GENESIS: [u8; 32] = [0x6e; 32];

/// What votes are bound to: the ledger, a committee by the numbers of its keys, the signer's number.
#[derive(Clone, Copy)]
struct Signer<'a> {
    ledger: [u8; 32],
    committee: &'a [u64],
    number: u64,
}

impl Signer<'_> {
    fn scheme(&self) -> Scheme {
        let namespace = [b"wayleave/ledger/1/".as_slice(), &self.ledger].concat();
        let keys = self.committee.iter().map(|n| SeatKeys::derive(*n).network().public_key());
        let key = SeatKeys::derive(self.number).network().clone();
        Scheme::signer(&namespace, Set::from_iter_dedup(keys), key).unwrap()
    }

    fn notarize(&self, term: u64, view: u64, payload: u8) -> Vec<u8> {
        let vote = Notarize::sign(&self.scheme(), proposal(term, view, payload)).unwrap();
        Vote::Notarize(vote).encode().to_vec()
    }

    fn finalize(&self, term: u64, view: u64, payload: u8) -> Vec<u8> {
        let vote = Finalize::sign(&self.scheme(), proposal(term, view, payload)).unwrap();
        Vote::Finalize(vote).encode().to_vec()
    }

    fn nullify(&self, term: u64, view: u64) -> Vec<u8> {
        let round = Round::new(Epoch::new(term), View::new(view));
        let vote = Nullify::sign::<sha256::Digest>(&self.scheme(), round).unwrap();
        Vote::<Scheme, sha256::Digest>::Nullify(vote).encode().to_vec()
    }
}

fn proposal(term: u64, view: u64, payload: u8) -> Proposal<sha256::Digest> {
    let round = Round::new(Epoch::new(term), View::new(view));
    Proposal::new(round, View::new(view - 1), sha256::Digest([payload; 32]))
}

fn accuse(first: &[u8], second: &[u8]) -> accuseCall {
    accuseCall { first: first.to_vec().into(), second: second.to_vec().into() }
}

/// Four validators with a seat and an account each, in term 1.
fn four() -> (World, [Address; 4]) {
    let owners = [1, 2, 3, 4].map(Address::repeat_byte);
    let mut world = world(&owners.map(|owner| (owner, 1)));
    world.memory.advance(15);
    (world, owners)
}

const FOUR: [u64; 4] = [1, 2, 3, 4];

fn signer(number: u64) -> Signer<'static> {
    Signer { ledger: GENESIS, committee: &FOUR, number }
}

#[test]
fn every_double_vote_convicts() {
    let votes = signer(2);
    let pairs = [
        (votes.notarize(1, 7, 1), votes.notarize(1, 7, 2)),
        (votes.finalize(1, 7, 1), votes.finalize(1, 7, 2)),
        (votes.nullify(1, 7), votes.finalize(1, 7, 1)),
        (votes.finalize(1, 7, 1), votes.nullify(1, 7)),
    ];
    for (first, second) in pairs {
        let (mut world, owners) = four();
        let key = SeatKeys::derive(2).key();
        world.ok(STRANGER, VALIDATORS, &accuse(&first, &second));
        let events = world.memory.events::<Convicted>(VALIDATORS);
        let event = events.first().unwrap();
        assert_eq!((event.key, event.owner, event.reporter), (key, owners[1], STRANGER));
        assert_eq!((event.term, event.view), (1, 7));
        assert_eq!(event.locked, U256::from(BOND));
        assert_eq!(event.reward, U256::from(BOND / 100));
        assert_eq!(world.memory.coins[&STRANGER], event.reward);
        let info = world.view(VALIDATORS, &IValidators::keyInfoCall { key });
        assert!(info.retired && info.convicted);
        // Once a key, whatever else it did.
        let again = accuse(&votes.notarize(1, 8, 1), &votes.notarize(1, 8, 2));
        let failure = world.fails(STRANGER, VALIDATORS, &again);
        assert_eq!(failure.revert(), Some(AlreadyConvicted { key }));
        // It leaves with the next election.
        world.memory.advance(20);
        let all = |term| IValidators::allSeatsCall { term };
        assert_eq!(world.view(VALIDATORS, &all(2)), 4);
        assert_eq!(world.view(VALIDATORS, &all(3)), 3);
    }
}

#[test]
fn what_an_honest_validator_signs_convicts_nobody() {
    let (mut world, _) = four();
    let (votes, other) = (signer(2), signer(3));
    let one = votes.notarize(1, 7, 1);
    for second in [
        one.clone(),
        votes.notarize(1, 8, 2),
        votes.notarize(0, 7, 2),
        votes.nullify(1, 7),
        votes.finalize(1, 7, 1),
        other.notarize(1, 7, 2),
    ] {
        let failure = world.fails(STRANGER, VALIDATORS, &accuse(&one, &second));
        assert_eq!(failure.revert(), Some(NoConflict {}), "{second:02x?}");
    }
    let twice = accuse(&votes.nullify(1, 7), &votes.nullify(1, 7));
    assert_eq!(world.fails(STRANGER, VALIDATORS, &twice).revert(), Some(NoConflict {}));
    for bad in [&[][..], &[3, 1, 1], &one[..one.len() - 1]] {
        let failure = world.fails(STRANGER, VALIDATORS, &accuse(bad, &one));
        assert_eq!(failure.revert(), Some(MalformedVote {}));
    }
}

#[test]
fn forged_and_foreign_votes_convict_nobody() {
    let (mut world, _) = four();
    let key = SeatKeys::derive(2).key();
    let votes = signer(2);
    let (one, two) = (votes.notarize(1, 7, 1), votes.notarize(1, 7, 2));
    // Of another ledger, tampered with, by a key that has another place in the committee.
    let elsewhere = Signer { ledger: [0x6f; 32], ..votes };
    let foreign = accuse(&elsewhere.notarize(1, 7, 1), &elsewhere.notarize(1, 7, 2));
    assert_eq!(world.fails(STRANGER, VALIDATORS, &foreign).revert(), Some(InvalidVote { key }));
    for at in [40, one.len() - 1] {
        let mut forged = two.clone();
        forged[at] ^= 1;
        let failure = world.fails(STRANGER, VALIDATORS, &accuse(&one, &forged));
        assert!(failure.revert::<InvalidVote>().is_some(), "byte {at}: {failure}");
    }
    let stranger = Signer { committee: &[2, 3, 4, 9], number: 9, ..votes };
    let failure = world.fails(
        STRANGER,
        VALIDATORS,
        &accuse(&stranger.notarize(1, 7, 1), &stranger.notarize(1, 7, 2)),
    );
    assert!(failure.revert::<InvalidVote>().is_some(), "{failure}");
    // A seat that the committee does not have, and a term without one.
    let five = [1, 2, 3, 4, 9];
    let numbers = five.map(|number| (SeatKeys::derive(number).key(), number));
    let last = numbers.into_iter().max().unwrap().1;
    let beyond = Signer { committee: &five, number: last, ..votes };
    let call = accuse(&beyond.notarize(1, 7, 1), &beyond.notarize(1, 7, 2));
    let error = NoSuchSeat { term: 1, signer: 4 };
    assert_eq!(world.fails(STRANGER, VALIDATORS, &call).revert(), Some(error));
    let call = accuse(&votes.notarize(9, 7, 1), &votes.notarize(9, 7, 2));
    assert!(world.fails(STRANGER, VALIDATORS, &call).revert::<NoSuchSeat>().is_some());
}

#[test]
fn votes_are_judged_by_the_committee_of_their_term() {
    let (mut world, owners) = four();
    // Key 9 joins in term 1 and sits from term 3 on, which moves the places of the others.
    world.bond(CUSTOMER, BOND);
    world.ok(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 9));
    world.memory.advance(35);
    let five = Signer { committee: &[1, 2, 3, 4, 9], ..signer(2) };
    // Signed by the place that the key has in term 3, which is not its place in term 1, or the other way
    // round, unless both places are the same one.
    let place = |committee: &[u64]| {
        let keys: Vec<_> = committee.iter().map(|n| SeatKeys::derive(*n).key()).collect();
        keys.iter().filter(|key| **key < SeatKeys::derive(2).key()).count()
    };
    if place(&FOUR) != place(five.committee) {
        let wrong = accuse(&signer(2).notarize(3, 7, 1), &signer(2).notarize(3, 7, 2));
        assert!(world.fails(STRANGER, VALIDATORS, &wrong).revert::<InvalidVote>().is_some());
        let wrong = accuse(&five.notarize(2, 7, 1), &five.notarize(2, 7, 2));
        assert!(world.fails(STRANGER, VALIDATORS, &wrong).revert::<InvalidVote>().is_some());
    }
    // Who was not in the committee of term 2 could not vote in it, but for its key.
    let late = Signer { committee: &[9, 2, 3, 4], number: 9, ..signer(2) };
    let call = accuse(&late.notarize(2, 7, 1), &late.notarize(2, 7, 2));
    assert!(world.fails(STRANGER, VALIDATORS, &call).revert::<InvalidVote>().is_some());
    let right = accuse(&five.notarize(3, 7, 1), &five.notarize(3, 7, 2));
    world.ok(STRANGER, VALIDATORS, &right);
    assert_eq!(world.memory.events::<Convicted>(VALIDATORS)[0].owner, owners[1]);
}

#[test]
fn a_conviction_reaches_what_is_asked_back_and_comes_in_time() {
    let (mut world, owners) = four();
    let (owner, key) = (owners[1], SeatKeys::derive(2).key());
    // The owner leaves with everything right after its last election, for term 2.
    world.ok(owner, VALIDATORS, &retireCall { key });
    world.ok(owner, VALIDATORS, &unbondCall { amount: U256::from(BOND) });
    let until = 1 + RULES.unbonding_terms + 2;
    let votes = signer(2);
    let double = accuse(&votes.notarize(2, 7, 1), &votes.notarize(2, 7, 2));
    // The last block in which votes of term 2 are judged: nothing has left yet.
    world.memory.advance(until * RULES.term_length - 1);
    let early = world.fails(owner, VALIDATORS, &withdrawCall {});
    assert_eq!(early.revert(), Some(StillBound { owner, until }));
    let mut late = world.memory.clone();
    world.ok(STRANGER, VALIDATORS, &double);
    let asked = world.view(VALIDATORS, &IValidators::unbondingCall { owner });
    assert_eq!((asked.amount, asked.until), (U256::ZERO, 0));
    let lock = world.view(VALIDATORS, &IValidators::lockOfCall { key });
    assert_eq!(lock.amount, U256::from(BOND - BOND / 100));
    // A block later it is too late for both.
    late.advance(until * RULES.term_length);
    let failure = late.send(STRANGER, VALIDATORS, &double).err().unwrap();
    let window = 2 + RULES.unbonding_terms;
    assert_eq!(failure.revert(), Some(TooLate { term: 2, until: window }));
    assert_eq!(late.send(owner, VALIDATORS, &withdrawCall {}), Ok(U256::from(BOND)));
}

/// What a key loses of its bond, the reporter's part included, when `convicted` of `seats` vote twice.
fn lost(seats_in_all: u64, convicted: u64) -> u128 {
    let owners: Vec<_> = (0..seats_in_all).map(|n| B256::from(U256::from(n + 1))).collect();
    let of: Vec<_> = owners.iter().map(|owner| (Address::from_word(*owner), 1)).collect();
    let rules = SeatRules { seats_max: seats_in_all, ..RULES };
    let mut world =
        World::with(&GenesisConfig { validators: seats(&of), seats: rules, ..config() });
    world.memory.advance(15);
    let committee: Vec<u64> = (1..=seats_in_all).collect();
    for number in 1..=convicted {
        let votes = Signer { ledger: GENESIS, committee: &committee, number };
        let call = accuse(&votes.notarize(1, 7, 1), &votes.notarize(1, 7, 2));
        world.ok(STRANGER, VALIDATORS, &call);
        world.memory.advance(15 + number);
    }
    let key = SeatKeys::derive(1).key();
    let release = releaseCall { key };
    let until = world.view(VALIDATORS, &IValidators::lockOfCall { key }).until;
    assert_eq!(until, 1 + RULES.unbonding_terms + 1);
    let failure = world.fails(STRANGER, VALIDATORS, &release);
    assert_eq!(failure.revert(), Some(StillBound { owner: of[0].0, until }));
    world.memory.advance(until * RULES.term_length);
    let held = world.memory.coins[&VALIDATORS];
    world.ok(STRANGER, VALIDATORS, &release);
    let failure = world.fails(STRANGER, VALIDATORS, &release);
    assert_eq!(failure.revert(), Some(NothingLocked { key }));
    let paid = world.memory.coins.get(&of[0].0).copied().unwrap_or_default();
    let burned = world.memory.coins.get(&Address::ZERO).copied().unwrap_or_default();
    assert_eq!(held - world.memory.coins[&VALIDATORS], paid + burned);
    assert_eq!(paid + burned + U256::from(BOND / 100), U256::from(BOND));
    BOND - paid.to::<u128>()
}

#[test]
fn one_broken_machine_costs_little_and_a_conspiracy_everything() {
    assert_eq!(lost(64, 1), BOND / 20);
    assert_eq!(lost(40, 1), BOND * 3 / 40);
    assert_eq!(lost(12, 2), BOND / 2);
    assert_eq!(lost(6, 2), BOND);
    assert_eq!(lost(1, 1), BOND);
}

#[test]
fn one_seat_of_many_answers_for_its_part_of_the_bond() {
    let mut world = world(&[(VALIDATOR, 2), (CUSTOMER, 1)]);
    world.bond(VALIDATOR, 20 * COIN);
    world.memory.advance(25);
    // Two keys with 40 coins: a double vote in term 2 costs at most 20, and the other key stays.
    let votes = Signer { ledger: GENESIS, committee: &[1, 2, 3], number: 1 };
    world.ok(STRANGER, VALIDATORS, &accuse(&votes.nullify(2, 3), &votes.finalize(2, 3, 1)));
    assert_eq!(world.memory.events::<Convicted>(VALIDATORS)[0].locked, U256::from(20 * COIN));
    let bond = world.view(VALIDATORS, &IValidators::bondOfCall { owner: VALIDATOR });
    assert_eq!((bond.amount, bond.keys), (U256::from(20 * COIN), 1));
}
