//! Double votes that the running engine saw, as evidence for `Validators.accuse`.
//!
//! Votes are signed one by one (ed25519 certificates), so two that exclude each other convict their signer
//! before anybody. The engine reports two that it was told itself; what others were told stands in the
//! certificates it is given, and is compared here ([`record`]). Signatures are checked here too, so that nobody
//! pays for an accusation that fails. What is seen is held in memory only, one double vote a seat and term,
//! [`FAULTS_KEPT`] in all: one validator that tells the ledger is enough.
//!
//! Who shows each peer one face in a view in which no block is notarized is not found, since no two of its votes
//! ever meet in one place: each peer has the one that it was told. No certificate brings the other. That of a
//! nullification is made of signatures over the round alone, and a certificate that names a proposal needs a
//! quorum of votes for it, which then is not there. Other peers' votes name the other proposal and thereby show
//! that its leader made it, but they bear their own signatures, and `Validators.accuse` takes nobody's word; nor
//! does the leader sign the block itself. It would take peers to pass on what a leader told them as soon as they
//! hear a vote for something else: a message of its own, with bounds of its own, in every view that fails for
//! whatever reason. What it would punish is a leader that wastes its own turn, as one that proposes nothing does,
//! and that no quorum followed: the ledger loses one view by either.

mod record;

use crate::committee::Committee;
use alloy_primitives::B256;
use bytes::Bytes;
use commonware_actor::Feedback;
use commonware_codec::{Encode as _, ReadExt as _};
use commonware_consensus::{
    Epochable as _, Reporter, Viewable as _,
    simplex::{
        scheme::{ed25519::Scheme, reporter::AttributableReporter},
        types::{Activity, Attributable as _, Finalize, Notarize, Nullify, Vote},
    },
    types::Participant,
};
use commonware_cryptography::sha256::Digest;
use commonware_parallel::Sequential;
use rand::CryptoRng;
use record::Record;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Double votes held at once; the oldest go first.
const FAULTS_KEPT: usize = 256;

/// Two votes of one seat in one view of which an honest validator signs at most one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubleVote {
    /// The term of both votes.
    pub term: u64,
    /// The view of both votes.
    pub view: u64,
    /// Ed25519 key of the seat that signed both.
    pub key: B256,
    /// One vote as simplex encodes it (a tag, the vote).
    pub first: Bytes,
    /// The other.
    pub second: Bytes,
}

/// What was seen since the start.
#[derive(Clone, Debug)]
pub(crate) struct Faults(Arc<watch::Sender<Vec<DoubleVote>>>);

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }
}

impl Faults {
    pub(crate) fn subscribe(&self) -> watch::Receiver<Vec<DoubleVote>> {
        self.0.subscribe()
    }

    fn add(&self, fault: DoubleVote) {
        self.0.send_if_modified(|seen| {
            if seen.iter().any(|other| (other.term, other.key) == (fault.term, fault.key)) {
                return false;
            }
            tracing::warn!(term = fault.term, view = fault.view, key = %fault.key, "double vote");
            if seen.len() >= FAULTS_KEPT {
                seen.remove(0);
            }
            seen.push(fault);
            true
        });
    }
}

/// What the engine of one term reports, with its double votes taken down on the way.
pub(crate) struct Watched<E: CryptoRng + Send + 'static, R> {
    inner: R,
    checked: AttributableReporter<E, Scheme, Digest, Sequential, Taken>,
    record: Arc<Mutex<Record>>,
}

impl<E: CryptoRng + Send + 'static, R: Clone> Clone for Watched<E, R> {
    fn clone(&self) -> Self {
        let record = Arc::clone(&self.record);
        Self { inner: self.inner.clone(), checked: self.checked.clone(), record }
    }
}

impl<E: CryptoRng + Send + 'static, R> Watched<E, R> {
    /// Takes down in `faults` what the engine of `committee` with `scheme` reports to `inner`.
    pub(crate) fn new(
        runtime: E,
        scheme: Scheme,
        (faults, committee): (Faults, Arc<Committee>),
        inner: R,
    ) -> Self {
        let taken = Taken { faults, committee };
        let checked = AttributableReporter::new(runtime, scheme, taken, Sequential, true);
        Self { inner, checked, record: Arc::default() }
    }
}

impl<E, R> Reporter for Watched<E, R>
where
    E: CryptoRng + Send + 'static,
    R: Reporter<Activity = Activity<Scheme, Digest>>,
{
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        let doubles = match &activity {
            Activity::ConflictingNotarize(_)
            | Activity::ConflictingFinalize(_)
            | Activity::NullifyFinalize(_) => vec![activity.clone()],
            // The record keeps its invariants at every point where it could panic.
            activity => self.record.lock().unwrap_or_else(PoisonError::into_inner).hear(activity),
        };
        for double in doubles {
            // It always takes what it is given.
            let _: Feedback = self.checked.report(double);
        }
        self.inner.report(activity)
    }
}

/// Takes down double votes whose signatures were checked.
#[derive(Clone)]
struct Taken {
    faults: Faults,
    committee: Arc<Committee>,
}

impl Reporter for Taken {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        if let Some((signer, first, second)) = pair(&activity)
            && let Some(seat) = usize::try_from(signer.get())
                .ok()
                .and_then(|index| self.committee.validators().nth(index))
        {
            self.faults.add(DoubleVote {
                term: activity.epoch().get(),
                view: activity.view().get(),
                key: seat.key,
                first: first.encode(),
                second: second.encode(),
            });
        }
        Feedback::Ok
    }
}

/// Who voted twice, and how. The engine keeps the votes of a pair to itself, but encodes them one after the
/// other.
fn pair(activity: &Activity<Scheme, Digest>) -> Option<(Participant, AnyVote, AnyVote)> {
    let read = "an encoded vote decodes";
    match activity {
        Activity::ConflictingNotarize(votes) => {
            let mut bytes = votes.encode();
            let mut next = || Vote::Notarize(Notarize::read(&mut bytes).expect(read));
            Some((votes.signer(), next(), next()))
        }
        Activity::ConflictingFinalize(votes) => {
            let mut bytes = votes.encode();
            let mut next = || Vote::Finalize(Finalize::read(&mut bytes).expect(read));
            Some((votes.signer(), next(), next()))
        }
        Activity::NullifyFinalize(votes) => {
            let mut bytes = votes.encode();
            let nullify = Vote::Nullify(Nullify::read(&mut bytes).expect(read));
            let finalize = Vote::Finalize(Finalize::read(&mut bytes).expect(read));
            Some((votes.signer(), nullify, finalize))
        }
        _ => None,
    }
}

type AnyVote = Vote<Scheme, Digest>;

#[cfg(test)]
mod tests;
