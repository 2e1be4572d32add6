//! The parts of commonware joined to a validator, over any runtime.
//!
//! ```text
//! p2p ── simplex (one engine a term) ── Deferred ── Paced ── Stateful ── App
//!   └─── broadcast, resolver ── marshal ───────────────────────┘
//! ```
//!
//! Marshal puts finalized blocks in order and keeps the last [`Settings::blocks_served`] for peers
//! that lag; `Stateful` holds what is not final in memory and what is in QMDB. Everything runs below
//! one context: when the task of that context ends, so does everything.

use crate::{
    application::{App, Shared},
    block::Block,
    committee::{Committee, ValidatorKeys},
    committees::ReadError,
    genesis::Genesis,
    gossip::Gossip,
    header::StateCommitment,
    history::{Finalized, History, HistoryError, Undo},
    join::{self, Heard, Join, JoinError, Role, Way},
    network::{self, Channel, MAILBOX, Peer, SYNC_OPERATIONS},
    pace::Paced,
    peers::{self, Directory},
    query::{Answers, Asked, Certificates},
    state::{self, BUFFER_BYTES, Databases, PastStore, StateDb, StateOperation},
    terms::{self, Schemes},
};
use commonware_broadcast::buffered;
use commonware_codec::Encode as _;
use commonware_consensus::{
    marshal::{
        self,
        core::{Actor as MarshalActor, Mailbox as MarshalMailbox},
        resolver::{handler, p2p as marshal_resolver},
        standard::{Deferred, Standard},
    },
    simplex::scheme::ed25519::Scheme,
    types::{FixedEpocher, Height, ViewDelta},
};
use commonware_cryptography::{
    Digested, Digestible as _, Signer as _, certificate::Verifier as _, ed25519, sha256,
};
use commonware_glue::stateful::{
    Config as StatefulConfig, Mailbox as StatefulMailbox, PruneConfig, Stateful, SyncPlan,
    db::{SyncEngineConfig, p2p as state_sync},
};
use commonware_parallel::Sequential;
use commonware_runtime::{
    Clock, Metrics, Network, Resolver, Spawner, Storage, Supervisor, buffer::paged::CacheRef,
};
use commonware_storage::{archive::prunable, mmr, translator::EightCap};
use commonware_utils::{NZDuration, NZU16, NZU64, NZUsize};
use execution::StoreError;
use rand::{CryptoRng, Rng};
use std::{
    net::SocketAddr,
    num::{NonZeroU64, NonZeroUsize},
    sync::Arc,
    time::Duration,
};
use tokio::sync::oneshot;

/// Finalized blocks delivered and not yet acknowledged.
const PENDING_BLOCKS: NonZeroUsize = NZUsize!(8);
/// Views for which votes and blocks that are not final are kept.
pub(crate) const VIEWS_KEPT: ViewDelta = ViewDelta::new(64);
/// Blocks of one peer kept until they are final or forgotten.
const BLOCKS_OF_A_PEER: usize = 4;

/// What a runtime must offer.
pub trait Runtime:
    Rng + CryptoRng + Spawner + Storage + Clock + Metrics + Network + Resolver + Supervisor
{
}

impl<T> Runtime for T where
    T: Rng + CryptoRng + Spawner + Storage + Clock + Metrics + Network + Resolver + Supervisor
{
}

pub(crate) type Marshal = MarshalMailbox<Scheme, Standard<Block>>;
pub(crate) type Automaton<E> =
    Deferred<E, Scheme, Paced<StatefulMailbox<E, App>>, Block, FixedEpocher>;

/// What is kept for peers beside [`Settings::blocks_served`], and in what portions the rest is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Heights in one file of marshal's archives: they are pruned by whole files.
    pub file_heights: NonZeroU64,
    /// Blocks between two rounds of pruning.
    pub prune_every: NonZeroUsize,
    /// Blocks whose state operations are kept for nodes that fetch it.
    pub state_blocks: usize,
}

impl Served {
    /// What a node keeps.
    pub const USUAL: Self =
        Self { file_heights: NZU64!(256), prune_every: NZUsize!(64), state_blocks: 64 };
    /// So little that within some dozen blocks a node comes too late for them.
    pub const LITTLE: Self =
        Self { file_heights: NZU64!(8), prune_every: NZUsize!(4), state_blocks: 16 };
}

