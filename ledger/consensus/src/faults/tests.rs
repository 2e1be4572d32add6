use super::*;
use crate::{
    committee::Committee,
    terms,
    testing::{genesis, keys},
};
use commonware_consensus::{
    simplex::types::{
        ConflictingFinalize, ConflictingNotarize, Finalization, Notarization, Nullification,
        NullifyFinalize, Proposal,
    },
    types::{Epoch as Term, Round, View},
};
use commonware_cryptography::sha256;
use commonware_runtime::{Runner as _, Supervisor as _, deterministic};
use commonware_utils::non_empty;

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

/// A term of four seats, and what the engine of the first reports.
struct Term4 {
    schemes: Vec<Scheme>,
    faults: Faults,
    watched: Watched<deterministic::Context, Inner>,
}

impl Term4 {
    fn new(context: &deterministic::Context) -> Self {
        let committee = Arc::new(genesis(4, 5).check().unwrap());
        let namespace = terms::namespace(B256::repeat_byte(1));
        let schemes: Vec<_> = (0..4).map(|n| scheme(n, &namespace, &committee)).collect();
        let faults = Faults::default();
        let parts = (faults.clone(), committee);
        let ours = schemes[0].clone();
        let watched = Watched::new(context.child("faults"), ours, parts, Inner::default());
        Self { schemes, faults, watched }
    }

    fn notarize(&self, n: usize, view: u64, payload: u8) -> Notarize<Scheme, Digest> {
        Notarize::sign(&self.schemes[n], proposal(view, payload)).unwrap()
    }

    fn finalize(&self, n: usize, view: u64, payload: u8) -> Finalize<Scheme, Digest> {
        Finalize::sign(&self.schemes[n], proposal(view, payload)).unwrap()
    }

    fn nullify(&self, n: usize, view: u64) -> Nullify<Scheme> {
        Nullify::sign::<Digest>(&self.schemes[n], proposal(view, 0).round).unwrap()
    }

    /// A certificate by the first three seats.
    fn notarization(&self, view: u64, payload: u8) -> Activity<Scheme, Digest> {
        let votes: Vec<_> = (0..3).map(|n| self.notarize(n, view, payload)).collect();
        let votes = non_empty![@votes.iter()];
        Activity::Notarization(
            Notarization::from_notarizes(&self.schemes[0], votes, &Sequential).unwrap(),
        )
    }

    fn finalization(&self, view: u64, payload: u8) -> Activity<Scheme, Digest> {
        let votes: Vec<_> = (0..3).map(|n| self.finalize(n, view, payload)).collect();
        let votes = non_empty![@votes.iter()];
        Activity::Finalization(
            Finalization::from_finalizes(&self.schemes[0], votes, &Sequential).unwrap(),
        )
    }

    fn nullification(&self, view: u64) -> Activity<Scheme, Digest> {
        let votes: Vec<_> = (0..3).map(|n| self.nullify(n, view)).collect();
        let votes = non_empty![@votes.iter()];
        Activity::Nullification(
            Nullification::from_nullifies(&self.schemes[0], votes, &Sequential).unwrap(),
        )
    }

    fn report(&mut self, activities: impl IntoIterator<Item = Activity<Scheme, Digest>>) {
        for activity in activities {
            self.watched.report(activity);
        }
    }

    /// Seats accused, and the views they are accused of.
    fn accused(&self) -> Vec<(usize, u64)> {
        let seen = self.faults.subscribe();
        let seat = |fault: &DoubleVote| {
            let n = (0..4u8).find(|n| fault.key == B256::from(keys(*n).network_key()));
            (usize::from(n.unwrap()), fault.view)
        };
        seen.borrow().iter().map(seat).collect()
    }
}

#[test]
fn who_shows_each_peer_one_face_is_accused_by_those_who_see_the_others_in_a_certificate() {
    deterministic::Runner::seeded(1).start(|context: deterministic::Context| async move {
        // Seat of key 1 in the order of the certificate's schemes; told one thing, certified another.
        let told = |term: &Term4| Activity::Notarize(term.notarize(1, 2, 9));
        let mut term = Term4::new(&context);
        term.report([told(&term), term.notarization(2, 7)]);
        assert_eq!(term.accused(), [(1, 2)]);
        let double = term.faults.subscribe().borrow()[0].clone();
        let vote = |vote: Vote<Scheme, Digest>| vote.encode();
        assert_eq!(double.first, vote(Vote::Notarize(term.notarize(1, 2, 9))));
        assert_eq!(double.second, vote(Vote::Notarize(term.notarize(1, 2, 7))));
        // The certificate may come first.
        let mut term = Term4::new(&context);
        term.report([term.notarization(2, 7), told(&term)]);
        assert_eq!(term.accused(), [(1, 2)]);
        // Two finalities, and finality of a view that the same seat votes against elsewhere.
        let mut term = Term4::new(&context);
        term.report([Activity::Finalize(term.finalize(2, 5, 9)), term.finalization(5, 7)]);
        term.report([Activity::Nullify(term.nullify(0, 5))]);
        assert_eq!(term.accused(), [(2, 5), (0, 5)]);
        let mut term = Term4::new(&context);
        term.report([Activity::Finalize(term.finalize(2, 6, 7)), term.nullification(6)]);
        assert_eq!(term.accused(), [(2, 6)]);
    });
}

#[test]
fn certificates_accuse_nobody_who_votes_once() {
    deterministic::Runner::seeded(1).start(|context: deterministic::Context| async move {
        let mut term = Term4::new(&context);
        let votes: Vec<_> = (0..4)
            .flat_map(|n| {
                let (notarize, finalize) = (term.notarize(n, 2, 7), term.finalize(n, 2, 7));
                [Activity::Notarize(notarize), Activity::Finalize(finalize)]
            })
            .collect();
        term.report(votes);
        // A vote for a block and then against the view is what an honest seat does when a view is slow.
        let late = [
            Activity::Notarize(term.notarize(1, 3, 7)),
            Activity::Nullify(term.nullify(1, 3)),
            term.nullification(3),
            term.notarization(3, 7),
        ];
        term.report([term.notarization(2, 7), term.finalization(2, 7)]);
        term.report(late);
        assert!(term.accused().is_empty());
    });
}

#[test]
fn a_false_vote_neither_convicts_its_signer_nor_hides_a_true_one() {
    deterministic::Runner::seeded(1).start(|context: deterministic::Context| async move {
        let mut term = Term4::new(&context);
        // Another signature under the vote for another block.
        let mut forged = term.notarize(1, 2, 9);
        forged.proposal = proposal(2, 8);
        term.report([Activity::Notarize(forged), term.notarization(2, 7)]);
        assert!(term.accused().is_empty());
        term.report([Activity::Notarize(term.notarize(1, 2, 9))]);
        assert_eq!(term.accused(), [(1, 2)]);
    });
}

#[test]
fn views_far_from_the_last_certificate_are_not_remembered() {
    deterministic::Runner::seeded(1).start(|context: deterministic::Context| async move {
        let mut term = Term4::new(&context);
        term.report([Activity::Notarize(term.notarize(1, 2, 9)), term.notarization(100, 7)]);
        term.report([Activity::Notarize(term.notarize(2, 900, 9))]);
        term.report([term.notarization(2, 7)]);
        assert!(term.accused().is_empty());
        // What simplex still takes is remembered.
        term.report([Activity::Notarize(term.notarize(2, 101, 9)), term.notarization(101, 7)]);
        assert_eq!(term.accused(), [(2, 101)]);
    });
}
