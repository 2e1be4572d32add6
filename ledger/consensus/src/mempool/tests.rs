use super::*;
use crate::block::{MAX_BLOBS_BYTES, blob_hash};
use bytes::Bytes;
use proptest::prelude::*;

const RICH: U256 = U256::MAX;

fn standing(next: u64, balance: U256) -> Standing {
    Standing { height: 0, next, balance }
}

fn pooled(sender: u8, nonce: u64, fee: u128) -> Pooled<(u8, u64, u128)> {
    let mut hash = [0; 32];
    hash[0] = sender;
    hash[8..16].copy_from_slice(&nonce.to_be_bytes());
    hash[16..].copy_from_slice(&fee.to_be_bytes());
    Pooled {
        hash: B256::from(hash),
        sender: Address::repeat_byte(sender),
        nonce,
        max_fee: fee,
        max_tip: fee,
        cost: U256::from(fee),
        bytes: 100,
        tx: (sender, nonce, fee),
    }
}

/// As it comes from this node's own clients.
fn own(
    pool: &mut Mempool<(u8, u64, u128)>,
    new: Pooled<(u8, u64, u128)>,
    seen: Standing,
) -> Result<(), PoolRefused> {
    pool.insert(new, seen, Source::Own)
}

fn pool(per_sender: u64, transactions: usize) -> Mempool<(u8, u64, u128)> {
    let bytes = 100 * transactions;
    Mempool::new(Limits { per_sender, transactions, bytes, gapped: transactions })
}

fn all(pool: &Mempool<(u8, u64, u128)>) -> Vec<(u8, u64, u128)> {
    pool.candidates(0, &BTreeMap::new(), (usize::MAX, usize::MAX))
}

#[test]
fn the_best_tip_goes_first_and_nonces_stay_in_order() {
    let mut pool = pool(16, 16);
    for tx in
        [pooled(1, 0, 10), pooled(1, 1, 90), pooled(2, 0, 50), pooled(3, 1, 99), pooled(4, 0, 50)]
    {
        own(&mut pool, tx, standing(0, RICH)).unwrap();
    }
    // Sender 3 has a gap, 1's dear one waits for its cheap one, 2 came before 4.
    assert_eq!(all(&pool), [(2, 0, 50), (4, 0, 50), (1, 0, 10), (1, 1, 90)]);
    let used = BTreeMap::from([(Address::repeat_byte(1), 1)]);
    assert_eq!(pool.candidates(0, &used, (1, usize::MAX)), [(1, 1, 90)]);
    // A base fee leaves out who does not pay it, and everything behind it.
    assert_eq!(pool.candidates(20, &BTreeMap::new(), (9, usize::MAX)), [(2, 0, 50), (4, 0, 50)]);
    assert_eq!(pool.candidates(0, &BTreeMap::new(), (9, 250)), [(2, 0, 50), (4, 0, 50)]);
}

#[test]
fn a_lost_proposal_loses_nothing() {
    let mut pool = pool(16, 16);
    own(&mut pool, pooled(1, 0, 10), standing(0, RICH)).unwrap();
    assert_eq!(all(&pool), all(&pool));
    pool.finalized(1, [(Address::repeat_byte(2), 7)]);
    assert_eq!(all(&pool), [(1, 0, 10)]);
    pool.finalized(1, [(Address::repeat_byte(1), 0)]);
    assert_eq!((all(&pool), pool.len()), (vec![], 0));
}

#[test]
fn replacements_pay_a_tenth_more_in_both() {
    let mut pool = pool(16, 16);
    own(&mut pool, pooled(1, 0, 100), standing(0, RICH)).unwrap();
    assert_eq!(own(&mut pool, pooled(1, 0, 100), standing(0, RICH)), Err(PoolRefused::Known));
    assert_eq!(own(&mut pool, pooled(1, 0, 109), standing(0, RICH)), Err(PoolRefused::Underpriced));
    let stingy = Pooled { max_tip: 100, ..pooled(1, 0, 200) };
    assert_eq!(own(&mut pool, stingy, standing(0, RICH)), Err(PoolRefused::Underpriced));
    own(&mut pool, pooled(1, 0, 110), standing(0, RICH)).unwrap();
    assert_eq!((all(&pool), pool.len()), (vec![(1, 0, 110)], 1));
    assert!(pool.get(&pooled(1, 0, 100).hash).is_none());
    assert!(pool.get(&pooled(1, 0, 110).hash).is_some());
}

