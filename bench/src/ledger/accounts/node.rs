//! Nodes as processes of the program.

use super::{Standing, files::Files};
use crate::{ledger::cpu, memory};
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, ensure};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// The passphrase of all keystores.
const PASSPHRASE: (&str, &str) = ("WAYLEAVE_PASSPHRASE", "bench");
/// Coins of each sender.
const COINS: u64 = 1_000_000_000_000_000;

/// Ports below those that Linux gives to outgoing connections: nodes that are told of one another dial before
/// the other listens, and nobody may have a port by then.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Free ports.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let first = PORTS.start + u16::try_from(std::process::id() % 1_000)? * 10;
    let ports = (first..PORTS.end).chain(PORTS).filter(|port| {
        let listener = TcpListener::bind(("127.0.0.1", *port));
        listener.is_ok()
    });
    let found: Vec<u16> = ports.take(N).collect();
    <[u16; N]>::try_from(found).ok().context("no port is free")
}

/// A node's folder with its keys, and where it listens.
#[derive(Debug)]
pub(super) struct Keys {
    folder: PathBuf,
    key: String,
    /// For other nodes, JSON-RPC and HTTP.
    ports: [u16; 3],
}

impl Keys {
    /// Makes the keys of two nodes, in folders of these names.
    pub(super) async fn pair(
        program: &Path,
        folder: &Path,
        names: [&str; 2],
    ) -> anyhow::Result<(Self, Self)> {
        let [a, b, c, d, e, f] = free_ports()?;
        let [first, second] = names.map(|name| folder.join(name));
        tokio::try_join!(
            Self::make(program, first, [a, b, c]),
            Self::make(program, second, [d, e, f])
        )
    }

    /// Makes the keys.
    async fn make(program: &Path, folder: PathBuf, ports: [u16; 3]) -> anyhow::Result<Self> {
        let endpoint = format!("127.0.0.1:{}", ports[0]);
        let mut command = Command::new(program);
        command.args(["init", "key", "--endpoint", &endpoint, "--dir"]);
        succeed(command.arg(&folder)).await?;
        let card: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("card.json"))?)?;
        let key = card["key"].as_str().context("a card has a key")?.to_owned();
        Ok(Self { folder, key, ports })
    }

    /// Where it listens for other nodes.
    pub(super) const fn listen(&self) -> u16 {
        self.ports[0]
    }

    /// How it is named to another that reaches it at `port`.
    pub(super) fn at(&self, port: u16) -> String {
        format!("{}@127.0.0.1:{port}", self.key)
    }
}

/// Makes the genesis of a ledger with one validator.
pub(super) async fn found(
    program: &Path,
    validator: &Keys,
    (chain, senders): (u64, &[PrivateKeySigner]),
    genesis: &Path,
) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(["init", "genesis", "--chain-id", &chain.to_string(), "--card"]);
    command.arg(validator.folder.join("card.json")).arg("--out").arg(genesis);
    for sender in senders {
        command.args(["--allocate", &format!("{}={COINS}", sender.address())]);
    }
    succeed(&mut command).await
}

/// Runs a command to its end.
async fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let done = command.env(PASSPHRASE.0, PASSPHRASE.1).output().await?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    child: Child,
    began: Instant,
    folder: PathBuf,
    rpc: u16,
}

impl Node {
    /// Starts it.
    pub(super) async fn start(
        program: &Path,
        keys: &Keys,
        arguments: &[&str],
        (genesis, peers): (&Path, &[String]),
    ) -> anyhow::Result<Self> {
        let [listen, rpc, http] = keys.ports.map(|port| format!("127.0.0.1:{port}"));
        let mut command = Command::new(program);
        command.arg("node").args(arguments).arg("--genesis").arg(genesis);
        command.arg("--dir").arg(&keys.folder);
        command.args(["--listen", &listen, "--rpc", &rpc, "--http", &http]);
        for peer in peers {
            command.args(["--bootstrap", peer]);
        }
        command.env(PASSPHRASE.0, PASSPHRASE.1).stdout(Stdio::null()).kill_on_drop(true);
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { child, began, folder: keys.folder.clone(), rpc: keys.ports[1] })
    }

    /// The port of its JSON-RPC.
    pub(super) const fn rpc(&self) -> u16 {
        self.rpc
    }

    /// How long ago it was started.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Seconds that it has computed.
    pub(super) fn computed(&self) -> anyhow::Result<f64> {
        cpu::process(self.id()?)
    }

    /// How it stands, with the `seconds` that something took.
    pub(super) fn standing(&self, seconds: f64) -> anyhow::Result<Standing> {
        let id = self.id()?;
        let (resident, peak) = (memory::resident(id)?, memory::peak(id)?);
        Ok(Standing { seconds, resident, peak, files: Files::of(&self.folder)? })
    }

    /// Asks it to end, as Ctrl-C does, and waits for it.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        interrupt(&mut self.child).await
    }

    fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the node ended")
    }
}

/// Asks a process to end, as Ctrl-C does, and waits for it.
pub(super) async fn interrupt(child: &mut Child) -> anyhow::Result<()> {
    let id = child.id().context("the process ended")?;
    let asked = Command::new("kill").args(["-INT", &id.to_string()]).status().await?;
    ensure!(asked.success(), "process {id} cannot be asked to end");
    let status = child.wait().await?;
    ensure!(status.success(), "process {id} ended with {status}");
    Ok(())
}
