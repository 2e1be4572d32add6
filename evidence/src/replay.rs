//! Replay: from the blobs of an epoch's blocks to the set of envelopes that settlement reads.
//!
//! Rules (design 6, 9). Of all blobs in blocks from the epoch's first height to its grace height:
//! 1. a blob that is not a batch signed by its author on this chain is nothing;
//! 2. an envelope counts if it parses, names this network and epoch, is of a device on the roster and of
//!    the device's kind or common, is within its kind's size, if it is a plain report is within the allowed
//!    skew of the time of the block that carries it, and its signature holds;
//! 3. of each device's envelopes, taken by ascending (height, sequence, digest), those count that are new and still
//!    fit: of equal payloads under one identity the first, of different payloads under one identity the first
//!    two, which proves the fault, and none that does not fit into the device's quota ([`Inputs::quota`]) beside the
//!    ones that counted before.
//! 4. all that count take at most [`CARRIED_MAX`] of memory (twice their bytes, and 512 for each); taken by
//!    ascending (height, device, sequence, digest), what does not fit beside the ones before does not count
//!    ([`Replayed::beyond`]).
//!
//! The result is a function of the set of (blob, height) alone, and so the same for all who replay.
//!
//! **Memory.** Blocks come one after another ([`Replay::block`]), and nothing of one is kept but what counts so
//! far and who is at fault: blobs cost nothing, and full blocks of a day are more than any memory holds. What
//! honest devices send is bounded by their quotas; but a network's founder writes its manifest and may own its
//! devices, hence rule 4. Who is at fault is bounded too ([`FAULT_BYTES_MAX`], [`FAULTS_MAX`],
//! [`TRACKED_MAX`]), since keys to sign batches with cost nothing: an author's faults count until they are a
//! block's worth, which costs all that it can cost; if there are too many of all authors, those with the fewest
//! bytes are forgotten, as in the statement's rows ([`protocol::author`]); and of what exceeds a quota only so
//! much is found as can be told from a repetition. All of that can spare an author, and blames none.
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
//!   carry more than the quota nobody is at fault, and rule 3 alone says what counts. An honest author counts
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

mod bounds;

pub use bounds::{CARRIED_MAX, FAULT_BYTES_MAX, FAULTS_MAX, TRACKED_MAX};

use crate::{Batch, BlockEvidence, Sizes, ingest::PAYLOADS_MAX, signatures};
use bounds::{Bounds, Carriers, Faults, weight};
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
    /// How many genuine envelopes within quota were dropped since there are more of them than any epoch may
    /// have (rule 4).
    pub beyond: usize,
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

/// What one block holds of the epoch, before its signatures are checked.
#[derive(Default)]
struct Found<'a> {
    faults: Vec<AuthorFault>,
    candidates: Vec<Candidate<'a>>,
}

/// What counts of one device.
#[derive(Default)]
struct Kept {
    quota: usize,
    used: usize,
    payloads: BTreeSet<(u64, Digest)>,
    carried: Vec<Carried>,
}

/// A replay under way.
pub struct Replay<'a> {
    inputs: &'a Inputs,
    sizes: &'a Sizes,
    bounds: Bounds,
    /// Blocks whose signatures are not checked yet, and the memory that they take.
    group: Vec<Found<'a>>,
    waiting: usize,
    devices: BTreeMap<DeviceId, Kept>,
    /// The memory of what counts.
    held: usize,
    carriers: Carriers,
    faults: Faults,
    /// All but what counts and the faults.
    replayed: Replayed,
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("held", &self.held).finish_non_exhaustive()
    }
}

/// Replays the blobs of `blocks`, in any order, for the epoch of `inputs`. Blocks outside the epoch's heights are
/// passed over.
pub fn replay<'b>(
    inputs: &Inputs,
    sizes: &Sizes,
    blocks: impl IntoIterator<Item = &'b BlockEvidence>,
) -> Replayed {
    let mut blocks: Vec<_> = blocks.into_iter().collect();
    blocks.sort_by_key(|block| block.height);
    let mut replay = Replay::new(inputs, sizes);
    blocks.into_iter().for_each(|block| replay.block(block));
    replay.finish()
}

impl<'a> Replay<'a> {
    /// Nothing yet, of the epoch of `inputs`.
    pub fn new(inputs: &'a Inputs, sizes: &'a Sizes) -> Self {
        Self::within(inputs, sizes, Bounds::default())
    }

    fn within(inputs: &'a Inputs, sizes: &'a Sizes, bounds: Bounds) -> Self {
        Self {
            inputs,
            sizes,
            bounds,
            group: Vec::new(),
            waiting: 0,
            devices: BTreeMap::new(),
            held: 0,
            carriers: Carriers::default(),
            faults: Faults::default(),
            replayed: Replayed::default(),
        }
    }

