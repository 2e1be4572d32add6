//! Dissent: what it opens, what it costs, and what it may not do to money.

use super::rounds::{FOUR, four, prepare, wrong};
use super::{
    CLOCK, NETWORK, OPEN_EPOCHS, SETTLEMENTS, STRANGER, VALIDATOR, WINDOW, announce, busy, claim,
    leaves,
};
use crate::abi::ISettlements::{
    self, AlreadyDisputed, BondTooSmall, BurnedTooLittle, DisputeEnded, Fined, NoDisputeToEnd,
    NotClaimable, NotDisputable, NotFinable, SameOutcome, WrongEpoch, WrongInputs, dissentCall,
};
use crate::abi::IValidators::{self, NoSuchSeat};
use crate::abi::Outcome;
use crate::address::VALIDATORS;
use crate::env::Failure;
use crate::tests::world::{COIN, Proven, World, outcome, reveal};
use alloy_primitives::{Address, B256, U256};
use protocol::Epoch;

/// The bond of a dissent in these worlds.
const BOND: u128 = COIN;
const DISSENTER: Address = Address::repeat_byte(0xd1);

impl World {
    fn dissent(&mut self, epoch: u64, outcome: &Outcome, bond: u128) -> Result<(), Failure> {
        let call = dissentCall { network: NETWORK, epoch, outcome: outcome.clone() };
        let sent = self.memory.send_coin(DISSENTER, SETTLEMENTS, &call, U256::from(bond));
        self.memory.check().unwrap();
        sent.map(drop)
    }

    fn coin(&self, of: Address) -> U256 {
        self.memory.coins.get(&of).copied().unwrap_or_default()
    }

    fn claimable_from(&mut self, epoch: u64) -> u64 {
        let call = ISettlements::claimableFromCall { network: NETWORK, epoch };
        self.view(SETTLEMENTS, &call)
    }

    fn claimable_epoch(&mut self) -> Option<u64> {
        let call = ISettlements::claimableEpochCall { network: NETWORK };
        let found = self.view(SETTLEMENTS, &call);
        found.any.then_some(found.epoch)
    }

    fn next_epoch(&mut self) -> u64 {
        self.view(SETTLEMENTS, &ISettlements::nextEpochCall { network: NETWORK })
    }

    fn root(&mut self, epoch: u64) -> B256 {
        self.view(SETTLEMENTS, &ISettlements::rootCall { network: NETWORK, epoch })
    }

    /// Lets all four commit and reveal. One of them may have another opinion, and reveals it first.
    fn decide_by_four(
        &mut self,
        epoch: u64,
        outcome: &Outcome,
        other: Option<(Address, &Outcome)>,
    ) {
        let (odd, opinion) = other.unwrap_or((Address::ZERO, outcome));
        for name in FOUR {
            self.commit(name, epoch, if name == odd { opinion } else { outcome });
        }
        self.pass(1);
        if other.is_some() {
            self.reveal(odd, epoch, opinion);
        }
        for name in FOUR {
            if name != odd && self.root(epoch).is_zero() {
                self.reveal(name, epoch, outcome);
            }
        }
        assert_eq!(self.root(epoch), outcome.root);
    }
}

/// Epochs 0 to 2 decided one after the other, with their outcomes and leaves, the second as it is told.
fn three(change: impl Fn(&mut Outcome)) -> (World, Vec<(Outcome, Vec<Proven>)>) {
    let mut world = busy();
    let mut all = Vec::new();
    for (epoch, spent) in [(0, 100), (1, 200), (2, 300)] {
        let (right, proven) = outcome(epoch, &leaves(spent, spent / 10 * 9, spent / 100));
        world.memory.advance(CLOCK.first(Epoch(epoch)).0);
        let inputs = right.inputs;
        let call = ISettlements::announceCall { network: NETWORK, epoch, inputs };
        world.ok(VALIDATOR, SETTLEMENTS, &call);
        world.memory.advance(CLOCK.grace_end(Epoch(epoch)).0 + 1);
        let mut voted = right.clone();
        if epoch == 1 {
            change(&mut voted);
        }
        world.decide(epoch, &voted);
        all.push((right, proven));
    }
    (world, all)
}

fn lie(outcome: &mut Outcome) {
    outcome.root = B256::repeat_byte(6);
}

