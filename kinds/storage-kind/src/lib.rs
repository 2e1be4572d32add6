//! Storage, the first kind (design 11): shards of encrypted data on agents' disks.
//!
//! A rail pays a device for keeping one *dataset*: a set of shards in a size-weighted Merkle tree
//! ([`dataset`]) whose root both sides signed. The epoch's seed draws positions in it, each with its
//! own window ([`duty`]); the device answers with the shard's path in the dataset and a Bao slice of
//! one chunk ([`bao`], [`proof`]), signed in an envelope ([`body`]). The judge ([`judge`]) says what
//! was proven, what was missed and what was false; [`price`] turns bytes into dollars; [`health`]
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
pub mod health;
pub mod judge;
pub mod price;
pub mod proof;
pub mod wire;

#[cfg(test)]
mod fixture;

use protocol::{
    KindId, Micros, Reason,
    envelope::PROOF_MAX,
    inputs::{Device, Inputs},
    kind::{Admission, Carried, Case, Duty, Finding, Kind, Offer, Survey, Usage},
    manifest::Manifest,
};

/// The kind's number.
pub const STORAGE: KindId = KindId(1);

/// The storage kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage;

impl Kind for Storage {
    fn id(&self) -> KindId {
        STORAGE
    }

    fn name(&self) -> &'static str {
        "storage"
    }

    fn unit(&self) -> &'static str {
        "bytes"
    }

    fn envelope_max(&self) -> usize {
        PROOF_MAX
    }

    fn admit(&self, offer: &Offer, manifest: &Manifest) -> Result<Admission, Reason> {
        price::admit(offer, manifest)
    }

    fn duties(&self, inputs: &Inputs, device: &Device) -> Vec<Duty> {
        duty::duties(inputs, device)
    }

    /// Nothing is shared: a shard is proven alone, and masks make every copy its own.
    fn survey(&self, _: &Inputs, _: &[Carried]) -> Survey {
        Survey::empty()
    }

    fn judge(&self, case: &Case<'_>) -> Finding {
        judge::judge(case)
    }

    fn price(&self, usage: &Usage, manifest: &Manifest) -> Micros {
        price::price(usage, manifest)
    }
}
