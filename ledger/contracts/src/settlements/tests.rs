//! Announcements, policy, and claims.

mod disputes;
mod rounds;

use crate::abi::ISettlements::{
    self, AlreadyAnnounced, AlreadyFinal, BurnedTooLittle, Claimed, ClassNotBacked, GrantedTooMuch,
    InvalidMerkleProof, NotBacked, NotClaimable, NotConserved, NotValidator, NothingToClaim,
    SlashedTooMuch, TooEarly, TotalsFell, VestedTooMuch, WrongEpoch, WrongInputs, announceCall,
    claimCall,
};
use crate::abi::IValidators;
use crate::abi::{Leaf as AbiLeaf, Outcome};
use crate::address::{DOLLARS, RAILS, SETTLEMENTS, VALIDATORS};
use crate::env::Failure;
use crate::settlements::rounds::SPAN_MIN;
use crate::settlements::{HEARING_TERMS, OPEN_EPOCHS};
use crate::testing::SeatKeys;
use crate::tests::world::{
    CHAIN, CLOCK, COIN, CUSTOMER, NETWORK, OPERATOR, Proven, STRANGER, VALIDATOR, World, config,
    leaf, outcome, rail, reveal, seats,
};
use alloy_primitives::{Address, B256, U256};
use protocol::leaf::Leaf;
use protocol::{Epoch, Micros, Tokens};

/// Blocks of the dispute window.
const WINDOW: u64 = 2 * CLOCK.length;

fn leaves(spent: u64, cash: u64, vested: u64) -> [Leaf; 2] {
    let payer = Leaf { spent: Micros(spent), ..leaf(CUSTOMER) };
    let mut payee = Leaf { vested: Tokens::whole(vested), ..leaf(OPERATOR) };
    payee.earned.cash = Micros(cash);
    [payer, payee]
}

fn claim(proven: &Proven) -> claimCall {
    let Proven { epoch, leaf, proof } = proven.clone();
    claimCall { epoch, leaf, proof }
}

/// A world with a rail of 1,000 and a registered device.
fn busy() -> World {
    let mut world = World::new();
    world.fund(CUSTOMER, 1_000);
    let device = world.register(OPERATOR, 1);
    let call = crate::abi::IRails::openCall { rail: rail(OPERATOR, device, 1_000, 1_000) };
    world.ok(CUSTOMER, RAILS, &call);
    world
}

fn announce(world: &mut World, epoch: u64, inputs: B256) {
    world.memory.height = world.memory.height.max(CLOCK.first(Epoch(epoch)).0);
    world.ok(VALIDATOR, SETTLEMENTS, &announceCall { network: NETWORK, epoch, inputs });
    world.memory.height = CLOCK.grace_end(Epoch(epoch)).0 + 1;
}

#[test]
fn pay_is_claimed_once_and_only_what_is_new() {
    let mut world = busy();
    let proven = world.settle(1, &leaves(500, 450, 3));
    let early = world.fails(STRANGER, SETTLEMENTS, &claim(&proven[1]));
    assert_eq!(early.revert(), Some(NotClaimable { network: NETWORK, epoch: 1 }));
    world.pass(WINDOW);
    world.fails(STRANGER, SETTLEMENTS, &claim(&proven[1]));
    world.pass(1);
    // Anyone may send it; the leaf's account is paid.
    let paid = world.ok(STRANGER, SETTLEMENTS, &claim(&proven[1]));
    assert_eq!((paid.vested, paid.cash), (U256::from(Tokens::whole(3).0), U256::from(450)));
    assert_eq!(world.balance(DOLLARS, OPERATOR), U256::from(450));
    assert_eq!(world.balance(World::token(), OPERATOR), U256::from(Tokens::whole(3).0));
    let again = world.fails(OPERATOR, SETTLEMENTS, &claim(&proven[1]));
    assert_eq!(again.revert(), Some(NothingToClaim { account: OPERATOR }));
    let payer = world.fails(CUSTOMER, SETTLEMENTS, &claim(&proven[0]));
    assert_eq!(payer.revert(), Some(NothingToClaim { account: CUSTOMER }));
    let later = world.settle_and_wait(2, &leaves(800, 720, 3));
    assert_eq!(world.ok(OPERATOR, SETTLEMENTS, &claim(&later[1])).cash, U256::from(270));
    // The older root still holds, and has nothing new.
    let old = world.fails(OPERATOR, SETTLEMENTS, &claim(&proven[1]));
    assert_eq!(old.revert(), Some(NothingToClaim { account: OPERATOR }));
    assert_eq!(world.memory.events::<Claimed>(SETTLEMENTS).len(), 2);
    let burn = world.view(SETTLEMENTS, &ISettlements::toBurnCall { network: NETWORK });
    assert_eq!(burn, U256::from(80));
    assert_eq!(world.balance(DOLLARS, RAILS), U256::from(1_000 - 720));
    let taken = ISettlements::claimedCall { network: NETWORK, account: OPERATOR };
    assert_eq!(world.view(SETTLEMENTS, &taken).cash, U256::from(720));
}

