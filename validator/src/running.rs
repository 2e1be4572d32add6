//! Starting and stopping the worker: a validator's whole, or the half of it that watches.
//!
//! [`work`] is a validator's without its shells: what a simulator runs as well. [`start`] adds those, HTTP
//! and iroh.

use crate::{
    accuse::accuse,
    charge::charge,
    door::{self, Bounds},
    files::Files,
    follow::{FollowError, Follower},
    http::Api,
    intake::Intake,
    others::{Others, OthersError},
    prune::Pruner,
    settle::{Agreed, Refusals, Settler, Voice, outcome},
};
use client::{CallError, Client, Options, RpcError, Signer};
use consensus::Ledger;
use evidence::{Archive, ArchiveError, ingest::Limits, journal::JournalError, wire};
use protocol::{
    AuthorKey, Height,
    clock::{Clock, EpochClock},
    key::DeviceSecret,
};
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
    /// Where HTTP is served.
    pub http: TcpListener,
    /// Other validators' HTTP, each `http://host:port`, for files that our archive lacks. May be empty.
    pub others: Vec<String>,
    /// For how many blocks evidence is kept once it can be disputed no more; for good if none is given, as by an
    /// archive node.
    pub kept: Option<u64>,
    /// What makes it a validator's; a node without it replays and compares what the ledger decides.
    pub voter: Option<Voter>,
}

/// What a validator's worker has beyond that of a node that watches.
pub struct Voter {
    /// The folder of the journal.
    pub folder: PathBuf,
    /// The key of the iroh endpoint.
    pub secret: DeviceSecret,
    /// The validator's network key, which signs acceptances and batches: its bond answers for them.
    pub author: DeviceSecret,
    /// The account that announces and votes.
    pub signer: Signer,
    /// Where evidence is taken over iroh (UDP).
    pub listen: SocketAddr,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("voter", &self.voter).finish_non_exhaustive()
    }
}

impl fmt::Debug for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voter").field("folder", &self.folder).finish_non_exhaustive()
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
    /// Where a validator's evidence is taken over iroh.
    pub peer: Option<Peer>,
    recorded: watch::Receiver<Height>,
    endpoint: Option<Endpoint>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts the worker: brings archive and intake up to date, then follows, settles and serves.
///
/// # Errors
/// [`StartError`].
pub async fn start(config: Config) -> Result<Running, StartError> {
    let options = Options { chain_id: Some(config.ledger.chain_id()), ..Options::default() };
    let client = Client::connect_with(&config.rpc, options).await?;
    let genesis = config.ledger.genesis().digest();
    let others = Arc::new(Others::new(&config.others)?);
    let files = Files { client, archive: config.archive, others };
    let (ledger, kept) = (config.ledger, config.kept);
    let (mut work, api, endpoint) = match config.voter {
        Some(voter) => Box::pin(vote(voter, (ledger.clone(), kept), files)).await?,
        None => Box::pin(watch((ledger.clone(), kept), files)).await?,
    };
    let router = api.serving(ledger).refusing(work.refusals).of(genesis).router();
    work.tasks.push(tokio::spawn(door::serve(config.http, router, Bounds::default())));
    let (peer, recorded) = (endpoint.as_ref().map(Endpoint::peer), work.recorded);
    Ok(Running { peer, recorded, endpoint, tasks: work.tasks })
}

/// What a validator's worker without shells is made from.
#[derive(Debug)]
pub struct Parts {
    /// The ledger of this process.
    pub ledger: Ledger,
    /// Its client, the archive, and who completes that.
    pub files: Files,
    /// The folder of the journal.
    pub folder: PathBuf,
    /// The validator's network key, which signs acceptances and batches.
    pub author: DeviceSecret,
    /// The account that announces and votes.
    pub signer: Signer,
    /// What is voted for: [`outcome`], unless a simulated validator lies.
    pub voice: Voice,
    /// For how many blocks evidence is kept, as of [`Config::kept`].
    pub kept: Option<u64>,
}

/// A worker that runs without shells, in tasks of the tokio runtime in which it was started.
#[derive(Debug)]
pub struct Work {
    /// Up to which height blocks are recorded.
    pub recorded: watch::Receiver<Height>,
    /// What the node refuses.
    pub refusals: Refusals,
    /// Up to which epochs the node agrees with what was decided.
    pub agreed: Agreed,
    /// What runs: following, settling, pruning, accusing, charging. None of them ends before the ledger does.
    pub tasks: Vec<JoinHandle<()>>,
}

