//! What an agent did, in numbers that only grow, and where it stands.

use protocol::{Epoch, Height, Reason};
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
