//! Votes as commonware writes them, and garbage.

use super::{Kind, Vote};
use crate::testing::SeatKeys;
use alloy_primitives::B256;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_consensus::{
    simplex::{
        scheme::ed25519::Scheme,
        types::{Finalize, Notarize, Nullify, Proposal, Vote as Theirs},
    },
    types::{Epoch, Round, View},
};
use commonware_cryptography::{Signer as _, sha256};
use commonware_utils::ordered::Set;
use proptest::prelude::*;

type Vote32 = Theirs<Scheme, sha256::Digest>;

fn scheme(signer: u64) -> Scheme {
    let keys: Vec<_> = (1..=4).map(|n| SeatKeys::derive(n).network().public_key()).collect();
    let key = SeatKeys::derive(signer).network().clone();
    Scheme::signer(b"any", Set::from_iter_dedup(keys), key).unwrap()
}

fn theirs(kind: Kind, signer: u64, (term, view, parent): (u64, u64, u64)) -> Vote32 {
    let (scheme, round) = (scheme(signer), Round::new(Epoch::new(term), View::new(view)));
    let proposal = Proposal::new(round, View::new(parent), sha256::Digest([7; 32]));
    match kind {
        Kind::Notarize => Theirs::Notarize(Notarize::sign(&scheme, proposal).unwrap()),
        Kind::Finalize => Theirs::Finalize(Finalize::sign(&scheme, proposal).unwrap()),
        Kind::Nullify => Theirs::Nullify(Nullify::sign::<sha256::Digest>(&scheme, round).unwrap()),
    }
}

const KINDS: [Kind; 3] = [Kind::Notarize, Kind::Nullify, Kind::Finalize];

#[test]
fn namespaces_are_those_of_simplex() {
    use commonware_consensus::simplex::scheme::Namespace;
    let base = [b"wayleave/ledger/1/".as_slice(), &[9; 32]].concat();
    let namespace = Namespace::new(&base);
    for (kind, expected) in
        KINDS.into_iter().zip([namespace.notarize, namespace.nullify, namespace.finalize])
    {
        let bytes = theirs(kind, 1, (1, 2, 1)).encode();
        let vote = Vote::read(&bytes).unwrap();
        assert_eq!(vote.namespace(B256::repeat_byte(9)), expected);
    }
}

proptest! {
    #[test]
    fn what_commonware_writes_is_read(
        kind in 0usize..3,
        signer in 1u64..=4,
        place in any::<(u64, u64, u64)>(),
        small in any::<bool>(),
    ) {
        let place = if small { (place.0 % 300, place.1 % 300, place.2 % 300) } else { place };
        let bytes = theirs(KINDS[kind], signer, place).encode().to_vec();
        let vote = Vote::read(&bytes).unwrap();
        prop_assert_eq!((vote.kind, vote.term, vote.view), (KINDS[kind], place.0, place.1));
        let other = Vote { body: b"another", ..vote };
        prop_assert_eq!(vote.conflicts(&other), kind != 1);
        prop_assert!(!vote.conflicts(&vote));
        prop_assert!(Vote::read(&bytes[..bytes.len() - 1]).is_none());
        prop_assert!(Vote::read(&[&bytes[..], &[0]].concat()).is_none());
    }

    #[test]
    fn garbage_is_read_as_commonware_reads_it(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..160),
        tag in 0u8..4,
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        valid in any::<bool>(),
    ) {
        if valid {
            bytes = theirs(KINDS[usize::from(tag % 3)], 1, (3, 200, 199)).encode().to_vec();
            for (at, byte) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= byte;
            }
        } else if let Some(first) = bytes.first_mut() {
            *first = tag;
        }
        let ours = Vote::read(&bytes).is_some();
        prop_assert_eq!(ours, Vote32::decode(Copying(&bytes[..])).is_ok());
    }
}
