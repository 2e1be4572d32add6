//! What one connection may ask for before it has taken what it asked for.
//!
//! jsonrpsee reads a WebSocket as fast as its client writes, starts a task for each message, and lets answers
//! wait in memory until the client reads them. So a connection has a [`Flow`], which its stream ([`Gated`])
//! and its calls ([`Counted`]) share:
//!
//! * nothing more is read from the stream while [`ASKED_MAX`] messages are not answered, or while its client
//!   does not take what is written: then its requests wait where they cost the client, and not us;
//! * at most [`RUNNING_MAX`] calls run, and none begins while [`OWED_MAX`] bytes of answers are not written;
//! * a client that takes nothing for too long is cut off ([`Patient`]).
//!
//! All connections together have one [`Room`] for answers that are not written. An answer that is not small and
//! does not fit is dropped, and its caller told to ask later: so what clients hold by not reading has a
//! ceiling, and who asks for little is served all the same.
//!
//! A batch is one message with one answer. What is read at once, some KiB, may hold more messages than are
//! let in; they wait for their turn. What a subscription tells is written and not owed: it makes the count of
//! what is owed too small by as much as the client took.

use crate::error::Error;
use jsonrpsee::{
    core::middleware::{Batch, Notification, RpcServiceT},
    server::MethodResponse,
    types::{Id, Request},
};
use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};
use transport::Patient;

/// Messages of a connection that wait or run before no more are read.
const ASKED_MAX: usize = 16;
/// Calls of a connection that run at once.
const RUNNING_MAX: usize = 4;
/// Bytes of a connection's answers that wait to be written before no call begins.
const OWED_MAX: usize = 1 << 20;
/// Bytes of an answer for which there is always room: a connection holds no more of these than [`OWED_MAX`] and
/// [`RUNNING_MAX`] say.
const SMALL_MAX: usize = 64 << 10;

/// Room for the answers of all connections.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    taken: AtomicUsize,
}

impl Room {
    /// Room for so many bytes.
    pub(crate) const fn new(bytes: usize) -> Self {
        Self { bytes, taken: AtomicUsize::new(0) }
    }

    /// Takes room for an answer, if there is any.
    fn take(&self, bytes: usize) -> bool {
        let order = Ordering::Relaxed;
        let after = |taken: usize| {
            let taken = taken.saturating_add(bytes);
            (bytes <= SMALL_MAX || taken <= self.bytes).then_some(taken)
        };
        self.taken.fetch_update(order, order, after).is_ok()
    }

