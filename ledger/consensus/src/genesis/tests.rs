//! What a founding makes of the validators, and that consensus and contract speak of the same keys.

use super::*;
use crate::{ValidatorKeys, seed::SeedKey, terms, testing};
use alloy_primitives::FixedBytes;
use commonware_codec::Encode as _;
use commonware_cryptography::Signer as _;
use contracts::{
    REGISTRATION_NAMESPACE, VOTES_NAMESPACE,
    abi::IValidators::{bondCall, registerCall},
    registration,
    testing::{Memory, SeatKeys},
};

#[test]
fn bonds_are_coins_of_the_contract_and_come_on_top() {
    let genesis = testing::genesis(3, 10);
    assert_eq!(genesis.allocations[&VALIDATORS], U256::from(3 * FIRST_BOND));
    let state = genesis.state();
    let account = execution::Account::decode(&state[&Key::Account(VALIDATORS)]);
    assert_eq!((account.nonce, account.balance), (1, U256::from(3 * FIRST_BOND)));
    assert!(account.has_code());
}

#[test]
fn a_file_whose_contract_says_something_else_is_refused() {
    let genesis = testing::genesis(3, 10);
    assert!(genesis.check().is_ok());
    let longer = Genesis { term_length: 11, ..genesis.clone() };
    assert_eq!(longer.check().unwrap_err(), GenesisError::Terms);
    let mut fewer = genesis;
    fewer.validators.truncate(2);
    assert_eq!(fewer.check().unwrap_err(), GenesisError::Terms);
}

#[test]
fn the_contract_takes_the_keys_of_consensus_and_the_other_way_round() {
    let (chain, owner) = (0xDE91, Address::repeat_byte(9));
    let keys = ValidatorKeys::derive(&[7; 32]);
    let Validator { key, seed_key, possession, account } = keys.validator(owner);
    let payload = registration(chain, owner, account, key);
    let proof = keys.signer().sign(REGISTRATION_NAMESPACE, &payload).encode().to_vec();
    let mut memory = Memory::new(chain);
    memory.send_coin(owner, VALIDATORS, &bondCall {}, U256::ONE).unwrap_or_else(|e| panic!("{e}"));
    let register = registerCall {
        key,
        seedKey: seed_key.to_vec().into(),
        possession: possession.to_vec().into(),
        proof: proof.into(),
        account,
        endpoint: String::new(),
    };
    memory.send(owner, VALIDATORS, &register).unwrap_or_else(|e| panic!("{e}"));
    let theirs = SeatKeys::derive(7).genesis(owner, 1);
    let seed = SeedKey::from_bytes(&theirs.seed_key.0).unwrap();
    let FixedBytes(possession) = theirs.possession;
    assert!(seed.possessed(&possession));
    // Votes are bound to the ledger by the same bytes.
    let hash = B256::repeat_byte(5);
    assert_eq!(terms::namespace(hash), [VOTES_NAMESPACE, hash.as_slice()].concat());
}
