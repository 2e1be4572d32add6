//! The state before the first block.

use crate::{
    key::{Account, Key, Value, code_writes},
    system,
};
use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_primitives::{Address, U256, keccak256};
use std::collections::BTreeMap;

/// What the state holds at height 0.
#[derive(Clone, Debug, Default)]
pub struct Genesis {
    /// Coins of each account, in the smallest unit.
    pub coins: BTreeMap<Address, U256>,
}

/// The values of the state at height 0.
///
/// Beside what `genesis` says they hold the contract that serves parent hashes (EIP-2935).
pub fn genesis(genesis: &Genesis) -> BTreeMap<Key, Value> {
    let mut writes = BTreeMap::new();
    for (address, balance) in &genesis.coins {
        let account = Account {
            balance: *balance,
            ..Account::default()
        };
        if !account.is_empty() {
            writes.insert(Key::Account(*address), account.encode());
        }
    }
    contract(&mut writes, HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE);
    system::genesis(&mut writes);
    writes
}

/// Writes a contract with nonce 1 and its code; coins it already has stay.
pub(crate) fn contract(writes: &mut BTreeMap<Key, Value>, address: Address, code: &[u8]) {
    let code_hash = keccak256(code);
    let key = Key::Account(address);
    let before = writes
        .get(&key)
        .map_or_else(Account::default, Account::decode);
    writes.insert(
        key,
        Account {
            nonce: 1,
            code_hash,
            ..before
        }
        .encode(),
    );
    // The codes written at genesis are a few bytes each.
    if let Ok(chunks) = code_writes(code_hash, code) {
        writes.extend(chunks);
    }
}
