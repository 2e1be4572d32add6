//! Blocks: receipts, deployments, undo, stores, proposals.

use crate::support::*;
use alloy_consensus::{TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::{eip2718::Encodable2718 as _, eip7702::Authorization};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use execution::{
    BASE_FEE_FLOOR, Call, CallOutcome, ExecuteError, InvalidTx, Key, MemoryStore, Store,
    StoreError, Value, account_at, code_at, decode, execute_block,
};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn fee(gas: u64) -> U256 {
    U256::from(gas) * U256::from(u128::from(BASE_FEE_FLOOR) + TIP)
}

#[test]
fn a_transfer_burns_the_base_fee_and_pays_the_tip() {
    let mut chain = Chain::new();
    let (mut a, b) = (User::new(1), User::new(2));
    let outcome = chain.run(&[a.pay(b.address(), coins(7))]);
    assert_eq!(outcome.gas_used, 21_000);
    assert_eq!(outcome.burned, U256::from(21_000) * U256::from(BASE_FEE_FLOOR));
    assert_eq!(chain.balance(a.address()), coins(993) - fee(21_000));
    assert_eq!(chain.balance(b.address()), coins(1_007));
    assert_eq!(chain.balance(BENEFICIARY), U256::from(21_000) * U256::from(TIP));
    assert_eq!(chain.nonce(a.address()), 1);
    let receipt = &outcome.receipts[0];
    assert!(receipt.envelope.is_success());
    assert_eq!(receipt.gas_price, u128::from(BASE_FEE_FLOOR) + TIP);
    assert_eq!((receipt.gas_used, receipt.created), (21_000, None));
}

#[test]
fn every_type_the_ledger_takes_runs() {
    let mut chain = Chain::new();
    let (a, b) = (User::new(1), User::new(2));
    let to = TxKind::Call(Address::repeat_byte(9));
    let legacy = TxLegacy {
        chain_id: Some(CHAIN),
        gas_price: MAX_FEE,
        gas_limit: 21_000,
        to,
        value: U256::from(1),
        ..TxLegacy::default()
    };
    let access = TxEip2930 {
        chain_id: CHAIN,
        nonce: 1,
        gas_price: MAX_FEE,
        gas_limit: 21_000,
        to,
        value: U256::from(1),
        ..TxEip2930::default()
    };
    let target = Address::repeat_byte(0xcc);
    let grant = Authorization { chain_id: U256::from(CHAIN), address: target, nonce: 0 };
    let delegation = TxEip7702 {
        chain_id: CHAIN,
        nonce: 2,
        gas_limit: 100_000,
        max_fee_per_gas: MAX_FEE,
        to: b.address(),
        authorization_list: vec![grant.clone().into_signed(b.sign_hash(grant.signature_hash()))],
        ..TxEip7702::default()
    };
    chain.install(target, &Asm::new().push(1).push(5).op(&[op::SSTORE]).0);
    let txs = [a.sign(legacy), a.sign(access), a.sign(delegation)];
    let outcome = chain.run(&txs);
    let types: Vec<u8> = outcome.receipts.iter().map(|r| r.envelope.tx_type().into()).collect();
    assert_eq!(types, [0, 1, 4]);
    assert!(outcome.receipts.iter().all(|r| r.envelope.is_success()));
    assert_eq!(chain.balance(Address::repeat_byte(9)), U256::from(2));
    // The account b runs the code it delegated to, on its own storage.
    assert_eq!(chain.slot(b.address(), 5), U256::from(1));
    let code = block_on(async {
        let account = account_at(&chain.store, b.address()).await.unwrap();
        code_at(&chain.store, account.code_hash).await.unwrap()
    });
    assert_eq!(code, [&[0xef, 0x01, 0x00][..], target.as_slice()].concat());
    // And the delegation is read back from its chunks in a later block.
    let mut a = a;
    a.nonce = 3;
    chain.store.0.remove(&Key::Slot(b.address(), U256::from(5)));
    assert!(chain.run(&[a.call(b.address(), 60_000, [])]).receipts[0].envelope.is_success());
    assert_eq!(chain.slot(b.address(), 5), U256::from(1));
}

#[test]
fn a_contract_of_many_chunks_is_deployed_and_runs() {
    let mut chain = Chain::new();
    let mut a = User::new(1);
    // The last instruction lies behind 5,000 bytes of code: all chunks must come back in order.
    let far = 6 + 5_000;
    let filler: Vec<u8> = (0..5_000u32).map(|n| u8::try_from(n % 89).unwrap()).collect();
    let code = Asm::new()
        .push(far)
        .op(&[op::JUMP])
        .op(&filler)
        .op(&[op::JUMPDEST])
        .push(4_242)
        .return_word();
    let address = a.next_contract();
    let outcome = chain.run(&[a.send(TxKind::Create, U256::ZERO, 3_000_000, code.deploy())]);
    assert_eq!(outcome.receipts[0].created, Some(address));
    let hash = keccak256(&code.0);
    let chunks =
        outcome.writes.keys().filter(|k| matches!(k, Key::Code(h, _) if *h == hash)).count();
    assert_eq!(chunks, 1 + (code.0.len() - 68).div_ceil(72));
    assert!(chunks > 24);
    assert_eq!(block_on(code_at(&chain.store, hash)).unwrap(), code.0);
    let result = chain.call(&Call { to: Some(address), ..Call::default() }).unwrap();
    assert_eq!(result.outcome, CallOutcome::Returned(word(4_242)));

    // The same code again writes no chunk again, and its undo must not remove them.
    let again =
        chain.try_run(&[a.send(TxKind::Create, U256::ZERO, 3_000_000, code.deploy())]).unwrap();
    assert!(again.receipts[0].created.is_some());
    assert!(!again.writes.keys().any(|k| matches!(k, Key::Code(..))), "{:?}", again.writes.keys());
}

#[test]
fn undo_restores_the_state_to_the_bit() {
    let mut chain = Chain::new();
    let (mut a, mut b) = (User::new(1), User::new(2));
    let code = Asm::new().push(0).op(&[op::CALLDATALOAD]).push(0).op(&[op::SSTORE]);
    let mut states = vec![chain.store.clone()];
    let mut undos = Vec::new();
    let contract = a.next_contract();
    let blocks = [
        vec![
            a.send(TxKind::Create, U256::ZERO, 200_000, code.deploy()),
            b.pay(a.address(), coins(1)),
        ],
        vec![a.call(contract, 100_000, word(5)), b.pay(Address::repeat_byte(0x77), coins(2))],
        vec![],
        vec![a.call(contract, 100_000, word(0))],
        vec![a.send(TxKind::Create, U256::ZERO, 200_000, code.deploy())],
    ];
    for txs in blocks {
        let outcome = chain.run(&txs);
        assert_eq!(
            outcome.writes.keys().collect::<Vec<_>>(),
            outcome.undo.keys().collect::<Vec<_>>()
        );
        for (key, value) in &outcome.writes {
            assert_ne!(outcome.undo[key], *value, "{key:?} is written without a change");
        }
        undos.push(outcome.undo);
        states.push(chain.store.clone());
    }
    assert_eq!(chain.slot(contract, 0), U256::ZERO);
    for (undo, before) in undos.iter().zip(&states).rev() {
        chain.store.apply(undo);
        assert_eq!(chain.store, *before);
    }
}

#[test]
fn the_store_may_be_slow_and_is_asked_each_key_once() {
    let mut chain = Chain::new();
    let mut a = User::new(1);
    let reader = Address::repeat_byte(0xcc);
    // Reads slots n-1 down to 0, where n is the calldata.
    let code = Asm::new()
        .push(0)
        .op(&[op::CALLDATALOAD, op::JUMPDEST])
        .push(1)
        .op(&[op::SWAP1, op::SUB, op::DUP1, op::SLOAD, op::POP, op::DUP1])
        .push(6)
        .op(&[op::JUMPI]);
    chain.install(reader, &code.0);
    let slots = 2_000;
    let txs = [a.call(reader, 10_000_000, word(slots)), a.call(reader, 10_000_000, word(slots))];
    let fast = chain.try_run(&txs).unwrap();
    let slow = Slow { base: chain.store.clone(), ..Slow::default() };
    let outcome = block_on(execute_block(&slow, &chain.env(), &txs)).unwrap();
    assert_eq!(outcome, fast);
    let mut asked = slow.asked.into_inner().unwrap();
    let count = asked.len();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(
        asked.len(),
        count,
        "no key is asked for twice, by a second run or a second transaction"
    );
    assert_eq!(u64::try_from(count).unwrap(), outcome.loads);
    // Slots, three accounts, the code, the slot of the parent's hash, the length of a term.
    assert_eq!(outcome.loads, slots + 6);
    assert_eq!(outcome.receipts[0].gas_used, outcome.receipts[1].gas_used);
}

#[test]
fn block_hashes_come_from_state() {
    let mut chain = Chain::new();
    for _ in 0..5 {
        chain.run(&[]);
    }
    let probe = Address::repeat_byte(0xcc);
    chain
        .install(probe, &Asm::new().push(0).op(&[op::CALLDATALOAD, op::BLOCKHASH]).return_word().0);
    let ask = |chain: &Chain, to: Address, n: u64| {
        let call = Call { to: Some(to), data: word(n), ..Call::default() };
        chain.call(&call).unwrap().outcome
    };
    // Calls run in block 6, over the state after block 5, which knows its parents up to block 4.
    assert_eq!(ask(&chain, probe, 4), CallOutcome::Returned(block_hash(4).0.into()));
    assert_eq!(ask(&chain, probe, 0), CallOutcome::Returned(block_hash(0).0.into()));
    assert_eq!(ask(&chain, probe, 6), CallOutcome::Returned(B256::ZERO.0.into()));
    let history = alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS;
    assert_eq!(ask(&chain, history, 3), CallOutcome::Returned(block_hash(3).0.into()));
    assert!(matches!(ask(&chain, history, 6), CallOutcome::Reverted(_)));
}

#[test]
fn an_invalid_transaction_makes_a_block_invalid() {
    let chain = Chain::new();
    let mut a = User::new(1);
    let first = a.pay(BENEFICIARY, coins(1));
    a.nonce += 1;
    let gap = a.pay(BENEFICIARY, coins(1));
    let error = chain.try_run(&[first.clone(), gap]).unwrap_err();
    assert!(
        matches!(
            error,
            ExecuteError::Invalid {
                index: 1,
                reason: InvalidTx::NonceTooHigh { tx: 2, account: 1 }
            }
        ),
        "{error}"
    );
    let error = chain.try_run(&[first.clone(), first]).unwrap_err();
    assert!(
        matches!(error, ExecuteError::Invalid { index: 1, reason: InvalidTx::NonceTooLow { .. } }),
        "{error}"
    );
}

#[test]
fn a_proposal_leaves_out_what_is_invalid_and_equals_its_verification() {
    let chain = Chain::new();
    let (mut a, mut b, mut poor) = (User::new(1), User::new(2), User::new(77));
    let reader = a.next_contract();
    let code = Asm::new().push(1).op(&[op::SLOAD]).return_word();
    let mut candidates = vec![
        a.send(TxKind::Create, U256::ZERO, 200_000, code.deploy()),
        poor.pay(BENEFICIARY, coins(1)),
        b.pay(poor.address(), coins(3)),
        a.call(reader, 100_000, []),
    ];
    candidates.push(candidates[0].clone());
    poor.nonce = 0;
    candidates.push(poor.pay(BENEFICIARY, coins(1)));
    b.nonce += 5;
    candidates.push(b.pay(BENEFICIARY, coins(1)));
    let cheap = TxLegacy {
        chain_id: Some(CHAIN),
        nonce: 2,
        gas_price: 1,
        gas_limit: 21_000,
        to: TxKind::Call(BENEFICIARY),
        ..TxLegacy::default()
    };
    candidates.push(a.sign(cheap));
    let proposal = chain.propose(&candidates);
    assert_eq!(proposal.included, [0, 2, 3, 5]);
    let reasons: Vec<_> =
        proposal.skipped.iter().map(|s| (s.index, s.reason.may_become_valid())).collect();
    assert_eq!(reasons, [(1, true), (4, false), (6, true), (7, true)], "{:?}", proposal.skipped);
    assert!(matches!(proposal.skipped[3].reason, InvalidTx::BelowBaseFee { max_fee: 1, .. }));
    let chosen: Vec<_> = proposal.included.iter().map(|i| candidates[*i].clone()).collect();
    assert_eq!(chain.try_run(&chosen).unwrap(), proposal.outcome);
}

#[test]
fn failed_transactions_pay_and_leave_nothing_else() {
    let mut chain = Chain::new();
    let mut a = User::new(1);
    let reverts = Address::repeat_byte(0xc1);
    let loops = Address::repeat_byte(0xc2);
    let write = Asm::new().push(1).push(1).op(&[op::SSTORE]);
    let log = write.push(7).push(0).push(0).op(&[op::LOG1]);
    chain.install(reverts, &log.clone().push(0).push(0).op(&[op::REVERT]).0);
    let at = u32::try_from(log.0.len()).unwrap();
    chain.install(loops, &log.op(&[op::JUMPDEST]).push(at).op(&[op::JUMP]).0);
    let before = chain.balance(a.address());
    let outcome = chain.run(&[a.call(reverts, 100_000, []), a.call(loops, 100_000, [])]);
    for receipt in &outcome.receipts {
        assert!(!receipt.envelope.is_success());
        assert!(receipt.envelope.logs().is_empty());
    }
    assert!(outcome.receipts[0].gas_used < 50_000);
    assert_eq!(outcome.receipts[1].gas_used, 100_000, "out of gas takes all");
    assert_eq!(outcome.receipts[1].envelope.cumulative_gas_used(), outcome.gas_used);
    assert_eq!(chain.balance(a.address()), before - fee(outcome.gas_used));
    assert_eq!(chain.nonce(a.address()), 2);
    assert_eq!((chain.slot(reverts, 1), chain.slot(loops, 1)), (U256::ZERO, U256::ZERO));
}

#[test]
fn a_contract_destroyed_in_its_own_creation_leaves_nothing() {
    let mut chain = Chain::new();
    let mut a = User::new(1);
    let init = Asm::new()
        .push(1)
        .push(1)
        .op(&[op::SSTORE])
        .push_address(BENEFICIARY)
        .op(&[op::SELFDESTRUCT]);
    let gone = a.next_contract();
    let outcome = chain.run(&[a.send(TxKind::Create, coins(1), 200_000, init.0)]);
    assert!(outcome.receipts[0].envelope.is_success());
    assert!(!chain.store.0.contains_key(&Key::Account(gone)));
    assert_eq!(chain.slot(gone, 1), U256::ZERO);
    assert!(chain.balance(BENEFICIARY) > coins(1));
}

#[test]
fn decoding_takes_what_was_encoded_and_nothing_more() {
    let mut a = User::new(1);
    let tx = a.pay(BENEFICIARY, coins(1));
    let bytes = tx.inner().encoded_2718();
    assert_eq!(decode(&bytes).unwrap(), tx);
    assert!(decode(&bytes[..bytes.len() - 1]).is_err());
    assert!(decode(&[bytes.clone(), vec![0]].concat()).is_err());
    assert!(decode(&[]).is_err());
    let long = a.send(TxKind::Create, U256::ZERO, 1, Bytes::from(vec![0; 128 * 1024]));
    assert!(matches!(
        decode(&long.inner().encoded_2718()),
        Err(execution::DecodeError::TooLong(_))
    ));
}

/// Counts what it is asked.
#[derive(Default)]
struct Counting {
    base: MemoryStore,
    questions: AtomicUsize,
}

impl Store for Counting {
    async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        self.questions.fetch_add(1, Relaxed);
        self.base.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Value>>, StoreError> {
        self.questions.fetch_add(1, Relaxed);
        self.base.get_many(keys).await
    }
}

#[test]
fn accounts_that_transactions_begin_with_are_read_together() {
    let chain = Chain::new();
    let mut a = User::new(1);
    let to = |n: u64| Address::left_padding_from(&(n + (1 << 40)).to_be_bytes());
    let txs: Vec<_> = (0..300).map(|n| a.pay(to(n), U256::from(1))).collect();
    let store = Counting { base: chain.store.clone(), ..Counting::default() };
    let outcome = block_on(execute_block(&store, &chain.env(), &txs)).unwrap();
    assert!(outcome.loads > 300, "each counts, however it was read: {}", outcome.loads);
    assert!(store.questions.load(Relaxed) < 20, "{:?}", store.questions);
    // What is read for candidates that then do not run counts for nothing.
    let unpaid = [a.pay(to(900), U256::MAX), a.pay(to(901), U256::MAX)];
    let proposal = chain.propose(&[&txs[..], &unpaid].concat());
    assert_eq!((proposal.included.len(), proposal.outcome), (300, outcome));
}
