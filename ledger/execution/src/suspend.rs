//! The rendezvous between the machine's thread and the asynchronous caller (design 5).
//!
//! ```text
//! caller (async)                      worker (thread)
//!   spawn ──────────────────────────▶ runs the job
//!   waits for a question ◀──────────── asks for keys, waits
//!   loads them (await) ──────────────▶ goes on
//!   joins the thread ◀──────────────── drops its end when the job is over
//! ```
//!
//! Rules:
//! * Exactly one of the two runs at any time. The caller blocks its thread only while the worker
//!   computes, as it would if it computed itself; it never blocks while it awaits the store.
//! * When the caller's future is dropped (it can be only while it awaits, when the worker waits), the
//!   worker's next answer is [`Closed`]; the job ends at once and the drop joins the thread.
//! * A panic in the job is an error of this execution, not of the program.

use crate::{
    key::{Key, Value},
    store::{Store, StoreError},
};
use std::{
    any::Any,
    io,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{Builder, JoinHandle},
};

/// Stack of the worker: revm keeps its frames on the heap, native contracts recurse a little.
const STACK_BYTES: usize = 8 << 20;

type Question = Vec<Key>;
type Answer = Vec<Option<Value>>;

/// The caller is gone or its store failed: the job should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("execution was stopped")]
pub(crate) struct Closed;

/// Why a suspended job gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuspendError {
    /// The store failed; the job was stopped.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system gave no thread.
    #[error("failed to start the execution thread: {0}")]
    Spawn(#[from] io::Error),
    /// The job panicked.
    #[error("execution panicked: {0}")]
    Panic(String),
}

/// The worker's end: asks for keys and waits.
#[derive(Debug)]
pub(crate) struct Loader {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
}

impl Loader {
    /// Loads `keys` through the caller, in their order.
    ///
    /// # Errors
    /// [`Closed`] when there is nobody to load them.
    pub(crate) fn load(&self, keys: Vec<Key>) -> Result<Vec<Option<Value>>, Closed> {
        let count = keys.len();
        self.questions.send(keys).map_err(|_| Closed)?;
        let values = self.answers.recv().map_err(|_| Closed)?;
        assert_eq!(values.len(), count, "a store answers every key it is asked for");
        Ok(values)
    }
}

/// The caller's end of a running job. Dropping it ends the job and joins its thread.
struct Worker<T> {
    questions: Receiver<Question>,
    answers: Option<Sender<Answer>>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Worker<T> {
    fn spawn(job: impl FnOnce(Loader) -> T + Send + 'static) -> io::Result<Self> {
        let (asks, questions) = channel();
        let (answers, answered) = channel();
        let loader = Loader { questions: asks, answers: answered };
        let thread = Builder::new()
            .name("execution".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || job(loader))?;
        Ok(Self { questions, answers: Some(answers), thread: Some(thread) })
    }

    /// Waits until the worker asks, or is over (`None`).
    fn question(&self) -> Option<Question> {
        self.questions.recv().ok()
    }

    /// Ends the conversation and waits for the thread.
    fn join(&mut self) -> Option<Result<T, Box<dyn Any + Send>>> {
        self.answers = None;
        self.thread.take().map(JoinHandle::join)
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.answers = None;
        if let Some(thread) = self.thread.take() {
            // The job's result or panic is of no interest to a caller that has gone.
            drop(thread.join());
        }
    }
}

/// Runs `job` on a thread of its own and loads what it asks for from `store`.
///
/// The job must give up its [`Loader`] when it returns, so its result cannot hold it.
pub(crate) async fn suspended<S, T>(
    store: &S,
    job: impl FnOnce(Loader) -> T + Send + 'static,
) -> Result<T, SuspendError>
where
    S: Store,
    T: Send + 'static,
{
    let mut worker = Worker::spawn(job)?;
    while let Some(keys) = worker.question() {
        let values = store.get_many(&keys).await?;
        if let Some(answers) = &worker.answers {
            // A worker that died instead of listening is found when it is joined.
            drop(answers.send(values));
        }
    }
    match worker.join() {
        Some(Ok(result)) => Ok(result),
        Some(Err(panic)) => Err(SuspendError::Panic(message(&*panic))),
        None => Err(SuspendError::Panic("the thread was joined twice".to_owned())),
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    text.or(owned).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests;
