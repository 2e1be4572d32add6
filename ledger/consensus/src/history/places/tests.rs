use super::*;
use crate::history::{
    Bytes, Finalized, MemoryFile, Retention, Undo, tests::block as one, tests::open,
};

/// Transactions of each block: fewer than are kept in memory, and no divisor of that.
const EACH: u64 = 17;

fn block(height: u64) -> Finalized {
    let first = one(height, 1);
    let transactions =
        (0..EACH).map(|index| Bytes::from([height.to_be_bytes(), index.to_be_bytes()].concat()));
    let receipts = (0..EACH).map(|_| first.receipts[0].clone()).collect();
    Finalized { transactions: transactions.collect(), receipts, ..first }
}

fn in_table(history: &History) -> usize {
    let txn = history.begin_read().unwrap();
    txn.open_table(PLACES).unwrap().iter().unwrap().count()
}

/// Every transaction up to `head` is found where it is, and no other.
fn all_found(history: &History, head: u64) {
    for height in 0..=head {
        for (index, hash) in (0..).zip(block(height).transaction_hashes()) {
            let located = history.transaction(hash).unwrap();
            assert_eq!(located.unwrap().place, Place { height, index }, "at head {head}");
        }
    }
    let next = block(head + 1).transaction_hashes().next().unwrap();
    assert_eq!(history.transaction(next).unwrap(), None);
}

#[test]
fn every_transaction_is_found_at_every_height_and_after_a_crash_at_each() {
    let file = MemoryFile::new();
    let history = open(&file, Retention::default());
    for height in 0..40 {
        history.record(&block(height), &Undo::new()).unwrap();
        all_found(&history, height);
        let mut crashed = open(&file.crash(), Retention::default());
        all_found(&crashed, height);
        // Blocks after the crash bring the rest into the table, as those without one do.
        for next in height + 1..height + 4 {
            crashed.record(&block(next), &Undo::new()).unwrap();
        }
        all_found(&crashed, height + 3);
        drop(crashed);
        crashed = open(&file.crash(), Retention::default());
        all_found(&crashed, height);
    }
}

#[test]
fn memory_is_bounded_and_so_is_what_opening_reads() {
    let file = MemoryFile::new();
    let history = open(&file, Retention::default());
    let (each, mut rounds, mut began) = (usize::try_from(EACH).unwrap(), 0, 0);
    for height in 0..100 {
        history.record(&block(height), &Undo::new()).unwrap();
        let all = each * usize::try_from(height + 1).unwrap();
        let waiting = history.places(|places| places.waiting.len()).unwrap();
        assert_eq!(in_table(&history) + waiting, all);
        assert!(waiting <= WAITING + each, "{waiting} wait at {height}");
        let from = unplaced(&history.begin_read().unwrap()).unwrap();
        assert!(from >= began);
        rounds += u64::from(from > began);
        began = from;
        assert!(
            usize::try_from(height - from).unwrap() * each <= 5 * WAITING,
            "{from} at {height}"
        );
    }
    assert!(rounds > 2);
}

#[test]
fn a_file_from_before_has_all_in_the_table() {
    let file = MemoryFile::new();
    let history = open(&file, Retention::default());
    for height in 0..3 {
        history.record(&block(height), &Undo::new()).unwrap();
    }
    let txn = history.begin_write().unwrap();
    for (hash, place) in &history.places(|places| places.waiting.clone()).unwrap() {
        txn.open_table(PLACES).unwrap().insert(hash, *place).unwrap();
    }
    txn.open_table(META).unwrap().remove(UNPLACED).unwrap();
    txn.open_table(META).unwrap().insert("format", &[1][..]).unwrap();
    txn.commit().unwrap();
    drop(history);
    let history = open(&file, Retention::default());
    assert!(history.places(|places| places.waiting.is_empty()).unwrap());
    for height in 3..20 {
        history.record(&block(height), &Undo::new()).unwrap();
    }
    drop(history);
    all_found(&open(&file, Retention::default()), 19);
}
