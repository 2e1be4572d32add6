use super::*;
use crate::fixture::*;
use proptest::prelude::*;
use protocol::{
    Epoch,
    cbor::Item,
    envelope::{Body, Payload},
};

fn block(height: u64, blobs: Vec<Vec<u8>>) -> BlockEvidence {
    BlockEvidence::new(Height(height), TIME, blobs)
}

fn run(blocks: &[BlockEvidence]) -> Replayed {
    replay(&inputs(), &sizes(), blocks)
}

fn digests(replayed: &Replayed) -> Vec<Digest> {
    replayed.carried.iter().map(|carried| carried.digest).collect()
}

#[test]
fn only_blocks_of_the_epoch_count() {
    // Heights 300 to 329, grace to 333.
    for (height, counts) in [(299, 0), (300, 1), (329, 1), (333, 1), (334, 0)] {
        let replayed = run(&[block(height, vec![blob(vec![envelope(1, 1, 0)])])]);
        assert_eq!(replayed.carried.len(), counts, "{height}");
        assert!(replayed.faults.is_empty());
    }
}

#[test]
fn other_epochs_and_networks_pass_by_without_a_fault() {
    let next = Payload { epoch: Epoch(11), ..payload(1, 0) };
    let foreign = Payload { network: NetworkId(2), ..payload(1, 0) };
    let foreign = Batch::sign(&validator(), CHAIN, NetworkId(2), vec![sign(1, &foreign)]);
    let replayed = run(&[block(301, vec![blob(vec![sign(1, &next)]), foreign.to_bytes()])]);
    assert_eq!(replayed, Replayed::default());
}

#[test]
fn blobs_that_nobody_signed_are_nothing() {
    let unsigned = forged(&blob(vec![envelope(1, 1, 0)]));
    let other_chain = Batch::sign(&validator(), 1, NETWORK, vec![envelope(1, 2, 0)]).to_bytes();
    let replayed = run(&[block(301, vec![unsigned, other_chain, vec![0xff; 40]])]);
    assert_eq!(replayed, Replayed::default());
}

/// A batch of another author than [`blob`]'s.
fn blob_of(author: u8, envelopes: Vec<Vec<u8>>) -> Vec<u8> {
    Batch::sign(&secret(author), CHAIN, NETWORK, envelopes).to_bytes()
}

#[test]
fn the_author_answers_for_what_no_honest_author_accepts_and_the_rest_counts() {
    let foreign = sign(1, &Payload { network: NetworkId(2), ..payload(1, 0) });
    let bad = [
        (foreign, Reason::UnknownNetwork),
        (envelope(3, 1, 0), Reason::UnknownDevice),
        (sized(1, 1, 300, KindId(8)), Reason::UnknownKind),
        (sized(1, 1, 5_000, COMMON), Reason::TooLarge),
        (forged(&envelope(1, 1, 0)), Reason::BadSignature),
        (sized(1, 9, QUOTA, KIND), Reason::OverQuota),
    ];
    let good = envelope(1, 2, 0);
    let mut all: Vec<_> = bad.iter().map(|(bytes, _)| bytes.clone()).collect();
    all.insert(3, good.clone());
    // What is no envelope names no epoch, and is nobody's fault.
    all.extend([vec![0; 9_000], vec![1, 2, 3]]);
    let blob = blob(all);
    let replayed = run(&[block(301, vec![blob.clone()])]);
    assert_eq!(digests(&replayed), [Digest::of(&good)]);
    assert_eq!(replayed.malformed, 2);
    let mut expected: Vec<_> = bad
        .iter()
        .map(|(bytes, reason)| AuthorFault {
            author: AuthorKey(validator().key().x()),
            envelope: Digest::of(bytes),
            height: Height(301),
            batch: Digest::of(&blob),
            reason: *reason,
            bytes: u64::try_from(bytes.len()).unwrap(),
        })
        .collect();
    expected.sort_unstable();
    assert_eq!(replayed.faults, expected);
}

#[test]
fn who_repeats_an_author_s_batch_adds_nothing_to_its_faults() {
    let bad = forged(&envelope(1, 1, 0));
    let (one, two) = (blob(vec![bad.clone()]), blob(vec![bad.clone(), envelope(1, 2, 0)]));
    let once = run(&[block(305, vec![one.clone()])]).faults;
    assert_eq!(once.len(), 1);
    // In other blocks, twice in one, in another batch, and in the grace, which is the next epoch's too.
    let blocks = [
        block(333, vec![one.clone()]),
        block(331, vec![two.clone(), one.clone(), one.clone()]),
        block(305, vec![one.clone()]),
    ];
    assert_eq!(run(&blocks).faults, once);
    assert!(replay(&inputs_of(EPOCH.next()), &sizes(), &blocks).faults.is_empty());
    // Another author who carries it as well answers for itself.
    let other = blob_of(9, vec![bad]);
    let both = run(&[block(305, vec![one, other])]).faults;
    assert_eq!(both.len(), 2);
    assert_ne!(both[0].author, both[1].author);
}

