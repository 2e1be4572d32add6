//! `cargo xtask`: the chores of this repository. Every chore is a subcommand with its own module.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::{ffi::OsString, io::Write as _, path::Path, process::ExitCode};
use xtask::{bench, fuzz, tidy, workspace::Workspace};

/// The chores of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Check the rules of the house: layers, map, sizes, documents. Also runs in `cargo test`.
    Tidy,
    /// Write the documents that are generated from the code.
    Generate,
    /// Measure the program against its rivals, in release. Takes some minutes.
    Bench {
        /// What the benches take; `--help` after `--` lists it.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Search for inputs that break a decoder, by coverage. Keeps what it finds in `fuzz/corpus`.
    Fuzz {
        /// Which decoders; all of them if none is named.
        targets: Vec<String>,
        /// How long to search in each.
        #[arg(long, default_value_t = 300)]
        seconds: u64,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent")?;
    match Arguments::parse().chore {
        Chore::Tidy => run_tidy(&Workspace::read(root)?),
        Chore::Generate => {
            let written = tidy::generated::write(root)?;
            writeln!(std::io::stdout(), "{written} documents written")?;
            Ok(ExitCode::SUCCESS)
        }
        Chore::Fuzz { targets, seconds } => {
            fuzz::run(root, &targets, seconds).map(|()| ExitCode::SUCCESS)
        }
        Chore::Bench { arguments } => bench::run(root, &arguments).map(|()| ExitCode::SUCCESS),
    }
}

fn run_tidy(workspace: &Workspace) -> anyhow::Result<ExitCode> {
    let faults = tidy::check(workspace)?;
    let mut out = std::io::stdout().lock();
    for fault in &faults {
        writeln!(out, "{fault}\n")?;
    }
    writeln!(out, "tidy: {} crates, {} faults", workspace.crates.len(), faults.len())?;
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
