//! A ledger of this process and what answers for it: JSON-RPC, and the worker. The same for `up`
//! and for `node`.

use anyhow::anyhow;
use consensus::Ledger;
use evidence::Archive;
use protocol::key::DeviceSecret;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::TcpListener;
use transport::Peer;

/// Less than this of free space stops a ledger, in bytes.
const FULL: u64 = 4 << 20;

/// What a worker is made from.
pub(crate) struct Work {
    /// The archive's folder.
    pub(crate) archive: PathBuf,
    /// Where HTTP is served.
    pub(crate) http: TcpListener,
    /// Other validators' HTTP.
    pub(crate) others: Vec<String>,
    /// For how many blocks evidence is kept once it can be disputed no more; for good if none is given.
    pub(crate) kept: Option<u64>,
    /// What a validator's worker has beyond that.
    pub(crate) voter: Option<Voter>,
}

/// What makes a worker a validator's.
pub(crate) struct Voter {
    /// The worker's own folder.
    pub(crate) folder: PathBuf,
    /// The key by which agents dial it over QUIC.
    pub(crate) secret: DeviceSecret,
    /// The validator's network key, which signs acceptances and batches.
    pub(crate) author: DeviceSecret,
    /// The account that announces and votes.
    pub(crate) signer: client::Signer,
}

/// A running ledger with its JSON-RPC.
#[derive(Debug)]
pub(crate) struct Served {
    ledger: consensus::Running,
    rpc: rpc::Server,
    worker: Option<validator::Running>,
    folder: PathBuf,
    /// The command that goes on after a failure.
    command: &'static str,
}

impl Served {
    /// Starts the ledger and serves its JSON-RPC. `command` is what the user runs to go on after a failure.
    pub(crate) async fn start(
        config: consensus::Config,
        rpc: SocketAddr,
        command: &'static str,
    ) -> anyhow::Result<Self> {
        let folder = config.data.clone();
        let ledger = consensus::start(config).await?;
        let rpc = rpc::serve(ledger.ledger.clone(), rpc, rpc::Limits::default()).await?;
        Ok(Self { ledger, rpc, worker: None, folder, command })
    }

    /// Starts the worker, and says where that of a validator takes evidence over QUIC.
    pub(crate) async fn work(&mut self, work: Work) -> anyhow::Result<Option<Peer>> {
        let voter = work.voter.map(|Voter { folder, secret, author, signer }| validator::Voter {
            folder,
            secret,
            author,
            signer,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            clock: Arc::new(agent::WallClock),
        });
        let worker = validator::start(validator::Config {
            ledger: self.ledger.ledger.clone(),
            rpc: self.url(),
            archive: Archive::open(&work.archive)?,
            http: work.http,
            others: work.others,
            kept: work.kept,
            voter,
        })
        .await?;
        Ok(self.worker.insert(worker).peer)
    }

    /// The ledger.
    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger.ledger
    }

    /// Where the ledger's own network listens.
    pub(crate) const fn listen(&self) -> SocketAddr {
        self.ledger.listen
    }

    /// The URL of the JSON-RPC. What listens on every address answers on this machine's own.
    pub(crate) fn url(&self) -> String {
        let mut address = self.rpc.addr();
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }

    /// Ends when the ledger fails, which it does for good: a full disk, or a fault of its own.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        let cause = match self.ledger.ended().await {
            Err(fault) => fault.to_string(),
            Ok(()) => "it was told to".into(),
        };
        let (mend, command) = (mend(&self.folder), self.command);
        anyhow!(
            "the ledger stopped ({cause}); what was acknowledged is kept; {mend}, then run `{command}` again"
        )
    }

    /// Stops every part, those that use others first.
    pub(crate) async fn stop(self) {
        if let Some(worker) = self.worker {
            worker.stop().await;
        }
        self.rpc.stop().await;
        if let Err(error) = self.ledger.stop().await {
            tracing::warn!(%error, "the ledger did not stop cleanly");
        }
    }
}

fn mend(folder: &Path) -> String {
    match storage_agent::disk::free_bytes(folder) {
        Ok(free) if free < FULL => {
            format!("the disk of {} is full: free some space", folder.display())
        }
        _ => "see `wayleave doctor`".into(),
    }
}
