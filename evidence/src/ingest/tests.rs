use super::*;
use crate::fixture::*;
use protocol::envelope::Payload;

fn ingest_with(limits: Limits) -> Ingest {
    let mut ingest = Ingest::new(validator(), CHAIN, sizes(), limits);
    ingest.open(Arc::new(inputs()));
    ingest.advance(Head { height: Height(305), time_ms: TIME });
    ingest
}

fn ingest() -> Ingest {
    ingest_with(Limits::default())
}

fn taken(ingest: &mut Ingest) -> Vec<Vec<u8>> {
    let batch = ingest.take().0;
    batch.iter().flat_map(|batch| batch.envelopes()).map(<[u8]>::to_vec).collect()
}

#[test]
fn an_envelope_is_accepted_signed_for_and_batched_once() {
    let mut ingest = ingest();
    let bytes = envelope(1, 5, 0);
    let Answer::Accepted(acceptance) = ingest.submit(&bytes, TIME) else { panic!("refused") };
    assert_eq!(acceptance.verify(CHAIN), Ok(()));
    assert_eq!(acceptance.validator, validator().key().x());
    assert_eq!((acceptance.network, acceptance.epoch), (NETWORK, EPOCH));
    assert_eq!(acceptance.height, Height(305));
    assert_eq!(acceptance.digest, Digest::of(&bytes));
    let batch = ingest.take().0.unwrap();
    assert_eq!(
        Batch::from_bytes(&batch.to_bytes(), CHAIN).unwrap().envelopes().collect::<Vec<_>>(),
        [&bytes]
    );
    assert_eq!(ingest.take(), (None, 0));
    assert_eq!(ingest.waiting_bytes(), 0);
}

#[test]
fn each_refusal_has_its_reason() {
    let mut ingest = ingest();
    let other_network = Payload { network: NetworkId(2), ..payload(1, 0) };
    let other_epoch = Payload { epoch: EPOCH.next(), ..payload(1, 0) };
    let early = Payload { time_ms: TIME - SKEW - 1, ..payload(1, 0) };
    let ahead = Payload { time_ms: TIME + SKEW + 1, ..payload(1, 0) };
    let mut trailing = envelope(1, 1, 0);
    trailing.push(0);
    let good = envelope(1, 1, 0);
    for (bytes, reason) in [
        (vec![0; 9_000], Reason::TooLarge),
        (vec![], Reason::Malformed),
        (good[..good.len() - 1].to_vec(), Reason::Malformed),
        (trailing, Reason::Malformed),
        (sign(1, &other_network), Reason::UnknownNetwork),
        (sign(1, &other_epoch), Reason::WrongEpoch),
        (envelope(3, 1, 0), Reason::UnknownDevice),
        (sized(1, 1, 300, protocol::KindId(8)), Reason::UnknownKind),
        (sized(1, 1, 300, protocol::KindId(9)), Reason::UnknownKind),
        (sized(1, 1, 5_000, protocol::body::COMMON), Reason::TooLarge),
        (common_garbage(1, 1), Reason::MalformedBody),
        (sign(1, &early), Reason::ClockSkew),
        (sign(1, &ahead), Reason::ClockSkew),
        (sized(1, 1, QUOTA + 200, KIND), Reason::OverQuota),
        (forged(&good), Reason::BadSignature),
    ] {
        assert_eq!(ingest.submit(&bytes, TIME), Answer::Refused(reason));
    }
    // Nothing that was refused left a trace.
    assert_eq!(ingest.waiting_bytes(), 0);
    assert!(matches!(ingest.submit(&good, TIME), Answer::Accepted(_)));
}

#[test]
fn the_same_report_again_gets_the_same_acceptance() {
    let mut ingest = ingest();
    let Answer::Accepted(first) = ingest.submit(&es256_envelope(1, 0), TIME) else { panic!() };
    ingest.advance(Head { height: Height(306), time_ms: TIME });
    assert_eq!(ingest.submit(&es256_envelope(1, 0), TIME), Answer::Replayed(first.clone()));
    // Another signature over the same payload is the same report.
    assert_ne!(es256_envelope(1, 0), es256_envelope(1, 1));
    assert_eq!(ingest.submit(&es256_envelope(1, 1), TIME), Answer::Replayed(first));
    assert_eq!(taken(&mut ingest), [es256_envelope(1, 0)]);
}

