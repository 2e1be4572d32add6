//! A ledger of a million accounts: what it costs a node in memory, disk and time, and a fresh node to join.
//!
//! The nodes are processes of the program, as anybody runs them: one validator, and later an observer that has
//! nothing. Accounts are made by as many transfers of coins, each to an account of its own, and not by the
//! genesis: so the disk holds their blocks and receipts too, the state what is superseded, and the memory what
//! a node keeps of both. The observer then fetches the state through a relay that counts bytes
//! ([`relay`]), proves every piece against the genesis file, and is timed until a client that believes nothing
//! else has the first balance from it.
//!
//! Anvil gets its accounts from a file in the form of its own dumps: a million transfers would take it one and a
//! half minutes, and it keeps all of them in memory. So its figures are without transactions.

mod files;
mod load;
mod node;
mod relay;
mod rival;

use super::{anvil, sender::Connection, transactions::CHAIN};
use crate::report::{Figure, progress};
use alloy_primitives::{Address, U256};
use anyhow::{Context as _, bail};
use client::{Client, Options, light::Origin};
use files::Files;
use load::senders;
use node::{Keys, Node};
use protocol::Height;
use relay::Relay;
use rival::Rival;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a node may take to serve what it is asked.
const PATIENCE: Duration = Duration::from_secs(120);
/// How soon it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// How long a node rests before its memory is read.
const REST: Duration = Duration::from_secs(5);
/// A ledger of so many blocks is not replayed by a fresh node, but its state is fetched.
const LONG: u64 = 1_200;
/// Least time between two blocks while accounts are made.
const FAST: &str = "20ms";
/// Between two blocks afterwards: the usual time.
const USUAL: &str = "500ms";

/// What is to be measured.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// The program.
    pub(crate) program: PathBuf,
    /// How many accounts.
    pub(crate) count: u32,
    /// Whether the rival stays out.
    pub(crate) alone: bool,
}

/// The two nodes and what they share.
struct Pair {
    validator: Keys,
    observer: Keys,
    genesis: PathBuf,
    origin: Origin,
    /// An account that was made last.
    last: Address,
}

/// What a node came to.
struct Standing {
    seconds: f64,
    resident: f64,
    peak: f64,
    files: Files,
}

impl Accounts {
    /// What the figures are of.
    pub(crate) fn title(&self) -> String {
        format!("A ledger of {} accounts", self.count)
    }

    /// Measures all of it. What others made is installed into `tools` by npm.
    pub(crate) async fn run(&self, disk: &Path, tools: &Path) -> anyhow::Result<Vec<Figure>> {
        let folder = disk.join("accounts");
        std::fs::create_dir_all(&folder)?;
        let rival = if self.alone {
            None
        } else {
            progress("installing anvil and OpenZeppelin's contracts");
            anvil::install(tools).await?;
            progress(&format!("anvil with {} accounts", self.count));
            Some(rival::measure(tools, &folder, self.count).await?)
        };
        progress("keys and a genesis for two nodes");
        let pair = self.pair(&folder).await?;
        let (mut figures, loaded) = self.load(&pair).await?;
        let relays = pair.relays().await?;
        progress("the validator starts again");
        let (validator, again) = self.start_again(&pair, &relays).await?;
        figures.extend(of_validator(&loaded, &again, rival.as_ref()));
        progress("a fresh node joins");
        figures.extend(self.join(&pair, relays).await?);
        validator.stop().await?;
        Ok(figures)
    }

    /// Makes keys and the genesis of both nodes.
    async fn pair(&self, folder: &Path) -> anyhow::Result<Pair> {
        let (validator, observer) =
            Keys::pair(&self.program, folder, ["validator", "observer"]).await?;
        let genesis = folder.join("genesis.json");
        node::found(&self.program, &validator, (CHAIN, &senders()?), &genesis).await?;
        let origin = Origin::read(&std::fs::read(&genesis)?)?;
        let last = load::last(self.count)?;
        Ok(Pair { validator, observer, genesis, origin, last })
    }

    /// Makes the accounts, and gives how the node stands then.
    async fn load(&self, pair: &Pair) -> anyhow::Result<(Vec<Figure>, Standing)> {
        let began = Instant::now();
        let node = pair.node(&self.program, true, (FAST, &[])).await?;
        pair.first_balance(&node, senders()?[0].address()).await?;
        progress(&format!("making {} accounts", self.count));
        let computed = node.computed()?;
        let (count, seconds) = load::run(node.rpc(), self.count).await?;
        let each = (node.computed()? - computed) * 1e6 / f64::from(count);
        progress(&format!("{:.0} a second, {each:.1} µs each", f64::from(count) / seconds));
        pair.first_balance(&node, pair.last).await?;
        let mut connection = Connection::open(node.rpc()).await?;
        while connection.height().await? < LONG {
            tokio::time::sleep(ASK_AGAIN).await;
        }
        // What is superseded is pruned every few blocks.
        tokio::time::sleep(REST).await;
        let standing = node.standing(began.elapsed().as_secs_f64())?;
        node.stop().await?;
        let what = "transfers, each to a new account: processor's time of the node";
        Ok((vec![alone(what, each, "µs each")], standing))
    }

