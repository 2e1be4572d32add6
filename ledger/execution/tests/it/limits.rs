//! Gas as Ethereum counts it, and the limits that are ours.

use crate::support::*;
use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip4844, TxEnvelope, TxLegacy};
use alloy_primitives::{Address, Bytes, TxKind, U256};
use execution::{
    Account, BLOCK_GAS_LIMIT, BLOCK_LOADS_MAX, ExecuteError, InvalidTx, Patience, Recovered,
    Skipped, TX_BYTES_MAX, TX_GAS_LIMIT, propose_block, validate,
};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Gas of a call to code that does nothing else but push, beyond the 21,000.
fn gas_of(chain: &mut Chain, a: &mut User, code: &Asm) -> u64 {
    let address = Address::repeat_byte(0xdd);
    chain.install(address, &code.0);
    chain.run(&[a.call(address, 200_000, [])]).gas_used - 21_000
}

#[test]
fn storage_costs_are_ethereums() {
    let mut chain = Chain::new();
    let mut a = User::new(1);
    let read = |slot| Asm::new().push(slot).op(&[op::SLOAD, op::POP]);
    let write = |slot, word| Asm::new().push(word).push(slot).op(&[op::SSTORE]);
    let both = |x: &Asm, y: &Asm| Asm([x.0.clone(), y.0.clone()].concat());
    // EIP-2929: cold 2,100, warm 100. A push costs 3, a pop 2.
    assert_eq!(gas_of(&mut chain, &mut a, &read(1)), 3 + 2_100 + 2);
    assert_eq!(gas_of(&mut chain, &mut a, &both(&read(1), &read(1))), 3 + 2_100 + 2 + 3 + 100 + 2);
    // EIP-2200 with 2929: 20,000 to set and 2,900 to change, plus 2,100 when cold; 100 for nothing.
    assert_eq!(gas_of(&mut chain, &mut a, &write(1, 5)), 6 + 20_000 + 2_100);
    assert_eq!(gas_of(&mut chain, &mut a, &write(1, 6)), 6 + 2_900 + 2_100);
    assert_eq!(gas_of(&mut chain, &mut a, &write(1, 6)), 6 + 100 + 2_100);
    // EIP-3529: clearing refunds 4,800, at most a fifth of the gas used.
    let clear = gas_of(&mut chain, &mut a, &write(1, 0));
    assert_eq!(clear, 6 + 2_900 + 2_100 - 4_800);
}

#[test]
fn a_block_holds_no_more_gas_than_its_limit() {
    let mut chain = Chain::new();
    let mut a = User::new(1);
    let big =
        |a: &mut User| a.send(TxKind::Call(BENEFICIARY), U256::ZERO, TX_GAS_LIMIT, Bytes::new());
    // They use 21,000 each, but each must fit with all it may use.
    let burner = Address::repeat_byte(0xcc);
    chain.install(burner, &[op::JUMPDEST, 0x5f, op::JUMP]);
    let txs = [a.call(burner, TX_GAS_LIMIT, []), big(&mut a), big(&mut a)];
    let error = chain.try_run(&txs).unwrap_err();
    let left = BLOCK_GAS_LIMIT - TX_GAS_LIMIT;
    assert!(
        matches!(
            error,
            ExecuteError::Invalid { index: 1, reason: InvalidTx::BlockGas { left: l, .. } } if l == left
        ),
        "{error}"
    );
    let proposal = chain.propose(&txs);
    assert_eq!(proposal.included, [0]);
    assert!(proposal.skipped[0].reason.may_become_valid());
}

/// Installs `count` different contracts of the greatest size and one that looks at all of them.
fn install_giants(chain: &mut Chain, first: u64, count: u64) -> Address {
    let mut code = Asm::new();
    for n in first..first + count {
        let address = Address::left_padding_from(&(0x1_0000 + n).to_be_bytes());
        let mut giant = vec![op::STOP; execution::CODE_BYTES_MAX];
        giant[..8].copy_from_slice(&n.to_be_bytes());
        chain.install(address, &giant);
        code = code.push_address(address).op(&[op::EXTCODESIZE, op::POP]);
    }
    let looker = Address::left_padding_from(&(0x2_0000 + first).to_be_bytes());
    chain.install(looker, &code.0);
    looker
}

