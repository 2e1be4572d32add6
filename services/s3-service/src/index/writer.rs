//! One thread writes the index. Changes that wait together share one transaction and one sync.
//! Where all runs on one thread ([`crate::aside`]) a task does it.
//!
//! A change that fails on its own account must fail before it changes anything; it fails alone. A
//! change that fails on the store's account takes the whole transaction with it.

use super::{Index, IndexError, Tables};
use crate::aside::{aside, is_single};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};
use tokio::sync::{mpsc, oneshot};
use transport::Pace;

/// Changes that may wait.
const QUEUE: usize = 1_024;
/// Changes in one transaction.
const BATCH: usize = 256;

/// Makes the change and says how to report it once the transaction is durable, or is not.
type Change = Box<dyn FnOnce(&mut Tables<'_>) -> Result<(), Fatal> + Send>;
type Report = Box<dyn FnOnce(Option<Fatal>) + Send>;
type Fatal = IndexError;

struct Job {
    change: Change,
    report: Report,
}

/// A handle on the writing thread, or task. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct Writer {
    index: Arc<Index>,
    jobs: mpsc::Sender<Job>,
    /// Of [`Writer::glance`].
    pace: Arc<Pace>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread or task.
    ///
    /// # Errors
    /// When the system makes no thread.
    pub fn start(index: Arc<Index>) -> std::io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel(QUEUE);
        let worker = Arc::clone(&index);
        if is_single() {
            tokio::spawn(async move {
                while let Some(first) = queue.recv().await {
                    commit(&worker, first, &mut queue);
                }
            });
            return Ok(Self { index, jobs, pace: Arc::default() });
        }
        std::thread::Builder::new().name("s3-index".into()).spawn(move || {
            while let Some(first) = queue.blocking_recv() {
                commit(&worker, first, &mut queue);
            }
        })?;
        Ok(Self { index, jobs, pace: Arc::default() })
    }

    /// The index, for reading.
    pub const fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Makes a change; durable when this returns.
    ///
    /// # Errors
    /// The change's own, [`IndexError::Store`], [`IndexError::Closed`].
    pub async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let (outcome_to, outcome_from) = std::sync::mpsc::sync_channel(1);
        let (done_to, done_from) = oneshot::channel();
        let change: Change = Box::new(move |tables| {
            let outcome = change(tables);
            let fatal = outcome.as_ref().err().filter(|error| error.is_fatal()).cloned();
            // The receiver lives in the report below, so this cannot fail.
            let _ = outcome_to.send(outcome);
            fatal.map_or(Ok(()), Err)
        });
        let report: Report = Box::new(move |fatal| {
            let outcome = match fatal {
                Some(fatal) => Err(fatal),
                None => outcome_from.try_recv().unwrap_or(Err(IndexError::Closed)),
            };
            // Whoever asked may have gone.
            let _ = done_to.send(outcome);
        });
        self.jobs.send(Job { change, report }).await.map_err(|_| IndexError::Closed)?;
        done_from.await.map_err(|_| IndexError::Closed)?
    }

    /// Reads, where blocking is allowed.
    ///
    /// # Errors
    /// The reading's own, [`IndexError::Store`], [`IndexError::Closed`].
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&super::Reader) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let index = Arc::clone(&self.index);
        aside(move || index.read(read)).await.ok_or(IndexError::Closed)?
    }
}

impl Writer {
    /// Reads a few rows: where it is asked, or, while such reads are slow, where blocking is allowed.
    ///
    /// # Errors
    /// As [`Writer::read`].
    pub async fn glance<T: Send + 'static>(
        &self,
        read: impl FnOnce(&super::Reader) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let pace = Arc::clone(&self.pace);
        let timed = move |reader: &super::Reader| {
            let begun = Instant::now();
            let done = read(reader);
            pace.took(begun.elapsed());
            done
        };
        if !self.pace.is_quick() {
            return self.read(timed).await;
        }
        // Of some damage redb panics.
        let done = catch_unwind(AssertUnwindSafe(|| self.index.read(timed)));
        done.unwrap_or(Err(IndexError::Closed))
    }

    /// Closes the index after all changes that were asked for before.
    pub async fn close(&self) {
        // A change that fails is no reason to leave the file open.
        let _ = self.write(|_| Ok(())).await;
        let index = Arc::clone(&self.index);
        let _ = aside(move || index.close()).await;
    }
}

/// Makes a change and those that wait with it.
fn commit(index: &Index, first: Job, queue: &mut mpsc::Receiver<Job>) {
    let mut batch = vec![first];
    while batch.len() < BATCH {
        match queue.try_recv() {
            Ok(job) => batch.push(job),
            Err(_) => break,
        }
    }
    let (changes, reports): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|job| (job.change, job.report)).unzip();
    let fatal =
        index.write(|tables| changes.into_iter().try_for_each(|change| change(tables))).err();
    if let Some(error) = &fatal {
        tracing::error!(%error, "index transaction failed");
    }
    reports.into_iter().for_each(|report| report(fatal.clone()));
}