#[test]
fn authors_that_exceed_a_quota_together_are_not_at_fault_and_one_alone_is() {
    let large: Vec<_> = (1..=4).map(|n| sized(1, n, 2 * QUOTA / 3, KIND)).collect();
    let [one, two] = [blob(large[..2].to_vec()), blob_of(9, large[2..].to_vec())];
    // Two of them exceed the quota, one does not.
    let single =
        run(&[block(301, vec![blob(large[..1].to_vec()), blob_of(9, large[1..2].to_vec())])]);
    assert!(single.faults.is_empty());
    assert_eq!(single.carried.len(), 1);
    let replayed = run(&[block(301, vec![one, two])]);
    assert_eq!(replayed.carried.len(), 1);
    let reasons: Vec<_> = replayed.faults.iter().map(|fault| fault.reason).collect();
    assert_eq!(reasons, [Reason::OverQuota; 2]);
    // The same payload again, signed again too, was accepted once.
    let again: Vec<_> = (0..30).map(|salt| es256_envelope(1, salt)).collect();
    assert!(again.iter().map(Vec::len).sum::<usize>() > QUOTA);
    assert!(run(&[block(301, vec![blob(again)])]).faults.is_empty());
}

#[test]
fn a_proof_on_its_way_outlives_a_pause_of_the_ledger() {
    // Blocks stopped for longer than the skew while the proof waited for one; windows are heights, so it
    // is still in time, and a later report must not make an honest device's silence look selective.
    let proof = Payload { body: Body { kind: KIND, item: Item::of(&1u8) }, ..payload(1, 0) };
    let late = Payload { time_ms: TIME - 60 * SKEW, ..proof };
    let replayed = run(&[block(301, vec![blob(vec![sign(1, &late)])])]);
    assert_eq!((replayed.carried.len(), replayed.skewed), (1, 0));
}

#[test]
fn a_report_whose_time_is_too_far_from_its_block_is_dropped() {
    for (offset, counts) in [(0, 1), (SKEW, 1), (SKEW + 1, 0)] {
        for time_ms in [TIME - offset, TIME + offset] {
            let bytes = sign(1, &Payload { time_ms, ..payload(1, 0) });
            let replayed = run(&[block(301, vec![blob(vec![bytes])])]);
            assert_eq!((replayed.carried.len(), replayed.skewed), (counts, 1 - counts));
            assert!(replayed.faults.is_empty());
        }
    }
}

#[test]
fn the_first_carrier_of_a_report_counts_and_conflicts_are_kept_in_pairs() {
    let conflicts: Vec<_> = (0..4).map(|used| envelope(1, 1, used)).collect();
    let replayed = run(&[
        block(310, vec![blob(vec![conflicts[0].clone(), envelope(2, 1, 0)])]),
        block(305, vec![blob(vec![conflicts[1].clone()])]),
        block(303, vec![blob(vec![conflicts[2].clone(), envelope(2, 1, 0)])]),
        block(302, vec![blob(vec![conflicts[3].clone()])]),
    ]);
    let of = |device| {
        replayed.carried.iter().filter(move |carried| carried.envelope.device() == id(device))
    };
    assert_eq!(
        of(1).map(|carried| (carried.height.0, carried.digest)).collect::<Vec<_>>(),
        [(302, Digest::of(&conflicts[3])), (303, Digest::of(&conflicts[2]))]
    );
    assert_eq!(of(2).map(|carried| carried.height.0).collect::<Vec<_>>(), [303]);
}

#[test]
fn two_signatures_over_one_payload_are_one_report() {
    let (a, b) = (es256_envelope(1, 0), es256_envelope(1, 1));
    let replayed = run(&[block(301, vec![blob(vec![a.clone(), b.clone()])])]);
    assert_eq!(digests(&replayed), [Digest::of(&a).min(Digest::of(&b))]);
}

fn within(bounds: Bounds, blocks: &[BlockEvidence]) -> Replayed {
    let (inputs, sizes) = (inputs(), sizes());
    let mut replay = Replay::within(&inputs, &sizes, bounds);
    blocks.iter().for_each(|block| replay.block(block));
    replay.finish()
}

#[test]
fn an_epoch_takes_no_more_memory_than_stated() {
    let size = envelope(1, 100, 0).len();
    let mut blocks: Vec<_> = (300..310)
        .map(|height| {
            let both = vec![envelope(1, height, 0), envelope(2, height, 0), vec![1; 3_000]];
            // What is carried again takes nothing.
            block(height, vec![blob(both), blob_of(9, vec![envelope(1, 300, 0)])])
        })
        .collect();
    let bounds = Bounds { carried: 5 * weight(size + 1), ..Bounds::default() };
    let replayed = within(bounds, &blocks);
    assert_eq!((replayed.carried.len(), replayed.beyond), (5, 15));
    let devices: Vec<_> = replayed.carried.iter().map(|carried| carried.height.0).collect();
    // By height first, by device in a block; the result is by device.
    let first =
        inputs().roster.iter().find(|device| [id(1), id(2)].contains(&device.id)).unwrap().id;
    assert_eq!(devices, [300, 301, 302, 300, 301]);
    assert_eq!(replayed.carried[2].envelope.device(), first);
    assert!(replayed.faults.is_empty());
    // The groups in which signatures are checked are nobody's matter, nor is what says nothing.
    for group in [1, 3_000, 10_000] {
        assert_eq!(within(Bounds { group, ..bounds }, &blocks), replayed);
    }
    blocks.insert(3, block(303, vec![vec![0xff; 50_000]]));
    assert_eq!(within(bounds, &blocks), replayed);
}

