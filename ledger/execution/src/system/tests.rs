//! The bridge alone, with a contract that does what its input says.

use super::*;
use crate::{
    block::{Machine, Stop},
    env::{BLOCK_GAS_LIMIT, BlockEnv},
    key::{Account, Key, code_writes, slot, slot_value},
    patience::Patience,
    state::State,
    store::MemoryStore,
    suspend::suspended,
};
use alloy_primitives::{B256, TxKind, keccak256};
use contracts::address;
use revm::context::{
    TxEnv,
    result::{ExecutionResult, HaltReason, OutOfGasError},
};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

const PROBE: Address = address::DOLLARS;
const OTHER: Address = address::NETWORKS;
const USER: Address = Address::repeat_byte(0x11);
const STRANGER: Address = Address::repeat_byte(0x99);

/// Does what the input says, one byte a command.
fn probe(env: &mut dyn Env, call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let mut output = Vec::new();
    let mut input = call.input.iter().copied();
    while let Some(command) = input.next() {
        let argument = input.next().unwrap_or(0);
        match command {
            b'r' => output.push(env.load(PROBE, U256::from(argument))?.to::<u8>()),
            b'o' => output.push(env.load(OTHER, U256::from(argument))?.to::<u8>()),
            b'w' => env.store(PROBE, U256::from(argument), U256::from(input.next().unwrap()))?,
            b'l' => {
                let topics = vec![B256::repeat_byte(7); usize::from(argument)];
                env.log(PROBE, LogData::new_unchecked(topics, vec![1; 10].into()))?;
            }
            b'g' => env.charge(u64::from(argument))?,
            b'm' => env.mark(Address::repeat_byte(argument))?,
            b'c' => output.push(u8::from(env.has_code(Address::repeat_byte(argument))?)),
            b'd' => output.push(u8::from(call.is_direct) + 2 * u8::from(call.is_static)),
            b'n' => {
                output.push(u8::try_from(env.height() + env.timestamp() + env.chain_id()).unwrap())
            }
            b'v' => {
                let amount = U256::from(input.next().unwrap());
                env.pay(PROBE, Address::repeat_byte(argument), amount)?;
            }
            b'b' => output.push(env.balance(Address::repeat_byte(argument))?.to::<u8>()),
            b'x' => return Err(Failure::Revert(vec![argument].into())),
            b'f' => return Err(Fault::Storage("damaged".to_owned()).into()),
            b'p' => panic!("out of cheese"),
            _ => unreachable!("a test sends no other command"),
        }
    }
    Ok(output)
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = poll {
            return output;
        }
    }
}

fn store() -> MemoryStore {
    let mut store = MemoryStore::default();
    let mut put = |address: Address, code: &[u8]| {
        let code_hash = keccak256(code);
        let account = Account { nonce: 1, code_hash, balance: U256::from(100) };
        store.0.insert(Key::Account(address), account.encode());
        store.0.extend(code_writes(code_hash, code).unwrap());
    };
    put(PROBE, MARKER);
    put(OTHER, MARKER);
    store.0.insert(Key::Slot(PROBE, U256::from(9)), slot_value(U256::from(5)).unwrap());
    store.0.insert(Key::Slot(OTHER, U256::from(9)), slot_value(U256::from(6)).unwrap());
    store
}

/// Runs transactions one after another: what each gives, its gas beyond the intrinsic, the state.
fn run_all(
    mut store: MemoryStore,
    txs: Vec<TxEnv>,
) -> (Vec<Result<ExecutionResult, String>>, MemoryStore) {
    let env = BlockEnv {
        chain_id: 3,
        number: 1,
        timestamp: 2,
        parent_hash: B256::ZERO,
        gas_limit: BLOCK_GAS_LIMIT,
        base_fee: 0,
        beneficiary: Address::ZERO,
        mix: B256::ZERO,
    };
    let (results, changes) = block_on(suspended(&store, move |loader| {
        let mut machine =
            Machine::with(State::new(loader, Patience::ENDLESS), env.machine_for_calls(), probe);
        let mut results = Vec::new();
        for tx in txs {
            results.push(match machine.transact(tx) {
                Ok(done) => {
                    machine.state().commit(done.state).unwrap();
                    Ok(done.result)
                }
                Err(stop) => {
                    machine.state().discard();
                    Err(match stop {
                        Stop::Fatal(text) => text,
                        _ => "another stop".to_owned(),
                    })
                }
            });
        }
        (results, machine.into_state().finish().unwrap())
    }))
    .unwrap();
    store.apply(&changes.writes);
    (results, store)
}

