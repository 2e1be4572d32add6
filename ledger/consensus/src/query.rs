//! Questions about the state, answered inside the ledger's own runtime.
//!
//! The state's files belong to that runtime, so a [`crate::Ledger`] asks through a bounded channel.
//! At most [`ANSWERS`] questions are answered at once, each on a thread that may wait; a question
//! whose asker has gone is not answered.

use crate::{
    application::Shared,
    history::HistoryError,
    rules::environment,
    state::{self, Databases, PastStore, StateProof},
};
use alloy_primitives::{Address, U256};
use bytes::Bytes;
use commonware_runtime::Spawner;
use commonware_storage::Context as StorageContext;
use execution::{
    Account, Call, CallError, CallResult, Key, StoreError, account_at, call, code_at, estimate,
    slot_at,
};
use std::{future::Future, pin::Pin, sync::Arc};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Questions that may wait.
pub(crate) const QUESTIONS: usize = 256;
/// Questions answered at once.
const ANSWERS: usize = 8;

/// Why a question about the state has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is no such block yet.
    #[error("block {height} is not final, the last final one is {head}")]
    Unknown {
        /// The height asked for.
        height: u64,
        /// The last final height.
        head: u64,
    },
    /// The call did not run; a revert is an answer, except of an estimate.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The state of the height is not kept, or the history could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The ledger has stopped.
    #[error("the ledger has stopped")]
    Stopped,
}

type Reply<T> = oneshot::Sender<Result<T, QueryError>>;

/// A question and where its answer goes.
#[derive(Debug)]
pub(crate) enum Query {
    Account(Address, u64, Reply<Account>),
    Slot(Address, U256, u64, Reply<U256>),
    Code(Address, u64, Reply<Bytes>),
    Call(Box<Call>, u64, Reply<CallResult>),
    Estimate(Box<Call>, u64, Reply<u64>),
    Prove(Vec<Key>, Reply<StateProof>),
    Certificate(u64, Reply<Option<Bytes>>),
    Metrics(Reply<String>),
}

/// Fetches the certificate of a height as bytes.
pub(crate) type Certificates =
    Arc<dyn Fn(u64) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send>> + Send + Sync>;

/// Answers questions until nobody can ask any more.
pub(crate) struct Answers<E: Spawner + StorageContext> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) databases: Databases<E>,
    pub(crate) certificates: Certificates,
}

impl<E: Spawner + StorageContext> Answers<E> {
    /// Serves `questions`.
    pub(crate) async fn serve(self, runtime: E, mut questions: mpsc::Receiver<Query>) {
        let this = Arc::new(self);
        let free = Arc::new(Semaphore::new(ANSWERS));
        while let Some(query) = questions.recv().await {
            if let Query::Metrics(reply) = query {
                drop(reply.send(Ok(runtime.encode())));
                continue;
            }
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            let this = Arc::clone(&this);
            runtime.child("answer").shared(true).spawn(move |_| async move {
                this.answer(query).await;
                drop(permit);
            });
        }
    }

    async fn answer(&self, query: Query) {
        match query {
            Query::Account(address, height, reply) => {
                self.reply(reply, height, async |store| Ok(account_at(store, address).await?))
                    .await;
            }
            Query::Slot(address, index, height, reply) => {
                self.reply(reply, height, async |store| Ok(slot_at(store, address, index).await?))
                    .await;
            }
            Query::Code(address, height, reply) => {
                let code = async |store: &PastStore<E>| {
                    let account = account_at(store, address).await?;
                    Ok(code_at(store, account.code_hash).await?.into())
                };
                self.reply(reply, height, code).await;
            }
            Query::Call(request, height, reply) => {
                let run = async |store: &PastStore<E>| {
                    let header = self.header(height)?;
                    Ok(call(store, &environment(&header), &request).await?)
                };
                self.reply(reply, height, run).await;
            }
            Query::Estimate(request, height, reply) => {
                let run = async |store: &PastStore<E>| {
                    let header = self.header(height)?;
                    Ok(estimate(store, &environment(&header), &request).await?)
                };
                self.reply(reply, height, run).await;
            }
            Query::Prove(keys, reply) => {
                let proof = state::prove(&self.databases, &keys).await;
                drop(reply.send(proof.map_err(QueryError::from)));
            }
            // Answered by `serve`, which holds the runtime.
            Query::Metrics(_) => {}
            Query::Certificate(height, reply) => {
                drop(reply.send(Ok((self.certificates)(height).await)));
            }
        }
    }

    fn header(&self, height: u64) -> Result<crate::header::Header, QueryError> {
        let head = self.shared.head.borrow().height();
        self.shared.history.header(height)?.ok_or(QueryError::Unknown { height, head })
    }

    /// Answers from the state after `height`, unless that is unknown or gone.
    async fn reply<T>(
        &self,
        reply: Reply<T>,
        height: u64,
        answer: impl AsyncFnOnce(&PastStore<E>) -> Result<T, QueryError>,
    ) {
        if reply.is_closed() {
            return;
        }
        let result = match self.past(height) {
            Ok(store) => answer(&store).await,
            Err(error) => Err(error),
        };
        drop(reply.send(result));
    }

    fn past(&self, height: u64) -> Result<PastStore<E>, QueryError> {
        let head = self.shared.head.borrow().height();
        if height > head {
            return Err(QueryError::Unknown { height, head });
        }
        let oldest = self.shared.history.oldest_state()?;
        if height < oldest {
            return Err(HistoryError::Pruned { height, oldest }.into());
        }
        Ok(PastStore {
            databases: self.databases.clone(),
            history: Arc::clone(&self.shared.history),
            height,
        })
    }
}
