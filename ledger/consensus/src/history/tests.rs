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

pub(crate) fn open(file: &MemoryFile, retention: Retention) -> History {
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
fn a_history_may_begin_in_the_middle_and_says_so() {
    let file = MemoryFile::new();
    let history = open(&file, Retention::default());
    for height in 0..3 {
        history.record(&block(height, 1), &Undo::from([(key(1), None)])).unwrap();
    }
    assert_eq!((history.first().unwrap(), history.oldest_state().unwrap()), (0, 0));
    let at = block(10, 1);
    history.begin(&at.header).unwrap();
    history.begin(&at.header).unwrap();
    assert!(matches!(history.begin(&block(10, 2).header), Err(HistoryError::Conflict(10))));
    assert!(matches!(history.begin(&block(9, 1).header), Err(HistoryError::Conflict(9))));
    history.record(&block(11, 1), &Undo::from([(key(1), None)])).unwrap();

    // Also after a restart.
    drop(history);
    let history = open(&file.crash(), Retention::default());
    assert_eq!((history.first().unwrap(), history.head().unwrap()), (11, Some(11)));
    assert_eq!(history.oldest_state().unwrap(), 10);
    let before = |height: u64| {
        let error = history.finalized(height).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("block {height} is before this node's first height 11: ask an archive")
        );
        assert!(history.receipts(height).is_err());
    };
    for height in 3..=10 {
        before(height);
    }
    // Of the block it began at it has the header, and what it had before stays readable.
    assert_eq!(history.header(10).unwrap().unwrap(), at.header);
    assert_eq!(history.height_of(at.hash).unwrap(), Some(10));
    assert!(matches!(history.header(9), Err(HistoryError::Before { height: 9, first: 11 })));
    assert_eq!(history.finalized(2).unwrap().unwrap(), block(2, 1));
    assert_eq!(history.finalized(11).unwrap().unwrap(), block(11, 1));
    assert_eq!(history.finalized(12).unwrap(), None);
    assert!(matches!(history.candidates(2..=11, |_| true, 9), Err(HistoryError::Before { .. })));
    assert_eq!(history.candidates(11..=12, |_| true, 9).unwrap(), [11]);
    assert!(history.overwritten(&key(1), 9, 11).is_err());
    assert_eq!(history.overwritten(&key(1), 10, 11).unwrap(), Some(None));

    // A second time: the first beginning is a block without a body and goes.
    history.begin(&block(20, 1).header).unwrap();
    assert!(history.header(10).is_err());
    assert_eq!(history.height_of(at.hash).unwrap(), None);
    assert_eq!(history.finalized(11).unwrap().unwrap(), block(11, 1));
    assert_eq!(history.oldest_state().unwrap(), 20);
    assert_eq!(history.link(3).unwrap(), None);
    history.keep_link(3, b"link").unwrap();
    assert_eq!(history.link(3).unwrap().as_deref(), Some(&b"link"[..]));
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
    assert!(txn.delete_table(terms::COMMITTEES).unwrap());
    txn.commit().unwrap();
    history.close();
    let history = open(&file, Retention::default());
    assert_eq!(history.head().unwrap(), Some(0));
    assert_eq!(history.committee(0).unwrap(), None);
}

/// Numbers that are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A file of a history that was written to and closed, or left open as by kill -9.
fn recorded(closed: bool) -> MemoryFile {
    let file = MemoryFile::new();
    let history = open(&file, Retention { undo: 8, blobs: None });
    for height in 0..40 {
        let undo = (0..20).map(|n| (key(n), Some(value(height)))).collect();
        history.record(&block(height, 1), &undo).unwrap();
    }
    if closed {
        drop(history);
        return file;
    }
    file.crash()
}

/// One thing that a lying disk does to a file.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) -> String {
    let at = dice.below(bytes.len());
    match dice.below(4) {
        0 => {
            bytes.truncate(at);
            format!("cut off at {at}")
        }
        1 => {
            let from = at / 4096 * 4096;
            let to = bytes.len().min(from + 4096 * (1 + dice.below(4)));
            bytes[from..to].fill(0);
            format!("zeros from {from} to {to}")
        }
        2 => {
            let bit = dice.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at}")
        }
        _ => {
            // Half of the flips hit the header and the first pages, where the structure is.
            let at = dice.below(bytes.len().min(16_384));
            bytes[at] = bytes[at].wrapping_add(1 + u8::try_from(dice.below(255)).unwrap());
            format!("byte {at}")
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_that_names_it_and_never_a_panic() {
    let (mut dice, mut refused, mut whole) = (Dice(3), 0, 0);
    for closed in [true, false] {
        let sound = recorded(closed).bytes();
        for _ in 0..400 {
            let mut bytes = sound.clone();
            let what = damage(&mut bytes, &mut dice);
            match reopened(bytes) {
                Ok(()) => whole += 1,
                Err(HistoryError::Damaged { file, why }) => {
                    assert!(file.ends_with("history.redb") || file.ends_with("in memory"));
                    let text = HistoryError::Damaged { file, why }.to_string();
                    assert!(text.contains("start with an empty one"), "{text}");
                    refused += 1;
                }
                // The digest itself is what was damaged.
                Err(HistoryError::Genesis { .. }) => refused += 1,
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }
    assert!(refused > 100 && whole > 0, "{refused} refused, {whole} whole");
}

/// Opens damaged bytes as after the machine went down. If that succeeds, all that is in them is as it was
/// recorded; the last blocks may be gone.
fn reopened(bytes: Vec<u8>) -> Result<(), HistoryError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let file = MemoryFile::of(bytes);
    let history = History::open_in(file, GENESIS, Retention { undo: 8, blobs: None })?;
    history.check(Path::new("data/history.redb"))?;
    let Some(head) = history.head()? else { return Ok(()) };
    for height in 0..=head {
        assert_eq!(history.finalized(height)?.unwrap(), block(height, 1));
    }
    Ok(())
}