#[test]
fn nonces_and_funds_are_bounded() {
    let mut pool = pool(4, 16);
    assert_eq!(
        own(&mut pool, pooled(1, 4, 1), standing(5, RICH)),
        Err(PoolRefused::NonceTooLow { next: 5, nonce: 4 })
    );
    assert_eq!(
        own(&mut pool, pooled(1, 9, 1), standing(5, RICH)),
        Err(PoolRefused::NonceTooHigh { next: 5, nonce: 9 })
    );
    own(&mut pool, pooled(1, 5, 60), standing(5, U256::from(100))).unwrap();
    let refused = PoolRefused::Funds { balance: U256::from(100) };
    assert_eq!(own(&mut pool, pooled(1, 6, 41), standing(5, U256::from(100))), Err(refused));
    own(&mut pool, pooled(1, 6, 40), standing(5, U256::from(100))).unwrap();
    // A replacement counts once.
    own(&mut pool, pooled(1, 6, 44), standing(5, U256::from(104))).unwrap();
    assert_eq!(pool.pending_nonce(Address::repeat_byte(1), 5), 7);
    assert_eq!(pool.pending_nonce(Address::repeat_byte(2), 3), 3);
}

#[test]
fn a_full_pool_evicts_the_cheapest_last_transaction() {
    let mut pool = pool(16, 3);
    own(&mut pool, pooled(1, 0, 10), standing(0, RICH)).unwrap();
    own(&mut pool, pooled(1, 1, 50), standing(0, RICH)).unwrap();
    own(&mut pool, pooled(2, 0, 40), standing(0, RICH)).unwrap();
    assert_eq!(own(&mut pool, pooled(3, 0, 40), standing(0, RICH)), Err(PoolRefused::Full));
    // 1's first is cheaper, but its last is not.
    own(&mut pool, pooled(3, 0, 41), standing(0, RICH)).unwrap();
    assert_eq!(all(&pool), [(3, 0, 41), (1, 0, 10), (1, 1, 50)]);
    // Nobody evicts their own.
    assert_eq!(own(&mut pool, pooled(1, 2, 41), standing(0, RICH)), Err(PoolRefused::Full));
}

#[test]
fn gaps_are_few_and_go_before_what_a_block_could_hold() {
    let mut pool = pool(64, 8);
    pool.limits.gapped = 3;
    for nonce in 10..13 {
        own(&mut pool, pooled(1, nonce, 1_000), standing(0, RICH)).unwrap();
    }
    assert_eq!(own(&mut pool, pooled(1, 13, 2_000), standing(0, RICH)), Err(PoolRefused::Full));
    assert_eq!(own(&mut pool, pooled(2, 1, 1_000), standing(0, RICH)), Err(PoolRefused::Full));
    // Who pays more may wait for a missing nonce instead, and what can run needs no such place.
    own(&mut pool, pooled(2, 1, 1_001), standing(0, RICH)).unwrap();
    assert_eq!(pool.len(), 3);
    for sender in 3..8 {
        own(&mut pool, pooled(sender, 0, 5), standing(0, RICH)).unwrap();
    }
    assert_eq!(pool.len(), 8);
    for sender in 8..11 {
        own(&mut pool, pooled(sender, 0, 2), standing(0, RICH)).unwrap();
    }
    assert_eq!((pool.len(), pool.used.gapped), (8, 0));
    assert_eq!(own(&mut pool, pooled(11, 0, 2), standing(0, RICH)), Err(PoolRefused::Full));
    assert_eq!(own(&mut pool, pooled(11, 1, 9), standing(0, RICH)), Err(PoolRefused::Full));
}

#[test]
fn what_waits_for_a_nonce_does_not_wait_for_ever() {
    let mut pool = pool(64, 16);
    let seen = Standing { height: 50, next: 0, balance: RICH };
    own(&mut pool, pooled(1, 0, 10), seen).unwrap();
    own(&mut pool, pooled(1, 2, 10), seen).unwrap();
    own(&mut pool, pooled(2, 1, 10), seen).unwrap();
    pool.finalized(49 + GAP_BLOCKS, []);
    assert_eq!(pool.len(), 3);
    // The missing one may still come.
    own(&mut pool, pooled(2, 0, 10), seen).unwrap();
    pool.finalized(50 + GAP_BLOCKS, []);
    assert_eq!(all(&pool), [(1, 0, 10), (2, 0, 10), (2, 1, 10)]);
    assert_eq!((pool.len(), pool.used.gapped), (3, 0));
}

