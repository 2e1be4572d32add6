//! The asking side: one request a stream, over a connection that the pool keeps.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use iroh::{
    EndpointAddr, PublicKey, TransportAddr,
    endpoint::{
        ConnectingError, ConnectionError, RecvStream, SendStream, TransportErrorCode, WriteError,
    },
};
use tokio::time::Instant;
use tracing::{Instrument, debug_span};

use crate::{
    Peer, Refusal,
    endpoint::Shared,
    frame::{self, ReadError},
    limits::{HEADER_BYTES_MAX, REFUSAL_BYTES_MAX},
};

/// TLS alert `no_application_protocol` (RFC 7301 section 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Why a peer could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody with that key answered at that address in time.
    #[error("no answer from the peer at {addr} within {after:?}")]
    TimedOut {
        /// Where it was looked for.
        addr: SocketAddr,
        /// How long.
        after: Duration,
    },
    /// The peer does not speak this protocol.
    #[error("the peer does not speak {0}")]
    Protocol(String),
    /// The peer's key is not a point of the curve.
    #[error("the peer's key is not an ed25519 key")]
    Key,
    /// This endpoint is closed.
    #[error("this endpoint is closed")]
    Closed,
    /// The handshake failed.
    #[error("failed to connect to {addr}: {reason}")]
    Failed {
        /// Where it was looked for.
        addr: SocketAddr,
        /// What went wrong.
        reason: String,
    },
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The peer could not be reached: nothing was sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Header or body is over this endpoint's own limit: nothing was sent.
    #[error("{part} of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// `header` or `body`.
        part: &'static str,
        /// Its size, bytes.
        bytes: usize,
        /// What is allowed, bytes.
        limit: usize,
    },
    /// The peer refused, and says why.
    #[error("refused by the peer: {0}")]
    Refused(Refusal),
    /// The connection was lost on the way: the peer may or may not have done what was asked.
    #[error("connection lost: {0}")]
    Lost(String),
    /// No answer in time: the peer may or may not have done what was asked.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The answer does not follow the protocol.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

/// The pool's place for one peer and protocol.
#[derive(Default)]
pub(crate) struct Slot {
    live: tokio::sync::Mutex<Live>,
    used: AtomicU64,
}

#[derive(Default)]
struct Live {
    connection: Option<iroh::endpoint::Connection>,
    failure: Option<(Instant, ConnectError)>,
}

