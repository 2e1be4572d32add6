use super::*;
use crate::leaf::Leaf;
use proptest::prelude::*;

fn fault(author: u8, envelope: u32, reason: Reason, bytes: u64) -> AuthorFault {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&envelope.to_be_bytes());
    AuthorFault {
        author: AuthorKey([author; 32]),
        envelope: Digest(digest),
        height: Height(7),
        batch: Digest([9; 32]),
        reason,
        bytes,
    }
}

#[test]
fn an_author_s_faults_are_one_row_with_its_reasons() {
    let first = fault(2, 1, Reason::BadSignature, 200);
    let again = AuthorFault { height: Height(9), ..first };
    let rows = rows(vec![
        fault(2, 3, Reason::UnknownDevice, 40),
        again,
        fault(1, 1, Reason::BadSignature, 200),
        fault(2, 2, Reason::BadSignature, 300),
        first,
    ]);
    assert_eq!(rows.iter().map(|row| row.author.0[0]).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((rows[1].envelopes, rows[1].bytes), (3, 540));
    let causes: Vec<_> =
        rows[1].causes.iter().map(|cause| (cause.reason, cause.evidence.len())).collect();
    assert_eq!(causes, [(Reason::UnknownDevice, 1), (Reason::BadSignature, 2)]);
}

#[test]
fn a_row_names_some_and_counts_all() {
    let many = (0..100).map(|n| fault(1, n, Reason::BadSignature, 10)).collect();
    let rows = rows(many);
    assert_eq!((rows[0].envelopes, rows[0].bytes), (100, 1_000));
    let named = &rows[0].causes[0].evidence;
    assert_eq!(named.len(), EVIDENCE_MAX);
    assert_eq!(named[0], fault(1, 0, Reason::BadSignature, 10).envelope);
}

#[test]
fn keys_out_of_the_air_do_not_make_a_statement_grow() {
    let mut faults: Vec<_> = (0..u32::try_from(AUTHORS_MAX).unwrap() + 5)
        .map(|n| {
            let mut author = [0; 32];
            author[..4].copy_from_slice(&n.to_be_bytes());
            AuthorFault { author: AuthorKey(author), ..fault(0, n, Reason::BadSignature, 100) }
        })
        .collect();
    faults.push(fault(0xff, 1, Reason::BadSignature, 101));
    let rows = rows(faults);
    assert_eq!(rows.len(), AUTHORS_MAX);
    assert!(rows.is_sorted_by(|a, b| a.author < b.author));
    // Who has the most stays, of equals the lowest keys.
    assert_eq!(rows.last().unwrap().author, AuthorKey([0xff; 32]));
    assert_eq!(rows[AUTHORS_MAX - 2].author.0[..4], 1_022u32.to_be_bytes());
}

#[test]
fn a_leaf_is_five_words_that_no_account_s_leaf_can_be() {
    let leaf = AuthorLeaf {
        network: NetworkId(3),
        epoch: Epoch(5),
        author: AuthorKey([0xab; 32]),
        bytes: 0x0102,
    };
    let encoded = leaf.abi_encode();
    let word = |number: u64| B256::from(U256::from(number));
    let words = [DOMAIN, word(3), word(5), B256::repeat_byte(0xab), word(0x0102)];
    assert_eq!(encoded, words.concat());
    assert_eq!(&DOMAIN[..17], b"wayleave/author/1");
    assert_ne!(encoded.len(), Leaf::default().abi_encode().len());
}

proptest! {
    #[test]
    fn the_order_of_faults_changes_nothing(
        found in proptest::collection::vec((0u8..4, 0u32..20, 0u64..3), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        // Whatever is wrong with an envelope is the same wherever it is carried.
        let of = |(author, envelope, height): (u8, u32, u64)| {
            let reason = if envelope % 2 == 0 { Reason::BadSignature } else { Reason::OverQuota };
            let height = Height(height);
            AuthorFault { height, ..fault(author, envelope, reason, u64::from(envelope) + 1) }
        };
        let straight: Vec<_> = found.into_iter().map(of).collect();
        let mut turned = straight.clone();
        if !turned.is_empty() {
            let at = cut.index(turned.len());
            turned.rotate_left(at);
        }
        prop_assert_eq!(rows(straight), rows(turned));
    }
}