    /// Reads the next block. Blocks come ascending by height, each once; those outside the epoch's heights are passed
    /// over.
    pub fn block(&mut self, block: &BlockEvidence) {
        if !self.inputs.clock.accepts(self.inputs.epoch, block.height) {
            return;
        }
        let mut found = Found::default();
        for blob in block.blobs() {
            let Ok(batch) = Batch::from_bytes(blob, self.inputs.chain_id) else { continue };
            if batch.network() != self.inputs.network {
                continue;
            }
            let place = Place {
                author: AuthorKey(batch.author()),
                batch: Digest::of(blob),
                height: block.height,
                time_ms: block.time_ms,
            };
            self.collect(&batch, place, &mut found);
        }
        let sizes = found.candidates.iter().map(|candidate| weight(candidate.size()));
        self.waiting += sizes.sum::<usize>() + weight(0) * found.faults.len();
        self.group.push(found);
        if self.waiting >= self.bounds.group {
            self.check();
        }
    }

    /// The envelopes of one batch that may count, as far as can be seen without checking signatures.
    fn collect(&mut self, batch: &Batch, place: Place, found: &mut Found<'a>) {
        let (inputs, sizes) = (self.inputs, self.sizes);
        for bytes in batch.envelopes() {
            let Ok(envelope) = Envelope::parse(bytes, sizes.largest()) else {
                self.replayed.malformed += 1;
                continue;
            };
            if envelope.payload().epoch != inputs.epoch {
                continue;
            }
            let digest = Digest::of(bytes);
            let device = match examine(inputs, sizes, &envelope) {
                Ok(device) => device,
                Err(reason) => {
                    found.faults.push(place.fault(digest, bytes.len(), reason));
                    continue;
                }
            };
            let payload = envelope.payload();
            let skew_ms = u64::from(inputs.manifest.evidence.skew_ms);
            if is_dated(payload) && payload.time_ms.abs_diff(place.time_ms) > skew_ms {
                self.replayed.skewed += 1;
            } else {
                found.candidates.push(Candidate { envelope, digest, device, place });
            }
        }
    }

    /// Checks the signatures of the blocks that wait for it, and takes what they hold into account, one block
    /// after another.
    fn check(&mut self) {
        self.waiting = 0;
        let group = std::mem::take(&mut self.group);
        let candidates = group.iter().flat_map(|found| &found.candidates);
        let pairs: Vec<_> =
            candidates.map(|candidate| (&candidate.envelope, &candidate.device.key)).collect();
        let mut valid = signatures::check(&pairs).into_iter();
        for Found { mut faults, candidates } in group {
            let mut genuine = Vec::with_capacity(candidates.len());
            for candidate in candidates {
                if valid.next() == Some(true) {
                    genuine.push(candidate);
                } else {
                    faults.push(candidate.fault(Reason::BadSignature));
                }
            }
            genuine.sort_unstable_by_key(Candidate::order);
            for candidate in genuine {
                let quota = self.device(candidate.device.id).quota;
                faults.extend(self.carriers.beyond(&candidate, quota, self.bounds.tracked));
                self.keep(candidate);
            }
            self.faults.add(faults, self.bounds.faults);
        }
    }

    fn device(&mut self, device: DeviceId) -> &mut Kept {
        self.devices.entry(device).or_insert_with(|| {
            let quota = usize::try_from(self.inputs.quota(device)).unwrap_or(usize::MAX);
            Kept { quota, ..Kept::default() }
        })
    }

    /// Rules 3 and 4.
    fn keep(&mut self, candidate: Candidate<'_>) {
        let (size, payload) = (candidate.size(), candidate.payload());
        let (held, most) = (self.held.saturating_add(weight(size)), self.bounds.carried);
        let kept = self.device(candidate.device.id);
        let first = (payload.0, Digest([0; 32]));
        let same = kept.payloads.range(first..=(payload.0, Digest([255; 32]))).count();
        let used = kept.used.saturating_add(size);
        if same >= PAYLOADS_MAX || kept.payloads.contains(&payload) || used > kept.quota {
            return;
        }
        if held > most {
            self.replayed.beyond += 1;
            return;
        }
        kept.used = used;
        kept.payloads.insert(payload);
        kept.carried.push(Carried {
            digest: candidate.digest,
            height: candidate.place.height,
            time_ms: candidate.place.time_ms,
            envelope: candidate.envelope,
        });
        self.held = held;
    }

    /// What the blocks hold.
    pub fn finish(mut self) -> Replayed {
        self.check();
        let carried = self.devices.into_values().flat_map(|kept| kept.carried).collect();
        Replayed { carried, faults: self.faults.into_sorted(), ..self.replayed }
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

impl Candidate<'_> {
    /// The order of a block's envelopes. Author and batch matter to who is at fault alone.
    fn order(&self) -> (DeviceId, u64, Digest, AuthorKey, Digest) {
        let sequence = self.envelope.payload().sequence;
        (self.device.id, sequence, self.digest, self.place.author, self.place.batch)
    }

    /// What it says, under its identity.
    fn payload(&self) -> (u64, Digest) {
        (self.envelope.payload().sequence, self.envelope.payload_digest())
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
