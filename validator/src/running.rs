//! Starting and stopping the worker.
//!
//! [`work`] is the worker without its shells: what a simulator runs as well. [`start`] adds those, HTTP and
//! iroh.

use crate::{
    accuse::accuse,
    files::Files,
    follow::{FollowError, Follower},
    http::Api,
    intake::Intake,
    others::{Others, OthersError},
    settle::{Choice, Settler, outcome},
};
use client::{CallError, Client, Options, RpcError, Signer};
use consensus::Ledger;
use evidence::{Archive, ArchiveError, ingest::Limits, journal::JournalError, wire};
use protocol::{Height, clock::Clock, key::DeviceSecret};
use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use transport::{BindConfig, BindError, Endpoint, Peer, ServeError};

/// How long a failed step rests before it is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// What a worker is made from.
pub struct Config {
    /// The ledger of this process.
    pub ledger: Ledger,
    /// The ledger's JSON-RPC, for transactions and views.
    pub rpc: String,
    /// The archive.
    pub archive: Archive,
    /// The folder of the journal.
    pub folder: PathBuf,
    /// The key that signs acceptances and batches, and the key of the iroh endpoint.
    pub secret: DeviceSecret,
    /// The account that announces and votes.
    pub signer: Signer,
    /// Where HTTP is served.
    pub http: TcpListener,
    /// Where evidence is taken over iroh (UDP).
    pub listen: SocketAddr,
    /// Other validators' HTTP, each `http://host:port`, for files that our archive lacks. May be empty.
    pub others: Vec<String>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The ledger does not answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Archive or ledger, when resuming.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The other validators.
    #[error(transparent)]
    Others(#[from] OthersError),
    /// The iroh endpoint.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The iroh endpoint's protocols.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A running worker.
#[derive(Debug)]
pub struct Running {
    /// Where evidence is taken over iroh.
    pub peer: Peer,
    recorded: watch::Receiver<Height>,
    endpoint: Endpoint,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts the worker: brings archive and intake up to date, then follows, settles and serves.
///
/// # Errors
/// [`StartError`].
pub async fn start(config: Config) -> Result<Running, StartError> {
    let options = Options { chain_id: Some(config.ledger.chain_id()), ..Options::default() };
    let client = Client::connect_with(&config.rpc, options).await?;
    let key = config.secret.key().x();
    let mut bind = BindConfig::new(config.secret.seed(), config.listen).alpn(wire::ALPN);
    bind.limits.inbound_frame_max = wire::SUBMIT_MAX;
    let others = Arc::new(Others::new(&config.others)?);
    let files = Files { client, archive: config.archive, others };
    let (ledger, folder, secret) = (config.ledger, config.folder, config.secret);
    let parts = Parts { ledger, files, folder, secret, signer: config.signer, choice: outcome };
    let Work { intake, files, recorded, mut tasks } = work(parts).await?;
    let api = Api::new(intake, files, config.clock, key, recorded.clone());
    let endpoint = Endpoint::bind(bind).await?;
    endpoint.serve(wire::ALPN, Arc::new(api.clone()))?;
    let router = api.router();
    tasks.push(tokio::spawn(async move {
        if let Err(error) = axum::serve(config.http, router).await {
            tracing::error!(%error, "the validator's HTTP stopped");
        }
    }));
    Ok(Running { peer: endpoint.peer(), recorded, endpoint, tasks })
}

/// What a worker without shells is made from.
#[derive(Debug)]
pub struct Parts {
    /// The ledger of this process.
    pub ledger: Ledger,
    /// Its client, the archive, and who completes that.
    pub files: Files,
    /// The folder of the journal.
    pub folder: PathBuf,
    /// The key that signs acceptances and batches.
    pub secret: DeviceSecret,
    /// The account that announces and votes.
    pub signer: Signer,
    /// What is voted for: [`outcome`], unless a simulated validator lies.
    pub choice: Choice,
}

/// A worker that runs without shells, in tasks of the tokio runtime in which it was started.
#[derive(Debug)]
pub struct Work {
    /// Takes in evidence.
    pub intake: Arc<Intake>,
    /// The ledger's client, the archive, and who completes that.
    pub files: Files,
    /// Up to which height blocks are recorded.
    pub recorded: watch::Receiver<Height>,
    /// What runs: following, settling, accusing. None of them ends before the ledger does.
    pub tasks: Vec<JoinHandle<()>>,
}

/// Brings archive and intake up to date, then follows, settles and accuses.
///
/// # Errors
/// [`StartError`].
pub async fn work(parts: Parts) -> Result<Work, StartError> {
    let Parts { ledger, files, folder, secret, signer, choice } = parts;
    let clock = files.client.clock().await?;
    let (intake, accepted) = Intake::open(
        &folder,
        secret,
        (files.client.chain_id(), clock),
        (crate::sizes(), Limits::default()),
    )?;
    let intake = Arc::new(intake);
    let accusing = accuse(files.client.clone(), signer.clone(), ledger.double_votes());
    let mut follower = Follower::new(ledger, files.clone(), intake.clone(), clock);
    let next = follower.resume(accepted).await?;
    let (recorder, recorded) = watch::channel(Height(next.0.saturating_sub(1)));
    let settler = Settler::new(files.clone(), signer, clock).choosing(choice);
    let tasks = vec![
        tokio::spawn(follow(follower, next, recorder)),
        tokio::spawn(settle(settler, recorded.clone())),
        tokio::spawn(accusing),
    ];
    Ok(Work { intake, files, recorded, tasks })
}

async fn follow(mut follower: Follower, mut next: Height, recorded: watch::Sender<Height>) {
    while let Err(error) = follower.run(next, &recorded).await {
        tracing::error!(%error, "following blocks failed; trying again");
        next = Height(recorded.borrow().0.saturating_add(1));
        tokio::time::sleep(RETRY).await;
    }
}

async fn settle(mut settler: Settler, mut recorded: watch::Receiver<Height>) {
    loop {
        let height = *recorded.borrow_and_update();
        match settler.settle_due(height).await {
            Ok(0) => {}
            // The log has the reasons.
            Ok(_) => tokio::time::sleep(RETRY).await,
            Err(error) => {
                tracing::warn!(%error, "the ledger cannot be read; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
        if recorded.changed().await.is_err() {
            return;
        }
    }
}

impl Running {
    /// Up to which height blocks are recorded.
    pub fn recorded(&self) -> Height {
        *self.recorded.borrow()
    }

    /// Stops all tasks. What is under way is done again after the next start.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.endpoint.close().await;
        for task in self.tasks {
            // An aborted task ends with a cancellation, which is what was asked for.
            let _ = task.await;
        }
    }
}