#[test]
fn what_takes_longer_than_a_block_is_tried_last_and_goes() {
    let mut pool = pool(64, 16);
    own(&mut pool, pooled(1, 0, 100), standing(0, RICH)).unwrap();
    own(&mut pool, pooled(2, 0, 10), standing(0, RICH)).unwrap();
    let slow = pooled(1, 0, 100).hash;
    pool.late(&slow);
    assert_eq!(all(&pool), [(2, 0, 10), (1, 0, 100)]);
    for _ in 1..LATE_MAX {
        pool.late(&slow);
    }
    assert_eq!(all(&pool), [(2, 0, 10)]);
}

#[test]
fn all_that_a_sender_has_waiting_is_within_its_balance() {
    let mut pool = pool(64, 16);
    for nonce in 0..4 {
        own(&mut pool, pooled(1, nonce, 10), standing(0, RICH)).unwrap();
    }
    pool.check(Address::repeat_byte(1), 1, U256::from(25));
    assert_eq!(all(&pool), [(1, 1, 10), (1, 2, 10)]);
}

#[test]
fn a_large_newcomer_evicts_several_or_nothing() {
    let mut pool = pool(16, 4);
    for sender in 1..=4 {
        own(&mut pool, pooled(sender, 0, u128::from(sender) * 10), standing(0, RICH)).unwrap();
    }
    let large = |fee| Pooled { bytes: 300, ..pooled(9, 0, fee) };
    assert_eq!(own(&mut pool, large(30), standing(0, RICH)), Err(PoolRefused::Full));
    assert_eq!(pool.len(), 4);
    own(&mut pool, large(31), standing(0, RICH)).unwrap();
    assert_eq!(all(&pool), [(4, 0, 40), (9, 0, 31)]);
}

#[test]
fn suspects_are_checked_against_final_state_only() {
    let mut pool = pool(16, 16);
    own(&mut pool, pooled(1, 0, 10), standing(0, RICH)).unwrap();
    own(&mut pool, pooled(1, 1, 90), standing(0, RICH)).unwrap();
    let sender = Address::repeat_byte(1);
    pool.suspect(sender);
    pool.suspect(Address::repeat_byte(2));
    assert_eq!(pool.len(), 2);
    assert_eq!(pool.take_suspects().into_iter().collect::<Vec<_>>(), [sender]);
    pool.check(sender, 1, U256::from(50));
    assert_eq!(pool.len(), 0);
}

#[test]
fn a_standing_older_than_the_last_final_block_is_read_again() {
    let mut pool = pool(16, 16);
    let sender = Address::repeat_byte(1);
    own(&mut pool, pooled(1, 7, 10), Standing { height: 4, next: 7, balance: RICH }).unwrap();
    // The block takes the sender's only transaction, and the sender leaves the pool with it.
    pool.finalized(5, [(sender, 7)]);
    assert!(pool.take_suspects().is_empty());
    // The next one comes with what was read before that block.
    own(&mut pool, pooled(1, 8, 10), Standing { height: 4, next: 7, balance: RICH }).unwrap();
    assert!(all(&pool).is_empty(), "nonce 7 seems to be missing");
    assert_eq!(pool.take_suspects().into_iter().collect::<Vec<_>>(), [sender]);
    pool.check(sender, 8, RICH);
    assert_eq!(all(&pool), [(1, 8, 10)]);
}

fn peer(n: u8) -> Source {
    Source::Peer([n; 32])
}

