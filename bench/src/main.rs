//! What Wayleave does in a second, with its rival beside it in the same run.
//!
//! `cargo xtask bench` builds the program in release, runs this, and writes `docs/performance.md`.
//! Every figure has a unit and says what it measures; the median of several runs counts, and the
//! machine is described. Nothing here is a test: a slow machine fails nothing.

mod blocks;
mod disk;
mod fs;
mod ledger;
mod load;
mod machine;
mod memory;
mod proofs;
mod report;
mod s3;
mod up;

use clap::Parser;
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// Accounts of the ledger whose size is measured.
const ACCOUNTS: u32 = 1_000_000;

/// The arguments.
#[derive(Debug, Parser)]
#[command(about = "Measure the program against its rivals")]
struct Arguments {
    /// The program `wayleave`, built in release.
    #[arg(long, default_value = "target/release/wayleave")]
    program: PathBuf,
    /// Where to write the report.
    #[arg(long, default_value = "docs/performance.md")]
    report: PathBuf,
    /// The folder whose disk both servers use.
    #[arg(long, default_value = "target/bench")]
    disk: PathBuf,
    /// Where tools of others are installed that the benches run beside the program.
    #[arg(long, default_value = "target/bench-tools")]
    tools: PathBuf,
    /// Measure the ledger alone, and print it.
    #[arg(long)]
    ledger: bool,
    /// Numbers of validators of that ledger.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 7])]
    validators: Vec<u8>,
    /// Measure it without its rival, for a profiler.
    #[arg(long)]
    alone: bool,
    /// Most transactions that its client keeps on their way.
    #[arg(long, default_value_t = 24_000)]
    window: usize,
    /// Measure a ledger of so many accounts alone, and print it.
    #[arg(long)]
    accounts: Option<u32>,
    /// Compare blocks sent whole with erasure-coded ones in a simulated network, and print the table.
    #[arg(long)]
    blocks: bool,
    /// Measure nothing, but keep the devnet busy with this, for a profiler.
    #[arg(long)]
    load: Option<load::Load>,
    /// How many clients make that load.
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// How long they make it, seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Serve this folder with s3s-fs instead; used by the bench itself.
    #[arg(long, hide = true)]
    serve_fs: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("client")
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(folder) = arguments.serve_fs {
        return fs::serve(&folder).await;
    }
    if arguments.blocks {
        // commonware's deterministic runtime is one of its own.
        return tokio::task::spawn_blocking(blocks::page).await?.map(drop);
    }
    std::fs::create_dir_all(&arguments.disk)?;
    let disk = tempfile::tempdir_in(&arguments.disk)?;
    let mut report = report::Report::new(machine::describe());
    let ledger = ledger::Plan {
        validators: arguments.validators,
        alone: arguments.alone,
        window: arguments.window,
    };
    let tools = arguments.tools;
    let accounts = ledger::Accounts {
        program: arguments.program.clone(),
        count: arguments.accounts.unwrap_or(ACCOUNTS),
        alone: arguments.alone,
    };
    if arguments.accounts.is_some() {
        report.section(&accounts.title(), accounts.run(disk.path(), &tools).await?);
        return Ok(());
    }
    if arguments.ledger {
        report.section("Ledger", ledger.run(disk.path(), &tools).await?);
        return Ok(());
    }
    let devnet = up::Devnet::start(&arguments.program, disk.path()).await?;
    if let Some(load) = arguments.load {
        let time = Duration::from_secs(arguments.seconds);
        return load::run(&devnet.access()?, load, arguments.clients, time).await;
    }
    report.section("The disk", disk::figures(disk.path())?);
    report.section("Start and rest", devnet.figures().await?);
    let rival = fs::Rival::start(disk.path()).await?;
    report.section("S3", s3::compare(&devnet.access()?, rival.access()).await?);
    report.section("Proofs", proofs::compare()?);
    drop((devnet, rival));
    report.section("Ledger", ledger.run(disk.path(), &tools).await?);
    report.section(&accounts.title(), accounts.run(disk.path(), &tools).await?);
    report.page(tokio::task::spawn_blocking(blocks::page).await??);
    report.write(&arguments.report)
}
