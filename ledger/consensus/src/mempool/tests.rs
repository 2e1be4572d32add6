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
        pool.insert(tx, standing(0, RICH)).unwrap();
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
    pool.insert(pooled(1, 0, 10), standing(0, RICH)).unwrap();
    assert_eq!(all(&pool), all(&pool));
    pool.finalized(1, [(Address::repeat_byte(2), 7)]);
    assert_eq!(all(&pool), [(1, 0, 10)]);
    pool.finalized(1, [(Address::repeat_byte(1), 0)]);
    assert_eq!((all(&pool), pool.len()), (vec![], 0));
}

#[test]
fn replacements_pay_a_tenth_more_in_both() {
    let mut pool = pool(16, 16);
    pool.insert(pooled(1, 0, 100), standing(0, RICH)).unwrap();
    assert_eq!(pool.insert(pooled(1, 0, 100), standing(0, RICH)), Err(PoolRefused::Known));
    assert_eq!(pool.insert(pooled(1, 0, 109), standing(0, RICH)), Err(PoolRefused::Underpriced));
    let stingy = Pooled { max_tip: 100, ..pooled(1, 0, 200) };
    assert_eq!(pool.insert(stingy, standing(0, RICH)), Err(PoolRefused::Underpriced));
    pool.insert(pooled(1, 0, 110), standing(0, RICH)).unwrap();
    assert_eq!((all(&pool), pool.len()), (vec![(1, 0, 110)], 1));
    assert!(pool.get(&pooled(1, 0, 100).hash).is_none());
    assert!(pool.get(&pooled(1, 0, 110).hash).is_some());
}

#[test]
fn nonces_and_funds_are_bounded() {
    let mut pool = pool(4, 16);
    assert_eq!(
        pool.insert(pooled(1, 4, 1), standing(5, RICH)),
        Err(PoolRefused::NonceTooLow { next: 5, nonce: 4 })
    );
    assert_eq!(
        pool.insert(pooled(1, 9, 1), standing(5, RICH)),
        Err(PoolRefused::NonceTooHigh { next: 5, nonce: 9 })
    );
    pool.insert(pooled(1, 5, 60), standing(5, U256::from(100))).unwrap();
    let refused = PoolRefused::Funds { balance: U256::from(100) };
    assert_eq!(pool.insert(pooled(1, 6, 41), standing(5, U256::from(100))), Err(refused));
    pool.insert(pooled(1, 6, 40), standing(5, U256::from(100))).unwrap();
    // A replacement counts once.
    pool.insert(pooled(1, 6, 44), standing(5, U256::from(104))).unwrap();
    assert_eq!(pool.pending_nonce(Address::repeat_byte(1), 5), 7);
    assert_eq!(pool.pending_nonce(Address::repeat_byte(2), 3), 3);
}

#[test]
fn a_full_pool_evicts_the_cheapest_last_transaction() {
    let mut pool = pool(16, 3);
    pool.insert(pooled(1, 0, 10), standing(0, RICH)).unwrap();
    pool.insert(pooled(1, 1, 50), standing(0, RICH)).unwrap();
    pool.insert(pooled(2, 0, 40), standing(0, RICH)).unwrap();
    assert_eq!(pool.insert(pooled(3, 0, 40), standing(0, RICH)), Err(PoolRefused::Full));
    // 1's first is cheaper, but its last is not.
    pool.insert(pooled(3, 0, 41), standing(0, RICH)).unwrap();
    assert_eq!(all(&pool), [(3, 0, 41), (1, 0, 10), (1, 1, 50)]);
    // Nobody evicts their own.
    assert_eq!(pool.insert(pooled(1, 2, 41), standing(0, RICH)), Err(PoolRefused::Full));
}

