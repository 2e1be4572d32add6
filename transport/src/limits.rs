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
    /// Connections that others may hold to this endpoint at once; more are refused.
    pub inbound_connections_max: usize,
    /// Requests under way on one connection; more wait at the sender.
    pub requests_per_connection_max: u32,
    /// Bytes of request bodies held in memory at once; more wait at their senders. Never less than
    /// one whole frame in effect.
    pub inbound_bytes_max: usize,
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
            inbound_connections_max: 256,
            requests_per_connection_max: 32,
            inbound_bytes_max: 96 << 20,
            pool_connections_max: 256,
            stream_window_bytes: 1 << 20,
            connection_window_bytes: 8 << 20,
        }
    }
}
