//! Deposits, rails, datasets, vouchers, and what comes free when.

use crate::abi::IDevices;
use crate::abi::IRails::{
    self, AlreadyReleased, Closed, InsufficientDeposit, InvalidDevice, InvalidExpiry,
    InvalidSignature, InvalidVoucher, LimitLowered, NotLate, NotParty, NotPayer, NotSigner,
    OpenRail, RailEnded, RailOpen, StaleDataset, WrongLeaf,
};
use crate::abi::ISettlements::InvalidMerkleProof;
use crate::abi::ISystem::{Empty, TooMany};
use crate::address::{DEVICES, DOLLARS, RAILS};
use crate::settlements::OPEN_EPOCHS;
use crate::tests::world::{
    CHAIN, CUSTOMER, NETWORK, OPERATOR, Proven, STRANGER, World, leaf, promise, rail, secret,
    signer,
};
use alloy_primitives::{Address, B256, U256};
use protocol::inputs;
use protocol::leaf::Leaf;
use protocol::{Digest, Micros, RailId};

fn open(payee: Address, limit: u64, expiry: u64) -> IRails::openCall {
    IRails::openCall { rail: rail(payee, B256::ZERO, limit, expiry) }
}

fn spent(micros: u64) -> Leaf {
    Leaf { spent: Micros(micros), ..leaf(CUSTOMER) }
}

fn earned(micros: u64) -> Leaf {
    let mut leaf = leaf(OPERATOR);
    leaf.earned.cash = Micros(micros);
    leaf
}

fn release(rails: &[u64], proven: &Proven) -> IRails::releaseCall {
    let Proven { epoch, leaf, proof } = proven.clone();
    IRails::releaseCall { rails: rails.to_vec(), epoch, leaf, proof }
}

impl World {
    /// Deposited and reserved of the customer.
    fn purse(&mut self) -> (u64, u64) {
        let purse = self.view(RAILS, &IRails::depositOfCall { payer: CUSTOMER });
        (purse.deposited.to(), purse.reserved.to())
    }
}

#[test]
fn limits_are_reserved_and_never_exceed_the_deposit() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    assert_eq!(world.ok(CUSTOMER, RAILS, &open(OPERATOR, 600, 5)), 1);
    assert_eq!(world.purse(), (1_000, 600));
    let failure = world.fails(CUSTOMER, RAILS, &open(OPERATOR, 401, 5));
    let (payer, free, needed) = (CUSTOMER, U256::from(400), U256::from(401));
    assert_eq!(failure.revert(), Some(InsufficientDeposit { payer, free, needed }));
    let top_up = |limit| IRails::topUpCall { rail: 1, limit };
    let failure = world.fails(CUSTOMER, RAILS, &top_up(1_001));
    assert!(failure.revert::<InsufficientDeposit>().is_some());
    let failure = world.fails(CUSTOMER, RAILS, &top_up(600));
    assert_eq!(failure.revert(), Some(LimitLowered { rail: 1, limit: 600 }));
    assert!(world.fails(STRANGER, RAILS, &top_up(700)).revert::<NotPayer>().is_some());
    world.ok(CUSTOMER, RAILS, &top_up(1_000));
    assert_eq!(world.purse(), (1_000, 1_000));
    let withdraw = |amount: u64| IRails::withdrawCall { amount: U256::from(amount) };
    let failure = world.fails(CUSTOMER, RAILS, &withdraw(1));
    assert!(failure.revert::<InsufficientDeposit>().is_some());
    let backing = world.view(RAILS, &IRails::backingCall { network: NETWORK });
    assert_eq!(backing, U256::from(1_000));
}

#[test]
fn a_rail_says_what_it_was_opened_with() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    let device = world.register(OPERATOR, 1);
    world.advance_to(3);
    let wanted = OpenRail { rate: 7, ..rail(OPERATOR, device, 100, 9) };
    let many = IRails::openManyCall { rails: vec![wanted.clone(), wanted] };
    assert_eq!(world.ok(CUSTOMER, RAILS, &many), [1, 2]);
    let info = world.view(RAILS, &IRails::railCall { rail: 2 });
    assert_eq!((info.payer, info.payee, info.device), (CUSTOMER, OPERATOR, device));
    assert_eq!((info.signer, info.limit, info.rate), (signer(1).address(), 100, 7));
    assert_eq!((info.opened, info.end, info.nonce), (3, 9, world.memory.timestamp));
    assert!(!info.released);
    assert_eq!(world.view(RAILS, &IRails::railCountCall {}), 2);
    let at = IRails::openRailAtCall { network: NETWORK, index: 1 };
    assert_eq!(world.view(RAILS, &at), 2);
}

