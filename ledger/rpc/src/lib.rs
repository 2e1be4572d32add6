//! The ledger's JSON-RPC: Ethereum's methods for wallets and tools, and a few of our own.
//!
//! One port serves HTTP and WebSocket; [`Local`] answers in the same process. Methods are pure translations between JSON and the
//! [`consensus::Ledger`] handle; nothing is kept here but limits.
//!
//! What differs from an Ethereum node, and why:
//! * A block is final when it appears: `latest`, `safe`, `finalized` and `pending` name the same one,
//!   and no log is ever removed. Only `eth_getTransactionCount` at `pending` also counts waiting
//!   transactions.
//! * A block's hash is the digest of the ledger's own header, so hashing the JSON fields does not give
//!   it; `wayleave_header` returns the bytes that do. `extraData` is the proposer's key. The parent of
//!   the genesis block is the digest of the genesis file.
//! * `stateRoot` is not a Merkle Patricia root, so `eth_getProof` does not exist; `wayleave_proof` does, and
//!   `wayleave_proven` proves whole views of the system contracts.
//! * The state of past blocks is kept for a bounded number of blocks; beyond it the error has code 4444.
//!
//! Rules:
//! * every request, batch, answer, range and connection count has a limit ([`Limits`]);
//! * an error that is the caller's fault says what and how to mend it; a fault of the node is logged
//!   with its cause and answered as "internal error";
//! * the server holds no keys: browsers of any origin may use it (CORS), for whoever can reach the
//!   port can only read, and submit what others signed.

mod blocks;
mod calls;
mod error;
mod fees;
mod flow;
mod format;
mod height;
mod local;
mod logs;
mod methods;
mod proven;
mod server;
mod state;
mod subscriptions;
mod transactions;
mod wayleave;

pub use error::Kind;
pub use local::Local;
pub use server::{Limits, ServeError, Server, serve};
