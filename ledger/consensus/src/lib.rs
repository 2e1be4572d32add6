//! The ledger of one validator among one or many: blocks, state and history, on commonware.
//!
//! A [`Ledger`] is the handle through which everything else sends transactions and evidence and
//! reads what is final. Below it stand simplex (order), marshal (delivery), `glue` and QMDB (state),
//! crate `execution` (meaning) and one history file (past).
//!
//! ```text
//! submit, submit_blob ──▶ queues ──▶ propose ──▶ simplex ──▶ capture ──▶ apply ──▶ head, subscribe
//!                          ▲ │          │                        │          │
//!          peers ──gossip──┘ └─▶     execution                history     QMDB ──▶ account, call, prove
//! ```
//!
//! Invariants:
//! * what is final never changes, and everything the ledger ever said was final is on disk before it
//!   is said;
//! * a block's body matches its header, its header follows from its parent and its transactions, and
//!   an invalid transaction is never in a block;
//! * a rule about the clock delays a verdict and never decides it;
//! * every queue, cache and message has a bound;
//! * the same transactions over the same state give the same roots, on every machine.
//!
//! A single validator runs the same code as many and is *founder-trusted*: its word alone makes
//! blocks final (design 5).

mod application;
mod block;
mod committee;
mod committees;
mod engine;
mod faults;
#[doc(hidden)]
pub mod fuzzing;
mod genesis;
mod gossip;
mod header;
mod history;
mod join;
mod latest;
mod ledger;
mod mempool;
mod network;
mod outcome;
mod pace;
mod peers;
mod query;
mod queues;
mod recovery;
mod rules;
mod seed;
pub mod simulation;
mod state;
mod terms;
#[cfg(test)]
mod testing;
pub mod trie;
mod validator;

pub use block::{
    Block, Body, BodyError, MAX_BLOBS, MAX_BLOBS_BYTES, MAX_TRANSACTION_BYTES, MAX_TRANSACTIONS,
    MAX_TRANSACTIONS_BYTES, blob_hash, blobs_root,
};
pub use committee::{
    Committee, CommitteeError, MAX_COMMITTEE, SecretError, Validator, ValidatorKeys,
};
pub use faults::DoubleVote;
pub use genesis::{FIRST_BOND, FirstValidator, Founding, GENESIS_FORMAT, Genesis, GenesisError};
pub use header::{Header, REVEAL_BYTES, StateCommitment, VERSION};
pub use history::{Finalized, History, HistoryError, Located, MemoryFile, Place, Retention};
pub use join::{JoinError, Role, Trusted};
pub use ledger::{Ledger, Rejected, Subscription};
pub use mempool::{BlobRefused, Limits, PoolRefused, REPLACEMENT_PERCENT};
pub use network::Peer;
pub use query::QueryError;
pub use queues::Transaction;
pub use seed::{KEY_BYTES as SEED_KEY_BYTES, Message as SeedMessage, SeedKey};
pub use state::{KeyProof, ProofError, StateProof, VIEW_KEYS_MAX, Views, verify as verify_state};
pub use validator::{Config, Fault, Running, StartError, start};
