//! The state machine that `glue` drives: builds, checks, records and publishes blocks.
//!
//! * **propose** drafts a header, lets execution choose from the waiting transactions for at most
//!   [`BUILD_TIME`], and fills in what only execution knows. It never sleeps: finality waits for it
//!   (see [`crate::pace`]).
//! * **process** checks every field of a header. A block with an invalid transaction is invalid. What
//!   depends on the clock delays the verdict and never decides it, and a time as early as the parent
//!   allows does not even that: the ledger goes on where all clocks are behind its head.
//! * **capture** records the block, its receipts and what it overwrites, durably, before its state is
//!   applied (see [`crate::history`]).
//! * **finalized** removes from the queues what the block took, records the committee that the first block
//!   of a term elected, and publishes the new head.
//!
//! A failure of storage is not a verdict about a block: it stops the program with its cause, and a
//! restart recovers ([`fail_stop`]).

use crate::{
    block::{Block, Body, MAX_TRANSACTIONS, MAX_TRANSACTIONS_BYTES, blob_hash},
    committee::ValidatorKeys,
    committees::{Committees, Seats},
    engine::Marshal,
    faults::Faults,
    header::{ConsensusContext, Header},
    history::{Finalized, History, Undo},
    join,
    latest::Latest,
    outcome::{Executed, Outcomes},
    queues::{Queues, Transaction},
    rules::{Chain, SKEW_MS, earliest, environment},
    state::{self, AppliedStore, Batch, BatchStore, Databases, Sealed, StateDb, Targets},
    trie,
};
use alloy_consensus::TxReceipt as _;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bloom};
use bytes::Bytes;
use commonware_consensus::{
    Epochable as _, Viewable as _, marshal::ancestry::Ancestry, simplex::scheme::ed25519,
};
use commonware_cryptography::Digested;
use commonware_glue::stateful::{Application, Finality, Input, Proposed, db::Reader};
use commonware_runtime::{Clock, Spawner};
use commonware_storage::Context as StorageContext;
use commonware_utils::SystemTimeExt as _;
use contracts::address::VALIDATORS;
use execution::{
    Account, BLOCK_GAS_LIMIT, BlockOutcome, ExecuteError, Key, Patience, Receipt, Store,
    TX_GAS_MIN, Value, account_at, execute_block, propose_block,
};
use futures::StreamExt as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};
use tokio::sync::watch;

/// How long a leader chooses transactions: half of what is left of its view after its pace (see
/// `terms`), so that a slow disk makes small blocks instead of none.
const BUILD_TIME: Duration = Duration::from_millis(750);

/// How many of the waiting transactions a block is chosen from: twice what its gas allows, so that some
/// may turn out not to run.
fn candidates_max() -> usize {
    let fit = usize::try_from(BLOCK_GAS_LIMIT / TX_GAS_MIN).unwrap_or(MAX_TRANSACTIONS);
    fit.saturating_mul(2).min(MAX_TRANSACTIONS)
}

/// What the application shares with the rest of the node.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) chain: Chain,
    pub(crate) committees: Committees,
    pub(crate) faults: Faults,
    pub(crate) genesis: Arc<Block>,
    pub(crate) keys: ValidatorKeys,
    /// Whether this node ever votes.
    pub(crate) votes: bool,
    pub(crate) history: Arc<History>,
    pub(crate) queues: Arc<Queues>,
    /// The last height whose block may have changed who our peers are ([`crate::peers`]).
    pub(crate) peers: watch::Sender<u64>,
    /// The last block whose state is applied.
    pub(crate) head: Latest<Arc<Finalized>>,
    pub(crate) outcomes: Outcomes,
    /// What puts final blocks in order, once it runs.
    pub(crate) marshal: Slot<Marshal>,
}

/// Something that is there once the engine has made it.
pub(crate) struct Slot<T>(OnceLock<T>);

impl<T> Slot<T> {
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get()
    }

    /// Fills the slot, if it is empty.
    pub(crate) fn fill(&self, value: T) {
        drop(self.0.set(value));
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.0.get().is_some()).finish()
    }
}

/// The application, cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App(pub(crate) Arc<Shared>);

/// Stops the program: storage failed, so nothing true can be said any more.
///
/// # Panics
/// Always. The runtime ends all tasks and [`crate::Running`] reports the text.
#[expect(clippy::panic, reason = "fail-stop is the contract with the engine, see the module")]
pub(crate) fn fail_stop(what: &str, error: &dyn std::fmt::Display) -> ! {
    tracing::error!(%error, "{what}");
    panic!("{what}: {error}")
}

/// What blocks that are not final yet have taken from the queues.
#[derive(Default)]
struct Taken {
    nonces: BTreeMap<Address, u64>,
    blobs: BTreeSet<B256>,
}

