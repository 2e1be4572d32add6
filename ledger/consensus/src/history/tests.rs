use super::*;
use alloy_consensus::TxReceipt as _;
use alloy_primitives::{Address, Log, LogData};
use execution::ReceiptEnvelope;
use proptest::prelude::*;

const GENESIS: B256 = B256::repeat_byte(0x11);

fn receipt(status: bool, logs: u8) -> Receipt {
    let logs = (0..logs)
        .map(|n| Log {
            address: Address::repeat_byte(n),
            data: LogData::new_unchecked(vec![B256::repeat_byte(n)], vec![n; 5].into()),
        })
        .collect();
    let receipt = alloy_consensus::Receipt {
        status: alloy_consensus::Eip658Value::Eip658(status),
        cumulative_gas_used: 21_000,
        logs,
    };
    Receipt {
        envelope: ReceiptEnvelope::from_typed(alloy_consensus::TxType::Eip1559, receipt),
        gas_used: 21_000,
        gas_price: 7,
        created: status.then_some(Address::repeat_byte(9)),
    }
}

/// A block at `height` with one transaction and one blob, distinguished by `salt`.
pub(crate) fn block(height: u64, salt: u8) -> Finalized {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut header = {
        use proptest::strategy::ValueTree as _;
        crate::header::tests::header().new_tree(&mut runner).unwrap().current()
    };
    header.height = height;
    header.logs_bloom = receipt(true, 3).envelope.bloom();
    let body = Body {
        transactions: vec![Bytes::from(vec![
            salt,
            height.to_le_bytes()[0],
            height.to_le_bytes()[1],
        ])],
        blobs: vec![Bytes::from(vec![salt; 10])],
    };
    let block = Block::build(header, body).unwrap();
    Finalized {
        hash: block.hash(),
        header: block.header().clone(),
        transactions: block.transactions().to_vec(),
        receipts: vec![receipt(true, 3)],
        blobs: Some(block.blobs().to_vec()),
    }
}

fn key(n: u8) -> [u8; 32] {
    [n; 32]
}

fn value(n: u64) -> Value {
    let mut value = [0; VALUE_BYTES];
    value[..8].copy_from_slice(&n.to_be_bytes());
    value
}

fn open(file: &MemoryFile, retention: Retention) -> History {
    History::open_in(file.clone(), GENESIS, retention).unwrap()
}

#[test]
fn receipts_are_read_as_written() {
    for receipt in [receipt(true, 0), receipt(false, 3), receipt(true, 7)] {
        assert_eq!(decode_receipt(&encode_receipt(&receipt)).unwrap(), receipt);
    }
    let bytes = encode_receipt(&receipt(true, 1));
    for cut in 0..bytes.len() {
        assert!(decode_receipt(&bytes[..cut]).is_err());
    }
}

#[test]
fn blocks_are_found_by_height_hash_and_transaction() {
    let history = open(&MemoryFile::new(), Retention::default());
    assert_eq!(history.head().unwrap(), None);
    for height in 0..5 {
        history.record(&block(height, 1), &Undo::new()).unwrap();
    }
    assert_eq!(history.head().unwrap(), Some(4));
    let third = block(3, 1);
    assert_eq!(history.finalized(3).unwrap().unwrap(), third);
    assert_eq!(history.header(3).unwrap().unwrap(), third.header);
    assert_eq!(history.height_of(third.hash).unwrap(), Some(3));
    assert_eq!(history.receipts(3).unwrap().unwrap(), third.receipts);
    let hash = third.transaction_hashes().next().unwrap();
    let located = history.transaction(hash).unwrap().unwrap();
    assert_eq!(located.place, Place { height: 3, index: 0 });
    assert_eq!((located.block, located.transaction), (third.hash, third.transactions[0].clone()));
    assert_eq!(history.finalized(5).unwrap(), None);
    assert_eq!(history.receipts(5).unwrap(), None);
    assert_eq!(history.height_of(B256::ZERO).unwrap(), None);
    assert_eq!(history.transaction(B256::ZERO).unwrap(), None);
}

#[test]
fn recording_is_idempotent_and_refuses_conflicts_and_gaps() {
    let history = open(&MemoryFile::new(), Retention::default());
    for height in 0..3 {
        history.record(&block(height, 1), &Undo::new()).unwrap();
    }
    history.record(&block(1, 1), &Undo::from([(key(1), None)])).unwrap();
    history.record(&block(2, 1), &Undo::new()).unwrap();
    let conflict = history.record(&block(2, 2), &Undo::new()).unwrap_err();
    assert!(matches!(conflict, HistoryError::Conflict(2)));
    let gap = history.record(&block(4, 1), &Undo::new()).unwrap_err();
    assert!(matches!(gap, HistoryError::Gap { head: 2, height: 4 }));
    assert_eq!(history.head().unwrap(), Some(2));
}

