//! The server: one port, its limits, and its end.

use crate::{
    error::Error,
    flow::{Counted, Flow, Gated, Room},
    methods,
};
use consensus::Ledger;
use hyper::{StatusCode, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use jsonrpsee::{
    server::{
        BatchRequestConfig, HttpBody, HttpResponse, IdProvider, Methods, ServerBuilder,
        ServerConfig, ServerHandle, StopHandle, TowerServiceBuilder,
        middleware::rpc::RpcServiceBuilder, stop_channel,
    },
    types::SubscriptionId,
};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tower::{
    Service as _,
    layer::util::{Identity, Stack},
};
use tower_http::cors::{Any, CorsLayer};

/// Bytes of a request and of its answer that a trace shows.
const LOGGED_BYTES: u32 = 256;

/// Messages for one connection that wait to be written; who has more to say waits.
const WRITTEN_LATER_MAX: u32 = 16;
/// Connections beyond the limit that are kept to be told of it.
const REFUSED_MAX: u32 = 32;
/// How long accepting pauses after it failed.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the headers of a request, and the pause before them, may take: longer than clients keep an idle
/// connection, so that it is not closed under their next request.
const HEADERS_WITHIN: Duration = Duration::from_secs(120);

/// Questions about fees answered at once; more wait.
const FEE_QUERIES: usize = 2;

/// What the server refuses to exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request or batch. A transaction of 128 KiB takes 256 KiB of hexadecimal.
    pub request_bytes: u32,
    /// Bytes of one answer. A full block takes about 16 MiB.
    pub response_bytes: u32,
    /// Bytes of answers, of all connections together, that wait for their readers. Beyond it large answers are
    /// refused, and small ones held all the same: a connection has little of these.
    pub unread_bytes: usize,
    /// Requests in a batch.
    pub batch: u32,
    /// Connections at once.
    pub connections: u32,
    /// Subscriptions of one connection.
    pub subscriptions: u32,
    /// Blocks that one query for logs may span.
    pub log_blocks: u64,
    /// Logs that one query over several blocks may return.
    pub logs: usize,
    /// Bytes of logs that one query over several blocks may return, before they are written as text.
    pub log_bytes: usize,
    /// How long one query for logs may take.
    pub log_time: Duration,
    /// Queries for logs answered at once; more wait.
    pub log_queries: usize,
    /// Blocks of a fee history.
    pub fee_blocks: u64,
    /// How long a client may take nothing of its answer, and how long a request over HTTP may take, its body
    /// included.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 2 << 20,
            response_bytes: 32 << 20,
            unread_bytes: 256 << 20,
            batch: 100,
            connections: 256,
            subscriptions: 32,
            log_blocks: 10_000,
            logs: 10_000,
            log_bytes: 12 << 20,
            log_time: Duration::from_secs(5),
            log_queries: 4,
            fee_blocks: 1_024,
            patience: Duration::from_secs(60),
        }
    }
}

/// The server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("failed to listen on {addr}: {cause}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// Two methods have one name: a fault of this program.
    #[error("failed to register a method: {0}")]
    Method(#[from] jsonrpsee::server::RegisterMethodError),
}

/// What every method sees.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ledger: Ledger,
    pub(crate) limits: Limits,
    /// Permits of queries for logs.
    pub(crate) log_queries: Arc<Semaphore>,
    /// Permits of fee methods.
    pub(crate) fee_queries: Arc<Semaphore>,
    /// The tip last suggested, and after which height.
    pub(crate) last_tip: Mutex<Option<(u64, u128)>>,
    /// Whether what may wait for the disk is done at once: where nobody else is held up by that.
    pub(crate) at_once: bool,
}

impl Context {
    pub(crate) fn new(ledger: Ledger, limits: Limits, at_once: bool) -> Self {
        Self {
            at_once,
            ledger,
            limits,
            log_queries: Arc::new(Semaphore::new(limits.log_queries.max(1))),
            fee_queries: Arc::new(Semaphore::new(FEE_QUERIES)),
            last_tip: Mutex::new(None),
        }
    }

    /// Does what may wait for the disk, on a thread for that unless all is done at once.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        if self.at_once {
            return Ok(work());
        }
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Error::Damaged(error.to_string()))
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    handle: ServerHandle,
}