    /// Gives back what was taken.
    fn give(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// How a connection stands.
#[derive(Debug)]
pub(crate) struct Flow {
    room: Arc<Room>,
    state: Mutex<State>,
    /// Told whenever a call may begin.
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that wait or run.
    asked: usize,
    running: usize,
    /// Bytes of answers that are not written.
    owed: usize,
    /// Whether the client does not take what is written.
    stalled: bool,
    /// Who reads on once that is allowed.
    reader: Option<Waker>,
}

impl State {
    const fn reads(&self) -> bool {
        self.asked < ASKED_MAX && !self.stalled
    }

    const fn begins(&self) -> bool {
        self.running < RUNNING_MAX && self.owed < OWED_MAX
    }
}

impl Flow {
    /// A connection on which nothing was asked yet.
    pub(crate) fn new(room: Arc<Room>) -> Self {
        Self { room, state: Mutex::default(), freed: Notify::new() }
    }

    /// Owes an answer, if there is room for it.
    fn owe(&self, bytes: usize) -> bool {
        let fits = self.room.take(bytes);
        if fits {
            // Only what is owed is given back, so that this cannot wrap where the room did not.
            self.change(|state| state.owed = state.owed.saturating_add(bytes));
        }
        fits
    }

    /// So much was written, or is going to be: the client takes it, or does not.
    fn wrote(&self, bytes: usize, stalled: bool) {
        self.change(|state| {
            let paid = bytes.min(state.owed);
            state.owed -= paid;
            self.room.give(paid);
            state.stalled = stalled;
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes who waited for that.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let reader = if state.reads() { state.reader.take() } else { None };
        let begins = state.begins();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        if begins {
            self.freed.notify_waiters();
        }
    }

    /// Whether reading is allowed; if not, `cx` is woken once it is.
    fn reads(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state();
        if !state.reads() {
            state.reader = Some(cx.waker().clone());
        }
        state.reads()
    }

    /// Waits for a call's turn.
    async fn turn(self: Arc<Self>) -> Turn {
        self.change(|state| state.asked += 1);
        let mut turn = Turn { flow: self, began: false };
        loop {
            let mut freed = pin!(turn.flow.freed.notified());
            freed.as_mut().enable();
            if turn.flow.begin() {
                break;
            }
            freed.await;
        }
        turn.began = true;
        turn
    }

    /// Begins a call if one may begin.
    fn begin(&self) -> bool {
        let mut state = self.state();
        let begins = state.begins();
        state.running += usize::from(begins);
        begins
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.room.give(self.state().owed);
    }
}

/// A call that waits or runs. Dropping it ends it.
#[derive(Debug)]
struct Turn {
    flow: Arc<Flow>,
    began: bool,
}

impl Turn {
    /// Ends the call with its answer, which is owed if it is sent, or with why there is none.
    fn end(self, answer: MethodResponse, id: Id<'_>) -> MethodResponse {
        let is_owed = answer.is_method_call() || answer.is_batch();
        let bytes = answer.as_json().get().len();
        if !is_owed || self.flow.owe(bytes) {
            return answer;
        }
        drop(answer);
        let many = "other answers wait to be read, and there is no room for one of this size: ask later, or for less";
        let refused = MethodResponse::error(id, Error::Limit(many.into()));
        self.flow.owe(refused.as_json().get().len());
        refused
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let began = usize::from(self.began);
        self.flow.change(|state| {
            state.asked = state.asked.saturating_sub(1);
            state.running = state.running.saturating_sub(began);
        });
    }
}

/// The calls of a connection, each in its turn.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    calls: S,
    flow: Arc<Flow>,
}

impl<S> Counted<S> {
    pub(crate) const fn new(calls: S, flow: Arc<Flow>) -> Self {
        Self { calls, flow }
    }
}

impl<S> RpcServiceT for Counted<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Self { calls, flow } = self.clone();
        async move {
            let turn = flow.turn().await;
            let id = request.id.clone();
            turn.end(calls.call(request).await, id)
        }
    }

    fn batch<'a>(&self, requests: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Self { calls, flow } = self.clone();
        async move {
            let turn = flow.turn().await;
            turn.end(calls.batch(requests).await, Id::Null)
        }
    }

    fn notification<'a>(
        &self,
        said: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Self { calls, flow } = self.clone();
        async move {
            let turn = flow.turn().await;
            turn.end(calls.notification(said).await, Id::Null)
        }
    }
}

/// The stream of a connection.
#[derive(Debug)]
pub(crate) struct Gated<S> {
    stream: Patient<S>,
    flow: Arc<Flow>,
    stalled: bool,
}

impl<S> Gated<S> {
    /// Wraps the stream of a client that may take nothing for as long as `patience`.
    pub(crate) const fn new(stream: S, flow: Arc<Flow>, patience: Duration) -> Self {
        Self { stream: Patient::new(stream, patience), flow, stalled: false }
    }

    /// Passes on what a write came to, and notes it.
    fn passed<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let taken = match &written {
            Poll::Ready(Ok(done)) => bytes(done),
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        if taken > 0 || self.stalled != written.is_pending() {
            self.stalled = written.is_pending();
            self.flow.wrote(taken, self.stalled);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.flow.reads(cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.passed(written, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.passed(written, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.passed(flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
