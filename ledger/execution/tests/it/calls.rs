//! Calls and estimates.

use crate::support::*;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use execution::{Call, CallError, CallOutcome, InvalidTx};

const TARGET: Address = Address::repeat_byte(0xcc);

fn to(data: Bytes) -> Call {
    Call { from: User::new(1).address(), to: Some(TARGET), data, ..Call::default() }
}

/// Runs a transaction with exactly the estimate, and one with a little less.
fn estimate_holds(chain: &Chain, call: &Call) -> u64 {
    let gas = chain.estimate(call).unwrap();
    let succeeds = |gas: u64| {
        let mut a = User::new(1);
        let kind = call.to.map_or(TxKind::Create, TxKind::Call);
        let tx = a.send(kind, call.value, gas, call.data.clone());
        chain.try_run(&[tx]).is_ok_and(|o| o.receipts[0].envelope.is_success())
    };
    assert!(succeeds(gas), "the estimate of {gas} must suffice");
    assert!(!succeeds(gas - gas / 50), "the estimate of {gas} is more than 2 % too high");
    gas
}

#[test]
fn a_revert_carries_its_data() {
    let mut chain = Chain::new();
    let code = Asm::new().push(0xdead).push(0).op(&[op::MSTORE]).push(32).push(0).op(&[op::REVERT]);
    chain.install(TARGET, &code.0);
    let result = chain.call(&to(Bytes::new())).unwrap();
    assert_eq!(result.outcome, CallOutcome::Reverted(word(0xdead)));
    let error = chain.estimate(&to(Bytes::new())).unwrap_err();
    assert!(matches!(error, CallError::Reverted(data) if data == word(0xdead)));
}

#[test]
fn calls_need_neither_coins_nor_nonce_nor_an_outside_sender() {
    let mut chain = Chain::new();
    chain.install(TARGET, &Asm::new().op(&[op::CALLER]).return_word().0);
    let from = TARGET;
    let result = chain.call(&Call { from, ..to(Bytes::new()) }).unwrap();
    assert_eq!(result.outcome, CallOutcome::Returned(from.into_word().0.into()));
    let empty = Address::repeat_byte(0x42);
    let error = chain.call(&Call { from: empty, value: U256::from(1), ..to(Bytes::new()) });
    assert!(matches!(error, Err(CallError::Invalid(InvalidTx::Funds { .. }))));
    let error = chain.call(&Call { from: empty, gas_price: Some(1), ..to(Bytes::new()) });
    assert!(matches!(error, Err(CallError::Invalid(InvalidTx::Funds { .. }))));
}

#[test]
fn a_call_without_a_target_gives_the_code_it_would_create() {
    let chain = Chain::new();
    let code = Asm::new().push(1).return_word();
    let call = Call { data: code.deploy().into(), ..Call::default() };
    assert_eq!(chain.call(&call).unwrap().outcome, CallOutcome::Returned(code.0.into()));
}

#[test]
fn halts_say_why() {
    let mut chain = Chain::new();
    chain.install(TARGET, &[0xfe]);
    let result = chain.call(&to(Bytes::new())).unwrap();
    assert_eq!(result.outcome, CallOutcome::Halted("invalid opcode".to_owned()));
    assert!(matches!(chain.estimate(&to(Bytes::new())), Err(CallError::Halted(_))));
    chain.install(TARGET, &[op::JUMPDEST, 0x5f, op::JUMP]);
    let result = chain.call(&to(Bytes::new())).unwrap();
    assert_eq!(result.outcome, CallOutcome::Halted("out of gas".to_owned()));
    assert!(matches!(chain.estimate(&to(Bytes::new())), Err(CallError::Allowance(_))));
}

#[test]
fn estimates_are_enough_and_hardly_more() {
    let mut chain = Chain::new();
    let pay = Call { value: U256::from(1), ..to(Bytes::new()) };
    assert_eq!(estimate_holds(&chain, &pay), 21_000);
    // Calldata that costs more than it runs (EIP-7623).
    assert_eq!(estimate_holds(&chain, &to(vec![1; 100].into())), 21_000 + 4_000);
    // A refund is paid after the gas was needed.
    chain.install(TARGET, &Asm::new().push(0).push(1).op(&[op::SSTORE]).0);
    chain.store.0.insert(
        execution::Key::Slot(TARGET, U256::from(1)),
        execution::slot_value(U256::from(9)).unwrap(),
    );
    assert_eq!(estimate_holds(&chain, &to(Bytes::new())), 21_000 + 6 + 5_000);
    // A deployment.
    let deploy =
        Call { to: None, data: Asm::new().push(1).return_word().deploy().into(), ..pay.clone() };
    estimate_holds(&chain, &Call { value: U256::ZERO, ..deploy });
}

#[test]
fn estimates_see_what_calls_keep_back() {
    let mut chain = Chain::new();
    // Ten contracts, each calling the next with all the gas it may pass on, the last of them
    // spending a lot; any failure below reverts all.
    let at = |n: u8| Address::repeat_byte(0xc0 + n);
    let mut spend = Asm::new();
    for slot in 0..20 {
        spend = spend.push(1).push(slot).op(&[op::SSTORE]);
    }
    chain.install(at(9), &spend.0);
    for n in 0..9 {
        let call = Asm::new().forward(op::CALL, at(n + 1));
        let ok = u32::try_from(call.0.len() + 5 + 1 + 11).unwrap();
        let code = call.push(ok).op(&[op::JUMPI]).push(0).push(0).op(&[op::REVERT, op::JUMPDEST]);
        chain.install(at(n), &code.0);
    }
    let call = Call { to: Some(at(0)), ..to(Bytes::new()) };
    let used = chain.call(&call).unwrap().gas_used;
    let gas = estimate_holds(&chain, &call);
    assert!(gas > used, "{gas} must be above the {used} used");
}

#[test]
fn an_estimate_is_bounded_by_what_the_sender_can_pay() {
    let mut chain = Chain::new();
    chain.install(TARGET, &[op::JUMPDEST, 0x5f, op::JUMP]);
    let all = coins(1_000);
    let price = 10_u128.pow(17);
    let call = Call { gas_price: Some(price), ..to(Bytes::new()) };
    let error = chain.estimate(&call).unwrap_err();
    assert!(matches!(error, CallError::Invalid(_) | CallError::Allowance(_)), "{error}");
    let payable = u64::try_from(all / U256::from(price)).unwrap();
    assert_eq!(payable, 10_000);
}
