use super::*;
use proptest::prelude::*;

fn batch(envelopes: Vec<Vec<u8>>) -> Batch {
    Batch::sign(&DeviceSecret::from_seed([5; 32]), 9, NetworkId(2), envelopes)
}

#[test]
fn a_batch_of_another_chain_author_or_content_is_refused() {
    let good = batch(vec![vec![1], vec![2, 3]]);
    assert_eq!(Batch::from_bytes(&good.to_bytes(), 9), Ok(good.clone()));
    let refused = Err(BatchError::Author(VerifyError::Mismatch));
    assert_eq!(Batch::from_bytes(&good.to_bytes(), 10), refused);
    let other = DeviceSecret::from_seed([6; 32]).key().x();
    for bad in [
        Batch { author: other, ..good.clone() },
        Batch { network: NetworkId(3), ..good.clone() },
        Batch { envelopes: vec![vec![1].into()], ..good.clone() },
        Batch { envelopes: vec![vec![2, 3].into(), vec![1].into()], ..good.clone() },
        Batch { envelopes: vec![vec![1, 2].into(), vec![3].into()], ..good },
    ] {
        assert_eq!(Batch::from_bytes(&bad.to_bytes(), 9), refused);
    }
}

#[test]
fn other_versions_and_sizes_are_refused() {
    let good = batch(vec![vec![1]]);
    let newer = Batch { version: 2, ..good };
    assert_eq!(Batch::from_bytes(&newer.to_bytes(), 9), Err(BatchError::Version(2)));
    assert_eq!(Batch::from_bytes(&batch(vec![]).to_bytes(), 9), Err(BatchError::Empty));
    let many = batch(vec![vec![]; ENVELOPES_MAX + 1]);
    assert_eq!(Batch::from_bytes(&many.to_bytes(), 9), Err(BatchError::TooLarge));
    let large = batch(vec![vec![0; BATCH_MAX]]);
    assert_eq!(Batch::from_bytes(&large.to_bytes(), 9), Err(BatchError::TooLarge));
    // An array that claims 2^60 envelopes allocates nothing before it fails.
    let claim = [&[0x85, 0x01, 0x58, 0x20][..], &[0; 32], &[2, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0]];
    assert!(matches!(Batch::from_bytes(&claim.concat(), 9), Err(BatchError::Decode(_))));
}

#[test]
fn the_overhead_is_never_more_than_stated() {
    for (count, size) in
        [(1, 0), (23, 23), (24, 24), (255, 256), (300, 70_000), (ENVELOPES_MAX, 200)]
    {
        let bytes = batch(vec![vec![7; size]; count]).to_bytes();
        assert!(bytes.len() <= OVERHEAD + count * (size + ENVELOPE_OVERHEAD), "{count} of {size}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        envelopes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..20),
    ) {
        let batch = batch(envelopes.clone());
        let read = Batch::from_bytes(&batch.to_bytes(), 9).unwrap();
        prop_assert_eq!(read.envelopes().map(<[u8]>::to_vec).collect::<Vec<_>>(), envelopes);
    }

    #[test]
    fn a_changed_byte_is_noticed(at in 0usize..400, bit in 0u8..8) {
        let mut bytes = batch(vec![vec![1; 100], vec![2; 150]]).to_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(Batch::from_bytes(&bytes, 9).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Batch::from_bytes(&bytes, 9).is_err());
    }
}
