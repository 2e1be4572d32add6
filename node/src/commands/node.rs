//! `wayleave node`: one node of a ledger that several people run, until it is stopped.
//!
//! A node may be started before the others are there: it says whom it cannot reach and goes on trying. What
//! it is in is told from outside alone, by the age of its last block, what it knows to be final, and how many
//! peers it has ([`State::of`]).

use super::{elsewhere, init};
use crate::{
    cli::{self, Role},
    devnet::accounts,
    home::Home,
    keys::{KeyFiles, Seat},
    metrics::{self, Glance, Sources},
    out, ports,
    served::{Served, Voter, Work},
    show::{self, Show},
    stop, units,
};
use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use anyhow::Context as _;
use consensus::{Genesis, Ledger};
use serde::Serialize;
use serde_json::json;
use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpListener;

/// What to run again after a failure.
const COMMAND: &str = "wayleave node";
/// How often the node looks at itself.
const LOOK: Duration = Duration::from_secs(1);
/// When it first says that it is joining.
const SOON: Duration = Duration::from_secs(2);
/// How often it says that it still is.
const AGAIN: Duration = Duration::from_secs(10);
/// How often it says the same again in a log, in looks.
const REMIND: u32 = 30;
/// A last block older than this and [`PACES`] paces means that the node lags or that no blocks are made.
const AGE: Duration = Duration::from_secs(10);
/// See [`AGE`].
const PACES: u32 = 20;
/// Final blocks on their way into the state do not count as lagging.
const ON_THE_WAY: u64 = 8;

/// Starts the node and shows how it is until Ctrl-C.
pub(crate) async fn run(arguments: cli::Node, json: bool) -> anyhow::Result<()> {
    let genesis = init::read(&arguments.genesis)?;
    let files = KeyFiles::new(&arguments.dir);
    let (seat, account) = open(&arguments, &files).await?;
    accounts::refuse_outside_devnet(account.address(), genesis.chain_id)?;
    let home = Home::node(&arguments.dir);
    home.create().with_context(|| format!("using {}", home.path().display()))?;
    let lock = home.lock()?;
    let ports = Ports::open(&arguments).await?;
    let show = Show::new(json);
    let digest = genesis.digest();
    // One that ran before compares the file with its own folder.
    if !home.ledger().exists() {
        let others = named(&arguments);
        elsewhere::check(&others, (&arguments.genesis, digest)).await?;
    }
    let config = config(&arguments, &home, &seat, genesis)?;
    let peers = others(&config);
    let recorder = metrics::recorder()?;
    let joined = join(config, ports.rpc, show).await.with_context(|| {
        format!("starting on {} with {}", home.path().display(), arguments.genesis.display())
    })?;
    let Some(served) = joined else { return Ok(()) };
    if let Some(listener) = ports.metrics {
        let ledger = Some(served.ledger().clone());
        metrics::serve_on(listener, Sources { recorder, ledger, s3: None });
    }
    let mut node = Node { arguments, peers, served, show, work: None, last: None };
    node.introduce(digest, ports.http.local_addr()?);
    let votes = matches!(node.arguments.role, Role::Validator);
    let voter = Voter {
        folder: home.validator(),
        secret: seat.evidence(),
        author: seat.consensus().author(),
        signer: account,
    };
    let keeps_all = matches!(node.arguments.role, Role::Archive);
    let kept = units::blocks(node.arguments.keep_evidence, node.arguments.pace);
    node.work = Some(Work {
        archive: home.archive(),
        http: ports.http,
        others: named(&node.arguments),
        kept: (!keeps_all).then_some(kept),
        voter: votes.then_some(voter),
    });
    let result = Box::pin(node.live()).await;
    show.stopping("stopping; the same command goes on from here");
    node.served.stop().await;
    drop(lock);
    result
}

