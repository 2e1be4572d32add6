//! Ingest: envelopes in, signed acceptances or reasons out. A state machine without I/O.
//!
//! Rules (design 6), in the order in which they are checked, cheap ones first:
//! size, form, network served, epoch open, device on the epoch's roster, kind (the device's own or
//! common) with its size, clock, identity, quota, room in the pool, signature.
//!
//! * An epoch is open when its inputs file was given ([`Ingest::open`]) and the next block may carry its
//!   evidence. It takes no more when the block [`LEAD`] heights ahead may not: an acceptance that no block
//!   could honour would be worth nothing.
//! * The identity of an envelope is (device, network, sequence), within the epoch it names. The same
//!   payload again is answered with the acceptance of the first time, whatever its signature. A second
//!   payload is accepted, since it proves the device's fault; a third adds nothing and is refused.
//! * The quota ([`Inputs::quota`]) counts the bytes of all envelopes accepted of a device and epoch, and of those that
//!   other validators had carried ([`Ingest::carried`]).
//! * A report's clock is compared with the validator's at ingest and with the block's at replay, so a device
//!   at the edge of the allowed skew may be accepted here and dropped there.
//!
//! **What the author answers for.** Batches are signed with the validator's network key, and replay charges
//! for what no honest author carries ([`mod@crate::replay`]). All of it is checked here before an envelope
//! waits for a batch. For the quota that takes memory, so whoever runs this signs no envelope that a restart
//! would forget ([`Ingest::take_before`]) and gives back what was accepted before it lets anything new in;
//! [`Ingest::restore`] then refuses nothing that was accepted, though others have used up the device's quota
//! or identity meanwhile. So what one author signs of a device and epoch never exceeds its quota.
//!
//! Nothing is kept of an envelope that is refused, so refusing costs no memory. What is kept is
//! bounded: the pool in bytes, in all and for each device ([`Limits`]); identities by the quota, beyond which
//! nothing of a device is remembered, and by [`KNOWN_MAX`], beyond which an epoch takes no more than its part,
//! whatever its network's manifest allows; epochs by the ledger's clock ([`Ingest::advance`]).

mod known;
mod pool;

pub use known::Opening;

use crate::{Acceptance, Batch, Sizes, batch, replay::is_dated, wire::Answer};
use known::{Open, Seen};
use pool::{Pending, Pool};
use protocol::{
    Digest, Epoch, Height, NetworkId, Reason,
    body::{COMMON, Common},
    envelope::Envelope,
    inputs::Inputs,
    key::DeviceSecret,
};
use std::{collections::BTreeMap, sync::Arc};

/// How many heights after an acceptance a block carries the envelope at the earliest that is certain:
/// with the next block the batch is handed over, and the one after it takes it up.
pub const LEAD: u64 = 2;
/// How many payloads under one identity are kept: two prove the fault.
pub const PAYLOADS_MAX: usize = 2;
/// How many envelopes are remembered, of all open epochs together. Each of them may have its part of as many more.
pub const KNOWN_MAX: usize = 1024 * 1024;

/// The newest final block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub height: Height,
    /// The time of its header, in milliseconds since 1970.
    pub time_ms: u64,
}

/// How much may wait for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of envelopes that may wait, in all.
    pub pool_bytes: usize,
    /// Bytes of envelopes of one device that may wait.
    pub device_bytes: usize,
    /// The largest batch: the validator's share of a block, in bytes. At least one envelope of the
    /// largest kind goes into a batch even if the share is smaller.
    pub batch_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pool_bytes: 64 * 1024 * 1024,
            device_bytes: 4 * 1024 * 1024,
            batch_bytes: batch::BATCH_MAX,
        }
    }
}

/// What is taken in and waits for a block.
#[derive(Debug)]
pub struct Ingest {
    /// The validator's network key.
    secret: DeviceSecret,
    chain_id: u64,
    sizes: Sizes,
    limits: Limits,
    head: Head,
    open: BTreeMap<(NetworkId, Epoch), Open>,
    /// How many envelopes the open epochs remember.
    known: usize,
    pool: Pool,
}

/// What an examination found.
enum Verdict {
    Fresh(Envelope),
    Known(Seen, (NetworkId, Epoch)),
}

impl Ingest {
    /// An empty ingest of the validator with `secret`.
    pub fn new(secret: DeviceSecret, chain_id: u64, sizes: Sizes, limits: Limits) -> Self {
        Self {
            secret,
            chain_id,
            sizes,
            limits,
            head: Head::default(),
            open: BTreeMap::new(),
            known: 0,
            pool: Pool::default(),
        }
    }

    /// Opens an epoch of a network. Opening again changes nothing.
    pub fn open(&mut self, inputs: Arc<Inputs>) {
        let opening = self.opening(inputs, 1);
        self.open_with(opening);
    }

    /// An epoch that is to be opened once it was told what blocks carry of it, one of so many at once.
    pub fn opening(&self, inputs: Arc<Inputs>, parts: usize) -> Opening {
        let parts = self.open.len().saturating_add(parts).max(1);
        Opening::new(inputs, (self.chain_id, self.sizes.largest()), KNOWN_MAX / parts)
    }