impl Slot {
    pub(crate) fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// A way to one peer for one protocol. Cheap to clone; dials again by itself when the connection is lost.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    peer: Peer,
    alpn: &'static [u8],
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        slot: Arc<Slot>,
        peer: Peer,
        alpn: &'static [u8],
    ) -> Self {
        Self { shared, slot, peer, alpn }
    }

    /// The peer this leads to.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Waits until the connection stands.
    pub async fn ready(&self) -> Result<(), ConnectError> {
        self.live().await.map(drop)
    }

    /// Asks and waits for the answer, for at most [`crate::Limits::request_timeout`].
    ///
    /// # Errors
    /// See [`RequestError`]; after [`RequestError::Lost`] and [`RequestError::TimedOut`] the peer
    /// may have acted, so a request that must not be made twice has to carry its own identity.
    pub async fn request(
        &self,
        header: &[u8],
        body: Bytes,
    ) -> Result<(Vec<u8>, Bytes), RequestError> {
        self.request_within(header, body, self.shared.limits.request_timeout).await
    }

    /// Like [`Connection::request`] with a time limit of its own.
    pub async fn request_within(
        &self,
        header: &[u8],
        body: Bytes,
        timeout: Duration,
    ) -> Result<(Vec<u8>, Bytes), RequestError> {
        within("header", header.len(), HEADER_BYTES_MAX)?;
        within("body", body.len(), self.shared.max_frame)?;
        let span =
            debug_span!("transport.client.request", addr = %self.peer.address, bytes = body.len());
        tokio::time::timeout(timeout, self.exchange(header, body).instrument(span))
            .await
            .unwrap_or(Err(RequestError::TimedOut(timeout)))
    }

    async fn exchange(&self, header: &[u8], body: Bytes) -> Result<(Vec<u8>, Bytes), RequestError> {
        let (mut send, mut receive) = self.open().await?;
        let head = frame::head(None, header, body.len());
        match frame::write(&mut send, head, body).await {
            // A peer that has heard enough stops the stream and says why in its answer.
            Ok(()) | Err(WriteError::Stopped(_)) => {}
            Err(WriteError::ConnectionLost(cause)) => {
                return Err(RequestError::Lost(cause.to_string()));
            }
            Err(error) => return Err(RequestError::Lost(error.to_string())),
        }
        self.answer(&mut receive).await
    }

    /// Opens a stream. Nothing was sent yet, so one fresh dial is allowed when the pool's
    /// connection turns out to be dead.
    async fn open(&self) -> Result<(SendStream, RecvStream), RequestError> {
        if let Ok(streams) = self.live().await?.open_bi().await {
            return Ok(streams);
        }
        let connection = self.live().await?;
        connection.open_bi().await.map_err(|error| RequestError::Lost(error.to_string()))
    }

    async fn answer(&self, receive: &mut RecvStream) -> Result<(Vec<u8>, Bytes), RequestError> {
        match frame::read_status(receive).await? {
            frame::ANSWERED => {
                let header = frame::read_length(receive, HEADER_BYTES_MAX).await?;
                let body = frame::read_length(receive, self.shared.max_frame).await?;
                let header = frame::read_exactly(receive, header).await?;
                let body = frame::read_exactly(receive, body).await?;
                Ok((header, body.into()))
            }
            frame::REFUSED => {
                let text = frame::read_length(receive, REFUSAL_BYTES_MAX).await?;
                let code = frame::read_length(receive, 2).await?;
                let text = frame::read_exactly(receive, text).await?;
                let code = frame::read_exactly(receive, code).await?;
                let code = <[u8; 2]>::try_from(code)
                    .map_err(|_| RequestError::Malformed("refusal without a code".into()))?;
                let message = String::from_utf8_lossy(&text).into_owned();
                Err(RequestError::Refused(Refusal { code: u16::from_be_bytes(code), message }))
            }
            other => Err(RequestError::Malformed(format!("unknown status {other}"))),
        }
    }

    /// The pool's connection, dialled when there is none or it is closed. Callers who waited while
    /// another's dial failed share that failure instead of dialling one after the other.
    async fn live(&self) -> Result<iroh::endpoint::Connection, ConnectError> {
        let asked = Instant::now();
        let mut live = self.slot.live.lock().await;
        if let Some(connection) = &live.connection
            && connection.close_reason().is_none()
        {
            return Ok(connection.clone());
        }
        live.connection = None;
        if let Some((at, error)) = &live.failure
            && *at >= asked
        {
            return Err(error.clone());
        }
        match self.dial().await {
            Ok(connection) => {
                live.connection = Some(connection.clone());
                live.failure = None;
                Ok(connection)
            }
            Err(error) => {
                live.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn dial(&self) -> Result<iroh::endpoint::Connection, ConnectError> {
        let key = PublicKey::from_bytes(&self.peer.key).map_err(|_| ConnectError::Key)?;
        let addr = EndpointAddr::from_parts(key, [TransportAddr::Ip(self.peer.address)]);
        let after = self.shared.limits.connect_timeout;
        let timed_out = ConnectError::TimedOut { addr: self.peer.address, after };
        match tokio::time::timeout(after, self.shared.inner.connect(addr, self.alpn)).await {
            Err(_) => Err(timed_out),
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.explain(error, timed_out)),
        }
    }

    fn explain(
        &self,
        error: iroh::endpoint::ConnectError,
        timed_out: ConnectError,
    ) -> ConnectError {
        use iroh::endpoint::{ConnectError as Error, ConnectWithOptsError};
        let cause = match &error {
            Error::Connect { source: ConnectWithOptsError::EndpointClosed { .. }, .. } => {
                return ConnectError::Closed;
            }
            Error::Connecting {
                source: ConnectingError::ConnectionError { source, .. }, ..
            }
            | Error::Connection { source, .. } => Some(source),
            _ => None,
        };
        let no_protocol = TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL);
        match cause {
            Some(ConnectionError::TimedOut) => timed_out,
            Some(ConnectionError::LocallyClosed) => ConnectError::Closed,
            Some(ConnectionError::ConnectionClosed(close)) if close.error_code == no_protocol => {
                ConnectError::Protocol(String::from_utf8_lossy(self.alpn).into_owned())
            }
            _ => ConnectError::Failed { addr: self.peer.address, reason: format!("{error:#}") },
        }
    }
}

impl From<ReadError> for RequestError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Lost(reason) => Self::Lost(reason),
            ReadError::Truncated | ReadError::TooLong { .. } => Self::Malformed(error.to_string()),
        }
    }
}

fn within(part: &'static str, bytes: usize, limit: usize) -> Result<(), RequestError> {
    if bytes > limit {
        return Err(RequestError::TooLarge { part, bytes, limit });
    }
    Ok(())
}
