//! Rounds of commits and reveals.

use super::{CLOCK, NETWORK, SETTLEMENTS, VALIDATOR, announce, leaves};
use crate::abi::ISettlements::{
    self, AlreadyRevealed, CommitsClosed, NotRevealing, NotValidator, WrongBallot, WrongInputs,
    WrongRound, ballotHashCall, commitCall, outcomeCall, revealCall, rootCall, voteOfCall,
};
use crate::abi::ISystem::Empty;
use crate::abi::{IValidators, Outcome};
use crate::address::VALIDATORS;
use crate::settlements::rounds::SPAN_MIN;
use crate::testing::SeatKeys;
use crate::tests::world::{CHAIN, COIN, STRANGER, World, config, outcome, reveal, salt, seats};
use crate::{GenesisConfig, SeatRules};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue as _;

pub(super) const FOUR: [Address; 4] = [
    Address::repeat_byte(1),
    Address::repeat_byte(2),
    Address::repeat_byte(3),
    Address::repeat_byte(4),
];

/// A world of four validators with a seat each, in which epoch 0 can be voted on, and its outcome.
pub(super) fn four() -> (World, Outcome) {
    let validators = seats(&FOUR.map(|name| (name, 1)));
    let mut world = World::with(&GenesisConfig { validators, ..config() });
    let (right, _) = outcome(0, &leaves(0, 0, 0));
    prepare(&mut world, 0, right.inputs);
    (world, right)
}

/// Announces inputs by as many as it takes and waits for the grace's end.
pub(super) fn prepare(world: &mut World, epoch: u64, inputs: B256) {
    world.memory.advance(CLOCK.first(protocol::Epoch(epoch)).0);
    let fixed = ISettlements::inputsCall { network: NETWORK, epoch };
    for name in FOUR {
        if world.view(SETTLEMENTS, &fixed).is_zero() {
            let call = ISettlements::announceCall { network: NETWORK, epoch, inputs };
            world.ok(name, SETTLEMENTS, &call);
        }
    }
    world.memory.advance(CLOCK.grace_end(protocol::Epoch(epoch)).0 + 1);
}

pub(super) fn wrong(right: &Outcome) -> Outcome {
    Outcome { root: B256::repeat_byte(6), ..right.clone() }
}

fn root(world: &mut World) -> B256 {
    world.view(SETTLEMENTS, &rootCall { network: NETWORK, epoch: 0 })
}

/// A sender estimates on a state without what others say in the same block: a word more is written then.
#[test]
fn an_announcement_that_decides_costs_a_word_more_than_estimated() {
    let used = |before: &[Address]| {
        let validators = seats(&FOUR.map(|name| (name, 1)));
        let mut world = World::with(&GenesisConfig { validators, ..config() });
        let inputs = B256::repeat_byte(5);
        let call = ISettlements::announceCall { network: NETWORK, epoch: 0, inputs };
        for name in before {
            world.ok(*name, SETTLEMENTS, &call);
        }
        world.ok(FOUR[3], SETTLEMENTS, &call);
        let gas = world.memory.gas_used();
        let fixed = ISettlements::inputsCall { network: NETWORK, epoch: 0 };
        (gas, world.view(SETTLEMENTS, &fixed) == inputs)
    };
    let (estimated, early) = used(&FOUR[..1]);
    let (deciding, fixed) = used(&FOUR[..2]);
    assert!(!early && fixed);
    let more = deciding.checked_sub(estimated).unwrap();
    assert!((1..10_000).contains(&more), "{more}");
}

#[test]
fn one_validator_takes_two_blocks() {
    let mut world = World::new();
    let (right, _) = outcome(0, &leaves(0, 0, 0));
    announce(&mut world, 0, right.inputs);
    let height = world.memory.height;
    let round = world.round(0);
    assert_eq!((round.number, round.opened, round.commitsUntil, round.revealsUntil), (1, 0, 0, 0));
    world.commit(VALIDATOR, 0, &right);
    let round = world.round(0);
    assert_eq!((round.number, round.opened, round.commitsUntil), (1, height, height));
    assert_eq!(round.revealsUntil, height + SPAN_MIN);
    // Not in the block in which commits close: they are the same for all of it.
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &reveal(VALIDATOR, 0, &right));
    let from = height + 1;
    assert_eq!(failure.revert(), Some(NotRevealing { network: NETWORK, epoch: 0, from }));
    world.pass(1);
    world.reveal(VALIDATOR, 0, &right);
    assert_eq!((root(&mut world), world.memory.height), (right.root, from));
}

