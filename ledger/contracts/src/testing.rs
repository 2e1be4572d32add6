//! An environment in memory, for tests of contracts and of what stands on them.
//!
//! It does what the executor does around a call: it undoes what a failed call wrote, and counts gas in
//! a simple way. It remembers who called, because invariants are sums over accounts.

pub mod network;

use crate::env::{Call, Env, Failure, Fault};
use crate::invariants::{Broken, check_invariants};
use crate::signature::POSSESSION_DOMAIN;
use crate::validators::{REGISTRATION_NAMESPACE, registration};
use crate::{GenesisValidator, abi::IValidators::registerCall};
use alloy_primitives::{Address, B256, FixedBytes, LogData, U256};
use alloy_sol_types::{SolCall, SolEvent};
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::{
    Signer as _,
    bls12381::primitives::{group::Private, ops, variant::MinSig},
    ed25519,
};
use std::collections::{BTreeMap, BTreeSet};

/// Gas of reading a slot.
const LOAD_GAS: u64 = 100;
/// Gas of writing a slot, and of a log.
const STORE_GAS: u64 = 5_000;

/// The secret keys of a validator.
#[derive(Clone, Debug)]
pub struct SeatKeys {
    network: ed25519::PrivateKey,
    seed: Private,
}

impl SeatKeys {
    /// The keys with this number.
    ///
    /// # Panics
    /// For number 0, which is no seed key.
    pub fn derive(number: u64) -> Self {
        let mut secret = [0; 32];
        secret[24..].copy_from_slice(&number.to_be_bytes());
        let network = ed25519::PrivateKey::decode(Copying(&secret[..]));
        let seed = Private::decode(Copying(&secret[..]));
        Self {
            network: network.expect("any 32 bytes are a secret of Ed25519"),
            seed: seed.expect("a small number is a secret of BLS12-381 unless it is 0"),
        }
    }

    /// The secret that votes.
    pub const fn network(&self) -> &ed25519::PrivateKey {
        &self.network
    }

    /// The public key that votes.
    pub fn key(&self) -> B256 {
        B256::from_slice(self.network.public_key().as_ref())
    }

    /// What registers these keys for an owner.
    pub fn register(
        &self,
        chain_id: u64,
        owner: Address,
        account: Address,
        endpoint: &str,
    ) -> registerCall {
        let key = self.key();
        let payload = registration(chain_id, owner, account, key);
        registerCall {
            key,
            seedKey: ops::compute_public::<MinSig>(&self.seed).encode().to_vec().into(),
            possession: ops::sign_proof_of_possession::<MinSig>(&self.seed, POSSESSION_DOMAIN)
                .encode()
                .to_vec()
                .into(),
            proof: self.network.sign(REGISTRATION_NAMESPACE, &payload).encode().to_vec().into(),
            account,
            endpoint: endpoint.to_owned(),
        }
    }

    /// A validator of a genesis with these keys, whose account owns the bond.
    pub fn genesis(&self, account: Address, bond: u128) -> GenesisValidator {
        let call = self.register(0, account, account, "");
        GenesisValidator {
            key: call.key,
            seed_key: FixedBytes::from_slice(&call.seedKey),
            possession: FixedBytes::from_slice(&call.possession),
            account,
            owner: account,
            endpoint: String::new(),
            bond,
        }
    }
}

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
    /// Coin by account, in the smallest unit.
    pub coins: BTreeMap<Address, U256>,
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
            coins: BTreeMap::new(),
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
        self.send_coin(caller, contract, call, U256::ZERO)
    }

    /// As [`Memory::send`], with coin of the caller, which is made if it has none.
    ///
    /// # Errors
    /// As [`crate::call`].
    pub fn send_coin<C: SolCall>(
        &mut self,
        caller: Address,
        contract: Address,
        call: &C,
        value: U256,
    ) -> Result<C::Return, Failure> {
        self.accounts.insert(caller);
        let input = call.abi_encode();
        let output = self.run(&Call {
            contract,
            caller,
            value,
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
        let (logs, coins) = (self.logs.len(), self.coins.clone());
        if !call.value.is_zero() {
            let purse = self.coins.entry(call.caller).or_default();
            *purse = purse.saturating_sub(call.value);
            *self.coins.entry(call.contract).or_default() += call.value;
        }
        let result = crate::call(self, call);
        if result.is_err() {
            self.coins = coins;
            self.logs.truncate(logs);
            for (key, value) in std::mem::take(&mut self.undo).into_iter().rev() {
                self.slots.insert(key, value);
            }
        }
        result
    }

    /// Moves on to `height`, and does on the way what executors do at the beginning of a block.
    ///
    /// # Panics
    /// When an election fails, which no state of the contracts makes it do.
    pub fn advance(&mut self, height: u64) {
        while self.height < height {
            self.height += 1;
            let gas_limit = std::mem::replace(&mut self.gas_limit, u64::MAX);
            let begun = crate::begin_block(self, B256::repeat_byte(0x6e), B256::repeat_byte(0x31));
            self.gas_limit = gas_limit;
            assert_eq!(begun, Ok(()), "block {} does not begin", self.height);
        }
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

    fn pay(&mut self, contract: Address, to: Address, amount: U256) -> Result<(), Fault> {
        self.use_gas(STORE_GAS)?;
        let purse = self.coins.entry(contract).or_default();
        let left = purse.checked_sub(amount);
        *purse = left.ok_or_else(|| Fault::Storage(format!("{contract} has too little coin")))?;
        *self.coins.entry(to).or_default() += amount;
        Ok(())
    }

    fn balance(&mut self, account: Address) -> Result<U256, Fault> {
        self.use_gas(LOAD_GAS)?;
        Ok(self.coins.get(&account).copied().unwrap_or_default())
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
