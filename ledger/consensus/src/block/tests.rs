use super::*;
use crate::header::tests::header;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use proptest::prelude::*;

prop_compose! {
    fn body()(
        transactions in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..300),
        blobs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..9),
    ) -> Body {
        let bytes = |items: Vec<Vec<u8>>| items.into_iter().map(Bytes::from).collect();
        Body { transactions: bytes(transactions), blobs: bytes(blobs) }
    }
}

fn block(mut header: Header, body: Body) -> Block {
    header.transactions_root = body.transactions_root();
    header.blobs_root = body.blobs_root();
    Block::new(header, body).unwrap()
}

fn any_header() -> Header {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    header().new_tree(&mut runner).unwrap().current()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(header in header(), body in body()) {
        let block = block(header, body);
        let bytes = block.encode();
        prop_assert!(bytes.len() <= Block::max_encode_size(&()));
        let read = Block::decode(bytes.clone()).unwrap();
        prop_assert_eq!(read.hash(), block.hash());
        prop_assert_eq!(&read, &block);
        prop_assert!(Block::decode(bytes.slice(..bytes.len() - 1)).is_err());
    }

    #[test]
    fn a_changed_body_is_refused(header in header(), body in body(), at: prop::sample::Index, bit in 0u8..8) {
        let block = block(header, body);
        let mut bytes = block.encode().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Either the codec refuses it or the change is in the header and so in the digest.
        if let Ok(other) = Block::decode(Copying(&bytes)) {
            prop_assert!(at < Header::SIZE);
            prop_assert_ne!(other.hash(), block.hash());
        }
    }

    #[test]
    fn garbage_never_panics(header in header(), tail in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Block::decode(Copying(&tail));
        let mut bytes = header.to_bytes();
        bytes.extend(tail);
        let _ = Block::decode(Copying(&bytes));
    }
}

#[test]
fn bounds_hold() {
    let blobs = |sizes: &[usize]| Body {
        blobs: sizes.iter().map(|size| Bytes::from(vec![1; *size])).collect(),
        ..Body::default()
    };
    assert_eq!(blobs(&[MAX_BLOBS_BYTES]).check(), Ok(()));
    assert_eq!(blobs(&[MAX_BLOBS_BYTES, 1]).check(), Err(BodyError::Blobs));
    assert_eq!(blobs(&[0]).check(), Err(BodyError::Blobs));
    assert_eq!(blobs(&vec![1; MAX_BLOBS + 1]).check(), Err(BodyError::Blobs));
    let transactions = |sizes: &[usize]| Body {
        transactions: sizes.iter().map(|size| Bytes::from(vec![1; *size])).collect(),
        ..Body::default()
    };
    assert_eq!(transactions(&vec![MAX_TRANSACTION_BYTES; 32]).check(), Ok(()));
    assert_eq!(
        transactions(&vec![MAX_TRANSACTION_BYTES; 33]).check(),
        Err(BodyError::Transactions)
    );
    assert_eq!(transactions(&[MAX_TRANSACTION_BYTES + 1]).check(), Err(BodyError::Transactions));
    assert_eq!(transactions(&vec![0; MAX_TRANSACTIONS + 1]).check(), Err(BodyError::Transactions));
}

#[test]
fn oversized_counts_and_lengths_are_refused_before_reading_them() {
    let header = any_header().to_bytes();
    // A count of 2^31 transactions, and one transaction of 2^31 bytes.
    for tail in [&[0x80, 0x80, 0x80, 0x80, 0x08][..], &[1, 0x80, 0x80, 0x80, 0x80, 0x08]] {
        let bytes = [&header[..], tail].concat();
        assert!(Block::decode(Copying(&bytes)).is_err());
    }
}

#[test]
fn a_header_of_another_body_is_refused() {
    let body = Body { blobs: vec![Bytes::from_static(b"evidence")], ..Body::default() };
    assert_eq!(Block::new(any_header(), body), Err(BodyError::Mismatch));
}

#[test]
fn blob_roots_name_the_list() {
    let hash = |n: u8| B256::repeat_byte(n);
    assert_eq!(blobs_root([]), B256::ZERO);
    let lists: Vec<Vec<B256>> = vec![
        vec![hash(1)],
        vec![hash(1), hash(1)],
        vec![hash(1), hash(2)],
        vec![hash(2), hash(1)],
        vec![hash(1), hash(2), hash(3)],
        vec![hash(1), hash(2), hash(3), hash(3)],
    ];
    let roots: std::collections::BTreeSet<_> = lists.into_iter().map(blobs_root).collect();
    assert_eq!(roots.len(), 6);
    // Known answer, computed by hand from the definition for one blob "a".
    let leaf = blake3::hash(&[&[0][..], blake3::hash(b"a").as_bytes()].concat());
    let root = blake3::hash(&[&[2][..], &1u64.to_be_bytes(), leaf.as_bytes()].concat());
    assert_eq!(blobs_root([blob_hash(b"a")]).0, *root.as_bytes());
}

#[test]
fn an_empty_body_has_ethereums_empty_root() {
    let body = Body::default();
    assert_eq!(body.transactions_root(), alloy_trie::EMPTY_ROOT_HASH);
    assert_eq!(body.blobs_root(), B256::ZERO);
}
