//! A service from start to stop.

use crate::{
    backup::{self, RecoverError, Recovered},
    config::Config,
    engine::{Engine, Snapshot},
    index::{Index, IndexError},
    keys::{Credentials, Keyring, KeyringError, Random, System},
    rails::{KeepError, LedgerPort, ledger::ClientLedger},
    server::{ListenError, Server},
    shards::{Shards, remote::RemoteShards},
};
use alloy_signer_local::PrivateKeySigner;
use protocol::{Account, RailId, clock::Clock};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};
use storage_kind::wire;
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
    /// Where random bytes come from.
    pub random: Arc<dyn Random>,
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
        Ok(Self {
            shards: Arc::new(shards),
            ledger: Arc::new(ledger),
            clock: Arc::new(WallClock),
            random: Arc::new(System),
        })
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
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
    engine: Engine,
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
        let index = Index::open(&config.data.join(INDEX_FILE))?;
        let (listen, limits, signer) = (config.listen, config.limits, config.signer.address());
        let engine = Engine::start(config, &keyring, index, world).await?;
        let credentials = keyring.credentials;
        let server = Server::start(listen, engine.face(), &credentials, limits).await?;
        tracing::info!(address = %server.address(), %signer, "s3 service started");
        Ok(Running { address: server.address(), credentials, signer, server, engine })
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
        self.engine.snapshot().await
    }

    /// See [`Engine::suspect`].
    pub fn suspect(&self, rails: impl IntoIterator<Item = RailId>) {
        self.engine.suspect(rails);
    }

    /// See [`Engine::flush`].
    ///
    /// # Errors
    /// The first failure; what could be done is done.
    pub async fn flush(&self) -> Result<(), KeepError> {
        self.engine.flush().await
    }

    /// Takes no more requests, lets those under way end, and closes the index. All that was
    /// acknowledged is durable long before.
    pub async fn stop(self) {
        self.server.stop().await;
        self.engine.stop().await;
    }
}
