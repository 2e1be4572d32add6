//! The limits of an endpoint, all in one place. The defaults suit a storage agent with shards of up
//! to 24 MiB on a machine that runs a dozen of them.

use std::time::Duration;

/// Largest header of a request or response, bytes.
pub const HEADER_BYTES_MAX: usize = 1 << 20;

/// Largest text of a refusal, bytes; longer ones are cut.
pub const REFUSAL_BYTES_MAX: usize = 1_024;

/// What an endpoint allows. Every field is a bound, none is a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time to find a peer and finish the handshake.
    pub connect_timeout: Duration,
    /// Time of a whole request as the client sees it, and of each of its three parts (receiving,
    /// handling, answering) at the server.
    pub request_timeout: Duration,
    /// A connection on which nothing arrives for this long is lost. Heartbeats are sent three
    /// times as often. At most 15 s.
    pub idle_timeout: Duration,
    /// Time that requests under way are given when the endpoint closes.
    pub drain_timeout: Duration,
    /// A connection without a request for this long makes room once half of all connections are taken.
    pub quiet_timeout: Duration,
    /// Connections that others may hold to this endpoint at once; more are refused. From half of them on,
    /// whoever dials has to prove its address first (a retry of RFC 9000 section 8.1.2).
    pub inbound_connections_max: usize,
    /// Of these, how many may come from one address (IPv6: one network of 64 bits). Loopback is exempt.
    pub connections_per_host_max: usize,
    /// Of these, how many may be of one key.
    pub connections_per_key_max: usize,
    /// Requests under way on one connection; more wait at the sender.
    pub requests_per_connection_max: u32,
    /// Largest body of a request to this endpoint, bytes, where that is less than
    /// [`crate::BindConfig::max_frame`].
    pub inbound_frame_max: usize,
    /// Bytes of requests held in memory at once; more wait at their senders. One host may announce half of
    /// it. Never less than one whole request in effect, and one may go beyond it.
    pub inbound_bytes_max: usize,
    /// Bytes of answers held in memory at once; what may exceed them is not handled yet. One host may have
    /// half of it. Never less than one whole answer in effect.
    pub outbound_bytes_max: usize,
    /// Connections kept by the pool; the one idle for longest makes room.
    pub pool_connections_max: usize,
    /// Bytes one stream may send ahead of the reader. At most 1 MiB: the receiver keeps at most
    /// 1,024 pieces of a stream apart and drops the whole connection beyond that (`noq-proto`
    /// `MAX_CHUNKS`), and 1 MiB is 873 packets of the smallest size.
    pub stream_window_bytes: u32,
    /// Bytes all streams of a connection may send ahead of their readers.
    pub connection_window_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(9),
            drain_timeout: Duration::from_secs(5),
            quiet_timeout: Duration::from_secs(60),
            inbound_connections_max: 256,
            connections_per_host_max: 64,
            connections_per_key_max: 8,
            requests_per_connection_max: 32,
            inbound_frame_max: usize::MAX,
            inbound_bytes_max: 96 << 20,
            outbound_bytes_max: 96 << 20,
            pool_connections_max: 256,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 8 << 20,
        }
    }
}
