//! The network as a state machine sees it: peers by key, one request and one answer at a time.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A peer: its Ed25519 key and where it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// The Ed25519 key that the peer must prove to hold; for an agent, its device key.
    pub key: [u8; 32],
    /// A direct address.
    pub address: SocketAddr,
}

/// A request or an answer: a small header that names what is meant, and a body of plain bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Canonical CBOR, small.
    pub header: Vec<u8>,
    /// Bytes, as large as the protocol's limit allows.
    pub body: Vec<u8>,
}
