//! The handle through which everything else uses the ledger.
//!
//! Cheap to clone and free of the engine's types. What is recorded (headers, blocks, receipts) is
//! read at once from the history file; what needs the state is asked of the ledger's runtime. The
//! handle outlives a stopped ledger: then the latter gives [`QueryError::Stopped`].

use crate::{
    committee::Validator,
    faults::DoubleVote,
    genesis::Genesis,
    header::Header,
    history::{Finalized, History, HistoryError, Located},
    join::Tip,
    latest::Watch,
    mempool::{BlobRefused, PoolRefused, Source},
    query::{Asking, Query, QueryError},
    queues::{Queues, Transaction},
    state::{StateProof, Views},
};
use alloy_primitives::{Address, B256, Bloom, U256};
use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt as _};
use execution::{
    Account, Call, CallResult, DecodeError, InvalidTx, Key, Receipt, next_base_fee, validate,
};
use std::{ops::RangeInclusive, sync::Arc};
use tokio::sync::{oneshot, watch};

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// The bytes are no signed transaction.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// No block of this ledger may hold it.
    #[error(transparent)]
    Invalid(#[from] InvalidTx),
    /// The pool of waiting transactions does not take it.
    #[error(transparent)]
    Pool(#[from] PoolRefused),
    /// The sender's account could not be read.
    #[error(transparent)]
    State(#[from] QueryError),
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) genesis_hash: B256,
    pub(crate) history: Arc<History>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) head: Watch<Arc<Finalized>>,
    pub(crate) queries: Asking,
    pub(crate) faults: watch::Receiver<Vec<DoubleVote>>,
}

/// A handle on a running ledger.
#[derive(Clone, Debug)]
pub struct Ledger(pub(crate) Arc<Inner>);

impl Ledger {
    /// The genesis file the ledger began with.
    pub fn genesis(&self) -> &Genesis {
        &self.0.genesis
    }

    /// The digest of the genesis block, which names the ledger.
    pub fn genesis_hash(&self) -> B256 {
        self.0.genesis_hash
    }

    /// EIP-155 id of the ledger.
    pub fn chain_id(&self) -> u64 {
        self.0.genesis.chain_id
    }