/// Brings archive and intake up to date, then follows, settles, votes, accuses and charges.
///
/// # Errors
/// [`StartError`].
pub async fn work(parts: Parts) -> Result<(Work, Arc<Intake>), StartError> {
    let Parts { ledger, files, folder, author, signer, voice, kept } = parts;
    let key = author.key().x();
    let clock = files.client.clock().await?;
    let limits = (crate::sizes(), Limits::default());
    let ledger_of = (files.client.chain_id(), clock);
    let (intake, accepted) = Intake::open(&folder, author, ledger_of, limits)?;
    let intake = Arc::new(intake);
    let accusing = accuse(files.client.clone(), signer.clone(), ledger.double_votes());
    let charging = (files.clone(), signer.clone());
    let follower = Follower::new(ledger, files.clone(), intake.clone(), clock);
    let settler = Settler::new(files.clone(), signer, clock).speaking(voice);
    let mut work = run(follower, accepted, settler).await?;
    tidy(&mut work, files, (clock, kept));
    let charging = charge(charging, AuthorKey(key), clock, work.recorded.clone());
    work.tasks.extend([tokio::spawn(accusing), tokio::spawn(charging)]);
    Ok((work, intake))
}

/// Brings the archive up to date, then follows and settles.
async fn run(
    mut follower: Follower,
    accepted: Vec<Vec<u8>>,
    settler: Settler,
) -> Result<Work, StartError> {
    let next = follower.resume(accepted).await?;
    let (recorder, recorded) = watch::channel(Height(next.0.saturating_sub(1)));
    let (refusals, agreed) = (settler.refusals(), settler.agreed());
    let tasks = vec![
        tokio::spawn(follow(follower, next, recorder)),
        tokio::spawn(settler.run(recorded.clone())),
    ];
    Ok(Work { recorded, refusals, agreed, tasks })
}

/// Counts what the archive keeps, and prunes it from then on unless it keeps all.
fn tidy(work: &mut Work, files: Files, (clock, kept): (EpochClock, Option<u64>)) {
    let (recorded, agreed) = (work.recorded.clone(), work.agreed.clone());
    let refusals = work.refusals.clone();
    let next = Height(recorded.borrow().0.saturating_add(1));
    work.tasks.push(tokio::spawn(async move {
        if let Err(error) = files.archive.count(next).await {
            tracing::warn!(%error, "the archive's objects could not be counted");
        }
        match kept {
            Some(kept) => Pruner { files, clock, kept, agreed, refusals }.run(recorded).await,
            None => ended(recorded).await,
        }
    }));
}

/// Waits until there are no more blocks.
async fn ended(mut recorded: watch::Receiver<Height>) {
    while recorded.changed().await.is_ok() {}
}

/// A worker, what it answers over HTTP, and where it takes evidence over iroh.
type Started = (Work, Api, Option<Endpoint>);

/// A validator's: takes evidence in, votes, accuses and charges.
async fn vote(
    voter: Voter,
    (ledger, kept): (Ledger, Option<u64>),
    files: Files,
) -> Result<Started, StartError> {
    let Voter { folder, secret, author, signer, listen, clock } = voter;
    let key = author.key().x();
    let mut bind = BindConfig::new(secret.seed(), listen).alpn(wire::ALPN);
    bind.limits.inbound_frame_max = wire::SUBMIT_MAX;
    let endpoint = Endpoint::bind(bind).await?;
    let voice = outcome;
    let parts = Parts { ledger, files: files.clone(), folder, author, signer, voice, kept };
    let (work, intake) = self::work(parts).await?;
    let api = Api::new(intake, files, clock, key, work.recorded.clone());
    endpoint.serve(wire::ALPN, Arc::new(api.clone()))?;
    Ok((work, api, Some(endpoint)))
}

/// That of any other node: records, replays, and compares.
async fn watch((ledger, kept): (Ledger, Option<u64>), files: Files) -> Result<Started, StartError> {
    let clock = files.client.clock().await?;
    let follower = Follower::watching(ledger, files.clone(), clock);
    let mut work = run(follower, Vec::new(), Settler::watching(files.clone(), clock)).await?;
    tidy(&mut work, files.clone(), (clock, kept));
    let api = Api::watching(files, work.recorded.clone());
    Ok((work, api, None))
}

async fn follow(mut follower: Follower, mut next: Height, recorded: watch::Sender<Height>) {
    while let Err(error) = follower.run(next, &recorded).await {
        tracing::error!(%error, "following blocks failed; trying again");
        next = Height(recorded.borrow().0.saturating_add(1));
        tokio::time::sleep(RETRY).await;
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
        if let Some(endpoint) = self.endpoint {
            endpoint.close().await;
        }
        for task in self.tasks {
            // An aborted task ends with a cancellation, which is what was asked for.
            let _ = task.await;
        }
    }
}
