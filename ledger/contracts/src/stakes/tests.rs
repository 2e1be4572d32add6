//! Stake is bound, asked back, netted and paid.

use crate::abi::ISettlements::{InvalidMerkleProof, NotClaimable};
use crate::abi::IStakes::{
    self, DeviceRetired, InsufficientStake, NotOwner, NothingUnbonding, StillBound, WrongLeaf,
};
use crate::abi::{IDevices, INetworks, IToken};
use crate::address::{DEVICES, NETWORKS, STAKES};
use crate::settlements::OPEN_EPOCHS;
use crate::tests::world::{
    FOUNDER, NETWORK, OPERATOR, Proven, STRANGER, UNBONDING, World, leaf, manifest,
};
use alloy_primitives::{B256, U256};
use protocol::Tokens;
use protocol::leaf::Leaf;

fn whole(tokens: u64) -> U256 {
    U256::from(Tokens::whole(tokens).0)
}

fn slashed(tokens: u64) -> Leaf {
    Leaf { slashed: Tokens::whole(tokens), ..leaf(OPERATOR) }
}

fn withdraw(device: B256, proven: &Proven) -> IStakes::withdrawCall {
    let Proven { epoch, leaf, proof } = proven.clone();
    IStakes::withdrawCall { device, epoch, leaf, proof }
}

fn unbond(device: B256, tokens: u64) -> IStakes::unbondCall {
    IStakes::unbondCall { device, amount: whole(tokens) }
}

#[test]
fn stake_comes_back_after_unbonding_less_slashes() {
    let mut world = World::new();
    let device = world.register(OPERATOR, 1);
    world.stake(OPERATOR, device, 100);
    assert_eq!(world.view(STAKES, &IStakes::stakeOfCall { device }), whole(100));
    let early = world.settle(0, &[slashed(10)]);
    world.advance_to(2);
    world.ok(OPERATOR, STAKES, &unbond(device, 60));
    let asked = world.view(STAKES, &IStakes::unbondingCall { device });
    assert_eq!((asked.amount, asked.epoch), (whole(60), 2));
    assert_eq!(world.view(STAKES, &IStakes::stakeOfCall { device }), whole(40));
    world.settle(1, &[slashed(10)]);
    let proven = world.settle(2, &[slashed(25), leaf(STRANGER)]);
    let until = 2 + u64::from(UNBONDING);
    let failure = world.fails(OPERATOR, STAKES, &withdraw(device, &proven[0]));
    assert_eq!(failure.revert(), Some(StillBound { device, until }));
    world.advance_to(until + 1);
    // A leaf from before the request, of another account, and a forged one.
    for wrong in [&early[0], &proven[1]] {
        let failure = world.fails(OPERATOR, STAKES, &withdraw(device, wrong));
        assert_eq!(failure.revert(), Some(WrongLeaf { device }));
    }
    let mut forged = proven[0].clone();
    forged.leaf.slashed = U256::ZERO;
    let failure = world.fails(OPERATOR, STAKES, &withdraw(device, &forged));
    assert_eq!(failure.revert(), Some(InvalidMerkleProof { account: OPERATOR }));

    let supply = world.view(World::token(), &IToken::totalSupplyCall {});
    assert_eq!(world.ok(OPERATOR, STAKES, &withdraw(device, &proven[0])), whole(35));
    assert_eq!(world.balance(World::token(), OPERATOR), whole(35));
    let after = world.view(World::token(), &IToken::totalSupplyCall {});
    assert_eq!(supply - after, whole(25), "what was slashed is destroyed");
    let failure = world.fails(OPERATOR, STAKES, &withdraw(device, &proven[0]));
    assert_eq!(failure.revert(), Some(NothingUnbonding { device }));

    // The same slash is not taken twice.
    world.ok(OPERATOR, STAKES, &unbond(device, 40));
    let request = world.epoch();
    let settled: Vec<_> = (3..=request).map(|epoch| world.settle(epoch, &[slashed(25)])).collect();
    let proven = settled.last().unwrap();
    world.advance_to(request + u64::from(UNBONDING) + 1);
    assert_eq!(world.ok(OPERATOR, STAKES, &withdraw(device, &proven[0])), whole(40));
    assert_eq!(world.balance(World::token(), STAKES), U256::ZERO);
    let netted = IStakes::slashedCall { network: NETWORK, owner: OPERATOR };
    assert_eq!(world.view(STAKES, &netted), whole(25));
    // A sale moves neither stake nor debt.
    let id = U256::from_be_bytes(device.0);
    let sell = IDevices::transferFromCall { from: OPERATOR, to: STRANGER, tokenId: id };
    world.ok(OPERATOR, DEVICES, &sell);
    assert_eq!(world.view(STAKES, &netted), whole(25));
    let bought = IStakes::slashedCall { network: NETWORK, owner: STRANGER };
    assert_eq!(world.view(STAKES, &bought), U256::ZERO, "the buyer answers anew");
}

#[test]
fn stake_that_never_counted_is_paid_without_a_leaf() {
    let mut world = World::new();
    world.advance_to(3);
    let device = world.register(OPERATOR, 1);
    world.stake(OPERATOR, device, 100);
    // In the epoch of its registration no inputs name it.
    world.ok(OPERATOR, STAKES, &unbond(device, 30));
    assert_eq!(world.balance(World::token(), OPERATOR), whole(30));
    world.ok(OPERATOR, DEVICES, &IDevices::retireCall { device });
    world.advance_to(50);
    world.ok(OPERATOR, STAKES, &unbond(device, 70));
    assert_eq!(world.balance(World::token(), OPERATOR), whole(100));
    assert_eq!(world.view(STAKES, &IStakes::totalCall { network: NETWORK }), U256::ZERO);
    // One that was in service when an epoch began answers for it.
    let device = world.register(OPERATOR, 2);
    world.stake(OPERATOR, device, 10);
    world.advance_to(51);
    world.ok(OPERATOR, DEVICES, &IDevices::retireCall { device });
    world.ok(OPERATOR, STAKES, &unbond(device, 10));
    assert_eq!(world.view(STAKES, &IStakes::unbondingCall { device }).amount, whole(10));
}

