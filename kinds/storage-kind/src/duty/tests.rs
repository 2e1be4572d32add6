use super::*;
use crate::fixture::{CLOCK, EPOCH, World};
use proptest::prelude::*;
use protocol::{Epoch, RailId};
use protocol::{KindId, clock::EpochClock};
use std::collections::BTreeSet;

#[test]
fn duties_never_change_unnoticed() {
    // Kept from the first version: agents and validators of all versions must draw the same.
    let world = World::new(1, 1, &[(0, &[5_000, 70_000])]);
    let drawn: Vec<(u16, u64, u64, u64)> = world
        .duties(0)
        .iter()
        .map(|duty| {
            let task = Task::of(duty).unwrap();
            (duty.index, duty.from.0, duty.to.0, task.offset)
        })
        .collect();
    assert_eq!(drawn, KNOWN);
}

/// Index, first and last height of the window, drawn byte.
const KNOWN: [(u16, u64, u64, u64); 5] = [
    (0, 96, 101, 28_120),
    (1, 103, 108, 70_250),
    (2, 106, 111, 31_960),
    (3, 105, 110, 9_223),
    (4, 108, 113, 32_035),
];

#[test]
fn only_live_rails_with_data_are_asked_for() {
    let mut world = World::new(2, 2, &[(0, &[10]), (0, &[10]), (0, &[10]), (0, &[10]), (1, &[10])]);
    world.inputs.rails[0].opened = EPOCH;
    world.inputs.rails[1].expiry = Epoch(EPOCH.0 - 1);
    world.inputs.datasets[2].bytes = 0;
    let asked: BTreeSet<RailId> = world.duties(0).iter().map(|duty| duty.rail).collect();
    assert_eq!(asked, BTreeSet::from([RailId(4)]));
    world.inputs.datasets.remove(3);
    assert!(world.duties(0).is_empty());
    let asked: BTreeSet<RailId> = world.duties(1).iter().map(|duty| duty.rail).collect();
    assert_eq!(asked, BTreeSet::from([RailId(5)]));
}

#[test]
fn a_device_or_network_without_storage_has_none() {
    let mut world = World::new(3, 1, &[(0, &[10])]);
    assert_eq!(world.duties(0).len(), 5);
    world.inputs.manifest.kinds[0].positions = u16::MAX;
    assert_eq!(world.duties(0).len(), usize::from(POSITIONS_MAX));
    world.inputs.roster[0].kind = KindId(2);
    assert!(world.duties(0).is_empty());
    world.inputs.roster[0].kind = STORAGE;
    world.inputs.manifest.kinds[0].kind = KindId(2);
    assert!(world.duties(0).is_empty());
}

#[test]
fn windows_leave_room_before_and_after_them() {
    let (first, grace_end) = (CLOCK.first(EPOCH).0, CLOCK.grace_end(EPOCH).0);
    let mut opened = BTreeSet::new();
    for seed in 0..200 {
        let world = World::new(seed, 1, &[(0, &[10])]);
        for duty in world.duties(0) {
            assert_eq!(duty.to.0 - duty.from.0, 5);
            assert!(duty.from.0 >= first + 6);
            assert!(closes(&world.inputs, &duty).0 <= grace_end);
            opened.insert(duty.from.0 - first);
        }
    }
    // Every possible height is drawn: 6 to 22 of an epoch of 30 with a grace of 4.
    assert_eq!(opened, (6..=22).collect());
}

#[test]
fn positions_weigh_shards_by_their_size() {
    // One shard of 9 tenths: of 5,000 positions 4,500 are expected in it, give or take 5 x 21.
    let in_large: usize = (0..1_000)
        .map(|seed| {
            let world = World::new(seed, 1, &[(0, &[9_000, 1_000])]);
            let dataset = &world.kept[&RailId(1)].dataset;
            let in_large = |duty: &&Duty| {
                let offset = Task::of(duty).unwrap().offset;
                dataset.locate(offset).unwrap().shard.bytes == 9_000
            };
            world.duties(0).iter().filter(in_large).count()
        })
        .sum();
    assert!((4_395..=4_605).contains(&in_large), "{in_large}");
}

#[test]
fn equal_datasets_on_two_rails_are_asked_for_different_bytes() {
    let mut world = World::new(5, 1, &[(0, &[1 << 20]), (0, &[1 << 20])]);
    let first = world.inputs.datasets[0];
    world.inputs.datasets[1] = Dataset { rail: RailId(2), ..first };
    let offsets: BTreeSet<u64> =
        world.duties(0).iter().map(|duty| Task::of(duty).unwrap().offset).collect();
    assert_eq!(offsets.len(), 10);
}

proptest! {
    #[test]
    fn windows_lie_in_their_epoch_whatever_manifest_and_clock_say(
        length in 1u64..200, grace in 0u64..50, slack: u16, window in 1u16.., epoch in 0u64..1 << 40,
    ) {
        let mut world = World::new(6, 1, &[(0, &[10])]);
        world.inputs.clock = EpochClock { length, grace };
        world.inputs.epoch = Epoch(epoch);
        world.inputs.rails[0].expiry = Epoch(u64::MAX);
        world.inputs.manifest.evidence.slack = slack;
        world.inputs.manifest.kinds[0].window = window;
        let (first, last) = (world.inputs.first_height(), world.inputs.clock.last(Epoch(epoch)));
        for duty in world.duties(0) {
            prop_assert!(first <= duty.from && duty.from <= duty.to && duty.to <= last);
            prop_assert!(duty.to.0 - duty.from.0 < u64::from(window));
            prop_assert!(closes(&world.inputs, &duty) >= duty.to);
        }
    }

    #[test]
    fn huge_numbers_never_panic(epoch: u64, length in 1u64.., grace: u64, bytes in 1u64..) {
        let mut world = World::new(7, 1, &[(0, &[10])]);
        world.inputs.clock = EpochClock { length, grace };
        world.inputs.epoch = Epoch(epoch);
        world.inputs.rails[0].opened = Epoch(0);
        world.inputs.rails[0].expiry = Epoch(u64::MAX);
        world.inputs.datasets[0].bytes = bytes;
        for duty in world.duties(0) {
            prop_assert!(Task::of(&duty).unwrap().offset < bytes);
        }
    }
}
