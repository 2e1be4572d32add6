//! `cargo xtask`: the chores of this repository. Every chore is a subcommand with its own module.

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use std::{io::Write as _, path::Path};
use xtask::{tidy, workspace::Workspace};

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
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent")?;
    match Arguments::parse().chore {
        Chore::Tidy => run_tidy(&Workspace::read(root)?),
        Chore::Generate => {
            let written = tidy::generated::write(root)?;
            Ok(writeln!(std::io::stdout(), "{written} documents written")?)
        }
    }
}

fn run_tidy(workspace: &Workspace) -> anyhow::Result<()> {
    let faults = tidy::check(workspace)?;
    let mut out = std::io::stdout().lock();
    for fault in &faults {
        writeln!(out, "{fault}\n")?;
    }
    match faults.len() {
        0 => Ok(writeln!(out, "tidy: {} crates, no fault", workspace.crates.len())?),
        count => bail!("{count} faults"),
    }
}
