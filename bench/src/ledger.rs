//! Transactions a second and time to finality, with anvil beside it.
//!
//! Both get the same signed transactions by the same client over JSON-RPC, in batches of [`BATCH`], and both
//! check every signature; what counts is the time from the first one sent to the block that holds the last.
//! The client keeps at most [`IN_FLIGHT`] on their way, as whoever wants answers would. Anvil makes a block a
//! second and has no limit of gas; it keeps its state in memory, where ours syncs every block to disk before
//! it says that it is final.

mod anvil;
mod cluster;
mod sender;
mod transactions;

use crate::report::{Figure, median, progress};
use anvil::Anvil;
use cluster::Cluster;
use sender::send;
use std::{path::Path, time::Duration};
use transactions::{LOADS, Load, Workload};

/// Transactions in one request.
const BATCH: usize = 100;
/// Most transactions sent and in no block yet.
const IN_FLIGHT: usize = 12_000;
/// Least time between two blocks of ours.
const PACE: Duration = Duration::from_millis(50);
/// Numbers of validators that are measured.
const VALIDATORS: [u8; 3] = [1, 4, 7];
/// Blocks whose finality is timed.
const BLOCKS: usize = 40;
/// Transactions of one load on one validator; several share the cores, and get a fraction.
const TRANSACTIONS: usize = 48_000;

/// Measures all loads. What others made is installed into `tools` by npm.
pub(crate) async fn compare(disk: &Path, tools: &Path) -> anyhow::Result<Vec<Figure>> {
    progress("installing anvil and OpenZeppelin's contracts");
    anvil::install(tools).await?;
    let creation = transactions::creation_code(&anvil::artifact(tools))?;
    progress("signing transactions");
    let workload = Workload::sign(TRANSACTIONS, &creation)?;
    let mut rival = Vec::new();
    {
        let anvil = Anvil::start(tools).await?;
        sender::set_up(anvil.port(), &workload).await?;
        for load in [Load::Coin, Load::Token] {
            progress(&format!("anvil: {load}"));
            let rate = send(anvil.port(), &workload, load).await?;
            progress(&format!("{rate:.0} a second"));
            rival.push(rate);
        }
    }
    let mut figures = Vec::new();
    for validators in VALIDATORS {
        let count = TRANSACTIONS / usize::from(validators);
        let workload = Workload::sign(count, &creation)?;
        let cluster = Cluster::start(disk, validators).await?;
        sender::set_up(cluster.port(), &workload).await?;
        for (place, load) in LOADS.into_iter().enumerate() {
            progress(&format!("{}: {load}", seats(validators)));
            let rate = send(cluster.port(), &workload, load).await?;
            progress(&format!("{rate:.0} a second"));
            figures.push(Figure {
                what: format!("{load}, {}", seats(validators)),
                ours: rate,
                rival: rival.get(place).map(|rate| ("anvil".to_owned(), *rate)),
                unit: "transactions/s",
            });
        }
        figures.push(finality(&cluster, validators).await?);
        cluster.stop().await?;
    }
    Ok(figures)
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
