//! What authors' faults cost, whom, and never more.

use super::super::tests::{RULES, registration, world};
use super::{BLOCK_BYTES, REWARD};
use crate::abi::ISettlements::{self, NotClaimable};
use crate::abi::ISystem::TooMany;
use crate::abi::IValidators::{
    self, Charged, InvalidLeaf, NoSuchKey, NothingBonded, NothingDue, accuseCall, bondOfCall,
    chargeCall, dueOfCall, retireCall, unbondCall, withdrawCall,
};
use crate::address::{SETTLEMENTS, VALIDATORS};
use crate::env::Failure;
use crate::testing::SeatKeys;
use crate::tests::world::{
    BOND, CLOCK, COIN, CUSTOMER, NETWORK, OPERATOR, STRANGER, VALIDATOR, World, leaf, outcome_with,
};
use alloy_primitives::{Address, B256, U256};
use proptest::prelude::*;
use protocol::author::AuthorLeaf;
use protocol::merkle::PROOF_MAX;
use protocol::{Epoch, Height, NetworkId};
use std::collections::BTreeMap;

/// Three seats of the validator that settles, and one of the customer, with the key numbered 4.
fn seated() -> World {
    world(&[(VALIDATOR, 3), (CUSTOMER, 1)])
}

const LAST: u64 = 4;

fn fault(number: u64, epoch: u64, bytes: u64) -> AuthorLeaf {
    let author = SeatKeys::derive(number).key().into();
    AuthorLeaf { network: NetworkId(NETWORK), epoch: Epoch(epoch), author, bytes }
}

/// Decides an epoch with these authors' leaves beside an account's, and gives what presents them.
fn settle(world: &mut World, epoch: u64, authors: &[AuthorLeaf]) -> Vec<chargeCall> {
    let (outcome, _, charges) = outcome_with(epoch, &[leaf(OPERATOR)], authors);
    let announce = ISettlements::announceCall { network: NETWORK, epoch, inputs: outcome.inputs };
    world.memory.advance(CLOCK.first(Epoch(epoch)).0.max(world.memory.height));
    world.ok(VALIDATOR, SETTLEMENTS, &announce);
    world.memory.advance((CLOCK.grace_end(Epoch(epoch)).0 + 1).max(world.memory.height));
    // The customer commits to nothing, so commits stay open for their whole time.
    world.commit(VALIDATOR, epoch, &outcome);
    let closed = world.round(epoch).commitsUntil + 1;
    world.memory.advance(closed.max(world.memory.height + 1));
    world.reveal(VALIDATOR, epoch, &outcome);
    charges
}

/// As [`settle`], and moves on until the leaves can be used.
fn settled(world: &mut World, epoch: u64, authors: &[AuthorLeaf]) -> Vec<chargeCall> {
    let calls = settle(world, epoch, authors);
    claimable(world, epoch);
    calls
}

fn claimable(world: &mut World, epoch: u64) {
    let from = ISettlements::claimableFromCall { network: NETWORK, epoch };
    let from = world.view(SETTLEMENTS, &from);
    world.memory.advance(from.max(world.memory.height));
}

fn bond(world: &mut World, owner: Address) -> U256 {
    world.view(VALIDATORS, &bondOfCall { owner }).amount
}

fn coins(world: &World, account: Address) -> U256 {
    world.memory.coins.get(&account).copied().unwrap_or_default()
}

#[test]
fn a_leaf_costs_its_part_of_the_least_bond_once() {
    let mut world = seated();
    let charge = settle(&mut world, 1, &[fault(4, 1, 2_048)]).remove(0);
    let early = world.fails(STRANGER, VALIDATORS, &charge);
    assert_eq!(early.revert(), Some(NotClaimable { network: NETWORK, epoch: 1 }));
    claimable(&mut world, 1);
    let due = U256::from(COIN / 1_024);
    assert_eq!(world.view(VALIDATORS, &dueOfCall { leaf: charge.leaf.clone() }), due);
    assert_eq!(world.ok(STRANGER, VALIDATORS, &charge), due);
    let reward = due / U256::from(REWARD);
    assert_eq!(bond(&mut world, CUSTOMER), U256::from(BOND) - due);
    assert_eq!(coins(&world, STRANGER), reward);
    assert_eq!(coins(&world, Address::ZERO), due - reward);
    let events = world.memory.events::<Charged>(VALIDATORS);
    let event = events.first().unwrap();
    assert_eq!((event.key, event.owner, event.presenter), (charge.leaf.author, CUSTOMER, STRANGER));
    assert_eq!((event.epoch, event.taken, event.reward), (1, due, reward));
    let key = charge.leaf.author;
    let again = world.fails(OPERATOR, VALIDATORS, &charge);
    assert_eq!(again.revert(), Some(NothingDue { key }));
    assert_eq!(world.view(VALIDATORS, &dueOfCall { leaf: charge.leaf }), U256::ZERO);
    // Another epoch's faults are others, if they are the same bytes.
    let next = settled(&mut world, 2, &[fault(4, 2, 2_048)]).remove(0);
    assert_eq!(world.ok(STRANGER, VALIDATORS, &next), due);
}

