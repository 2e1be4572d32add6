//! What everything else uses to talk to the ledger: calls, transactions, views, light verification.
//!
//! * [`Client::call`] reads a system contract; [`Client::roster`] and its kin read whole views in the
//!   protocol's own types at one height;
//! * [`Client::send`] ends *applied* or with a named reason: nonces, fees, lost answers and restarts of
//!   the ledger are its business, not the caller's;
//! * [`Client::follow`] gives every height once;
//! * [`light`] proves what an endpoint says, from the genesis file on: a client that has one
//!   ([`Client::connect_trusting`]) reads the same calls, views and receipts, proven; without one they are
//!   the endpoint's word.
//!
//! Invariants:
//! * a transaction's bytes are signed once and applied once at most, however often they are handed over;
//! * nothing is signed for a ledger that only a stranger names, nor for a fee beyond [`Options`];
//! * what an endpoint says never makes this crate panic or allocate without bound, and only following
//!   waits without end;
//! * only facts that can never change are cached.
//!
//! Never here: consensus, execution, a judgement of evidence.

mod cache;
mod call;
mod connection;
mod cost;
mod follow;
mod intent;
pub mod light;
mod nonce;
mod receipt;
mod revert;
mod rpc;
mod send;
pub mod transport;
mod view;

pub use alloy_rpc_types_eth::Log;
pub use call::{CallError, PAST_MAX};
pub use connection::Client;
pub use contracts::{abi, address};
pub use follow::{Head, Heights};
pub use intent::Intent;
pub use receipt::Receipt;
pub use revert::Revert;
pub use rpc::{BATCH_MAX, Kind, Options, RESPONSE_MAX, RpcError};
pub use send::{FLIGHT_MAX, SendError, Signer};
pub use transport::Transport;
pub use view::{LIST_MAX, PROVEN_LIST_MAX, Purse};
