//! The S3 service: customers' objects on operators' disks (design 11).
//!
//! ```text
//! S3 client -> server -> s3 -> store::intake -> codec -> placement -> shards -> agents
//!                         |          |                                  |
//!                         |        index  <-  rails  -> ledger          |
//!                         `-> store::retrieve -> fetch, purse ----------'
//! ```
//! Pure parts, without input, output, clock or randomness: [`codec`], [`placement`], [`fetch`],
//! [`fleet`], [`checksum`], [`repair::plan`], [`repair::survey`]. The [`index`] is a state machine on a file. Thin shells around them:
//! [`store`] (agents), [`s3`] and [`server`] (clients), [`rails`] (ledger), [`shards::remote`] (wire).
//!
//! Promises:
//! * acknowledged means durable: k + 1 shards of every segment with distinct owners, and the index
//!   entry; it survives kill -9 at any moment;
//! * content leaves the process sealed and masked only; agents see neither names nor lengths of
//!   objects;
//! * no byte reaches a client that was not verified;
//! * every queue, list and buffer has a limit ([`config::Limits`]).
//!
//! Never here: how an agent stores, what a duty asks, what anybody is paid in the end.

mod aside;
pub mod backup;
pub mod checksum;
pub mod codec;
pub mod config;
mod engine;
pub mod fetch;
pub mod fleet;
pub mod fuzzing;
pub mod index;
pub mod keys;
mod num;
pub mod placement;
pub mod purse;
pub mod rails;
pub mod repair;
pub mod s3;
pub mod server;
mod service;
pub mod shards;
pub mod store;

pub use config::{Config, Limits, RailPlan};
pub use engine::{Engine, Snapshot};
pub use keys::{Credentials, Keyring};
pub use service::{INDEX_FILE, KEYRING_FILE, Running, Service, StartError, WallClock, World};