#[test]
fn an_epoch_costs_a_key_the_least_bond_at_most() {
    let mut world = seated();
    let of = |number, bytes| fault(number, 1, bytes);
    let authors = [of(4, u64::MAX), of(1, BLOCK_BYTES), of(2, BLOCK_BYTES - 1), of(3, 1)];
    let taken: Vec<_> = settled(&mut world, 1, &authors)
        .iter()
        .map(|charge| world.ok(STRANGER, VALIDATORS, charge).to::<u128>())
        .collect();
    let part = COIN / u128::from(BLOCK_BYTES);
    assert_eq!(taken, [COIN, COIN, COIN - part - 1, part]);
}

#[test]
fn only_what_the_root_says_is_charged() {
    let mut world = seated();
    let authors = [fault(4, 1, 2_048), fault(9, 1, 2_048)];
    let calls = settled(&mut world, 1, &authors);
    let key = SeatKeys::derive(9).key();
    let unknown = world.fails(STRANGER, VALIDATORS, &calls[1]);
    assert_eq!(unknown.revert(), Some(NoSuchKey { key }));
    assert_eq!(world.view(VALIDATORS, &dueOfCall { leaf: calls[1].leaf.clone() }), U256::ZERO);
    let good = calls[0].clone();
    let key = good.leaf.author;
    let mut more = good.clone();
    more.leaf.size += 1;
    let mut other = good.clone();
    other.leaf.author = SeatKeys::derive(1).key();
    for (forged, key) in [(more, key), (other.clone(), other.leaf.author)] {
        let failure = world.fails(STRANGER, VALIDATORS, &forged);
        assert_eq!(failure.revert(), Some(InvalidLeaf { key }));
    }
    let elsewhere = |network, epoch| {
        let mut call = good.clone();
        (call.leaf.network, call.leaf.epoch) = (network, epoch);
        call
    };
    for (network, epoch) in [(NETWORK, 2), (NETWORK + 1, 1)] {
        let failure = world.fails(STRANGER, VALIDATORS, &elsewhere(network, epoch));
        assert_eq!(failure.revert(), Some(NotClaimable { network, epoch }));
    }
    let long = chargeCall { proof: vec![B256::ZERO; PROOF_MAX + 1], ..good.clone() };
    assert!(world.fails(STRANGER, VALIDATORS, &long).revert::<TooMany>().is_some());
    // A later root does not hold an earlier epoch's leaf.
    settled(&mut world, 2, &[fault(1, 2, 1)]);
    let failure = world.fails(STRANGER, VALIDATORS, &elsewhere(NETWORK, 2));
    assert_eq!(failure.revert(), Some(InvalidLeaf { key }));
    world.ok(STRANGER, VALIDATORS, &good);
}

