//! The real system contracts, called from transactions, from bytecode and from calls.

use crate::support::*;
use alloy_primitives::{Address, TxKind, U256, keccak256};
use alloy_sol_types::{SolCall, SolError, SolEvent};
use contracts::{
    GenesisConfig, SeatRules,
    abi::{
        INetworks,
        ISystem::NotDirect,
        ISystem::NotPayable,
        IToken::{self, ERC20InsufficientBalance, NoSuchToken},
    },
    address,
    testing::{SeatKeys, network::manifest},
};
use execution::{
    Account, Call, CallOutcome, Genesis, Key, MemoryStore, account_at, code_at,
    contracts_at_genesis, genesis,
};
use protocol::{Micros, NetworkId, Ppm, cbor, clock::EpochClock};

const TOKEN: Address = address::STABLECOIN;

/// A chain with the system contracts; user 1 has 1,000 test dollars.
pub(crate) fn chain() -> Chain {
    let config = GenesisConfig {
        clock: EpochClock { length: 30, grace: 4 },
        dispute_epochs: 1,
        validators: vec![SeatKeys::derive(1).genesis(BENEFICIARY, 10_000_000_000_000_000_000)],
        seats: SeatRules { term_length: 4, unbonding_terms: 1, ..SeatRules::default() },
        guardian: BENEFICIARY,
        pause_blocks_max: 1_000,
        breaker_window: 100,
        breaker_share: Ppm(100_000),
        breaker_floor: Micros(1_000_000_000),
        stablecoin: vec![(User::new(1).address(), Micros(1_000_000_000))],
        networks: vec![],
    };
    let contracts = contracts_at_genesis(&config, CHAIN, 1_800_000_000).unwrap();
    let people = (1..=4).map(|seed| (User::new(seed).address(), coins(1_000)));
    let coins = people.chain([(address::VALIDATORS, config.bonded())]).collect();
    Chain { store: MemoryStore(genesis(&Genesis { coins, contracts })), height: 0 }
}

fn transfer(to: Address, value: u64) -> Vec<u8> {
    IToken::transferCall { to, value: U256::from(value) }.abi_encode()
}

fn balance(chain: &Chain, account: Address) -> u64 {
    let data = IToken::balanceOfCall { account }.abi_encode().into();
    let result = chain.call(&Call { to: Some(TOKEN), data, ..Call::default() }).unwrap();
    let CallOutcome::Returned(output) = result.outcome else { panic!("{:?}", result.outcome) };
    u64::try_from(IToken::balanceOfCall::abi_decode_returns(&output).unwrap()).unwrap()
}

#[test]
fn their_accounts_last_and_their_state_is_ordinary_storage() {
    let mut chain = chain();
    for contract in address::SINGLETONS {
        let account = block_on(account_at(&chain.store, contract)).unwrap();
        assert_eq!((account.nonce, account.code_hash), (1, keccak256([0xfe])));
        assert_eq!(block_on(code_at(&chain.store, account.code_hash)).unwrap(), [0xfe]);
    }
    // A call that changes nothing must not clear them either.
    let mut a = User::new(1);
    chain.run(&[a.call(TOKEN, 100_000, IToken::nameCall {}.abi_encode())]);
    assert!(chain.store.0.contains_key(&Key::Account(TOKEN)));
}

#[test]
fn a_transaction_moves_tokens_and_leaves_a_log() {
    let mut chain = chain();
    let (mut a, b) = (User::new(1), User::new(2));
    let before = chain.store.clone();
    let outcome = chain.run(&[a.call(TOKEN, 200_000, transfer(b.address(), 5))]);
    let receipt = &outcome.receipts[0];
    assert!(receipt.envelope.is_success());
    let [log] = receipt.envelope.logs() else { panic!("{:?}", receipt.envelope.logs()) };
    let event = IToken::Transfer::decode_log(log).unwrap();
    assert_eq!((event.address, event.from, event.to), (TOKEN, a.address(), b.address()));
    assert_eq!((balance(&chain, a.address()), balance(&chain, b.address())), (999_999_995, 5));
    assert!(receipt.gas_used < 100_000, "{}", receipt.gas_used);
    chain.store.apply(&outcome.undo);
    assert_eq!(chain.store, before);
}

