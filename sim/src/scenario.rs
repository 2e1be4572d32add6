//! Named worlds: what a seed draws in each.
//!
//! A scenario turns a seed into a [`Plan`]: how many machines, who lies, and when what goes wrong. Until
//! [`Plan::trouble_ms`] things go wrong; then all is healed, and the ledger has to go on.

mod joining;

use crate::{
    adversaries::Kind,
    faults::{Fault, disk::Trouble, wire::Link},
    storage::Size,
};
use consensus::Role;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use std::collections::BTreeMap;

mod storage;

/// What will happen in a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Machines, each with a key of its own.
    pub machines: usize,
    /// How many of them, the first, have a seat from the beginning.
    pub seats: usize,
    /// The most seats of a committee.
    pub seats_max: u64,
    /// Whether owners of machines bond and unbond, so that committees change.
    pub rotation: bool,
    /// Customers, their S3 service and its depots; none in most worlds.
    pub storage: Option<Size>,
    /// Devices that provide storage; none in most worlds.
    pub devices: u8,
    /// How long what was decided can be disputed, in epochs.
    pub dispute_epochs: u64,
    /// Why somebody dissents, if somebody does.
    pub dissent: Option<Dissent>,
    /// Blocks of a term.
    pub term_length: u64,
    /// Final blocks that machines keep for others, if fewer than usual: who is away for longer than those has
    /// to fetch the state.
    pub blocks_served: Option<usize>,
    /// Whether machines have addresses of one computer, with which commonware connects again sooner.
    pub loopback: bool,
    /// Who is not there from the beginning: a fault boots it.
    pub late: BTreeMap<usize, Late>,
    /// Who lies, or is listened to.
    pub kinds: BTreeMap<usize, Kind>,
    /// What goes wrong when, in milliseconds from the begin, in order.
    pub faults: Vec<(u64, Fault)>,
    /// When all is healed, in milliseconds from the begin.
    pub trouble_ms: u64,
}

/// Why somebody dissents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dissent {
    /// Two thirds have decided what no replay gives.
    ForTruth,
    /// All that was decided is true.
    ToHoldUp,
}

/// A machine that joins a ledger that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// As what.
    pub role: Role,
    /// Of a longer ledger it fetches the state.
    pub replay_blocks: u64,
}

impl Plan {
    fn new(machines: usize, trouble_ms: u64) -> Self {
        Self {
            machines,
            seats: machines,
            seats_max: 64,
            rotation: false,
            storage: None,
            devices: 0,
            dispute_epochs: 1,
            dissent: None,
            term_length: 1_000,
            blocks_served: None,
            loopback: true,
            late: BTreeMap::new(),
            kinds: BTreeMap::new(),
            faults: Vec::new(),
            trouble_ms,
        }
    }

    /// Machines that may lie without breaking what the ledger promises.
    pub const fn liars_max(machines: usize) -> usize {
        (machines - 1) / 3
    }

    fn at(&mut self, ms: u64, fault: Fault) {
        self.faults.push((ms, fault));
    }

    fn between(&self, rng: &mut StdRng) -> u64 {
        rng.random_range(1_000..self.trouble_ms)
    }

    fn machine(&self, rng: &mut StdRng) -> usize {
        rng.random_range(0..self.machines)
    }
}

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    make: fn(&mut Plan, &mut StdRng),
}

impl Scenario {
    /// What a seed draws; `machines` if the caller decides how many there are.
    pub fn plan(&self, seed: u64, machines: Option<usize>) -> Plan {
        let name = blake3::hash(self.name.as_bytes());
        let salt = name.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let mut rng = StdRng::seed_from_u64(seed ^ salt);
        let drawn = [1, 4, 4, 4, 4, 7][rng.random_range(0..6)];
        let mut plan = Plan::new(machines.unwrap_or(drawn), rng.random_range(8_000..20_000));
        // Half of all worlds change terms while things go wrong.
        if rng.random_bool(0.5) {
            plan.term_length = rng.random_range(5..12);
        }
        (self.make)(&mut plan, &mut rng);
        plan.faults.sort_by_key(|(ms, _)| *ms);
        plan
    }

    /// The scenario of a name, among [`ALL`] and [`HOPELESS`].
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().chain(HOPELESS).find(|scenario| scenario.name == name)
    }
}