#[test]
fn gaps_are_few_and_go_before_what_a_block_could_hold() {
    let mut pool = pool(64, 8);
    pool.limits.gapped = 3;
    for nonce in 10..13 {
        pool.insert(pooled(1, nonce, 1_000), standing(0, RICH)).unwrap();
    }
    assert_eq!(pool.insert(pooled(1, 13, 2_000), standing(0, RICH)), Err(PoolRefused::Full));
    assert_eq!(pool.insert(pooled(2, 1, 1_000), standing(0, RICH)), Err(PoolRefused::Full));
    // Who pays more may wait for a missing nonce instead, and what can run needs no such place.
    pool.insert(pooled(2, 1, 1_001), standing(0, RICH)).unwrap();
    assert_eq!(pool.len(), 3);
    for sender in 3..8 {
        pool.insert(pooled(sender, 0, 5), standing(0, RICH)).unwrap();
    }
    assert_eq!(pool.len(), 8);
    for sender in 8..11 {
        pool.insert(pooled(sender, 0, 2), standing(0, RICH)).unwrap();
    }
    assert_eq!((pool.len(), pool.gapped), (8, 0));
    assert_eq!(pool.insert(pooled(11, 0, 2), standing(0, RICH)), Err(PoolRefused::Full));
    assert_eq!(pool.insert(pooled(11, 1, 9), standing(0, RICH)), Err(PoolRefused::Full));
}

#[test]
fn what_waits_for_a_nonce_does_not_wait_for_ever() {
    let mut pool = pool(64, 16);
    let seen = Standing { height: 50, next: 0, balance: RICH };
    pool.insert(pooled(1, 0, 10), seen).unwrap();
    pool.insert(pooled(1, 2, 10), seen).unwrap();
    pool.insert(pooled(2, 1, 10), seen).unwrap();
    pool.finalized(49 + GAP_BLOCKS, []);
    assert_eq!(pool.len(), 3);
    // The missing one may still come.
    pool.insert(pooled(2, 0, 10), seen).unwrap();
    pool.finalized(50 + GAP_BLOCKS, []);
    assert_eq!(all(&pool), [(1, 0, 10), (2, 0, 10), (2, 1, 10)]);
    assert_eq!((pool.len(), pool.gapped), (3, 0));
}

#[test]
fn what_takes_longer_than_a_block_is_tried_last_and_goes() {
    let mut pool = pool(64, 16);
    pool.insert(pooled(1, 0, 100), standing(0, RICH)).unwrap();
    pool.insert(pooled(2, 0, 10), standing(0, RICH)).unwrap();
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
        pool.insert(pooled(1, nonce, 10), standing(0, RICH)).unwrap();
    }
    pool.check(Address::repeat_byte(1), 1, U256::from(25));
    assert_eq!(all(&pool), [(1, 1, 10), (1, 2, 10)]);
}

#[test]
fn a_large_newcomer_evicts_several_or_nothing() {
    let mut pool = pool(16, 4);
    for sender in 1..=4 {
        pool.insert(pooled(sender, 0, u128::from(sender) * 10), standing(0, RICH)).unwrap();
    }
    let large = |fee| Pooled { bytes: 300, ..pooled(9, 0, fee) };
    assert_eq!(pool.insert(large(30), standing(0, RICH)), Err(PoolRefused::Full));
    assert_eq!(pool.len(), 4);
    pool.insert(large(31), standing(0, RICH)).unwrap();
    assert_eq!(all(&pool), [(4, 0, 40), (9, 0, 31)]);
}

#[test]
fn suspects_are_checked_against_final_state_only() {
    let mut pool = pool(16, 16);
    pool.insert(pooled(1, 0, 10), standing(0, RICH)).unwrap();
    pool.insert(pooled(1, 1, 90), standing(0, RICH)).unwrap();
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
    pool.insert(pooled(1, 7, 10), Standing { height: 4, next: 7, balance: RICH }).unwrap();
    // The block takes the sender's only transaction, and the sender leaves the pool with it.
    pool.finalized(5, [(sender, 7)]);
    assert!(pool.take_suspects().is_empty());
    // The next one comes with what was read before that block.
    pool.insert(pooled(1, 8, 10), Standing { height: 4, next: 7, balance: RICH }).unwrap();
    assert!(all(&pool).is_empty(), "nonce 7 seems to be missing");
    assert_eq!(pool.take_suspects().into_iter().collect::<Vec<_>>(), [sender]);
    pool.check(sender, 8, RICH);
    assert_eq!(all(&pool), [(1, 8, 10)]);
}

