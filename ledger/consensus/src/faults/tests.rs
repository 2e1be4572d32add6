use super::*;
use crate::{
    committee::Committee,
    terms,
    testing::{genesis, keys},
};
use commonware_consensus::{
    simplex::types::{ConflictingFinalize, ConflictingNotarize, NullifyFinalize, Proposal},
    types::{Epoch as Term, Round, View},
};
use commonware_cryptography::sha256;
use commonware_runtime::{Runner as _, Supervisor as _, deterministic};

/// Counts what reaches the engine's own reporter.
#[derive(Clone, Default)]
struct Inner(Arc<std::sync::atomic::AtomicUsize>);

impl Reporter for Inner {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, _: Self::Activity) -> Feedback {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Feedback::Ok
    }
}

fn proposal(view: u64, payload: u8) -> Proposal<Digest> {
    let round = Round::new(Term::new(3), View::new(view));
    Proposal::new(round, View::zero(), sha256::Digest([payload; 32]))
}

fn scheme(n: u8, namespace: &[u8], committee: &Committee) -> Scheme {
    Scheme::signer(namespace, committee.participants(), keys(n).signer().clone()).unwrap()
}

#[test]
fn every_kind_of_double_vote_is_taken_down_once_and_as_it_was_signed() {
    deterministic::Runner::seeded(1).start(|context: deterministic::Context| async move {
        let committee = Arc::new(genesis(4, 5).check().unwrap());
        let namespace = terms::namespace(B256::repeat_byte(1));
        let signer = |n| scheme(n, &namespace, &committee);
        let notarize =
            |n, view, payload| Notarize::sign(&signer(n), proposal(view, payload)).unwrap();
        let finalize =
            |n, view, payload| Finalize::sign(&signer(n), proposal(view, payload)).unwrap();
        let nullify =
            |n, view| Nullify::sign::<Digest>(&signer(n), proposal(view, 0).round).unwrap();
        let faults = Faults::default();
        let seen = faults.subscribe();
        let (inner, parts) = (Inner::default(), (faults, Arc::clone(&committee)));
        let mut watched = Watched::new(context.child("faults"), signer(0), parts, inner.clone());
        let activities = [
            Activity::Notarize(notarize(0, 1, 1)),
            Activity::ConflictingNotarize(ConflictingNotarize::new(
                notarize(1, 2, 1),
                notarize(1, 2, 2),
            )),
            // The same seat again: one conviction is all there is.
            Activity::ConflictingFinalize(ConflictingFinalize::new(
                finalize(1, 3, 1),
                finalize(1, 3, 2),
            )),
            Activity::ConflictingFinalize(ConflictingFinalize::new(
                finalize(2, 4, 1),
                finalize(2, 4, 2),
            )),
            Activity::NullifyFinalize(NullifyFinalize::new(nullify(3, 5), finalize(3, 5, 9))),
        ];
        let reported = activities.len();
        for activity in activities {
            watched.report(activity);
        }
        assert_eq!(inner.0.load(std::sync::atomic::Ordering::Relaxed), reported);
        let vote = |vote: Vote<Scheme, Digest>| vote.encode();
        let expected = [
            (
                1,
                2,
                vote(Vote::Notarize(notarize(1, 2, 1))),
                vote(Vote::Notarize(notarize(1, 2, 2))),
            ),
            (
                2,
                4,
                vote(Vote::Finalize(finalize(2, 4, 1))),
                vote(Vote::Finalize(finalize(2, 4, 2))),
            ),
            (3, 5, vote(Vote::Nullify(nullify(3, 5))), vote(Vote::Finalize(finalize(3, 5, 9)))),
        ]
        .map(|(n, view, first, second)| DoubleVote {
            term: 3,
            view,
            key: B256::from(keys(n).network_key()),
            first,
            second,
        });
        assert_eq!(*seen.borrow(), expected);
    });
}

#[test]
fn votes_that_nobody_signed_convict_nobody() {
    deterministic::Runner::seeded(1).start(|context: deterministic::Context| async move {
        let committee = Arc::new(genesis(4, 5).check().unwrap());
        let namespace = terms::namespace(B256::repeat_byte(1));
        let ours = scheme(0, &namespace, &committee);
        // Signed for another ledger.
        let other = scheme(1, b"other", &committee);
        let sign = |scheme: &Scheme, payload| Notarize::sign(scheme, proposal(1, payload)).unwrap();
        let good = sign(&scheme(1, &namespace, &committee), 1);
        let faults = Faults::default();
        let parts = (faults.clone(), Arc::clone(&committee));
        let mut watched = Watched::new(context.child("faults"), ours, parts, Inner::default());
        let pair = ConflictingNotarize::new(good, sign(&other, 2));
        watched.report(Activity::ConflictingNotarize(pair));
        assert!(faults.subscribe().borrow().is_empty());
    });
}

#[test]
fn the_oldest_double_votes_are_forgotten() {
    let faults = Faults::default();
    let (first, second) = (Bytes::new(), Bytes::new());
    for term in 0..300 {
        let (first, second) = (first.clone(), second.clone());
        faults.add(DoubleVote { term, view: 1, key: B256::ZERO, first, second });
    }
    let seen = faults.subscribe();
    let terms: Vec<_> = seen.borrow().iter().map(|fault| fault.term).collect();
    assert_eq!(terms, (300 - 256..300).collect::<Vec<_>>());
}
