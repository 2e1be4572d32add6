//! The trait of a resource kind: five questions that a pure crate answers (design 7).
//!
//! Everything else (ingest, money, slashing, statements, dashboards, simulation) is shared. A kind
//! never sees balances; it says what was provided and how well, and what that is worth.

use crate::{
    DeviceId, Digest, Height, KindId, Micros, Ppm, RailId, Reason, Tokens,
    cbor::Item,
    envelope::Envelope,
    inputs::{Device, Inputs},
    manifest::Manifest,
    statement::Cause,
};
use std::{any::Any, fmt::Debug};

/// A resource kind.
pub trait Kind: Send + Sync + Debug {
    /// Its number.
    fn id(&self) -> KindId;

    /// Its name: one lower-case word, as in `wayleave agent NAME`.
    fn name(&self) -> &'static str;

    /// Its unit, for people: `bytes`.
    fn unit(&self) -> &'static str;

    /// The largest envelope of this kind, in bytes.
    fn envelope_max(&self) -> usize;

    /// Whether a device may serve, and what it must stake.
    ///
    /// # Errors
    /// The reason why not.
    fn admit(&self, offer: &Offer, manifest: &Manifest) -> Result<Admission, Reason>;

    /// What `device` must prove in the epoch, ascending by index: from public inputs alone.
    fn duties(&self, inputs: &Inputs, device: &Device) -> Vec<Duty>;

    /// Facts shared by the judgement of all devices of this kind.
    fn survey(&self, inputs: &Inputs, evidence: &[Carried]) -> Survey;

    /// Judges one device.
    fn judge(&self, case: &Case<'_>) -> Finding;

    /// What a usage is worth.
    fn price(&self, usage: &Usage, manifest: &Manifest) -> Micros;
}

/// What a device offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Units offered.
    pub capacity: u64,
    /// Its tier.
    pub tier: u8,
    /// Its cell, or 0.
    pub cell: u64,
}

/// Leave to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The stake that the device needs.
    pub stake: Tokens,
}

/// Something a device must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The rail it is for.
    pub rail: RailId,
    /// Its number on this rail in this epoch, from 0.
    pub index: u16,
    /// The first height whose block may carry the proof.
    pub from: Height,
    /// The last height of the window; the manifest's slack comes on top.
    pub to: Height,
    /// What is asked, in the kind's own form.
    pub task: Item,
}

/// A verified envelope and the block that carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The envelope; its signature was checked at ingest and again at replay.
    pub envelope: Envelope,
    /// Its digest.
    pub digest: Digest,
    /// The height of the block.
    pub height: Height,
    /// The time of the block's header, in milliseconds since 1970.
    pub time_ms: u64,
}

/// Facts shared by all judgements of one kind, in the kind's own form.
#[derive(Debug)]
pub struct Survey(pub Box<dyn Any + Send + Sync>);

impl Survey {
    /// A survey that found nothing to share.
    pub fn empty() -> Self {
        Self(Box::new(()))
    }
}

/// What is known when one device is judged.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The epoch's inputs.
    pub inputs: &'a Inputs,
    /// The device.
    pub device: &'a Device,
    /// Its duties, from [`Kind::duties`].
    pub duties: &'a [Duty],
    /// Its evidence of this epoch: one envelope an identity, ascending by (height, sequence).
    pub evidence: &'a [Carried],
    /// The kind's survey.
    pub survey: &'a Survey,
}

/// What the judge says of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// The device.
    pub device: DeviceId,
    /// What was provided on each rail, ascending by rail.
    pub uses: Vec<Use>,
    /// Units provided, over all rails.
    pub units: u64,
    /// How well, 0 to 1.
    pub quality: Ppm,
    /// How much of it nobody else provided, 0 to 1.
    pub uniqueness: Ppm,
    /// By how many customers' vouchers, counterparts or neighbours it was confirmed.
    pub confirmations: u32,
    /// Faults that cost stake.
    pub faults: Vec<Cause>,
    /// Everything else that explains the row.
    pub causes: Vec<Cause>,
    /// How many duties were due and how many were met.
    pub duties: (u32, u32),
    /// Whether anything at all was heard from the device.
    pub heard: bool,
}

/// What a device provided on one rail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The rail.
    pub rail: RailId,
    /// Units proven, zero if the rail's epoch is unpaid.
    pub units: u64,
}

/// What is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Units provided for one epoch.
    Provided(u64),
    /// Units delivered to a customer.
    Delivered(u64),
}