#[test]
fn blobs_are_bounded_carried_once_and_kept_until_final() {
    let mut blobs = Blobs::default();
    let blob = |n: u8, size: usize| Bytes::from(vec![n; size]);
    assert_eq!(blobs.insert(Bytes::new()), Err(BlobRefused::Size(0)));
    let large = blob(1, MAX_BLOBS_BYTES + 1);
    assert_eq!(blobs.insert(large), Err(BlobRefused::Size(MAX_BLOBS_BYTES + 1)));
    let first = blobs.insert(blob(1, 10)).unwrap();
    assert_eq!(first, blob_hash(&blob(1, 10)));
    assert_eq!(blobs.insert(blob(1, 10)), Err(BlobRefused::Known));
    blobs.insert(blob(2, MAX_BLOBS_BYTES)).unwrap();
    blobs.insert(blob(3, 10)).unwrap();
    // The second does not fit beside the first, and the third does not overtake it.
    assert_eq!(blobs.candidates(&BTreeSet::new()), [blob(1, 10)]);
    assert_eq!(blobs.candidates(&BTreeSet::from([first])), [blob(2, MAX_BLOBS_BYTES)]);
    blobs.finalized([first, B256::ZERO]);
    assert_eq!(blobs.candidates(&BTreeSet::new()), [blob(2, MAX_BLOBS_BYTES)]);
    for n in 4..10 {
        blobs.insert(blob(n, MAX_BLOBS_BYTES)).unwrap();
    }
    assert_eq!(blobs.insert(blob(11, MAX_BLOBS_BYTES)), Err(BlobRefused::Full));
    assert!(blobs.bytes() <= super::blobs::QUEUE_BYTES);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u64, u128),
    Final(u8, u64),
    Check(u8, u64, u128),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..5, 0u64..8, 1u128..200).prop_map(|(s, n, f)| Step::Insert(s, n, f)),
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
                Step::Insert(sender, nonce, fee) => {
                    let before = pool.len();
                    if pool.insert(pooled(sender, nonce, fee), standing(0, RICH)).is_err() {
                        prop_assert_eq!(pool.len(), before);
                    }
                }
                Step::Final(sender, nonce) => pool.finalized(1, [(Address::repeat_byte(sender), nonce)]),
                Step::Check(sender, next, balance) => {
                    pool.check(Address::repeat_byte(sender), next, U256::from(balance));
                }
            }
            let waiting: Vec<_> = pool.senders.values().flat_map(|s| s.queue.values()).collect();
            prop_assert!(pool.len() <= 8 && pool.len() == waiting.len());
            prop_assert_eq!(pool.bytes, waiting.iter().map(|w| w.pooled.bytes).sum::<usize>());
            for state in pool.senders.values() {
                let cost = state.queue.values().map(|w| w.pooled.cost).sum::<U256>();
                prop_assert_eq!(state.cost, cost);
                prop_assert!(!state.queue.is_empty());
                prop_assert!(state.queue.keys().all(|nonce| *nonce >= state.next));
                prop_assert!((state.next..state.free).all(|nonce| state.queue.contains_key(&nonce)));
                prop_assert!(!state.queue.contains_key(&state.free));
                prop_assert_eq!(state.gapped, state.queue.range(state.free..).count());
                prop_assert!(state.tail.is_some() && state.tail == state.tail_before(u64::MAX));
            }
            let gapped = |state: &Sender<_>| state.gapped;
            prop_assert_eq!(pool.gapped, pool.senders.values().map(gapped).sum::<usize>());
            prop_assert_eq!(pool.gaps.len(), pool.senders.values().filter(|s| s.gapped > 0).count());
            let tails: BTreeSet<_> = pool.senders.values().filter_map(|s| s.tail).collect();
            prop_assert_eq!(&pool.tails, &tails);
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
}
