//! The storage agent: shards of customers' data on an operator's disk, kept, proven and delivered
//! (design 11).
//!
//! [`store`] is the index and the disk together and all rules about what is kept ([`versions`]:
//! datasets; [`tab`]: what deliveries are owed; [`shard`]: files; small shards are in a journal first
//! and in the index then); the desk answers services over
//! iroh; the hardware is what the runtime of [`agent`] proves and reports with; [`start`] wires them, and
//! [`Core`] is the three without anything that runs by itself.
//!
//! Invariants:
//! * a shard is acknowledged when it is durable, and then nothing but its customer, the end of its
//!   rail, or the disk's own death takes it away, or that no commit names it for long ([`versions`]);
//! * nothing is stored or delivered for which settlement would not pay: a rail's rate, limit and end
//!   are looked at before;
//! * index and files agree after a crash at any step;
//! * what is stored never exceeds the capacity;
//! * a proof is made from the dataset that the epoch's inputs freeze and from a fresh read;
//! * what a crash can cost of a customer's promises is bounded by the credit.
//!
//! Never here: encryption, codes, placement, or money beyond counting what is owed.

pub mod chain;
mod core;
mod counters;
mod desk;
pub mod disk;
mod fresh;
mod hardware;
mod index;
mod journal;
mod read;
pub mod shard;
pub mod start;
pub mod store;
pub mod tab;
pub mod versions;

pub use crate::core::Core;
pub use counters::Service;
pub use desk::Settings;
pub use fresh::SMALL_MAX;
pub use index::{IndexError, Opener, Random};
pub use start::{Config, Edge, Metrics, Running, StartError, StorageAgent, start_with};
pub use store::{Drain, Ground, Store, StoreError, Usage};
