//! Replay: from the blobs of an epoch's blocks to the set of envelopes that settlement reads.
//!
//! Rules (design 6, 9). Of all blobs in blocks from the epoch's first height to its grace height:
//! 1. a blob that is not a batch signed by its author on this chain is nothing;
//! 2. an envelope counts if it parses, names this network and epoch, is of a device on the roster and of
//!    the device's kind or common, is within its kind's size, if it is a plain report is within the allowed
//!    skew of the time of the block that carries it, and its signature holds;
//! 3. of equal payloads under one identity the first carried counts (lowest height, then lowest digest);
//!    of different payloads under one identity the first two are kept, which proves the fault;
//! 4. of each device's envelopes, taken by ascending (height, sequence, digest), those count that still
//!    fit into the device's quota ([`Inputs::quota`]) beside the ones that counted before.
//!
//! The result is a function of the set of (blob, height) alone.
//!
//! **Authors' faults.** Who signs a batch is charged for what stands in [`Replayed::faults`], so only that may
//! stand there which an honest author checks before it signs, from the inputs file, the sizes of kinds and its
//! own memory, and which nobody else can bring about afterwards. Proposers choose which batches they include,
//! when, in which order and how often; devices send different envelopes to different authors at once. So:
//! * *bad signature*, *unknown device*, *unknown kind*, *too large for the kind*, *another network than the
//!   batch's*: functions of the envelope and of the inputs of the epoch that it names. Those are fixed before
//!   the epoch's first block, and no author takes envelopes of an epoch whose inputs it does not have. Roster,
//!   rails and manifest of another epoch play no part, whichever block carries the batch.
//! * *over quota* is a fault only for what one author's own batches carry, each payload counted once, beyond
//!   the device's whole quota of the epoch. What others have carried is not reckoned with: an author learns of
//!   it when it is final, and then its own batch may be under way already. So of several authors that together
//!   carry more than the quota nobody is at fault, and rule 4 alone says what counts. An honest author counts
//!   every envelope that it ever accepted of the epoch, restarts included: it signs nothing that is not in its
//!   journal, and takes back into account all of its journal before it accepts anything new ([`crate::ingest`]).
//!   Whoever goes on in the same epoch with the same key and without that journal, or with it twice, is not
//!   protected.
//! * A fault belongs to the epoch that the envelope names, and counts once for each author, however many
//!   batches and blocks carry it: who repeats an author's batch adds nothing to what it costs.
//! * *Malformed* bytes name no epoch. They would count again in every epoch in which somebody repeats the
//!   batch, so they count in none ([`Replayed::malformed`]), nor does what is larger than any envelope.
//! * Being *late* or *early*, and *skewed*: a proposer's doing. Conflicting and third payloads are the device's
//!   (two authors may have one each); a body that its kind does not understand is for its judge.
//!
//! Blobs that are no batch, and batches that their author did not sign, have nobody who answers for them. What
//! bounds those, and malformed bytes, and whatever is signed with a key without a bond, is each author's share
//! of a block: who fills its own share with junk displaces its own evidence and nobody else's.

use crate::{Batch, BlockEvidence, Sizes, ingest::PAYLOADS_MAX, signatures};
use protocol::{
    AuthorKey, DeviceId, Digest, Height, KindId, NetworkId, Reason,
    author::AuthorFault,
    body::{COMMON, Common},
    envelope::{Envelope, Payload},
    inputs::{Device, Inputs},
    kind::Carried,
};
use std::collections::{BTreeMap, BTreeSet};

/// What an epoch's blobs hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The verified envelopes, ascending by (device, height, sequence, digest): one for each identity,
    /// or two with different payloads where the device is at fault.
    pub carried: Vec<Carried>,
    /// What the authors of batches answer for, ascending; one for each author and envelope.
    pub faults: Vec<AuthorFault>,
    /// How many envelopes of this epoch were dropped because their time was too far from the block's.
    pub skewed: usize,
    /// How many pieces of this network's batches are no envelopes, which is nobody's fault.
    pub malformed: usize,
}

/// Where an envelope was found.
#[derive(Clone, Copy)]
struct Place {
    author: AuthorKey,
    batch: Digest,
    height: Height,
    time_ms: u64,
}