#[test]
fn rails_that_make_no_sense_are_refused() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    world.advance_to(2);
    let device = world.register(OPERATOR, 1);
    let good = rail(OPERATOR, device, 10, 3);
    let call = |rail: OpenRail| IRails::openCall { rail };
    let failure = world.fails(CUSTOMER, RAILS, &call(OpenRail { expiry: 2, ..good.clone() }));
    assert!(failure.revert::<InvalidExpiry>().is_some());
    let far = OpenRail { expiry: 10_000_003, ..good.clone() };
    assert!(world.fails(CUSTOMER, RAILS, &call(far)).revert::<InvalidExpiry>().is_some());
    for empty in [
        OpenRail { limit: 0, ..good.clone() },
        OpenRail { payee: Address::ZERO, ..good.clone() },
        OpenRail { signer: Address::ZERO, ..good.clone() },
    ] {
        assert_eq!(world.fails(CUSTOMER, RAILS, &call(empty)).revert(), Some(Empty {}));
    }
    for other in [
        OpenRail { payee: STRANGER, ..good.clone() },
        OpenRail { device: B256::repeat_byte(1), ..good.clone() },
    ] {
        let failure = world.fails(CUSTOMER, RAILS, &call(other));
        assert!(failure.revert::<InvalidDevice>().is_some());
    }
    world.ok(OPERATOR, DEVICES, &IDevices::retireCall { device });
    let failure = world.fails(CUSTOMER, RAILS, &call(good.clone()));
    assert_eq!(failure.revert(), Some(InvalidDevice { device, payee: OPERATOR }));
    let many = IRails::openManyCall { rails: vec![good; 257] };
    assert!(world.fails(CUSTOMER, RAILS, &many).revert::<TooMany>().is_some());
    let none = IRails::openManyCall { rails: vec![] };
    assert_eq!(world.fails(CUSTOMER, RAILS, &none).revert(), Some(Empty {}));
}

#[test]
fn a_rail_closed_in_its_first_epoch_is_free_at_once() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    world.ok(CUSTOMER, RAILS, &open(OPERATOR, 600, 5));
    let close = IRails::closeCall { rail: 1 };
    let failure = world.fails(STRANGER, RAILS, &close);
    assert_eq!(failure.revert(), Some(NotParty { rail: 1, caller: STRANGER }));
    world.ok(OPERATOR, RAILS, &close);
    assert_eq!(world.purse(), (1_000, 0));
    assert!(world.fails(CUSTOMER, RAILS, &close).revert::<RailEnded>().is_some());
    world.ok(CUSTOMER, RAILS, &IRails::withdrawCall { amount: U256::from(1_000) });
    assert_eq!(world.balance(DOLLARS, CUSTOMER), U256::from(1_000));
}

#[test]
fn ended_rails_come_free_by_a_leaf_less_what_was_spent() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    world.ok(CUSTOMER, RAILS, &open(OPERATOR, 600, 5));
    world.ok(CUSTOMER, RAILS, &open(OPERATOR, 300, 1));
    let before = world.settle_and_wait(0, &[spent(0)]);
    world.ok(CUSTOMER, RAILS, &IRails::closeCall { rail: 1 });
    let end = world.epoch();
    assert_eq!(world.memory.events::<Closed>(RAILS), [Closed { rail: 1, end }]);
    // Not before it ended, and not by a leaf that does not have all it can cost.
    let failure = world.fails(CUSTOMER, RAILS, &release(&[1], &before[0]));
    assert_eq!(failure.revert(), Some(RailOpen { rail: 1, end }));
    world.advance_to(end + 1);
    for epoch in 1..end {
        world.settle(epoch, &[spent(100), earned(90)]);
    }
    let last = world.settle_and_wait(end, &[spent(140), earned(126)]);
    for early in [&before[0], &last[0]] {
        let failure = world.fails(CUSTOMER, RAILS, &release(&[1], early));
        assert_eq!(failure.revert(), Some(WrongLeaf { payer: CUSTOMER, network: NETWORK }));
    }
    // The epoch after the end still pays vouchers.
    let proven = world.settle_and_wait(end + 1, &[spent(150), earned(135)]);
    let failure = world.fails(CUSTOMER, RAILS, &release(&[1], &proven[1]));
    assert!(failure.revert::<WrongLeaf>().is_some(), "another account's leaf");
    // Anyone may send it.
    world.ok(STRANGER, RAILS, &release(&[1, 2], &proven[0]));
    assert_eq!(world.purse(), (1_000, 150));
    let again = world.fails(CUSTOMER, RAILS, &release(&[2], &proven[0]));
    assert_eq!(again.revert(), Some(AlreadyReleased { rail: 2 }));
    world.ok(CUSTOMER, RAILS, &IRails::withdrawCall { amount: U256::from(850) });
    assert_eq!(world.balance(DOLLARS, RAILS), U256::from(150));
    let count = IRails::openRailCountCall { network: NETWORK };
    assert_eq!(world.view(RAILS, &count), 0);
}