#[test]
fn forged_leaves_and_proofs_are_refused() {
    let mut world = busy();
    let proven = world.settle_and_wait(0, &leaves(500, 450, 3));
    let good = claim(&proven[1]);
    let with = |change: fn(&mut AbiLeaf)| {
        let mut call = good.clone();
        change(&mut call.leaf);
        call
    };
    let forged = [
        with(|leaf| leaf.cash += U256::ONE),
        with(|leaf| leaf.vested = U256::MAX),
        with(|leaf| leaf.account = STRANGER),
        with(|leaf| leaf.slashed = U256::ONE),
        claimCall { proof: vec![], ..good.clone() },
        claimCall { proof: [good.proof.clone(), good.proof.clone()].concat(), ..good.clone() },
        claimCall { proof: proven[0].proof.clone(), ..good.clone() },
    ];
    for call in forged {
        let failure = world.fails(OPERATOR, SETTLEMENTS, &call);
        assert!(failure.revert::<InvalidMerkleProof>().is_some(), "{call:?}: {failure}");
    }
    for other in [with(|leaf| leaf.network = 2), claimCall { epoch: 1, ..good.clone() }] {
        let failure = world.fails(OPERATOR, SETTLEMENTS, &other);
        assert!(failure.revert::<NotClaimable>().is_some());
    }
    let long = claimCall { proof: vec![B256::ZERO; 65], ..good.clone() };
    assert!(
        world
            .fails(OPERATOR, SETTLEMENTS, &long)
            .revert::<crate::abi::ISystem::TooMany>()
            .is_some()
    );
    world.ok(OPERATOR, SETTLEMENTS, &good);
}

#[test]
fn a_root_over_inner_nodes_pays_nobody_twice() {
    // An inner node passed as a leaf fails, because leaves are hashed twice.
    let mut world = busy();
    let proven = world.settle_and_wait(0, &leaves(500, 450, 3));
    let hash = |proven: &Proven| {
        use alloy_sol_types::SolValue as _;
        protocol::merkle::leaf_hash(&proven.leaf.abi_encode())
    };
    assert_eq!(hash(&proven[0]), leaves(500, 450, 3)[0].hash(), "both encodings agree");
    assert_eq!(proven[1].proof, [hash(&proven[0])]);
}