/// An envelope that passed everything but the signature.
struct Candidate<'a> {
    envelope: Envelope,
    digest: Digest,
    device: &'a Device,
    place: Place,
}

/// Replays the blobs of `blocks` for the epoch of `inputs`. Blocks outside the epoch's heights are
/// passed over.
pub fn replay<'b>(
    inputs: &Inputs,
    sizes: &Sizes,
    blocks: impl IntoIterator<Item = &'b BlockEvidence>,
) -> Replayed {
    let mut replayed = Replayed::default();
    let mut candidates = Vec::new();
    for block in blocks {
        if inputs.clock.accepts(inputs.epoch, block.height) {
            collect(inputs, sizes, block, (&mut candidates, &mut replayed));
        }
    }
    let pairs: Vec<_> =
        candidates.iter().map(|candidate| (&candidate.envelope, &candidate.device.key)).collect();
    let valid = signatures::check(&pairs);
    let mut genuine = Vec::new();
    for (candidate, valid) in candidates.into_iter().zip(valid) {
        if valid {
            genuine.push(candidate);
        } else {
            replayed.faults.push(candidate.fault(Reason::BadSignature));
        }
    }
    replayed.faults.extend(beyond_quota(inputs, &genuine));
    replayed.faults.sort_unstable();
    replayed.faults.dedup_by_key(|fault| (fault.author, fault.envelope));
    replayed.carried = within_quota(inputs, unique(genuine));
    replayed
}

/// The envelopes of one block that may count, as far as can be seen without checking signatures.
fn collect<'a>(
    inputs: &'a Inputs,
    sizes: &Sizes,
    block: &BlockEvidence,
    (candidates, replayed): (&mut Vec<Candidate<'a>>, &mut Replayed),
) {
    for blob in block.blobs() {
        let Ok(batch) = Batch::from_bytes(blob, inputs.chain_id) else { continue };
        if batch.network() != inputs.network {
            continue;
        }
        let place = Place {
            author: AuthorKey(batch.author()),
            batch: Digest::of(blob),
            height: block.height,
            time_ms: block.time_ms,
        };
        for bytes in batch.envelopes() {
            let Ok(envelope) = Envelope::parse(bytes, sizes.largest()) else {
                replayed.malformed += 1;
                continue;
            };
            if envelope.payload().epoch != inputs.epoch {
                continue;
            }
            let digest = Digest::of(bytes);
            let device = match examine(inputs, sizes, &envelope) {
                Ok(device) => device,
                Err(reason) => {
                    replayed.faults.push(place.fault(digest, bytes.len(), reason));
                    continue;
                }
            };
            let payload = envelope.payload();
            let skew_ms = u64::from(inputs.manifest.evidence.skew_ms);
            if is_dated(payload) && payload.time_ms.abs_diff(block.time_ms) > skew_ms {
                replayed.skewed += 1;
            } else {
                candidates.push(Candidate { envelope, digest, device, place });
            }
        }
    }
}

/// Whether the time that a device states matters: for plain reports, which say nothing else.
///
/// A proof is bound by the seed and by the heights of its window, a voucher by its nonce. If their time
/// counted, blocks that pause for longer than the allowed skew would drop an honest device's proof on
/// its way, while its next report would still say that it was there: a selective miss that was none.
pub(crate) fn is_dated(payload: &Payload) -> bool {
    payload.body.kind == COMMON && matches!(Common::from_body(&payload.body), Ok(Common::Report(_)))
}

/// The device of an envelope that names this epoch, or why no honest author takes it.
fn examine<'a>(
    inputs: &'a Inputs,
    sizes: &Sizes,
    envelope: &Envelope,
) -> Result<&'a Device, Reason> {
    let payload = envelope.payload();
    if payload.network != inputs.network {
        return Err(Reason::UnknownNetwork);
    }
    let device = inputs.device(envelope.device()).ok_or(Reason::UnknownDevice)?;
    let kind: KindId = payload.body.kind;
    let limit = sizes
        .of(kind)
        .filter(|_| kind == COMMON || kind == device.kind)
        .ok_or(Reason::UnknownKind)?;
    if envelope.bytes().len() > limit { Err(Reason::TooLarge) } else { Ok(device) }
}