#[test]
fn two_thirds_of_the_seats_decide() {
    let names: Vec<Address> = (1..=4).map(Address::repeat_byte).collect();
    let of: Vec<_> = names.iter().map(|name| (*name, 1)).chain([(VALIDATOR, 2)]).collect();
    let mut world = World::with(&GenesisConfig { validators: seats(&of), ..config() });
    let (right, _) = outcome(0, &leaves(0, 0, 0));
    prepare(&mut world, 0, right.inputs);
    // A replaced commit is another vote, and counts once.
    world.commit(names[0], 0, &wrong(&right));
    world.commit(names[0], 0, &right);
    world.commit(names[1], 0, &right);
    world.commit(names[2], 0, &wrong(&right));
    world.commit(VALIDATOR, 0, &right);
    world.pass(SPAN_MIN + 1);
    let failure = world.fails(names[0], SETTLEMENTS, &reveal(names[0], 0, &wrong(&right)));
    let committed = world.ballot(names[0], 0, &right).ballot;
    assert_eq!(failure.revert(), Some(WrongBallot { validator: names[0], committed }));
    world.reveal(names[2], 0, &wrong(&right));
    world.reveal(VALIDATOR, 0, &right);
    world.reveal(names[0], 0, &right);
    assert_eq!(root(&mut world), B256::ZERO, "3 of 6 is not enough");
    let again = world.fails(names[0], SETTLEMENTS, &reveal(names[0], 0, &right));
    assert_eq!(again.revert(), Some(AlreadyRevealed { validator: names[0] }));
    let vote = voteOfCall { network: NETWORK, epoch: 0, round: 1, validator: names[1] };
    assert_eq!(world.view(SETTLEMENTS, &vote).choice, B256::ZERO);
    world.reveal(names[1], 0, &right);
    assert_eq!(root(&mut world), right.root, "4 of 6 is");
    let choice = keccak256(right.abi_encode());
    assert_eq!(world.view(SETTLEMENTS, &vote).choice, choice);
    let stored = outcomeCall { network: NETWORK, epoch: 0 };
    assert_eq!(world.view(SETTLEMENTS, &stored), right);
}

#[test]
fn the_ballot_is_what_solidity_says() {
    let mut world = World::new();
    let (outcome, _) = outcome(3, &leaves(9, 8, 1));
    let (epoch, round, salt) = (3, 2, B256::repeat_byte(5));
    let call = ballotHashCall {
        network: NETWORK,
        epoch,
        round,
        validator: VALIDATOR,
        outcome: outcome.clone(),
        salt,
    };
    // abi.encode: eight words, the first the offset of the text, which follows with its length.
    let word = |number: u64| B256::from(U256::from(number));
    let mut text = [0; 32];
    text[..15].copy_from_slice(b"wayleave ballot");
    let words = [
        word(256),
        word(CHAIN),
        word(NETWORK),
        word(epoch),
        word(round),
        VALIDATOR.into_word(),
        keccak256(outcome.abi_encode()),
        salt,
        word(15),
        B256::from(text),
    ];
    assert_eq!(world.view(SETTLEMENTS, &call), keccak256(words.concat()));
}

#[test]
fn a_copied_commit_is_worth_nothing() {
    let (mut world, right) = four();
    let [one, two, three, copier] = FOUR;
    for honest in [one, two] {
        world.commit(honest, 0, &right);
    }
    let copied = world.ballot(one, 0, &right);
    world.ok(copier, SETTLEMENTS, &copied);
    world.commit(three, 0, &right);
    // Everybody committed, so nobody can copy what is revealed from here on.
    world.pass(1);
    world.reveal(one, 0, &right);
    let late = world.ballot(copier, 0, &right);
    let failure = world.fails(copier, SETTLEMENTS, &late);
    assert!(failure.revert::<CommitsClosed>().is_some());
    for salt in [salt(one), salt(copier)] {
        let call = revealCall { salt, ..reveal(copier, 0, &right) };
        let failure = world.fails(copier, SETTLEMENTS, &call);
        let committed = copied.ballot;
        assert_eq!(failure.revert(), Some(WrongBallot { validator: copier, committed }));
    }
    world.reveal(two, 0, &right);
    assert_eq!(root(&mut world), B256::ZERO);
    world.reveal(three, 0, &right);
    assert_eq!(root(&mut world), right.root);
}

