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
//! The result is a function of the set of (blob, height) alone. An envelope that its author could not
//! honestly have accepted (form, size, network, signature, roster, kind, quota) is the author's fault
//! and stands in [`Replayed::faults`]; being late or skewed is nobody's.

use crate::{Batch, BlockEvidence, Sizes, ingest::PAYLOADS_MAX, signatures};
use protocol::{
    DeviceId, Digest, Height, KindId, NetworkId, Reason,
    body::{COMMON, Common},
    envelope::{Envelope, ParseError, Payload},
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
    /// What the authors of batches answer for, ascending.
    pub faults: Vec<AuthorFault>,
    /// How many envelopes of this epoch were dropped because their time was too far from the block's.
    pub skewed: usize,
}

/// An envelope that the author of its batch could not honestly have accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuthorFault {
    /// The author's Ed25519 key.
    pub author: [u8; 32],
    /// The block.
    pub height: Height,
    /// The BLAKE3 hash of the batch's bytes.
    pub batch: Digest,
    /// The BLAKE3 hash of the envelope's bytes.
    pub envelope: Digest,
    /// What is wrong with it.
    pub reason: Reason,
}

/// Where an envelope was found.
#[derive(Clone, Copy)]
struct Place {
    author: [u8; 32],
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
            replayed.faults.push(candidate.place.fault(candidate.digest, Reason::BadSignature));
        }
    }
    let unique = unique(genuine);
    within_quota(inputs, unique, &mut replayed);
    replayed.faults.sort_unstable();
    replayed.faults.dedup();
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
            author: batch.author(),
            batch: Digest::of(blob),
            height: block.height,
            time_ms: block.time_ms,
        };
        for bytes in batch.envelopes() {
            let digest = Digest::of(bytes);
            match examine(inputs, sizes, bytes) {
                Ok(None) => {}
                Ok(Some((envelope, device))) => {
                    let payload = envelope.payload();
                    let skew_ms = u64::from(inputs.manifest.evidence.skew_ms);
                    if is_dated(payload) && payload.time_ms.abs_diff(block.time_ms) > skew_ms {
                        replayed.skewed += 1;
                    } else {
                        candidates.push(Candidate { envelope, digest, device, place });
                    }
                }
                Err(reason) => replayed.faults.push(place.fault(digest, reason)),
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

/// The envelope and its device; nothing if it names another epoch.
fn examine<'a>(
    inputs: &'a Inputs,
    sizes: &Sizes,
    bytes: &[u8],
) -> Result<Option<(Envelope, &'a Device)>, Reason> {
    let envelope = Envelope::parse(bytes, sizes.largest()).map_err(|error| match error {
        ParseError::TooLarge(..) => Reason::TooLarge,
        _ => Reason::Malformed,
    })?;
    let payload = envelope.payload();
    if payload.network != inputs.network {
        return Err(Reason::UnknownNetwork);
    }
    if payload.epoch != inputs.epoch {
        return Ok(None);
    }
    let device = inputs.device(envelope.device()).ok_or(Reason::UnknownDevice)?;
    let kind: KindId = payload.body.kind;
    let limit = sizes
        .of(kind)
        .filter(|_| kind == COMMON || kind == device.kind)
        .ok_or(Reason::UnknownKind)?;
    if bytes.len() > limit { Err(Reason::TooLarge) } else { Ok(Some((envelope, device))) }
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
fn within_quota(inputs: &Inputs, candidates: Vec<Candidate<'_>>, replayed: &mut Replayed) {
    let mut used: (DeviceId, usize) = (DeviceId::default(), 0);
    let mut quota = 0;
    for candidate in candidates {
        if used.0 != candidate.device.id {
            used = (candidate.device.id, 0);
            quota = usize::try_from(inputs.quota(used.0)).unwrap_or(usize::MAX);
        }
        let sum = used.1.saturating_add(candidate.envelope.bytes().len());
        if sum > quota {
            replayed.faults.push(candidate.place.fault(candidate.digest, Reason::OverQuota));
            continue;
        }
        used.1 = sum;
        replayed.carried.push(Carried {
            digest: candidate.digest,
            height: candidate.place.height,
            time_ms: candidate.place.time_ms,
            envelope: candidate.envelope,
        });
    }
}

impl Candidate<'_> {
    fn order(&self) -> (DeviceId, Height, u64, Digest) {
        let sequence = self.envelope.payload().sequence;
        (self.device.id, self.place.height, sequence, self.digest)
    }
}

impl Place {
    const fn fault(&self, envelope: Digest, reason: Reason) -> AuthorFault {
        AuthorFault {
            author: self.author,
            height: self.height,
            batch: self.batch,
            envelope,
            reason,
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
mod tests;