#[test]
fn two_payloads_under_one_identity_are_kept_and_no_third() {
    let mut ingest = ingest();
    assert!(matches!(ingest.submit(&envelope(1, 1, 10), TIME), Answer::Accepted(_)));
    assert!(matches!(ingest.submit(&envelope(1, 1, 11), TIME), Answer::Accepted(_)));
    let third = ingest.submit(&envelope(1, 1, 12), TIME);
    assert_eq!(third, Answer::Refused(Reason::ConflictingPayloads));
    // Another device has identities of its own.
    assert!(matches!(ingest.submit(&envelope(2, 1, 12), TIME), Answer::Accepted(_)));
    assert_eq!(taken(&mut ingest).len(), 3);
}

#[test]
fn the_quota_holds_to_the_byte_and_for_each_device() {
    let mut ingest = ingest();
    let size = envelope(1, 1_000, 0).len();
    let fit = QUOTA / size;
    for n in 0..fit {
        let bytes = envelope(1, 1_000 + u64::try_from(n).unwrap(), 0);
        assert_eq!(bytes.len(), size);
        assert!(matches!(ingest.submit(&bytes, TIME), Answer::Accepted(_)), "{n}");
    }
    assert_eq!(ingest.submit(&envelope(1, 5_000, 0), TIME), Answer::Refused(Reason::OverQuota));
    assert!(matches!(ingest.submit(&envelope(1, 1_000, 0), TIME), Answer::Replayed(_)));
    assert!(matches!(ingest.submit(&envelope(2, 5_000, 0), TIME), Answer::Accepted(_)));
}

#[test]
fn a_device_that_serves_a_rail_may_say_what_it_owes() {
    let mut ingest = Ingest::new(validator(), CHAIN, sizes(), Limits::default());
    ingest.open(Arc::new(serving()));
    ingest.advance(Head { height: Height(305), time_ms: TIME });
    let fit = u64::try_from(2 * QUOTA / envelope(1, 1_000, 0).len()).unwrap();
    for sequence in 1_000..1_000 + fit {
        assert!(matches!(ingest.submit(&envelope(1, sequence, 0), TIME), Answer::Accepted(_)));
    }
    assert_eq!(ingest.submit(&envelope(1, 5_000, 0), TIME), Answer::Refused(Reason::OverQuota));
    // What ingest accepted, replay counts, and it blames nobody.
    let block = crate::BlockEvidence::new(Height(306), TIME, [blob(taken(&mut ingest))]);
    let replayed = crate::replay(&serving(), &sizes(), [&block]);
    assert_eq!(u64::try_from(replayed.carried.len()).unwrap(), fit);
    assert!(replayed.faults.is_empty());
}

#[test]
fn the_pool_is_bounded_in_all_and_for_each_device() {
    let size = envelope(1, 1_000, 0).len();
    let limits = Limits { device_bytes: 2 * size, pool_bytes: 3 * size, ..Limits::default() };
    let mut ingest = ingest_with(limits);
    let full = Answer::Refused(Reason::QueueFull);
    for sequence in [1_000, 1_001] {
        assert!(matches!(ingest.submit(&envelope(1, sequence, 0), TIME), Answer::Accepted(_)));
    }
    assert_eq!(ingest.submit(&envelope(1, 1_002, 0), TIME), full);
    assert!(matches!(ingest.submit(&envelope(2, 1_000, 0), TIME), Answer::Accepted(_)));
    assert_eq!(ingest.submit(&envelope(2, 1_001, 0), TIME), full);
    assert_eq!(taken(&mut ingest).len(), 3);
    // Room again, and the quota counts what was taken: nothing was charged for the refusals.
    assert!(matches!(ingest.submit(&envelope(1, 1_002, 0), TIME), Answer::Accepted(_)));
}

#[test]
fn batches_keep_to_the_share_and_lose_nothing() {
    let size = envelope(1, 1_000, 0).len();
    let least = sizes().largest() + batch::OVERHEAD + batch::ENVELOPE_OVERHEAD;
    let mut ingest = ingest_with(Limits { batch_bytes: 1, ..Limits::default() });
    let mut sent = Vec::new();
    for n in 0..u64::try_from(QUOTA / size).unwrap() {
        for device in [1, 2] {
            sent.push(envelope(device, 1_000 + n, 0));
            assert!(matches!(ingest.submit(sent.last().unwrap(), TIME), Answer::Accepted(_)));
        }
    }
    let mut seen = Vec::new();
    while let Some(batch) = ingest.take().0 {
        assert!(batch.to_bytes().len() <= least);
        seen.extend(batch.envelopes().map(<[u8]>::to_vec));
    }
    assert_eq!(seen, sent);
}