#[test]
fn commits_and_reveals_have_their_time() {
    let (mut world, right) = four();
    let [one, two, three, late] = FOUR;
    let first = world.memory.height;
    let nothing = world.fails(one, SETTLEMENTS, &reveal(one, 0, &right));
    assert_eq!(nothing.revert(), Some(NotRevealing { network: NETWORK, epoch: 0, from: 0 }));
    let ballot = world.ballot(one, 0, &right);
    for round in [0, 2] {
        let failure = world.fails(one, SETTLEMENTS, &commitCall { round, ..ballot.clone() });
        assert_eq!(failure.revert(), Some(WrongRound { network: NETWORK, epoch: 0, expected: 1 }));
    }
    let empty = commitCall { ballot: B256::ZERO, ..ballot.clone() };
    assert_eq!(world.fails(one, SETTLEMENTS, &empty).revert(), Some(Empty {}));
    let failure = world.fails(STRANGER, SETTLEMENTS, &ballot);
    assert_eq!(failure.revert(), Some(NotValidator { caller: STRANGER }));
    world.ok(one, SETTLEMENTS, &ballot);
    world.pass(SPAN_MIN);
    world.commit(two, 0, &right);
    world.commit(three, 0, &right);
    let until = first + SPAN_MIN;
    let failure = world.fails(one, SETTLEMENTS, &reveal(one, 0, &right));
    let from = until + 1;
    assert_eq!(failure.revert(), Some(NotRevealing { network: NETWORK, epoch: 0, from }));
    world.pass(1);
    let ballot = world.ballot(late, 0, &right);
    let failure = world.fails(late, SETTLEMENTS, &ballot);
    let until = until + SPAN_MIN;
    assert_eq!(failure.revert(), Some(CommitsClosed { network: NETWORK, epoch: 0, until }));
    let wrong_salt = revealCall { salt: B256::ZERO, ..reveal(one, 0, &right) };
    let failure = world.fails(one, SETTLEMENTS, &wrong_salt);
    assert!(failure.revert::<WrongBallot>().is_some());
    let other = Outcome { inputs: B256::repeat_byte(9), ..right.clone() };
    let failure = world.fails(one, SETTLEMENTS, &reveal(one, 0, &other));
    assert!(failure.revert::<WrongBallot>().is_some());
    let failure = world.fails(late, SETTLEMENTS, &reveal(late, 0, &right));
    let committed = B256::ZERO;
    assert_eq!(failure.revert(), Some(WrongBallot { validator: late, committed }));
    world.reveal(one, 0, &right);
    world.reveal(two, 0, &right);
    world.memory.advance(until + 1);
    let failure = world.fails(three, SETTLEMENTS, &reveal(three, 0, &right));
    assert!(failure.revert::<NotRevealing>().is_some());
    assert_eq!(world.round(0).number, 2);
}

#[test]
fn without_inputs_nothing_is_committed() {
    let mut world = World::new();
    let (right, _) = outcome(0, &leaves(0, 0, 0));
    world.memory.advance(CLOCK.grace_end(protocol::Epoch(0)).0 + 1);
    let ballot = world.ballot(VALIDATOR, 0, &right);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &ballot);
    let announced = B256::ZERO;
    assert_eq!(failure.revert(), Some(WrongInputs { network: NETWORK, epoch: 0, announced }));
}