#[test]
fn a_transaction_that_reads_too_much_fails_and_pays_all_its_gas() {
    let mut chain = Chain::new();
    let (mut a, mut b) = (User::new(1), User::new(2));
    let fits = install_giants(&mut chain, 0, 40);
    let too_much = install_giants(&mut chain, 100, 48);
    let txs =
        [a.call(fits, 500_000, []), b.call(too_much, 500_000, []), b.pay(BENEFICIARY, coins(1))];
    let outcome = chain.try_run(&txs).unwrap();
    let ends: Vec<_> =
        outcome.receipts.iter().map(|r| (r.envelope.is_success(), r.gas_used == 500_000)).collect();
    assert_eq!(ends, [(true, false), (false, true), (true, false)]);
    assert!(outcome.loads > 25_000, "what the failed one read counts: {}", outcome.loads);
    let proposal = chain.propose(&txs);
    assert_eq!((proposal.included.len(), &proposal.outcome), (3, &outcome));
    let call = execution::Call { to: Some(too_much), ..execution::Call::default() };
    assert!(matches!(chain.call(&call), Err(execution::CallError::Loads)));
}

#[test]
fn transactions_that_fail_by_reading_too_much_do_not_make_a_block_read_more() {
    let mut chain = Chain::new();
    let too_much = install_giants(&mut chain, 0, 48);
    let mut a = User::new(1);
    let txs: Vec<_> = (0..10).map(|_| a.call(too_much, 500_000, [])).collect();
    let store = Slow { base: chain.store.clone(), ..Slow::default() };
    let env = chain.env();
    let proposal = block_on(propose_block(&store, &env, &txs, Patience::ENDLESS)).unwrap();
    assert_eq!(proposal.included, [0, 1]);
    assert_eq!(proposal.skipped[0].reason, InvalidTx::BlockLoads);
    let asked = store.asked.lock().unwrap().len();
    assert!(asked < 2 * usize::try_from(BLOCK_LOADS_MAX).unwrap(), "{asked}");
    assert_eq!(chain.try_run(&txs[..2]).unwrap(), proposal.outcome);
    assert!(matches!(
        chain.try_run(&txs).unwrap_err(),
        ExecuteError::Invalid { index: 2, reason: InvalidTx::BlockLoads }
    ));
}

#[test]
fn a_block_reads_no_more_than_its_limit() {
    let mut chain = Chain::new();
    let mut users = [User::new(1), User::new(2), User::new(3), User::new(4)];
    let mut txs = Vec::new();
    for n in 0..3 {
        let looker = install_giants(&mut chain, n * 100, 45);
        txs.push(users[usize::try_from(n % 4).unwrap()].call(looker, 500_000, []));
    }
    let proposal = chain.propose(&txs);
    assert_eq!(proposal.included, [0, 1]);
    assert_eq!(proposal.skipped[0].reason, InvalidTx::BlockLoads);
    let error = chain.try_run(&txs).unwrap_err();
    assert!(
        matches!(error, ExecuteError::Invalid { index: 2, reason: InvalidTx::BlockLoads }),
        "{error}"
    );
    assert_eq!(chain.try_run(&txs[..2]).unwrap(), proposal.outcome);
}

/// Patience for `reads` questions.
fn patience(reads: usize) -> Patience {
    let left = AtomicUsize::new(reads);
    let take = |left: usize| left.checked_sub(1);
    Patience::while_true(move || left.fetch_update(Relaxed, Relaxed, take).is_ok())
}

#[test]
fn a_block_closes_when_its_time_is_over() {
    let mut chain = Chain::new();
    let looker = install_giants(&mut chain, 0, 40);
    let (mut a, mut b) = (User::new(1), User::new(2));
    let txs =
        [a.pay(BENEFICIARY, coins(1)), b.call(looker, 500_000, []), a.pay(BENEFICIARY, coins(1))];
    let propose = |reads: usize, txs: &[Recovered<TxEnvelope>]| {
        block_on(propose_block(&chain.store, &chain.env(), txs, patience(reads))).unwrap()
    };
    let early = propose(30, &txs);
    assert_eq!(early.included, [0]);
    assert_eq!(early.skipped, [Skipped { index: 1, reason: InvalidTx::BlockTime }]);
    assert!(early.skipped[0].reason.may_become_valid());
    assert_eq!(chain.try_run(&txs[..1]).unwrap(), early.outcome);
    // Alone it gets no further, and the block is empty: its height goes on.
    let alone = propose(30, &txs[1..2]);
    assert_eq!((alone.included.len(), alone.skipped[0].index), (0, 0));
    assert_eq!(chain.try_run(&[]).unwrap(), alone.outcome);
    assert_eq!(propose(0, &txs).skipped, []);
    assert_eq!(propose(usize::MAX, &txs).included, [0, 1, 2]);
}