impl App {
    /// Walks from `parent` down to the last final block.
    async fn taken(&self, parent: Digested<Block>, mut ancestry: impl Ancestry<Block>) -> Taken {
        let last_final = self.0.head.borrow().height();
        let mut taken = Taken::default();
        let mut next = Some(parent);
        while let Some(block) = next.filter(|block| block.inner().header().height > last_final) {
            for (sender, nonce) in self.senders(block.inner()).await {
                let free = taken.nonces.entry(sender).or_default();
                *free = (*free).max(nonce.saturating_add(1));
            }
            taken.blobs.extend(block.inner().blobs().iter().map(|blob| blob_hash(blob)));
            next = ancestry.next().await;
        }
        taken
    }

    /// Senders and nonces of a block's transactions.
    async fn senders(&self, block: &Block) -> Vec<(Address, u64)> {
        match self.0.outcomes.get(block.hash()) {
            Some(executed) => executed.used.clone(),
            None => used(&self.decode(block).await.unwrap_or_default()),
        }
    }

    /// Decodes all transactions of a block; nothing if one is no transaction.
    async fn decode(&self, block: &Block) -> Option<Vec<Transaction>> {
        let recovery = &self.0.queues.recovery;
        match recovery.decode(block.transactions().to_vec()).await {
            Ok(transactions) => {
                recovery.remember(transactions.iter().map(|tx| (*tx.tx_hash(), tx.signer())));
                Some(transactions)
            }
            Err(error) => {
                tracing::warn!(height = block.header().height, %error, "block holds no transaction");
                None
            }
        }
    }

    /// The committees that matter to the child of `parent`, whose state `batch` is.
    async fn seats<E: Spawner + StorageContext>(&self, batch: &Batch<E>, parent: &Header) -> Seats {
        match self.0.committees.seats(&BatchStore::<E>(batch), parent).await {
            Ok(seats) => seats,
            Err(error) => fail_stop("failed to read the committee", &error),
        }
    }

    /// Records whom the first block of a term elected, and says when peers may have changed. This is done
    /// before the head moves, because the engine of a term begins when the head is the last block before it.
    async fn keep_committees(&self, block: &Finalized, store: &impl Store) {
        let Shared { committees, history, peers, .. } = &*self.0;
        let height = block.height();
        let begins = height == committees.first_height(committees.term(height));
        if begins && let Err(error) = committees.keep(store, &block.header, history).await {
            fail_stop("failed to keep the committee of the next term", &error);
        }
        let mut logs = block.receipts.iter().flat_map(|receipt| receipt.envelope.logs());
        if begins || logs.any(|log| log.address == VALIDATORS) {
            peers.send_replace(height);
        }
    }

    /// Keeps how a term ended, when `height` is its last: nobody can join later without it.
    async fn keep_end(&self, height: u64) {
        let Shared { committees, .. } = &*self.0;
        let term = committees.term(height);
        if height == committees.last_height(term)
            && let Err(error) = crate::join::ended(&self.0, term).await
        {
            fail_stop("failed to keep how a term ended", &error);
        }
    }

    /// Builds the block after `parent`.
    async fn build<E: Spawner + StorageContext>(
        &self,
        mut header: Header,
        (batch, taken): (Batch<E>, Taken),
        patience: Patience,
    ) -> Result<(Block, Sealed<E>), ExecuteError> {
        let shared = &self.0;
        let limits = (candidates_max(), MAX_TRANSACTIONS_BYTES);
        let candidates = shared.queues.candidates(header.base_fee, &taken.nonces, limits);
        let env = environment(&header);
        let store = BatchStore::<E>(&batch);
        let proposal = propose_block(&store, &env, &candidates, patience).await?;
        let first = proposal.included.is_empty();
        for skipped in &proposal.skipped {
            shared.queues.skipped(&candidates[skipped.index], &skipped.reason, first);
        }
        let chosen: Vec<&Transaction> =
            proposal.included.iter().map(|index| &*candidates[*index]).collect();
        let body = Body {
            transactions: chosen.iter().map(|tx| Bytes::from(tx.encoded_2718())).collect(),
            blobs: shared.queues.blob_candidates(&taken.blobs, header.height),
        };
        let outcome = proposal.outcome;
        let sealed = state::seal::<E>(batch, header.height, &outcome.writes).await?;
        header.state = state::commitment::<E>(&sealed);
        (header.receipts_root, header.logs_bloom) = summary(&outcome.receipts);
        header.gas_used = outcome.gas_used;
        let block = Block::build(header, body)
            .map_err(|error| ExecuteError::Internal(format!("built a bad body: {error}")))?;
        let used = chosen.iter().map(|tx| (tx.signer(), nonce(tx))).collect();
        let executed = Executed::new(block.header().height, outcome, used);
        shared.outcomes.insert(block.hash(), executed);
        Ok((block, sealed))
    }

