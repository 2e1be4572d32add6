//! The order of repairs, their rate, and that no plan harms a segment.

use super::*;
use crate::{
    index::Home,
    placement::{self, Candidate},
};
use proptest::prelude::*;
use protocol::{Account, DeviceId, RailId};

const MIB: u64 = 1 << 20;
const FEW: Population = Population { nodes: 8, failure_ppb: 54_350 };

fn home(number: u8) -> Home {
    Home { rail: RailId(number.into()), device: DeviceId([number; 32]) }
}

fn queued(segment: u8, index: u8, alive: u8) -> Queued {
    Queued {
        segment: SegmentId([segment; 16]),
        index,
        from: None,
        alive,
        moving: 0,
        needed: 4,
        bytes: MIB,
    }
}

fn names(chosen: &[Queued]) -> Vec<(u8, u8)> {
    chosen.iter().map(|shard| (shard.segment.0[0], shard.index)).collect()
}

#[test]
fn the_least_healthy_comes_first_one_shard_a_segment_and_what_is_lost_waits() {
    let mut planner = Planner::new(1 << 40);
    let moving = Queued { from: Some(home(1)), moving: 1, ..queued(5, 0, 6) };
    let all = vec![queued(1, 5, 5), queued(2, 4, 4), queued(2, 5, 4), queued(3, 3, 3), moving];
    let next = planner.next(all.clone(), &FEW, |_| false, 0);
    assert_eq!(names(&next), [(2, 4), (5, 0), (1, 5)]);
    let busy = |id: SegmentId| id == SegmentId([2; 16]);
    assert_eq!(names(&planner.next(all.clone(), &FEW, busy, 0)), [(5, 0), (1, 5)]);

    // One that fails waits, longer each time; the segment's other shard does not.
    planner.failed((SegmentId([2; 16]), 4), 0);
    assert_eq!(names(&planner.next(all.clone(), &FEW, |_| false, 0))[0], (2, 5));
    planner.failed((SegmentId([2; 16]), 4), PUT_OFF_MS);
    let at = |planner: &mut Planner, ms| names(&planner.next(all.clone(), &FEW, |_| false, ms))[0];
    assert_eq!(at(&mut planner, 3 * PUT_OFF_MS - 1), (2, 5));
    assert_eq!(at(&mut planner, 3 * PUT_OFF_MS), (2, 4));
    planner.done((SegmentId([2; 16]), 4));
    assert_eq!(at(&mut planner, 3 * PUT_OFF_MS), (2, 4));
}

#[test]
fn repairs_keep_to_their_rate() {
    // A shard of a MiB costs five of them: four are read.
    let mut planner = Planner::new(5 * MIB);
    let all: Vec<_> = (0..200).map(|segment| queued(segment, 0, 5)).collect();
    let mut done = 0;
    for second in 0..60 {
        done += planner.next(all.clone(), &FEW, |_| false, second * 1_000).len();
    }
    // One a second, four that were saved up beforehand, and one overdrawn.
    assert!((60..=65).contains(&done), "{done}");
    // Looks that follow one another quickly earn no less.
    let mut planner = Planner::new(5 * MIB);
    let done: usize =
        (0..60_000).map(|ms| planner.next(all.clone(), &FEW, |_| false, ms).len()).sum();
    assert!((60..=65).contains(&done), "{done}");
}

#[test]
fn a_shard_larger_than_what_can_be_saved_comes_all_the_same() {
    let mut planner = Planner::new(1);
    let all = vec![queued(1, 0, 5)];
    assert_eq!(planner.next(all.clone(), &FEW, |_| false, 0).len(), 1);
    assert!(planner.next(all, &FEW, |_| false, 1_000_000).is_empty());
}

/// A segment under churn: devices come and go, and the plan is followed, some of it in vain.
#[derive(Clone, Debug)]
enum Step {
    Gone(u8),
    Back(u8),
    Lost(u8),
    Repair { works: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u8..12).prop_map(Step::Gone),
        (0u8..12).prop_map(Step::Back),
        (0u8..6).prop_map(Step::Lost),
        any::<bool>().prop_map(|works| Step::Repair { works }),
        any::<bool>().prop_map(|works| Step::Repair { works }),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// Two devices an owner: no two shards of the segment are ever with one owner, and no repair makes
    /// a shard disappear that was there.
    #[test]
    fn owners_stay_distinct_and_no_shard_is_given_up_before_its_next_home(steps in steps()) {
        let owner = |device: u8| Account::repeat_byte(device / 2);
        let mut homes: Vec<Option<u8>> = (0..6).map(|shard| Some(shard * 2)).collect();
        let mut gone = BTreeSet::new();
        let mut planner = Planner::new(1 << 40);
        for (now, step) in (0u64..).zip(steps) {
            let there = homes.iter().flatten().count();
            match step {
                Step::Gone(device) => drop(gone.insert(device)),
                Step::Back(device) => drop(gone.remove(&device)),
                Step::Lost(shard) => {
                    homes[usize::from(shard)] = None;
                    continue;
                }
                Step::Repair { works } => {
                    let alive = homes.iter().flatten().filter(|at| !gone.contains(*at)).count();
                    let needy = (0u8..6).zip(&homes).filter(|(_, at)| at.is_none_or(|at| gone.contains(&at)));
                    let all = needy.map(|(index, at)| Queued {
                        from: at.map(home),
                        alive: u8::try_from(alive).unwrap(),
                        ..queued(1, index, 0)
                    });
                    let chosen = planner.next(all.collect(), &FEW, |_| false, now * 1_000_000);
                    prop_assert!(chosen.len() <= 1);
                    prop_assert!(alive >= 4 || chosen.is_empty(), "what is lost is not tried");
                    for shard in chosen {
                        let index = usize::from(shard.index);
                        let others = homes.iter().enumerate().filter(|(at, _)| *at != index);
                        let taken: BTreeSet<_> = others.filter_map(|(_, at)| at.map(owner)).collect();
                        let candidates: Vec<_> = (0u8..12).map(|device| Candidate {
                            device: DeviceId([device; 32]),
                            owner: owner(device),
                            rail: Some(RailId(device.into())),
                            free: 1 << 40,
                            reachable: !gone.contains(&device),
                            proven: false,
                        }).collect();
                        let spots = placement::replace(shard.segment, MIB, &candidates, &taken);
                        let Some(spot) = spots.first() else { continue };
                        if works {
                            homes[index] = Some(spot.device.0[0]);
                            planner.done((shard.segment, shard.index));
                        } else {
                            planner.failed((shard.segment, shard.index), now * 1_000_000);
                        }
                    }
                }
            }
            prop_assert!(homes.iter().flatten().count() >= there, "a repair lost a shard");
            let owners: Vec<_> = homes.iter().flatten().map(|at| owner(*at)).collect();
            prop_assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), owners.len());
        }
    }
}
