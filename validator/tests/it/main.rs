//! The worker against the ledger itself: one validator behind its own JSON-RPC.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accuse;
mod behind;
mod charge;
#[path = "../../../evidence/src/archive/counted.rs"]
mod counted;
mod epoch;
mod http;
mod kept;
mod votes;
mod world;