#[test]
fn a_flood_of_one_source_keeps_no_other_out_at_the_same_price() {
    let mut pool = pool(16, 8);
    let (loud, quiet) = (peer(1), peer(2));
    for sender in 0..8 {
        pool.insert(pooled(sender, 0, 10), standing(0, RICH), loud).unwrap();
    }
    // The flood cannot push out its own at its price, others may have their share of it.
    assert_eq!(pool.insert(pooled(8, 0, 10), standing(0, RICH), loud), Err(PoolRefused::Full));
    for sender in 10..14 {
        pool.insert(pooled(sender, 0, 10), standing(0, RICH), quiet).unwrap();
    }
    let refused = pool.insert(pooled(14, 0, 10), standing(0, RICH), quiet);
    assert_eq!(refused, Err(PoolRefused::Full), "half of the pool for each of two");
    for sender in 20..22 {
        own(&mut pool, pooled(sender, 0, 10), standing(0, RICH)).unwrap();
    }
    assert_eq!(pool.held[&Source::Own].transactions, 2);
    // Nobody who pays as much and holds a share goes for who floods, who pays less does.
    assert_eq!(pool.insert(pooled(8, 0, 10), standing(0, RICH), loud), Err(PoolRefused::Full));
    own(&mut pool, pooled(22, 0, 9), standing(0, RICH)).unwrap_err();
    pool.insert(pooled(8, 0, 11), standing(0, RICH), loud).unwrap();
    assert_eq!(pool.len(), 8);
}

#[test]
fn a_flood_of_gaps_leaves_others_room_for_theirs() {
    let mut pool = pool(64, 64);
    pool.limits.gapped = 4;
    for nonce in 1..5 {
        pool.insert(pooled(1, nonce, 10), standing(0, RICH), peer(1)).unwrap();
    }
    assert_eq!(pool.insert(pooled(1, 5, 10), standing(0, RICH), peer(1)), Err(PoolRefused::Full));
    pool.insert(pooled(2, 1, 10), standing(0, RICH), peer(2)).unwrap();
    pool.insert(pooled(2, 2, 10), standing(0, RICH), peer(2)).unwrap();
    assert_eq!(pool.insert(pooled(2, 3, 10), standing(0, RICH), peer(2)), Err(PoolRefused::Full));
    assert_eq!((pool.held[&peer(1)].gapped, pool.held[&peer(2)].gapped), (2, 2));
    // What can run needs no such place, whoever sent it.
    pool.insert(pooled(3, 0, 1), standing(0, RICH), peer(1)).unwrap();
}

#[test]
fn what_is_ours_is_due_again_until_it_leaves() {
    let mut pool = pool(16, 16);
    pool.insert(pooled(1, 0, 10), standing(0, RICH), Source::Own).unwrap();
    pool.insert(pooled(2, 0, 10), standing(0, RICH), peer(1)).unwrap();
    pool.insert(pooled(3, 0, 10), standing(0, RICH), peer(1)).unwrap();
    let [ours, theirs] = [1, 3].map(|sender| pooled(sender, 0, 10).hash);
    assert!(pool.due(AGAIN_BLOCKS - 1, 9).is_empty());
    assert_eq!(pool.due(AGAIN_BLOCKS, 9), [ours]);
    assert!(pool.due(2 * AGAIN_BLOCKS - 1, 9).is_empty(), "it was just sent");
    // What a peer sent becomes ours once our own client gives it too.
    let known = own(&mut pool, pooled(3, 0, 10), standing(0, RICH));
    assert_eq!(known, Err(PoolRefused::Known));
    assert_eq!(pool.held[&Source::Own].transactions, 2);
    assert_eq!(pool.due(2 * AGAIN_BLOCKS, 1).len(), 1);
    assert_eq!(pool.due(2 * AGAIN_BLOCKS, 9).len(), 1);
    pool.finalized(20, [(Address::repeat_byte(1), 0)]);
    assert_eq!(pool.due(99, 9), [theirs]);
    pool.discard(&theirs);
    assert!(pool.due(999, 9).is_empty() && pool.again.is_empty());
}

fn blob(n: u8, size: usize) -> Bytes {
    Bytes::from(vec![n; size])
}

fn drawn(blobs: &Blobs, height: u64) -> Vec<Bytes> {
    blobs.candidates(&BTreeSet::new(), height)
}

