//! `wayleave`: one program with which a community launches and runs a network of hardware.
//!
//! This crate wires the others together: configuration, command line, first run. It holds no rule of
//! the economy and no protocol.

mod cli;
mod commands;
mod devnet;
mod exit;
pub mod fuzzing;
mod home;
pub mod http;
mod keys;
mod metrics;
mod out;
mod passphrase;
mod ports;
pub mod s3;
mod served;
mod show;
mod stop;
mod storefront;
mod tour;
mod trust;
mod units;

use clap::Parser as _;
use cli::{Cli, Command};
use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};
use tracing_subscriber::EnvFilter;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let mut cli = Cli::parse();
    cli.complete();
    if let Err(error) = log(&cli.log) {
        report(&error);
        return ExitCode::from(2);
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            exit::code(&error)
        }
    }
}

/// Logs go to standard error, so that `--json` output stays clean.
fn log(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("--log {filter:?} is no filter: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(|| out::Aside)
        .init();
    Ok(())
}

fn report(error: &anyhow::Error) {
    // Nobody is left to tell when standard error is gone.
    let _ = out::Aside.write_all(format!("error: {error:#}\n").as_bytes());
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (home, json) = (cli.home, cli.json);
    runtime.block_on(async move {
        match cli.command {
            Command::Up(up) => Box::pin(devnet::up::run(&home, up, json)).await,
            Command::Tour(tour) => tour::run(&home, tour, json).await,
            Command::Init(init) => commands::init::run(&init, json),
            Command::Node(node) => Box::pin(commands::node::run(*node, json)).await,
            Command::Validator(command) => commands::validator::run(command, json).await,
            Command::Send(send) => commands::send::run(&send, json).await,
            Command::Agent(agent) => Box::pin(commands::agent::run(agent)).await,
            Command::Service(service) => Box::pin(commands::service::run(service)).await,
            Command::Status(ledger) => commands::status::run(&ledger, json).await,
            Command::Why(why) => commands::why::run(&why, json).await,
            Command::Statement(statement) => commands::statement::run(&statement, json).await,
            Command::Claim(claim) => commands::claim::run(&claim, json).await,
            Command::VerifyEpoch(verify) => commands::verify::run(&home, &verify, json).await,
            Command::Dissent(dissent) => commands::dissent::run(&home, &dissent, json).await,
            Command::Fine(fine) => commands::fine::run(&fine, json).await,
            Command::Doctor(doctor) => commands::doctor::run(&home, &doctor, json),
            Command::Key(key) => commands::key::run(&key, json),
            Command::Remove(remove) => commands::remove::run(&home, &remove, json),
        }
    })
}