    /// Starts the validator at the usual pace, with the observer as its peer.
    async fn start_again(&self, pair: &Pair, relays: &Relays) -> anyhow::Result<(Node, Standing)> {
        let peers = [pair.observer.at(relays.observer.port())];
        let node = pair.node(&self.program, true, (USUAL, &peers)).await?;
        let seconds = pair.first_balance(&node, pair.last).await?;
        tokio::time::sleep(REST).await;
        let standing = node.standing(seconds)?;
        Ok((node, standing))
    }

    /// Starts the observer, and measures until it serves.
    async fn join(&self, pair: &Pair, relays: Relays) -> anyhow::Result<Vec<Figure>> {
        let peers = [pair.validator.at(relays.validator.port())];
        let node = pair.node(&self.program, false, (USUAL, &peers)).await?;
        let seconds = pair.first_balance(&node, pair.last).await?;
        let bytes = relays.validator.back() + relays.observer.forth();
        let peak = node.standing(seconds)?.peak;
        tokio::time::sleep(REST).await;
        let Standing { resident, files, .. } = node.standing(seconds)?;
        node.stop().await?;
        let what = |text: &str| format!("a fresh node: {text}");
        Ok(vec![
            alone(&what("from its start to its first proven balance"), seconds, "s"),
            alone(&what("bytes sent to it until then"), mebibytes(bytes), "MiB"),
            alone(&what("peak of its memory until then"), peak, "MiB"),
            alone(&what("its memory at rest"), resident, "MiB"),
            alone(&what("state on disk"), mebibytes(files.state), "MiB"),
            alone(&what("all else on disk"), mebibytes(files.history + files.blocks), "MiB"),
        ])
    }
}

/// The ways by which the nodes reach one another.
struct Relays {
    validator: Relay,
    observer: Relay,
}

impl Pair {
    async fn relays(&self) -> anyhow::Result<Relays> {
        Ok(Relays {
            validator: Relay::start(self.validator.listen()).await?,
            observer: Relay::start(self.observer.listen()).await?,
        })
    }

    /// Starts the validator or the observer.
    async fn node(
        &self,
        program: &Path,
        votes: bool,
        (pace, peers): (&str, &[String]),
    ) -> anyhow::Result<Node> {
        let keys = if votes { &self.validator } else { &self.observer };
        let role = if votes { "validator" } else { "observer" };
        Node::start(program, keys, &["--role", role, "--pace", pace], (&self.genesis, peers)).await
    }

    /// Waits until a node proves what an account has, and gives the seconds since it was started.
    async fn first_balance(&self, node: &Node, account: Address) -> anyhow::Result<f64> {
        let url = format!("http://127.0.0.1:{}", node.rpc());
        while node.age() < PATIENCE {
            match self.balance(&url, account).await {
                Ok(balance) if balance > U256::ZERO => return Ok(node.age().as_secs_f64()),
                _ => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
        let refused = self.balance(&url, account).await;
        bail!("no balance of {account} after {PATIENCE:?}: {refused:?}")
    }

    /// What an account has, proven from the genesis file on.
    async fn balance(&self, url: &str, account: Address) -> anyhow::Result<U256> {
        let options = Options { patience: Duration::ZERO, ..Options::default() };
        let client = Client::connect_trusting(url, options, (&self.origin, None)).await?;
        let proven = client.proven((account, &[]), Height(0)).await;
        Ok(proven.context("the balance is not proven")?.account.balance)
    }
}

/// The figures of a validator after its load and after it was started again.
fn of_validator(loaded: &Standing, again: &Standing, rival: Option<&Rival>) -> Vec<Figure> {
    let beside = |what: &str, ours, rival: Option<f64>, unit| Figure {
        what: what.to_owned(),
        ours,
        rival: rival.map(|value| ("anvil".to_owned(), value)),
        unit,
    };
    let disk = mebibytes(again.files.state);
    vec![
        alone("memory after these transfers", loaded.resident, "MiB"),
        alone("peak of the memory until then", loaded.peak, "MiB"),
        beside(
            "started again: to its first proven balance",
            again.seconds,
            rival.map(|rival| rival.seconds),
            "s",
        ),
        beside("started again: memory", again.resident, rival.map(|rival| rival.resident), "MiB"),
        beside("state on disk", disk, rival.map(|rival| mebibytes(rival.bytes)), "MiB"),
        alone(
            "history on disk: blocks, transactions, receipts",
            mebibytes(again.files.history),
            "MiB",
        ),
        alone("on disk for peers: blocks, certificates", mebibytes(again.files.blocks), "MiB"),
    ]
}

fn alone(what: &str, ours: f64, unit: &'static str) -> Figure {
    Figure { what: what.to_owned(), ours, rival: None, unit }
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
#[expect(clippy::as_conversions, reason = "there is no other way from u64 to f64")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