#[test]
fn another_genesis_or_format_is_refused() {
    let file = MemoryFile::new();
    drop(open(&file, Retention::default()));
    let other = B256::repeat_byte(0x22);
    let error = History::open_in(file.crash(), other, Retention::default()).unwrap_err();
    assert!(matches!(error, HistoryError::Genesis { disk: GENESIS, given } if given == other));

    let db = builder().create_with_backend(file.crash()).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(META).unwrap().insert("format", &[9][..]).unwrap();
    txn.commit().unwrap();
    let error = History::prepare(db, GENESIS, Retention::default()).unwrap_err();
    assert!(matches!(error, HistoryError::Format(9)));
}

#[test]
fn a_closed_history_answers_nothing() {
    let history = open(&MemoryFile::new(), Retention::default());
    history.close();
    assert!(matches!(history.head(), Err(HistoryError::Closed)));
    assert!(matches!(history.record(&block(0, 1), &Undo::new()), Err(HistoryError::Closed)));
}

#[test]
fn a_power_cut_leaves_what_was_recorded() {
    let mut file = MemoryFile::new();
    for height in 0..6 {
        let history = open(&file, Retention::default());
        assert_eq!(history.head().unwrap(), u64::checked_sub(height, 1));
        history.record(&block(height, 1), &Undo::new()).unwrap();
        file = file.crash();
        drop(history);
    }
    let history = open(&file, Retention::default());
    assert_eq!(history.finalized(5).unwrap().unwrap(), block(5, 1));
}

#[test]
fn blobs_are_pruned_alone() {
    let history = open(&MemoryFile::new(), Retention { undo: 4, blobs: Some(2) });
    for height in 0..6 {
        history.record(&block(height, 1), &Undo::new()).unwrap();
    }
    for height in 0..6 {
        let read = history.finalized(height).unwrap().unwrap();
        assert_eq!(read.blobs.is_some(), height > 3, "height {height}");
        assert_eq!(read.transactions, block(height, 1).transactions);
        assert_eq!(read.receipts.len(), 1);
    }
}

/// A state that remembers everything, to compare with.
#[derive(Default)]
struct Model(Vec<BTreeMap<u8, u64>>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_undo_log_gives_every_past_value(
        blocks in proptest::collection::vec(
            proptest::collection::btree_map(0u8..6, proptest::option::of(1u64..100), 0..5), 1..40),
        undo in 1u64..12,
    ) {
        let file = MemoryFile::new();
        let history = open(&file, Retention { undo, blobs: None });
        history.record(&block(0, 1), &Undo::new()).unwrap();
        let mut model = Model(vec![BTreeMap::new()]);
        for (height, writes) in (1u64..).zip(&blocks) {
            let mut state = model.0.last().unwrap().clone();
            let undo: Undo = writes
                .keys()
                .map(|n| (key(*n), state.get(n).map(|old| value(*old))))
                .collect();
            for (n, new) in writes {
                match new {
                    Some(new) => state.insert(*n, *new),
                    None => state.remove(n),
                };
            }
            history.record(&block(height, 1), &undo).unwrap();
            model.0.push(state);
        }
        let now = u64::try_from(blocks.len()).unwrap();
        let oldest = history.oldest_state().unwrap();
        prop_assert_eq!(oldest, now.saturating_sub(undo));
        let present = model.0.last().unwrap();
        for (height, state) in (0u64..).zip(&model.0) {
            for n in 0..6 {
                let read = history.overwritten(&key(n), height, now);
                if height < oldest {
                    let pruned = matches!(read, Err(HistoryError::Pruned { .. }));
                    prop_assert!(pruned);
                    continue;
                }
                let current = present.get(&n).map(|n| value(*n));
                prop_assert_eq!(read.unwrap().unwrap_or(current), state.get(&n).map(|n| value(*n)));
            }
        }
    }
}

#[test]
fn an_older_file_gets_the_table_of_committees() {
    let file = MemoryFile::new();
    let history = open(&file, Retention::default());
    history.record(&block(0, 1), &Undo::new()).unwrap();
    // As the program before this table left it.
    let txn = history.begin_write().unwrap();
    assert!(txn.delete_table(COMMITTEES).unwrap());
    txn.commit().unwrap();
    history.close();
    let history = open(&file, Retention::default());
    assert_eq!(history.head().unwrap(), Some(0));
    assert_eq!(history.committee(0).unwrap(), None);
}
