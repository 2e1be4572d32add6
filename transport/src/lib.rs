//! How agents, services and validators speak to one another: request and response over QUIC,
//! dialled by key (design 10).
//!
//! * A peer is an Ed25519 public key and a socket address. The TLS handshake proves the key, so the
//!   address is only a hint of where to look: an impostor at the address is refused.
//! * One ALPN a protocol. An ALPN nobody serves is refused in the handshake.
//! * One request is one bidirectional stream: a header and a body go in, a header and a body come
//!   out ([`frame`](mod@frame) states the bytes). Nothing is retried once a byte of it may have arrived.
//! * Everything is bounded by [`Limits`]: frames, streams a connection, connections in all, of a host and
//!   of a key, bytes of requests and of answers in memory, time. What is refused is refused with a
//!   [`Refusal`] that names the limit. One host can take neither all connections nor all memory.
//! * Nothing leaves the machine but packets to the addresses named: no DNS, no relay, no discovery,
//!   no port mapping, no probes.
//!
//! [`Patient`] is for servers of other protocols: a TCP stream that gives up on who takes nothing.
//!
//! A connection lives in its endpoint's pool. When it is lost, the next request dials again; a peer
//! that vanished without a word is noticed after [`Limits::idle_timeout`].

mod client;
mod crowd;
mod endpoint;
pub mod frame;
mod limits;
mod memory;
mod pace;
mod patient;
mod server;

pub use client::{ConnectError, Connection, RequestError};
pub use crowd::host;
pub use endpoint::{BindConfig, BindError, Endpoint};
pub use futures::future::BoxFuture;
pub use limits::{HEADER_BYTES_MAX, Limits, REFUSAL_BYTES_MAX};
pub use pace::Pace;
pub use patient::Patient;
pub use protocol::net::Peer;
pub use server::{Handler, Refusal, ServeError, code};