#[test]
fn outcomes_are_voted_in_order_and_in_time() {
    let mut world = busy();
    let (first, _) = outcome(3, &leaves(0, 0, 0));
    let announcement = announceCall { network: NETWORK, epoch: 3, inputs: first.inputs };
    let failure = world.fails(STRANGER, SETTLEMENTS, &announcement);
    assert_eq!(failure.revert(), Some(NotValidator { caller: STRANGER }));
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &announcement);
    let early = TooEarly { network: NETWORK, epoch: 3, height: 30 };
    assert_eq!(failure.revert(), Some(early));
    announce(&mut world, 3, first.inputs);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &announcement);
    assert_eq!(failure.revert(), Some(AlreadyAnnounced { network: NETWORK, epoch: 3 }));

    world.memory.height = 41;
    let ballot = world.ballot(VALIDATOR, 3, &first);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &ballot);
    assert_eq!(failure.revert(), Some(TooEarly { network: NETWORK, epoch: 3, height: 42 }));
    world.memory.height = 42;
    let failure = world.fails(STRANGER, SETTLEMENTS, &ballot);
    assert_eq!(failure.revert(), Some(NotValidator { caller: STRANGER }));
    let unknown = world.ballot(VALIDATOR, 4, &first);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &unknown);
    assert_eq!(failure.revert(), Some(TooEarly { network: NETWORK, epoch: 4, height: 52 }));
    let other = Outcome { inputs: B256::repeat_byte(9), ..first.clone() };
    world.commit(VALIDATOR, 3, &other);
    world.pass(1);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &reveal(VALIDATOR, 3, &other));
    assert!(failure.revert::<WrongInputs>().is_some());
    // Who committed to nonsense waits for another round.
    world.pass(SPAN_MIN + 1);
    world.decide(3, &first);
    let last = world.view(SETTLEMENTS, &ISettlements::finalEpochCall { network: NETWORK });
    assert!(last.any && last.epoch == 3);
    let stored = ISettlements::outcomeCall { network: NETWORK, epoch: 3 };
    assert_eq!(world.view(SETTLEMENTS, &stored), first);
    let again = world.ballot(VALIDATOR, 3, &first);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &again);
    assert_eq!(failure.revert(), Some(AlreadyFinal { network: NETWORK, epoch: 3 }));
    let skip = world.ballot(VALIDATOR, 5, &first);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &skip);
    assert_eq!(failure.revert(), Some(WrongEpoch { network: NETWORK, epoch: 5, expected: 4 }));
}

#[test]
fn an_epoch_that_stays_open_for_too_long_is_void() {
    let mut world = busy();
    world.settle(0, &leaves(0, 0, 0));
    let next = ISettlements::nextEpochCall { network: NETWORK };
    assert_eq!(world.view(SETTLEMENTS, &next), 1);
    let (late, _) = outcome(1, &leaves(5, 4, 0));
    announce(&mut world, 1, late.inputs);
    world.advance_to(1 + OPEN_EPOCHS);
    assert_eq!(world.view(SETTLEMENTS, &next), 1);
    world.advance_to(2 + OPEN_EPOCHS);
    assert_eq!(world.view(SETTLEMENTS, &next), 2);
    let vote = world.ballot(VALIDATOR, 1, &late);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &vote);
    assert_eq!(failure.revert(), Some(WrongEpoch { network: NETWORK, epoch: 1, expected: 2 }));
    // Settlement goes on with the first epoch that is not void.
    world.advance_to(3 + OPEN_EPOCHS);
    world.settle(3, &leaves(0, 0, 0));
    let before = |epoch| ISettlements::finalBeforeCall { network: NETWORK, epoch };
    for (epoch, any, expected) in [(0, false, 0), (3, true, 0), (4, true, 3)] {
        let found = world.view(SETTLEMENTS, &before(epoch));
        assert_eq!((found.any, found.before), (any, expected), "before {epoch}");
    }
    assert_eq!(world.view(SETTLEMENTS, &next), 4);
    world.advance_to(100);
    assert_eq!(world.view(SETTLEMENTS, &next), 100 - OPEN_EPOCHS);
}

#[test]
fn a_token_at_its_largest_supply_does_not_hold_back_dollars() {
    let mut config = config();
    config.networks[0].supply = Tokens(u128::MAX - 5);
    let mut world = World::with(&config);
    world.fund(CUSTOMER, 1_000);
    world.register(OPERATOR, 1);
    let call = crate::abi::IRails::openCall { rail: rail(OPERATOR, B256::ZERO, 1_000, 1_000) };
    world.ok(CUSTOMER, RAILS, &call);
    let proven = world.settle_and_wait(0, &leaves(500, 450, 3));
    let paid = world.ok(OPERATOR, SETTLEMENTS, &claim(&proven[1]));
    assert_eq!((paid.vested, paid.cash), (U256::from(5), U256::from(450)));
    let again = world.fails(OPERATOR, SETTLEMENTS, &claim(&proven[1]));
    assert_eq!(again.revert(), Some(NothingToClaim { account: OPERATOR }));
}

