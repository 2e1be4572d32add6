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
//! | `s3-service` | all of it but HTTP and iroh, with its index on a disk that fails ([`storage`]) |
//! | storage agents | the store with its index, journal and tabs, the desk, over disks that fail ([`storage`]) |
//! | joining | by replay and by fetching the state, as observer and archive too |
//!
//! What does not run here yet, and what is in the way:
//!
//! * **The S3 service and storage agents on the world's ledger.** Their rails stand on a ledger in memory, whose
//!   height goes on with the world's time, and not on that of the machines beside it.
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