#[test]
fn a_window_is_counted_from_the_decision_on() {
    let (mut world, all) = three(|_| {});
    // Decided at 13, 23 and 33.
    for (epoch, from) in [(0, 34), (1, 44), (2, 54), (3, 0)] {
        assert_eq!(world.claimable_from(epoch), from, "epoch {epoch}");
    }
    assert_eq!(world.claimable_epoch(), None);
    let burned = ISettlements::toBurnCall { network: NETWORK };
    assert_eq!(
        world.view(SETTLEMENTS, &burned),
        U256::ZERO,
        "nothing that could be dropped is burned"
    );
    for (height, newest) in [(34, Some(0)), (43, Some(0)), (44, Some(1)), (54, Some(2))] {
        world.memory.advance(height);
        assert_eq!(world.claimable_epoch(), newest, "at {height}");
    }
    assert_eq!(world.view(SETTLEMENTS, &burned), U256::from(30));
    let late = world.dissent(2, &wrong(&all[2].0), BOND).unwrap_err();
    assert_eq!(late.revert(), Some(NotDisputable { network: NETWORK, epoch: 2 }));
}

#[test]
fn the_newest_claimable_epoch_is_found_among_many() {
    let mut world = busy();
    for epoch in 0..20 {
        world.settle(epoch, &leaves(10, 9, 0));
        // Decided every ten blocks, from 13 on, and claimable 21 later.
        let newest = (0..=epoch).rev().find(|other| world.memory.height >= 13 + 10 * other + 21);
        assert_eq!(world.claimable_epoch(), newest, "at {}", world.memory.height);
    }
    for left in (0..world.memory.height + 40).step_by(7) {
        world.memory.height = left;
        let newest = (0..20).rev().find(|other| left >= 13 + 10 * other + 21);
        assert_eq!(world.claimable_epoch(), newest, "at {left}");
    }
}

#[test]
fn an_upheld_dissent_replaces_the_root_before_it_pays() {
    let (mut world, all) = three(lie);
    let (truth, proven) = &all[1];
    let held = world.coin(VALIDATORS);
    world.memory.advance(43);
    world.dissent(1, truth, BOND).unwrap();
    assert_eq!(world.coin(SETTLEMENTS), U256::from(BOND));
    // It and the epoch after it are open again, the one before it stays.
    for (epoch, any) in [(0, true), (1, false), (2, false)] {
        assert_eq!(!world.root(epoch).is_zero(), any, "epoch {epoch}");
        assert_eq!(world.claimable_from(epoch) != 0, any, "epoch {epoch}");
    }
    let last = world.view(SETTLEMENTS, &ISettlements::finalEpochCall { network: NETWORK });
    assert_eq!((last.any, last.epoch, world.next_epoch()), (true, 0, 1));
    let dispute = ISettlements::disputeOfCall { network: NETWORK, epoch: 1 };
    let dispute_now = world.view(SETTLEMENTS, &dispute);
    assert!(dispute_now.open && dispute_now.dissenter == DISSENTER);
    // What was claimable stays so, and nothing else is.
    world.ok(STRANGER, SETTLEMENTS, &claim(&all[0].1[1]));
    let failure = world.fails(STRANGER, SETTLEMENTS, &claim(&proven[1]));
    assert_eq!(failure.revert(), Some(NotClaimable { network: NETWORK, epoch: 1 }));
    let (other, later) = (world.dissent(0, truth, BOND), world.dissent(2, truth, BOND));
    for failure in [other, later] {
        let error = AlreadyDisputed { network: NETWORK, epoch: 1 };
        assert_eq!(failure.unwrap_err().revert(), Some(error));
    }
    let skip = world.ballot(VALIDATOR, 2, &all[2].0);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &skip);
    assert_eq!(failure.revert(), Some(WrongEpoch { network: NETWORK, epoch: 2, expected: 1 }));

    world.pass(3);
    world.decide(1, truth);
    let decided = world.memory.height;
    let ended: DisputeEnded = world.memory.events(SETTLEMENTS).pop().unwrap();
    assert!(ended.upheld && ended.paid == U256::from(BOND) && ended.round == 1);
    assert_eq!((world.coin(DISSENTER), world.coin(SETTLEMENTS)), (U256::from(BOND), U256::ZERO));
    assert!(!world.view(SETTLEMENTS, &dispute).open);
    // The epoch after it keeps what is left of its window, and does not end it before this one's.
    world.decide(2, &all[2].0);
    let caught_up = world.memory.height;
    assert_eq!(world.claimable_from(1), caught_up + WINDOW + 1);
    assert_eq!(world.claimable_from(2), caught_up + WINDOW + 1);
    assert!(caught_up > decided);

    // Whoever decided the false root is fined, once, and only when the true one is for good.
    let fine = ISettlements::fineCall { network: NETWORK, epoch: 1, round: 1, seat: 0 };
    let failure = world.fails(STRANGER, SETTLEMENTS, &fine);
    assert!(failure.revert::<NotFinable>().is_some());
    world.pass(WINDOW + 1);
    world.ok(STRANGER, SETTLEMENTS, &claim(&proven[1]));
    world.ok(STRANGER, SETTLEMENTS, &fine);
    let fined: Fined = world.memory.events(SETTLEMENTS).pop().unwrap();
    let (amount, half) = (U256::from(COIN / 2), U256::from(COIN / 4));
    assert_eq!((fined.validator, fined.amount, fined.reward), (VALIDATOR, amount, half));
    assert_eq!(world.coin(DISSENTER), U256::from(BOND) + half);
    assert_eq!((held - world.coin(VALIDATORS), world.coin(Address::ZERO)), (amount, half));
    let again = world.fails(STRANGER, SETTLEMENTS, &fine);
    assert!(again.revert::<NotFinable>().is_some(), "fined twice");
    let nobody = ISettlements::fineCall { seat: 1, ..fine.clone() };
    let failure = world.fails(STRANGER, SETTLEMENTS, &nobody);
    assert_eq!(failure.revert(), Some(NoSuchSeat { term: 1, signer: 1 }));
    for call in [
        ISettlements::fineCall { round: 2, ..fine.clone() },
        ISettlements::fineCall { epoch: 2, ..fine.clone() },
    ] {
        assert!(world.memory.send(STRANGER, SETTLEMENTS, &call).is_err(), "nothing was overruled");
    }
}

