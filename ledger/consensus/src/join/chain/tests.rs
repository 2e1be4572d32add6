use super::*;
use crate::testing::{CHAIN, certified, keys};
use alloy_primitives::Address;
use commonware_utils::test_rng;
use proptest::strategy::{Strategy as _, ValueTree as _};

const LENGTH: u64 = 10;

fn facts() -> Facts {
    let term_length = NonZeroU64::new(LENGTH).unwrap();
    Facts { namespace: b"test".to_vec(), chain_id: CHAIN, term_length }
}

fn seats(of: &[u8]) -> Vec<Validator> {
    of.iter().map(|n| keys(*n).validator(Address::repeat_byte(*n))).collect()
}

fn committee(of: &[u8]) -> Arc<Committee> {
    Arc::new(Committee::new(&seats(of)).unwrap())
}

/// A header whose next height is certified by `next`.
fn header(height: u64, next: &Committee) -> Header {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let any = crate::header::tests::header().new_tree(&mut runner).unwrap().current();
    Header { chain_id: CHAIN, height, term: height / LENGTH, committee: next.digest(), ..any }
}

#[test]
fn terms_are_proven_one_by_one_through_changing_committees() {
    let (facts, rng) = (facts(), &mut test_rng());
    let terms: [&[u8]; 4] = [&[1, 2, 3, 4], &[2, 3, 4, 5], &[2, 3, 4, 5], &[6]];
    let mut proven = Proven::new(0, committee(terms[0]));
    for term in 0..3u8 {
        let (now, next) = (terms[usize::from(term)], terms[usize::from(term) + 1]);
        let last = header(u64::from(term) * LENGTH + 9, &committee(next));
        let link = Link { last: certified(b"test", now, last), seats: seats(next) };
        proven.follow(&facts, &link, rng).unwrap();
        assert_eq!(proven.term, u64::from(term) + 1);
        // The block that ended the term before can still be checked.
        proven.check(&facts, &link.last, rng).unwrap();
    }
    assert_eq!(proven.committee.digest(), committee(&[6]).digest());
    let tip = certified(b"test", &[6], header(33, &proven.committee));
    proven.check(&facts, &tip, rng).unwrap();
    assert!(proven.signed(&tip, keys(6).signer()));
    assert!(!proven.signed(&tip, keys(5).signer()));
}

#[test]
fn what_no_certificate_proves_is_doubted() {
    let (facts, rng) = (facts(), &mut test_rng());
    let mut proven = Proven::new(0, committee(&[1, 2, 3, 4]));
    let next = committee(&[5]);
    let last = certified(b"test", &[1, 2, 3, 4], header(9, &next));
    let mut doubt = |link: Link| proven.follow(&facts, &link, rng).unwrap_err();

    // Other seats than the header names, or none at all.
    assert_eq!(doubt(Link { last: last.clone(), seats: seats(&[6]) }), Doubt::Seats);
    assert_eq!(doubt(Link { last: last.clone(), seats: Vec::new() }), Doubt::Seats);
    // A header that nobody certified, one of another ledger, and one in the middle of the term.
    let mut forged = last.clone();
    forged.header.gas_used += 1;
    assert_eq!(doubt(Link { last: forged, seats: seats(&[5]) }), Doubt::Header);
    let mut other = header(9, &next);
    other.chain_id += 1;
    let other = certified(b"test", &[1, 2, 3, 4], other);
    assert_eq!(doubt(Link { last: other, seats: seats(&[5]) }), Doubt::Header);
    let early = certified(b"test", &[1, 2, 3, 4], header(8, &next));
    assert_eq!(doubt(Link { last: early, seats: seats(&[5]) }), Doubt::Header);
    // Certificates by others, for another ledger, or of a term not yet known.
    let strangers = certified(b"test", &[1, 2, 3, 9], header(9, &next));
    assert_eq!(doubt(Link { last: strangers, seats: seats(&[5]) }), Doubt::Certificate);
    let elsewhere = certified(b"other", &[1, 2, 3, 4], header(9, &next));
    assert_eq!(doubt(Link { last: elsewhere, seats: seats(&[5]) }), Doubt::Certificate);
    let later = certified(b"test", &[5], header(15, &next));
    assert_eq!(proven.check(&facts, &later, rng), Err(Doubt::Term));

    proven.follow(&facts, &Link { last, seats: seats(&[5]) }, rng).unwrap();
    proven.check(&facts, &later, rng).unwrap();
}

#[test]
fn a_trusted_header_is_as_good_a_beginning_as_genesis() {
    let (facts, rng) = (facts(), &mut test_rng());
    let trusted = header(57, &committee(&[7, 8]));
    assert_eq!(Proven::from_header(&facts, &trusted, &seats(&[7])).unwrap_err(), Doubt::Seats);
    let proven = Proven::from_header(&facts, &trusted, &seats(&[8, 7])).unwrap();
    assert_eq!(proven.term, 5);
    let tip = certified(b"test", &[7, 8], header(58, &proven.committee));
    proven.check(&facts, &tip, rng).unwrap();
    // The last header of a term names the committee of the next.
    let trusted = header(59, &committee(&[7, 8]));
    assert_eq!(Proven::from_header(&facts, &trusted, &seats(&[7, 8])).unwrap().term, 6);
}
