//! A service from start to stop.

use crate::{
    backup::{self, BackupError, RecoverError, Recovered},
    config::Config,
    fleet::Fleet,
    index::{Index, IndexError, Stats, Writer},
    keys::{Credentials, Keyring, KeyringError},
    purse::Purse,
    rails::{KeepError, Keeper, LedgerPort, ledger::ClientLedger},
    repair::survey::Health,
    s3::Face,
    server::{ListenError, Server},
    shards::{Shards, remote::RemoteShards},
    store::{Intake, Parts, Store, Upkeep},
};
use alloy_signer_local::PrivateKeySigner;
use protocol::{Account, Micros, RailId, clock::Clock};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use storage_kind::wire;
use tokio::{sync::watch, task::JoinHandle};
use transport::{BindConfig, Endpoint};

/// The file of the index, in the service's folder.
pub const INDEX_FILE: &str = "index.redb";
/// The file of the keyring, in the service's folder.
pub const KEYRING_FILE: &str = "keyring.json";

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder could not be made.
    #[error("folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is an index and not the keyring that it was made with.
    #[error(
        "{path} is missing and the index beside it needs it: give back the file it was made with"
    )]
    NoKeyring {
        /// Where the keyring should be.
        path: PathBuf,
    },
    /// The keyring could not be opened.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The index could not be opened.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The address could not be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The way to the agents could not be opened.
    #[error(transparent)]
    Endpoint(#[from] transport::BindError),
    /// The signer did not sign the introduction to agents.
    #[error("the signer does not introduce this service: {0}")]
    Introduction(String),
    /// The system makes no thread.
    #[error("no thread for the index: {0}")]
    Thread(io::Error),
}