#[test]
fn what_was_asked_back_pays_first_and_what_is_lacking_stays_due() {
    let mut world = seated();
    let key = SeatKeys::derive(LAST).key();
    let whole = U256::from(COIN);
    world.ok(CUSTOMER, VALIDATORS, &unbondCall { amount: whole / U256::from(4) });
    let charge = settled(&mut world, 1, &[fault(4, 1, BLOCK_BYTES)]).remove(0);
    assert_eq!(world.ok(STRANGER, VALIDATORS, &charge), whole);
    let asked = world.view(VALIDATORS, &IValidators::unbondingCall { owner: CUSTOMER });
    assert_eq!((asked.amount, asked.until), (U256::ZERO, 0));
    assert_eq!(bond(&mut world, CUSTOMER), U256::from(BOND) - whole);

    // The owner goes with all it has, and later bonds a little for another key.
    let second = settled(&mut world, 2, &[fault(4, 2, BLOCK_BYTES)]).remove(0);
    world.ok(CUSTOMER, VALIDATORS, &retireCall { key });
    let amount = bond(&mut world, CUSTOMER);
    world.ok(CUSTOMER, VALIDATORS, &unbondCall { amount });
    let height = world.memory.height + (RULES.unbonding_terms + 3) * RULES.term_length;
    world.memory.advance(height);
    world.ok(CUSTOMER, VALIDATORS, &withdrawCall {});
    let failure = world.fails(STRANGER, VALIDATORS, &second);
    assert_eq!(failure.revert(), Some(NothingBonded { owner: CUSTOMER }));
    world.bond(CUSTOMER, COIN / 2);
    assert_eq!(world.ok(STRANGER, VALIDATORS, &second), whole / U256::from(2));
    assert_eq!(
        world.view(VALIDATORS, &dueOfCall { leaf: second.leaf.clone() }),
        whole / U256::from(2)
    );
    world.bond(CUSTOMER, 2 * COIN);
    assert_eq!(world.ok(STRANGER, VALIDATORS, &second), whole / U256::from(2));
    assert_eq!(bond(&mut world, CUSTOMER), U256::from(COIN * 3 / 2));
    let done = world.fails(STRANGER, VALIDATORS, &second);
    assert_eq!(done.revert(), Some(NothingDue { key }));
    // What is left is bond like any other.
    world.ok(CUSTOMER, VALIDATORS, &registration(CUSTOMER, 9));
}

/// One step of a random history.
#[derive(Clone, Copy, Debug)]
enum Step {
    Bond(u64),
    Unbond(u64),
    Withdraw,
    Register,
    Retire(u64),
    Convict(u64),
    Release(u64),
    Settle([u64; 3]),
    Present(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = 0..BLOCK_BYTES * 5 / 4;
    prop_oneof![
        2 => (0u64..30).prop_map(Step::Bond),
        2 => (0u64..60).prop_map(Step::Unbond),
        2 => Just(Step::Withdraw),
        1 => Just(Step::Register),
        1 => (3u64..9).prop_map(Step::Retire),
        1 => (3u64..9).prop_map(Step::Convict),
        1 => (3u64..9).prop_map(Step::Release),
        3 => proptest::array::uniform3(bytes).prop_map(Step::Settle),
        6 => any::<usize>().prop_map(Step::Present),
        2 => (1u64..40).prop_map(Step::Pass),
    ]
}

/// A world in which the customer's keys, from number 4 on, come and go.
struct Random {
    world: World,
    leaves: Vec<chargeCall>,
    /// What was taken, by key and epoch.
    taken: BTreeMap<(B256, u64), U256>,
    next_key: u64,
    next_epoch: u64,
}

impl Random {
    fn new() -> Self {
        let (leaves, taken) = (Vec::new(), BTreeMap::new());
        Self { world: seated(), leaves, taken, next_key: LAST + 1, next_epoch: 1 }
    }

    /// Sends a call that may be refused and never faults.
    fn attempt<C: alloy_sol_types::SolCall>(&mut self, by: Address, call: &C) -> Option<C::Return> {
        let result = self.world.memory.send(by, VALIDATORS, call);
        self.world.memory.check().unwrap();
        match result {
            Err(Failure::Fault(fault)) => panic!("{}: {fault}", C::SIGNATURE),
            other => other.ok(),
        }
    }

    fn step(&mut self, step: Step) {
        let key = |number| SeatKeys::derive(number).key();
        match step {
            // Tenths of a coin.
            Step::Bond(0) => {}
            Step::Bond(amount) => self.world.bond(CUSTOMER, u128::from(amount) * COIN / 10),
            Step::Unbond(amount) => {
                let amount = U256::from(u128::from(amount) * COIN / 10);
                self.attempt(CUSTOMER, &unbondCall { amount });
            }
            Step::Withdraw => drop(self.attempt(CUSTOMER, &withdrawCall {})),
            Step::Register => {
                // One key at a time, so that the validator that settles keeps two thirds of the seats.
                let held = self.world.view(VALIDATORS, &bondOfCall { owner: CUSTOMER }).keys;
                let call = registration(CUSTOMER, self.next_key);
                if held == 0 && self.attempt(CUSTOMER, &call).is_some() {
                    self.next_key += 1;
                }
            }
            Step::Retire(number) => drop(self.attempt(CUSTOMER, &retireCall { key: key(number) })),
            Step::Convict(number) => self.convict(number),
            Step::Release(number) => {
                let call = IValidators::releaseCall { key: key(number) };
                self.attempt(STRANGER, &call);
            }
            Step::Settle(bytes) => self.settle(bytes),
            Step::Present(which) => self.present(which),
            Step::Pass(blocks) => self.world.memory.advance(self.world.memory.height + blocks),
        }
    }