/// Opens both keystores, beside each other, as each takes a while by design.
async fn open(arguments: &cli::Node, files: &KeyFiles) -> anyhow::Result<(Seat, PrivateKeySigner)> {
    let passphrase = arguments.passphrase.read()?;
    let (seats, accounts) = (files.clone(), files.account());
    let other = passphrase.clone();
    let seat = tokio::task::spawn_blocking(move || seats.open(&other));
    let account = tokio::task::spawn_blocking(move || super::key::open(&accounts, &passphrase));
    // The seat's error is the one that says what to do in an empty folder.
    let seat = seat.await??;
    Ok((seat, account.await??))
}

/// Starts the ledger, which may have to fetch its state from others first; nothing if the user stops it.
async fn join(
    config: consensus::Config,
    rpc: SocketAddr,
    show: Show,
) -> anyhow::Result<Option<Served>> {
    let began = tokio::time::Instant::now();
    let digest = config.genesis.digest();
    let start = Served::start(config, rpc, COMMAND);
    let stop = stop::asked();
    tokio::pin!(start, stop);
    let mut patience = tokio::time::interval_at(began + SOON, AGAIN);
    loop {
        tokio::select! {
            served = &mut start => return served.map(Some),
            result = &mut stop => {
                show.stopping("stopping; the same command goes on from here");
                return result.map(|()| None);
            }
            _ = patience.tick() => {
                let text = format!(
                    "asking peers how the ledger stands, and fetching what is missing; {} s so far. If none answers: do they run, do they have the genesis file of digest {digest}, and do they know this node?",
                    began.elapsed().as_secs()
                );
                show.event("joining", &text);
            }
        }
    }
}

/// Other nodes by name, for people: those of the command line by address, those of the genesis by key.
fn others(config: &consensus::Config) -> Vec<String> {
    let own = config.keys.network_key();
    let told = |key: &[u8; 32]| config.peers.iter().any(|peer| peer.key == *key);
    let seats = config.genesis.validators.iter().map(|validator| validator.key);
    let first = seats.filter(|key| key.0 != own && !told(&key.0)).map(|key| units::short(&key));
    config.peers.iter().map(|peer| peer.address.to_string()).chain(first).collect()
}

fn config(
    arguments: &cli::Node,
    home: &Home,
    seat: &Seat,
    genesis: Genesis,
) -> anyhow::Result<consensus::Config> {
    let keys = seat.consensus();
    let own = keys.network_key();
    // Who is told of nobody begins with the genesis, and is told by the ledger from then on.
    let first = arguments.bootstrap.is_empty() && !home.ledger().exists();
    let known = if first { init::peers(&genesis)? } else { arguments.bootstrap.clone() };
    let mut config = consensus::Config::new(home.ledger(), arguments.listen, keys, genesis);
    // One list of all nodes serves every one of them.
    config.peers = known.into_iter().filter(|peer| peer.key != own).collect();
    config.pace = arguments.pace;
    config.trust = arguments.trust;
    config.role = match arguments.role {
        Role::Validator => consensus::Role::Validator,
        Role::Observer => consensus::Role::Observer,
        Role::Archive => consensus::Role::Archive,
    };
    Ok(config)
}

/// The HTTP of others: one list of all machines serves every one of them.
fn named(arguments: &cli::Node) -> Vec<String> {
    let own = format!("http://{}", arguments.http);
    let urls = arguments.others.iter();
    urls.filter(|url| url.trim_end_matches('/') != own).cloned().collect()
}

/// The listeners of a node, opened before anything else starts.
struct Ports {
    rpc: SocketAddr,
    http: TcpListener,
    metrics: Option<TcpListener>,
}

impl Ports {
    async fn open(arguments: &cli::Node) -> anyhow::Result<Self> {
        ports::probe(arguments.listen, "--listen").await?;
        let rpc = ports::probe(arguments.rpc, "--rpc").await?;
        let http = ports::open(arguments.http, "--http").await?;
        let metrics = match arguments.metrics {
            Some(address) => Some(ports::open(address, "--metrics").await?),
            None => None,
        };
        Ok(Self { rpc, http, metrics })
    }
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// No other node is connected.
    Alone,
    /// It knows of final blocks that it has not applied.
    Syncing,
    /// It knows of none, and none was made for a while.
    Waiting,
    /// It is where the ledger is.
    Serving,
}

