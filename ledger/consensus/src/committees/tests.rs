use super::*;
use crate::{
    MemoryFile, Retention,
    header::StateCommitment,
    history::{Undo, tests::block},
    testing::{genesis, keys},
};
use alloy_primitives::Address;
use execution::{Key, StoreError, Value};
use futures::executor::block_on;

/// A state in memory.
struct Memory(BTreeMap<Key, Value>);

impl Store for Memory {
    async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        Ok(self.0.get(key).copied())
    }
}

fn length() -> NonZeroU64 {
    NonZeroU64::new(5).unwrap()
}

fn committee(names: &[u8]) -> Arc<Committee> {
    let validators: Vec<_> =
        names.iter().map(|n| keys(*n).validator(Address::repeat_byte(*n))).collect();
    Arc::new(Committee::new(&validators).unwrap())
}

fn digests(committees: &Committees, terms: &[u64]) -> Vec<Option<B256>> {
    terms.iter().map(|term| committees.get(*term).map(|seats| seats.digest())).collect()
}

#[test]
fn terms_are_ranges_of_heights() {
    let committees = Committees::new(length(), committee(&[1]));
    assert_eq!([0, 4, 5, 9, 10].map(|height| committees.term(height)), [0, 0, 1, 1, 2]);
    assert_eq!((committees.first_height(2), committees.last_height(2)), (10, 14));
    assert_eq!(committees.last_height(u64::MAX), u64::MAX - 1);
}

#[test]
fn a_ledger_without_the_contract_keeps_its_first_committee() {
    let file = genesis(2, 5);
    let first = Arc::new(file.check().unwrap());
    let state =
        StateCommitment { root: B256::ZERO, ops_root: B256::ZERO, ops_start: 0, ops_end: 1 };
    let header = file.block(&first, state).header().clone();
    let mut bare = execution::genesis(&execution::Genesis::default());
    bare.retain(|key, _| !matches!(key, Key::Account(address) if *address == VALIDATORS));
    let committees = Committees::new(length(), Arc::clone(&first));
    for height in [0, 3, 4, 48, 49] {
        let parent = Header { height, ..header.clone() };
        let seats = block_on(committees.seats(&Memory(bare.clone()), &parent)).unwrap();
        assert_eq!((seats.running.digest(), seats.named), (first.digest(), first.digest()));
    }
}

#[test]
fn the_oldest_terms_are_forgotten() {
    let committees = Committees::new(length(), committee(&[1]));
    for term in 1..=20 {
        committees.insert(term, committee(&[2]));
    }
    assert!(committees.get(4).is_none());
    assert_eq!((5..=20).filter(|term| committees.get(*term).is_some()).count(), TERMS_KEPT);
}

#[test]
fn a_start_recalls_the_terms_around_the_head() {
    let [first, second, third] = [committee(&[1]), committee(&[1, 2]), committee(&[2, 3])];
    let file = MemoryFile::new();
    let open = || History::open_in(file.clone(), B256::ZERO, Retention::default()).unwrap();
    let history = open();
    for height in 0..=11 {
        history.record(&block(height, 1), &Undo::new()).unwrap();
    }
    for (term, seats) in [(0, &first), (1, &second), (2, &third), (3, &first)] {
        history.record_committee(term, seats).unwrap();
    }
    // What is recorded stays.
    history.record_committee(1, &third).unwrap();
    let seats: Vec<_> = second.validators().copied().collect();
    assert_eq!(history.committee(1).unwrap(), Some(seats));
    assert_eq!(history.committee(4).unwrap(), None);
    history.close();
    drop(history);
    let committees = Committees::new(length(), Arc::clone(&first));
    committees.recall(&open()).unwrap();
    let expected = [&second, &third, &first].map(|seats| Some(seats.digest()));
    assert_eq!(digests(&committees, &[1, 2, 3]), expected);
}
