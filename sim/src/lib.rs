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
//! | `validator` | the worker without its shells: intake, follower, archive, settler, votes, accusing, charging |
//! | votes | commit and reveal, lies, copies, dissents, fines, claims ([`economy`]) |
//! | `client`, `rpc` | as the worker uses them, without HTTP between |
//! | settlement | all of it, from each machine's own archive |
//! | agents | the state machine with its journal, the hardware with its store, the kind's duties and proofs ([`economy`]) |
//! | storage agents | the store with its index, journal and tabs, the desk, over disks that fail ([`storage`]) |
//! | joining | by replay and by fetching the state, as observer and archive too |
//!
//! What does not run here yet, and what is in the way:
//!
//! * **The S3 service.** Its store owns threads and channels of tokio (`services/s3-service/src/store`), and
//!   times out by tokio's clock; there is no state machine below it that could be driven by events. It could
//!   run over [`world::clockwork`] as the worker does, if `spawn_blocking` and its connection to agents were
//!   behind traits. So "every acknowledged object is readable" is not checked here.
//! * **The journal of the intake** is a real folder: what was written survives a crash of its machine, so
//!   only the loss of what was in memory is tried.

pub mod adversaries;
pub mod checkers;
pub mod economy;
pub mod faults;
pub mod run;
pub mod scenario;
pub mod storage;
pub mod trace;
pub mod world;
