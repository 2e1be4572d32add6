//! Worlds with customers, their S3 service and its depots: what a seed draws in each.

use super::Plan;
use crate::{
    faults::{
        Fault,
        disk::{Crash, Trouble},
    },
    storage::{self, Size, yard::Mishap},
};
use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};

/// One machine runs the ledger beside it.
pub(super) fn calm(plan: &mut Plan, rng: &mut StdRng) {
    (plan.machines, plan.seats) = (1, 1);
    let rails_last = if rng.random_bool(0.5) { 8 } else { 1_000_000 };
    plan.storage = Some(Size { depots: 8, customers: 3, rails_last });
    plan.term_length = 1_000;
    plan.trouble_ms = 20_000;
}

pub(super) fn faults(plan: &mut Plan, rng: &mut StdRng) {
    calm(plan, rng);
    plan.trouble_ms = 30_000;
    shop_faults(plan, rng);
    depot_faults(plan, rng);
}

fn shop_faults(plan: &mut Plan, rng: &mut StdRng) {
    let mut ms = 2_000;
    while ms < plan.trouble_ms {
        let fault = match rng.random_range(0..10u8) {
            0..3 => storage::Fault::Kill(Crash::Program),
            3..5 => storage::Fault::Kill(Crash::Power),
            5..8 => storage::Fault::Cut(rng.random_range(1..200)),
            8 => storage::Fault::Lose,
            _ => {
                let kinds = [Trouble::Sync, Trouble::Write, Trouble::Full];
                storage::Fault::Disk(kinds[rng.random_range(0..kinds.len())])
            }
        };
        plan.at(ms, Fault::Storage(fault));
        ms += rng.random_range(300..3_000);
        plan.at(ms, Fault::Storage(storage::Fault::Disk(Trouble::None)));
        plan.at(ms + 1, Fault::Storage(storage::Fault::Boot));
        ms += rng.random_range(1_000..6_000);
    }
}

/// Depots are off, cut off and slow, crash, have bad disks and leave; a few shards rot, a few disks are lost.
fn depot_faults(plan: &mut Plan, rng: &mut StdRng) {
    let Some(Size { depots, .. }) = plan.storage else { return };
    let mut all: Vec<usize> = (0..usize::from(depots)).collect();
    all.shuffle(rng);
    for (nth, depot) in all.into_iter().enumerate() {
        let mut ms = rng.random_range(1_000..10_000);
        while ms < plan.trouble_ms {
            let mishap = match rng.random_range(0..20u8) {
                0..2 => Mishap::Off,
                2..4 => Mishap::Cut,
                4..6 => Mishap::Slow(rng.random_range(50..1_500)),
                6..8 => Mishap::Crash(Crash::Program),
                8..10 => Mishap::Crash(Crash::Power),
                10..13 => Mishap::PowerIn(rng.random_range(1..200)),
                13 => Mishap::Disk(Trouble::Full),
                14 => Mishap::Disk(Trouble::Sync),
                15 => Mishap::Disk(Trouble::Write),
                16 if nth < 4 => Mishap::Rot,
                17 if nth < 4 => Mishap::Vanish,
                18 if nth < 2 => Mishap::Lost,
                19 if nth == 2 => Mishap::Leave,
                _ => Mishap::On,
            };
            plan.at(ms, Fault::Storage(storage::Fault::Depot(depot, mishap)));
            ms += rng.random_range(500..6_000);
            plan.at(ms, Fault::Storage(storage::Fault::Depot(depot, Mishap::On)));
            ms += rng.random_range(1_000..8_000);
        }
    }
}

/// All but one lose their disks at once: what was stored is gone, which has to be said, and said clearly.
pub(super) fn lost(plan: &mut Plan, rng: &mut StdRng) {
    calm(plan, rng);
    let Some(Size { depots, .. }) = plan.storage else { return };
    let ms = plan.trouble_ms - 1_000;
    for depot in 1..usize::from(depots) {
        plan.at(ms, Fault::Storage(storage::Fault::Depot(depot, Mishap::Lost)));
    }
}
