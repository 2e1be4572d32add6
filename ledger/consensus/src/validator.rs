//! Starting and stopping a validator inside a larger program.
//!
//! commonware's tokio runtime owns its threads, so it runs on one of its own ("ledger"), and the
//! caller's runtime talks to it through the [`Ledger`] handle. A data folder belongs to one process at
//! a time (`ledger.lock`), holds everything of the ledger, and survives kill -9 at any moment:
//!
//! ```text
//! DATA/ledger.lock     held while the ledger runs
//! DATA/history.redb    blocks, receipts, indexes, undo log
//! DATA/engine/         state, votes, certificates, blocks for peers
//! ```

use crate::{
    application::{Shared, Slot},
    committee::ValidatorKeys,
    committees::Committees,
    engine::{self, EngineError, Runtime, Served, Settings},
    faults::Faults,
    genesis::{Genesis, GenesisError},
    history::{Finalized, History, HistoryError, Retention, Session},
    join::{self, JoinError, Role, Trusted},
    latest::Latest,
    ledger::{Inner, Ledger},
    mempool::Limits,
    network::Peer,
    outcome::Outcomes,
    query,
    queues::Queues,
    recovery::Recovery,
    rules::Chain,
};
use commonware_runtime::{Runner as _, tokio as runtime};
use std::{
    fs::{File, TryLockError},
    io,
    net::{SocketAddr, TcpListener},
    num::{NonZeroU64, NonZeroUsize},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::{oneshot, watch};

/// Threads of the ledger's runtime.
const THREADS: usize = 2;
/// Stack of each of its threads: the engine's start is one deep future. Pages are used as needed.
const STACK_BYTES: usize = 16 * 1024 * 1024;
/// Threads that may wait for the disk or execute calls.
const BLOCKING_THREADS: usize = 64;

/// Least time between two blocks unless the configuration says otherwise.
const PACE: Duration = Duration::from_millis(500);
/// How long blobs are kept once they cannot be disputed any more.
const BLOBS_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// The most blocks of that time at the usual pace.
fn blocks_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / PACE.as_millis()).unwrap_or(u64::MAX)
}

/// How to run a validator.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder for everything of the ledger; made if missing.
    pub data: PathBuf,
    /// Where the validators' network listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Other nodes and where they listen, whatever the ledger says of them: those to begin with, and those
    /// who have no seat.
    pub peers: Vec<Peer>,
    /// Our keys: they vote in every term in which they have a seat, and name this node to others.
    pub keys: ValidatorKeys,
    /// Least time between two blocks.
    pub pace: Duration,
    /// What the ledger begins with.
    pub genesis: Genesis,
    /// Bounds of the pool of transactions.
    pub limits: Limits,
    /// How much of the past is kept.
    pub retention: Retention,
    /// Final blocks kept for peers that lag. An archive keeps all.
    pub blocks_served: usize,
    /// What the node does for the ledger.
    pub role: Role,
    /// A block that others vouch for: a node that joins by fetching the state begins its proof there instead
    /// of at genesis.
    pub trust: Option<Trusted>,
    /// Most blocks that a fresh node replays: of a longer ledger it fetches the state. An archive always
    /// replays.
    pub replay_blocks: u64,
}

impl Config {
    /// A single validator with default bounds and a block every 500 ms. It keeps blobs for as long as
    /// evidence can be disputed, and 30 days (design 5).
    pub fn new(data: PathBuf, listen: SocketAddr, keys: ValidatorKeys, genesis: Genesis) -> Self {
        let blobs = genesis.dispute_blocks().saturating_add(blocks_of(BLOBS_KEPT));
        Self {
            data,
            listen,
            peers: Vec::new(),
            keys,
            pace: PACE,
            genesis,
            limits: Limits::default(),
            retention: Retention { blobs: Some(blobs), ..Retention::default() },
            blocks_served: 4_096,
            role: Role::default(),
            trust: None,
            replay_blocks: 1_024,
        }
    }

    /// How much of the past this node keeps, in its role.
    pub(crate) const fn kept(&self) -> Retention {
        match self.role {
            Role::Archive => Retention { undo: self.retention.undo, blobs: None },
            _ => self.retention,
        }
    }
}

