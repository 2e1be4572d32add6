//! Starting and stopping a storage agent: configuration, wiring, nothing else.

use crate::{
    chain::Chain,
    core::tend,
    counters::{Counters, Service},
    desk::{Desk, Settings, Work},
    disk::Folder,
    hardware::Hardware,
    store::{Drain, Store, StoreError, Usage},
};
use agent::{Ledger, Remote, Validator, WallClock, World};
use client::{Client, RpcError, light::Light};
use protocol::{DeviceId, NetworkId, clock::Clock, disk::DiskError, key::DeviceSecret};
use serde::Serialize;
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use storage_kind::{Storage, wire};
use tokio::task::JoinSet;
use transport::{BindConfig, BindError, Endpoint, Peer};

/// How often tabs are made durable.
const FLUSH_PAUSE: Duration = Duration::from_secs(1);
/// The index's file in the data folder.
const INDEX: &str = "index.redb";
/// The runtime's journal in the data folder.
const JOURNAL: &str = "agent.redb";

/// What a storage agent is made from.
#[derive(Clone)]
pub struct Config {
    /// The network it serves.
    pub network: NetworkId,
    /// The ledger's JSON-RPC endpoint, `http://host:port`.
    pub ledger: String,
    /// The validators to whom evidence is given. At least one.
    pub validators: Vec<Validator>,
    /// The folder of everything it keeps.
    pub data: PathBuf,
    /// Bytes that it offers.
    pub capacity: u64,
    /// The device's key.
    pub secret: DeviceSecret,
    /// Where it listens for services; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where others dial it (`host:port`), if that is not where it listens.
    pub announce: Option<String>,
    /// Whether losses are looked for before each window and declared. Who turns this off risks stake.
    pub declare_losses: bool,
    /// Bytes that a rail may be delivered unpaid.
    pub credit: u64,
    /// After how many heights an accepted envelope must have been seen in a block, or it is given to
    /// another validator.
    pub patience: u64,
    /// Whether the device leaves from now on: what it holds it keeps and proves until that was taken over
    /// by others, nothing new is taken. Without a word it is as it was when it ran last.
    pub leaving: Option<bool>,
    /// What is trusted of the ledger: then its endpoint is believed in nothing that it does not prove.
    /// Without it the endpoint is one's own.
    pub light: Option<Light>,
}

impl Config {
    /// A configuration with everything that has a default at it. The listed ones are still to be
    /// chosen; validators are to be added.
    pub fn new(network: NetworkId, ledger: String, data: PathBuf, secret: DeviceSecret) -> Self {
        Self {
            network,
            ledger,
            validators: Vec::new(),
            data,
            capacity: 1 << 30,
            secret,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            announce: None,
            declare_losses: true,
            credit: wire::SHARD_MAX,
            patience: 4,
            light: None,
            leaving: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("network", &self.network)
            .field("ledger", &self.ledger)
            .field("data", &self.data)
            .field("capacity", &self.capacity)
            .field("device", &self.secret.id())
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// Why a storage agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made.
    #[error("failed to make {path}: {source}")]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] RpcError),
    /// The address to listen on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The protocol cannot be served.
    #[error(transparent)]
    Serve(#[from] transport::ServeError),
    /// A validator's URL.
    #[error(transparent)]
    Validators(#[from] agent::http::HttpError),
    /// The runtime.
    #[error(transparent)]
    Agent(#[from] agent::StartError),
    /// The system makes no thread.
    #[error("no thread to write shards: {0}")]
    Thread(std::io::Error),
}

/// What a storage agent did and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// The runtime: epochs, proofs, reports.
    pub agent: agent::Metrics,
    /// What is stored.
    pub usage: Usage,
    /// What was done for services.
    pub service: Service,
}

/// The storage agent.
#[derive(Clone, Copy, Debug)]
pub struct StorageAgent;

impl StorageAgent {
    /// Starts an agent, which goes on where it stopped.
    ///
    /// # Errors
    /// [`StartError`] names what is in the way.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let client = Client::connect(&config.ledger).await?;
        let client = Arc::new(match &config.light {
            Some(light) => client.trusting(light.clone())?,
            None => client,
        });
        let chain_id = client.chain_id();
        let rails = client::address::RAILS;
        let edge = Edge {
            ledger: Arc::<Client>::clone(&client),
            chain: client,
            clock: Arc::new(WallClock),
            chain_id,
            rails,
        };
        start_with(config, edge).await
    }
}

/// The world of an agent, for starting it in one that tests play.
#[derive(Clone)]
pub struct Edge {
    /// The ledger as every agent needs it.
    pub ledger: Arc<dyn Ledger>,
    /// The ledger as a storage agent needs it.
    pub chain: Arc<dyn Chain>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The chain's id.
    pub chain_id: u64,
    /// The address of the rails contract.
    pub rails: protocol::Account,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").field("chain_id", &self.chain_id).finish_non_exhaustive()
    }
}

/// Starts an agent in `edge`.
///
/// # Errors
/// As [`StorageAgent::start`].
pub async fn start_with(config: Config, edge: Edge) -> Result<Running, StartError> {
    let device = config.secret.id();
    let store = Arc::new(open(&config.data, config.capacity, config.leaving).await?);
    let hardware = Arc::new(Hardware::new(Arc::clone(&store), device));
    let counters = Arc::new(Counters::default());
    let settings = Settings {
        network: config.network,
        chain_id: edge.chain_id,
        rails: edge.rails,
        credit: config.credit,
    };
    let (work, writing) = Work::threads(&store).map_err(StartError::Thread)?;
    let desk = Desk::new(
        settings,
        config.secret.clone(),
        (Arc::clone(&store), Arc::clone(&hardware)),
        (edge.chain, Arc::clone(&counters)),
        work,
    );
    let mut bind = BindConfig::new(config.secret.seed(), config.listen).alpn(wire::ALPN);
    bind.max_frame = wire::BODY_MAX;
    let endpoint = Endpoint::bind(bind).await?;
    endpoint.serve(wire::ALPN, Arc::new(desk))?;

    let remote = Remote::new(edge.chain_id, endpoint.clone(), &config.validators)?;
    let runtime = agent::Config {
        network: config.network,
        secret: config.secret,
        journal: config.data.join(JOURNAL),
        patience: config.patience,
        declare_losses: config.declare_losses,
    };
    let world = World {
        ledger: edge.ledger,
        validators: Arc::new(remote),
        clock: edge.clock,
        kind: Arc::new(Storage),
        hardware,
    };
    let agent = agent::start(runtime, world).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(flush(Arc::clone(&store), Arc::clone(&counters), device));
    tracing::info!(%device, addr = %endpoint.addr(), "storage agent is up");
    let announce = config.announce;
    Ok(Running { agent, endpoint, store, counters, tasks, writing, announce })
}

async fn open(data: &Path, capacity: u64, leaving: Option<bool>) -> Result<Store, StartError> {
    let data = data.to_owned();
    let opening = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&data)
            .map_err(|source| StartError::Data { path: data.clone(), source })?;
        let disk = Arc::new(Folder::open(&data)?);
        let store = Store::open(&data.join(INDEX), disk, capacity)?;
        if let Some(leaving) = leaving.filter(|leaving| *leaving != store.is_leaving()) {
            store.leave(leaving)?;
        }
        Ok(store)
    });
    opening.await.unwrap_or_else(|error| {
        Err(DiskError::Io { name: INDEX.into(), source: std::io::Error::other(error) }.into())
    })
}

