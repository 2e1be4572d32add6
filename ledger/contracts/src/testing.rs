//! An environment in memory, for tests of contracts and of what stands on them.
//!
//! It does what the executor does around a call: it undoes what a failed call wrote, and counts gas in
//! a simple way. It remembers who called, because invariants are sums over accounts.

use crate::env::{Call, Env, Failure, Fault};
use crate::invariants::{Broken, check_invariants};
use alloy_primitives::{Address, LogData, U256};
use alloy_sol_types::{SolCall, SolEvent};
use std::collections::{BTreeMap, BTreeSet};

/// Gas of reading a slot.
const LOAD_GAS: u64 = 100;
/// Gas of writing a slot, and of a log.
const STORE_GAS: u64 = 5_000;

/// State in memory.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The chain id.
    pub chain_id: u64,
    /// The height of the block.
    pub height: u64,
    /// The block's time, in seconds since 1970.
    pub timestamp: u64,
    /// What a call may use up.
    pub gas_limit: u64,
    /// Accounts that have code, besides the system contracts.
    pub code: BTreeSet<Address>,
    /// Accounts that took part.
    pub accounts: BTreeSet<Address>,
    slots: BTreeMap<(Address, U256), U256>,
    logs: Vec<(Address, LogData)>,
    undo: Vec<((Address, U256), U256)>,
    gas_used: u64,
}

impl Memory {
    /// An empty state at height 0.
    pub fn new(chain_id: u64) -> Self {
        Self {
            chain_id,
            height: 0,
            timestamp: 1_800_000_000,
            gas_limit: u64::MAX,
            code: BTreeSet::new(),
            accounts: BTreeSet::new(),
            slots: BTreeMap::new(),
            logs: Vec::new(),
            undo: Vec::new(),
            gas_used: 0,
        }
    }

    /// Sends a call from `caller` and undoes what it wrote if it fails.
    ///
    /// # Errors
    /// As [`crate::call`].
    pub fn send<C: SolCall>(
        &mut self,
        caller: Address,
        contract: Address,
        call: &C,
    ) -> Result<C::Return, Failure> {
        self.accounts.insert(caller);
        let input = call.abi_encode();
        let output = self.run(&Call {
            contract,
            caller,
            value: U256::ZERO,
            input: &input,
            is_static: false,
            is_direct: true,
        })?;
        decoded::<C>(&output)
    }

    /// Reads through a static call.
    ///
    /// # Errors
    /// As [`crate::call`].
    pub fn view<C: SolCall>(&mut self, contract: Address, call: &C) -> Result<C::Return, Failure> {
        let input = call.abi_encode();
        let output = self.run(&Call {
            contract,
            caller: Address::ZERO,
            value: U256::ZERO,
            input: &input,
            is_static: true,
            is_direct: true,
        })?;
        decoded::<C>(&output)
    }

    /// Runs a call and undoes what it wrote if it fails.
    ///
    /// # Errors
    /// As [`crate::call`].
    pub fn run(&mut self, call: &Call<'_>) -> Result<Vec<u8>, Failure> {
        self.undo.clear();
        self.gas_used = 0;
        let logs = self.logs.len();
        let result = crate::call(self, call);
        if result.is_err() {
            self.logs.truncate(logs);
            for (key, value) in std::mem::take(&mut self.undo).into_iter().rev() {
                self.slots.insert(key, value);
            }
        }
        result
    }

    /// The gas that the last call used.
    pub const fn gas_used(&self) -> u64 {
        self.gas_used
    }

    /// All events `E` of a contract so far.
    pub fn events<E: SolEvent>(&self, contract: Address) -> Vec<E> {
        let of = self.logs.iter().filter(|(address, _)| *address == contract);
        of.filter_map(|(_, data)| E::decode_log_data(data).ok()).collect()
    }

    /// Checks the invariants of all contracts over all accounts that took part.
    ///
    /// # Errors
    /// As [`check_invariants`].
    pub fn check(&mut self) -> Result<(), Broken> {
        let accounts = self.accounts.clone();
        check_invariants(self, &accounts)
    }

    fn use_gas(&mut self, gas: u64) -> Result<(), Fault> {
        self.gas_used = self.gas_used.saturating_add(gas);
        if self.gas_used > self.gas_limit { Err(Fault::OutOfGas) } else { Ok(()) }
    }
}

fn decoded<C: SolCall>(output: &[u8]) -> Result<C::Return, Failure> {
    C::abi_decode_returns_validate(output)
        .map_err(|error| Fault::Storage(format!("result: {error}")).into())
}

impl Env for Memory {
    fn load(&mut self, contract: Address, slot: U256) -> Result<U256, Fault> {
        self.use_gas(LOAD_GAS)?;
        Ok(self.slots.get(&(contract, slot)).copied().unwrap_or_default())
    }

    fn store(&mut self, contract: Address, slot: U256, value: U256) -> Result<(), Fault> {
        self.use_gas(STORE_GAS)?;
        let before = self.slots.insert((contract, slot), value).unwrap_or_default();
        self.undo.push(((contract, slot), before));
        Ok(())
    }

    fn log(&mut self, contract: Address, data: LogData) -> Result<(), Fault> {
        self.use_gas(STORE_GAS)?;
        self.logs.push((contract, data));
        Ok(())
    }

    fn charge(&mut self, gas: u64) -> Result<(), Fault> {
        self.use_gas(gas)
    }

    fn mark(&mut self, contract: Address) -> Result<(), Fault> {
        self.code.insert(contract);
        Ok(())
    }

    fn has_code(&mut self, account: Address) -> Result<bool, Fault> {
        Ok(self.code.contains(&account))
    }

    fn height(&self) -> u64 {
        self.height
    }

    fn timestamp(&self) -> u64 {
        self.timestamp
    }

    fn chain_id(&self) -> u64 {
        self.chain_id
    }
}