#[test]
fn a_refusal_is_a_revert_with_its_error() {
    let mut chain = chain();
    let mut b = User::new(2);
    let data = transfer(User::new(3).address(), 1);
    let call =
        Call { from: b.address(), to: Some(TOKEN), data: data.clone().into(), ..Call::default() };
    let CallOutcome::Reverted(error) = chain.call(&call).unwrap().outcome else { panic!() };
    let error = ERC20InsufficientBalance::abi_decode(&error).unwrap();
    assert_eq!((error.sender, error.balance), (b.address(), U256::ZERO));
    assert!(matches!(chain.estimate(&call), Err(execution::CallError::Reverted(_))));
    let outcome = chain.run(&[b.call(TOKEN, 200_000, data)]);
    assert!(!outcome.receipts[0].envelope.is_success());
    assert!(outcome.receipts[0].gas_used < 100_000, "a revert gives the rest of the gas back");
}

#[test]
fn an_estimate_for_a_system_contract_is_enough() {
    let chain = chain();
    let mut a = User::new(1);
    let data = transfer(User::new(3).address(), 1);
    let call =
        Call { from: a.address(), to: Some(TOKEN), data: data.clone().into(), ..Call::default() };
    let gas = chain.estimate(&call).unwrap();
    let outcome = chain.try_run(&[a.call(TOKEN, gas, data.clone())]).unwrap();
    assert!(outcome.receipts[0].envelope.is_success());
    a.nonce = 0;
    let outcome = chain.try_run(&[a.call(TOKEN, gas - gas / 50, data)]).unwrap();
    assert!(!outcome.receipts[0].envelope.is_success());
    assert_eq!(outcome.receipts[0].gas_used, gas - gas / 50, "out of gas takes all");
    let slots = outcome.writes.keys().filter(|key| matches!(key, Key::Slot(a, _) if *a == TOKEN));
    assert_eq!(slots.count(), 0);
}

/// Bytecode that passes its calldata on to the token and ends with `end` and the answer.
fn through(chain: &mut Chain, opcode: u8, end: u8) -> Address {
    let proxy = Address::repeat_byte(end);
    chain.install(proxy, &Asm::new().forward(opcode, TOKEN).op(&[op::POP]).return_data(end).0);
    proxy
}

#[test]
fn bytecode_pays_with_a_system_token_and_a_revert_takes_it_back() {
    let mut chain = chain();
    let (mut a, b) = (User::new(1), User::new(2));
    let pays = through(&mut chain, op::CALL, op::RETURN);
    let reverts = through(&mut chain, op::CALL, op::REVERT);
    let gas = 300_000;
    chain.run(&[a.call(TOKEN, gas, transfer(pays, 10)), a.call(TOKEN, gas, transfer(reverts, 10))]);
    let data = transfer(b.address(), 3);
    let outcome = chain.run(&[a.call(pays, gas, data.clone()), a.call(reverts, gas, data.clone())]);
    let ends: Vec<_> = outcome
        .receipts
        .iter()
        .map(|r| (r.envelope.is_success(), r.envelope.logs().len()))
        .collect();
    assert_eq!(ends, [(true, 1), (false, 0)]);
    assert_eq!(
        (balance(&chain, pays), balance(&chain, reverts), balance(&chain, b.address())),
        (7, 10, 3)
    );
    // What the token refuses reaches the caller of the caller.
    let call = Call { to: Some(pays), data: transfer(b.address(), 8).into(), ..Call::default() };
    let CallOutcome::Returned(answer) = chain.call(&call).unwrap().outcome else { panic!() };
    assert_eq!(ERC20InsufficientBalance::abi_decode(&answer).unwrap().balance, U256::from(7));
}

