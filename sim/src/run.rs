//! One world from its seed to its end.

use crate::{
    adversaries::censor::Withheld,
    economy::votes::Counts,
    scenario::Scenario,
    storage,
    trace::Trace,
    world::{End, World, people},
};
use commonware_runtime::{Runner as _, deterministic};
use rand::{SeedableRng as _, rngs::StdRng};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, UNIX_EPOCH},
};

/// Which world.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// From what everything is drawn.
    pub seed: u64,
    /// What happens in it.
    pub scenario: &'static Scenario,
    /// How many machines, unless the seed decides.
    pub machines: Option<usize>,
    /// Whether the trace is printed as it comes.
    pub echo: bool,
}

impl Choice {
    /// The command that runs the same world again.
    pub fn command(&self) -> String {
        let machines = self.machines.map_or_else(String::new, |n| format!(" --validators {n}"));
        let (seed, name) = (self.seed, self.scenario.name);
        format!("cargo run -p sim --release -- --seed {seed} --scenario {name}{machines} --trace")
    }
}

/// What came of a world.
#[derive(Clone, Debug)]
pub struct Report {
    /// Machines in it.
    pub machines: usize,
    /// The highest final height, if it ended well.
    pub height: u64,
    /// Machines convicted of voting twice.
    pub convicted: Vec<usize>,
    /// Machines that honest ones accused of it.
    pub accused: Vec<usize>,
    /// Transactions and blobs in all blocks.
    pub carried: (u64, u64),
    /// Machines that ever had a seat.
    pub seated: usize,
    /// Epochs settled, duties due in them, and duties met.
    pub settled: (u64, u64, u64),
    /// Copied ballots, dissents, fines, and claims.
    pub votes: Counts,
    /// Requests answered and failed, objects lost.
    pub stored: storage::Counts,
    /// What censors kept back of a device's evidence.
    pub withheld: Withheld,
    /// The hash of its trace.
    pub hash: String,
    /// The promise that was broken.
    pub broken: Option<String>,
    /// The last lines of its trace.
    pub last: Vec<String>,
}

/// Runs a world.
pub fn run(choice: Choice) -> Report {
    let plan = choice.scenario.plan(choice.seed, choice.machines);
    let machines = plan.machines;
    let mut trace = Trace::new(choice.echo);
    let runner = deterministic::Runner::new(
        deterministic::Config::new()
            .with_seed(choice.seed)
            .with_start_time(UNIX_EPOCH + Duration::from_secs(people::BEGIN)),
    );
    let result = catch_unwind(AssertUnwindSafe(|| {
        runner.start(async |context| {
            let rng = StdRng::seed_from_u64(choice.seed);
            let world = Box::pin(World::new(context, plan, rng)).await?;
            Box::pin(world.run(&mut trace)).await
        })
    }));
    let (end, broken) = match result {
        Ok(Ok(end)) => (end, None),
        Ok(Err(broken)) => (End::default(), Some(broken.0)),
        Err(_) => (End::default(), Some("the world itself panicked".to_owned())),
    };
    let End { height, convicted, accused, carried, seated, settled, votes, stored, withheld } = end;
    let last = trace.last().map(str::to_owned).collect();
    let hash = trace.hash();
    Report {
        machines,
        height,
        convicted,
        accused,
        carried,
        seated,
        settled,
        votes,
        stored,
        withheld,
        hash,
        broken,
        last,
    }
}