    /// Opens it, with what blocks carry of it.
    pub fn open_with(&mut self, opening: Opening) {
        let open = opening.into_open();
        self.open.entry((open.inputs.network, open.inputs.epoch)).or_insert(open);
        self.count();
    }

    /// Reckons how much is remembered.
    fn count(&mut self) {
        self.known = self.open.values().map(|open| open.known).sum();
    }

    /// Whether an open epoch may remember one more.
    fn has_memory(&self, open: &Open) -> bool {
        self.known < KNOWN_MAX || open.known < KNOWN_MAX / self.open.len().max(1)
    }

    /// Tells of a new final block, and closes epochs whose evidence no later block may carry.
    pub fn advance(&mut self, head: Head) {
        self.head = head;
        let next = Height(head.height.0.saturating_add(1));
        self.open.retain(|(_, epoch), open| next <= open.inputs.clock.grace_end(*epoch));
        self.count();
    }

    /// The newest final block it knows.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The inputs of the open epochs of a network, ascending by epoch.
    pub fn opened(&self, network: NetworkId) -> impl Iterator<Item = &Arc<Inputs>> {
        self.epochs(network).map(|open| &open.inputs)
    }

    /// Bytes of envelopes that wait for a block.
    pub const fn waiting_bytes(&self) -> usize {
        self.pool.bytes()
    }

    /// Takes in one envelope at the validator's time `now_ms`.
    pub fn submit(&mut self, bytes: &[u8], now_ms: u64) -> Answer {
        match self.examine(bytes, Some(now_ms)) {
            Ok(Verdict::Fresh(envelope)) => {
                let seen = self.remember(&envelope);
                let payload = envelope.payload();
                let named = (payload.network, payload.epoch);
                self.enqueue(&envelope);
                Answer::Accepted(self.acceptance(&seen, named))
            }
            Ok(Verdict::Known(seen, named)) => Answer::Replayed(self.acceptance(&seen, named)),
            Err(reason) => Answer::Refused(reason),
        }
    }

    /// Takes in an envelope that was accepted before a restart. Returns whether it waits for a block
    /// again; it does not when it is carried already or its epoch is closed. Quota and room were there when
    /// it was accepted, and are not asked for again.
    pub fn restore(&mut self, bytes: &[u8]) -> bool {
        let Ok(Verdict::Fresh(envelope)) = self.examine(bytes, None) else { return false };
        self.remember(&envelope);
        self.enqueue(&envelope);
        true
    }

    /// Takes back an acceptance that could not be made durable and was never given.
    pub fn retract(&mut self, bytes: &[u8]) {
        let Ok(envelope) = Envelope::parse(bytes, self.sizes.largest()) else { return };
        let payload = envelope.payload();
        let Some(open) = self.open.get_mut(&(payload.network, payload.epoch)) else { return };
        open.retract(&envelope);
        self.count();
        self.pool.remove(envelope.digest());
    }

    /// Tells that a final block carries `batch`: identities are taken and quotas used, whoever the
    /// author is, and nothing of it needs to be carried again. Returns which of its envelopes are a device's of an
    /// open epoch, within what is remembered of it.
    pub fn carried(&mut self, batch: &Batch) -> Vec<Digest> {
        let mut carried = Vec::new();
        for bytes in batch.envelopes() {
            let Ok(envelope) = Envelope::parse(bytes, self.sizes.largest()) else { continue };
            let named = (envelope.payload().network, envelope.payload().epoch);
            let Some(open) = self.open.get(&named) else { continue };
            let has_memory = self.has_memory(open);
            let Some(open) = self.open.get_mut(&named) else { continue };
            let before = open.known;
            if open.carry(&envelope, self.head.height, has_memory) {
                carried.push(envelope.digest());
            }
            self.known = self.known.saturating_add(open.known.saturating_sub(before));
        }
        carried
    }

    /// Takes the next batch out of the pool: the longest waiting envelopes of one network, networks in
    /// turn. Envelopes that no block may carry any more are dropped and counted.
    pub fn take(&mut self) -> (Option<Batch>, usize) {
        self.take_before(u64::MAX)
    }

    /// How many envelopes were ever taken in: the place of the next in the order of [`Ingest::take_before`].
    pub const fn taken_in(&self) -> u64 {
        self.pool.pushed()
    }

    /// As [`Ingest::take`], of the first `order` envelopes that were taken in: the others are not durable yet,
    /// and what is signed must not be forgotten.
    pub fn take_before(&mut self, order: u64) -> (Option<Batch>, usize) {
        let least = self.sizes.largest() + batch::OVERHEAD + batch::ENVELOPE_OVERHEAD;
        let budget = self.limits.batch_bytes.min(batch::BATCH_MAX).max(least);
        let (open, next) = (&self.open, Height(self.head.height.0.saturating_add(1)));
        let wanted = |pending: &Pending| {
            let Some(open) = open.get(&(pending.network, pending.epoch)) else {
                return pool::Wanted::Late;
            };
            if !open.inputs.clock.accepts(pending.epoch, next) {
                return pool::Wanted::Late;
            }
            let seen = open.find(pending.device, pending.sequence, pending.payload);
            if seen.is_none_or(|seen| seen.carried) { pool::Wanted::No } else { pool::Wanted::Yes }
        };
        let taken = self.pool.take((budget, order), wanted);
        let batch = taken
            .network
            .map(|network| Batch::sign(&self.secret, self.chain_id, network, taken.envelopes));
        (batch, taken.late)
    }