#[test]
fn static_calls_and_borrowed_code_cannot_write() {
    let mut chain = chain();
    let b = User::new(2);
    let data = transfer(b.address(), 1);
    let fixed = through(&mut chain, op::STATICCALL, op::RETURN);
    chain.run(&[User::new(1).call(TOKEN, 300_000, transfer(fixed, 10))]);
    let ask = |chain: &Chain, to, data: Vec<u8>| {
        let call = Call { to: Some(to), data: data.into(), gas: Some(500_000), ..Call::default() };
        chain.call(&call).unwrap()
    };
    let read = ask(&chain, fixed, IToken::balanceOfCall { account: fixed }.abi_encode());
    assert_eq!(read.outcome, CallOutcome::Returned(word(10)));
    let write = ask(&chain, fixed, data.clone());
    assert_eq!(write.outcome, CallOutcome::Returned(Default::default()), "it fails without data");
    assert!(write.gas_used > 450_000, "and takes the gas it was given");
    for opcode in [op::DELEGATECALL, op::CALLCODE] {
        let proxy = through(&mut chain, opcode, op::RETURN);
        let result = ask(&chain, proxy, data.clone());
        assert_eq!(result.outcome, CallOutcome::Returned(NotDirect {}.abi_encode().into()));
    }
}

#[test]
fn coins_are_refused_and_stay_with_their_sender() {
    let mut chain = chain();
    let mut a = User::new(1);
    let data = transfer(User::new(2).address(), 1);
    let call = Call {
        from: a.address(),
        to: Some(TOKEN),
        value: U256::from(7),
        data: data.clone().into(),
        ..Call::default()
    };
    let CallOutcome::Reverted(error) = chain.call(&call).unwrap().outcome else { panic!() };
    assert_eq!(NotPayable::abi_decode(&error).unwrap().value, U256::from(7));
    let outcome = chain.run(&[a.send(TxKind::Call(TOKEN), U256::from(7), 300_000, data)]);
    assert!(!outcome.receipts[0].envelope.is_success());
    assert_eq!(chain.balance(TOKEN), U256::ZERO);
}

#[test]
fn a_token_made_at_run_time_is_an_account_that_lasts() {
    let mut chain = chain();
    let mut a = User::new(1);
    let token = address::token(NetworkId(1));
    let ask = |chain: &Chain| {
        let data = IToken::symbolCall {}.abi_encode().into();
        chain.call(&Call { to: Some(token), data, ..Call::default() }).unwrap().outcome
    };
    let CallOutcome::Reverted(error) = ask(&chain) else { panic!("there is no token yet") };
    assert_eq!(NoSuchToken::abi_decode(&error).unwrap().token, token);
    let create = INetworks::createCall {
        manifest: cbor::to_vec(&manifest()).into(),
        name: "Example".to_owned(),
        symbol: "EXA".to_owned(),
        supply: U256::from(10).pow(U256::from(24)),
    };
    let create = create.abi_encode();
    let call = Call {
        from: a.address(),
        to: Some(address::NETWORKS),
        data: create.clone().into(),
        ..Call::default()
    };
    let gas = chain.estimate(&call).unwrap();
    let outcome = chain.run(&[a.call(address::NETWORKS, gas, create)]);
    assert!(outcome.receipts[0].envelope.is_success());
    let account: Account = block_on(account_at(&chain.store, token)).unwrap();
    assert_eq!((account.nonce, account.code_hash), (1, keccak256([0xfe])));
    let CallOutcome::Returned(symbol) = ask(&chain) else { panic!() };
    assert_eq!(IToken::symbolCall::abi_decode_returns(&symbol).unwrap(), "EXA");
    // A later transaction that only touches it does not clear it.
    chain.run(&[a.call(token, 100_000, IToken::symbolCall {}.abi_encode())]);
    assert_eq!(block_on(account_at(&chain.store, token)).unwrap().nonce, 1);
}