/// The wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The world around a service.
#[derive(Clone)]
pub struct World {
    /// The way to the agents.
    pub shards: Arc<dyn Shards>,
    /// The ledger.
    pub ledger: Arc<dyn LedgerPort>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl World {
    /// The real world: agents over the wire, the ledger through `client`, the wall clock. With a
    /// `payer` rails are opened as they are needed.
    ///
    /// # Errors
    /// [`StartError::Endpoint`], [`StartError::Introduction`].
    pub async fn real(
        config: &Config,
        keyring: &Keyring,
        client: client::Client,
        payer: Option<PrivateKeySigner>,
    ) -> Result<Self, StartError> {
        // What serves this machine alone speaks on this machine alone.
        let ip = config.listen.ip();
        let local = if ip.is_loopback() { ip } else { Ipv4Addr::UNSPECIFIED.into() };
        let mut bind = BindConfig::new(*keyring.endpoint.expose(), (local, 0).into());
        // A whole shard fits into a frame.
        bind.max_frame = wire::BODY_MAX;
        let endpoint = Endpoint::bind(bind).await?;
        let domain = protocol::voucher::domain(config.chain_id, config.rails_contract);
        let shards = RemoteShards::new(endpoint, &config.signer, &domain)
            .map_err(|error| StartError::Introduction(error.to_string()))?;
        let ledger = ClientLedger::new(client, config.network, config.signer.clone(), payer);
        Ok(Self { shards: Arc::new(shards), ledger: Arc::new(ledger), clock: Arc::new(WallClock) })
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

/// What a service is and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Objects.
    pub objects: u64,
    /// Plain bytes of objects.
    pub object_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of durable shards.
    pub shard_bytes: u64,
    /// Shards that are durable nowhere.
    pub queued: u64,
    /// Promised by voucher so far.
    pub promised: Micros,
    /// Open rails.
    pub rails: usize,
    /// Bytes in datasets that the ledger holds.
    pub frozen_bytes: u64,
    /// Rails whose dataset is not what it should be, or not frozen yet.
    pub stale_rails: usize,
    /// How healthy the segments are, once that was looked at.
    pub health: Option<Health>,
    /// Agents that leave, and bytes of shards on them that have not moved yet.
    pub leaving: (usize, u64),
    /// Changes of the index that the agents do not have: they would be lost with the service's disk.
    pub backup_behind: u64,
}

/// A service.
#[derive(Debug)]
pub struct Service;

/// A service that runs.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    credentials: Credentials,
    signer: Account,
    server: Server,
    store: Arc<Store>,
    keeper: Arc<Keeper>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Service {
    /// The keyring of a service's folder, made if the folder is new: who starts a service needs its
    /// endpoint key first. Takes some tenths of a second.
    ///
    /// # Errors
    /// [`StartError::Folder`], [`StartError::NoKeyring`], [`StartError::Keyring`].
    pub fn keyring(config: &Config) -> Result<Keyring, StartError> {
        std::fs::create_dir_all(&config.data)
            .map_err(|source| StartError::Folder { path: config.data.clone(), source })?;
        let path = config.data.join(KEYRING_FILE);
        // New keys would open nothing of what is stored.
        if config.data.join(INDEX_FILE).exists() && !path.exists() {
            return Err(StartError::NoKeyring { path });
        }
        let mut keyring = Keyring::open(&path, &config.passphrase)?;
        if let Some(credentials) = &config.credentials {
            keyring.credentials = credentials.clone();
        }
        Ok(keyring)
    }

    /// Makes the index of a service that lost its disk anew, from its keys, the ledger and the agents. `silent`
    /// agents need not answer; k if nothing is said. The lost service must not run any more.
    ///
    /// # Errors
    /// [`RecoverError`].
    pub async fn recover(
        config: &Config,
        keyring: &Keyring,
        world: &World,
        silent: Option<usize>,
    ) -> Result<Recovered, RecoverError> {
        backup::recover(config, keyring, world, silent).await
    }

    /// Opens or makes the service's folder, and starts.
    ///
    /// The first look at the ledger happens before this returns, so that the first request finds
    /// agents; if the ledger does not answer, it starts all the same and looks again.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: Config,
        keyring: Keyring,
        world: World,
    ) -> Result<Running, StartError> {
        std::fs::create_dir_all(&config.data)
            .map_err(|source| StartError::Folder { path: config.data.clone(), source })?;
        let index = Arc::new(Index::open(&config.data.join(INDEX_FILE))?);
        index.tie(&keyring.fingerprint())?;
        let writer = Writer::start(index).map_err(StartError::Thread)?;
        let domain = protocol::voucher::domain(config.chain_id, config.rails_contract);
        let signer = config.signer.address();
        let purse = Arc::new(Purse::new(config.signer, domain, config.network, writer.clone()));
        let store = Store::new(Parts {
            keys: keyring.content,
            shape: config.shape,
            limits: config.limits,
            writer,
            shards: world.shards,
            fleet: Arc::new(Fleet::default()),
            purse,
            clock: world.clock,
        });
        let keeper = Arc::new(Keeper::new(
            Arc::clone(&store),
            world.ledger,
            config.plan,
            config.chain_id,
            config.network,
        ));
        if let Err(error) = keeper.refresh().await {
            tracing::warn!(%error, "the first look at the ledger failed");
        }
        let intake = Intake::start(Arc::clone(&store));
        let face = Face::new(Arc::clone(&store), intake);
        let credentials = keyring.credentials;
        let server = Server::start(config.listen, face, &credentials, config.limits).await?;
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(keep(Arc::clone(&keeper), config.limits.refresh, stopped.clone())),
            tokio::spawn(tidy(Arc::clone(&store), Arc::clone(&keeper), stopped.clone())),
            tokio::spawn(back_up(Arc::clone(&keeper), config.limits.backup, stopped)),
        ];
        tracing::info!(address = %server.address(), %signer, "s3 service started");
        Ok(Running {
            address: server.address(),
            credentials,
            signer,
            server,
            store,
            keeper,
            stop,
            tasks,
        })
    }
}

/// Rounds of the keeper until the stop.
async fn keep(keeper: Arc<Keeper>, every: Duration, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(every) => {}
        }
        if let Err(error) = keeper.round().await {
            tracing::warn!(%error, "a round of the rails failed");
        }
    }
}

