//! What an agent did, in numbers that only grow, and where it stands.

use protocol::{DeviceId, Epoch, Height, Reason};
use serde::Serialize;
use std::collections::BTreeMap;

/// Counters since the agent started, and its present standing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// The newest height heard of.
    pub head: Option<Height>,
    /// The newest epoch whose inputs are known.
    pub epoch: Option<Epoch>,
    /// Whether the device is on that epoch's roster.
    pub enrolled: bool,
    /// Proofs made.
    pub proofs: u64,
    /// Reports made.
    pub reports: u64,
    /// Losses declared.
    pub losses: u64,
    /// Envelopes of vouchers made.
    pub vouchers: u64,
    /// Envelopes that a validator accepted.
    pub accepted: u64,
    /// Envelopes seen in a block.
    pub carried: u64,
    /// Envelopes given to a second or later validator, or again to the same one.
    pub resent: u64,
    /// Envelopes refused for good, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Envelopes that were of no more use before a validator accepted them.
    pub expired: u64,
    /// Envelopes not made because the outbox or the epoch's quota was full.
    pub dropped: u64,
    /// Duties whose proof could not be made or came too late.
    pub missed: u64,
    /// Envelopes on their way.
    pub outbox: usize,
}

impl Metrics {
    /// Gives the figures to the process's metrics recorder, under the device's first bytes.
    pub(crate) fn publish(&self, device: DeviceId) {
        let device = short(device);
        let counters = [
            ("wayleave_agent_proofs_total", self.proofs),
            ("wayleave_agent_reports_total", self.reports),
            ("wayleave_agent_losses_total", self.losses),
            ("wayleave_agent_accepted_total", self.accepted),
            ("wayleave_agent_carried_total", self.carried),
            ("wayleave_agent_resent_total", self.resent),
            ("wayleave_agent_refused_total", self.refused.values().sum()),
            ("wayleave_agent_expired_total", self.expired),
            ("wayleave_agent_dropped_total", self.dropped),
            ("wayleave_agent_missed_duties_total", self.missed),
        ];
        for (name, value) in counters {
            metrics::counter!(name, "device" => device.clone()).absolute(value);
        }
        let outbox = u32::try_from(self.outbox).unwrap_or(u32::MAX);
        metrics::gauge!("wayleave_agent_outbox", "device" => device).set(outbox);
    }
}

/// The first bytes of a device id, enough to tell the devices of one process apart.
pub(crate) fn short(device: DeviceId) -> String {
    device.0[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