impl State {
    /// What the figures mean; `age` is that of the last block.
    fn of(figures: &Figures, age: Duration, pace: Duration) -> Self {
        let lags = figures.of > figures.height.saturating_add(ON_THE_WAY);
        if figures.peers == 0 && figures.others {
            Self::Alone
        } else if figures.height > 0 && !lags && age <= AGE + PACES * pace {
            Self::Serving
        } else if lags {
            Self::Syncing
        } else {
            Self::Waiting
        }
    }
}

/// What a node shows of itself.
#[derive(Clone, Debug, Serialize)]
struct Figures {
    state: State,
    /// The last block applied.
    height: u64,
    /// The last block known to be final.
    of: u64,
    epoch: u64,
    term: u64,
    /// Nodes connected.
    peers: u64,
    /// Whether the ledger has other nodes.
    #[serde(skip)]
    others: bool,
    /// Transactions that wait for a block.
    waiting: usize,
}

impl show::Figures for Figures {
    fn line(&self, columns: usize) -> String {
        let Self { height, of, epoch, term, peers, waiting, .. } = self;
        let text = match self.state {
            State::Syncing => format!("syncing: height {height} of {of}, peers {peers}"),
            _ => format!(
                "block {height} | epoch {epoch} | term {term} | peers {peers} | waiting {waiting}"
            ),
        };
        text.chars().take(columns).collect()
    }
}

/// A running node.
struct Node {
    arguments: cli::Node,
    /// The other nodes that it was told of.
    peers: Vec<String>,
    served: Served,
    show: Show,
    /// What the worker is made from, until it runs.
    work: Option<Work>,
    last: Option<Figures>,
}

impl Node {
    /// Says what runs and where it answers.
    fn introduce(&self, digest: B256, http: SocketAddr) {
        let ledger = self.served.ledger();
        let (rpc, listen, role) = (self.served.url(), self.served.listen(), self.role());
        let (chain_id, genesis) = (ledger.chain_id(), ledger.genesis_hash());
        let (http, dir) = (format!("http://{http}"), &self.arguments.dir);
        let metrics = self.arguments.metrics.map(|at| format!("http://{at}/metrics"));
        if self.show == Show::Json {
            out::json_line(&json!({
                "role": role, "chainId": chain_id, "digest": digest, "genesis": genesis,
                "rpc": rpc, "http": http, "listen": listen, "metrics": metrics, "dir": dir,
            }));
            return;
        }
        let version = env!("CARGO_PKG_VERSION");
        out::line(format!("Wayleave {version} - {role} of ledger {chain_id}"));
        let fact = |name: &str, value: String| Some((name.to_owned(), value));
        let rows = [
            fact("Genesis file", format!("{digest}")),
            fact("Other nodes", listen.to_string()),
            fact("Ledger (JSON-RPC)", rpc),
            fact("Evidence, statements", http),
            metrics.and_then(|url| fact("Metrics", url)),
            fact("Pace", format!("a block every {}", units::time(self.arguments.pace))),
            fact("All state", dir.display().to_string()),
        ];
        out::table(&rows.into_iter().flatten().collect::<Vec<_>>());
    }