/// All scenarios.
pub const ALL: &[Scenario] = &[
    Scenario { name: "calm", about: "nothing goes wrong", make: |_, _| {} },
    Scenario { name: "crash", about: "machines lose power, one at a time", make: crash },
    Scenario { name: "crashes", about: "several machines lose power at once", make: crashes },
    Scenario { name: "blackout", about: "all machines lose power at once", make: blackout },
    Scenario { name: "partition", about: "the network falls in two and heals", make: partition },
    Scenario { name: "one-way", about: "single directions of links are cut", make: one_way },
    Scenario { name: "slow", about: "links are slow and lose packets", make: slow },
    Scenario { name: "clocks", about: "clocks are wrong and jump", make: clocks },
    Scenario { name: "disks", about: "disks fail to sync or write, or are full", make: disks },
    Scenario { name: "lan", about: "addresses of a real network, with crashes", make: lan },
    Scenario {
        name: "rotation",
        about: "owners bond and unbond, committees change",
        make: rotation,
    },
    Scenario { name: "economy", about: "devices prove, epochs settle", make: economy },
    Scenario {
        name: "economy-faults",
        about: "the same with faults, agents too",
        make: economy_faults,
    },
    Scenario {
        name: "join",
        about: "machines join a ledger that runs, and crash",
        make: joining::join,
    },
    Scenario {
        name: "join-economy",
        about: "a validator without a seat joins, and settles",
        make: joining::economy,
    },
    Scenario {
        name: "junk-batches",
        about: "authors sign batches that they must not have made",
        make: junk_batches,
    },
    Scenario {
        name: "false-voters",
        about: "validators vote for roots that no replay gives",
        make: false_voters,
    },
    Scenario { name: "copiers", about: "validators copy the votes of others", make: copiers },
    Scenario {
        name: "dissent",
        about: "two thirds decide a false root, and somebody dissents",
        make: dissent,
    },
    Scenario { name: "griefer", about: "somebody dissents from a true root", make: griefer },
    Scenario { name: "mixed", about: "all of these at once", make: mixed },
    Scenario { name: "equivocator", about: "proposes two blocks", make: equivocator },
    Scenario { name: "silent", about: "proposes nothing", make: silent },
    Scenario { name: "withholder", about: "keeps bodies to itself", make: withholder },
    Scenario { name: "forger", about: "proposes invalid blocks", make: forger },
    Scenario { name: "censor", about: "keeps one sender out", make: censor },
    Scenario { name: "junk-author", about: "fills blocks with junk", make: junk_author },
    Scenario { name: "liars", about: "liars of all kinds, with faults", make: liars },
    Scenario { name: "two-faced", about: "shows each peer one of two blocks", make: two_faced },
    Scenario {
        name: "join-wire",
        about: "who joins, who serves it, what is between and its disk fail meanwhile",
        make: joining::wire,
    },
    Scenario {
        name: "storage",
        about: "customers store and read, all is well",
        make: storage::calm,
    },
    Scenario {
        name: "storage-faults",
        about: "the shop crashes and loses its disk, depots fail",
        make: storage::faults,
    },
    Scenario {
        name: "storage-lost",
        about: "more depots lose their disks than the code allows",
        make: storage::lost,
    },
    Scenario {
        name: "censor-device",
        about: "accepts one device's evidence and keeps it out",
        make: censor_device,
    },
];

/// Scenarios that no ledger survives: they show that the checkers see it.
pub const HOPELESS: &[Scenario] = &[
    Scenario { name: "lying-disks", about: "disks say they synced and did not", make: lying_disks },
    Scenario {
        name: "false-majority",
        about: "all validators but one vote for the same false root",
        make: false_majority,
    },
    Scenario { name: "too-silent", about: "half of the validators say nothing", make: too_silent },
];

fn crash(plan: &mut Plan, rng: &mut StdRng) {
    witness(plan, rng);
    let mut ms = 1_000;
    while ms < plan.trouble_ms {
        let machine = plan.machine(rng);
        plan.at(ms, Fault::Kill(machine));
        ms += rng.random_range(200..4_000);
        plan.at(ms, Fault::Boot(machine));
        ms += rng.random_range(100..4_000);
    }
}

fn crashes(plan: &mut Plan, rng: &mut StdRng) {
    for _ in 0..rng.random_range(2..5) {
        let ms = plan.between(rng);
        for machine in some(plan.machines, rng) {
            let back = ms + rng.random_range(200..6_000);
            plan.at(ms, Fault::Kill(machine));
            plan.at(back, Fault::Boot(machine));
        }
    }
}

fn blackout(plan: &mut Plan, rng: &mut StdRng) {
    witness(plan, rng);
    for _ in 0..rng.random_range(1..4) {
        let ms = plan.between(rng);
        for machine in 0..plan.machines {
            // Not quite at the same moment: some write on while others are gone.
            plan.at(ms + rng.random_range(0..200), Fault::Kill(machine));
            plan.at(ms + rng.random_range(500..3_000), Fault::Boot(machine));
        }
    }
}

