//! The program `sim`: runs worlds by their seeds and says which of them broke a promise.

use clap::Parser;
use serde_json::json;
use sim::{
    run::{Choice, Report, run},
    scenario::{ALL, HOPELESS, Scenario},
};
use std::{collections::BTreeMap, process::ExitCode, time::Instant};

/// Lines of a broken world's trace that are shown.
const SHOWN: usize = 30;

/// Runs the ledger in worlds with faults and liars.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// How many seeds, beginning with 0 or with --seed.
    #[arg(long)]
    seeds: Option<u64>,
    /// A seed.
    #[arg(long)]
    seed: Option<u64>,
    /// One scenario for all seeds; otherwise they take turns.
    #[arg(long)]
    scenario: Option<String>,
    /// How many validators; otherwise the seed decides.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=100))]
    validators: Option<u8>,
    /// Print one JSON object a world instead of words.
    #[arg(long)]
    json: bool,
    /// Print what happens in each world as it happens.
    #[arg(long)]
    trace: bool,
    /// Print what the programs in a world log, by a filter such as `validator=info`.
    #[arg(long)]
    log: Option<String>,
    /// List the scenarios.
    #[arg(long)]
    list: bool,
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn say(words: impl std::fmt::Display) {
    println!("{words}");
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        for Scenario { name, about, .. } in ALL {
            say(format_args!("{name:<12} {about}"));
        }
        for Scenario { name, about, .. } in HOPELESS {
            say(format_args!("{name:<12} {about} (has to break)"));
        }
        return ExitCode::SUCCESS;
    }
    let only = match options.scenario.as_deref().map(|name| (name, Scenario::find(name))) {
        None => None,
        Some((_, Some(scenario))) => Some(scenario),
        Some((name, None)) => {
            say(format_args!("there is no scenario {name}: --list names them"));
            return ExitCode::from(2);
        }
    };
    if let Some(filter) = &options.log {
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        log.without_time().init();
    }
    // Panics in a machine are part of a world, and are in its trace; who reads one sees them as they come.
    if !options.trace {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let first = options.seed.unwrap_or(0);
    let count = options.seeds.unwrap_or(if options.seed.is_some() { 1 } else { 100 });
    let began = Instant::now();
    let mut totals: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for seed in first..first.saturating_add(count) {
        let turn = usize::try_from(seed).map_or(0, |seed| seed % ALL.len());
        let scenario = only.unwrap_or(&ALL[turn]);
        let machines = options.validators.map(usize::from);
        let choice = Choice { seed, scenario, machines, echo: options.trace };
        let report = run(choice);
        let (worlds, blocks, broken) = totals.entry(scenario.name).or_default();
        *worlds += 1;
        *blocks += report.height;
        *broken += u64::from(report.broken.is_some());
        tell(&choice, &report, &options);
    }
    let broken: u64 = totals.values().map(|(_, _, broken)| broken).sum();
    if !options.json {
        say("");
        for (name, (worlds, blocks, broken)) in &totals {
            say(format_args!(
                "{name:<12} {worlds:>5} worlds {blocks:>8} blocks {broken:>4} broken"
            ));
        }
        say(format_args!("{count} worlds, {broken} broken, {:.0?}", began.elapsed()));
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(choice: &Choice, report: &Report, options: &Options) {
    let (seed, name) = (choice.seed, choice.scenario.name);
    let Report {
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
    } = report;
    let ((transactions, blobs), (epochs, due, met)) = (carried, settled);
    if options.json {
        let replay = broken.as_ref().map(|_| choice.command());
        say(json!({
            "seed": seed, "scenario": name, "validators": machines, "height": height,
            "transactions": transactions, "blobs": blobs, "seated": seated, "epochs": epochs, "duties": due, "met": met, "claims": votes.paid, "copied": votes.copied, "repeated": votes.repeated, "upheld": votes.upheld, "rejected": votes.rejected, "fined": votes.fined, "answered": stored.answered, "failed": stored.failed, "lost": stored.lost, "recovered": stored.recovered, "withheld": [withheld.envelopes, withheld.blobs, withheld.votes], "convicted": convicted, "accused": accused, "trace": hash, "broken": broken, "replay": replay,
        }));
        return;
    }
    match broken {
        None => say(format_args!(
            "seed {seed:<6} {name:<12} {machines} validators, height {height}, {transactions} \
             transactions, {blobs} blobs, trace {hash}"
        )),
        Some(broken) => {
            say(format_args!(
                "seed {seed:<6} {name:<12} {machines} validators, trace {hash}: BROKEN: {broken}"
            ));
            if !options.trace {
                let skip = last.len().saturating_sub(SHOWN);
                last.iter().skip(skip).for_each(|line| say(format_args!("    {line}")));
            }
            say(format_args!("    again: {}", choice.command()));
        }
    }
}
