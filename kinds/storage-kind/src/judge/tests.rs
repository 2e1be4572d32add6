//! Each liar by name, and each honest device that must not be taken for one.

use super::*;
use crate::{
    dataset::{Shard, Sibling, Side},
    fixture::{CLOCK, EPOCH, Kept, World, bytes},
};
use alloy_primitives::B256;
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use proptest::prelude::*;
use protocol::{Epoch, Micros, NetworkId, cbor::Item, inputs, voucher::Voucher};

const RAIL: RailId = RailId(1);
const OTHER: RailId = RailId(2);

/// One device with two rails, and a second device with a third.
fn world(seed: u64) -> World {
    World::new(seed, 2, &[(0, &[3_000, 70_000]), (0, &[1_500]), (1, &[9_000])])
}

fn units(finding: &Finding) -> Vec<(u64, u64)> {
    finding.uses.iter().map(|used| (used.rail.0, used.units)).collect()
}

fn faults(finding: &Finding) -> Vec<(Reason, RailId)> {
    finding.faults.iter().map(|fault| (fault.reason, fault.rail.unwrap())).collect()
}

fn has(finding: &Finding, reason: Reason) -> bool {
    finding.causes.iter().any(|cause| cause.reason == reason)
}

/// The evidence of an honest device in which the proof of one duty is replaced.
fn with_proof(world: &World, duty: &Duty, change: impl FnOnce(&mut Proof)) -> Vec<Carried> {
    let mut sent = world.honest(0);
    let mut proof = world.proof(duty);
    change(&mut proof);
    let at = sent.iter().position(|carried| is_proof_of(carried, duty)).unwrap();
    let height = sent[at].height;
    let sequence = sent[at].envelope.payload().sequence;
    sent[at] = world.proved(0, sequence, proof, height);
    sent
}

fn is_proof_of(carried: &Carried, duty: &Duty) -> bool {
    let body = &carried.envelope.payload().body;
    matches!(
        Evidence::from_body(body),
        Ok(Evidence::Proof(proof)) if (proof.rail, proof.index) == (duty.rail, duty.index)
    )
}

fn loss(rail: RailId) -> Evidence {
    Evidence::Loss(Loss { rail, version: 1, shards: Vec::new() })
}

#[test]
fn an_honest_device_is_paid_for_all_it_proves() {
    let world = world(1);
    let finding = world.judge(0, &world.honest(0));
    assert_eq!(units(&finding), [(1, 73_000), (2, 1_500)]);
    assert_eq!((finding.units, finding.duties), (74_500, (10, 10)));
    assert_eq!((finding.quality, finding.uniqueness), (Ppm::ONE, Ppm::ONE));
    assert!(finding.heard && finding.faults.is_empty());
    let proven: Vec<_> = finding.causes.iter().map(|cause| (cause.reason, cause.rail)).collect();
    assert_eq!(proven, [(Reason::Proven, Some(RAIL)), (Reason::Proven, Some(OTHER))]);
    assert!(finding.causes.iter().all(|cause| cause.evidence.len() == 5));
}

#[test]
fn nothing_due_is_said() {
    let world = World::new(1, 2, &[(1, &[10])]);
    let finding = world.judge(0, &[world.reported(0, 1, CLOCK.first(EPOCH))]);
    assert_eq!((finding.duties, finding.units, finding.quality), ((0, 0), 0, Ppm::ZERO));
    assert!(has(&finding, Reason::NothingDue) && finding.heard);
}

#[test]
fn silence_costs_pay_and_never_stake() {
    let world = world(2);
    let finding = world.judge(0, &[]);
    assert_eq!(units(&finding), [(1, 0), (2, 0)]);
    assert!(!finding.heard && finding.faults.is_empty());
    assert!(has(&finding, Reason::Silent) && has(&finding, Reason::TwoRailsMissed));
    assert_eq!((finding.duties, finding.quality), ((10, 0), Ppm::ZERO));
}

