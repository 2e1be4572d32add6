//! What each seat said in the last views, to one's face or in a certificate.
//!
//! A validator that shows each peer one face gives nobody two votes. But a block becomes final only by a
//! certificate, which goes to everybody and carries the signatures it was made of: whoever was told another
//! thing then holds both votes. Two votes told to one's face are the engine's own to compare.
//!
//! What certificates hold was checked; what is told may be anything, is bounded ([`VIEWS`]) and never stands
//! in the way of what a certificate holds.

use super::{AnyVote, Digest, Scheme};
use commonware_consensus::{
    Viewable as _,
    simplex::types::{
        Activity, Attributable as _, ConflictingFinalize, ConflictingNotarize, Finalize, Notarize,
        Nullify, NullifyFinalize, Vote,
    },
    types::Participant,
};
use commonware_cryptography::{certificate::Attestation, ed25519::certificate::Certificate};
use std::collections::BTreeMap;

/// Views before and after that of the last certificate in which votes are remembered, as the engine does.
const VIEWS: u64 = crate::engine::VIEWS_KEPT.get();

/// A vote, and whether a certificate holds it.
#[derive(Debug)]
struct Heard<V> {
    vote: V,
    certified: bool,
}

/// What a seat said in a view.
#[derive(Debug, Default)]
struct Said {
    notarize: Option<Heard<Notarize<Scheme, Digest>>>,
    nullify: Option<Heard<Nullify<Scheme>>>,
    finalize: Option<Heard<Finalize<Scheme, Digest>>>,
}

/// What all seats of one term said.
#[derive(Debug, Default)]
pub(super) struct Record {
    views: BTreeMap<u64, BTreeMap<Participant, Said>>,
    /// View of the last certificate.
    last: u64,
}

impl Record {
    /// Remembers what an activity says, and gives the double votes that it completes, unchecked.
    pub(super) fn hear(
        &mut self,
        activity: &Activity<Scheme, Digest>,
    ) -> Vec<Activity<Scheme, Digest>> {
        let told = match activity {
            Activity::Notarize(vote) => Vote::Notarize(vote.clone()),
            Activity::Nullify(vote) => Vote::Nullify(vote.clone()),
            Activity::Finalize(vote) => Vote::Finalize(vote.clone()),
            activity => return self.certified(activity),
        };
        self.vote(told, false).into_iter().collect()
    }

    /// Remembers the votes of a certificate.
    fn certified(&mut self, activity: &Activity<Scheme, Digest>) -> Vec<Activity<Scheme, Digest>> {
        let votes: Vec<AnyVote> = match activity {
            Activity::Notarization(it) => attestations(&it.certificate)
                .map(|attestation| Notarize { proposal: it.proposal.clone(), attestation })
                .map(Vote::Notarize)
                .collect(),
            Activity::Nullification(it) => attestations(&it.certificate)
                .map(|attestation| Vote::Nullify(Nullify { round: it.round, attestation }))
                .collect(),
            Activity::Finalization(it) => attestations(&it.certificate)
                .map(|attestation| Finalize { proposal: it.proposal.clone(), attestation })
                .map(Vote::Finalize)
                .collect(),
            _ => return Vec::new(),
        };
        self.last = self.last.max(activity.view().get());
        self.views = self.views.split_off(&self.last.saturating_sub(VIEWS));
        votes.into_iter().filter_map(|vote| self.vote(vote, true)).collect()
    }

    /// Remembers one vote.
    fn vote(&mut self, vote: AnyVote, certified: bool) -> Option<Activity<Scheme, Digest>> {
        let (view, signer) = match &vote {
            Vote::Notarize(vote) => (vote.view(), vote.signer()),
            Vote::Nullify(vote) => (vote.view(), vote.signer()),
            Vote::Finalize(vote) => (vote.view(), vote.signer()),
        };
        if view.get().abs_diff(self.last) > VIEWS {
            return None;
        }
        let said = self.views.entry(view.get()).or_default().entry(signer).or_default();
        match vote {
            Vote::Notarize(vote) => {
                let first = comparable(&said.notarize, certified);
                let double = first.filter(|first| first.proposal != vote.proposal);
                let double =
                    double.map(|first| ConflictingNotarize::new(first.clone(), vote.clone()));
                keep(&mut said.notarize, vote, certified);
                double.map(Activity::ConflictingNotarize)
            }
            Vote::Finalize(vote) => {
                let first = comparable(&said.finalize, certified);
                let double = first.filter(|first| first.proposal != vote.proposal);
                let double =
                    double.map(|first| ConflictingFinalize::new(first.clone(), vote.clone()));
                let undone = comparable(&said.nullify, certified)
                    .map(|nullify| NullifyFinalize::new(nullify.clone(), vote.clone()));
                keep(&mut said.finalize, vote, certified);
                let undone = undone.map(Activity::NullifyFinalize);
                double.map(Activity::ConflictingFinalize).or(undone)
            }
            Vote::Nullify(vote) => {
                let undone = comparable(&said.finalize, certified)
                    .map(|finalize| NullifyFinalize::new(vote.clone(), finalize.clone()));
                keep(&mut said.nullify, vote, certified);
                undone.map(Activity::NullifyFinalize)
            }
        }
    }
}

/// The remembered vote, if it or the new one is certified.
fn comparable<V>(slot: &Option<Heard<V>>, certified: bool) -> Option<&V> {
    slot.as_ref().filter(|heard| heard.certified || certified).map(|heard| &heard.vote)
}

/// Keeps the first vote, or the first that is certified.
fn keep<V>(slot: &mut Option<Heard<V>>, vote: V, certified: bool) {
    if slot.as_ref().is_none_or(|heard| certified && !heard.certified) {
        *slot = Some(Heard { vote, certified });
    }
}

/// The single signatures of a certificate.
fn attestations(certificate: &Certificate) -> impl Iterator<Item = Attestation<Scheme>> + '_ {
    let signatures = certificate.signers.iter().zip(&certificate.signatures);
    signatures.map(|(signer, signature)| Attestation { signer, signature: signature.clone() })
}