#[test]
fn two_thirds_of_the_seats_fix_inputs() {
    let names: Vec<Address> = (1..=4).map(Address::repeat_byte).collect();
    let of: Vec<_> = names.iter().map(|name| (*name, 1)).chain([(VALIDATOR, 2)]).collect();
    let mut world = World::with(&crate::GenesisConfig { validators: seats(&of), ..config() });
    let inputs = B256::repeat_byte(1);
    let announce = |inputs| announceCall { network: NETWORK, epoch: 0, inputs };
    let fixed = ISettlements::inputsCall { network: NETWORK, epoch: 0 };
    // A corrected announcement replaces the earlier one, and repeating it counts once.
    world.ok(VALIDATOR, SETTLEMENTS, &announce(inputs));
    world.ok(VALIDATOR, SETTLEMENTS, &announce(inputs));
    for wrong in &names[..2] {
        world.ok(*wrong, SETTLEMENTS, &announce(B256::repeat_byte(9)));
    }
    world.ok(names[0], SETTLEMENTS, &announce(inputs));
    assert_eq!(world.view(SETTLEMENTS, &fixed), B256::ZERO, "3 of 6 is not enough");
    world.ok(names[1], SETTLEMENTS, &announce(inputs));
    assert_eq!(world.view(SETTLEMENTS, &fixed), inputs, "4 of 6 is");
    let seats = world.view(SETTLEMENTS, &ISettlements::seatsCall { validator: VALIDATOR });
    assert_eq!((seats.held, seats.total), (2, 6));
}

#[test]
fn inputs_that_one_committee_does_not_fix_are_for_a_later_one() {
    let [one, two, three, late] = [1, 2, 3, 4].map(Address::repeat_byte);
    let of = [(one, 1), (two, 1), (three, 1)];
    let rules = crate::SeatRules {
        term_length: 10,
        seats_max: 6,
        bond_min: COIN,
        unbonding_terms: HEARING_TERMS + 1,
    };
    let genesis = crate::GenesisConfig { validators: seats(&of), seats: rules, ..config() };
    let mut world = World::with(&genesis);
    let inputs = B256::repeat_byte(1);
    let announce = announceCall { network: NETWORK, epoch: 0, inputs };
    let voters = ISettlements::votersCall { network: NETWORK, epoch: 0 };
    let fixed = ISettlements::inputsCall { network: NETWORK, epoch: 0 };
    let said = |validator| {
        let (network, epoch) = (NETWORK, 0);
        ISettlements::announcementOfCall { network, epoch, validator }
    };
    world.memory.advance(12);
    // In term 1 the committee of term 2 announces.
    assert_eq!(world.view(SETTLEMENTS, &voters).announcing, 2);
    world.ok(one, SETTLEMENTS, &announce);
    // Two leave and one comes, in the committee of term 3.
    world.bond(late, COIN);
    world.ok(late, VALIDATORS, &SeatKeys::derive(9).register(CHAIN, late, late, ""));
    for (owner, number) in [(two, 2), (three, 3)] {
        let key = SeatKeys::derive(number).key();
        world.ok(owner, VALIDATORS, &IValidators::retireCall { key });
    }
    // The hearing lasts until the term after that of its committee, and its voters stay the same.
    world.memory.advance(39);
    assert_eq!(world.view(SETTLEMENTS, &voters).announcing, 2);
    let failure = world.fails(late, SETTLEMENTS, &announce);
    assert_eq!(failure.revert(), Some(NotValidator { caller: late }));
    assert_ne!(world.view(SETTLEMENTS, &said(one)), B256::ZERO);
    // Then the committee of term 5 begins anew, whatever the others said.
    world.memory.advance(40);
    assert_eq!(world.view(SETTLEMENTS, &voters).announcing, 5);
    assert_eq!(world.view(SETTLEMENTS, &said(one)), B256::ZERO);
    let failure = world.fails(two, SETTLEMENTS, &announce);
    assert_eq!(failure.revert(), Some(NotValidator { caller: two }));
    world.ok(late, SETTLEMENTS, &announce);
    assert_eq!(world.view(SETTLEMENTS, &fixed), B256::ZERO);
    world.ok(one, SETTLEMENTS, &announce);
    assert_eq!(world.view(SETTLEMENTS, &fixed), inputs);
}