#[test]
fn networks_take_turns() {
    let mut ingest = ingest_with(Limits { batch_bytes: 1, ..Limits::default() });
    let mut second = inputs();
    second.network = NetworkId(2);
    ingest.open(Arc::new(second));
    for sequence in 0..3 {
        for network in [1, 2] {
            let payload = Payload { network: NetworkId(network), ..payload(sequence, 0) };
            assert!(matches!(ingest.submit(&sign(1, &payload), TIME), Answer::Accepted(_)));
        }
    }
    let networks: Vec<_> =
        std::iter::from_fn(|| ingest.take().0).map(|batch| batch.network().0).collect();
    assert_eq!(networks, [1, 2]);
}

#[test]
fn what_another_validator_had_carried_counts_and_is_not_carried_twice() {
    let mut ingest = ingest();
    let (ours, theirs) = (envelope(1, 1, 0), envelope(1, 2, 0));
    assert!(matches!(ingest.submit(&ours, TIME), Answer::Accepted(_)));
    ingest.carried(&batch(vec![ours.clone(), theirs.clone(), forged(&envelope(1, 3, 0))]));
    assert!(taken(&mut ingest).is_empty());
    assert!(matches!(ingest.submit(&theirs, TIME), Answer::Replayed(_)));
    // A forgery that somebody had carried does not take the identity.
    assert!(matches!(ingest.submit(&envelope(1, 3, 0), TIME), Answer::Accepted(_)));
}

#[test]
fn an_epoch_closes_when_no_later_block_may_carry_it() {
    let mut ingest = ingest();
    assert!(matches!(ingest.submit(&envelope(1, 1, 0), TIME), Answer::Accepted(_)));
    // Grace ends with height 333: what is accepted after 331 is carried by 333, what would be after 332
    // by none.
    ingest.advance(Head { height: Height(331), time_ms: TIME });
    assert!(matches!(ingest.submit(&envelope(1, 2, 0), TIME), Answer::Accepted(_)));
    ingest.advance(Head { height: Height(332), time_ms: TIME });
    assert_eq!(ingest.submit(&envelope(1, 3, 0), TIME), Answer::Refused(Reason::WrongEpoch));
    ingest.advance(Head { height: Height(333), time_ms: TIME });
    assert_eq!(ingest.submit(&envelope(1, 3, 0), TIME), Answer::Refused(Reason::UnknownNetwork));
    assert_eq!(ingest.take(), (None, 2));
}

#[test]
fn an_epoch_opens_with_the_first_block_that_may_carry_it() {
    let mut ingest = Ingest::new(validator(), CHAIN, sizes(), Limits::default());
    ingest.open(Arc::new(inputs()));
    ingest.advance(Head { height: Height(298), time_ms: TIME });
    assert_eq!(ingest.submit(&envelope(1, 1, 0), TIME), Answer::Refused(Reason::WrongEpoch));
    ingest.advance(Head { height: Height(299), time_ms: TIME });
    assert!(matches!(ingest.submit(&envelope(1, 1, 0), TIME), Answer::Accepted(_)));
}

#[test]
fn what_was_accepted_is_restored_unless_it_is_carried() {
    let mut ingest = ingest();
    let (carried, waiting) = (envelope(1, 1, 0), envelope(1, 2, 0));
    ingest.carried(&batch(vec![carried.clone()]));
    assert!(!ingest.restore(&carried));
    assert!(ingest.restore(&waiting));
    assert!(!ingest.restore(&waiting));
    assert!(!ingest.restore(&forged(&envelope(1, 3, 0))));
    assert_eq!(taken(&mut ingest), [waiting]);
}

