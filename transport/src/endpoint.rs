//! An endpoint: one key, one socket, a pool of connections to others and the protocols it serves.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use iroh::{
    RelayMode, SecretKey,
    dns::DnsResolver,
    endpoint::{
        IdleTimeout, NetReportConfig, PortmapperConfig, QuicTransportConfig, VarInt, presets,
    },
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    Limits, Peer,
    client::{ConnectError, Connection, Slot},
    crowd::Crowd,
    limits::HEADER_BYTES_MAX,
    memory::Memory,
    server::{self, Handler, ServeError, Served},
};

/// Code with which a connection is closed when its endpoint closes.
const CLOSED: u32 = 0;

/// How often, and how far apart, a named port is tried: the socket of an endpoint that was just
/// closed is released only when the last of its tasks has ended.
const BIND_TRIES: u32 = 10;
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// See [`Limits::stream_window_bytes`].
const STREAM_WINDOW_BYTES_MAX: u32 = 1 << 20;

/// What an endpoint is made from.
#[derive(Clone)]
pub struct BindConfig {
    /// Ed25519 seed; its public key is the endpoint's name.
    pub secret: [u8; 32],
    /// The address to listen on; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The protocols this endpoint may serve. Each is refused until [`Endpoint::serve`] is called for it.
    pub alpns: Vec<&'static [u8]>,
    /// Largest body of a request or response, bytes.
    pub max_frame: usize,
    /// Everything else that is bounded.
    pub limits: Limits,
}

impl BindConfig {
    /// Largest body unless changed: a shard of 24 MiB.
    pub const MAX_FRAME: usize = 24 << 20;

    /// A configuration with default limits that serves nothing.
    pub fn new(secret: [u8; 32], addr: SocketAddr) -> Self {
        Self {
            secret,
            addr,
            alpns: Vec::new(),
            max_frame: Self::MAX_FRAME,
            limits: Limits::default(),
        }
    }

    /// Adds a protocol to serve.
    #[must_use]
    pub fn alpn(mut self, alpn: &'static [u8]) -> Self {
        self.alpns.push(alpn);
        self
    }
}