#[test]
fn blobs_are_bounded_carried_once_and_kept_until_final() {
    let mut blobs = Blobs::default();
    let mut insert = |blob| blobs.insert(blob, Source::Own);
    assert_eq!(insert(Bytes::new()), Err(BlobRefused::Size(0)));
    let large = blob(1, MAX_BLOBS_BYTES + 1);
    assert_eq!(insert(large), Err(BlobRefused::Size(MAX_BLOBS_BYTES + 1)));
    let first = insert(blob(1, 10)).unwrap();
    assert_eq!(first, blob_hash(&blob(1, 10)));
    assert_eq!(insert(blob(1, 10)), Err(BlobRefused::Known));
    insert(blob(2, MAX_BLOBS_BYTES)).unwrap();
    insert(blob(3, 10)).unwrap();
    // The second does not fit beside the first, and the third does not overtake it.
    assert_eq!(drawn(&blobs, 1), [blob(1, 10)]);
    let rest = blobs.candidates(&BTreeSet::from([first]), 1);
    assert_eq!(rest, [blob(2, MAX_BLOBS_BYTES)]);
    blobs.finalized(1, [first, B256::ZERO]);
    assert_eq!(drawn(&blobs, 1), [blob(2, MAX_BLOBS_BYTES)]);
    for n in 4..10 {
        blobs.insert(blob(n, MAX_BLOBS_BYTES), Source::Own).unwrap();
    }
    let full = blobs.insert(blob(11, MAX_BLOBS_BYTES), Source::Own);
    assert_eq!(full, Err(BlobRefused::Full));
    assert!(blobs.bytes() <= super::blobs::OWN_BYTES);
}

#[test]
fn authors_share_a_block_and_what_some_leave_goes_to_the_others() {
    let mut blobs = Blobs::default();
    let part = MAX_BLOBS_BYTES / 16;
    for n in 0..32 {
        blobs.insert(blob(n, part), peer(1)).unwrap();
    }
    assert_eq!(blobs.insert(blob(32, part), peer(1)), Err(BlobRefused::Full));
    assert_eq!(drawn(&blobs, 1).len(), 16, "alone, it may fill a block");
    for n in 100..112 {
        blobs.insert(blob(n, part), peer(2)).unwrap();
    }
    blobs.insert(blob(200, part), Source::Own).unwrap();
    for height in 1..4 {
        let drawn = drawn(&blobs, height);
        let of = |from: u8, to| drawn.iter().filter(|blob| (from..to).contains(&blob[0])).count();
        assert_eq!(of(200, 201), 1);
        // Ours leaves most of its third, which the two others share in turn.
        assert_eq!(of(0, 32) + of(100, 112), 15);
        assert!(of(0, 32).abs_diff(of(100, 112)) <= 1);
    }
}

#[test]
fn a_blob_larger_than_a_share_has_its_turn() {
    let mut blobs = Blobs::default();
    let part = MAX_BLOBS_BYTES / 16;
    for n in 0..32 {
        blobs.insert(blob(n, part), peer(1)).unwrap();
        blobs.insert(blob(32 + n, part), peer(2)).unwrap();
    }
    let large = blob(255, MAX_BLOBS_BYTES);
    blobs.insert(large.clone(), peer(3)).unwrap();
    let carried = (1..4).filter(|height| drawn(&blobs, *height) == [large.clone()]).count();
    assert_eq!(carried, 1, "in one block of three, for three authors");
}

#[test]
fn copied_blobs_displace_nobodys_and_leave_all_queues() {
    let mut blobs = Blobs::default();
    let part = MAX_BLOBS_BYTES / 4;
    for n in 0..7 {
        blobs.insert(blob(n, part), peer(1)).unwrap();
    }
    // The copy stands behind junk, the original does not.
    let hash = blobs.insert(blob(9, part), peer(1)).unwrap();
    blobs.insert(blob(9, part), peer(2)).unwrap();
    let drawn = drawn(&blobs, 1);
    assert_eq!(drawn.iter().filter(|blob| blob[0] == 9).count(), 1);
    blobs.finalized(5, [hash]);
    // It comes a second time, from another peer, after the block that carries it.
    for author in [peer(1), peer(2), peer(3)] {
        assert_eq!(blobs.insert(blob(9, part), author), Err(BlobRefused::Known));
    }
    blobs.insert(blob(10, part), peer(1)).unwrap();
}

