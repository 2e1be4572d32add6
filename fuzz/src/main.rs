//! `cargo run --release -p fuzz`: replays the corpus and mutates it for as long as asked.

use anyhow::{Context as _, ensure};
use clap::Parser;
use fuzz::{Target, corpus, mutate::Mutator, targets::TARGETS};
use std::{
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Runs decoders on broken inputs. Without a target, all of them.
#[derive(Debug, Parser)]
#[command(
    name = "fuzz",
    after_help = "Examples:\n  fuzz --list\n  fuzz envelope --seconds 600\n  fuzz block --seed 7\n  fuzz header --input crash-1234\n  fuzz header --keep crash-1234"
)]
struct Arguments {
    /// Which decoders.
    targets: Vec<String>,
    /// How long each runs.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The same seed makes the same inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs this one input and no other.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Writes all inputs, one a file, to this folder, and runs nothing.
    #[arg(long, value_name = "FOLDER", group = "chore")]
    unpack: Option<PathBuf>,
    /// Keeps the inputs in this folder in the place of those that were found before, and runs nothing.
    #[arg(long, value_name = "FOLDER", group = "chore")]
    pack: Option<PathBuf>,
    /// Keeps this one input under its file's name, and runs nothing.
    #[arg(long, value_name = "FILE", group = "chore")]
    keep: Option<PathBuf>,
    /// Names the targets and what they read.
    #[arg(long)]
    list: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    if arguments.list {
        for target in TARGETS {
            writeln!(out, "{:<20} {}", target.name, target.about)?;
        }
        return Ok(());
    }
    let targets = chosen(&arguments.targets)?;
    if let Some(path) = &arguments.input {
        ensure!(targets.len() == 1, "one input needs one target");
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {path:?}"))?;
        let verdict = if (targets[0].run)(&bytes) { "taken" } else { "refused" };
        writeln!(out, "{}: {} bytes, {verdict}, no fault", targets[0].name, bytes.len())?;
        return Ok(());
    }
    if let Arguments { unpack: Some(path), .. }
    | Arguments { pack: Some(path), .. }
    | Arguments { keep: Some(path), .. } = &arguments
    {
        ensure!(targets.len() == 1, "the inputs of one target are kept at a time: name it");
        let target = targets[0];
        if arguments.unpack.is_some() {
            return corpus::unpack(target, path);
        }
        let take = if arguments.pack.is_some() { corpus::pack } else { corpus::keep };
        writeln!(out, "{}: {} inputs are kept", target.name, take(target, path)?)?;
        return Ok(());
    }
    for target in targets {
        let inputs = corpus::read(target)?;
        for input in &inputs {
            (target.run)(input);
        }
        let mut mutator = Mutator::new(arguments.seed);
        let (began, mut made, mut taken) = (Instant::now(), 0u64, 0u64);
        while began.elapsed() < Duration::from_secs(arguments.seconds) {
            taken += u64::from((target.run)(&mutator.mutate(&inputs)));
            made += 1;
        }
        let kept = inputs.len();
        writeln!(out, "{:<20} {kept} kept, {made} made, {taken} taken, no fault", target.name)?;
    }
    Ok(())
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    names
        .iter()
        .map(|name| fuzz::target(name).with_context(|| format!("no target {name}: see --list")))
        .collect()
}
