//! The simulator: the program's own code in a world where machines fail and validators lie.
//!
//! A world is drawn from one seed ([`scenario`]), runs on commonware's deterministic runtime ([`world`]), is
//! disturbed ([`faults`], [`adversaries`]) and checked after every block ([`checkers`]). The same seed gives
//! the same trace to the byte. docs/simulation.md says how to run it and how to add to it.
//!
//! What runs here is what runs in the program, as far as it is free of shells:
//!
//! | part | here |
//! |---|---|
//! | `consensus` | all of it: engine, gossip, mempool, committees, state, history, encrypted network |
//! | `contracts`, `execution` | all of it |
//! | evidence | the validator's intake with its journal, the archive in memory, replay |
//! | settlement | all of it; epochs are settled by every machine |
//! | agents | the state machine with its journal, the kind's duties and proofs ([`economy`]) |
//!
//! What does not run here yet, and what is in the way:
//!
//! * **The validator's worker** (follower, settler, votes on roots). It reads the ledger through
//!   `client::Client`, which speaks HTTP by hyper on tokio's reactor: a trait for the transport below `Rpc`,
//!   implemented by the methods of crate `rpc` on a [`consensus::Ledger`], would let it run. Beside that
//!   stand `tokio::time` in five places (retries, which a clock of `protocol` could do) and one
//!   `spawn_blocking` around `settlement::settle`. Until then desks settle, and nobody votes: the roots are
//!   compared by the checkers, and inputs are made from headers and a given fleet, not from contracts.
//! * **The S3 service.** Its store owns threads and channels of tokio (`services/s3-service/src/store`), and
//!   times out by tokio's clock; there is no state machine below it that could be driven by events. So
//!   "every acknowledged object is readable" is not checked here.
//! * **Storage on a disk that fails.** `storage-agent` reads and writes shards through `protocol::disk`, but
//!   by `std::fs` in its one implementation; devices here hold one shard in memory.
//! * **The journal of the intake** is a real folder: what was written survives a crash of its machine, so
//!   only the loss of what was in memory is tried.
//! * **State sync** and validators that begin with an empty folder late: machines here keep their disks.

pub mod adversaries;
pub mod checkers;
pub mod economy;
pub mod faults;
pub mod run;
pub mod scenario;
pub mod trace;
pub mod world;