#[test]
fn our_blobs_are_due_again_until_a_block_carries_them() {
    let mut blobs = Blobs::default();
    let ours = [1, 2].map(|n| blobs.insert(blob(n, MAX_BLOBS_BYTES), Source::Own).unwrap());
    blobs.insert(blob(3, 10), peer(1)).unwrap();
    assert!(blobs.due(AGAIN_BLOCKS - 1, 9).is_empty());
    // As much at a height as a block carries.
    let first = blobs.due(AGAIN_BLOCKS, 9);
    let second = blobs.due(AGAIN_BLOCKS + 1, 9);
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!([first, second].concat().iter().collect::<BTreeSet<_>>(), ours.iter().collect());
    blobs.finalized(20, [ours[0]]);
    assert_eq!(blobs.due(99, 9), [ours[1]]);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u64, u128, u8),
    Due(u64),
    Final(u8, u64),
    Check(u8, u64, u128),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..5, 0u64..8, 1u128..200, 0u8..3).prop_map(|(s, n, f, by)| Step::Insert(s, n, f, by)),
        1 => (0u64..20).prop_map(Step::Due),
        1 => (0u8..5, 0u64..4).prop_map(|(s, n)| Step::Final(s, n)),
        1 => (0u8..5, 0u64..4, 1u128..200).prop_map(|(s, n, b)| Step::Check(s, n, b)),
    ]
}