/// Votes on epoch 1 after a sound epoch 0 with changed totals, and returns how that failed.
fn refused(change: impl Fn(&mut Outcome)) -> Failure {
    let mut world = busy();
    world.settle(0, &leaves(100, 90, 1));
    let (mut wrong, _) = outcome(1, &leaves(200, 180, 2));
    let inputs = wrong.inputs;
    announce(&mut world, 1, inputs);
    change(&mut wrong);
    world.commit(VALIDATOR, 1, &wrong);
    world.pass(1);
    let failure = world.fails(VALIDATOR, SETTLEMENTS, &reveal(VALIDATOR, 1, &wrong));
    world.pass(SPAN_MIN + 1);
    let (right, _) = outcome(1, &leaves(200, 180, 2));
    world.decide(1, &right);
    failure
}

#[test]
fn unsound_totals_are_never_final() {
    let units = |amount: u64| U256::from(amount);
    let tokens = |amount| U256::from(Tokens::whole(amount).0);
    assert_eq!(
        refused(|o| o.totals.cash = units(181)).revert(),
        Some(NotConserved { spent: units(200), accounted: units(201) })
    );
    assert_eq!(
        refused(|o| o.totals.spent = units(201)).revert(),
        Some(NotConserved { spent: units(201), accounted: units(200) })
    );
    let over = refused(|o| {
        o.totals.spent = units(1_001);
        o.totals.cash = units(981);
    });
    assert_eq!(over.revert(), Some(NotBacked { spent: units(1_001), backing: units(1_000) }));
    let card = refused(|o| {
        o.totals.card = units(1);
        o.totals.cash = units(179);
    });
    assert_eq!(card.revert(), Some(ClassNotBacked { class: 1 }));
    let credit = refused(|o| {
        o.totals.credit = units(1);
        o.totals.cash = units(179);
    });
    assert_eq!(credit.revert(), Some(ClassNotBacked { class: 2 }));
    let fallen = refused(|o| {
        o.totals.spent = units(99);
        o.totals.cash = units(79);
    });
    assert_eq!(fallen.revert(), Some(TotalsFell { network: NETWORK }));
    // 10 % of 100, but for 4 millionths a rail.
    let kept = refused(|o| {
        o.totals.burned = units(15);
        o.totals.cash = units(185);
    });
    assert_eq!(kept.revert(), Some(BurnedTooLittle { burned: units(5), least: units(6) }));
    let vested = refused(|o| o.totals.vested += units(1));
    assert!(vested.revert::<VestedTooMuch>().is_some());
    // One device may get 5 tokens for presence.
    let presence = refused(|o| o.totals.bootstrapped = tokens(7));
    let error = GrantedTooMuch { granted: tokens(6), most: tokens(5) };
    assert_eq!(presence.revert(), Some(error));
    // Half of 10 millionths at 5 cents a token.
    let top_up = refused(|o| o.totals.toppedUp = units(100_000_000_000_001));
    let most = units(100_000_000_000_000);
    let error = GrantedTooMuch { granted: most + units(1), most };
    assert_eq!(top_up.revert(), Some(error));
    let slashed = refused(|o| o.totals.slashed = units(1));
    assert_eq!(slashed.revert(), Some(SlashedTooMuch { slashed: units(1), staked: U256::ZERO }));
    let huge = refused(|o| o.totals.vested = U256::MAX);
    assert!(huge.revert::<crate::abi::ISystem::Overflow>().is_some());
}

#[test]
fn the_clock_counts_heights() {
    let mut world = World::new();
    let clock = world.view(SETTLEMENTS, &ISettlements::clockCall {});
    assert_eq!((clock.length, clock.grace), (CLOCK.length, CLOCK.grace));
    for (height, epoch) in [(0, 0), (9, 0), (10, 1), (123, 12)] {
        world.memory.height = height;
        assert_eq!(world.view(SETTLEMENTS, &ISettlements::currentEpochCall {}), epoch);
    }
    assert_eq!(world.view(SETTLEMENTS, &ISettlements::disputeWindowCall {}), 2);
    let seats = world.view(SETTLEMENTS, &ISettlements::seatsCall { validator: VALIDATOR });
    assert_eq!((seats.held, seats.total), (1, 1));
}