fn tx(to: Address, gas: u64, data: &[u8]) -> TxEnv {
    TxEnv {
        caller: USER,
        gas_limit: gas,
        kind: TxKind::Call(to),
        data: Bytes::copy_from_slice(data),
        chain_id: Some(3),
        ..TxEnv::default()
    }
}

/// Gas of the commands, without the transaction's own.
fn gas(commands: &[u8]) -> u64 {
    let (results, _) = run_all(store(), vec![tx(PROBE, 1_000_000, commands)]);
    let result = results.into_iter().next().unwrap().unwrap();
    assert!(result.is_success(), "{result:?}");
    let bytes: u64 = commands.iter().map(|byte| if *byte == 0 { 4 } else { 16 }).sum();
    result.tx_gas_used() - 21_000 - bytes
}

#[test]
fn reads_and_writes_cost_what_bytecode_pays() {
    // EIP-2929: 2,100 cold, 100 warm; a cold account 2,600 in all, of which 100 are the read's.
    assert_eq!(gas(&[b'r', 9]), 2_100);
    assert_eq!(gas(&[b'r', 9, b'r', 9]), 2_200);
    assert_eq!(gas(&[b'o', 9]), 2_500 + 2_100);
    assert_eq!(gas(&[b'o', 9, b'o', 8]), 2_500 + 4_200);
    // EIP-2200.
    assert_eq!(gas(&[b'w', 1, 5]), 22_100);
    assert_eq!(gas(&[b'r', 1, b'w', 1, 5]), 2_100 + 20_000);
    assert_eq!(gas(&[b'w', 9, 6]), 5_000);
    assert_eq!(gas(&[b'w', 9, 5]), 2_200);
    assert_eq!(gas(&[b'w', 9, 6, b'w', 9, 7]), 5_100);
    // EIP-3529: the refunds, within a fifth of all gas.
    assert_eq!(gas(&[b'w', 9, 0]), 5_000 - 4_800);
    assert_eq!(gas(&[b'w', 9, 6, b'w', 9, 5]), 5_100 - 2_800);
    // Logs: 375, 375 a topic, 8 a byte.
    assert_eq!(gas(&[b'l', 0]), 375 + 80);
    assert_eq!(gas(&[b'l', 3]), 4 * 375 + 80);
    assert_eq!(gas(&[b'g', 250]), 250);
    // An account: 2,600 cold, 100 warm; the caller is warm.
    assert_eq!(gas(&[b'c', 0x99]), 2_600);
    assert_eq!(gas(&[b'c', 0x99, b'c', 0x99]), 2_700);
    assert_eq!(gas(&[b'c', 0x11]), 100);
    assert_eq!(gas(&[b'm', 0x99]), 32_000 + 200 + 2_500);
    // A call with value: 9,000 and the account, 25,000 more if there is none.
    assert_eq!(gas(&[b'v', 0x11, 5]), 100 + 9_000);
    assert_eq!(gas(&[b'v', 0x99, 5]), 2_600 + 9_000 + 25_000);
    assert_eq!(gas(&[b'v', 0x99, 5, b'v', 0x99, 5]), 2_600 + 9_000 + 25_000 + 9_100);
    assert_eq!(gas(&[b'b', 0x99]), 2_600);
}