/// Backups of the index until the stop.
async fn back_up(keeper: Arc<Keeper>, every: Duration, mut stopped: watch::Receiver<bool>) {
    let mut last: Option<String> = None;
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(every) => {}
        }
        let failed = keeper.back_up().await.err();
        // A service that has no rails yet has nothing to lose.
        let failed = failed.filter(|error| !matches!(error, BackupError::Nobody));
        let now = failed.map(|error| error.to_string());
        if let Some(error) = now.as_ref().filter(|now| last.as_ref() != Some(*now)) {
            tracing::warn!(%error, "the agents do not have the newest index");
        }
        last = now;
    }
}

/// Steps of upkeep until the stop.
async fn tidy(store: Arc<Store>, keeper: Arc<Keeper>, mut stopped: watch::Receiver<bool>) {
    let every = store.limits.upkeep;
    let mut upkeep = Upkeep::new(store);
    let mut last: Option<String> = None;
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(every) => {}
        }
        let standing = keeper.standing();
        let done = async {
            // Without a look at the ledger nobody knows which rails are gone.
            if let Some(standing) = standing {
                upkeep.leave(standing).await?;
            }
            upkeep.step().await
        };
        let now = done.await.err().map(|error| error.to_string());
        if let Some(error) = now.as_ref().filter(|now| last.as_ref() != Some(*now)) {
            tracing::warn!(%error, "upkeep is held up");
        }
        last = now;
    }
}

impl Running {
    /// Where S3 clients connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The S3 endpoint as clients want it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What S3 clients sign with.
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The account that signs vouchers.
    pub const fn signer(&self) -> Account {
        self.signer
    }

    /// What the service is and did.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn snapshot(&self) -> Result<Snapshot, IndexError> {
        let (stats, rails, stale) = self
            .store
            .writer
            .read(|reader| {
                let rails = reader.rails()?;
                let mut stale = 0;
                for (id, row) in &rails {
                    let version = row.committed.map_or(0, |committed| committed.dataset.version);
                    stale += usize::from(version != row.frozen || reader.is_stale(*id)?);
                }
                Ok((reader.stats()?, rails, stale))
            })
            .await?;
        let Stats { objects, object_bytes, segments, shard_bytes, queued } = stats;
        let leaving = self.store.fleet.leaving();
        let on_them = self.keeper.counting().unwrap_or_default();
        let held = rails
            .iter()
            .filter(|(rail, _)| on_them.get(rail).is_some_and(|device| leaving.contains(device)));
        let held: u64 = held.map(|(_, row)| row.held).sum();
        let frozen = rails.iter().filter_map(|(_, row)| row.committed.filter(|_| row.frozen > 0));
        Ok(Snapshot {
            objects,
            object_bytes,
            segments,
            shard_bytes,
            queued,
            promised: self.store.purse.promised().await,
            rails: self.keeper.counting().map_or(0, |rails| rails.len()),
            frozen_bytes: frozen.map(|committed| committed.dataset.bytes).sum(),
            stale_rails: stale,
            health: self.store.health(),
            leaving: (leaving.len(), held),
            backup_behind: self.keeper.behind().await?,
        })
    }

    /// Something was not proven on these rails, by an epoch's statement: their agents are asked next for all
    /// that they should hold. Rails that are not this service's are passed over.
    pub fn suspect(&self, rails: impl IntoIterator<Item = RailId>) {
        self.keeper.suspect(rails);
    }

    /// Looks at the ledger now, commits all that changed with the agents and freezes it, without
    /// waiting for the epoch's end.
    ///
    /// # Errors
    /// The first failure; what could be done is done.
    pub async fn flush(&self) -> Result<(), KeepError> {
        self.keeper.refresh().await?;
        self.keeper.settle().await
    }

    /// Takes no more requests, lets those under way end, and closes the index. All that was
    /// acknowledged is durable long before.
    pub async fn stop(self) {
        self.server.stop().await;
        self.stop.send_replace(true);
        for task in self.tasks {
            // A step under way ends within the time of its requests.
            let _ = task.await;
        }
        if let Err(error) = self.store.purse.close().await {
            tracing::warn!(%error, "the bounds of vouchers stay raised");
        }
        if let Err(error) = self.keeper.back_up().await {
            tracing::warn!(%error, "the agents do not have the newest index");
        }
        self.store.shards.close().await;
        self.store.writer.close().await;
    }
}