fn release_late(rails: &[u64], epoch: u64, leaf: &Leaf, proof: &[B256]) -> IRails::releaseLateCall {
    let (rails, proof) = (rails.to_vec(), proof.to_vec());
    IRails::releaseLateCall { rails, epoch, leaf: leaf.into(), proof }
}

#[test]
fn void_epochs_free_all_but_vouchers() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    world.ok(CUSTOMER, RAILS, &open(OPERATOR, 600, 2));
    world.ok(OPERATOR, RAILS, &promise(1, world.memory.timestamp, 200));
    let late = release_late(&[1], 0, &leaf(CUSTOMER), &[]);
    // Epoch 3 still pays vouchers, and can become final until it is void.
    let from = 3 + OPEN_EPOCHS + 1;
    world.advance_to(from - 1);
    let failure = world.fails(CUSTOMER, RAILS, &late);
    assert_eq!(failure.revert(), Some(NotLate { rail: 1, from }));
    world.advance_to(from);
    world.ok(CUSTOMER, RAILS, &late);
    assert_eq!(world.purse(), (1_000, 200));
    let again = world.fails(CUSTOMER, RAILS, &late);
    assert_eq!(again.revert(), Some(AlreadyReleased { rail: 1 }));
    let more = world.fails(OPERATOR, RAILS, &promise(1, world.memory.timestamp, 300));
    assert!(more.revert::<InvalidVoucher>().is_some(), "what is free cannot be promised any more");
    world.ok(CUSTOMER, RAILS, &IRails::withdrawCall { amount: U256::from(800) });

    // The rail stays listed, so that what was presented is paid when settlement goes on.
    let count = IRails::openRailCountCall { network: NETWORK };
    assert_eq!(world.view(RAILS, &count), 1);
    let next = from - OPEN_EPOCHS;
    let proven = world.settle_and_wait(next, &[spent(200), earned(180)]);
    let claim = crate::abi::ISettlements::claimCall {
        epoch: next,
        leaf: proven[1].leaf.clone(),
        proof: proven[1].proof.clone(),
    };
    world.ok(OPERATOR, crate::address::SETTLEMENTS, &claim);
    assert_eq!(world.balance(DOLLARS, OPERATOR), U256::from(180));
    world.ok(CUSTOMER, RAILS, &release(&[1], &proven[0]));
    assert_eq!(world.view(RAILS, &count), 0);
    assert_eq!(world.purse(), (200, 200));
}

#[test]
fn rails_of_settled_epochs_are_not_late() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    world.ok(CUSTOMER, RAILS, &open(OPERATOR, 100, 1));
    for epoch in 0..=2 {
        world.settle(epoch, &[spent(0), earned(0)]);
    }
    world.advance_to(2 * OPEN_EPOCHS);
    let late = release_late(&[1], 0, &leaf(CUSTOMER), &[]);
    assert!(world.fails(CUSTOMER, RAILS, &late).revert::<NotLate>().is_some());
}

#[test]
fn a_late_release_keeps_what_was_settled() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    world.ok(CUSTOMER, RAILS, &open(OPERATOR, 600, 4));
    world.settle(0, &[spent(0), earned(0)]);
    world.settle(1, &[spent(100), earned(90)]);
    let proven = world.settle_and_wait(2, &[spent(250), earned(225)]);
    world.advance_to(6 + OPEN_EPOCHS);
    let Proven { epoch, leaf: paid, proof } = proven[0].clone();
    let good = IRails::releaseLateCall { rails: vec![1], epoch, leaf: paid, proof };
    let forged = IRails::releaseLateCall { leaf: (&spent(0)).into(), ..good.clone() };
    let failure = world.fails(CUSTOMER, RAILS, &forged);
    assert!(failure.revert::<InvalidMerkleProof>().is_some());
    let older = IRails::releaseLateCall { epoch: 1, ..good.clone() };
    assert!(world.fails(CUSTOMER, RAILS, &older).revert::<WrongLeaf>().is_some());
    let other = IRails::releaseLateCall { leaf: proven[1].leaf.clone(), ..good.clone() };
    assert!(world.fails(CUSTOMER, RAILS, &other).revert::<WrongLeaf>().is_some());
    world.ok(CUSTOMER, RAILS, &good);
    assert_eq!(world.purse(), (1_000, 250));
}