fn partition(plan: &mut Plan, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..4) {
        let ms = plan.between(rng);
        let one = some(plan.machines, rng);
        for from in 0..plan.machines {
            for to in (0..plan.machines).filter(|to| one.contains(&from) != one.contains(to)) {
                plan.at(ms, Fault::Link(from, to, Link::CUT));
            }
        }
        if rng.random_bool(0.5) {
            one.iter().for_each(|machine| plan.at(ms, Fault::CutConnections(*machine)));
        }
        let heals = ms + rng.random_range(1_000..8_000);
        plan.at(heals, Fault::HealLinks);
    }
}

fn one_way(plan: &mut Plan, rng: &mut StdRng) {
    for _ in 0..rng.random_range(2..8) {
        let (ms, from, to) = (plan.between(rng), plan.machine(rng), plan.machine(rng));
        plan.at(ms, Fault::Link(from, to, Link::CUT));
        let heals = ms + rng.random_range(500..6_000);
        plan.at(heals, Fault::Link(from, to, Link::default()));
    }
}

fn slow(plan: &mut Plan, rng: &mut StdRng) {
    for from in 0..plan.machines {
        for to in 0..plan.machines {
            let link = Link {
                open: true,
                delay_ms: rng.random_range(1..150),
                jitter_ms: rng.random_range(0..300),
                loss_percent: rng.random_range(0..20),
            };
            plan.at(0, Fault::Link(from, to, link));
        }
    }
}

fn clocks(plan: &mut Plan, rng: &mut StdRng) {
    for machine in 0..plan.machines {
        plan.at(0, Fault::Skew(machine, rng.random_range(-400..400)));
    }
    for _ in 0..rng.random_range(1..4) {
        let (ms, machine) = (plan.between(rng), plan.machine(rng));
        plan.at(ms, Fault::Skew(machine, rng.random_range(-60_000..60_000)));
        let mended = ms + rng.random_range(500..5_000);
        plan.at(mended, Fault::Skew(machine, rng.random_range(-400..400)));
    }
}

fn disks(plan: &mut Plan, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..4) {
        let (ms, machine) = (plan.between(rng), plan.machine(rng));
        let kinds = [Trouble::Sync, Trouble::Write, Trouble::Full];
        let trouble = kinds[rng.random_range(0..kinds.len())];
        plan.at(ms, Fault::Disk(machine, trouble));
        let back = ms + rng.random_range(500..5_000);
        plan.at(back, Fault::Disk(machine, Trouble::None));
        plan.at(back + 1, Fault::Boot(machine));
    }
}

fn lan(plan: &mut Plan, rng: &mut StdRng) {
    plan.loopback = false;
    crash(plan, rng);
}

fn rotation(plan: &mut Plan, rng: &mut StdRng) {
    plan.machines = plan.machines.max(6);
    plan.seats = 4;
    plan.seats_max = rng.random_range(4..6);
    plan.term_length = rng.random_range(5..9);
    plan.rotation = true;
    plan.trouble_ms = rng.random_range(20_000..30_000);
    if rng.random_bool(0.5) {
        crash(plan, rng);
    }
}

fn economy(plan: &mut Plan, rng: &mut StdRng) {
    plan.devices = rng.random_range(2..5);
    plan.term_length = 1_000;
    plan.trouble_ms = 22_000;
}

fn economy_faults(plan: &mut Plan, rng: &mut StdRng) {
    economy(plan, rng);
    plan.machines = plan.machines.min(4);
    plan.seats = plan.machines;
    let parts: [fn(&mut Plan, &mut StdRng); 4] = [crash, partition, one_way, slow];
    parts[rng.random_range(0..parts.len())](plan, rng);
}

fn junk_batches(plan: &mut Plan, rng: &mut StdRng) {
    economy(plan, rng);
    lie(plan, rng, &[Kind::JunkAuthor]);
}

fn false_voters(plan: &mut Plan, rng: &mut StdRng) {
    economy(plan, rng);
    lie(plan, rng, &[Kind::FalseVoter]);
}

/// The copier commits in time. An honest validator is far away, so that others have revealed, and the epoch is
/// not decided yet, when the copier does as they did.
fn copiers(plan: &mut Plan, rng: &mut StdRng) {
    economy(plan, rng);
    plan.machines = 4;
    lie(plan, rng, &[Kind::Copier]);
    let honest = (0..plan.machines).filter(|machine| !plan.kinds.contains_key(machine));
    let honest: Vec<usize> = honest.collect();
    let far = honest[rng.random_range(0..honest.len())];
    let delay_ms = rng.random_range(550..750);
    for other in (0..plan.machines).filter(|other| *other != far) {
        let link = Link { delay_ms, ..Link::default() };
        plan.at(0, Fault::Link(far, other, link));
        plan.at(0, Fault::Link(other, far, link));
    }
}

