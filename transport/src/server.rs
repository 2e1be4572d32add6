//! The answering side: connections in, one handler a protocol, every stage bounded.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use iroh::endpoint::{Incoming, IncomingAddr, RecvStream, SendStream, VarInt};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{Instrument, debug, debug_span, error};

use crate::{
    crowd::Place,
    endpoint::{Shared, close_gracefully},
    frame::{self, ReadError},
    limits::{HEADER_BYTES_MAX, REFUSAL_BYTES_MAX},
    memory::{AnswerRoom, Room, Share},
};

/// Code with which a connection is closed whose key has enough of them.
const CROWDED: u32 = 1;

/// Codes of refusals that the transport itself makes. Protocols number theirs from [`code::PROTOCOL`].
pub mod code {
    /// A frame is over the server's limit.
    pub const TOO_LARGE: u16 = 1;
    /// The request did not arrive, or was not handled, in time.
    pub const TIMED_OUT: u16 = 2;
    /// The request is not of the protocol's form.
    pub const MALFORMED: u16 = 3;
    /// The handler failed.
    pub const FAILED: u16 = 4;
    /// The server has too much to do; the same request may succeed later.
    pub const BUSY: u16 = 5;
    /// First code that a protocol may give a meaning of its own.
    pub const PROTOCOL: u16 = 256;
}

/// A request that was not answered, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct Refusal {
    /// One of [`code`], or the protocol's own.
    pub code: u16,
    /// For people; at most 1 KiB of it travels.
    pub message: String,
}

impl Refusal {
    /// A refusal with a code of [`code`] or of the protocol.
    pub fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What answers the requests of one protocol.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request of `peer`, whose key the handshake proved. The future may be dropped when
    /// it takes longer than [`crate::Limits::request_timeout`] or the endpoint closes.
    fn handle(
        &self,
        peer: [u8; 32],
        header: Vec<u8>,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), Refusal>>;

    /// The largest body that the answer to a request with this header can have, bytes, as far as that is
    /// known. Requests are handled at once as long as these sum up to no more than
    /// [`crate::Limits::outbound_bytes_max`], so a handler that knows better than "a whole frame" should say so.
    fn answer_max(&self, _header: &[u8]) -> usize {
        usize::MAX
    }
}

/// Why a protocol cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// It is not among the protocols the endpoint was bound with.
    #[error("protocol {0} is not among those the endpoint was bound with")]
    NotBound(String),
}

/// The handlers by protocol.
#[derive(Default)]
pub(crate) struct Served(RwLock<BTreeMap<&'static [u8], Arc<dyn Handler>>>);

impl Served {
    /// Adds or replaces a handler; returns all protocols served now.
    pub(crate) fn insert(&self, alpn: &'static [u8], handler: Arc<dyn Handler>) -> Vec<Vec<u8>> {
        let mut served = self.0.write().unwrap_or_else(PoisonError::into_inner);
        served.insert(alpn, handler);
        served.keys().map(|alpn| alpn.to_vec()).collect()
    }

    /// Lets all handlers go.
    pub(crate) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn get(&self, alpn: &[u8]) -> Option<Arc<dyn Handler>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(alpn).cloned()
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let served = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(served.keys()).finish()
    }
}

/// Accepts connections until the endpoint stops, then drains those that stand.
pub(crate) async fn accept(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => report(ended),
            incoming = shared.inner.accept() => match incoming {
                None => break,
                Some(incoming) => if let Some((incoming, place)) = admit(&shared, incoming) {
                    connections.spawn(serve(Arc::clone(&shared), incoming, place));
                },
            },
        }
    }
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    shared.drained.send_replace(true);
}

/// Gives who dials a place, or turns it away.
fn admit(shared: &Shared, incoming: Incoming) -> Option<(Incoming, Place)> {
    if shared.crowd.is_dense() && !incoming.remote_addr_validated() {
        // It cannot fail: an address that is not validated may be asked to prove itself.
        let _ = incoming.retry();
        return None;
    }
    let place = match incoming.remote_addr() {
        IncomingAddr::Ip(addr) => shared.crowd.enter(addr.ip()),
        _ => None,
    };
    if place.is_none() {
        metrics::counter!("wayleave_transport_connections_refused_total").increment(1);
        incoming.refuse();
        return None;
    }
    Some((incoming, place?))
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(failure) = ended
        && failure.is_panic()
    {
        error!("a task of the transport panicked: {failure}");
    }
}

/// Serves one connection until it is lost or the endpoint stops.
async fn serve(shared: Arc<Shared>, incoming: Incoming, mut place: Place) {
    let limits = shared.limits;
    let connection = match timeout(limits.connect_timeout, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(failure)) => return debug!("handshake failed: {failure:#}"),
        Err(_) => return debug!("handshake took too long"),
    };
    let Some(handler) = shared.served.get(connection.alpn()) else {
        return close_gracefully(&connection);
    };
    let peer = *connection.remote_id().as_bytes();
    if !place.belongs_to(peer) {
        metrics::counter!("wayleave_transport_connections_refused_total").increment(1);
        return connection.close(VarInt::from_u32(CROWDED), b"this key has too many connections");
    }
    let asker = Asker { peer, share: Arc::clone(&place.share) };
    let requests_max = usize::try_from(limits.requests_per_connection_max).unwrap_or(usize::MAX);
    let mut stop = shared.stop.subscribe();
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = requests.join_next(), if !requests.is_empty() => report(ended),
            () = sleep(limits.quiet_timeout), if requests.is_empty() => if shared.crowd.is_dense() {
                break;
            },
            stream = connection.accept_bi(), if requests.len() < requests_max => match stream {
                Err(_) => break,
                Ok(streams) => {
                    let request = request(Arc::clone(&shared), Arc::clone(&handler), asker.clone(), streams);
                    let span = debug_span!("transport.server.request", peer = %short(&peer));
                    requests.spawn(request.instrument(span));
                }
            },
        }
    }
    // What was begun may finish even when the asker is gone: a shard on its way to the disk.
    let deadline = Instant::now() + limits.drain_timeout;
    while let Ok(Some(ended)) = timeout_at(deadline, requests.join_next()).await {
        report(ended);
    }
    close_gracefully(&connection);
}

