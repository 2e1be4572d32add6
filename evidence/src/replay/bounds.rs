//! What a replay holds at once, and what it forgets when that would be more ([`super`] says why).

use super::Candidate;
use crate::batch::BATCH_MAX;
use protocol::{AuthorKey, DeviceId, Digest, Reason, author::AuthorFault};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// The memory that the envelopes of one epoch of a network may take, as [`weight`] reckons it: 1.5 GiB.
pub const CARRIED_MAX: usize = 1_536 * 1024 * 1024;
/// After so many bytes of an author's faults its row says no more: they are a block's worth, which costs all
/// that a row can cost.
pub const FAULT_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// The most faults of an epoch, of all authors together.
pub const FAULTS_MAX: usize = 512 * 1024;
/// The most payloads that are remembered by the author that carried them, to find who exceeds a quota alone.
pub const TRACKED_MAX: usize = 1024 * 1024;
/// The memory of what waits to have its signatures checked together, before the block that exceeds it is done.
const GROUP: usize = BATCH_MAX;

/// How much a replay holds at once. All who settle have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) carried: usize,
    pub(super) faults: usize,
    pub(super) tracked: usize,
    pub(super) group: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { carried: CARRIED_MAX, faults: FAULTS_MAX, tracked: TRACKED_MAX, group: GROUP }
    }
}

/// About how many bytes of memory an envelope of so many bytes takes: its own, those of its body once more, and
/// what is noted of it.
pub(super) const fn weight(bytes: usize) -> usize {
    bytes.saturating_mul(2).saturating_add(512)
}

/// Faults by author.
#[derive(Debug, Default)]
pub(super) struct Faults {
    authors: BTreeMap<AuthorKey, Answers>,
    count: usize,
}

/// What one author answers for.
#[derive(Debug, Default)]
struct Answers {
    bytes: u64,
    faults: BTreeMap<Digest, AuthorFault>,
}

impl Faults {
    /// Adds the faults of a block, in any order. Blocks come ascending.
    pub(super) fn add(&mut self, mut faults: Vec<AuthorFault>, most: usize) {
        faults.sort_unstable();
        for fault in faults {
            let answers = self.authors.entry(fault.author).or_default();
            if answers.bytes < FAULT_BYTES_MAX && !answers.faults.contains_key(&fault.envelope) {
                answers.bytes = answers.bytes.saturating_add(fault.bytes);
                answers.faults.insert(fault.envelope, fault);
                self.count += 1;
            }
        }
        if self.count > most {
            self.forget(most / 4 * 3);
        }
    }

    /// Forgets the authors with the fewest bytes, of equal ones the highest keys, until few enough are left.
    fn forget(&mut self, most: usize) {
        let order = |(author, answers): (&AuthorKey, &Answers)| (answers.bytes, Reverse(*author));
        let mut order: Vec<_> = self.authors.iter().map(order).collect();
        order.sort_unstable();
        for (_, Reverse(author)) in order {
            if self.count <= most {
                break;
            }
            let forgotten = self.authors.remove(&author).map_or(0, |answers| answers.faults.len());
            self.count = self.count.saturating_sub(forgotten);
        }
    }

    /// All, ascending.
    pub(super) fn into_sorted(self) -> Vec<AuthorFault> {
        self.authors.into_values().flat_map(|answers| answers.faults.into_values()).collect()
    }
}

/// What each author carried of each device within its quota.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    used: BTreeMap<(AuthorKey, DeviceId), usize>,
    /// Author, device and payload, hashed.
    payloads: BTreeSet<Digest>,
}

impl Carriers {
    /// What the author of this envelope answers for, if it carries more of the device than its whole `quota` by
    /// itself. What it carried again, or what the device signed again, it accepted once.
    pub(super) fn beyond(
        &mut self,
        candidate: &Candidate<'_>,
        quota: usize,
        most: usize,
    ) -> Option<AuthorFault> {
        let (author, device) = (candidate.place.author, candidate.device.id);
        let payload = candidate.payload();
        let named =
            [&author.0[..], device.as_bytes(), &payload.0.to_be_bytes(), payload.1.as_bytes()];
        let named = Digest::of(&named.concat());
        if self.payloads.contains(&named) {
            return None;
        }
        let used = self.used.get(&(author, device)).copied().unwrap_or(0);
        let sum = used.saturating_add(candidate.size());
        if sum > quota {
            return Some(candidate.fault(Reason::OverQuota));
        }
        if self.payloads.len() < most {
            self.payloads.insert(named);
            self.used.insert((author, device), sum);
        }
        None
    }
}
