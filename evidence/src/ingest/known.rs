//! What is known of an open epoch: what devices sent, and what blocks carry of it.

use crate::{BlockEvidence, replay::batches};
use protocol::{DeviceId, Digest, Height, envelope::Envelope, inputs::Inputs};
use std::{collections::BTreeMap, sync::Arc};

/// An open epoch of a network.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) inputs: Arc<Inputs>,
    pub(super) devices: BTreeMap<DeviceId, Sent>,
    /// How many envelopes are remembered.
    pub(super) known: usize,
}

/// What one device sent for an epoch.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) bytes: usize,
    pub(super) seen: BTreeMap<u64, Vec<Seen>>,
}

/// One payload under an identity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) payload: Digest,
    pub(super) digest: Digest,
    pub(super) accepted: Height,
    pub(super) bytes: usize,
    pub(super) carried: bool,
}

impl Seen {
    /// What is seen for the first time when the newest block is at `height`.
    pub(super) fn of(envelope: &Envelope, height: Height) -> Self {
        Self {
            payload: envelope.payload_digest(),
            digest: envelope.digest(),
            accepted: height,
            bytes: envelope.bytes().len(),
            carried: false,
        }
    }
}

impl Open {
    fn new(inputs: Arc<Inputs>) -> Self {
        Self { inputs, devices: BTreeMap::new(), known: 0 }
    }

    pub(super) fn find(&self, device: DeviceId, sequence: u64, payload: Digest) -> Option<&Seen> {
        self.devices.get(&device)?.seen.get(&sequence)?.iter().find(|seen| seen.payload == payload)
    }

    /// Whether so many bytes more of a device are within its quota.
    pub(super) fn allows(&self, device: DeviceId, bytes: usize) -> bool {
        let used = self.devices.get(&device).map_or(0, |sent| sent.bytes);
        let wanted = u64::try_from(used.saturating_add(bytes)).unwrap_or(u64::MAX);
        // Everybody has the floor. To reckon more reads all rails of a device, which strangers must not
        // be able to ask for: beyond the floor the device signed all that came before.
        let floor = u64::from(self.inputs.manifest.evidence.quota_bytes);
        wanted <= floor || wanted <= self.inputs.quota(device)
    }

    pub(super) fn remember(&mut self, envelope: &Envelope, seen: Seen) {
        let sent = self.devices.entry(envelope.device()).or_default();
        sent.bytes = sent.bytes.saturating_add(seen.bytes);
        sent.seen.entry(envelope.payload().sequence).or_default().push(seen);
        self.known = self.known.saturating_add(1);
    }

    /// Forgets what was accepted and never answered.
    pub(super) fn retract(&mut self, envelope: &Envelope) {
        let Some(sent) = self.devices.get_mut(&envelope.device()) else { return };
        let Some(seen) = sent.seen.get_mut(&envelope.payload().sequence) else { return };
        let before = seen.len();
        seen.retain(|seen| seen.carried || seen.payload != envelope.payload_digest());
        self.known = self.known.saturating_sub(before - seen.len());
        sent.seen.retain(|_, seen| !seen.is_empty());
        sent.bytes = sent.seen.values().flatten().map(|seen| seen.bytes).sum();
    }

    /// Notes that a block carries an envelope of this epoch; false if it is none of a device, or nothing more of it
    /// is remembered: beyond the quota, since nothing more of the device is accepted then either, or without
    /// memory.
    pub(super) fn carry(&mut self, envelope: &Envelope, height: Height, has_memory: bool) -> bool {
        let (device, payload) = (envelope.device(), envelope.payload());
        let digest = envelope.payload_digest();
        let sent = self.devices.get_mut(&device);
        let known = sent.and_then(|sent| sent.seen.get_mut(&payload.sequence));
        if let Some(seen) = known.and_then(|all| all.iter_mut().find(|one| one.payload == digest)) {
            seen.carried = true;
            return true;
        }
        // What exceeds the quota first is remembered, so that the rest is known to be beyond it.
        let allowed = has_memory && self.allows(device, 0);
        let genuine = allowed
            && self.inputs.device(device).is_some_and(|known| envelope.verify(&known.key).is_ok());
        if genuine {
            self.remember(envelope, Seen { carried: true, ..Seen::of(envelope, height) });
        }
        genuine
    }
}

/// An epoch that is opened after blocks that may carry some of it. It is told of them one after another, and
/// opened when it knows them all, so that nothing is accepted before.
#[derive(Debug)]
pub struct Opening {
    open: Open,
    chain_id: u64,
    /// The largest envelope of any kind, in bytes.
    largest: usize,
    /// How many envelopes may be remembered.
    room: usize,
    /// Those that blocks carry, and the first block that does.
    carried: Vec<(Digest, Height)>,
}

impl Opening {
    pub(super) fn new(inputs: Arc<Inputs>, (chain_id, largest): (u64, usize), room: usize) -> Self {
        Self { open: Open::new(inputs), chain_id, largest, room, carried: Vec::new() }
    }

    pub(super) fn into_open(self) -> Open {
        self.open
    }

    /// The file of the epoch.
    pub const fn inputs(&self) -> &Arc<Inputs> {
        &self.open.inputs
    }

    /// Tells of the next block.
    pub fn block(&mut self, evidence: &BlockEvidence) {
        let (network, epoch) = (self.open.inputs.network, self.open.inputs.epoch);
        for batch in batches(evidence.blobs(), self.chain_id, Some(network)) {
            for bytes in batch.envelopes() {
                let Ok(envelope) = Envelope::parse(bytes, self.largest) else { continue };
                let payload = envelope.payload();
                if (payload.network, payload.epoch) != (network, epoch) {
                    continue;
                }
                let (known, has_memory) = (self.open.known, self.open.known < self.room);
                self.open.carry(&envelope, evidence.height, has_memory);
                if self.open.known > known {
                    self.carried.push((envelope.digest(), evidence.height));
                }
            }
        }
    }

    /// What blocks carry of the epoch, each with the first that does.
    pub fn carried(&self) -> &[(Digest, Height)] {
        &self.carried
    }
}