/// Why a validator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The genesis file is no good.
    #[error("bad genesis: {0}")]
    Genesis(#[from] GenesisError),
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process, or another ledger of this one, runs on the folder.
    #[error("the data folder {} is in use by another process: stop it or use another folder", .0.display())]
    Locked(PathBuf),
    /// Nothing can listen on the address.
    #[error("cannot listen on {address}: {error}")]
    Port {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The history file cannot be used; it names another genesis if the data belongs to another ledger.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The node could not join the ledger.
    #[error(transparent)]
    Join(JoinError),
    /// The engine did not start.
    #[error("the ledger did not start: {0}")]
    Engine(String),
}

/// How a ledger ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger failed: {0}")]
pub struct Fault(pub String);

/// A validator that runs.
#[derive(Debug)]
pub struct Running {
    /// The handle for everything else.
    pub ledger: Ledger,
    /// Where the validators' network listens.
    pub listen: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    ended: watch::Receiver<Option<Result<(), Fault>>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Ends the ledger and waits until its files are closed.
    ///
    /// # Errors
    /// It had failed before.
    pub async fn stop(mut self) -> Result<(), Fault> {
        drop(self.stop.take());
        let result = self.ended().await;
        if let Some(thread) = self.thread.take() {
            // It has said its last word, so this does not wait.
            drop(thread.join());
        }
        result
    }

    /// Waits until the ledger has ended, stopped or failed.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn ended(&mut self) -> Result<(), Fault> {
        match self.ended.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err(Fault("its thread vanished".to_owned())),
        }
    }
}

/// Starts a validator and waits until its state can be read.
///
/// # Errors
/// Why it did not start; nothing runs then.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let committee = Arc::new(config.genesis.check()?);
    let mut session = lock(&config.data)?;
    let listen = free_address(config.listen)?;
    let file = config.data.join("history.redb");
    let history = History::open(&file, config.genesis.digest(), config.kept())?;
    if session.went_down() {
        tracing::info!("the machine went down with the history open: checking all of it");
        history.check(&file)?;
    }
    let folder = |error| StartError::Folder { path: config.data.clone(), error };
    session.opened().map_err(folder)?;
    let (stop, stopped) = oneshot::channel();
    let (ready, started) = oneshot::channel();
    let (end, ended) = watch::channel(None);
    let prefix = "ledger".to_owned();
    let recovery = Recovery::parallel(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    let (history, served) = (Arc::new(history), Served::USUAL);
    let launch = Launch { prefix, committee, history, listen, recovery, served, config };
    let engine = launch.config.data.join("engine");
    let builder = thread::Builder::new().name("ledger".to_owned()).stack_size(STACK_BYTES);
    let thread = builder.spawn(move || {
        let history = Arc::clone(&launch.history);
        let result = catch_unwind(AssertUnwindSafe(|| run(launch, &engine, ready, stopped)));
        history.close();
        session.end();
        end.send_replace(Some(result.map_err(|panic| Fault(message(&*panic)))));
    });
    let thread = thread.map_err(|error| StartError::Engine(format!("no thread: {error}")))?;
    match started.await {
        Ok(Ok(ledger)) => {
            Ok(Running { ledger, listen, stop: Some(stop), ended, thread: Some(thread) })
        }
        Ok(Err(EngineError::Join(error))) => {
            drop(thread.join());
            Err(StartError::Join(error))
        }
        Ok(Err(error)) => Err(joined(thread, error.to_string())),
        Err(_) => {
            let mut ended = ended;
            let fault = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
            let cause = fault.and_then(Result::err).map_or_else(String::new, |fault| fault.0);
            Err(joined(thread, cause))
        }
    }
}

/// Waits for the thread of a ledger that did not start, so that its folder is free again.
fn joined(thread: JoinHandle<()>, cause: String) -> StartError {
    drop(thread.join());
    StartError::Engine(cause)
}