#[test]
fn who_is_at_fault_takes_no_more_memory_than_stated() {
    let bad = |sequence, author| {
        let envelopes = vec![forged(&envelope(1, sequence, 0))];
        Batch::sign(&secret(author), CHAIN, NETWORK, envelopes).to_bytes()
    };
    // One author with many faults, and a crowd of keys with one each.
    let mut blocks: Vec<_> = (300..310).map(|at| block(at, vec![bad(at, 100)])).collect();
    blocks.extend((310..330).map(|at| {
        let low = u8::try_from(at - 310).unwrap();
        block(at, vec![bad(at, low), bad(at, low + 30)])
    }));
    let all = within(Bounds::default(), &blocks).faults;
    assert_eq!(all.len(), 50);
    let few = within(Bounds { faults: 20, ..Bounds::default() }, &blocks).faults;
    assert!((10..=21).contains(&few.len()), "{}", few.len());
    let loud = AuthorKey(secret(100).key().x());
    assert_eq!(few.iter().filter(|fault| fault.author == loud).count(), 10);
    assert!(few.iter().all(|fault| all.contains(fault)));
    assert!(few.is_sorted());
}

#[test]
fn an_author_answers_for_a_block_s_worth_and_no_more() {
    let (mut faults, size) = (Faults::default(), 64 * 1024);
    let place = Place {
        author: AuthorKey([1; 32]),
        batch: Digest::default(),
        height: Height(301),
        time_ms: TIME,
    };
    for n in 0..100u64 {
        let envelope = Digest::of(&n.to_be_bytes());
        faults.add(vec![place.fault(envelope, size, Reason::BadSignature); 2], FAULTS_MAX);
    }
    let bytes: u64 = faults.into_sorted().iter().map(|fault| fault.bytes).sum();
    assert_eq!(bytes, FAULT_BYTES_MAX);
}

#[test]
fn without_room_to_tell_repetitions_nobody_is_blamed_for_them() {
    let all: Vec<_> = (1..=30).map(|n| envelope(1, n, 0)).collect();
    assert!(all.iter().map(Vec::len).sum::<usize>() > QUOTA);
    let blocks = [block(301, vec![blob(all)])];
    assert!(!within(Bounds::default(), &blocks).faults.is_empty());
    assert!(within(Bounds { tracked: 3, ..Bounds::default() }, &blocks).faults.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever way the same envelopes at the same heights come in batches, the result is the same.
    #[test]
    fn order_and_batching_change_nothing(
        sent in proptest::collection::vec((1u8..3, 0u64..6, 0u64..3, 300u64..334, 0usize..4), 1..60),
        shuffle in any::<u64>(),
    ) {
        let build = |order: &[usize], split: bool| {
            let mut heights: BTreeMap<u64, BTreeMap<usize, Vec<Vec<u8>>>> = BTreeMap::new();
            for &at in order {
                let (device, sequence, used, height, group) = sent[at];
                let group = if split { group } else { 0 };
                let groups = heights.entry(height).or_default();
                groups.entry(group).or_default().push(envelope(device, sequence, used));
            }
            heights
                .into_iter()
                .map(|(height, groups)| block(height, groups.into_values().map(blob).collect()))
                .collect::<Vec<_>>()
        };
        let straight: Vec<_> = (0..sent.len()).collect();
        let mut shuffled = straight.clone();
        shuffled.sort_by_key(|at| blake3::hash(&(shuffle ^ u64::try_from(*at).unwrap()).to_be_bytes()).to_hex());
        let first = run(&build(&straight, false));
        let mut blocks = build(&shuffled, true);
        blocks.reverse();
        let second = run(&blocks);
        prop_assert_eq!(&first.carried, &second.carried);
        // One payload an identity, two where they conflict; within the quota.
        let mut identities: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut bytes: BTreeMap<_, usize> = BTreeMap::new();
        for carried in &first.carried {
            let key = (carried.envelope.device(), carried.envelope.payload().sequence);
            identities.entry(key).or_default().push(carried.envelope.payload_digest());
            *bytes.entry(key.0).or_default() += carried.envelope.bytes().len();
        }
        for payloads in identities.values_mut() {
            prop_assert!(payloads.len() <= PAYLOADS_MAX);
            payloads.sort_unstable();
            payloads.dedup();
        }
        prop_assert_eq!(identities.values().map(Vec::len).sum::<usize>(), first.carried.len());
        prop_assert!(bytes.values().all(|bytes| *bytes <= QUOTA));
    }
}
