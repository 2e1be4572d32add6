//! Questions about the state, answered inside the ledger's own runtime.
//!
//! The state's files belong to that runtime, so a [`crate::Ledger`] asks through bounded channels, one
//! a [`Lane`]: sending needs an account's nonce, and must not wait for somebody's long calls. Each
//! answer runs on a thread that may wait, and ends when its asker has gone; a call has [`CALL_TIME`].

use crate::{
    application::Shared,
    history::HistoryError,
    rules::environment,
    state::{self, Databases, PastStore, StateProof, Views},
};
use alloy_primitives::{Address, U256};
use bytes::Bytes;
use commonware_runtime::Spawner;
use commonware_storage::Context as StorageContext;
use execution::{
    Account, Call, CallError, CallResult, Key, Patience, StoreError, account_at, call, code_at,
    estimate, slot_at,
};
use std::{future::Future, pin::Pin, sync::Arc, thread::available_parallelism, time::Duration};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Questions that may wait in a lane.
const QUESTIONS: usize = 256;
/// Reads answered at once.
const READS: usize = 8;
/// How long a call or an estimate may run.
const CALL_TIME: Duration = Duration::from_secs(5);

/// What kind of question, and so who waits for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lane {
    /// A few values of the state.
    Reads,
    /// Calls and estimates, which compute: half of the cores are for them.
    Calls,
}

impl Lane {
    fn slots(self) -> usize {
        match self {
            Self::Reads => READS,
            Self::Calls => available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
        }
    }
}

/// The askers' end of all lanes.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    reads: mpsc::Sender<Query>,
    calls: mpsc::Sender<Query>,
}

/// The answering end of all lanes.
pub(crate) type Asked = [(Lane, mpsc::Receiver<Query>); 2];

/// Opens all lanes.
pub(crate) fn lanes() -> (Asking, Asked) {
    let ((reads, of_reads), (calls, of_calls)) =
        (mpsc::channel(QUESTIONS), mpsc::channel(QUESTIONS));
    (Asking { reads, calls }, [(Lane::Reads, of_reads), (Lane::Calls, of_calls)])
}

impl Asking {
    /// Asks, once there is room in the question's lane.
    pub(crate) async fn ask(&self, query: Query) -> Result<(), QueryError> {
        let lane = match query {
            Query::Call(..) | Query::Estimate(..) | Query::View(..) => &self.calls,
            _ => &self.reads,
        };
        lane.send(query).await.map_err(|_| QueryError::Stopped)
    }

    /// Whether nobody answers any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.reads.is_closed()
    }
}

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
    View(Box<Views>, Reply<(Vec<Key>, StateProof)>),
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
    /// Serves all lanes below `context`.
    pub(crate) fn start(self, context: &E, questions: Asked) {
        let this = Arc::new(self);
        for lane in questions {
            let this = Arc::clone(&this);
            context.child("answers").spawn(move |runtime| this.serve(runtime, lane));
        }
    }

    /// Serves the questions of a lane.
    async fn serve(
        self: Arc<Self>,
        runtime: E,
        (lane, mut questions): (Lane, mpsc::Receiver<Query>),
    ) {
        let free = Arc::new(Semaphore::new(lane.slots()));
        while let Some(query) = questions.recv().await {
            if let Query::Metrics(reply) = query {
                drop(reply.send(Ok(runtime.encode())));
                continue;
            }
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            let this = Arc::clone(&self);
            runtime.child("answer").shared(true).spawn(move |runtime| async move {
                let until = runtime.current() + CALL_TIME;
                let patience = Patience::while_true(move || runtime.current() < until);
                this.answer(query, patience).await;
                drop(permit);
            });
        }
    }

    async fn answer(&self, query: Query, patience: Patience) {
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
                    Ok(call(store, &environment(&header), &request, patience).await?)
                };
                self.reply(reply, height, run).await;
            }
            Query::Estimate(request, height, reply) => {
                let run = async |store: &PastStore<E>| {
                    let header = self.header(height)?;
                    Ok(estimate(store, &environment(&header), &request, patience).await?)
                };
                self.reply(reply, height, run).await;
            }
            Query::Prove(keys, reply) => {
                let proof = state::prove(&self.databases, &keys).await;
                drop(reply.send(proof.map_err(QueryError::from)));
            }
            Query::View(views, mut reply) => {
                let block = |height| self.header(height).map(|header| environment(&header));
                let proof = tokio::select! {
                    biased;
                    () = reply.closed() => return,
                    proof = state::prove_views(&self.databases, *views, block, patience) => proof,
                };
                drop(reply.send(proof));
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

    /// Answers from the state after `height`, unless that is unknown or gone, or the asker is.
    async fn reply<T>(
        &self,
        mut reply: Reply<T>,
        height: u64,
        answer: impl AsyncFnOnce(&PastStore<E>) -> Result<T, QueryError>,
    ) {
        let result = match self.past(height) {
            Ok(store) => tokio::select! {
                biased;
                () = reply.closed() => return,
                result = answer(&store) => result,
            },
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