#[test]
fn a_rejected_dissent_costs_its_bond_and_holds_nothing_up() {
    let (mut world, all) = three(|_| {});
    world.memory.advance(43);
    world.dissent(1, &wrong(&all[1].0), 2 * BOND).unwrap();
    world.pass(4);
    world.decide(1, &all[1].0);
    let ended: DisputeEnded = world.memory.events(SETTLEMENTS).pop().unwrap();
    assert!(!ended.upheld && ended.paid.is_zero());
    assert_eq!((world.coin(DISSENTER), world.coin(SETTLEMENTS)), (U256::ZERO, U256::ZERO));
    assert_eq!(world.coin(Address::ZERO), U256::from(2 * BOND), "nobody gains by it");
    world.decide(2, &all[2].0);
    // One block of the window was left at 43, and eleven of the next epoch's.
    let height = world.memory.height;
    assert_eq!(world.claimable_from(1), height + 1);
    assert_eq!(world.claimable_from(2), height + 11);
    world.pass(1);
    world.ok(STRANGER, SETTLEMENTS, &claim(&all[1].1[1]));
    let fine = ISettlements::fineCall { network: NETWORK, epoch: 1, round: 1, seat: 0 };
    assert!(world.memory.send(STRANGER, SETTLEMENTS, &fine).is_err(), "the honest are not fined");
}

#[test]
fn dissent_cannot_shield_a_false_root() {
    // The majority decides a false root in epoch 2 and has somebody dissent from epoch 1, so that nobody
    // else can dissent until it says so: the window of the false root does not pass meanwhile.
    let (mut world, all) = three(|_| {});
    world.dissent(1, &wrong(&all[1].0), BOND).unwrap();
    world.pass(10 * WINDOW);
    assert_eq!(world.claimable_epoch(), None, "not even what stands before it");
    world.decide(1, &all[1].0);
    world.decide(2, &all[2].0);
    let height = world.memory.height;
    assert_eq!(world.claimable_from(2), height + WINDOW + 1);
    world.dissent(2, &wrong(&all[2].0), BOND).unwrap();
}