/// Of four validators one lies for good and the judges of two are wrong for a while: no fewer decide.
fn dissent(plan: &mut Plan, rng: &mut StdRng) {
    economy(plan, rng);
    (plan.machines, plan.seats) = (4, 4);
    // Machines are started again, with the right judge, before the window is over.
    plan.dispute_epochs = 2;
    plan.dissent = Some(Dissent::ForTruth);
    let mut all: Vec<usize> = (0..plan.machines).collect();
    all.shuffle(rng);
    let kinds = [Kind::FalseVoter, Kind::FaultyJudge, Kind::FaultyJudge];
    plan.kinds = all.into_iter().zip(kinds).collect();
}

fn griefer(plan: &mut Plan, rng: &mut StdRng) {
    economy(plan, rng);
    plan.machines = plan.machines.min(4);
    plan.seats = plan.machines;
    plan.dissent = Some(Dissent::ToHoldUp);
}

fn false_majority(plan: &mut Plan, rng: &mut StdRng) {
    economy(plan, rng);
    plan.machines = 4;
    plan.seats = 4;
    plan.kinds = (1..4).map(|machine| (machine, Kind::FalseVoter)).collect();
}

fn lying_disks(plan: &mut Plan, rng: &mut StdRng) {
    for machine in 0..plan.machines {
        plan.at(0, Fault::Disk(machine, Trouble::Lies));
    }
    plan.trouble_ms = 12_000;
    let machine = plan.machine(rng);
    plan.at(9_000, Fault::Kill(machine));
    plan.at(9_500, Fault::Boot(machine));
}

fn too_silent(plan: &mut Plan, _: &mut StdRng) {
    plan.machines = 4;
    plan.seats = 4;
    plan.kinds = (0..2).map(|machine| (machine, Kind::Mute)).collect();
}

fn mixed(plan: &mut Plan, rng: &mut StdRng) {
    let parts: [fn(&mut Plan, &mut StdRng); 7] =
        [crash, crashes, partition, one_way, slow, clocks, disks];
    for part in parts {
        if rng.random_bool(0.5) {
            part(plan, rng);
        }
    }
}

/// Some machines, at least one, and not all if there are several.
fn some(machines: usize, rng: &mut StdRng) -> Vec<usize> {
    let mut all: Vec<usize> = (0..machines).collect();
    all.shuffle(rng);
    all.truncate(rng.random_range(1..machines.max(2)));
    all
}

fn witness(plan: &mut Plan, rng: &mut StdRng) {
    if plan.machines > 1 {
        let machine = plan.machine(rng);
        plan.kinds.entry(machine).or_insert(Kind::Witness);
    }
}

fn lie(plan: &mut Plan, rng: &mut StdRng, kinds: &[Kind]) {
    plan.machines = plan.machines.max(4);
    plan.seats = plan.machines;
    let mut all: Vec<usize> = (0..plan.machines).collect();
    all.shuffle(rng);
    for machine in all.into_iter().take(Plan::liars_max(plan.machines)) {
        plan.kinds.insert(machine, kinds[rng.random_range(0..kinds.len())]);
    }
}

fn equivocator(plan: &mut Plan, rng: &mut StdRng) {
    lie(plan, rng, &[Kind::Equivocator]);
}

fn two_faced(plan: &mut Plan, rng: &mut StdRng) {
    lie(plan, rng, &[Kind::TwoFaced]);
}

fn silent(plan: &mut Plan, rng: &mut StdRng) {
    lie(plan, rng, &[Kind::Silent]);
}

fn withholder(plan: &mut Plan, rng: &mut StdRng) {
    lie(plan, rng, &[Kind::Withholder]);
}

fn forger(plan: &mut Plan, rng: &mut StdRng) {
    lie(plan, rng, &[Kind::Forger]);
}

fn censor(plan: &mut Plan, rng: &mut StdRng) {
    lie(plan, rng, &[Kind::Censor]);
}

/// Agents begin with the first validator, and it is the censor.
fn censor_device(plan: &mut Plan, rng: &mut StdRng) {
    economy(plan, rng);
    (plan.machines, plan.seats) = (4, 4);
    plan.kinds.insert(0, Kind::Censor);
}

fn junk_author(plan: &mut Plan, rng: &mut StdRng) {
    lie(plan, rng, &[Kind::JunkAuthor]);
}

fn liars(plan: &mut Plan, rng: &mut StdRng) {
    lie(plan, rng, &Kind::LIARS);
    let parts: [fn(&mut Plan, &mut StdRng); 4] = [partition, one_way, slow, crash];
    parts[rng.random_range(0..parts.len())](plan, rng);
}