#[test]
fn values_logs_and_marks_are_kept() {
    let commands =
        [b'r', 9, b'w', 9, 7, b'r', 9, b'l', 2, b'm', 0x99, b'c', 0x99, b'c', 0x98, b'n', 0];
    let (results, store) = run_all(store(), vec![tx(PROBE, 1_000_000, &commands)]);
    let result = results[0].as_ref().unwrap();
    assert_eq!(result.output().unwrap().as_ref(), [5, 7, 1, 0, 6]);
    assert_eq!((result.logs().len(), result.logs()[0].address), (1, PROBE));
    assert_eq!(result.logs()[0].data.topics().len(), 2);
    assert_eq!(slot(&store.0[&Key::Slot(PROBE, U256::from(9))]), U256::from(7));
    let marked = Account::decode(&store.0[&Key::Account(STRANGER)]);
    assert_eq!((marked.nonce, marked.code_hash), (1, keccak256(MARKER)));
}

#[test]
fn a_contract_pays_what_it_holds_and_nothing_else() {
    let balance = |store: &MemoryStore, address| {
        store.0.get(&Key::Account(address)).map(|value| Account::decode(value).balance)
    };
    let commands = [b'b', 0x99, b'v', 0x99, 60, b'b', 0x99];
    let (results, after) = run_all(store(), vec![tx(PROBE, 1_000_000, &commands)]);
    assert_eq!(results[0].as_ref().unwrap().output().unwrap().as_ref(), [0, 60]);
    assert_eq!(balance(&after, STRANGER), Some(U256::from(60)));
    assert_eq!(balance(&after, PROBE), Some(U256::from(40)));
    // Undone with its frame.
    let commands = [b'v', 0x99, 60, b'x', 1];
    let (_, after) = run_all(store(), vec![tx(PROBE, 1_000_000, &commands)]);
    assert_eq!(balance(&after, STRANGER), None);
    assert_eq!(balance(&after, PROBE), Some(U256::from(100)));
    // More than there is would break a contract's own books: no block may hold it.
    let (results, _) = run_all(store(), vec![tx(PROBE, 1_000_000, &[b'v', 0x99, 101])]);
    assert!(results[0].as_ref().unwrap_err().contains("cannot pay"));
    let (result, after) = through(STATICCALL, RETURN, 1_000_000, &[b'v', 0x99, 1]);
    assert_eq!(result.output().unwrap().as_ref(), [0], "a static call moves no coin");
    assert_eq!(balance(&after, PROBE), Some(U256::from(100)));
}

#[test]
fn a_revert_undoes_all_and_keeps_the_rest_of_the_gas() {
    let before = store();
    let commands = [b'w', 9, 7, b'l', 2, b'm', 0x99, b'x', 42];
    let (results, after) = run_all(before.clone(), vec![tx(PROBE, 1_000_000, &commands)]);
    let ExecutionResult::Revert { output, .. } = results[0].as_ref().unwrap() else {
        panic!("{:?}", results[0]);
    };
    assert_eq!(output.as_ref(), [42]);
    assert!(results[0].as_ref().unwrap().tx_gas_used() < 70_000);
    assert!(results[0].as_ref().unwrap().logs().is_empty());
    assert_eq!(
        after.0.get(&Key::Slot(PROBE, U256::from(9))),
        before.0.get(&Key::Slot(PROBE, U256::from(9)))
    );
    assert!(!after.0.contains_key(&Key::Account(STRANGER)));
}

#[test]
fn running_out_of_gas_anywhere_takes_all_and_leaves_nothing() {
    let commands = [b'r', 9, b'o', 9, b'w', 1, 5, b'w', 9, 0, b'l', 2, b'c', 0x99, b'm', 0x98];
    let all = {
        let (results, _) = run_all(store(), vec![tx(PROBE, 1_000_000, &commands)]);
        results[0].as_ref().unwrap().gas().total_gas_spent()
    };
    for limit in (21_700..all).step_by(97) {
        let before = store();
        let (results, after) = run_all(before.clone(), vec![tx(PROBE, limit, &commands)]);
        let result = results[0].as_ref().unwrap();
        let ExecutionResult::Halt { reason, .. } = result else { panic!("{limit}: {result:?}") };
        assert_eq!(*reason, HaltReason::OutOfGas(OutOfGasError::Precompile));
        assert_eq!(result.tx_gas_used(), limit);
        let (Some(slots), Some(others)) = (
            after.0.get(&Key::Slot(PROBE, U256::from(9))),
            after.0.get(&Key::Slot(OTHER, U256::from(9))),
        ) else {
            panic!("slots are gone");
        };
        assert_eq!((slot(slots), slot(others)), (U256::from(5), U256::from(6)));
        assert!(!after.0.contains_key(&Key::Slot(PROBE, U256::from(1))));
        assert!(!after.0.contains_key(&Key::Account(Address::repeat_byte(0x98))));
    }
    let (results, _) = run_all(store(), vec![tx(PROBE, all, &commands)]);
    assert!(results[0].as_ref().unwrap().is_success(), "exactly enough is enough");
}

