//! The state before the first block.
//!
//! Genesis is plain data: coins, and the storage of the system contracts slot by slot. The latter is
//! made once from a configuration ([`contracts_at_genesis`]) and kept in the ledger's genesis file, so
//! that a later version of the contracts cannot change where an old ledger began.

use crate::{
    key::{Account, Key, Value, code_writes, slot_value},
    system::MARKER,
};
use alloy_eips::eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE};
use alloy_primitives::{Address, LogData, U256, keccak256};
use contracts::{Call, Env, Failure, Fault, GenesisConfig};
use std::collections::BTreeMap;

/// Storage by contract and slot.
pub type Slots = BTreeMap<Address, BTreeMap<U256, U256>>;

/// What the state holds at height 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Genesis {
    /// Coins of each account, in the smallest unit.
    pub coins: BTreeMap<Address, U256>,
    /// Storage of the system contracts. A contract without storage stands here with no slots.
    pub contracts: Slots,
}

/// The values of the state at height 0.
///
/// Beside what `genesis` says they hold the contract that serves parent hashes (EIP-2935). System
/// contracts get nonce 1 and code `0xfe`.
pub fn genesis(genesis: &Genesis) -> BTreeMap<Key, Value> {
    let mut writes = BTreeMap::new();
    for (address, balance) in &genesis.coins {
        let account = Account { balance: *balance, ..Account::default() };
        if !account.is_empty() {
            writes.insert(Key::Account(*address), account.encode());
        }
    }
    contract(&mut writes, HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE);
    for (address, slots) in &genesis.contracts {
        contract(&mut writes, *address, MARKER);
        for (index, word) in slots {
            if let Some(value) = slot_value(*word) {
                writes.insert(Key::Slot(*address, *index), value);
            }
        }
    }
    writes
}

/// Writes a contract with nonce 1 and its code; coins it already has stay.
fn contract(writes: &mut BTreeMap<Key, Value>, address: Address, code: &[u8]) {
    let code_hash = keccak256(code);
    let key = Key::Account(address);
    let before = writes.get(&key).map_or_else(Account::default, Account::decode);
    writes.insert(key, Account { nonce: 1, code_hash, ..before }.encode());
    // The codes written at genesis are a few bytes each, within every limit.
    if let Ok(chunks) = code_writes(code_hash, code) {
        writes.extend(chunks);
    }
}

/// The storage of the system contracts at height 0, for [`Genesis::contracts`].
///
/// # Errors
/// When the configuration makes no sense, or a contract refuses a part of it.
pub fn contracts_at_genesis(
    config: &GenesisConfig,
    chain_id: u64,
    timestamp: u64,
) -> Result<Slots, Failure> {
    let mut recorder = Recorder { slots: Slots::new(), chain_id, timestamp };
    contracts::genesis(config, &mut recorder)?;
    Ok(recorder.slots)
}

/// Runs a call of a system contract on the storage at height 0, as if `caller` had sent it before the
/// first block: what a network begins with is made by the same calls that would make it later. Gives
/// what the call returns.
///
/// # Errors
/// When the contract refuses the call; what it wrote until then stays, so the storage is not to be used.
pub fn call_at_genesis(
    slots: &mut Slots,
    (chain_id, timestamp): (u64, u64),
    caller: Address,
    contract: Address,
    input: &[u8],
) -> Result<Vec<u8>, Failure> {
    let mut recorder = Recorder { slots: std::mem::take(slots), chain_id, timestamp };
    let call =
        Call { contract, caller, value: U256::ZERO, input, is_static: false, is_direct: true };
    let result = contracts::call(&mut recorder, &call);
    *slots = recorder.slots;
    result
}

/// An empty ledger at height 0 that records what is written. Nobody sees the logs of genesis.
struct Recorder {
    slots: Slots,
    chain_id: u64,
    timestamp: u64,
}

impl Env for Recorder {
    fn load(&mut self, contract: Address, slot: U256) -> Result<U256, Fault> {
        let word = self.slots.get(&contract).and_then(|slots| slots.get(&slot));
        Ok(word.copied().unwrap_or_default())
    }

    fn store(&mut self, contract: Address, slot: U256, value: U256) -> Result<(), Fault> {
        let slots = self.slots.entry(contract).or_default();
        if value.is_zero() {
            slots.remove(&slot);
        } else {
            slots.insert(slot, value);
        }
        Ok(())
    }

    fn log(&mut self, _: Address, _: LogData) -> Result<(), Fault> {
        Ok(())
    }

    fn charge(&mut self, _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn mark(&mut self, contract: Address) -> Result<(), Fault> {
        self.slots.entry(contract).or_default();
        Ok(())
    }

    fn has_code(&mut self, account: Address) -> Result<bool, Fault> {
        Ok(self.slots.contains_key(&account))
    }

    fn pay(&mut self, contract: Address, _: Address, _: U256) -> Result<(), Fault> {
        Err(Fault::Storage(format!("no coin moves before the first block: {contract}")))
    }

    fn balance(&mut self, _: Address) -> Result<U256, Fault> {
        Ok(U256::ZERO)
    }

    fn height(&self) -> u64 {
        0
    }

    fn timestamp(&self) -> u64 {
        self.timestamp
    }

    fn chain_id(&self) -> u64 {
        self.chain_id
    }
}