/// Rule 3. Sorted by (device, height, sequence, digest).
fn unique(mut candidates: Vec<Candidate<'_>>) -> Vec<Candidate<'_>> {
    candidates.sort_unstable_by_key(Candidate::order);
    let mut identities: BTreeMap<(DeviceId, u64), BTreeSet<Digest>> = BTreeMap::new();
    candidates.retain(|candidate| {
        let identity = (candidate.device.id, candidate.envelope.payload().sequence);
        let payloads = identities.entry(identity).or_default();
        let fresh = !payloads.contains(&candidate.envelope.payload_digest());
        if fresh && payloads.len() < PAYLOADS_MAX {
            payloads.insert(candidate.envelope.payload_digest())
        } else {
            false
        }
    });
    candidates
}

/// Rule 4.
fn within_quota(inputs: &Inputs, candidates: Vec<Candidate<'_>>) -> Vec<Carried> {
    let mut carried = Vec::with_capacity(candidates.len());
    let mut used: (DeviceId, usize) = (DeviceId::default(), 0);
    let mut quota = 0;
    for candidate in candidates {
        if used.0 != candidate.device.id {
            used = (candidate.device.id, 0);
            quota = quota_of(inputs, used.0);
        }
        let sum = used.1.saturating_add(candidate.size());
        if sum > quota {
            continue;
        }
        used.1 = sum;
        carried.push(Carried {
            digest: candidate.digest,
            height: candidate.place.height,
            time_ms: candidate.place.time_ms,
            envelope: candidate.envelope,
        });
    }
    carried
}

/// What authors carry of a device beyond its quota by themselves, in the order of rule 4.
fn beyond_quota(inputs: &Inputs, genuine: &[Candidate<'_>]) -> Vec<AuthorFault> {
    let mut carriers: BTreeMap<(AuthorKey, DeviceId), Vec<&Candidate<'_>>> = BTreeMap::new();
    for candidate in genuine {
        let carrier = (candidate.place.author, candidate.device.id);
        carriers.entry(carrier).or_default().push(candidate);
    }
    let mut faults = Vec::new();
    for ((_, device), mut own) in carriers {
        let quota = quota_of(inputs, device);
        if own.iter().map(|candidate| candidate.size()).sum::<usize>() <= quota {
            continue;
        }
        own.sort_unstable_by_key(|candidate| candidate.order());
        let (mut payloads, mut used) = (BTreeSet::new(), 0usize);
        for candidate in own {
            let envelope = &candidate.envelope;
            // What was carried again, or signed again by its device, was accepted once.
            if !payloads.insert((envelope.payload().sequence, envelope.payload_digest())) {
                continue;
            }
            let sum = used.saturating_add(candidate.size());
            if sum > quota {
                faults.push(candidate.fault(Reason::OverQuota));
            } else {
                used = sum;
            }
        }
    }
    faults
}

fn quota_of(inputs: &Inputs, device: DeviceId) -> usize {
    usize::try_from(inputs.quota(device)).unwrap_or(usize::MAX)
}

impl Candidate<'_> {
    fn order(&self) -> (DeviceId, Height, u64, Digest) {
        let sequence = self.envelope.payload().sequence;
        (self.device.id, self.place.height, sequence, self.digest)
    }

    fn size(&self) -> usize {
        self.envelope.bytes().len()
    }

    fn fault(&self, reason: Reason) -> AuthorFault {
        self.place.fault(self.digest, self.size(), reason)
    }
}

impl Place {
    fn fault(&self, envelope: Digest, size: usize, reason: Reason) -> AuthorFault {
        AuthorFault {
            author: self.author,
            envelope,
            height: self.height,
            batch: self.batch,
            reason,
            bytes: u64::try_from(size).unwrap_or(u64::MAX),
        }
    }
}

/// The batches in a block's blobs that are signed by their authors, of all networks or of one.
pub fn batches(
    blobs: impl IntoIterator<Item = impl AsRef<[u8]>>,
    chain_id: u64,
    network: Option<NetworkId>,
) -> Vec<Batch> {
    blobs
        .into_iter()
        .filter_map(|blob| Batch::from_bytes(blob.as_ref(), chain_id).ok())
        .filter(|batch| network.is_none_or(|network| batch.network() == network))
        .collect()
}

#[cfg(test)]
mod honest;
#[cfg(test)]
mod tests;
