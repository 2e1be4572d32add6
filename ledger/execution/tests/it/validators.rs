//! Bonds in coin, and elections at the beginning of blocks.

use crate::{contracts_in_code::chain, support::*};
use alloy_primitives::{Address, TxKind, U256};
use alloy_sol_types::SolCall;
use contracts::{
    abi::IValidators::{
        self, bondCall, committeeCall, genesisHashCall, registerCall, retireCall, unbondCall,
        withdrawCall,
    },
    address::VALIDATORS,
    testing::SeatKeys,
};
use execution::{Call, CallOutcome};

/// Gas for any call here.
const GAS: u64 = 1_500_000;

fn view<C: SolCall>(chain: &Chain, call: &C) -> C::Return {
    let data = call.abi_encode().into();
    let result = chain.call(&Call { to: Some(VALIDATORS), data, ..Call::default() }).unwrap();
    let CallOutcome::Returned(output) = result.outcome else { panic!("{:?}", result.outcome) };
    C::abi_decode_returns(&output).unwrap()
}

/// The accounts of a committee.
fn committee(chain: &Chain, term: u64) -> Vec<Address> {
    view(chain, &committeeCall { term }).iter().map(|seat| seat.account).collect()
}

fn register(user: &User, number: u64) -> registerCall {
    SeatKeys::derive(number).register(CHAIN, user.address(), user.address(), "")
}

/// Runs empty blocks up to `height`.
fn pass(chain: &mut Chain, height: u64) {
    while chain.height < height {
        chain.run(&[]);
    }
}

#[test]
fn coin_is_bonded_and_paid_back() {
    let mut chain = chain();
    let mut a = User::new(1);
    let bonded = chain.balance(VALIDATORS);
    let bond = a.send(TxKind::Call(VALIDATORS), coins(5), GAS, bondCall {}.abi_encode());
    // A refused call gives its coin back, and so does any other function.
    let empty = a.send(TxKind::Call(VALIDATORS), U256::ZERO, GAS, bondCall {}.abi_encode());
    let other = a.send(TxKind::Call(VALIDATORS), coins(1), GAS, withdrawCall {}.abi_encode());
    let outcome = chain.run(&[bond, empty, other]);
    let done: Vec<bool> = outcome.receipts.iter().map(|r| r.envelope.is_success()).collect();
    assert_eq!(done, [true, false, false]);
    assert_eq!(chain.balance(VALIDATORS), bonded + coins(5));
    let call = unbondCall { amount: coins(2) };
    let outcome = chain.run(&[a.call(VALIDATORS, GAS, call.abi_encode())]);
    assert!(outcome.receipts[0].envelope.is_success());
    // Asked back in term 0, paid from term 0 + 1 + 2 on: height 12.
    pass(&mut chain, 10);
    let early = chain.run(&[a.call(VALIDATORS, GAS, withdrawCall {}.abi_encode())]);
    assert!(!early.receipts[0].envelope.is_success());
    let (before, store) = (chain.balance(a.address()), chain.store.clone());
    let outcome = chain.run(&[a.call(VALIDATORS, GAS, withdrawCall {}.abi_encode())]);
    let receipt = &outcome.receipts[0];
    assert!(receipt.envelope.is_success());
    let fee = U256::from(u128::from(receipt.gas_used) * receipt.gas_price);
    assert_eq!(chain.balance(a.address()), before + coins(2) - fee);
    assert_eq!(chain.balance(VALIDATORS), bonded + coins(3));
    chain.store.apply(&outcome.undo);
    assert_eq!(chain.store, store);
}

#[test]
fn a_term_begins_with_the_election_of_the_next_committee() {
    let mut chain = chain();
    let mut a = User::new(1);
    assert_eq!(committee(&chain, 1), [BENEFICIARY]);
    chain.run(&[
        a.send(TxKind::Call(VALIDATORS), coins(5), GAS, bondCall {}.abi_encode()),
        a.call(VALIDATORS, GAS, register(&a, 9).abi_encode()),
    ]);
    assert_eq!(view(&chain, &genesisHashCall {}), block_hash(0));
    pass(&mut chain, 3);
    assert_eq!(committee(&chain, 2), [Address::ZERO; 0]);
    // The transactions of the first block of a term come after its election.
    let key = SeatKeys::derive(9).key();
    let block = [a.call(VALIDATORS, GAS, retireCall { key }.abi_encode())];
    let before = chain.store.clone();
    let proposed = chain.propose(&block);
    let outcome = chain.run(&block);
    assert_eq!(proposed.outcome, outcome);
    assert!(outcome.receipts[0].envelope.is_success());
    let mut both = committee(&chain, 2);
    both.sort();
    let mut expected = [BENEFICIARY, a.address()];
    expected.sort();
    assert_eq!(both, expected);
    let mut back = chain.store.clone();
    back.apply(&outcome.undo);
    assert_eq!(back, before);
    let info = view(&chain, &IValidators::keyInfoCall { key });
    assert!(info.retired);
    pass(&mut chain, 8);
    assert_eq!(committee(&chain, 3), [BENEFICIARY]);
    assert_eq!(view(&chain, &genesisHashCall {}), block_hash(0));
}

#[test]
fn an_election_is_waited_for_however_little_patience_there_is() {
    let mut chain = chain();
    pass(&mut chain, 3);
    let over = execution::Patience::while_true(|| false);
    let mut a = User::new(1);
    let candidates = [a.pay(BENEFICIARY, coins(1))];
    let env = chain.env();
    let run = execution::propose_block(&chain.store, &env, &candidates, over);
    let proposal = block_on(run).unwrap();
    assert!(proposal.included.is_empty());
    assert_eq!(proposal.outcome, chain.try_run(&[]).unwrap());
    assert!(!proposal.outcome.writes.is_empty());
}
