//! What waits for a block: a queue for each network, bounded in all and for each device.

use super::Limits;
use crate::batch;
use protocol::{DeviceId, Digest, Epoch, NetworkId};
use std::collections::{BTreeMap, VecDeque};

/// One accepted envelope.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) network: NetworkId,
    pub(super) epoch: Epoch,
    pub(super) device: DeviceId,
    pub(super) sequence: u64,
    pub(super) payload: Digest,
    pub(super) digest: Digest,
    pub(super) bytes: Vec<u8>,
    /// Its place in the order in which all were taken in, as [`Pool::push`] gives it.
    pub(super) order: u64,
}

/// Whether a waiting envelope still needs a block.
pub(super) enum Wanted {
    Yes,
    /// It is carried already.
    No,
    /// No block may carry it any more.
    Late,
}

/// The queues.
#[derive(Debug, Default)]
pub(super) struct Pool {
    queues: BTreeMap<NetworkId, VecDeque<Pending>>,
    devices: BTreeMap<DeviceId, usize>,
    bytes: usize,
    /// How many were ever pushed.
    pushed: u64,
    /// The network whose turn was last.
    last: NetworkId,
}

/// What was taken.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) network: Option<NetworkId>,
    pub(super) envelopes: Vec<Vec<u8>>,
    /// How many envelopes were dropped because no block may carry them any more.
    pub(super) late: usize,
}

impl Pool {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_room(&self, device: DeviceId, bytes: usize, limits: &Limits) -> bool {
        let of_device = self.devices.get(&device).copied().unwrap_or(0);
        self.bytes.saturating_add(bytes) <= limits.pool_bytes
            && of_device.saturating_add(bytes) <= limits.device_bytes
    }

    /// How many were ever pushed: the order of the next.
    pub(super) const fn pushed(&self) -> u64 {
        self.pushed
    }

    pub(super) fn push(&mut self, mut pending: Pending) {
        pending.order = self.pushed;
        self.pushed = self.pushed.saturating_add(1);
        self.bytes = self.bytes.saturating_add(pending.bytes.len());
        let of_device = self.devices.entry(pending.device).or_default();
        *of_device = of_device.saturating_add(pending.bytes.len());
        self.queues.entry(pending.network).or_default().push_back(pending);
    }

    pub(super) fn remove(&mut self, digest: Digest) {
        let Self { queues, devices, bytes, .. } = self;
        for queue in queues.values_mut() {
            if let Some(at) = queue.iter().position(|pending| pending.digest == digest)
                && let Some(pending) = queue.remove(at)
            {
                settle(devices, bytes, &pending);
            }
        }
        queues.retain(|_, queue| !queue.is_empty());
    }

    /// Takes envelopes of the network whose turn it is, at most `budget` bytes as a batch, and none that was
    /// pushed at `before` in the order or after it.
    pub(super) fn take(
        &mut self,
        (budget, before): (usize, u64),
        wanted: impl Fn(&Pending) -> Wanted,
    ) -> Taken {
        let mut taken = Taken::default();
        // Each network once: what waits in one of them may all be after `before`.
        for _ in 0..self.queues.len() {
            let Some(network) = self.turn() else { break };
            self.last = network;
            let Some(queue) = self.queues.get_mut(&network) else { break };
            let mut size = batch::OVERHEAD;
            while let Some(next) = queue.front() {
                let grown = size + next.bytes.len() + batch::ENVELOPE_OVERHEAD;
                let full = grown > budget || taken.envelopes.len() >= batch::ENVELOPES_MAX;
                if full || next.order >= before {
                    break;
                }
                let Some(pending) = queue.pop_front() else { break };
                settle(&mut self.devices, &mut self.bytes, &pending);
                match wanted(&pending) {
                    Wanted::Yes => {
                        size = grown;
                        taken.network = Some(network);
                        taken.envelopes.push(pending.bytes);
                    }
                    Wanted::No => {}
                    Wanted::Late => taken.late += 1,
                }
            }
            if queue.is_empty() {
                self.queues.remove(&network);
            }
            if !taken.envelopes.is_empty() {
                break;
            }
        }
        taken
    }

    /// The next network with a queue after the last.
    fn turn(&self) -> Option<NetworkId> {
        let after = NetworkId(self.last.0.saturating_add(1));
        let mut networks = self.queues.range(after..).chain(self.queues.range(..));
        networks.next().map(|(network, _)| *network)
    }
}

/// Takes an envelope's bytes off the sums.
fn settle(devices: &mut BTreeMap<DeviceId, usize>, bytes: &mut usize, pending: &Pending) {
    let size = pending.bytes.len();
    *bytes = bytes.saturating_sub(size);
    if let Some(of_device) = devices.get_mut(&pending.device) {
        *of_device = of_device.saturating_sub(size);
        if *of_device == 0 {
            devices.remove(&pending.device);
        }
    }
}
