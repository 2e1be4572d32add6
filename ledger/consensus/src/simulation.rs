//! For simulation: a validator over any runtime, and a chain executed again from its beginning.
//!
//! A program uses [`crate::start`]. A simulator brings a runtime of its own, whose clock, disk and
//! network it can disturb, and a history in a file of its own; everything above those is the same code.

pub use crate::engine::{Runtime, Served};

use crate::{
    block::Block,
    engine::{self, EngineError},
    genesis::{Genesis, GenesisError},
    header::{Header, StateCommitment},
    history::{History, Retention},
    ledger::Ledger,
    recovery::Recovery,
    rules, state, terms, trie,
    validator::{Config, Launch, StartError},
};
use alloy_consensus::TxReceipt as _;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{B256, Bloom};
use commonware_glue::stateful::db::{Barrier, DatabaseSet};
use execution::{BlockOutcome, ExecuteError, execute_block};
use std::sync::Arc;

/// Starts a validator below `context` and waits until its state can be read. All its files begin with
/// `prefix`; the folder of `config` is not touched. For peers it keeps what is `served`. It ends with the task
/// that `context` belongs to.
///
/// # Errors
/// Why it did not start.
pub async fn launch<E: Runtime>(
    context: &E,
    prefix: String,
    history: Arc<History>,
    config: Config,
    served: Served,
) -> Result<Ledger, StartError> {
    let committee = Arc::new(config.genesis.check()?);
    let (listen, recovery) = (config.listen, Recovery::sequential());
    let launch = Launch { prefix, committee, history, listen, recovery, served, config };
    Box::pin(launch.start(context)).await.map_err(|error| StartError::Engine(error.to_string()))
}

/// Separates votes of the ledger that begins with the block `genesis` from those of every other.
pub fn namespace(genesis: B256) -> Vec<u8> {
    terms::namespace(genesis)
}

/// What keeps a chain from being what its headers say.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It does not begin with this genesis.
    #[error("bad genesis: {0}")]
    Genesis(#[from] GenesisError),
    /// The state of height 0 could not be made.
    #[error("the state of genesis could not be made: {0}")]
    Begin(String),
    /// A block holds bytes that are no transaction.
    #[error("transaction {0} does not decode")]
    Transaction(usize),
    /// A block holds an invalid transaction, or nothing could be executed.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// A block names other receipts, another bloom or other gas than its transactions make.
    #[error("the block makes other receipts than its header names")]
    Receipts,
    /// A block names another state than its transactions make.
    #[error("the block makes the state {made}, its header names {named}")]
    State {
        /// Root of the state made here.
        made: B256,
        /// Root in the header.
        named: B256,
    },
}

/// A chain executed again, one block after the other, on a state of its own.
#[expect(missing_debug_implementations, reason = "a database has none")]
pub struct Replay<E: Runtime>(state::Databases<E>);

impl<E: Runtime> Replay<E> {
    /// Makes the state of height 0 in files that begin with `prefix`, and gives the genesis block.
    ///
    /// # Errors
    /// A bad genesis, or storage failed.
    pub async fn begin(
        context: &E,
        prefix: &str,
        genesis: &Genesis,
    ) -> Result<(Self, Block), ReplayError> {
        genesis.check()?;
        let history = History::open_in(
            crate::history::MemoryFile::new(),
            genesis.digest(),
            Retention::default(),
        );
        let begin = |error: EngineError| ReplayError::Begin(error.to_string());
        let history = history.map_err(|error| begin(error.into()))?;
        let committee = genesis.check()?;
        let block = engine::genesis_block(context, prefix, &history, (genesis, &committee)).await;
        let config = state::config(prefix, &engine::page_cache());
        let databases = <state::Databases<E> as DatabaseSet<E>>::init(
            context.child("replay_state"),
            config,
            None,
        );
        Ok((Self(databases.await), block.map_err(begin)?))
    }

    /// Executes `block` on the state of its parent and compares all that its header says of the outcome.
    ///
    /// # Errors
    /// What differs; the state stays that of the parent then.
    pub async fn apply(&mut self, block: &Block) -> Result<BlockOutcome, ReplayError> {
        let header = block.header();
        let decoded = block.transactions().iter().map(|raw| execution::decode(raw));
        let transactions: Vec<_> = decoded
            .enumerate()
            .map(|(index, decoded)| decoded.map_err(|_| ReplayError::Transaction(index)))
            .collect::<Result<_, _>>()?;
        let batch = <state::Databases<E> as DatabaseSet<E>>::new_batches(&self.0).await;
        let env = rules::environment(header);
        let outcome = execute_block(&state::BatchStore::<E>(&batch), &env, &transactions).await?;
        if !same_receipts(header, &outcome) {
            return Err(ReplayError::Receipts);
        }
        let sealed = state::seal::<E>(batch, header.height, &outcome.writes).await;
        let sealed = sealed.map_err(ExecuteError::from)?;
        let made: StateCommitment = state::commitment::<E>(&sealed);
        if made != header.state {
            return Err(ReplayError::State { made: made.root, named: header.state.root });
        }
        <state::Databases<E> as DatabaseSet<E>>::apply(&self.0, sealed).await;
        // Durable or not does not matter: a replay begins anew.
        let _: Barrier = <state::Databases<E> as DatabaseSet<E>>::finalize(&self.0).await;
        Ok(outcome)
    }
}

fn same_receipts(header: &Header, outcome: &BlockOutcome) -> bool {
    let receipts = outcome.receipts.iter().map(|receipt| &receipt.envelope);
    let encoded: Vec<_> = receipts.clone().map(|receipt| receipt.encoded_2718()).collect();
    let bloom = receipts.fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom());
    header.receipts_root == trie::root(&encoded)
        && header.logs_bloom == bloom
        && header.gas_used == outcome.gas_used
}
