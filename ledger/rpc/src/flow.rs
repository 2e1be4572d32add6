//! What one connection may ask for before it has taken what it asked for.
//!
//! jsonrpsee reads a WebSocket as fast as its client writes, starts a task for each message, and lets answers
//! wait in memory until the client reads them. So a connection has a [`Flow`], which its stream ([`Gated`])
//! and its calls ([`Counted`]) share:
//!
//! * nothing more is read from the stream while [`ASKED_MAX`] messages are not answered, or while its client
//!   does not take what is written: then its requests wait where they cost the client, and not us;
//! * at most [`RUNNING_MAX`] calls run, and none begins while [`OWED_MAX`] bytes of answers are not written;
//! * a client that takes nothing for too long is cut off.
//!
//! A batch is one message with one answer. What is read at once, some KiB, may hold more messages than are
//! let in; they wait for their turn. What a subscription tells is written and not owed: it makes the count of
//! what is owed too small by as much as the client took.

use jsonrpsee::{
    core::middleware::{Batch, Notification, RpcServiceT},
    server::MethodResponse,
    types::Request,
};
use std::{
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, Sleep},
};

/// Messages of a connection that wait or run before no more are read.
const ASKED_MAX: usize = 16;
/// Calls of a connection that run at once.
const RUNNING_MAX: usize = 4;
/// Bytes of a connection's answers that wait to be written before no call begins.
const OWED_MAX: usize = 1 << 20;

/// How a connection stands.
#[derive(Debug, Default)]
pub(crate) struct Flow {
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

/// A call that waits or runs. Dropping it ends it.
#[derive(Debug)]
struct Turn {
    flow: Arc<Flow>,
    began: bool,
}

impl Turn {
    /// Ends the call with an answer, which is owed if it is sent.
    fn end(self, answer: MethodResponse) -> MethodResponse {
        if answer.is_method_call() || answer.is_batch() {
            let bytes = answer.as_json().get().len();
            self.flow.change(|state| state.owed = state.owed.saturating_add(bytes));
        }
        answer
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
            turn.end(calls.call(request).await)
        }
    }

    fn batch<'a>(&self, requests: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Self { calls, flow } = self.clone();
        async move {
            let turn = flow.turn().await;
            turn.end(calls.batch(requests).await)
        }
    }

    fn notification<'a>(
        &self,
        said: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Self { calls, flow } = self.clone();
        async move {
            let turn = flow.turn().await;
            turn.end(calls.notification(said).await)
        }
    }
}

/// The stream of a connection.
#[derive(Debug)]
pub(crate) struct Gated<S> {
    stream: S,
    flow: Arc<Flow>,
    /// How long the client may take nothing.
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    stalled: bool,
}

impl<S> Gated<S> {
    pub(crate) fn new(stream: S, flow: Arc<Flow>, patience: Duration) -> Self {
        let timer = Box::pin(tokio::time::sleep(patience));
        Self { stream, flow, patience, timer, stalled: false }
    }

    /// Passes on what a write came to, unless nothing came of it for too long.
    fn passed<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = &written {
            let bytes = done.as_ref().map_or(0, bytes);
            self.stalled = false;
            self.flow.change(|state| {
                state.owed = state.owed.saturating_sub(bytes);
                state.stalled = false;
            });
            return written;
        }
        if !self.stalled {
            self.stalled = true;
            self.flow.change(|state| state.stalled = true);
            self.timer.as_mut().reset(Instant::now() + self.patience);
        }
        self.timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
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
        self.passed(cx, written, |bytes| *bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.passed(cx, written, |bytes| *bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.passed(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