#[test]
fn calls_end_with_the_patience() {
    let mut chain = Chain::new();
    let looker = install_giants(&mut chain, 0, 40);
    let call = execution::Call { to: Some(looker), ..execution::Call::default() };
    let late = block_on(execution::call(&chain.store, &chain.env(), &call, patience(20)));
    assert!(matches!(late, Err(execution::CallError::Late)), "{late:?}");
    let late = block_on(execution::estimate(&chain.store, &chain.env(), &call, patience(20)));
    assert!(matches!(late, Err(execution::CallError::Late)), "{late:?}");
    assert!(chain.call(&call).is_ok());
}

/// What the mempool says of a good transaction after `change`.
fn check(change: impl Fn(&mut TxEip1559)) -> Result<(), InvalidTx> {
    let account = Account { balance: coins(10), nonce: 3, ..Account::default() };
    let mut tx = TxEip1559 {
        chain_id: CHAIN,
        nonce: 5,
        gas_limit: 30_000,
        max_fee_per_gas: MAX_FEE,
        max_priority_fee_per_gas: TIP,
        to: TxKind::Call(BENEFICIARY),
        ..TxEip1559::default()
    };
    change(&mut tx);
    validate(&User::new(1).sign(tx), &account, CHAIN)
}

#[test]
fn the_mempool_check_names_the_rule() {
    assert_eq!(check(|_| {}), Ok(()));
    let chain_id = InvalidTx::ChainId { have: Some(1), want: CHAIN };
    assert_eq!(check(|t| t.chain_id = 1), Err(chain_id));
    assert_eq!(check(|t| t.nonce = 2), Err(InvalidTx::NonceTooLow { tx: 2, account: 3 }));
    let intrinsic = InvalidTx::IntrinsicGas { limit: 20_999, needed: 21_000 };
    assert_eq!(check(|t| t.gas_limit = 20_999), Err(intrinsic));
    let above = TX_GAS_LIMIT + 1;
    assert_eq!(check(|t| t.gas_limit = above), Err(InvalidTx::GasLimit(above)));
    assert!(matches!(check(|t| t.value = coins(11)), Err(InvalidTx::Funds { .. })));
    assert_eq!(check(|t| t.max_priority_fee_per_gas = MAX_FEE + 1), Err(InvalidTx::TipAboveMaxFee));
    let cheap = check(|t| {
        t.max_fee_per_gas = 1;
        t.max_priority_fee_per_gas = 0;
    });
    assert!(matches!(cheap, Err(InvalidTx::BelowBaseFee { max_fee: 1, .. })));
    assert!(matches!(check(|t| t.nonce = u64::MAX), Err(InvalidTx::Rule(_))));
}

#[test]
fn the_mempool_check_bounds_the_bytes() {
    // EIP-7623: 40 gas for each byte that is not zero, at least.
    let floor = check(|t| {
        t.input = vec![1; 1_000].into();
        t.gas_limit = 60_999;
    });
    assert_eq!(floor, Err(InvalidTx::IntrinsicGas { limit: 60_999, needed: 61_000 }));
    let long = check(|t| {
        t.input = vec![0; TX_BYTES_MAX].into();
        t.gas_limit = 10_000_000;
    });
    assert!(matches!(long, Err(InvalidTx::TooLong(_))));
    let creation = check(|t| {
        t.to = TxKind::Create;
        t.input = vec![0; 49_153].into();
        t.gas_limit = 10_000_000;
    });
    assert!(matches!(creation, Err(InvalidTx::Rule(_))));
}

#[test]
fn blob_transactions_and_unprotected_ones_are_refused_everywhere() {
    let chain = Chain::new();
    let a = User::new(1);
    let blob = TxEip4844 {
        chain_id: CHAIN,
        gas_limit: 21_000,
        max_fee_per_gas: MAX_FEE,
        max_fee_per_blob_gas: 1,
        blob_versioned_hashes: vec![alloy_primitives::B256::repeat_byte(1)],
        ..TxEip4844::default()
    };
    let signature = a.sign_hash(blob.signature_hash());
    let blob: TxEnvelope = blob.into_signed(signature).into();
    let blob = Recovered::new_unchecked(blob, a.address());
    let unprotected = a.sign(TxLegacy {
        chain_id: None,
        gas_price: MAX_FEE,
        gas_limit: 21_000,
        to: TxKind::Call(BENEFICIARY),
        ..TxLegacy::default()
    });
    let rich = Account { balance: coins(10), ..Account::default() };
    for (tx, want) in
        [(blob, InvalidTx::Type(3)), (unprotected, InvalidTx::ChainId { have: None, want: CHAIN })]
    {
        assert_eq!(validate(&tx, &rich, CHAIN).unwrap_err(), want);
        let error = chain.try_run(&[tx]).unwrap_err();
        assert!(matches!(error, ExecuteError::Invalid { index: 0, reason } if reason == want));
    }
}
