use super::*;
use crate::{
    history::{MemoryFile, Retention, Undo, tests::block},
    mempool::Limits,
    query, testing,
};
use alloy_primitives::keccak256;

/// A block is recorded before its state is applied. Between the two its transactions still wait.
#[test]
fn a_receipt_is_seen_once_its_state_can_be_read() {
    let raw = Bytes::from(testing::transfer(1, 0, 5));
    let hash = keccak256(&raw);
    let mut next = block(1, 1);
    next.transactions = vec![raw.clone()];
    let history = History::open_in(MemoryFile::new(), B256::ZERO, Retention::default()).unwrap();
    history.record(&block(0, 1), &Undo::new()).unwrap();
    history.record(&next, &Undo::new()).unwrap();
    let (applied, head) = watch::channel(Arc::new(block(0, 1)));
    let (queries, _questions) = query::lanes();
    let ledger = Ledger(Arc::new(Inner {
        genesis: Arc::new(testing::genesis(1, 10)),
        genesis_hash: B256::ZERO,
        history: Arc::new(history),
        queues: Arc::new(Queues::new(Limits::default(), crate::recovery::Recovery::sequential())),
        head,
        queries,
        faults: watch::channel(Vec::new()).1,
    }));
    assert_eq!(ledger.transaction(hash).unwrap(), None);
    let waiting = ledger.waiting(hash).unwrap().unwrap();
    assert_eq!(*waiting.tx_hash(), hash);
    applied.send_replace(Arc::new(next));
    assert_eq!(ledger.transaction(hash).unwrap().unwrap().transaction, raw);
    assert!(ledger.waiting(hash).unwrap().is_none());
}
