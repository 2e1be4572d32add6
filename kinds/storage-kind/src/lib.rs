//! Storage, the first kind (design 11): shards of encrypted data on agents' disks.
//!
//! A rail pays a device for keeping one *dataset*: a set of shards in a size-weighted Merkle tree
//! ([`dataset`]) whose root both sides signed. The epoch's seed draws positions in it, each with its
//! own window ([`duty`]); the device answers with the shard's path in the dataset and a Bao slice of
//! one chunk ([`bao`], [`proof`]), signed in an envelope ([`body`]). The judge (`judge`) says what
//! was proven, what was missed and what was false; `price` turns bytes into dollars; `health`
//! orders repairs; [`wire`] is what a service and an agent say to one another.
//!
//! Invariants:
//! * pure and integer-only: no clock, no disk, no network, no randomness;
//! * nothing here panics on foreign bytes, and every list that a peer sends is bounded;
//! * silence never costs stake (design 8).

pub mod bao;
pub mod body;
pub mod dataset;
pub mod duty;
pub mod proof;
pub mod wire;

use protocol::KindId;

/// The kind's number.
pub const STORAGE: KindId = KindId(1);