#[test]
fn what_was_accepted_is_restored_though_others_used_up_quota_and_identity() {
    let (own, large) = (envelope(1, 1, 0), sized(1, 3, QUOTA / 2, KIND));
    let theirs = vec![envelope(1, 1, 1), envelope(1, 1, 2), sized(1, 2, QUOTA / 2, KIND)];
    let mut ingest = ingest();
    ingest.carried(&batch(theirs));
    assert!(matches!(ingest.submit(&own, TIME), Answer::Refused(Reason::ConflictingPayloads)));
    assert!(matches!(ingest.submit(&large, TIME), Answer::Refused(Reason::OverQuota)));
    // Accepted before the others' batch and a restart, they count, as they may be signed already.
    assert!(ingest.restore(&own) && ingest.restore(&large));
    assert!(matches!(ingest.submit(&envelope(1, 9, 0), TIME), Answer::Refused(Reason::OverQuota)));
}

#[test]
fn what_is_not_durable_waits_and_holds_up_no_other_network() {
    let mut ingest = ingest();
    let mut second = inputs();
    second.network = NetworkId(2);
    ingest.open(Arc::new(second));
    let other = sign(1, &Payload { network: NetworkId(2), ..payload(1, 0) });
    let (first, last) = (envelope(1, 1, 0), envelope(1, 2, 0));
    assert!(matches!(ingest.submit(&other, TIME), Answer::Accepted(_)));
    assert!(matches!(ingest.submit(&first, TIME), Answer::Accepted(_)));
    let durable = ingest.taken_in();
    assert_eq!(durable, 2);
    assert!(matches!(ingest.submit(&last, TIME), Answer::Accepted(_)));
    let mut take = |order| {
        let batch = ingest.take_before(order).0;
        batch.iter().flat_map(|batch| batch.envelopes()).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    assert!(take(0).is_empty());
    assert_eq!(take(1), [other]);
    assert_eq!(take(durable), [first]);
    assert!(take(durable).is_empty());
    assert_eq!(take(u64::MAX), [last]);
}

#[test]
fn a_retracted_envelope_was_never_there() {
    let mut ingest = ingest();
    let bytes = envelope(1, 1, 0);
    assert!(matches!(ingest.submit(&bytes, TIME), Answer::Accepted(_)));
    ingest.retract(&bytes);
    assert_eq!(ingest.waiting_bytes(), 0);
    assert!(taken(&mut ingest).is_empty());
    assert!(matches!(ingest.submit(&bytes, TIME), Answer::Accepted(_)));
    // What a block carries cannot be taken back.
    ingest.carried(&batch(vec![bytes.clone()]));
    ingest.retract(&bytes);
    assert!(matches!(ingest.submit(&bytes, TIME), Answer::Replayed(_)));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let mut ingest = ingest();
        proptest::prop_assert!(matches!(ingest.submit(&bytes, TIME), Answer::Refused(_)));
    }

    #[test]
    fn a_changed_bit_is_refused(at in 0usize..200, bit in 0u8..8) {
        let mut bytes = envelope(1, 1, 0);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        proptest::prop_assert!(matches!(ingest().submit(&bytes, TIME), Answer::Refused(_)));
    }
}

#[test]
fn no_more_is_remembered_of_what_blocks_carry_than_a_quota_or_memory_allows() {
    let mut ingest = ingest();
    let all: Vec<_> = (0..100).map(|sequence| envelope(1, sequence, 0)).collect();
    let size = all[99].len();
    assert!(all.len() * size > 2 * QUOTA);
    let carried = ingest.carried(&batch(all.clone()));
    let known: usize = all.iter().take(carried.len()).map(Vec::len).sum();
    assert!(QUOTA < known && known <= QUOTA + size, "{known}");
    assert_eq!(carried, all[..carried.len()].iter().map(|one| Digest::of(one)).collect::<Vec<_>>());
    // What is known stays known, and nothing more is taken in.
    assert_eq!(ingest.carried(&batch(all.clone())), carried);
    assert_eq!(ingest.submit(&envelope(1, 900, 0), TIME), Answer::Refused(Reason::OverQuota));

    let both =
        vec![envelope(1, 1, 0), forged(&envelope(1, 2, 0)), envelope(2, 1, 0), envelope(2, 2, 0)];
    let block = crate::BlockEvidence::new(Height(301), TIME, [blob(both.clone()), vec![1, 2]]);
    let mut opening = Opening::new(Arc::new(inputs()), (CHAIN, sizes().largest()), 2);
    opening.block(&block);
    opening.block(&block);
    let expected = [0, 2].map(|at: usize| (Digest::of(&both[at]), Height(301)));
    assert_eq!(opening.carried(), expected);
}