fn short(key: &[u8; 32]) -> String {
    key[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Who asks, and the memory that it shares with others of its host.
#[derive(Clone)]
struct Asker {
    peer: [u8; 32],
    share: Arc<Share>,
}

/// Reads one request, has it handled, answers.
async fn request(
    shared: Arc<Shared>,
    handler: Arc<dyn Handler>,
    asker: Asker,
    (mut send, mut receive): (SendStream, RecvStream),
) {
    let patience = shared.limits.request_timeout;
    let ((head, body), _room) = match handled(&shared, handler, &asker, &mut receive).await {
        Some(Ok((header, body, room))) => match oversize(&shared, &header, &body) {
            None => ((frame::head(Some(frame::ANSWERED), &header, body.len()), body), Some(room)),
            Some(refusal) => (refused(&refusal), None),
        },
        Some(Err(refusal)) => (refused(&refusal), None),
        None => return,
    };
    // Only what is unread is stopped: a request read to its end is unaffected.
    let _ = receive.stop(VarInt::from_u32(0));
    let answered = timeout(patience, async {
        frame::write(&mut send, head, body).await.ok()?;
        // Held until it is acknowledged, so that closing the endpoint does not cut it off.
        send.stopped().await.ok()
    });
    if answered.await.is_err() {
        debug!("the answer was not taken in time");
    }
}

/// What the handler answers; `None` when the request never arrived whole.
async fn handled(
    shared: &Shared,
    handler: Arc<dyn Handler>,
    asker: &Asker,
    receive: &mut RecvStream,
) -> Option<Result<(Vec<u8>, Bytes, AnswerRoom), Refusal>> {
    let patience = shared.limits.request_timeout;
    let (header, body, _room) = match timeout(patience, read(shared, asker, receive)).await {
        Ok(Ok(request)) => request,
        Ok(Err(error @ ReadError::TooLong { .. })) => {
            return Some(Err(Refusal::new(code::TOO_LARGE, error.to_string())));
        }
        Ok(Err(error @ ReadError::Truncated)) => {
            return Some(Err(Refusal::new(code::MALFORMED, error.to_string())));
        }
        Ok(Err(ReadError::Lost(_))) => return None,
        Err(_) => {
            return Some(Err(Refusal::new(code::TIMED_OUT, "the request took too long to arrive")));
        }
    };
    metrics::counter!("wayleave_transport_requests_total").increment(1);
    metrics::counter!("wayleave_transport_request_bytes_total")
        .increment(u64::try_from(body.len()).unwrap_or(u64::MAX));
    let answering = async {
        let most = handler.answer_max(&header).min(shared.max_frame);
        let room = shared.memory.answer(&asker.share, most).await;
        let room = room.map_err(|error| Refusal::new(code::BUSY, error.to_string()))?;
        let (header, body) = handler.handle(asker.peer, header, body).await?;
        Ok((header, body, room))
    };
    Some(timeout(patience, answering).await.unwrap_or_else(|_| {
        Err(Refusal::new(code::TIMED_OUT, "the request took too long to handle"))
    }))
}

type Request = (Vec<u8>, Bytes, Room);

async fn read(
    shared: &Shared,
    asker: &Asker,
    receive: &mut RecvStream,
) -> Result<Request, ReadError> {
    let header = frame::read_length(receive, HEADER_BYTES_MAX).await?;
    let most = shared.limits.inbound_frame_max.min(shared.max_frame);
    let body = frame::read_length(receive, most).await?;
    let mut room = shared.memory.announce(&asker.share, header + body).await?;
    let header = room.read(receive, header).await?;
    let body = room.read(receive, body).await?;
    Ok((header, body.into(), room))
}

fn oversize(shared: &Shared, header: &[u8], body: &Bytes) -> Option<Refusal> {
    let fits = header.len() <= HEADER_BYTES_MAX && body.len() <= shared.max_frame;
    (!fits).then(|| Refusal::new(code::TOO_LARGE, "the answer is over the server's own limit"))
}

fn refused(refusal: &Refusal) -> (Bytes, Bytes) {
    metrics::counter!("wayleave_transport_requests_refused_total").increment(1);
    let mut end = refusal.message.len().min(REFUSAL_BYTES_MAX);
    while !refusal.message.is_char_boundary(end) {
        end -= 1;
    }
    let code = Bytes::copy_from_slice(&refusal.code.to_be_bytes());
    (frame::head(Some(frame::REFUSED), &refusal.message.as_bytes()[..end], code.len()), code)
}