    /// Takes a signed transaction (EIP-2718 bytes) to be put into a block, and gives its hash. Peers
    /// are told of it until a final block holds it.
    ///
    /// It waits in memory only: one that no block holds when the program ends has to be sent again,
    /// unless a peer has it.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn submit(&self, raw: &[u8]) -> Result<B256, Rejected> {
        let tx = execution::decode(raw)?;
        let (account, height) = self.sender(tx.signer()).await?;
        validate(&tx, &account, self.chain_id())?;
        Ok(self.0.queues.insert(tx, (&account, height), (Source::Own, true))?)
    }

    /// The account of a sender, and the height after which it is so.
    async fn sender(&self, sender: Address) -> Result<(Account, u64), QueryError> {
        if self.0.queries.is_closed() {
            return Err(QueryError::Stopped);
        }
        if let Some(known) = self.0.queues.account(&sender) {
            return Ok(known);
        }
        let height = self.head().height();
        let account = self.account(sender, height).await?;
        self.0.queues.remember(sender, account, height);
        Ok((account, height))
    }

    /// Takes an evidence blob to be carried by a block, and gives its BLAKE3 hash.
    ///
    /// It waits in memory only: whoever needs it carried keeps it until a final block holds it. Peers
    /// are told of it too, and take it if this node has a seat.
    ///
    /// # Errors
    /// It is too large or known, or the queue is full and should be tried again later.
    pub fn submit_blob(&self, blob: Bytes) -> Result<B256, BlobRefused> {
        if self.0.queries.is_closed() {
            return Err(BlobRefused::Stopped);
        }
        self.0.queues.insert_blob(blob, Source::Own)
    }

    /// A transaction that waits for a block, or whose block is final and not readable yet: whoever asks
    /// this first and [`Ledger::transaction`] second misses none on its way.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn waiting(&self, hash: B256) -> Result<Option<Transaction>, HistoryError> {
        if let Some(waiting) = self.0.queues.get(&hash) {
            return Ok(Some(Transaction::clone(&waiting)));
        }
        let ahead = self.0.history.transaction(hash)?.filter(|located| !self.readable(located));
        let Some(located) = ahead else { return Ok(None) };
        let decoded = execution::decode(&located.transaction);
        decoded.map(Some).map_err(|_| HistoryError::Corrupt("a transaction does not decode"))
    }

    /// Number of waiting transactions, and bytes of this node's own waiting blobs.
    pub fn load(&self) -> (usize, usize) {
        self.0.queues.load()
    }

    /// The nonce of `sender`'s next transaction after its final and its waiting ones.
    ///
    /// # Errors
    /// The state could not be read.
    pub async fn pending_nonce(&self, sender: Address) -> Result<u64, QueryError> {
        let (account, _) = self.sender(sender).await?;
        Ok(self.0.queues.pending_nonce(sender, account.nonce))
    }

    /// The last final block.
    pub fn head(&self) -> Arc<Finalized> {
        self.0.head.borrow()
    }

    /// The base fee of the next block, in wei a unit of gas.
    pub fn next_base_fee(&self) -> u64 {
        let head = self.head();
        next_base_fee(head.header.base_fee, head.header.gas_used, head.header.gas_limit)
    }

    /// The header at a height. From before this node's first block those that ended terms are kept.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn header(&self, height: u64) -> Result<Option<Header>, HistoryError> {
        match self.0.history.header(height) {
            Err(before @ HistoryError::Before { .. }) => {
                self.ended(height)?.map(Some).ok_or(before)
            }
            header => header,
        }
    }

    /// The header at `height` if a term ended there and this node has kept how.
    fn ended(&self, height: u64) -> Result<Option<Header>, HistoryError> {
        let Some(kept) = self.0.history.link(self.term(height))? else { return Ok(None) };
        let tip = Tip::decode(Copying(&kept[..]))
            .map_err(|_| HistoryError::Corrupt("the end of a term"))?;
        Ok((tip.header.height == height).then_some(tip.header))
    }

    /// The validators of a term, by key; nothing for a term that is not elected yet, or that ended before
    /// this node began. A header names their [`crate::Committee`] by its digest.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn committee(&self, term: u64) -> Result<Option<Vec<Validator>>, HistoryError> {
        self.0.history.committee(term)
    }

    /// The term of a height.
    pub fn term(&self, height: u64) -> u64 {
        height / self.0.genesis.term_length.max(1)
    }

    /// The double votes that this node saw since it started, at most 256 of them, one a seat and term.
    pub fn double_votes(&self) -> watch::Receiver<Vec<DoubleVote>> {
        self.0.faults.clone()
    }

    /// The first height from which this node has all blocks: 0, unless it fetched its state from others.
    /// Asking for a block below it gives [`HistoryError::Before`].
    ///
    /// # Errors
    /// The history could not be read.
    pub fn first(&self) -> Result<u64, HistoryError> {
        self.0.history.first()
    }

    /// The block at a height with its receipts.
    ///
    /// # Errors
    /// The history could not be read, or the node began above the height.
    pub fn block(&self, height: u64) -> Result<Option<Arc<Finalized>>, HistoryError> {
        let head = self.head();
        // A head without blobs may be one whose state was fetched: of that the header alone is here.
        if head.height() == height && head.blobs.is_some() {
            return Ok(Some(head));
        }
        if height > head.height() {
            return Ok(None);
        }
        Ok(self.0.history.finalized(height)?.map(Arc::new))
    }

    /// The height of the block with a digest.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn height_of(&self, hash: B256) -> Result<Option<u64>, HistoryError> {
        let height = self.0.history.height_of(hash)?;
        Ok(height.filter(|height| *height <= self.head().height()))
    }

    /// The block with a digest.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn block_by_hash(&self, hash: B256) -> Result<Option<Arc<Finalized>>, HistoryError> {
        match self.0.history.height_of(hash)? {
            Some(height) => self.block(height),
            None => Ok(None),
        }
    }

    /// The receipts of the block at a height.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn receipts(&self, height: u64) -> Result<Option<Vec<Receipt>>, HistoryError> {
        self.0.history.receipts(height)
    }

    /// A final transaction, its place and its receipt, once the state after its block can be read: the
    /// history holds a block a moment before the state does, and who sees a receipt expects its effects.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn transaction(&self, hash: B256) -> Result<Option<Located>, HistoryError> {
        Ok(self.0.history.transaction(hash)?.filter(|located| self.readable(located)))
    }

    fn readable(&self, located: &Located) -> bool {
        located.place.height <= self.head().height()
    }

    /// Heights whose logs have a bloom that `may_match`; at most `limit`. A bloom may be wrong towards yes,
    /// so the logs have to be looked at.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn heights_with_logs(
        &self,
        heights: RangeInclusive<u64>,
        may_match: impl Fn(&Bloom) -> bool,
        limit: usize,
    ) -> Result<Vec<u64>, HistoryError> {
        self.0.history.candidates(heights, may_match, limit)
    }

    /// The oldest height whose state can be asked for.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn oldest_state(&self) -> Result<u64, HistoryError> {
        self.0.history.oldest_state()
    }

    /// Runs a call on the state after `height`, in the environment of that block.
    ///
    /// # Errors
    /// The call cannot begin, or the state of the height is unknown. A revert is an answer.
    pub async fn call(&self, request: Call, height: u64) -> Result<CallResult, QueryError> {
        self.ask(|reply| Query::Call(Box::new(request), height, reply)).await
    }

    /// The gas limit with which a call succeeds on the state after `height`.
    ///
    /// # Errors
    /// It does not succeed with any, or the state of the height is unknown.
    pub async fn estimate(&self, request: Call, height: u64) -> Result<u64, QueryError> {
        self.ask(|reply| Query::Estimate(Box::new(request), height, reply)).await
    }

    /// An account after `height`; an empty one if there is none.
    ///
    /// # Errors
    /// The state of the height is unknown or no longer kept.
    pub async fn account(&self, address: Address, height: u64) -> Result<Account, QueryError> {
        self.ask(|reply| Query::Account(address, height, reply)).await
    }

    /// A storage slot after `height`.
    ///
    /// # Errors
    /// The state of the height is unknown or no longer kept.
    pub async fn slot(
        &self,
        address: Address,
        index: U256,
        height: u64,
    ) -> Result<U256, QueryError> {
        self.ask(|reply| Query::Slot(address, index, height, reply)).await
    }

    /// The code of an account after `height`.
    ///
    /// # Errors
    /// The state of the height is unknown or no longer kept.
    pub async fn code(&self, address: Address, height: u64) -> Result<Bytes, QueryError> {
        self.ask(|reply| Query::Code(address, height, reply)).await
    }

    /// Proves what keys hold in the last applied state; the proof names its height and root.
    ///
    /// # Errors
    /// The state could not be read.
    pub async fn prove(&self, keys: Vec<Key>) -> Result<StateProof, QueryError> {
        self.ask(|reply| Query::Prove(keys, reply)).await
    }

    /// Proves all that views of system contracts read in the last applied state, and accounts besides, so
    /// that whoever runs the same views over the proven values needs nobody's word for the results.
    ///
    /// # Errors
    /// They read too much ([`crate::VIEW_KEYS_MAX`]), take too long, or the state could not be read.
    pub async fn prove_views(&self, views: Views) -> Result<(Vec<Key>, StateProof), QueryError> {
        self.ask(|reply| Query::View(Box::new(views), reply)).await
    }

    /// The encoded simplex finalization of a height, if this node holds one: a block may be final
    /// through a later one alone.
    ///
    /// # Errors
    /// The ledger has stopped.
    pub async fn certificate(&self, height: u64) -> Result<Option<Bytes>, QueryError> {
        self.ask(|reply| Query::Certificate(height, reply)).await
    }

    /// The engine's metrics in Prometheus' text format.
    ///
    /// # Errors
    /// The ledger has stopped.
    pub async fn metrics(&self) -> Result<String, QueryError> {
        self.ask(Query::Metrics).await
    }

    /// Every block from the one after the head on.
    pub fn subscribe(&self) -> Subscription {
        self.subscribe_from(self.head().height().saturating_add(1))
    }

    /// Every block from `height` on, past ones included.
    pub fn subscribe_from(&self, height: u64) -> Subscription {
        Subscription { ledger: self.clone(), head: self.0.head.clone(), next: height }
    }

    async fn ask<T>(
        &self,
        query: impl FnOnce(oneshot::Sender<Result<T, QueryError>>) -> Query,
    ) -> Result<T, QueryError> {
        let (reply, answer) = oneshot::channel();
        self.0.queries.ask(query(reply)).await?;
        answer.await.map_err(|_| QueryError::Stopped)?
    }
}

