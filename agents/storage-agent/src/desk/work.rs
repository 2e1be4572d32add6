//! Who does the desk's work that blocks: threads, or whoever asks.
//!
//! In the program a thread of its own writes shards, many at a time, and tokio's threads do all else. Where
//! nothing may depend on when a thread ends, as in a simulation, the one who asks does it at once; shards
//! that are asked for at the same moment are written together there too.

use crate::{shard::Checked, store::Store};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread::JoinHandle,
};
use storage_kind::wire::Refusal;
use tokio::sync::{mpsc, oneshot};

/// Shards that wait to be written.
const QUEUE_MAX: usize = 64;
/// How many shards, and how many bytes of them, are written together.
const BATCH_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 64 << 20;

/// A shard to write, and who waits for it.
pub(crate) struct Job {
    checked: Checked,
    done: oneshot::Sender<Result<(), Refusal>>,
}

/// Who does it.
pub(crate) enum Work {
    /// A thread, to which shards are given, and tokio's threads.
    Threads(mpsc::Sender<Job>),
    /// Whoever asks; these shards wait to be written, no more of them than there are requests.
    Caller(Mutex<Vec<Job>>),
}

impl Work {
    /// Threads, and the one of them that writes, which ends when the desk is dropped.
    ///
    /// # Errors
    /// When the system makes no thread.
    pub(crate) fn threads(store: &Arc<Store>) -> io::Result<(Self, JoinHandle<()>)> {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        // The thread must not keep the store open when all others have let it go.
        let store = Arc::downgrade(store);
        let writing =
            std::thread::Builder::new().name("shards".into()).spawn(move || write(&store, jobs))?;
        Ok((Self::Threads(queue), writing))
    }

    /// Whoever asks.
    pub(crate) const fn caller() -> Self {
        Self::Caller(Mutex::new(Vec::new()))
    }

    /// Does what blocks.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, Refusal> + Send + 'static,
    ) -> Result<R, Refusal> {
        let done = match self {
            Self::Threads(_) => tokio::task::spawn_blocking(work).await.ok(),
            Self::Caller(_) => catch_unwind(AssertUnwindSafe(work)).ok(),
        };
        done.unwrap_or_else(|| {
            tracing::error!("a request's work panicked");
            Err(Refusal::Disk)
        })
    }

    /// Writes a shard; durable when this returns.
    pub(crate) async fn put(&self, store: &Store, checked: Checked) -> Result<(), Refusal> {
        let (done, outcome) = oneshot::channel();
        let job = Job { checked, done };
        match self {
            Self::Threads(queue) => queue.send(job).await.map_err(|_| Refusal::Busy)?,
            Self::Caller(waiting) => {
                waiting.lock().unwrap_or_else(PoisonError::into_inner).push(job);
                // Others who ask now come along, or write for this one.
                tokio::task::yield_now().await;
                let jobs =
                    std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
                let mut jobs = jobs.into_iter();
                while let Some(first) = jobs.next() {
                    Batch::gather(first, || jobs.next()).write(store);
                }
            }
        }
        outcome.await.map_err(|_| Refusal::Disk)?
    }
}

/// Writes what waits until nobody can ask for more.
fn write(store: &Weak<Store>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let Some(store) = store.upgrade() else { return };
        Batch::gather(first, || jobs.try_recv().ok()).write(&store);
    }
}

/// Shards that are written together, and who waits for each.
struct Batch {
    shards: Vec<Checked>,
    waiting: Vec<oneshot::Sender<Result<(), Refusal>>>,
}

impl Batch {
    fn gather(first: Job, mut next: impl FnMut() -> Option<Job>) -> Self {
        let mut bytes = first.checked.body.len();
        let (mut shards, mut waiting) = (vec![first.checked], vec![first.done]);
        while shards.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX {
            let Some(next) = next() else { break };
            bytes += next.checked.body.len();
            shards.push(next.checked);
            waiting.push(next.done);
        }
        Self { shards, waiting }
    }

    fn write(self, store: &Store) {
        // When the work panics, dropping the senders tells those who wait.
        let answers = catch_unwind(AssertUnwindSafe(|| store.put(&self.shards)));
        for (done, answer) in self.waiting.into_iter().zip(answers.unwrap_or_default()) {
            // Whoever asked may have gone.
            let _ = done.send(answer);
        }
    }
}
