//! An epoch that the agent follows: its inputs, the device's duties in it, and when to report.
//!
//! A duty may be proven while a block of its window, or of the slack after it, can still carry the
//! proof. A report is due when the window of a duty opens and again when it has ended, one for all
//! windows that do so together, and once in the epoch at a seed-drawn height even without a duty.

use crate::journal::{Kept, Purpose};
use protocol::{DeviceId, Height, KindId, RailId, inputs::Inputs, kind::Duty};
use std::sync::Arc;

/// How far a duty has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Waits for its window; its hardware is being looked at.
    Ahead,
    /// Its proof is being made.
    Proving,
    /// Its proof is in the outbox.
    Proven,
    /// What it asks for is lost, and that was declared.
    Lost,
    /// It will not be proven.
    Missed,
}

/// A duty of the device.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) duty: Duty,
    pub(crate) progress: Progress,
}

/// An epoch with known inputs.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) inputs: Arc<Inputs>,
    /// The kind of the device, if it is on the roster.
    pub(crate) kind: Option<KindId>,
    pub(crate) tasks: Vec<Task>,
    /// The head when the last report was made.
    pub(crate) reported: Option<Height>,
    /// Bytes of envelopes made, of the quota.
    pub(crate) bytes: u64,
    /// Bytes of envelopes that count in this epoch.
    quota: u64,
    /// Whether a proof had to be dropped: what is sent after that would call its miss selective.
    pub(crate) muted: bool,
    /// Whether the hardware was asked for vouchers.
    pub(crate) vouchers_asked: bool,
    presence: Height,
}

impl Followed {
    /// Follows an epoch with the duties that the kind found, taking up what the outbox holds of it.
    pub(crate) fn new(
        inputs: Arc<Inputs>,
        device: DeviceId,
        duties: Vec<Duty>,
        kept: impl Iterator<Item = Kept>,
    ) -> Self {
        let presence = presence(&inputs, device);
        let kind = inputs.device(device).map(|device| device.kind);
        let tasks =
            duties.into_iter().map(|duty| Task { duty, progress: Progress::Ahead }).collect();
        let mut followed = Self {
            quota: inputs.quota(device),
            inputs,
            kind,
            tasks,
            reported: None,
            bytes: 0,
            muted: false,
            vouchers_asked: false,
            presence,
        };
        for kept in kept {
            followed.bytes = followed.bytes.saturating_add(u64::from(kept.size));
            match kept.purpose {
                Purpose::Proof(rail, index) => followed.set(rail, index, Progress::Proven),
                Purpose::Loss(rail, index) => followed.set(rail, index, Progress::Lost),
                Purpose::Report => followed.reported = followed.reported.max(Some(kept.made_at)),
                Purpose::Vouchers(_) => followed.vouchers_asked = true,
            }
        }
        followed
    }

    pub(crate) fn set(&mut self, rail: RailId, index: u16, progress: Progress) {
        let named = |task: &&mut Task| task.duty.rail == rail && task.duty.index == index;
        if let Some(task) = self.tasks.iter_mut().find(named) {
            task.progress = progress;
        }
    }

    pub(crate) fn task(&self, rail: RailId, index: u16) -> Option<&Task> {
        self.tasks.iter().find(|task| task.duty.rail == rail && task.duty.index == index)
    }

    /// How many bytes an envelope for `purpose` may have. Proofs and declarations of loss come first: reports
    /// and vouchers get what is left when every proof that is still owed has had its `answer` bytes.
    pub(crate) fn room(&self, purpose: &Purpose, answer: u64) -> u64 {
        let left = self.quota.saturating_sub(self.bytes);
        match purpose {
            Purpose::Loss(..) => left,
            _ if self.muted => 0,
            Purpose::Proof(..) => left,
            Purpose::Report | Purpose::Vouchers(_) => {
                let owed =
                    |task: &&Task| matches!(task.progress, Progress::Ahead | Progress::Proving);
                let owed =
                    u64::try_from(self.tasks.iter().filter(owed).count()).unwrap_or(u64::MAX);
                left.saturating_sub(owed.saturating_mul(answer))
            }
        }
    }

    /// The last height whose block may carry the proof of `duty`.
    pub(crate) fn deadline(&self, duty: &Duty) -> Height {
        Height(duty.to.0.saturating_add(u64::from(self.inputs.manifest.evidence.slack)))
    }

    /// Whether a report is due at `head`, and the last height at which carrying it is of use.
    pub(crate) fn report_due(&self, head: Height) -> Option<Height> {
        let since = self.reported;
        // A report counts for a height when it was made at or after it.
        let owed = |at: Height, until: Height| {
            (at <= head && head < until && since.is_none_or(|made| made < at)).then_some(until)
        };
        let duties = self.tasks.iter().map(|task| &task.duty);
        let windows =
            duties.flat_map(|duty| [owed(duty.from, duty.to), owed(duty.to, self.deadline(duty))]);
        let never = since.is_none() && head >= self.presence;
        let presence = never.then(|| self.inputs.clock.grace_end(self.inputs.epoch));
        windows.flatten().min().or(presence)
    }

    /// Whether vouchers are to be presented at `head`: once, near the epoch's end, when most of its
    /// traffic has been paid for.
    pub(crate) fn vouchers_due(&self, head: Height) -> bool {
        let clock = self.inputs.clock;
        let lead = (clock.length / 5).clamp(1, 64);
        !self.vouchers_asked && head.0.saturating_add(lead) >= clock.last(self.inputs.epoch).0
    }
}

/// The height from which a device reports even without duties, so that not all report at once.
fn presence(inputs: &Inputs, device: DeviceId) -> Height {
    let mut draw = inputs.seed().draw("agent/report", &[device.as_bytes()]);
    Height(inputs.first_height().0.saturating_add(draw.below(inputs.clock.length)))
}
