//! Evidence: taking in what devices signed, ordering it in batches, keeping it, and replaying it.
//!
//! The way of an envelope: [`ingest`] checks it and answers with a signed [`Acceptance`], [`journal`]
//! keeps what was answered, a [`Batch`] signed by the validator carries it into a block as a blob,
//! [`archive`] keeps the block's batches byte for byte, and [`replay`](mod@replay) turns the blobs of an
//! epoch back into the set of envelopes that settlement reads. [`wire`] is how agents ask.
//!
//! Never here: judging, money, or the name of a resource kind. Kinds appear as numbers with a size
//! limit ([`Sizes`]).
//!
//! Invariants:
//! * nothing here trusts where bytes come from: every envelope is verified at ingest and at replay;
//! * replay is a function of the set of blobs in the blocks of the epoch: their order inside a block,
//!   their batches and repetitions change nothing;
//! * every pool, list and message has a limit, and says what it refuses with a [`protocol::Reason`].

pub mod acceptance;
pub mod archive;
pub mod batch;
pub mod ingest;
pub mod journal;
pub mod replay;
pub mod segment;
pub mod signatures;
mod sizes;
pub mod wire;

pub use acceptance::Acceptance;
pub use archive::{Archive, ArchiveError, BlockEvidence};
pub use batch::{Batch, BatchError};
pub use ingest::{Head, Ingest, Opening};
pub use journal::Journal;
pub use replay::{Replay, Replayed, replay};
pub use sizes::Sizes;

#[cfg(test)]
mod fixture;