/// Final blocks in order, none left out.
///
/// Nothing is queued for a subscriber: it reads the blocks it has not seen from the history, so one
/// that lags costs no memory and loses nothing.
#[derive(Debug)]
pub struct Subscription {
    ledger: Ledger,
    head: Watch<Arc<Finalized>>,
    next: u64,
}

impl Subscription {
    /// The next block; nothing once the ledger has stopped and all blocks were given.
    ///
    /// # Errors
    /// The history could not be read.
    pub async fn next(&mut self) -> Result<Option<Arc<Finalized>>, HistoryError> {
        if self.ready().await { self.read().map(Some) } else { Ok(None) }
    }

    /// Waits until there is a next block. False once the ledger has stopped and all blocks were given.
    pub async fn ready(&mut self) -> bool {
        self.head.wait_for(|head| head.height() >= self.next).await.is_ok()
    }

    /// The next block, which is there since [`Subscription::ready`] said so. It may wait for the disk.
    ///
    /// # Errors
    /// The history could not be read.
    pub fn read(&mut self) -> Result<Arc<Finalized>, HistoryError> {
        let block = self.ledger.block(self.next)?;
        let missing = HistoryError::Corrupt("a height below the head is missing");
        self.next = self.next.saturating_add(1);
        block.ok_or(missing)
    }

    /// The height of the block that [`Subscription::next`] gives next.
    pub const fn height(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests;