proptest! {
    #[test]
    fn invariants_hold_after_every_step(steps in proptest::collection::vec(step(), 1..120)) {
        let mut pool = pool(4, 8);
        for step in steps {
            match step {
                Step::Insert(sender, nonce, fee, by) => {
                    let source = if by == 0 { Source::Own } else { peer(by) };
                    let (before, held) = (pool.len(), pool.held.clone());
                    let new = pooled(sender, nonce, fee);
                    let taken = pool.insert(new, standing(0, RICH), source);
                    if matches!(taken, Err(error) if error != PoolRefused::Known) {
                        prop_assert_eq!((pool.len(), &pool.held), (before, &held));
                    }
                }
                Step::Due(height) => drop(pool.due(height, 3)),
                Step::Final(sender, nonce) => pool.finalized(1, [(Address::repeat_byte(sender), nonce)]),
                Step::Check(sender, next, balance) => {
                    pool.check(Address::repeat_byte(sender), next, U256::from(balance));
                }
            }
            let waiting: Vec<_> = pool.senders.values().flat_map(|s| s.queue.values()).collect();
            prop_assert!(pool.len() <= 8 && pool.len() == waiting.len());
            let used = |of: &dyn Fn(&Waiting<_>) -> bool| {
                let bytes = waiting.iter().filter(|w| of(w)).map(|w| w.pooled.bytes);
                (bytes.clone().count(), bytes.sum::<usize>())
            };
            prop_assert_eq!((pool.used.transactions, pool.used.bytes), used(&|_| true));
            for (source, held) in &pool.held {
                prop_assert_eq!((held.transactions, held.bytes), used(&|w| w.source == *source));
                let gapped = |s: &Sender<_>| s.gapped.get(source).copied().unwrap_or(0);
                prop_assert_eq!(held.gapped, pool.senders.values().map(gapped).sum::<usize>());
            }
            let ours = waiting.iter().filter(|w| w.source == Source::Own);
            let ours: BTreeSet<_> = ours.map(|w| (w.again.unwrap(), w.pooled.hash)).collect();
            prop_assert_eq!(&pool.again, &ours);
            for state in pool.senders.values() {
                let cost = state.queue.values().map(|w| w.pooled.cost).sum::<U256>();
                prop_assert_eq!(state.cost, cost);
                prop_assert!(!state.queue.is_empty());
                prop_assert!(state.queue.keys().all(|nonce| *nonce >= state.next));
                prop_assert!((state.next..state.free).all(|nonce| state.queue.contains_key(&nonce)));
                prop_assert!(!state.queue.contains_key(&state.free));
                let gapped = state.gapped.values().sum::<usize>();
                prop_assert_eq!(gapped, state.queue.range(state.free..).count());
                prop_assert!(state.tail.is_some() && state.tail == state.tail_before(u64::MAX));
            }
            let gapped = |state: &Sender<_>| state.gapped.values().sum::<usize>();
            prop_assert_eq!(pool.used.gapped, pool.senders.values().map(gapped).sum::<usize>());
            let gaps = pool.senders.values().filter(|state| gapped(state) > 0).count();
            prop_assert_eq!(pool.gaps.len(), gaps);
            let tails: BTreeSet<_> = pool.senders.values().filter_map(|s| s.tail).collect();
            let by_source: BTreeSet<_> = pool.tails.values().flatten().copied().collect();
            prop_assert_eq!(by_source, tails);
            prop_assert!(pool.tails.iter().all(|(by, tails)| tails.iter().all(|t| t.source == *by)));
            // Candidates: each once, each sender's nonces without a gap from its next one.
            let mut next: BTreeMap<u8, u64> = BTreeMap::new();
            for (sender, nonce, _) in all(&pool) {
                let expected = pool.senders[&Address::repeat_byte(sender)].next;
                let seen = next.entry(sender).or_insert(expected);
                prop_assert_eq!(*seen, nonce);
                *seen += 1;
            }
        }
    }

    #[test]
    fn a_flood_never_costs_others_what_pays_as_much(
        others in proptest::collection::vec((0u8..20, 1u128..30, 0u8..3), 1..8),
        flood in proptest::collection::vec((100u8..200, 0u64..3, 1u128..30), 1..200),
    ) {
        let mut pool = pool(4, 16);
        for (sender, fee, by) in &others {
            // Few enough to be within any share.
            let source = if *by == 0 { Source::Own } else { peer(*by) };
            if pool.held.get(&source).is_none_or(|held| held.transactions < 4) {
                let _ = pool.insert(pooled(*sender, 0, *fee), standing(0, RICH), source);
            }
        }
        let theirs = |pool: &Mempool<_>| -> Vec<(u8, u64, u128)> {
            all(pool).into_iter().filter(|tx| tx.0 < 100).collect()
        };
        let before = theirs(&pool);
        let mut dearest = 0;
        for (sender, nonce, fee) in flood {
            dearest = dearest.max(fee);
            let _ = pool.insert(pooled(sender, nonce, fee), standing(0, RICH), peer(9));
        }
        let after = theirs(&pool);
        for tx in before {
            prop_assert!(after.contains(&tx) || tx.2 < dearest);
            // Whoever lost a place to a better price gets it back at the flood's best.
            if !after.contains(&tx) {
                let raised = pooled(tx.0, tx.1, dearest);
                prop_assert_eq!(pool.insert(raised, standing(0, RICH), Source::Own), Ok(()));
            }
        }
    }

    #[test]
    fn no_author_is_crowded_out_of_a_block(
        arrivals in proptest::collection::vec((0u8..5, 1usize..6, any::<u16>()), 1..120),
        height in any::<u64>(),
    ) {
        let unit = MAX_BLOBS_BYTES / 16;
        let mut blobs = Blobs::default();
        let mut first: BTreeMap<u8, usize> = BTreeMap::new();
        let mut all: BTreeMap<B256, (u8, usize)> = BTreeMap::new();
        for (author, units, tag) in arrivals {
            let mut bytes = vec![author; units * unit];
            bytes[1..3].copy_from_slice(&tag.to_be_bytes());
            if let Ok(hash) = blobs.insert(bytes.into(), peer(author)) {
                first.entry(author).or_insert(units * unit);
                all.insert(hash, (author, units * unit));
            }
        }
        let drawn = blobs.candidates(&BTreeSet::new(), height);
        prop_assert!(drawn.iter().map(Bytes::len).sum::<usize>() <= MAX_BLOBS_BYTES);
        let hashes: BTreeSet<_> = drawn.iter().map(|blob| blob_hash(blob)).collect();
        prop_assert_eq!(hashes.len(), drawn.len());
        // Each whose first blob fits its share, once one other's is carried whatever its size.
        let share = (MAX_BLOBS_BYTES - 5 * unit) / first.len();
        for (author, size) in first.iter().filter(|(_, size)| **size <= share) {
            prop_assert!(drawn.iter().any(|blob| blob[0] == *author), "{author}: {size}");
        }
        blobs.finalized(1, hashes);
        for height in 2..200 {
            let drawn = blobs.candidates(&BTreeSet::new(), height);
            prop_assert_eq!(drawn.is_empty(), all.is_empty() || blobs.candidates(&BTreeSet::new(), 0).is_empty());
            blobs.finalized(height, drawn.iter().map(|blob| blob_hash(blob)));
        }
        prop_assert!(blobs.candidates(&BTreeSet::new(), 0).is_empty(), "each had its turn");
    }
}