/// How this validator takes part.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Name under which all files of the engine stand.
    pub(crate) prefix: String,
    pub(crate) listen: SocketAddr,
    pub(crate) peers: Vec<Peer>,
    pub(crate) pace: Duration,
    /// Final blocks kept for peers that lag.
    pub(crate) blocks_served: usize,
    pub(crate) served: Served,
    pub(crate) join: join::Settings,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    State(#[from] StoreError),
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error(transparent)]
    Begin(#[from] join::BeginError),
    #[error("cannot forget the state that is too old: {0}")]
    Files(#[from] commonware_runtime::Error),
    #[error("cannot read the committees: {0}")]
    Committees(#[from] ReadError),
    #[error("the engine ended while it started")]
    Stopped,
    #[error("the history begins with a block that is not the genesis block")]
    Genesis,
}

pub(crate) fn page_cache() -> CacheRef {
    CacheRef::new(NZU16!(4096), NZUsize!(1024))
}

/// The genesis block: from the history, or made with its state and recorded.
pub(crate) async fn genesis_block<E: Runtime>(
    context: &E,
    prefix: &str,
    history: &History,
    (genesis, committee): (&Genesis, &Committee),
) -> Result<Block, EngineError> {
    if let Some(finalized) = history.finalized(0)? {
        let block = finalized.block().ok_or(EngineError::Genesis)?;
        let same = genesis.block(committee, block.header().state) == block;
        return if same { Ok(block) } else { Err(EngineError::Genesis) };
    }
    let config = state::config(prefix, &page_cache());
    let state: StateCommitment = state::create(context, config, &genesis.state()).await?;
    let block = genesis.block(committee, state);
    let finalized = Finalized {
        hash: block.hash(),
        header: block.header().clone(),
        transactions: Vec::new(),
        receipts: Vec::new(),
        blobs: Some(Vec::new()),
    };
    history.record(&finalized, &Undo::new())?;
    Ok(block)
}

/// Starts everything below `context`, and waits until the state reflects what the history holds.
pub(crate) async fn start<E: Runtime>(
    context: &E,
    settings: &Settings,
    shared: Arc<Shared>,
    questions: Asked,
) -> Result<(), EngineError> {
    let (cache, namespace) = (page_cache(), terms::namespace(shared.genesis.hash()));
    let (keys, listen) = (&shared.keys, (settings.listen, &settings.peers[..]));
    let most_peers = settings.peers.len() + peers::room(&shared);
    let most = NonZeroUsize::MIN.saturating_add(most_peers);
    let net = network::start(context.child("network"), keys, listen, most, &namespace);
    let epocher = FixedEpocher::new(shared.chain.term_length);
    let facts = join::Facts::new(namespace.clone(), &shared.chain);
    let schemes = Schemes::new(namespace, Arc::clone(&shared));
    let resolver = block_resolver(context, keys, &net.oracle, net.backfill);
    let buffer = block_buffer(context, keys, &net.oracle, net.blocks);
    let mut join = Join::start(context, (&shared, facts), settings.join, net.join)?;
    let (plan, heard) = plan(context, &settings.prefix, &mut join).await?;
    let genesis = Digested::precomputed(Block::clone(&shared.genesis), shared.genesis.digest());
    let (marshal_actor, marshal, floor) = MarshalActor::<_, Standard<Block>, _, _, _, _, _>::init(
        context.child("marshal"),
        certificates_archive(context, settings, &cache).await,
        blocks_archive(context, settings, &cache).await,
        marshal_config(
            (schemes.clone(), epocher.clone()),
            plan.marshal_start(genesis),
            (&settings.prefix, &cache),
        ),
    )
    .await;
    shared.marshal.fill(marshal.clone());
    let applied = floor.processed().map_or(0, |processed| processed.height().get());
    begin_at(&shared, applied.max(plan.completed().map_or(0, Height::get)))?;
    let sync = state_fetcher::<E>(context, keys, (&net.oracle, net.state));
    let (stateful, mailbox) = Stateful::new(
        context.child("stateful"),
        StatefulConfig {
            application: App(Arc::clone(&shared)),
            db_config: state::config(&settings.prefix, &cache),
            provider: (),
            marshal: (marshal.clone(), floor),
            mailbox_size: MAILBOX,
            plan,
            resolvers: sync,
            sync_config: SYNC,
            prune_config: prune_config(settings),
            strategy: Sequential,
        },
    );
    marshal_actor.start(mailbox.clone(), buffer, resolver);
    stateful.start();
    let databases = databases(&mailbox, &mut join, &shared).await?;
    keep_committees::<E>(&shared, &databases).await?;
    talk(context, (&shared, &databases), (listen, most_peers), (&net.oracle, net.gossip));
    let certificates = certificates(&shared);
    Answers { shared: Arc::clone(&shared), databases, certificates }.start(context, questions);
    let paced = Paced { inner: mailbox, pace: settings.pace };
    let terms = terms::Terms {
        shared: Arc::clone(&shared),
        schemes,
        automaton: Deferred::new(context.child("deferred"), paced, marshal.clone(), epocher),
        marshal,
        blocker: net.oracle,
        page_cache: cache,
        settings: settings.clone(),
    };
    follow(context, (join, heard), terms, net.terms);
    caught_up(&shared).await
}

/// Waits for what was recorded and not yet applied when the last run ended: the engine delivers it again.
async fn caught_up(shared: &Shared) -> Result<(), EngineError> {
    let (mut head, recorded) = (shared.head.subscribe(), shared.history.head()?.unwrap_or(0));
    head.wait_for(|head| head.height() >= recorded).await.map_err(|_| EngineError::Stopped)?;
    Ok(())
}

/// Keeps the peer set that the state asks for, and tells peers what waits.
fn talk<E: Runtime>(
    context: &E,
    (shared, databases): (&Arc<Shared>, &Databases<E>),
    (listen, most_peers): ((SocketAddr, &[Peer]), usize),
    (oracle, channels): (&Oracle, (Channel<E>, Channel<E>)),
) {
    let peers = Directory::new(Arc::clone(shared), databases.clone(), listen, most_peers);
    let (shared, databases) = (Arc::clone(shared), databases.clone());
    let (blocker, oracle) = (oracle.clone(), oracle.clone());
    context.child("peers").spawn(move |_| peers.run(oracle));
    Gossip { shared, databases, blocker }.start(context, channels);
}

type Plan<E> = SyncPlan<E, Scheme, Standard<Block>>;

/// Decides which way to start, and makes it durable.
async fn plan<E: Runtime>(
    context: &E,
    prefix: &str,
    join: &mut Join<E>,
) -> Result<(Plan<E>, Heard), EngineError> {
    let mut plan = Plan::init(context.child("plan"), prefix).await;
    let tip = match join.decide(plan.floor().is_some()).await? {
        Way::Own(heard) => return Ok((plan, heard)),
        Way::Fetch(tip) => tip,
    };
    tracing::info!(height = tip.header.height, "fetching the state of a recent block from peers");
    if !plan.may_sync() {
        // `glue` fetches a state once in a life, which it remembers here: this begins another life. Until
        // the next line is durable, the node is as it was.
        drop(plan);
        context.remove(&format!("{prefix}state_sync_metadata"), None).await?;
        plan = Plan::init(context.child("next_plan"), prefix).await;
    }
    let plan = plan.set_floor(tip.certificate.clone()).await;
    Ok((plan, Heard::Peers(Some(tip))))
}

/// Begins with the block the state is opened at.
fn begin_at(shared: &Shared, applied: u64) -> Result<(), EngineError> {
    if let Some(block) = shared.history.standing(applied)? {
        shared.head.send_replace(Arc::new(block));
    }
    Ok(())
}

/// Waits for the state, which may have to be fetched. A state above the history was.
async fn databases<E: Runtime>(
    mailbox: &StatefulMailbox<E, App>,
    join: &mut Join<E>,
    shared: &Shared,
) -> Result<Databases<E>, EngineError> {
    let marshal = shared.marshal.get().ok_or(EngineError::Stopped)?;
    let databases = commonware_macros::select! {
        databases = mailbox.subscribe_databases() => databases,
        led = join.lead(marshal) => {
            led?;
            return Err(EngineError::Stopped);
        },
    };
    let (height, root) = state::applied(&databases).await?;
    if shared.history.head()? < Some(height) {
        join::begin(shared, height, root).await?;
    }
    Ok(databases)
}

/// Follows peers below `context`, and runs the terms once it is safe to vote.
fn follow<E: Runtime>(
    context: &E,
    (mut join, heard): (Join<E>, Heard),
    terms: terms::Terms<E>,
    channels: (Channel<E>, Channel<E>, Channel<E>),
) {
    let marshal = terms.marshal.clone();
    let (safe, may_vote) = oneshot::channel();
    context.child("follow").spawn(move |_| async move {
        let followed = async {
            let height = join.hear(&marshal, heard).await?;
            join.watch(&marshal, (height, safe)).await
        };
        match followed.await {
            Ok(()) | Err(JoinError::History(HistoryError::Closed)) => {}
            Err(error) => crate::application::fail_stop("this node cannot go on", &error),
        }
    });
    context.child("terms").spawn(move |runtime| async move {
        if may_vote.await.is_ok() {
            terms.run(runtime, channels).await;
        }
    });
}

/// Reads the committees of the head's term and of the next from the state at the head.
async fn keep_committees<E: Runtime>(
    shared: &Shared,
    databases: &Databases<E>,
) -> Result<(), EngineError> {
    let head = Arc::clone(&shared.head.borrow());
    let history = Arc::clone(&shared.history);
    let store = PastStore { databases: databases.clone(), history, height: head.height() };
    shared.peers.send_replace(head.height());
    Ok(shared.committees.keep(&store, &head.header, &shared.history).await?)
}

/// How state is fetched and applied by a syncing node.
const SYNC: SyncEngineConfig = SyncEngineConfig {
    fetch_batch_size: SYNC_OPERATIONS,
    apply_batch_size: NZU64!(4_096),
    max_outstanding_requests: NZUsize!(8),
};

/// What is pruned; nothing by an archive, whose blocks and operations others may ask for.
fn prune_config(settings: &Settings) -> Option<PruneConfig> {
    (settings.join.role != Role::Archive).then(|| PruneConfig {
        maintenance_interval: settings.served.prune_every,
        retained_marshal_blocks: settings.blocks_served.max(settings.served.state_blocks),
        retained_qmdb_blocks: settings.served.state_blocks,
    })
}

type CertificateArchive<E> = prunable::Archive<
    EightCap,
    E,
    sha256::Digest,
    commonware_consensus::simplex::types::Finalization<Scheme, sha256::Digest>,
>;
type BlockArchive<E> = prunable::Archive<EightCap, E, sha256::Digest, Arc<Block>>;

fn archive<C>(
    (settings, name): (&Settings, &str),
    cache: &CacheRef,
    codec_config: C,
) -> prunable::Config<EightCap, C> {
    let prefix = &settings.prefix;
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{prefix}-{name}-metadata"),
        key_partition: format!("{prefix}-{name}-keys"),
        key_page_cache: cache.clone(),
        value_partition: format!("{prefix}-{name}-values"),
        compression: None,
        codec_config,
        items_per_section: settings.served.file_heights,
        key_write_buffer: BUFFER_BYTES,
        value_write_buffer: BUFFER_BYTES,
        replay_buffer: BUFFER_BYTES,
    }
}

async fn certificates_archive<E: Runtime>(
    context: &E,
    settings: &Settings,
    cache: &CacheRef,
) -> CertificateArchive<E> {
    let config =
        archive((settings, "certificates"), cache, Scheme::certificate_codec_config_unbounded());
    let opened = prunable::Archive::init(context.child("certificates"), config).await;
    opened.unwrap_or_else(|error| {
        crate::application::fail_stop("failed to open the certificates", &error)
    })
}

async fn blocks_archive<E: Runtime>(
    context: &E,
    settings: &Settings,
    cache: &CacheRef,
) -> BlockArchive<E> {
    let config = archive((settings, "blocks"), cache, ());
    let opened = prunable::Archive::init(context.child("blocks"), config).await;
    opened
        .unwrap_or_else(|error| crate::application::fail_stop("failed to open the blocks", &error))
}

type MarshalConfig = marshal::Config<Schemes, FixedEpocher, Sequential, Block, Digested<Block>>;

fn marshal_config(
    (provider, epocher): (Schemes, FixedEpocher),
    start: marshal::Start<Scheme, sha256::Digest, Digested<Block>>,
    (prefix, cache): (&str, &CacheRef),
) -> MarshalConfig {
    marshal::Config {
        provider,
        epocher,
        start,
        partition_prefix: prefix.to_owned(),
        mailbox_size: MAILBOX,
        view_retention: VIEWS_KEPT,
        prunable_items_per_section: NZU64!(64),
        page_cache: cache.clone(),
        replay_buffer: BUFFER_BYTES,
        key_write_buffer: BUFFER_BYTES,
        value_write_buffer: BUFFER_BYTES,
        block_codec_config: (),
        max_repair: NZUsize!(16),
        max_pending_acks: PENDING_BLOCKS,
        strategy: Sequential,
    }
}

type Oracle = commonware_p2p::authenticated::lookup::Oracle<ed25519::PublicKey>;
type SyncActor<E> =
    state_sync::Actor<E, ed25519::PublicKey, Oracle, Oracle, mmr::Family, StateDb<E>>;
type SyncMailbox<E> = state_sync::Mailbox<StateDb<E>, mmr::Family, StateOperation, sha256::Digest>;

/// Fetches the state from peers if that is asked for, and serves ours.
fn state_fetcher<E: Runtime>(
    context: &E,
    keys: &ValidatorKeys,
    (oracle, channel): (&Oracle, Channel<E>),
) -> SyncMailbox<E> {
    let (actor, mailbox): (SyncActor<E>, _) = state_sync::Actor::new(
        context.child("state_sync"),
        state_sync::Config {
            peer_provider: oracle.clone(),
            blocker: oracle.clone(),
            database: None,
            mailbox_size: MAILBOX,
            me: Some(keys.signer().public_key()),
            fetch_timeout: NZDuration!(Duration::from_secs(2)),
            fetch_retry_delay: Duration::from_millis(100),
            max_serve_ops: SYNC_OPERATIONS,
            priority_requests: false,
            priority_responses: false,
        },
    );
    actor.start(channel);
    mailbox
}

/// Fetches final blocks that we lack from peers, and serves those we have.
fn block_resolver<E: Runtime>(
    context: &E,
    keys: &ValidatorKeys,
    oracle: &Oracle,
    backfill: Channel<E>,
) -> (
    handler::Receiver<sha256::Digest>,
    marshal_resolver::Mailbox<sha256::Digest, ed25519::PublicKey>,
) {
    marshal_resolver::init(
        context.child("marshal_resolver"),
        marshal_resolver::Config {
            public_key: keys.signer().public_key(),
            peer_provider: oracle.clone(),
            blocker: oracle.clone(),
            mailbox_size: MAILBOX,
            fetch_timeout: NZDuration!(Duration::from_secs(2)),
            fetch_retry_delay: Duration::from_millis(100),
            priority_requests: false,
            priority_responses: false,
        },
        backfill,
    )
}

/// Sends our blocks to all peers and keeps the last few of theirs.
fn block_buffer<E: Runtime>(
    context: &E,
    keys: &ValidatorKeys,
    oracle: &Oracle,
    blocks: Channel<E>,
) -> buffered::Mailbox<ed25519::PublicKey, Block> {
    let (engine, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: keys.signer().public_key(),
            mailbox_size: MAILBOX,
            deque_size: BLOCKS_OF_A_PEER,
            priority: false,
            codec_config: (),
            peer_provider: oracle.clone(),
            strategy: Sequential,
        },
    );
    engine.start(blocks);
    buffer
}

/// Certificates of recent blocks from marshal, and of the last blocks of terms from the history.
fn certificates(shared: &Arc<Shared>) -> Certificates {
    let shared = Arc::clone(shared);
    Arc::new(move |height| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let marshal = shared.marshal.get()?;
            match marshal.get_finalization(Height::new(height)).await {
                Some(certificate) => Some(certificate.encode()),
                None => join::certificate(&shared, height).await,
            }
        })
    })
}