/// What the ledger's thread is given.
pub(crate) struct Launch {
    /// Name under which all files of the engine stand.
    pub(crate) prefix: String,
    pub(crate) committee: Arc<crate::committee::Committee>,
    pub(crate) history: Arc<History>,
    pub(crate) listen: SocketAddr,
    /// Who checks signatures.
    pub(crate) recovery: Recovery,
    /// What is kept for peers.
    pub(crate) served: Served,
    pub(crate) config: Config,
}

type Ready = oneshot::Sender<Result<Ledger, EngineError>>;

fn run(launch: Launch, engine: &Path, ready: Ready, stopped: oneshot::Receiver<()>) {
    let runner = runtime::Runner::new(
        runtime::Config::new()
            .with_storage_directory(engine)
            .with_worker_threads(THREADS)
            .with_thread_stack_size(STACK_BYTES)
            .with_max_blocking_threads(BLOCKING_THREADS),
    );
    runner.start(|context| async move {
        let started = Box::pin(launch.start(&context)).await;
        let failed = started.is_err();
        // The caller may have gone meanwhile; then the ledger ends at once.
        if ready.send(started).is_ok() && !failed {
            // Either way of ending the wait means the same: stop.
            drop(stopped.await);
        }
    });
}

impl Launch {
    /// Starts the ledger below `context` and gives its handle.
    pub(crate) async fn start<E: Runtime>(self, context: &E) -> Result<Ledger, EngineError> {
        let Self { prefix, committee, history, listen, recovery, served, config } = self;
        let genesis =
            engine::genesis_block(context, &prefix, &history, (&config.genesis, &committee))
                .await?;
        let genesis = Arc::new(genesis);
        let first = history.finalized(0)?.ok_or(HistoryError::Corrupt("genesis is missing"))?;
        let (queries, questions) = query::lanes();
        let head = Latest::<Arc<Finalized>>::new(Arc::new(first));
        let watched = head.subscribe();
        let queues = Arc::new(Queues::new(config.limits, recovery));
        // The genesis was checked: a term has at least two blocks.
        let term_length = NonZeroU64::new(config.genesis.term_length).unwrap_or(NonZeroU64::MAX);
        let committees = Committees::new(term_length, committee);
        committees.recall(&history)?;
        let faults = Faults::default();
        let seen = faults.subscribe();
        let shared = Arc::new(Shared {
            chain: Chain {
                chain_id: config.genesis.chain_id,
                epoch_length: config.genesis.epoch_length,
                term_length,
            },
            committees,
            faults,
            genesis: Arc::clone(&genesis),
            keys: config.keys,
            votes: config.role == Role::Validator,
            history: Arc::clone(&history),
            queues: Arc::clone(&queues),
            peers: watch::Sender::new(0),
            head,
            outcomes: Outcomes::default(),
            marshal: Slot::default(),
        });
        let strangers = config.peers.is_empty();
        let settings = Settings {
            prefix,
            listen,
            peers: config.peers,
            pace: config.pace,
            blocks_served: config.blocks_served,
            served,
            join: join::Settings {
                role: config.role,
                trust: config.trust,
                replay_blocks: config.replay_blocks,
                strangers,
            },
        };
        engine::start(context, &settings, shared, questions).await?;
        Ok(Ledger(Arc::new(Inner {
            genesis_hash: genesis.hash(),
            genesis: Arc::new(config.genesis),
            history,
            queues,
            head: watched,
            queries,
            faults: seen,
        })))
    }
}

/// Makes the folder and holds its lock.
fn lock(data: &Path) -> Result<Session, StartError> {
    let folder = |error| StartError::Folder { path: data.to_owned(), error };
    std::fs::create_dir_all(data).map_err(folder)?;
    let path = data.join("ledger.lock");
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path);
    let file = file.map_err(folder)?;
    match file.try_lock() {
        Ok(()) => Session::begin(file).map_err(folder),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(folder(error)),
    }
}

/// Checks that the address is free, and names the port if any will do.
///
/// The engine listens on it a moment later; if somebody takes it between, the ledger ends and
/// [`Running::ended`] says so.
fn free_address(address: SocketAddr) -> Result<SocketAddr, StartError> {
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| StartError::Port { address, error })
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown cause".to_owned())
}

#[cfg(test)]
mod tests;