#[test]
fn a_value_that_is_not_paid_for_is_not_loaded() {
    // After 21,000 and the calldata, 2,099 are left for a read of 2,100, and 2,499 for an account. What
    // the account took is not there for its slot: 4,600 are paid for both and loaded, 4,599 are not.
    for (commands, left, most) in [
        ([b'r', 9], 2_099, 5),
        ([b'o', 9], 2_599, 5),
        ([b'c', 0x99], 2_599, 5),
        ([b'o', 9], 4_599, 6),
        ([b'o', 9], 4_600, 7),
    ] {
        let bytes: u64 = commands.iter().map(|byte| if *byte == 0 { 4 } else { 16 }).sum();
        let limit = 21_000 + bytes + left;
        let env = BlockEnv {
            chain_id: 3,
            number: 1,
            timestamp: 2,
            parent_hash: B256::ZERO,
            gas_limit: BLOCK_GAS_LIMIT,
            base_fee: 0,
            beneficiary: Address::ZERO,
            mix: B256::ZERO,
        };
        let loads = block_on(suspended(&store(), move |loader| {
            let mut machine = Machine::with(
                State::new(loader, Patience::ENDLESS),
                env.machine_for_calls(),
                probe,
            );
            let done = machine.transact(tx(PROBE, limit, &commands)).unwrap_or_else(|_| panic!());
            assert_eq!(done.result.is_halt(), left != 4_600);
            machine.into_state().finish().unwrap().loads
        }))
        .unwrap();
        // Sender, contract and its code, beneficiary, precompile; then the other account and its slot.
        assert!(loads <= most, "{loads} for {left}");
    }
}

#[test]
fn faults_and_panics_stop_the_transaction_and_nothing_else() {
    let ok = tx(PROBE, 1_000_000, &[b'w', 1, 1]);
    let txs = vec![
        tx(PROBE, 1_000_000, &[b'w', 2, 1, b'f', 0]),
        tx(PROBE, 1_000_000, &[b'w', 2, 1, b'p', 0]),
        ok,
    ];
    let (results, store) = run_all(store(), txs);
    assert!(results[0].as_ref().unwrap_err().contains("damaged"));
    assert!(results[1].as_ref().unwrap_err().contains("panicked"));
    assert!(results[2].as_ref().unwrap().is_success());
    assert!(!store.0.contains_key(&Key::Slot(PROBE, U256::from(2))));
    assert_eq!(slot(&store.0[&Key::Slot(PROBE, U256::from(1))]), U256::from(1));
}

/// Bytecode that passes its calldata on to `to` and returns what comes back, or reverts with it.
fn forwarder(opcode: u8, to: Address, end: u8) -> Vec<u8> {
    let mut code = vec![0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x5f, 0x36, 0x5f];
    if matches!(opcode, 0xf1 | 0xf2) {
        code.push(0x5f);
    }
    code.push(0x73);
    code.extend_from_slice(to.as_slice());
    // mem[0] = success; then return data behind it.
    code.extend_from_slice(&[
        0x5a, opcode, 0x5f, 0x53, 0x3d, 0x5f, 0x60, 0x01, 0x3e, 0x3d, 0x60, 0x01, 0x01,
    ]);
    code.extend_from_slice(&[0x5f, end]);
    code
}