impl fmt::Debug for BindConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindConfig")
            .field("addr", &self.addr)
            .field("alpns", &self.alpns)
            .field("max_frame", &self.max_frame)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Why an endpoint could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, not ours, or not permitted.
    #[error("failed to listen on {addr}: {reason}")]
    Address {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// A limit is out of its range.
    #[error("{0}")]
    Limit(&'static str),
}

/// Slots by peer key and protocol.
type Pool = BTreeMap<([u8; 32], &'static [u8]), Arc<Slot>>;

/// What every task of an endpoint shares.
pub(crate) struct Shared {
    pub(crate) inner: iroh::Endpoint,
    pub(crate) limits: Limits,
    pub(crate) max_frame: usize,
    pub(crate) served: Served,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) stop: watch::Sender<bool>,
    /// Set when the last connection that was accepted has ended after `stop`.
    pub(crate) drained: watch::Sender<bool>,
    pool: Mutex<Pool>,
    clock: AtomicU64,
}

/// One key and one socket. Clones share it; when the last is dropped everything stops at once,
/// [`Endpoint::close`] stops it in good order.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
    alpns: Arc<[&'static [u8]]>,
    addr: SocketAddr,
    /// Held so that the last clone to go takes the accepting task with it.
    _accept: Arc<AbortOnDrop>,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Binds the socket and starts to listen. No protocol is served yet.
    pub async fn bind(config: BindConfig) -> Result<Self, BindError> {
        let quic = quic(&config.limits)?;
        if config.max_frame > 1 << 30 {
            return Err(BindError::Limit("max_frame is at most 1 GiB"));
        }
        let refused = |reason: String| BindError::Address { addr: config.addr, reason };
        let mut tries = 1;
        let inner = loop {
            match socket(&config, quic.clone()).await {
                Ok(inner) => break inner,
                Err(reason) if config.addr.port() == 0 || tries == BIND_TRIES => {
                    return Err(refused(reason));
                }
                Err(_) => tries += 1,
            }
            tokio::time::sleep(BIND_PAUSE).await;
        };
        let addr = inner
            .bound_sockets()
            .into_iter()
            .find(|bound| bound.is_ipv4() == config.addr.is_ipv4())
            .ok_or_else(|| refused("no socket was bound".into()))?;
        let shared = Arc::new(Shared {
            inner,
            limits: config.limits,
            max_frame: config.max_frame,
            served: Served::default(),
            crowd: Arc::new(Crowd::new(config.limits, config.max_frame)),
            memory: Arc::new(Memory::new(&config.limits, config.max_frame)),
            stop: watch::Sender::new(false),
            drained: watch::Sender::new(false),
            pool: Mutex::new(BTreeMap::new()),
            clock: AtomicU64::new(0),
        });
        let accept = tokio::spawn(server::accept(Arc::clone(&shared)));
        Ok(Self {
            shared,
            alpns: config.alpns.into(),
            addr,
            _accept: Arc::new(AbortOnDrop(accept)),
        })
    }

    /// The endpoint's Ed25519 public key.
    pub fn id(&self) -> [u8; 32] {
        *self.shared.inner.id().as_bytes()
    }

    /// The address it listens on, with the port that was taken.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How others reach this endpoint, when its address is reachable for them.
    pub fn peer(&self) -> Peer {
        Peer { key: self.id(), address: self.addr }
    }

    /// Serves `alpn` with `handler` from now on. A later call replaces the handler for new connections.
    pub fn serve(&self, alpn: &'static [u8], handler: Arc<dyn Handler>) -> Result<(), ServeError> {
        if !self.alpns.contains(&alpn) {
            return Err(ServeError::NotBound(String::from_utf8_lossy(alpn).into_owned()));
        }
        let served = self.shared.served.insert(alpn, handler);
        self.shared.inner.set_alpns(served);
        Ok(())
    }

    /// A connection to `peer` for `alpn` from the pool, dialled when there is none.
    pub async fn connect(
        &self,
        peer: Peer,
        alpn: &'static [u8],
    ) -> Result<Connection, ConnectError> {
        let slot = self.shared.slot(peer, alpn);
        let connection = Connection::new(Arc::clone(&self.shared), slot, peer, alpn);
        connection.ready().await?;
        Ok(connection)
    }

    /// Like [`Endpoint::connect`], but dials only when the first request is made.
    pub fn connection(&self, peer: Peer, alpn: &'static [u8]) -> Connection {
        let slot = self.shared.slot(peer, alpn);
        Connection::new(Arc::clone(&self.shared), slot, peer, alpn)
    }

    /// Stops accepting, lets requests under way finish for [`Limits::drain_timeout`], closes, and
    /// lets the handlers go.
    pub async fn close(&self) {
        self.shared.stop.send_replace(true);
        let mut drained = self.shared.drained.subscribe();
        let patience = self.shared.limits.drain_timeout + Duration::from_secs(1);
        let _ = tokio::time::timeout(patience, drained.wait_for(|drained| *drained)).await;
        self.shared.pool.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.served.clear();
        self.shared.inner.close().await;
    }
}

impl Shared {
    /// The pool's slot for a peer and protocol, made when there is none; the one used longest ago
    /// makes room when the pool is full.
    fn slot(&self, peer: Peer, alpn: &'static [u8]) -> Arc<Slot> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (peer.key, alpn);
        if !pool.contains_key(&key) && pool.len() >= self.limits.pool_connections_max {
            let oldest = pool.iter().min_by_key(|(_, slot)| slot.used()).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                pool.remove(&oldest);
            }
        }
        let slot = pool.entry(key).or_default();
        slot.touch(now);
        Arc::clone(slot)
    }
}

/// Binds the socket with everything off that would send a packet nobody asked for.
async fn socket(config: &BindConfig, quic: QuicTransportConfig) -> Result<iroh::Endpoint, String> {
    iroh::Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&config.secret))
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup()
        // A resolver without servers: a name that slipped in could not be asked for.
        .dns_resolver(DnsResolver::builder().disable_fallback().build())
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(NetReportConfig::minimal())
        .max_tls_tickets(8)
        .transport_config(quic)
        .clear_ip_transports()
        .bind_addr(config.addr)
        .map_err(|error| error.to_string())?
        .bind()
        .await
        .map_err(|error| format!("{error:#}"))
}

fn quic(limits: &Limits) -> Result<QuicTransportConfig, BindError> {
    if limits.idle_timeout > Duration::from_secs(15) || limits.idle_timeout.is_zero() {
        return Err(BindError::Limit("idle_timeout is between 0 and 15 seconds"));
    }
    if limits.stream_window_bytes > STREAM_WINDOW_BYTES_MAX {
        return Err(BindError::Limit("stream_window_bytes is at most 1 MiB"));
    }
    let idle = IdleTimeout::try_from(limits.idle_timeout)
        .map_err(|_| BindError::Limit("idle_timeout is between 0 and 15 seconds"))?;
    let heartbeat = limits.idle_timeout / 3;
    Ok(QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.requests_per_connection_max))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(limits.stream_window_bytes))
        .receive_window(VarInt::from_u32(limits.connection_window_bytes))
        .send_window(u64::from(limits.connection_window_bytes))
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(heartbeat)
        .default_path_max_idle_timeout(limits.idle_timeout)
        .default_path_keep_alive_interval(heartbeat)
        .build())
}

/// The reason given to peers whose connection ends with the endpoint.
pub(crate) fn close_gracefully(connection: &iroh::endpoint::Connection) {
    connection.close(VarInt::from_u32(CLOSED), b"closing");
}

const _: () = assert!(HEADER_BYTES_MAX <= 1 << 30);