#[test]
fn the_cheat_that_goes_on_reporting_is_slashed_and_its_other_rail_is_paid() {
    for seed in 0..20 {
        let world = world(seed);
        let finding = world.judge(0, &world.without_proofs(0, RAIL));
        assert_eq!(faults(&finding), [(Reason::SelectiveMiss, RAIL)]);
        assert!(finding.faults[0].evidence.len() >= 2);
        assert_eq!(units(&finding), [(1, 0), (2, 1_500)]);
        assert!(has(&finding, Reason::MissedDuty) && !has(&finding, Reason::TwoRailsMissed));
        assert_eq!((finding.duties, finding.quality), ((10, 5), Ppm(500_000)));
    }
}

#[test]
fn two_missed_rails_zero_the_whole_epoch() {
    let world = World::new(3, 1, &[(0, &[10]), (0, &[20]), (0, &[30])]);
    let mut sent = world.without_proofs(0, RAIL);
    sent.retain(|carried| {
        let body = &carried.envelope.payload().body;
        !matches!(Evidence::from_body(body), Ok(Evidence::Proof(proof)) if proof.rail == OTHER)
    });
    let finding = world.judge(0, &sent);
    assert_eq!(units(&finding), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(finding.units, 0);
    assert!(has(&finding, Reason::TwoRailsMissed));
    assert_eq!(faults(&finding), [(Reason::SelectiveMiss, RAIL), (Reason::SelectiveMiss, OTHER)]);
}

#[test]
fn one_missed_duty_zeroes_its_rail() {
    let world = world(4);
    let duty = world.duties(0)[2].clone();
    let mut sent = world.honest(0);
    sent.retain(|carried| !is_proof_of(carried, &duty));
    let finding = world.judge(0, &sent);
    assert_eq!(units(&finding), [(1, 0), (2, 1_500)]);
    assert_eq!((finding.duties, finding.quality), ((10, 9), Ppm(900_000)));
    assert_eq!(finding.faults[0].duty, Some(2));
}

#[test]
fn evidence_on_one_side_of_the_window_does_not_accuse() {
    let world = World::new(5, 1, &[(0, &[10])]);
    for duty in world.duties(0) {
        let closes = duty::closes(&world.inputs, &duty);
        for height in duty.from.0..=closes.0 {
            let finding = world.judge(0, &[world.reported(0, 1, Height(height))]);
            assert!(finding.faults.is_empty(), "at {height} of {duty:?}");
            assert!(has(&finding, Reason::MissedDuty));
        }
        let [begun, ended] = [Height(duty.from.0 + 1), Height(duty.to.0 + 1)];
        let both = [world.reported(0, 1, begun), world.reported(0, 2, ended)];
        assert_eq!(faults(&world.judge(0, &both)), [(Reason::SelectiveMiss, RAIL)]);
    }
}

#[test]
fn without_slack_the_last_height_is_the_windows_end() {
    let mut world = World::new(5, 1, &[(0, &[10])]);
    world.inputs.manifest.evidence.slack = 0;
    let duty = world.duties(0)[0].clone();
    assert_eq!(duty::closes(&world.inputs, &duty), duty.to);
    let both = [world.reported(0, 1, duty.from), world.reported(0, 2, duty.to)];
    assert_eq!(faults(&world.judge(0, &both)), [(Reason::SelectiveMiss, RAIL)]);
}

#[test]
fn evidence_outside_every_window_leaves_the_duties_silent() {
    let world = World::new(5, 1, &[(0, &[10])]);
    let first = world.inputs.first_height();
    let finding = world.judge(0, &[world.reported(0, 1, first)]);
    assert!(finding.heard && has(&finding, Reason::Silent) && finding.faults.is_empty());
}

#[test]
fn a_proof_copied_from_another_device_is_not_due() {
    let world = world(6);
    let theirs = &world.duties(1)[0];
    let mut sent = world.honest(0);
    sent.push(world.proved(0, 900, world.proof(theirs), theirs.from));
    let finding = world.judge(0, &sent);
    assert!(has(&finding, Reason::NotDue) && finding.faults.is_empty());
    assert_eq!(finding.units, 74_500);
}

#[test]
fn another_devices_envelopes_count_for_nothing() {
    let world = World::new(6, 2, &[(0, &[10])]);
    let duty = &world.duties(0)[0];
    // The second device signs the first one's whole work.
    let mut sent: Vec<Carried> = world
        .duties(0)
        .iter()
        .zip(0..)
        .map(|(duty, at)| world.proved(1, at, world.proof(duty), duty.from))
        .collect();
    sent.push(world.reported(1, 50, duty.from));
    assert_eq!(world.judge(0, &sent), world.judge(0, &[]));
}

#[test]
fn envelopes_of_another_epoch_network_or_height_count_for_nothing() {
    let world = World::new(6, 1, &[(0, &[10])]);
    let judged = |change: fn(&mut inputs::Inputs)| {
        let mut elsewhere = world.clone();
        change(&mut elsewhere.inputs);
        world.judge(0, &elsewhere.honest(0))
    };
    assert_eq!(judged(|_| ()).units, 10);
    assert!(!judged(|i| i.network = NetworkId(2)).heard);
    assert!(!judged(|i| i.epoch = Epoch(4)).heard);
    let late = Height(CLOCK.grace_end(EPOCH).0 + 1);
    let early = Height(CLOCK.first(EPOCH).0 - 1);
    assert!(!world.judge(0, &[world.reported(0, 1, late), world.reported(0, 2, early)]).heard);
}

#[test]
fn a_proof_of_another_rail_with_the_same_shards_is_false() {
    let mut world = World::new(7, 1, &[(0, &[40_000]), (0, &[40_000])]);
    // The same dataset on both rails: the drawn bytes still differ.
    world.inputs.datasets[1].root = world.inputs.datasets[0].root;
    let same = world.kept[&RAIL].clone();
    world.kept.insert(OTHER, same);
    let duties = world.duties(0);
    let (mine, theirs) = (&duties[0], &duties[5]);
    let sent = with_proof(&world, mine, |proof| {
        *proof = Proof { rail: RAIL, index: 0, ..world.proof(theirs) };
    });
    let finding = world.judge(0, &sent);
    assert_eq!(faults(&finding), [(Reason::FalseProof, RAIL)]);
    assert_eq!(units(&finding), [(1, 0), (2, 40_000)]);
}

#[test]
fn a_proof_of_another_position_with_a_valid_path_is_false() {
    let world = world(8);
    let duties = world.duties(0);
    let sent = with_proof(&world, &duties[0], |proof| {
        *proof = Proof { index: 0, ..world.proof(&duties[1]) };
    });
    let finding = world.judge(0, &sent);
    assert_eq!(faults(&finding), [(Reason::FalseProof, RAIL)]);
    assert_eq!(finding.faults[0].duty, Some(0));
    assert_eq!(finding.faults[0].evidence.len(), 1);
}

#[test]
fn forged_proofs_of_every_sort_are_false() {
    let world = world(9);
    let duty = world.duties(0)[0].clone();
    type Forgery = (&'static str, fn(&mut Proof));
    let forge: [Forgery; 10] = [
        ("truncated slice", |proof| {
            proof.slice.pop();
        }),
        ("no slice", |proof| proof.slice.clear()),
        ("bytes after the slice", |proof| proof.slice.push(0)),
        ("one bit of the chunk", |proof| *proof.slice.last_mut().unwrap() ^= 1),
        ("another length", |proof| proof.slice[0] ^= 1),
        ("a huge shard", |proof| proof.shard.bytes = u64::MAX),
        ("a shard larger by one", |proof| proof.shard.bytes += 1),
        ("another shard", |proof| proof.shard.hash.0[0] ^= 1),
        ("no path", |proof| proof.path.clear()),
        ("a longer path", |proof| {
            let hash = Digest::default();
            proof.path.push(Sibling { side: Side::Right, hash, bytes: 0 });
        }),
    ];
    for (name, change) in forge {
        let finding = world.judge(0, &with_proof(&world, &duty, change));
        assert_eq!(faults(&finding), [(Reason::FalseProof, RAIL)], "{name}");
        assert_eq!(units(&finding), [(1, 0), (2, 1_500)], "{name}");
    }
}

#[test]
fn a_proof_for_another_version_of_the_dataset_is_refused_and_costs_no_stake() {
    let world = world(10);
    let duty = world.duties(0)[0].clone();
    // An agent that is one commit ahead: true of version 2, which is not the frozen one.
    let ahead = Kept::new([bytes(99, 80_000)]);
    let sent = with_proof(&world, &duty, |proof| {
        let shard = ahead.dataset.shards()[0];
        *proof = Proof { version: 2, shard, path: Vec::new(), ..proof.clone() };
    });
    let finding = world.judge(0, &sent);
    assert!(has(&finding, Reason::WrongDataset));
    assert!(!faults(&finding).contains(&(Reason::FalseProof, RAIL)));
    assert_eq!(units(&finding), [(1, 0), (2, 1_500)]);
}

#[test]
fn a_size_that_both_signed_too_large_cannot_be_proven_where_nothing_is() {
    // Three chunks that the dataset calls 2^40 bytes: only what exists can be proven.
    let data = bytes(1, 3 * 1024);
    let claimed = Shard { hash: Digest::of(&data), bytes: 1 << 40 };
    let dataset = crate::dataset::Dataset::build([claimed]).unwrap();
    let mut world = World::new(11, 1, &[(0, &[10])]);
    world.inputs.datasets[0].root = dataset.root();
    world.inputs.datasets[0].bytes = 1 << 40;
    let honest_slice = crate::bao::slice(&data, 0).unwrap();
    let sent: Vec<Carried> = world
        .duties(0)
        .iter()
        .zip(0..)
        .map(|(duty, at)| {
            let mut slice = honest_slice.clone();
            slice[..8].copy_from_slice(&claimed.bytes.to_le_bytes());
            let (rail, index) = (duty.rail, duty.index);
            let proof = Proof { rail, index, version: 1, shard: claimed, path: vec![], slice };
            world.proved(0, at, proof, duty.from)
        })
        .collect();
    let finding = world.judge(0, &sent);
    assert_eq!((finding.units, finding.duties.1), (0, 0));
    assert_eq!(faults(&finding), [(Reason::FalseProof, RAIL)]);
}

#[test]
fn a_proof_counts_once_however_often_it_is_sent() {
    let world = world(12);
    let mut sent = world.honest(0);
    for duty in world.duties(0) {
        for again in 0..3 {
            let sequence = 1_000 + u64::from(duty.index) * 10 + duty.rail.0 * 1_000 + again;
            sent.push(world.proved(0, sequence, world.proof(&duty), duty.to));
        }
    }
    let finding = world.judge(0, &sent);
    assert_eq!((finding.units, finding.duties), (74_500, (10, 10)));
    assert!(finding.causes.iter().all(|cause| cause.evidence.len() <= EVIDENCE_MAX));
}

#[test]
fn a_false_proof_beside_a_true_one_is_still_a_fault() {
    let world = world(13);
    let duty = world.duties(0)[0].clone();
    let mut forged = world.proof(&duty);
    forged.slice.pop();
    let mut sent = world.honest(0);
    sent.push(world.proved(0, 900, forged, duty.from));
    let finding = world.judge(0, &sent);
    assert_eq!(faults(&finding), [(Reason::FalseProof, RAIL)]);
    assert_eq!(units(&finding), [(1, 0), (2, 1_500)]);
    assert_eq!(finding.duties, (10, 9));
}

#[test]
fn proofs_count_from_the_first_height_of_the_window_to_the_last_of_its_slack() {
    let world = World::new(14, 1, &[(0, &[10])]);
    let duty = world.duties(0)[0].clone();
    let at = |height: u64| {
        let mut sent = world.honest(0);
        sent.retain(|carried| !is_proof_of(carried, &duty));
        sent.push(world.proved(0, 900, world.proof(&duty), Height(height)));
        world.judge(0, &sent)
    };
    let closes = duty::closes(&world.inputs, &duty).0;
    assert_eq!(closes, duty.to.0 + 6);
    assert_eq!(at(duty.from.0).units, 10);
    assert_eq!(at(closes).units, 10);
    let early = at(duty.from.0 - 1);
    assert!(early.units == 0 && has(&early, Reason::EarlyProof) && early.faults.is_empty());
    if closes < CLOCK.grace_end(EPOCH).0 {
        let late = at(closes + 1);
        assert!(late.units == 0 && has(&late, Reason::LateProof) && late.faults.is_empty());
    }
}

#[test]
fn a_loss_declared_before_the_windows_costs_the_rail_and_not_the_stake() {
    let world = world(15);
    let mut sent = world.without_proofs(0, RAIL);
    sent.push(world.carried(0, 900, loss(RAIL).to_body(), world.inputs.first_height()));
    let finding = world.judge(0, &sent);
    assert!(finding.faults.is_empty());
    assert!(has(&finding, Reason::DeclaredLoss) && !has(&finding, Reason::MissedDuty));
    assert_eq!(units(&finding), [(1, 0), (2, 1_500)]);
}

#[test]
fn a_loss_leaves_a_rail_unpaid_even_if_all_was_proven() {
    let world = world(15);
    let mut sent = world.honest(0);
    let last = CLOCK.last(EPOCH);
    sent.push(world.carried(0, 900, loss(RAIL).to_body(), last));
    let finding = world.judge(0, &sent);
    assert_eq!(units(&finding), [(1, 0), (2, 1_500)]);
    assert!(finding.faults.is_empty() && has(&finding, Reason::DeclaredLoss));
    assert_eq!(finding.duties, (10, 10));
}

#[test]
fn a_loss_declared_after_a_window_opened_does_not_spare_the_stake() {
    let world = World::new(16, 1, &[(0, &[10])]);
    let mut sent = world.without_proofs(0, RAIL);
    let opened = world.duties(0).iter().map(|duty| duty.from).min().unwrap();
    sent.push(world.carried(0, 900, loss(RAIL).to_body(), opened));
    let finding = world.judge(0, &sent);
    assert_eq!(faults(&finding), [(Reason::SelectiveMiss, RAIL)]);
}

#[test]
fn a_loss_never_accuses_who_declares_it() {
    let world = World::new(16, 1, &[(0, &[10])]);
    let heights = CLOCK.first(EPOCH).0..=CLOCK.grace_end(EPOCH).0;
    let sent: Vec<Carried> = heights
        .map(|height| world.carried(0, height, loss(RAIL).to_body(), Height(height)))
        .collect();
    let finding = world.judge(0, &sent);
    assert!(finding.faults.is_empty() && finding.units == 0 && finding.heard);
}

#[test]
fn a_loss_of_what_is_not_held_is_refused() {
    let world = world(17);
    let elsewhere = loss(RailId(3)).to_body();
    let older = Evidence::Loss(Loss { rail: RAIL, version: 9, shards: vec![] }).to_body();
    let mut sent = world.honest(0);
    sent.push(world.carried(0, 900, elsewhere, CLOCK.first(EPOCH)));
    sent.push(world.carried(0, 901, older, CLOCK.first(EPOCH)));
    let finding = world.judge(0, &sent);
    assert_eq!(finding.units, 74_500);
    assert!(has(&finding, Reason::NotDue) && has(&finding, Reason::WrongDataset));
}

#[test]
fn bodies_that_are_not_understood_are_refused_and_show_that_the_device_is_there() {
    // They do not say when they were signed: in a window longer than the slack one still shows that the
    // device was there.
    let mut world = World::new(18, 1, &[(0, &[10])]);
    world.inputs.manifest.kinds[0].window = 12;
    let duty = world.duties(0)[0].clone();
    let garbage = |kind| Body { kind, item: Item::of(&vec![1u8, 2, 3]) };
    let sent = [
        world.carried(0, 1, garbage(crate::STORAGE), Height(duty.from.0 + 6)),
        world.carried(0, 2, garbage(COMMON), duty::closes(&world.inputs, &duty)),
    ];
    let finding = world.judge(0, &sent);
    assert!(has(&finding, Reason::MalformedBody));
    assert_eq!(faults(&finding), [(Reason::SelectiveMiss, RAIL)]);
}

#[test]
fn what_a_device_did_not_offer_is_not_paid() {
    let mut world = world(19);
    world.inputs.roster[0].capacity = 73_000;
    let finding = world.judge(0, &world.honest(0));
    assert_eq!(units(&finding), [(1, 73_000), (2, 0)]);
    assert!(has(&finding, Reason::OverCapacity) && finding.faults.is_empty());
}

#[test]
fn vouchers_confirm_once_a_customer() {
    let mut world = World::new(20, 1, &[(0, &[10]), (0, &[10]), (0, &[10])]);
    let secret = PrivateKeySigner::from_bytes(&B256::with_last_byte(1)).unwrap();
    for rail in &mut world.inputs.rails {
        rail.signer = secret.address();
    }
    world.inputs.rails[2].payer = Account::with_last_byte(55);
    let sign = |network: u64, rail: u64, nonce: u64, chain: u64| {
        let voucher =
            Voucher { network: NetworkId(network), rail: RailId(rail), nonce, amount: Micros(5) };
        let domain = voucher::domain(chain, world.inputs.rails_contract);
        let signature = secret.sign_hash_sync(&voucher.signing_hash(&domain)).unwrap();
        SignedVoucher { voucher, signature: signature.as_bytes() }
    };
    let count = |vouchers: Vec<SignedVoucher>| {
        let body = Common::Vouchers(vouchers).to_body();
        world.judge(0, &[world.carried(0, 1, body, CLOCK.first(EPOCH))]).confirmations
    };
    let chain = world.inputs.chain_id;
    assert_eq!(count(vec![sign(1, 1, 1, chain)]), 1);
    assert_eq!(count(vec![sign(1, 1, 1, chain), sign(1, 2, 9, chain)]), 1, "one customer");
    assert_eq!(count(vec![sign(1, 1, 1, chain), sign(1, 3, 1, chain)]), 2);
    assert_eq!(count(vec![sign(1, 1, 0, chain)]), 0, "below the opening nonce");
    assert_eq!(count(vec![sign(2, 1, 1, chain)]), 0, "another network");
    assert_eq!(count(vec![sign(1, 1, 1, 1)]), 0, "another chain");
    assert_eq!(count(vec![sign(1, 9, 1, chain)]), 0, "no such rail");
    let forged = Voucher { amount: Micros(6), ..sign(1, 1, 1, chain).voucher };
    assert_eq!(count(vec![SignedVoucher { voucher: forged, ..sign(1, 1, 1, chain) }]), 0);

    let mut own = world.clone();
    own.inputs.rails[0].payer = own.inputs.roster[0].owner;
    let body = Common::Vouchers(vec![sign(1, 1, 1, chain)]).to_body();
    let carried = own.carried(0, 1, body, CLOCK.first(EPOCH));
    assert_eq!(own.judge(0, &[carried]).confirmations, 0, "the owner is no customer");
}

#[test]
fn a_report_on_its_way_when_the_power_goes_does_not_accuse() {
    for seed in 0..8 {
        let mut world = World::new(seed, 1, &[(0, &[10])]);
        world.inputs.manifest.kinds[0].positions = 1;
        let duty = world.duties(0)[0].clone();
        // Signed just before the window and carried in it; the device is back when the window is over.
        let before = world.signed(0, 1, Height(duty.from.0 - 1), Height(duty.from.0 + 2));
        let back = world.signed(0, 2, duty.to, Height(duty.to.0 + 1));
        let finding = world.judge(0, &[before, back.clone()]);
        assert_eq!(faults(&finding), []);
        assert!(has(&finding, Reason::MissedDuty));
        // Signed in the window's last height but one, and slow: the device was there.
        let inside = world.signed(0, 1, Height(duty.to.0 - 1), Height(duty.to.0 + 4));
        assert_eq!(faults(&world.judge(0, &[inside, back])), [(Reason::SelectiveMiss, RAIL)]);
    }
}

#[test]
fn who_lies_about_its_height_moves_a_report_by_the_slack_at_most() {
    let mut world = World::new(5, 1, &[(0, &[10])]);
    world.inputs.manifest.kinds[0].window = 12;
    let heights = CLOCK.first(EPOCH).0..=CLOCK.grace_end(EPOCH).0;
    for claimed in [0, u64::MAX] {
        let sent: Vec<Carried> = heights
            .clone()
            .map(|height| world.signed(0, height, Height(claimed), Height(height)))
            .collect();
        assert_eq!(faults(&world.judge(0, &sent)), [(Reason::SelectiveMiss, RAIL)], "{claimed}");
    }
}

#[test]
fn who_proves_other_rails_and_reports_nothing_is_still_there() {
    let slashed = (0..40).filter(|seed| {
        let world = World::new(*seed, 1, &[(0, &[10]), (0, &[20]), (0, &[30]), (0, &[40])]);
        let mut sent = world.without_proofs(0, RAIL);
        sent.retain(|carried| carried.envelope.payload().body.kind != COMMON);
        let found = faults(&world.judge(0, &sent));
        assert!(found.iter().all(|fault| *fault == (Reason::SelectiveMiss, RAIL)));
        !found.is_empty()
    });
    assert!(slashed.count() > 30);
}

/// What an honest device sends around a power cut, with the time that each envelope travels: whatever was
/// sent before the cut arrives in it.
fn around_slow_power_cut(world: &World, down: u64, up: u64, travel: u64) -> Vec<Carried> {
    let mut sent = Vec::new();
    let delay = |number: usize| 1 + (travel >> (3 * (number % 21))) % 6;
    // The first height from `at` on at which the device is there, if that is before `until`.
    let there = |at: u64, until: u64| {
        let at = if (down..up).contains(&at) { up } else { at };
        (at < until).then_some(at)
    };
    for duty in world.duties(0) {
        let closes = duty::closes(&world.inputs, &duty).0;
        if let Some(at) = there(duty.from.0, closes) {
            let (sequence, at) = (sent.len(), at + delay(sent.len()));
            let sequence = u64::try_from(sequence).unwrap();
            sent.push(world.proved(0, sequence, world.proof(&duty), Height(at)));
        }
        for (at, until) in [(duty.from.0, duty.to.0), (duty.to.0, closes)] {
            if let Some(at) = there(at, until) {
                let (number, carried) = (sent.len(), at + delay(sent.len()));
                let sequence = u64::try_from(number).unwrap();
                sent.push(world.signed(0, sequence, Height(at), Height(carried)));
            }
        }
    }
    sent
}

/// What an honest device sends around a power cut that lasts from one height to before another: on
/// its return it proves what can still be proven, and then reports as ever.
fn around_power_cut(world: &World, down: u64, up: u64) -> Vec<Carried> {
    let mut sent = world.honest(0);
    sent.retain(|carried| !(down..up).contains(&carried.height.0));
    for duty in world.duties(0) {
        let missing = !sent.iter().any(|carried| is_proof_of(carried, &duty));
        let open = duty.from.0 <= up && up <= duty::closes(&world.inputs, &duty).0;
        if missing && open {
            let sequence = 10_000 + duty.rail.0 * 100 + u64::from(duty.index);
            sent.push(world.proved(0, sequence, world.proof(&duty), Height(up)));
        }
    }
    sent
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_power_cut_never_costs_stake(seed: u64, down in 0u64..40, length in 0u64..40) {
        let world = World::new(seed, 1, &[(0, &[2_000]), (0, &[3_000])]);
        let first = CLOCK.first(EPOCH).0;
        let finding = world.judge(0, &around_power_cut(&world, first + down, first + down + length));
        prop_assert_eq!(finding.faults, Vec::new());
    }

    #[test]
    fn a_power_cut_costs_no_stake_however_long_evidence_travels(
        seed: u64, down in 0u64..40, length in 0u64..40, travel: u64,
    ) {
        let world = World::new(seed, 1, &[(0, &[2_000]), (0, &[3_000])]);
        let down = CLOCK.first(EPOCH).0 + down;
        let sent = around_slow_power_cut(&world, down, down + length, travel);
        prop_assert_eq!(world.judge(0, &sent).faults, Vec::new());
    }

    #[test]
    fn the_order_of_evidence_decides_nothing(seed: u64, order: u64, dropped: u64, forged: bool) {
        let world = World::new(seed, 1, &[(0, &[2_000]), (0, &[3_000])]);
        let duty = world.duties(0)[0].clone();
        let mut sent = if forged {
            with_proof(&world, &duty, |proof| proof.slice.clear())
        } else {
            world.honest(0)
        };
        sent.push(world.carried(0, 900, loss(OTHER).to_body(), Height(CLOCK.first(EPOCH).0 + 14)));
        let mut number = 0;
        sent.retain(|_| {
            number += 1;
            dropped >> (number % 64) & 1 == 0 || number % 3 == 0
        });
        let expected = world.judge(0, &sent);
        sent.sort_by_key(|carried| Digest::of(&[&carried.digest.0[..], &order.to_be_bytes()].concat()));
        prop_assert_eq!(world.judge(0, &sent), expected);
    }

    #[test]
    fn leaving_proofs_out_never_pays_more(seed: u64, dropped: u64) {
        let world = World::new(seed, 1, &[(0, &[2_000]), (0, &[3_000]), (0, &[4_000])]);
        let sent = world.honest(0);
        let full = world.judge(0, &sent);
        let part: Vec<Carried> = sent
            .iter()
            .zip(0..)
            .filter(|(_, at)| dropped >> (at % 64) & 1 == 0)
            .map(|(carried, _)| carried.clone())
            .collect();
        let finding = world.judge(0, &part);
        prop_assert!(finding.units <= full.units);
        prop_assert!(finding.quality <= full.quality && finding.uniqueness <= Ppm::ONE);
        prop_assert_eq!(full.units, 9_000);
    }

    #[test]
    fn no_forged_byte_is_ever_paid(seed in 0u64..8, at: prop::sample::Index, bit in 0u8..8) {
        // Any change of a proof's bytes: refused, false, or about something else, but never a proof.
        let world = World::new(seed, 1, &[(0, &[5_000, 900])]);
        let duty = world.duties(0)[0].clone();
        let honest = Evidence::Proof(world.proof(&duty)).to_body();
        let mut raw = honest.item.as_bytes().to_vec();
        let at = at.index(raw.len());
        raw[at] ^= 1 << bit;
        let Ok(changed) = protocol::cbor::from_slice::<Evidence>(&raw) else { return Ok(()) };
        let mut sent = world.honest(0);
        let place = sent.iter().position(|carried| is_proof_of(carried, &duty)).unwrap();
        let height = sent[place].height;
        sent[place] = world.carried(0, 0, changed.to_body(), height);
        prop_assert_eq!(world.judge(0, &sent).units, 0);
    }
}