fn through(opcode: u8, end: u8, gas: u64, commands: &[u8]) -> (ExecutionResult, MemoryStore) {
    let mut store = store();
    let code = forwarder(opcode, PROBE, end);
    let account = Account { nonce: 1, code_hash: keccak256(&code), ..Account::default() };
    store.0.insert(Key::Account(STRANGER), account.encode());
    store.0.extend(code_writes(account.code_hash, &code).unwrap());
    let (results, store) = run_all(store, vec![tx(STRANGER, gas, commands)]);
    (results.into_iter().next().unwrap().unwrap(), store)
}

const CALL: u8 = 0xf1;
const CALLCODE: u8 = 0xf2;
const RETURN: u8 = 0xf3;
const DELEGATECALL: u8 = 0xf4;
const STATICCALL: u8 = 0xfa;
const REVERT: u8 = 0xfd;

#[test]
fn bytecode_calls_a_system_contract() {
    let (result, store) = through(CALL, RETURN, 1_000_000, &[b'r', 9, b'w', 9, 0, b'd', 0]);
    assert_eq!(result.output().unwrap().as_ref(), [1, 5, 1]);
    assert!(!store.0.contains_key(&Key::Slot(PROBE, U256::from(9))));
    // The refund of a native write reaches the transaction.
    assert_eq!(result.gas().inner_refunded(), 4_800);
}

#[test]
fn a_revert_around_a_call_undoes_its_native_writes() {
    let (result, store) = through(CALL, REVERT, 1_000_000, &[b'w', 9, 0, b'l', 1]);
    assert!(!result.is_success());
    assert_eq!(slot(&store.0[&Key::Slot(PROBE, U256::from(9))]), U256::from(5));
    assert_eq!(result.gas().inner_refunded(), 0);
    assert!(result.logs().is_empty());
}

#[test]
fn a_revert_within_is_seen_by_the_caller_and_undone() {
    let (result, store) = through(CALL, RETURN, 1_000_000, &[b'w', 9, 0, b'x', 77]);
    assert_eq!(result.output().unwrap().as_ref(), [0, 77]);
    assert_eq!(slot(&store.0[&Key::Slot(PROBE, U256::from(9))]), U256::from(5));
}

#[test]
fn static_calls_read_and_do_not_write() {
    let (result, _) = through(STATICCALL, RETURN, 1_000_000, &[b'r', 9, b'd', 0]);
    assert_eq!(result.output().unwrap().as_ref(), [1, 5, 3]);
    for commands in [&[b'w', 9, 0][..], &[b'l', 1], &[b'm', 1]] {
        let (result, store) = through(STATICCALL, RETURN, 1_000_000, commands);
        assert_eq!(result.output().unwrap().as_ref(), [0], "fails without data");
        assert!(result.tx_gas_used() > 900_000, "and takes the gas it was given");
        assert_eq!(slot(&store.0[&Key::Slot(PROBE, U256::from(9))]), U256::from(5));
    }
}

#[test]
fn a_contract_learns_that_a_call_is_not_direct() {
    for opcode in [DELEGATECALL, CALLCODE] {
        let (result, _) = through(opcode, RETURN, 1_000_000, &[b'd', 0]);
        assert_eq!(result.output().unwrap().as_ref(), [1, 0]);
    }
}

#[test]
fn a_delegation_to_a_system_contract_runs_no_rust() {
    let mut store = store();
    let code = [&[0xef, 0x01, 0x00][..], PROBE.as_slice()].concat();
    let account = Account { nonce: 1, code_hash: keccak256(&code), ..Account::default() };
    store.0.insert(Key::Account(STRANGER), account.encode());
    store.0.extend(code_writes(account.code_hash, &code).unwrap());
    let (results, _) = run_all(store, vec![tx(STRANGER, 100_000, &[b'w', 9, 0])]);
    let ExecutionResult::Halt { reason, .. } = results[0].as_ref().unwrap() else { panic!() };
    assert_eq!(*reason, HaltReason::InvalidFEOpcode);
}

#[test]
fn a_release_build_computes_as_the_tests_do() {
    // An overflow that panics here and wraps there would make two verdicts on one block.
    let manifest = include_str!("../../../../Cargo.toml");
    let (_, release) = manifest.split_once("[profile.release]").unwrap();
    let release = release.split("\n[").next().unwrap();
    assert!(release.contains("overflow-checks = true"), "{release}");
}