#[test]
fn what_dissent_needs() {
    let (mut world, all) = three(|_| {});
    let (right, _) = &all[1];
    let bond = world.view(SETTLEMENTS, &ISettlements::dissentBondCall {});
    assert_eq!(bond, U256::from(BOND));
    let failure = world.dissent(1, &wrong(right), BOND - 1).unwrap_err();
    let small = BondTooSmall { bond: bond - U256::from(1), least: bond };
    assert_eq!(failure.revert(), Some(small));
    let failure = world.dissent(1, right, BOND).unwrap_err();
    assert!(failure.revert::<SameOutcome>().is_some());
    let failure = world.dissent(3, right, BOND).unwrap_err();
    assert_eq!(failure.revert(), Some(NotDisputable { network: NETWORK, epoch: 3 }));
    let failure = world.dissent(1, &Outcome { inputs: B256::ZERO, ..right.clone() }, BOND);
    assert!(failure.unwrap_err().revert::<WrongInputs>().is_some());
    let mut greedy = right.clone();
    greedy.totals.burned -= U256::from(10);
    greedy.totals.cash += U256::from(10);
    let failure = world.dissent(1, &greedy, BOND).unwrap_err();
    assert!(failure.revert::<BurnedTooLittle>().is_some(), "{failure}");
    assert_eq!(world.coin(SETTLEMENTS), U256::ZERO);
    let end = ISettlements::endDisputeCall { network: NETWORK, epoch: 1 };
    let failure = world.fails(STRANGER, SETTLEMENTS, &end);
    assert_eq!(failure.revert(), Some(NoDisputeToEnd { network: NETWORK, epoch: 1 }));
}

#[test]
fn a_disputed_epoch_may_become_void_and_the_bond_goes_back() {
    let (mut world, all) = three(|_| {});
    world.dissent(1, &wrong(&all[1].0), BOND).unwrap();
    let end = ISettlements::endDisputeCall { network: NETWORK, epoch: 1 };
    // Filed in epoch 3 against epoch 1: it has all its time again, from then on.
    world.advance_to(3 + OPEN_EPOCHS);
    assert_eq!(world.next_epoch(), 1);
    let failure = world.fails(STRANGER, SETTLEMENTS, &end);
    assert_eq!(failure.revert(), Some(NoDisputeToEnd { network: NETWORK, epoch: 1 }));
    world.advance_to(4 + OPEN_EPOCHS);
    assert_eq!(world.next_epoch(), 2);
    world.ok(STRANGER, SETTLEMENTS, &end);
    assert_eq!((world.coin(DISSENTER), world.coin(SETTLEMENTS)), (U256::from(BOND), U256::ZERO));
    let failure = world.fails(STRANGER, SETTLEMENTS, &end);
    assert!(failure.revert::<NoDisputeToEnd>().is_some());
    // The one after it was dropped with it, can still be decided, and builds on what stands.
    world.decide(2, &all[2].0);
    let before = ISettlements::finalBeforeCall { network: NETWORK, epoch: 2 };
    assert_eq!(world.view(SETTLEMENTS, &before).before, 0);
    assert_eq!(world.root(1), B256::ZERO, "void stays void");
    assert_eq!(world.claimable_from(1), 0);
    assert_eq!(world.next_epoch(), 3);
}

#[test]
fn a_void_dispute_does_not_hold_up_the_next() {
    let (mut world, all) = three(|_| {});
    world.dissent(1, &wrong(&all[1].0), BOND).unwrap();
    world.advance_to(4 + OPEN_EPOCHS);
    world.decide(2, &all[2].0);
    // Nobody ended it: the next dissent does.
    world.dissent(2, &wrong(&all[2].0), 3 * BOND).unwrap();
    assert_eq!(world.coin(DISSENTER), U256::from(BOND));
    assert_eq!(world.coin(SETTLEMENTS), U256::from(3 * BOND));
}

#[test]
fn dropped_epochs_have_time_to_be_decided_again() {
    // Epoch 1 is decided as late as can be, and disputed at once.
    let mut world = busy();
    world.settle(0, &leaves(100, 90, 1));
    let (right, _) = outcome(1, &leaves(200, 180, 2));
    let (next, _) = outcome(2, &leaves(300, 270, 3));
    for outcome in [(1, &right), (2, &next)] {
        let (epoch, inputs) = (outcome.0, outcome.1.inputs);
        world.memory.advance(CLOCK.first(Epoch(epoch)).0);
        let call = ISettlements::announceCall { network: NETWORK, epoch, inputs };
        world.ok(VALIDATOR, SETTLEMENTS, &call);
    }
    world.advance_to(1 + OPEN_EPOCHS);
    world.decide(1, &right);
    world.decide(2, &next);
    world.dissent(1, &wrong(&right), BOND).unwrap();
    // Without the dissent both would be void here.
    world.advance_to(3 + OPEN_EPOCHS);
    assert_eq!(world.next_epoch(), 1);
    world.decide(1, &right);
    world.advance_to(2 + 2 * OPEN_EPOCHS);
    assert_eq!(world.next_epoch(), 2);
    world.decide(2, &next);
    // Then the others are void one after the other, as many epochs later as the disputed one was old.
    world.advance_to(3 + 2 * OPEN_EPOCHS);
    assert_eq!(world.next_epoch(), 3);
    world.advance_to(94);
    assert_eq!(world.next_epoch(), 94 - 2 * OPEN_EPOCHS);
}