    /// Executes a block over its parent's state; nothing if it is invalid.
    async fn replay(
        &self,
        store: &impl Store,
        block: &Block,
    ) -> Result<Option<(BlockOutcome, Vec<(Address, u64)>)>, ExecuteError> {
        let Some(transactions) = self.decode(block).await else { return Ok(None) };
        let header = block.header();
        let outcome = match execute_block(store, &environment(header), &transactions).await {
            Ok(outcome) => outcome,
            Err(ExecuteError::Invalid { index, reason }) => {
                tracing::warn!(height = header.height, index, %reason, "block holds an invalid transaction");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let same = (header.receipts_root, header.logs_bloom) == summary(&outcome.receipts)
            && header.gas_used == outcome.gas_used;
        if !same {
            tracing::warn!(height = header.height, "block names other receipts than it makes");
            return Ok(None);
        }
        Ok(Some((outcome, used(&transactions))))
    }

    /// Executes and seals a block; nothing if it is invalid.
    async fn apply<E: Spawner + StorageContext>(
        &self,
        block: &Block,
        batch: Batch<E>,
    ) -> Result<Option<Sealed<E>>, ExecuteError> {
        let replayed = self.replay(&BatchStore::<E>(&batch), block).await?;
        let Some((outcome, used)) = replayed else { return Ok(None) };
        let sealed = state::seal::<E>(batch, block.header().height, &outcome.writes).await?;
        if state::commitment::<E>(&sealed) != block.header().state {
            tracing::warn!(
                height = block.header().height,
                "block names another state than it makes"
            );
            return Ok(None);
        }
        let executed = Executed::new(block.header().height, outcome, used);
        self.0.outcomes.insert(block.hash(), executed);
        Ok(Some(sealed))
    }

    /// Begins the history below the block at `height`, if the state it stands on was fetched from peers.
    async fn reach<E: Spawner + StorageContext>(&self, height: u64, readers: &Reader<StateDb<E>>) {
        let below = height.saturating_sub(1);
        match self.0.history.head() {
            Ok(head) if head.is_none_or(|head| head >= below) => {}
            Ok(_) => {
                let root = B256::from(readers.read().await.root().0);
                if let Err(error) = join::begin(&self.0, below, root).await {
                    fail_stop("failed to begin with the fetched state", &error);
                }
            }
            Err(error) => fail_stop("failed to read the history", &error),
        }
    }

    /// What a final block did, executing it again if that is no longer in memory.
    async fn outcome<E: Spawner + StorageContext>(
        &self,
        block: &Block,
        readers: &Reader<StateDb<E>>,
    ) -> Arc<Executed> {
        if let Some(executed) = self.0.outcomes.get(block.hash()) {
            return executed;
        }
        match self.replay(&AppliedStore(readers), block).await {
            Ok(Some((outcome, used))) => {
                Arc::new(Executed::new(block.header().height, outcome, used))
            }
            Ok(None) => fail_stop("final block", &"it is invalid here"),
            Err(error) => fail_stop("failed to execute a final block again", &error),
        }
    }
}

fn nonce(tx: &Transaction) -> u64 {
    alloy_consensus::Transaction::nonce(tx.inner())
}

fn used(transactions: &[Transaction]) -> Vec<(Address, u64)> {
    transactions.iter().map(|tx| (tx.signer(), nonce(tx))).collect()
}

/// Receipts root and the union of the blooms.
fn summary(receipts: &[Receipt]) -> (B256, Bloom) {
    let encoded: Vec<_> = receipts.iter().map(|receipt| receipt.envelope.encoded_2718()).collect();
    let bloom =
        receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.envelope.bloom());
    (trie::root(&encoded), bloom)
}

impl<E: Spawner + StorageContext + Clock> Application<E> for App {
    type SigningScheme = ed25519::Scheme;
    type Context = ConsensusContext;
    type Block = Block;
    type Databases = Databases<E>;
    type Captured = (Arc<Finalized>, Arc<Executed>);
    type Provider = ();
    type Input = ();

    fn sync_targets(block: &Block) -> Targets<E> {
        state::targets::<E>(&block.header().state)
    }

    async fn genesis(&mut self) -> Block {
        Block::clone(&self.0.genesis)
    }

