//! The worker beside a node's ledger: keeps the evidence of final blocks, replays epochs, and votes if it is a
//! validator's. That of any other node does all but taking evidence in, voting and accusing.
//!
//! What it does, in the order in which an epoch lives (design 9):
//! 1. the last block before the epoch is final: [`inputs`] reads the ledger's state at that height into
//!    the inputs file, which goes into the archive, and its hash onto the ledger;
//! 2. agents submit evidence over HTTP or iroh ([`http`], [`wire`]); [`intake`] answers with signed
//!    acceptances once it is durable, and hands batches to the ledger as blobs until a block holds them;
//! 3. every final block's blobs go into the archive ([`follow`]);
//! 4. the grace is over: [`settle`](mod@settle) replays the epoch from the archive, writes the statement,
//!    commits and reveals its vote, and refuses what was decided against the replay;
//!    [`verify`](mod@verify) is the same for anybody, from the archive alone;
//! 5. a validator that votes twice is accused before the contract that holds its bond ([`mod@accuse`]);
//! 6. whoever's batches carried what no honest author carries is charged for it ([`mod@charge`]);
//! 7. who was away catches up: what the ledger fixed by hash comes from other validators too ([`files`]);
//! 8. evidence that can be disputed no more is pruned after a while ([`mod@prune`]).
//!
//! Trust: whoever holds the validator's account votes for it, and whoever holds its network key signs
//! acceptances and batches, for which its bond answers; both are this process's. HTTP listens where it is told, on loopback unless
//! told otherwise, and serves public data only.
//!
//! Invariants:
//! * everything but the intake's pool is derived from the ledger and the archive, so a restart at any
//!   moment goes on where it stopped;
//! * settlement reads the archive and nothing else, and no decided root is believed that it does not give;
//! * no rule of the economy is decided here.

pub mod accuse;
pub mod charge;
pub mod door;
pub mod files;
pub mod follow;
pub mod http;
pub mod inputs;
pub mod intake;
pub mod others;
pub mod prune;
pub mod running;
pub mod settle;
pub mod verify;
pub mod wire;

pub use running::{Config, Parts, Running, StartError, Voter, Work, start, work};
pub use verify::{Verified, VerifyEpochError, replay_epoch, verify_epoch};

use evidence::Sizes;

/// The size limits of all kinds of the registry.
pub fn sizes() -> Sizes {
    Sizes::new(registry::KINDS.iter().map(|kind| (kind.id(), kind.envelope_max())))
}