    fn epochs(&self, network: NetworkId) -> impl Iterator<Item = &Open> {
        self.open.range((network, Epoch(0))..=(network, Epoch(u64::MAX))).map(|(_, open)| open)
    }

    /// All checks in their order. Without `now_ms` it was accepted before: the clock is not checked, nor what
    /// others use up.
    fn examine(&self, bytes: &[u8], now_ms: Option<u64>) -> Result<Verdict, Reason> {
        if bytes.len() > self.sizes.largest() {
            return Err(Reason::TooLarge);
        }
        let envelope =
            Envelope::parse(bytes, self.sizes.largest()).map_err(|_| Reason::Malformed)?;
        let payload = envelope.payload();
        let named = (payload.network, payload.epoch);
        if self.epochs(payload.network).next().is_none() {
            return Err(Reason::UnknownNetwork);
        }
        let open = self.open.get(&named).ok_or(Reason::WrongEpoch)?;
        let may_carry = |blocks: u64| {
            let height = Height(self.head.height.0.saturating_add(blocks));
            open.inputs.clock.accepts(payload.epoch, height)
        };
        if !may_carry(1) || !may_carry(LEAD) {
            return Err(Reason::WrongEpoch);
        }
        let rules = &open.inputs.manifest.evidence;
        let device = open.inputs.device(envelope.device()).ok_or(Reason::UnknownDevice)?;
        check_kind(&envelope, device.kind, &self.sizes)?;
        let skewed = |now: u64| now.abs_diff(payload.time_ms) > u64::from(rules.skew_ms);
        if now_ms.is_some_and(skewed) && is_dated(payload) {
            return Err(Reason::ClockSkew);
        }
        let sent = open.devices.get(&envelope.device());
        let earlier = sent.and_then(|sent| sent.seen.get(&payload.sequence));
        if let Some(earlier) = earlier {
            let digest = envelope.payload_digest();
            if let Some(seen) = earlier.iter().find(|seen| seen.payload == digest) {
                return Ok(Verdict::Known(*seen, named));
            }
            if now_ms.is_some() && earlier.len() >= PAYLOADS_MAX {
                return Err(Reason::ConflictingPayloads);
            }
        }
        if now_ms.is_some() {
            self.check_room(&envelope, open)?;
        }
        envelope.verify(&device.key).map_err(|_| Reason::BadSignature)?;
        Ok(Verdict::Fresh(envelope))
    }

    /// Whether quota, memory and pool have room for an envelope.
    fn check_room(&self, envelope: &Envelope, open: &Open) -> Result<(), Reason> {
        let (device, bytes) = (envelope.device(), envelope.bytes());
        if !open.allows(device, bytes.len()) {
            return Err(Reason::OverQuota);
        }
        if !self.has_memory(open) || !self.pool.has_room(device, bytes.len(), &self.limits) {
            return Err(Reason::QueueFull);
        }
        Ok(())
    }

    /// Remembers what is accepted.
    fn remember(&mut self, envelope: &Envelope) -> Seen {
        let seen = Seen::of(envelope, self.head.height);
        let payload = envelope.payload();
        if let Some(open) = self.open.get_mut(&(payload.network, payload.epoch)) {
            open.remember(envelope, seen);
            self.known = self.known.saturating_add(1);
        }
        seen
    }

    fn enqueue(&mut self, envelope: &Envelope) {
        let payload = envelope.payload();
        self.pool.push(Pending {
            network: payload.network,
            epoch: payload.epoch,
            device: envelope.device(),
            sequence: payload.sequence,
            payload: envelope.payload_digest(),
            digest: envelope.digest(),
            bytes: envelope.bytes().to_vec(),
            order: 0,
        });
    }

    /// Ed25519 signatures are deterministic: the acceptance of a replay is the first one to the bit.
    fn acceptance(&self, seen: &Seen, named: (NetworkId, Epoch)) -> Acceptance {
        Acceptance::sign(&self.secret, self.chain_id, seen.digest, named, seen.accepted)
    }
}

/// The body must be the device's kind or common, of its size, and readable if common.
fn check_kind(envelope: &Envelope, kind: protocol::KindId, sizes: &Sizes) -> Result<(), Reason> {
    let body = &envelope.payload().body;
    if body.kind != COMMON && body.kind != kind {
        return Err(Reason::UnknownKind);
    }
    let limit = sizes.of(body.kind).ok_or(Reason::UnknownKind)?;
    if envelope.bytes().len() > limit {
        return Err(Reason::TooLarge);
    }
    if body.kind == COMMON {
        Common::from_body(body).map_err(|_| Reason::MalformedBody)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
