//! Transactions a second and time to finality, with anvil beside it.
//!
//! Both get the same signed transactions by the same client over JSON-RPC, in batches of [`BATCH`] on
//! [`CONNECTIONS`] kept connections, and both check every signature; what counts is the time from the first
//! one sent to the block that holds the last. The client keeps at most [`Plan::window`] on their way: more than
//! a second's worth, so that it is not what limits either, and no more, as a long queue costs both. Anvil makes a block a second and has no limit of
//! gas; it keeps its state in memory, where ours syncs every block to disk before it says that it is final.
//!
//! Beside each rate stands the time of the processor that the servers (not the client) took for each
//! transaction, which other work on the machine changes little.

mod accounts;
mod anvil;
mod cluster;
mod cold;
mod cpu;
mod sender;
mod transactions;

pub(crate) use accounts::Accounts;

use crate::report::{Figure, median, progress};
use anvil::Anvil;
use anyhow::ensure;
use cluster::Cluster;
use consensus::Limits;
use sender::{Sent, send};
use std::{path::Path, time::Duration};
use transactions::{LOADS, Load, Workload};

/// Transactions in one request.
const BATCH: usize = 100;
/// Connections that send at once.
const CONNECTIONS: usize = 4;
/// Most transactions that may be on their way: each sender's have to fit into our pool.
const WINDOW_MAX: usize = 60_000;
/// What our pool may hold, so that it takes them; anvil's has no bound.
const POOL: Limits =
    Limits { per_sender: 4_096, transactions: 65_536, bytes: 32 << 20, gapped: 8_192 };
/// Least time between two blocks of ours: with 30 million gas in each, room for 43,000 transfers of an ERC-20 a
/// second, so that gas does not bind ours either.
const PACE: Duration = Duration::from_millis(20);
/// Blocks whose finality is timed.
const BLOCKS: usize = 40;
/// Transactions of one load on one validator; several share the cores, and get a fraction.
const TRANSACTIONS: usize = 96_000;

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Numbers of validators.
    pub(crate) validators: Vec<u8>,
    /// Whether the rival stays out.
    pub(crate) alone: bool,
    /// Most transactions sent and in no block yet, at most [`WINDOW_MAX`].
    pub(crate) window: usize,
}

impl Plan {
    /// Measures all loads. What others made is installed into `tools` by npm.
    pub(crate) async fn run(&self, disk: &Path, tools: &Path) -> anyhow::Result<Vec<Figure>> {
        progress("installing anvil and OpenZeppelin's contracts");
        anvil::install(tools).await?;
        let creation = transactions::creation_code(&anvil::artifact(tools))?;
        ensure!(self.window <= WINDOW_MAX, "the window is {WINDOW_MAX} at most");
        let rival = if self.alone { Vec::new() } else { self.rival(tools, &creation).await? };
        let mut figures = Vec::new();
        for validators in &self.validators {
            figures.extend(self.ours(disk, (*validators, &creation), &rival).await?);
        }
        Ok(figures)
    }

    /// Anvil's figures.
    async fn rival(&self, tools: &Path, creation: &[u8]) -> anyhow::Result<Vec<Sent>> {
        progress("signing transactions");
        let workload = Workload::sign(TRANSACTIONS, creation)?;
        let anvil = Anvil::start(tools).await?;
        sender::set_up(anvil.port(), &workload).await?;
        let mut rival = Vec::new();
        for load in [Load::Coin, Load::Token] {
            progress(&format!("anvil: {load}"));
            let sent = send(anvil.port(), (&workload, load), self.window, || anvil.cpu()).await?;
            progress(&format!("{:.0} a second, {:.1} µs each", sent.rate, sent.cpu));
            rival.push(sent);
        }
        Ok(rival)
    }

    /// Ours with a number of validators.
    async fn ours(
        &self,
        disk: &Path,
        (validators, creation): (u8, &[u8]),
        rival: &[Sent],
    ) -> anyhow::Result<Vec<Figure>> {
        progress("signing transactions");
        let workload = Workload::sign(TRANSACTIONS / usize::from(validators), creation)?;
        let cluster = Cluster::start(disk, validators).await?;
        sender::set_up(cluster.port(), &workload).await?;
        let mut figures = Vec::new();
        for (place, load) in LOADS.into_iter().enumerate() {
            progress(&format!("{}: {load}", seats(validators)));
            let sent = send(cluster.port(), (&workload, load), self.window, cpu::servers).await?;
            let rival = rival.get(place);
            let figure = |what, ours, rival: Option<f64>, unit| Figure {
                what,
                ours,
                rival: rival.map(|value| ("anvil".to_owned(), value)),
                unit,
            };
            let what = format!("{load}, {}", seats(validators));
            let cpu = format!("{what}: processor's time of the servers");
            figures.push(figure(what, sent.rate, rival.map(|sent| sent.rate), "transactions/s"));
            figures.push(figure(cpu, sent.cpu, rival.map(|sent| sent.cpu), "µs each"));
            progress(&format!("{:.0} a second, {:.1} µs each", sent.rate, sent.cpu));
        }
        figures.push(finality(&cluster, validators).await?);
        if validators == 1 {
            figures.push(cold::figure(&cluster, &workload).await?);
        }
        cluster.stop().await?;
        Ok(figures)
    }
}

fn seats(validators: u8) -> String {
    if validators == 1 { "1 validator".to_owned() } else { format!("{validators} validators") }
}

/// From the time a proposer writes into a block to the moment it is final and its state can be read.
async fn finality(cluster: &Cluster, validators: u8) -> anyhow::Result<Figure> {
    let times = cluster.finality(BLOCKS).await?;
    Ok(Figure {
        what: format!("a block's time to its finality, {}, median", seats(validators)),
        ours: median(times),
        rival: None,
        unit: "ms",
    })
}