#[test]
fn a_founder_cannot_hold_back_stake_that_was_asked_for() {
    let mut world = World::new();
    let device = world.register(OPERATOR, 1);
    world.stake(OPERATOR, device, 10);
    world.advance_to(1);
    world.ok(OPERATOR, STAKES, &unbond(device, 10));
    let mut longer = manifest();
    longer.evidence.unbonding_epochs = u16::MAX;
    let manifest = protocol::cbor::to_vec(&longer).into();
    world.ok(FOUNDER, NETWORKS, &INetworks::amendCall { network: NETWORK, manifest });
    world.settle(0, &[leaf(OPERATOR)]);
    let proven = world.settle(1, &[leaf(OPERATOR)]);
    world.advance_to(2 + u64::from(UNBONDING));
    assert_eq!(world.ok(OPERATOR, STAKES, &withdraw(device, &proven[0])), whole(10));
}

#[test]
fn a_slash_larger_than_a_payment_waits_for_the_next() {
    let mut world = World::new();
    let device = world.register(OPERATOR, 1);
    let other = world.register(OPERATOR, 2);
    world.stake(OPERATOR, device, 10);
    world.stake(OPERATOR, other, 50);
    world.settle(0, &[leaf(OPERATOR)]);
    world.ok(OPERATOR, STAKES, &unbond(device, 10));
    world.ok(OPERATOR, STAKES, &unbond(other, 50));
    let proven = world.settle(1, &[slashed(30)]);
    world.advance_to(2 + u64::from(UNBONDING));
    assert_eq!(world.ok(OPERATOR, STAKES, &withdraw(device, &proven[0])), U256::ZERO);
    assert_eq!(world.ok(OPERATOR, STAKES, &withdraw(other, &proven[0])), whole(30));
}

#[test]
fn a_root_is_used_once_its_window_is_over() {
    let mut world = World::new();
    let device = world.register(OPERATOR, 1);
    world.stake(OPERATOR, device, 10);
    world.settle(0, &[leaf(OPERATOR)]);
    world.ok(OPERATOR, STAKES, &unbond(device, 10));
    world.advance_to(9);
    let proven = world.settle(1, &[leaf(OPERATOR)]);
    let failure = world.fails(OPERATOR, STAKES, &withdraw(device, &proven[0]));
    assert_eq!(failure.revert(), Some(NotClaimable { network: NETWORK, epoch: 1 }));
    world.advance_to(12);
    world.ok(OPERATOR, STAKES, &withdraw(device, &proven[0]));
}

#[test]
fn only_the_owner_stakes_and_only_what_it_has() {
    let mut world = World::new();
    let device = world.register(OPERATOR, 1);
    world.stake(OPERATOR, device, 10);
    let stake = IStakes::stakeCall { device, amount: U256::ONE };
    let failure = world.fails(STRANGER, STAKES, &stake);
    assert_eq!(failure.revert(), Some(NotOwner { device, caller: STRANGER }));
    let failure = world.fails(OPERATOR, STAKES, &unbond(device, 11));
    assert!(failure.revert::<InsufficientStake>().is_some());
    let failure = world.fails(STRANGER, STAKES, &unbond(device, 1));
    assert!(failure.revert::<NotOwner>().is_some());
    world.ok(OPERATOR, DEVICES, &IDevices::retireCall { device });
    let failure = world.fails(OPERATOR, STAKES, &stake);
    assert_eq!(failure.revert(), Some(DeviceRetired { device }));
    assert_eq!(world.view(STAKES, &IStakes::totalCall { network: NETWORK }), whole(10));
    world.ok(OPERATOR, STAKES, &unbond(device, 10));
    assert_eq!(world.view(STAKES, &IStakes::totalCall { network: NETWORK }), U256::ZERO);
}

#[test]
fn a_settlement_that_stands_still_does_not_hold_stake_for_good() {
    let mut world = World::new();
    let device = world.register(OPERATOR, 1);
    world.stake(OPERATOR, device, 100);
    world.settle(0, &[slashed(0), leaf(STRANGER)]);
    let proven = world.settle(1, &[slashed(30), leaf(STRANGER)]);
    world.advance_to(4);
    let other = world.register(OPERATOR, 2);
    world.stake(OPERATOR, other, 50);
    world.advance_to(5);
    world.ok(OPERATOR, STAKES, &unbond(device, 100));
    world.ok(OPERATOR, STAKES, &unbond(other, 50));
    // As long as epoch 5 can become final, what happened in it counts.
    world.advance_to(5 + OPEN_EPOCHS);
    for device in [device, other] {
        let failure = world.fails(OPERATOR, STAKES, &withdraw(device, &proven[0]));
        assert_eq!(failure.revert(), Some(WrongLeaf { device }));
    }
    world.advance_to(6 + OPEN_EPOCHS);
    let failure = world.fails(OPERATOR, STAKES, &withdraw(device, &proven[1]));
    assert_eq!(failure.revert(), Some(WrongLeaf { device }));
    assert_eq!(world.ok(OPERATOR, STAKES, &withdraw(device, &proven[0])), whole(70));
    // The second device was in no final epoch: no leaf tells of it.
    let none = Proven { epoch: 0, leaf: (&leaf(OPERATOR)).into(), proof: vec![] };
    assert_eq!(world.ok(OPERATOR, STAKES, &withdraw(other, &none)), whole(50));
}