    async fn propose(
        &mut self,
        (runtime, context): (E, ConsensusContext),
        ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
        _: Input<(), ()>,
    ) -> Option<Proposed<Self, E>> {
        let mut ancestry = ancestry;
        let parent = ancestry.next().await?;
        let taken = self.taken(parent.clone(), ancestry).await;
        let round = (context.epoch().get(), context.view(), context.parent.0);
        let now = runtime.current().epoch_millis();
        #[cfg(test)]
        let now = now + crate::testing::ahead(&self.0.keys);
        let parent = parent.inner().header();
        let seats = self.seats::<E>(&batch, parent).await;
        let header = self.0.chain.draft((parent, &seats), &self.0.keys, round, now)?;
        let until = runtime.current() + BUILD_TIME;
        let patience = Patience::while_true(move || runtime.current() < until);
        match self.build::<E>(header, (batch, taken), patience).await {
            Ok((block, merkleized)) => {
                debug_assert_eq!(self.0.chain.check(block.header(), parent, &seats), Ok(()));
                Some(Proposed { block, merkleized })
            }
            Err(error) => fail_stop("failed to build a block", &error),
        }
    }

    async fn process(
        &mut self,
        (runtime, _): (E, ConsensusContext),
        ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
        finality: Finality,
    ) -> Option<Sealed<E>> {
        let mut ancestry = ancestry;
        let block = ancestry.next().await?;
        if finality == Finality::Candidate {
            let parent = ancestry.next().await?;
            let (header, parent) = (block.inner().header(), parent.inner().header());
            let seats = self.seats::<E>(&batch, parent).await;
            if let Err(error) = self.0.chain.check(header, parent, &seats) {
                tracing::warn!(height = header.height, %error, "block breaks a rule");
                return None;
            }
            if header.timestamp_ms > earliest(parent) {
                let early = Duration::from_millis(header.timestamp_ms.saturating_sub(SKEW_MS));
                runtime.sleep_until(SystemTime::UNIX_EPOCH + early).await;
            }
        }
        match self.apply::<E>(block.inner(), batch).await {
            Ok(sealed) => sealed,
            Err(error) => fail_stop("failed to execute a block", &error),
        }
    }

    async fn capture(
        &mut self,
        (runtime, _): (E, ConsensusContext),
        block: &Block,
        _: &Sealed<E>,
        readers: Reader<StateDb<E>>,
    ) -> Self::Captured {
        self.reach(block.header().height, &readers).await;
        let executed = self.outcome::<E>(block, &readers).await;
        let captured = (Arc::new(executed.finalized(block)), executed);
        let (history, record) = (Arc::clone(&self.0.history), captured.clone());
        // The write waits for the disk, so it runs where waiting is allowed.
        let recording = runtime
            .child("history")
            .shared(true)
            .spawn(move |_| async move { history.record(&record.0, &record.1.undo) });
        match recording.await {
            Ok(Ok(())) => captured,
            Ok(Err(error)) => fail_stop("failed to record a block", &error),
            // Only a runtime that ends refuses a task, and then it ends this one here too.
            Err(_) => std::future::pending().await,
        }
    }

    async fn finalized(
        &mut self,
        _: (E, ConsensusContext),
        _: &Block,
        (finalized, executed): Self::Captured,
        readers: Reader<StateDb<E>>,
    ) {
        let height = finalized.height();
        let carried = finalized.blobs.iter().flatten().map(|blob| blob_hash(blob));
        let (used, written) = (&executed.used, &executed.written);
        for sender in self.0.queues.finalized(height, used, written, carried) {
            match account_at(&AppliedStore(&readers), sender).await {
                Ok(account) => self.0.queues.check(sender, &account),
                Err(error) => fail_stop("failed to read the state", &error),
            }
        }
        self.0.outcomes.forget(height);
        self.keep_committees(&finalized, &AppliedStore(&readers)).await;
        self.keep_end(height).await;
        self.0.head.send_if_modified(|head| {
            let newer = height > head.height();
            if newer {
                *head = finalized;
            }
            newer
        });
    }
}

impl Executed {
    fn finalized(&self, block: &Block) -> Finalized {
        Finalized {
            hash: block.hash(),
            header: block.header().clone(),
            transactions: block.transactions().to_vec(),
            receipts: self.receipts.clone(),
            blobs: Some(block.blobs().to_vec()),
        }
    }

    fn new(height: u64, outcome: execution::BlockOutcome, used: Vec<(Address, u64)>) -> Self {
        let undo: Undo = outcome.undo.iter().map(|(key, value)| (key.hash(), *value)).collect();
        let account = |(key, value): (&Key, &Option<Value>)| match key {
            Key::Account(address) => {
                Some((*address, value.as_ref().map(Account::decode).unwrap_or_default()))
            }
            _ => None,
        };
        let written = outcome.writes.iter().filter_map(account).collect();
        Self { height, receipts: outcome.receipts, undo, used, written }
    }
}

#[cfg(test)]
mod tests;
