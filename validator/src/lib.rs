//! The worker of a validator: keeps the evidence of final blocks, replays epochs, and votes.
//!
//! What it does, in the order in which an epoch lives (design 9):
//! 1. the last block before the epoch is final: [`inputs`] reads the ledger's state at that height into
//!    the inputs file, which goes into the archive, and its hash onto the ledger;
//! 2. agents submit evidence over HTTP or iroh ([`http`], [`wire`]); [`intake`] answers with signed
//!    acceptances once it is durable, and hands batches to the ledger as blobs until a block holds them;
//! 3. every final block's blobs go into the archive ([`follow`]);
//! 4. the grace is over: [`settle`](mod@settle) replays the epoch from the archive, writes the statement
//!    and votes; [`verify`](mod@verify) is the same for anybody, from the archive alone;
//! 5. a validator that votes twice is accused before the contract that holds its bond ([`mod@accuse`]);
//! 6. who was away catches up: what the ledger fixed by hash comes from other validators too ([`files`]).
//!
//! Trust: whoever holds the validator's account votes for it, and whoever holds its evidence key signs
//! acceptances and batches; both are this process's. HTTP listens where it is told, on loopback unless
//! told otherwise, and serves public data only.
//!
//! Invariants:
//! * everything but the intake's pool is derived from the ledger and the archive, so a restart at any
//!   moment goes on where it stopped;
//! * settlement reads the archive and nothing else;
//! * no rule of the economy is decided here.

pub mod accuse;
pub mod files;
pub mod follow;
pub mod http;
pub mod inputs;
pub mod intake;
pub mod others;
pub mod running;
pub mod settle;
pub mod verify;
pub mod wire;

pub use running::{Config, Parts, Running, StartError, Work, start, work};
pub use verify::{Verified, VerifyEpochError, verify_epoch};

use evidence::Sizes;

/// The size limits of all kinds of the registry.
pub fn sizes() -> Sizes {
    Sizes::new(registry::KINDS.iter().map(|kind| (kind.id(), kind.envelope_max())))
}
