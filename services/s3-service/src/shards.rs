//! The agents as the service sees them: a few requests, each of one answer.
//!
//! Two implementations: [`remote`](self::remote) over the wire, [`memory`] for tests and simulation.

pub mod memory;
pub mod remote;

use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::{Digest, RailId, net::Peer, voucher::SignedVoucher};
use storage_kind::{
    dataset::Shard,
    wire::{Commit, Committed, Refusal, Stat, Terms},
};

/// A range of a shard to be read.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The rail that pays.
    pub rail: RailId,
    /// The shard.
    pub shard: Digest,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// For all that was delivered on the rail so far, this range included.
    pub voucher: Option<SignedVoucher>,
}

/// What an agent keeps beside shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The rail's note; empty if there is none.
    pub note: Bytes,
    /// The best voucher.
    pub voucher: Option<SignedVoucher>,
}

/// Why an agent did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardsError {
    /// It could not be reached; it never saw the request.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// It was reached and gave no answer, or not in time.
    #[error("no answer: {0}")]
    Silent(String),
    /// It said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It answered something else than was asked.
    #[error("a wrong answer: {0}")]
    Wrong(&'static str),
}

/// Requests to agents. Every call ends within a bounded time.
pub trait Shards: Send + Sync + 'static {
    /// Stores a shard; durable when this returns.
    fn put(
        &self,
        to: Peer,
        rail: RailId,
        shard: Shard,
        bytes: Bytes,
    ) -> BoxFuture<'_, Result<(), ShardsError>>;

    /// Reads a range of a shard. The bytes are as many as asked, and not verified.
    fn get(&self, from: Peer, ask: Ask) -> BoxFuture<'_, Result<Bytes, ShardsError>>;

    /// Changes a rail's dataset. The signature is not verified.
    fn commit(&self, to: Peer, commit: Commit) -> BoxFuture<'_, Result<Committed, ShardsError>>;

    /// Which of these shards the agent holds for a rail: one answer a shard.
    fn holds(
        &self,
        of: Peer,
        rail: RailId,
        shards: Vec<Digest>,
    ) -> BoxFuture<'_, Result<Vec<bool>, ShardsError>>;

    /// The newest dataset of a rail.
    fn stat(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Stat, ShardsError>>;

    /// Keeps `note` as the rail's note; durable when this returns.
    fn note(&self, to: Peer, rail: RailId, note: Bytes) -> BoxFuture<'_, Result<(), ShardsError>>;

    /// The rail's note, and the best voucher that the agent has. The voucher is not verified.
    fn noted(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Noted, ShardsError>>;

    /// Who the agent is and what it takes.
    fn terms(&self, of: Peer) -> BoxFuture<'_, Result<Terms, ShardsError>>;

    /// Lets go of what the way to the agents holds. Nothing is asked after this.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