impl Server {
    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops taking requests and waits for the running ones.
    pub async fn stop(self) {
        // An error says that it has stopped already.
        let _ = self.handle.stop();
        self.handle.stopped().await;
    }
}

/// Serves `ledger` on `addr`; port 0 takes a free one.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(ledger: Ledger, addr: SocketAddr, limits: Limits) -> Result<Server, ServeError> {
    let context = Context::new(ledger, limits, false);
    let config = ServerConfig::builder()
        .max_request_body_size(limits.request_bytes)
        .max_response_body_size(limits.response_bytes)
        .max_connections(limits.connections)
        .max_subscriptions_per_connection(limits.subscriptions)
        .set_batch_request_config(BatchRequestConfig::Limit(limits.batch))
        .set_message_buffer_capacity(WRITTEN_LATER_MAX)
        .set_id_provider(HexIds::default())
        .build();
    let cors = CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any);
    let listen = |cause| ServeError::Listen { addr, cause };
    let listener = TcpListener::bind(addr).await.map_err(listen)?;
    let addr = listener.local_addr().map_err(listen)?;
    let (stop, handle) = stop_channel();
    let services = ServerBuilder::with_config(config)
        .set_http_middleware(tower::ServiceBuilder::new().layer(cors))
        .to_service_builder();
    let methods = methods::all(context)?.into();
    let room = Arc::new(Room::new(limits.unread_bytes));
    let door = Door { services, methods, stop, limits, room };
    tokio::spawn(door.accept(listener));
    Ok(Server { addr, handle })
}

/// What connections are served with.
#[derive(Clone)]
struct Door {
    services: TowerServiceBuilder<Identity, Stack<CorsLayer, Identity>>,
    methods: Methods,
    stop: StopHandle,
    limits: Limits,
    room: Arc<Room>,
}

impl Door {
    /// Takes connections until the server is stopped. Those beyond the limit wait, but for a few that are told
    /// of it (429).
    async fn accept(self, listener: TcpListener) {
        let places = self.limits.connections.saturating_add(REFUSED_MAX);
        let places = usize::try_from(places).unwrap_or(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        let mut stopped = pin!(self.stop.clone().shutdown());
        loop {
            let next = async {
                let place = places.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = &mut stopped => return,
                next = next => next,
            };
            match accepted {
                Ok((stream, _)) => {
                    let served = self.clone().answer(stream);
                    tokio::spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Too many open files, for example: others may end meanwhile.
                    tracing::warn!(%error, "no connection was accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Answers a connection's requests until it ends or becomes a WebSocket, whose place is counted by
    /// jsonrpsee from then on.
    async fn answer(self, stream: TcpStream) {
        let Self { services, methods, stop, limits, room } = self;
        // Without it a small answer may wait for the client's delayed acknowledgement; it is right all the same.
        let _ = stream.set_nodelay(true);
        let flow = Arc::new(Flow::new(room));
        let counting = flow.clone();
        let calls = RpcServiceBuilder::new()
            .rpc_logger(LOGGED_BYTES)
            .layer_fn(move |calls| Counted::new(calls, counting.clone()));
        let service = services.set_rpc_middleware(calls).build(methods, stop.clone());
        let handler = service_fn(move |request| {
            let answer = service.clone().call(request);
            async move {
                let answer = match timeout(limits.patience, answer).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(error)) => {
                        tracing::error!(%error, "a request could not be answered");
                        plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
                    }
                    Err(_) => plain(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
                };
                Ok::<_, Infallible>(answer)
            }
        });
        let io = TokioIo::new(Gated::new(stream, flow, limits.patience));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
        let mut connection = pin!(builder.serve_connection(io, handler).with_upgrades());
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = stop.shutdown() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> HttpResponse {
    let mut answer = HttpResponse::new(HttpBody::from(text));
    *answer.status_mut() = status;
    answer
}

/// Subscription ids as Ethereum's tools expect them: hexadecimal quantities. They are unique to the
/// server, and a connection can end only its own.
#[derive(Debug, Default)]
struct HexIds(AtomicU64);

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        let id = self.0.fetch_add(1, Ordering::Relaxed);
        SubscriptionId::Str(format!("{:#x}", id + 1).into())
    }
}