    fn settle(&mut self, bytes: [u64; 3]) {
        let next = ISettlements::nextEpochCall { network: NETWORK };
        let epoch = self.world.view(SETTLEMENTS, &next).max(self.next_epoch);
        let authors: Vec<_> =
            (LAST..).zip(bytes).map(|(n, bytes)| fault(n, epoch, bytes)).collect();
        self.leaves.extend(settle(&mut self.world, epoch, &authors));
        self.next_epoch = epoch + 1;
    }

    fn present(&mut self, which: usize) {
        let Some(call) = self.leaves.get(which % self.leaves.len().max(1)).cloned() else { return };
        let before = self.coin();
        let due = self.world.view(VALIDATORS, &dueOfCall { leaf: call.leaf.clone() });
        if let Some(taken) = self.attempt(STRANGER, &call) {
            assert!(taken <= due && !taken.is_zero());
            assert_eq!(before - self.coin(), taken);
            *self.taken.entry((call.leaf.author, call.leaf.epoch)).or_default() += taken;
        }
    }

    /// All that the contract holds.
    fn coin(&self) -> U256 {
        coins(&self.world, VALIDATORS)
    }

    /// Reports a double vote of a key in this term, if it has a seat.
    fn convict(&mut self, number: u64) {
        let keys = SeatKeys::derive(number);
        let term = self.world.view(VALIDATORS, &IValidators::termsCall {}).current;
        let seats = self.world.view(VALIDATORS, &IValidators::committeeCall { term });
        let Some(place) = seats.iter().position(|seat| seat.key == keys.key()) else { return };
        let vote = |payload: u8| vote(&keys, (term, u64::try_from(place).unwrap()), payload).into();
        // The last of the three seats that settle stays.
        if number >= LAST {
            self.attempt(STRANGER, &accuseCall { first: vote(1), second: vote(2) });
        }
    }
}

/// A notarizing vote in view 7, in the encoding of simplex.
fn vote(keys: &SeatKeys, (term, place): (u64, u64), payload: u8) -> Vec<u8> {
    use commonware_codec::Encode as _;
    use commonware_cryptography::Signer as _;
    let varint = |number: u64| commonware_codec::varint::UInt(number).encode().to_vec();
    let body = [varint(term), varint(7), varint(6), vec![payload; 32]].concat();
    let ledger = [b"wayleave/ledger/1/".as_slice(), &[0x6e; 32], b"_NOTARIZE"].concat();
    let signature = keys.network().sign(&ledger, &body).encode().to_vec();
    [vec![0], body, varint(place), signature].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever owners do with bonds and keys, and whatever is presented when: all invariants hold after
    /// every call, and no key pays more for an epoch than the least bond.
    #[test]
    fn no_key_pays_more_than_its_leaves_say(steps in proptest::collection::vec(step(), 20..80)) {
        let mut random = Random::new();
        for step in steps {
            random.step(step);
        }
        for ((key, epoch), taken) in random.taken.clone() {
            prop_assert!(taken <= U256::from(COIN), "{key} lost {taken} for epoch {epoch}");
            let of = |call: &&chargeCall| (call.leaf.author, call.leaf.epoch) == (key, epoch);
            let leaf = random.leaves.iter().find(of).unwrap().leaf.clone();
            let most = U256::from(COIN) * U256::from(leaf.size.min(BLOCK_BYTES)) / U256::from(BLOCK_BYTES);
            let due = random.world.view(VALIDATORS, &dueOfCall { leaf });
            prop_assert_eq!(taken + due, most);
        }
        prop_assert!(CLOCK.epoch(Height(random.world.memory.height)).0 + 1 >= random.next_epoch);
    }
}