/// Opens the index again if it failed, makes tabs durable, and gives the figures to the process's metrics recorder.
async fn flush(store: Arc<Store>, counters: Arc<Counters>, device: DeviceId) {
    let label: String = device.0[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    loop {
        tokio::time::sleep(FLUSH_PAUSE).await;
        counters.publish(store.usage(), store.is_leaving(), &label);
        let store = Arc::clone(&store);
        match tokio::task::spawn_blocking(move || tend(&store)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "vouchers cannot be kept"),
            Err(error) => tracing::error!(%error, "keeping vouchers panicked"),
        }
    }
}

/// A storage agent at work. Dropping it stops it at once, which is as safe as a crash.
#[derive(Debug)]
pub struct Running {
    agent: agent::Running,
    endpoint: Endpoint,
    store: Arc<Store>,
    counters: Arc<Counters>,
    tasks: JoinSet<()>,
    writing: JoinHandle<()>,
    announce: Option<String>,
}

impl Running {
    /// The device.
    pub const fn device_id(&self) -> DeviceId {
        self.agent.device()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.endpoint.addr()
    }

    /// Its key and where it listens.
    pub fn peer(&self) -> Peer {
        self.endpoint.peer()
    }

    /// What is to be announced on the ledger, `host:port`.
    pub fn endpoint(&self) -> String {
        self.announce.clone().unwrap_or_else(|| self.addr().to_string())
    }

    /// What it did and holds.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            agent: self.agent.metrics(),
            usage: self.store.usage(),
            service: self.counters.read(),
        }
    }

    /// What is still here, if the device leaves.
    pub fn drain(&self) -> Option<Drain> {
        self.store.drain(self.agent.metrics().epoch)
    }

    /// Follows what the runtime does.
    pub fn watch(&self) -> tokio::sync::watch::Receiver<agent::Metrics> {
        self.agent.watch()
    }

    /// Takes no more requests, lets those under way finish, and stops.
    pub async fn stop(mut self) {
        self.endpoint.close().await;
        self.agent.stop().await;
        self.tasks.shutdown().await;
        let (store, writing) = (self.store, self.writing);
        let last = move || {
            // The desk is gone with the endpoint, so the thread ends.
            if writing.join().is_err() {
                tracing::error!("the thread that writes shards panicked");
            }
            store.flush()
        };
        match tokio::task::spawn_blocking(last).await {
            Ok(Ok(())) => {}
            outcome => tracing::error!(?outcome, "vouchers cannot be kept"),
        }
    }
}
