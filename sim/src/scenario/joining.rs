//! Machines that join a ledger that runs, while they, their peers or what is between them fail.

use super::{Late, Plan, crash, one_way, partition, slow};
use crate::faults::{Fault, disk::Trouble, wire::Link};
use consensus::Role;
use rand::{RngExt as _, rngs::StdRng};

/// Blocks that machines keep for others where they keep few.
const FEW: usize = 16;
/// For how long after its first start who joins is disturbed most, in milliseconds.
const MIDST: u64 = 5_000;

const ROLES: [Role; 3] = [Role::Validator, Role::Observer, Role::Archive];

/// Adds a machine that joins at this moment.
fn late(plan: &mut Plan, rng: &mut StdRng, roles: &[Role], ms: u64) -> usize {
    let machine = plan.machines;
    plan.machines += 1;
    let role = roles[rng.random_range(0..roles.len())];
    let replay_blocks = if rng.random_bool(0.3) { 1_024 } else { 4 };
    plan.late.insert(machine, Late { role, replay_blocks });
    plan.at(ms, Fault::Boot(machine));
    machine
}

/// One or two machines without a seat join while things go wrong.
pub(super) fn join(plan: &mut Plan, rng: &mut StdRng) {
    plan.machines = 4;
    plan.seats = plan.machines;
    plan.trouble_ms = plan.trouble_ms.max(14_000);
    for _ in 0..rng.random_range(1..3) {
        let mut ms = rng.random_range(5_000..10_000);
        let machine = late(plan, rng, &ROLES, ms);
        while rng.random_bool(0.5) {
            ms += rng.random_range(100..3_000);
            plan.at(ms, Fault::Kill(machine));
            ms += rng.random_range(100..2_000);
            plan.at(ms, Fault::Boot(machine));
        }
    }
    let parts: [fn(&mut Plan, &mut StdRng); 5] = [|_, _| {}, slow, crash, partition, one_way];
    parts[rng.random_range(0..parts.len())](plan, rng);
}

/// The same where devices prove: who joins settles.
pub(super) fn economy(plan: &mut Plan, rng: &mut StdRng) {
    join(plan, rng);
    plan.late.values_mut().for_each(|late| late.role = Role::Validator);
    plan.devices = 2;
    plan.term_length = 1_000;
    plan.trouble_ms = 22_000;
}

/// A machine joins while much goes wrong that can keep it from joining. In half of all worlds machines keep so
/// few blocks that who is away for some seconds cannot replay what it lacks, and that the state which is being
/// fetched is soon too old to be had.
pub(super) fn wire(plan: &mut Plan, rng: &mut StdRng) {
    plan.machines = 4;
    plan.seats = plan.machines;
    let few = rng.random_bool(0.5);
    plan.blocks_served = few.then_some(FEW);
    let (ms, roles) = match few {
        true => (rng.random_range(12_000..16_000), &ROLES[..2]),
        false => (rng.random_range(4_000..8_000), &ROLES[..]),
    };
    plan.trouble_ms = ms + MIDST + rng.random_range(2_000..6_000);
    let machine = late(plan, rng, roles, ms);
    match rng.random_range(0..3u8) {
        0 => slow(plan, rng),
        1 => far(plan, rng, machine),
        _ => {}
    }
    for _ in 0..rng.random_range(1..6) {
        let at = ms + rng.random_range(0..MIDST);
        disturb(plan, rng, machine, at);
    }
}

/// A machine is so far away that answers to it may come when it has asked again.
fn far(plan: &mut Plan, rng: &mut StdRng, machine: usize) {
    for other in 0..machine {
        let link = Link { delay_ms: rng.random_range(300..700), ..Link::default() };
        plan.at(0, Fault::Link(machine, other, link));
        plan.at(0, Fault::Link(other, machine, link));
    }
}

/// Something goes wrong between a machine that joins and those who serve it, or with one of them.
fn disturb(plan: &mut Plan, rng: &mut StdRng, machine: usize, at: u64) {
    let server = rng.random_range(0..plan.seats);
    let back = at + rng.random_range(200..6_000);
    match rng.random_range(0..6u8) {
        0 => {
            let (from, to) =
                if rng.random_bool(0.5) { (machine, server) } else { (server, machine) };
            cut(plan, (from, to), (at, back));
            if rng.random_bool(0.5) {
                cut(plan, (to, from), (at, back));
            }
        }
        1 => {
            for other in 0..plan.seats {
                cut(plan, (machine, other), (at, back));
                cut(plan, (other, machine), (at, back));
            }
        }
        2 => {
            plan.at(at, Fault::Kill(server));
            plan.at(back, Fault::Boot(server));
        }
        3 => {
            plan.at(at, Fault::CutConnections(if rng.random_bool(0.5) { machine } else { server }))
        }
        4 => {
            plan.at(at, Fault::Kill(machine));
            plan.at(back, Fault::Boot(machine));
        }
        _ => {
            let kinds = [Trouble::Sync, Trouble::Write, Trouble::Full];
            plan.at(at, Fault::Disk(machine, kinds[rng.random_range(0..kinds.len())]));
            plan.at(back, Fault::Disk(machine, Trouble::None));
            plan.at(back + 1, Fault::Boot(machine));
        }
    }
}

/// Nothing passes on a link from one moment to another.
fn cut(plan: &mut Plan, (from, to): (usize, usize), (at, back): (u64, u64)) {
    plan.at(at, Fault::Link(from, to, Link::CUT));
    plan.at(back, Fault::Link(from, to, Link::default()));
}
