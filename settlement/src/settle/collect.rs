//! Step 1, collect: the set of reports, one an identity, and the identities with two payloads.
//!
//! The identity of a report is (device, sequence) within the network and epoch. Of equal payloads the
//! first carried stays (lowest height, then lowest digest). Of different payloads the first carried is
//! what the judge sees, and the pair is the device's fault. The result does not depend on the order in
//! which the evidence comes, nor on repetitions.

use protocol::{DeviceId, Digest, Height, Reason, kind::Carried, statement::Cause};
use std::collections::BTreeMap;

/// The evidence of an epoch, sorted.
pub(super) struct Collected {
    /// One report an identity, ascending by (device, height, sequence, digest).
    pub(super) carried: Vec<Carried>,
    /// The devices with two payloads under one identity, each pair a cause.
    pub(super) conflicts: BTreeMap<DeviceId, Vec<Cause>>,
    /// BLAKE3 over the digests of all evidence, conflicting payloads included, ascending.
    pub(super) digest: Digest,
}

/// Sorts the evidence.
pub(super) fn collect(mut carried: Vec<Carried>) -> Collected {
    carried.sort_unstable_by_key(order);
    let mut identities: BTreeMap<(DeviceId, u64), Vec<(Digest, Digest)>> = BTreeMap::new();
    let mut used = Vec::new();
    carried.retain(|report| {
        let (device, _, sequence, digest) = order(report);
        let payloads = identities.entry((device, sequence)).or_default();
        let payload = report.envelope.payload_digest();
        if payloads.iter().any(|(known, _)| *known == payload) {
            return false;
        }
        payloads.push((payload, digest));
        used.push(digest);
        payloads.len() == 1
    });
    let mut conflicts: BTreeMap<DeviceId, Vec<Cause>> = BTreeMap::new();
    for ((device, _), payloads) in identities {
        if payloads.len() > 1 {
            let evidence = payloads.into_iter().map(|(_, digest)| digest).collect();
            let cause = Cause { evidence, ..Cause::of(Reason::ConflictingPayloads) };
            conflicts.entry(device).or_default().push(cause);
        }
    }
    Collected { carried, conflicts, digest: digest_of(used) }
}

impl Collected {
    /// The reports of a device.
    pub(super) fn of(&self, device: DeviceId) -> &[Carried] {
        let key = |report: &Carried| report.envelope.device();
        let from = self.carried.partition_point(|report| key(report) < device);
        let length = self.carried[from..].partition_point(|report| key(report) == device);
        &self.carried[from..from + length]
    }
}

fn order(report: &Carried) -> (DeviceId, Height, u64, Digest) {
    let envelope = &report.envelope;
    (envelope.device(), report.height, envelope.payload().sequence, report.digest)
}

fn digest_of(mut digests: Vec<Digest>) -> Digest {
    digests.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for digest in digests {
        hasher.update(digest.as_bytes());
    }
    Digest(*hasher.finalize().as_bytes())
}