#[test]
fn a_round_without_a_quorum_is_followed_by_a_new_one() {
    let (mut world, right) = four();
    let [one, two, three, four] = FOUR;
    // Two of four commit: no choice can get 2/3 any more once commits are closed.
    world.commit(one, 0, &right);
    world.commit(two, 0, &right);
    world.pass(SPAN_MIN);
    assert_eq!(world.round(0).number, 1);
    world.pass(1);
    assert_eq!(world.round(0).number, 2, "nobody waits for reveals in vain");
    // Three commit, and disagree: the round is over with the second of them.
    for (name, outcome) in [(one, &right), (two, &wrong(&right)), (three, &right)] {
        world.commit(name, 0, outcome);
    }
    world.pass(SPAN_MIN + 1);
    world.reveal(one, 0, &right);
    assert_eq!(world.round(0).number, 2);
    world.reveal(two, 0, &wrong(&right));
    let after = world.round(0);
    assert_eq!((after.number, after.opened), (3, 0));
    // Nothing of the rounds before counts, nor is anybody the poorer.
    for name in [one, two, three, four] {
        let vote = voteOfCall { network: NETWORK, epoch: 0, round: 3, validator: name };
        let vote = world.view(SETTLEMENTS, &vote);
        assert_eq!((vote.ballot, vote.choice), (B256::ZERO, B256::ZERO));
        let bond = IValidators::bondOfCall { owner: name };
        assert_eq!(world.view(VALIDATORS, &bond).amount, U256::from(10 * COIN));
    }
    world.commit(three, 0, &right);
    world.commit(four, 0, &right);
    world.pass(SPAN_MIN + 1);
    let failure = world.fails(three, SETTLEMENTS, &reveal(three, 0, &right));
    assert!(failure.revert::<NotRevealing>().is_some(), "one of round 2 and two of round 3");
    // All vote, and one does not reveal.
    for name in FOUR {
        world.commit(name, 0, &right);
    }
    world.pass(1);
    for name in [one, two, three] {
        assert_eq!(root(&mut world), B256::ZERO);
        world.reveal(name, 0, &right);
    }
    assert_eq!(root(&mut world), right.root);
    assert_eq!(world.round(0).number, 5, "the round that decided is over");
}

#[test]
fn an_old_ballot_does_not_count_in_a_new_round() {
    let (mut world, right) = four();
    let [one, two, three, _] = FOUR;
    let old = world.ballot(one, 0, &right);
    world.ok(one, SETTLEMENTS, &old);
    world.pass(SPAN_MIN + 1);
    let failure = world.fails(one, SETTLEMENTS, &old);
    assert_eq!(failure.revert(), Some(WrongRound { network: NETWORK, epoch: 0, expected: 2 }));
    let stale = commitCall { round: 2, ..old };
    world.ok(one, SETTLEMENTS, &stale);
    world.commit(two, 0, &right);
    world.commit(three, 0, &right);
    world.pass(SPAN_MIN + 1);
    let failure = world.fails(one, SETTLEMENTS, &reveal(one, 0, &right));
    assert!(failure.revert::<WrongBallot>().is_some());
}

#[test]
fn a_round_is_of_the_committee_after_the_running_one() {
    let [one, two, three, late] = FOUR;
    let rules = SeatRules { term_length: 20, seats_max: 6, bond_min: COIN, unbonding_terms: 3 };
    let validators = seats(&[(one, 1), (two, 1), (three, 1)]);
    let mut world = World::with(&GenesisConfig { validators, seats: rules, ..config() });
    let (right, _) = outcome(0, &leaves(0, 0, 0));
    prepare(&mut world, 0, right.inputs);
    let voters = ISettlements::votersCall { network: NETWORK, epoch: 0 };
    assert_eq!(world.view(SETTLEMENTS, &voters).voting, 1);
    world.bond(late, COIN);
    world.ok(late, VALIDATORS, &SeatKeys::derive(9).register(CHAIN, late, late, ""));
    for (owner, number) in [(two, 2), (three, 3)] {
        let key = SeatKeys::derive(number).key();
        world.ok(owner, VALIDATORS, &IValidators::retireCall { key });
    }
    // A round that begins in term 0 stays one of term 1, whoever sits by then.
    world.memory.advance(19);
    world.commit(one, 0, &right);
    world.pass(1);
    assert_eq!(world.view(SETTLEMENTS, &voters).voting, 1);
    let ballot = world.ballot(late, 0, &right);
    let failure = world.fails(late, SETTLEMENTS, &ballot);
    assert_eq!(failure.revert(), Some(NotValidator { caller: late }));
    world.pass(2 * SPAN_MIN);
    assert_eq!(world.view(SETTLEMENTS, &voters).voting, 2);
    world.commit(late, 0, &right);
    world.commit(one, 0, &right);
    world.pass(1);
    let failure = world.fails(two, SETTLEMENTS, &reveal(two, 0, &right));
    assert_eq!(failure.revert(), Some(NotValidator { caller: two }));
    world.reveal(late, 0, &right);
    assert_eq!(root(&mut world), B256::ZERO);
    world.reveal(one, 0, &right);
    assert_eq!(root(&mut world), right.root);
}