#[test]
fn once_settlement_has_caught_up_epochs_are_open_for_their_usual_time() {
    let (mut world, all) = three(lie);
    world.dissent(1, &all[1].0, BOND).unwrap();
    world.pass(1);
    world.decide(1, &all[1].0);
    world.decide(2, &all[2].0);
    world.advance_to(3 + OPEN_EPOCHS);
    assert_eq!(world.next_epoch(), 3);
    world.advance_to(4 + OPEN_EPOCHS);
    assert_eq!(world.next_epoch(), 4);
}

#[test]
fn what_runs_when_somebody_dissents_is_over() {
    // Commits to the next epoch build on what was dropped: they must not decide it afterwards.
    let (mut world, all) = three(lie);
    let (fourth, _) = outcome(3, &leaves(400, 360, 4));
    announce(&mut world, 3, fourth.inputs);
    world.commit(VALIDATOR, 3, &fourth);
    world.dissent(2, &wrong(&all[2].0), BOND).unwrap();
    world.pass(1);
    world.decide(2, &wrong(&all[2].0));
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &reveal(VALIDATOR, 3, &fourth));
    assert!(failure.revert::<ISettlements::NotRevealing>().is_some());
    assert_eq!(world.round(3).number, 2);
}

#[test]
fn a_false_second_decision_fines_nobody_who_told_the_truth() {
    let (mut world, right) = four();
    let (false_root, [one, .., four]) = (wrong(&right), FOUR);
    // Three decide the truth; dissent has them decide a lie; dissent has them decide the truth.
    world.decide_by_four(0, &right, Some((four, &false_root)));
    world.dissent(0, &false_root, BOND).unwrap();
    world.pass(1);
    world.decide_by_four(0, &false_root, Some((one, &right)));
    let fine = |round, seat| ISettlements::fineCall { network: NETWORK, epoch: 0, round, seat };
    let keys = world.view(VALIDATORS, &IValidators::committeeCall { term: 1 });
    let seat = |name| {
        let place = keys.iter().position(|seat| seat.account == name).unwrap();
        u64::try_from(place).unwrap()
    };
    for name in FOUR {
        let failure = world.fails(STRANGER, SETTLEMENTS, &fine(1, seat(name)));
        assert!(failure.revert::<NotFinable>().is_some(), "the lie is not for good");
    }
    world.dissent(0, &right, BOND).unwrap();
    world.pass(1);
    world.decide_by_four(0, &right, None);
    world.pass(WINDOW + 1);
    for name in FOUR {
        let failure = world.fails(STRANGER, SETTLEMENTS, &fine(1, seat(name)));
        assert!(failure.revert::<NotFinable>().is_some(), "round 1 told the truth");
    }
    let failure = world.fails(STRANGER, SETTLEMENTS, &fine(2, seat(one)));
    assert!(failure.revert::<NotFinable>().is_some(), "an honest voter of round 2");
    for name in &FOUR[1..] {
        world.ok(STRANGER, SETTLEMENTS, &fine(2, seat(*name)));
    }
    let ruling = ISettlements::rulingOfCall { network: NETWORK, epoch: 0, round: 2 };
    assert_eq!(world.view(SETTLEMENTS, &ruling).dissenter, DISSENTER);
}

#[test]
fn the_first_epoch_of_all_can_be_disputed() {
    let (mut world, right) = four();
    world.decide_by_four(0, &wrong(&right), None);
    world.dissent(0, &right, BOND).unwrap();
    let last = world.view(SETTLEMENTS, &ISettlements::finalEpochCall { network: NETWORK });
    assert!(!last.any);
    // No epoch may be skipped now, though none is decided.
    let (next, _) = outcome(1, &leaves(0, 0, 0));
    prepare(&mut world, 1, next.inputs);
    let ballot = world.ballot(FOUR[0], 1, &next);
    let failure = world.fails(FOUR[0], SETTLEMENTS, &ballot);
    assert_eq!(failure.revert(), Some(WrongEpoch { network: NETWORK, epoch: 1, expected: 0 }));
    world.decide_by_four(0, &right, None);
    world.decide_by_four(1, &next, None);
}