    const fn role(&self) -> &'static str {
        match self.arguments.role {
            Role::Validator => "validator",
            Role::Observer => "observer",
            Role::Archive => "archive",
        }
    }

    /// Looks at the node until the user stops it or the ledger fails.
    async fn live(&mut self) -> anyhow::Result<()> {
        let stop = stop::asked();
        tokio::pin!(stop);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut same = 0u32;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                result = &mut stop => return result,
                error = self.served.failed() => return Err(error),
            }
            let figures = match self.figures().await {
                Ok(figures) => figures,
                // The next look meets the failure itself.
                Err(error) => {
                    tracing::debug!(%error, "the figures could not be read");
                    continue;
                }
            };
            let before = self.last.as_ref().map(|last| (last.state, last.epoch));
            let changed = before.map(|(state, _)| state) != Some(figures.state);
            if changed {
                self.enter(&figures).await?;
            }
            same = if changed { 0 } else { same.wrapping_add(1) };
            let epoch = before.map(|(_, epoch)| epoch) != Some(figures.epoch);
            let remind = figures.state == State::Syncing && same.is_multiple_of(REMIND);
            self.show.figures(&figures, (epoch && !changed) || (remind && same > 0));
            self.last = Some(figures);
        }
    }

    /// Says what the node has come to, and starts its worker as soon as it is in step.
    async fn enter(&mut self, figures: &Figures) -> anyhow::Result<()> {
        let Figures { height, of, peers, .. } = figures;
        match figures.state {
            State::Alone => {
                let text = format!(
                    "no peer reachable, tried {}; do they run, do they have this genesis file, do they know this node and see it come from the address in its card, does another node run with its key, and do firewalls let TCP to {} through?",
                    self.peers.join(", "),
                    self.served.listen()
                );
                self.show.event("alone", &text);
            }
            State::Syncing => {
                self.show.event("syncing", &format!("height {height} of {of}, peers {peers}"));
            }
            State::Waiting => {
                let text = format!(
                    "no new block after {height}, peers {peers}: blocks need more than two thirds of the seats"
                );
                self.show.event("waiting", &text);
            }
            State::Serving => {
                if let Some(work) = self.work.take() {
                    Box::pin(self.served.work(work)).await.context("starting the worker")?;
                }
                let (url, role) = (self.served.url(), self.role());
                let text = format!("{role} at height {height}, JSON-RPC at {url}, peers {peers}");
                self.show.event("serving", &text);
            }
        }
        Ok(())
    }

    async fn figures(&self) -> anyhow::Result<Figures> {
        let ledger: &Ledger = self.served.ledger();
        let head = ledger.head();
        let Glance { peers, finalized } = metrics::glance(&ledger.metrics().await?);
        let genesis = ledger.genesis();
        let height = head.height();
        let mut figures = Figures {
            state: State::Waiting,
            height,
            of: finalized.max(height),
            epoch: height / genesis.epoch_length.max(1),
            term: height / genesis.term_length.max(1),
            peers,
            others: !self.peers.is_empty(),
            waiting: ledger.load().0,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_millis(head.header.timestamp_ms));
        figures.state = State::of(&figures, age, self.arguments.pace);
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use show::Figures as _;

    #[test]
    fn what_a_node_is_in_follows_from_its_figures() {
        let pace = Duration::from_millis(500);
        let base = Figures {
            state: State::Waiting,
            height: 100,
            of: 101,
            epoch: 3,
            term: 1,
            peers: 3,
            others: true,
            waiting: 0,
        };
        let new = Duration::from_secs(1);
        let old = Duration::from_secs(600);
        let state = |figures: &Figures, age| State::of(figures, age, pace);
        assert_eq!(state(&base, new), State::Serving);
        assert_eq!(state(&base, old), State::Waiting);
        let alone = Figures { peers: 0, ..base.clone() };
        assert_eq!((state(&alone, new), state(&alone, old)), (State::Alone, State::Alone));
        let only = Figures { others: false, ..alone };
        assert_eq!((state(&only, new), state(&only, old)), (State::Serving, State::Waiting));
        let late = Figures { of: 500, ..base.clone() };
        assert_eq!((state(&late, new), state(&late, old)), (State::Syncing, State::Syncing));
        // A new genesis is no block that others agreed on.
        let first = Figures { height: 0, of: 0, ..base.clone() };
        assert_eq!(state(&first, new), State::Waiting);
        let syncing = Figures { state: State::Syncing, ..late };
        assert_eq!(syncing.line(80), "syncing: height 100 of 500, peers 3");
        assert_eq!(base.line(9), "block 100");
    }
}
