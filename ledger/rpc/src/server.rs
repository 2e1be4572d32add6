//! The server: one port, its limits, and its end.

use crate::{error::Error, methods};
use consensus::Ledger;
use jsonrpsee::{
    server::{
        BatchRequestConfig, IdProvider, ServerBuilder, ServerConfig, ServerHandle,
        middleware::rpc::RpcServiceBuilder,
    },
    types::SubscriptionId,
};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;
use tower_http::cors::{Any, CorsLayer};

/// Bytes of a request and of its answer that a trace shows.
const LOGGED_BYTES: u32 = 256;

/// Questions about fees answered at once; more wait.
const FEE_QUERIES: usize = 2;

/// What the server refuses to exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request or batch. A transaction of 128 KiB takes 256 KiB of hexadecimal.
    pub request_bytes: u32,
    /// Bytes of one answer. A full block takes about 16 MiB.
    pub response_bytes: u32,
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 2 << 20,
            response_bytes: 32 << 20,
            batch: 100,
            connections: 256,
            subscriptions: 32,
            log_blocks: 10_000,
            logs: 10_000,
            log_bytes: 12 << 20,
            log_time: Duration::from_secs(5),
            log_queries: 4,
            fee_blocks: 1_024,
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
        .set_id_provider(HexIds::default())
        .build();
    let cors = CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any);
    let listen = |cause| ServeError::Listen { addr, cause };
    let server = ServerBuilder::with_config(config)
        .set_http_middleware(tower::ServiceBuilder::new().layer(cors))
        .set_rpc_middleware(RpcServiceBuilder::new().rpc_logger(LOGGED_BYTES))
        .build(addr)
        .await
        .map_err(listen)?;
    let addr = server.local_addr().map_err(listen)?;
    let handle = server.start(methods::all(context)?);
    Ok(Server { addr, handle })
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