#[test]
fn rails_that_no_inputs_ever_named_need_no_leaf() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    let device = world.register(OPERATOR, 1);
    for expiry in [1, 5] {
        let call = IRails::openCall { rail: rail(OPERATOR, device, 300, expiry) };
        world.ok(CUSTOMER, RAILS, &call);
    }
    world.ok(OPERATOR, DEVICES, &IDevices::retireCall { device });
    world.advance_to(2);
    world.ok(CUSTOMER, RAILS, &IRails::closeCall { rail: 2 });
    assert_eq!(world.purse(), (1_000, 300));
    world.ok(CUSTOMER, RAILS, &release_late(&[1], 0, &leaf(CUSTOMER), &[]));
    assert_eq!(world.purse(), (1_000, 0));
    let count = IRails::openRailCountCall { network: NETWORK };
    assert_eq!(world.view(RAILS, &count), 0);
}

#[test]
fn vouchers_are_checked_to_the_last_field() {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    world.ok(CUSTOMER, RAILS, &open(OPERATOR, 600, 5));
    let nonce = world.memory.timestamp;
    let good = promise(1, nonce, 200);
    let invalid = InvalidVoucher { rail: 1 };
    let mut other_network = good.clone();
    other_network.voucher.network = 2;
    let mut raised = good.clone();
    raised.voucher.amount = 201;
    let mut cut = good.clone();
    cut.signature = cut.signature.slice(..64);
    let mut foreign = good.clone();
    foreign.signature = promise(1, nonce, 201).signature;
    for bad in
        [promise(1, nonce - 1, 200), promise(1, nonce, 601), other_network, raised, cut, foreign]
    {
        assert_eq!(world.fails(OPERATOR, RAILS, &bad).revert(), Some(invalid.clone()));
    }
    world.ok(STRANGER, RAILS, &good);
    assert_eq!(world.view(RAILS, &IRails::railCall { rail: 1 }).presented, 200);
    assert_eq!(world.fails(OPERATOR, RAILS, &good).revert(), Some(invalid));
    world.ok(OPERATOR, RAILS, &promise(1, nonce + 9, 600));
    assert!(
        world
            .fails(OPERATOR, RAILS, &promise(2, nonce, 1))
            .revert::<IRails::NoSuchRail>()
            .is_some()
    );
}

#[test]
fn datasets_need_both_signatures() {
    let mut world = World::new();
    let service = signer(1).address();
    world.fund(CUSTOMER, 1_000);
    let device = world.register(OPERATOR, 1);
    let call = IRails::openCall { rail: rail(OPERATOR, device, 100, 9) };
    world.ok(CUSTOMER, RAILS, &call);
    let dataset = |number: u8, version: u64, size: u64| {
        let root = Digest([version.to_le_bytes()[0]; 32]);
        let signed = inputs::Dataset { rail: RailId(1), version, root, bytes: size };
        let signature = secret(number).sign(&signed.signing_bytes(CHAIN)).into();
        IRails::Dataset { rail: 1, version, root: root.0.into(), size, signature }
    };
    let freeze = |datasets: Vec<IRails::Dataset>| IRails::freezeCall { datasets };
    let failure = world.fails(STRANGER, RAILS, &freeze(vec![dataset(1, 1, 10)]));
    assert_eq!(failure.revert(), Some(NotSigner { rail: 1, caller: STRANGER }));
    let mut larger = dataset(1, 1, 10);
    larger.size = 11;
    for bad in [dataset(2, 1, 10), larger] {
        let failure = world.fails(service, RAILS, &freeze(vec![bad]));
        assert_eq!(failure.revert(), Some(InvalidSignature { rail: 1 }));
    }
    world.ok(service, RAILS, &freeze(vec![dataset(1, 1, 10), dataset(1, 2, 30)]));
    let frozen = world.view(RAILS, &IRails::datasetCall { rail: 1 });
    assert_eq!((frozen.version, frozen.size, frozen.frozen), (2, 30, 0));
    assert_eq!(frozen.root, B256::repeat_byte(2));
    let failure = world.fails(service, RAILS, &freeze(vec![dataset(1, 2, 30)]));
    assert_eq!(failure.revert(), Some(StaleDataset { rail: 1, version: 2 }));
    world.advance_to(10);
    let failure = world.fails(service, RAILS, &freeze(vec![dataset(1, 3, 30)]));
    assert_eq!(failure.revert(), Some(RailEnded { rail: 1, end: 9 }));
}
