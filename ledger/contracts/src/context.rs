//! A call under way: the environment, the caller, and the rules that hold for every contract.
//!
//! All state and logs pass through [`Context`], which refuses writes in static calls, so that no
//! contract can forget to. Contracts call one another as Rust functions on the same context; whom a
//! function acts for is then an explicit argument and never `caller`.

use crate::abi::ISystem::Overflow;
use crate::env::{Env, Failure, Fault};
use crate::settlements::Settlements;
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolEvent;
use protocol::Epoch;

/// Gas of hashing: Ethereum's price of KECCAK256.
const KECCAK_GAS: u64 = 30;
/// Gas of hashing each word of 32 bytes.
const KECCAK_WORD_GAS: u64 = 6;

/// A call under way.
pub(crate) struct Context<'a> {
    env: &'a mut dyn Env,
    caller: Address,
    value: U256,
    is_static: bool,
}

impl<'a> Context<'a> {
    /// A context for a call by `caller`.
    pub(crate) fn new(env: &'a mut dyn Env, caller: Address, is_static: bool) -> Self {
        Self { env, caller, value: U256::ZERO, is_static }
    }

    /// The same call with coin.
    pub(crate) const fn with_value(mut self, value: U256) -> Self {
        self.value = value;
        self
    }

    /// Who called the contract.
    pub(crate) const fn caller(&self) -> Address {
        self.caller
    }

    /// The coin that came with the call, in the smallest unit.
    pub(crate) const fn value(&self) -> U256 {
        self.value
    }

    pub(crate) fn height(&self) -> u64 {
        self.env.height()
    }

    pub(crate) fn timestamp(&self) -> u64 {
        self.env.timestamp()
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.env.chain_id()
    }

    /// The epoch of this block.
    pub(crate) fn epoch(&mut self) -> Result<Epoch, Failure> {
        Settlements::new().current_epoch(self)
    }

    pub(crate) fn load(&mut self, contract: Address, slot: U256) -> Result<U256, Failure> {
        Ok(self.env.load(contract, slot)?)
    }

    pub(crate) fn store(
        &mut self,
        contract: Address,
        slot: U256,
        value: U256,
    ) -> Result<(), Failure> {
        self.writable()?;
        Ok(self.env.store(contract, slot, value)?)
    }

    /// Emits `event` as a log of `contract`.
    pub(crate) fn emit(&mut self, contract: Address, event: &impl SolEvent) -> Result<(), Failure> {
        self.writable()?;
        Ok(self.env.log(contract, event.encode_log_data())?)
    }

    /// Makes `contract` an account that lasts.
    pub(crate) fn mark(&mut self, contract: Address) -> Result<(), Failure> {
        self.writable()?;
        Ok(self.env.mark(contract)?)
    }

    pub(crate) fn has_code(&mut self, account: Address) -> Result<bool, Failure> {
        Ok(self.env.has_code(account)?)
    }

    /// Pays coin that `contract` holds.
    pub(crate) fn pay(
        &mut self,
        contract: Address,
        to: Address,
        amount: U256,
    ) -> Result<(), Failure> {
        self.writable()?;
        Ok(self.env.pay(contract, to, amount)?)
    }

    /// The coin of an account.
    pub(crate) fn coin(&mut self, account: Address) -> Result<U256, Failure> {
        Ok(self.env.balance(account)?)
    }

    pub(crate) fn charge(&mut self, gas: u64) -> Result<(), Failure> {
        Ok(self.env.charge(gas)?)
    }

    /// Hashes with keccak256 for its price in gas.
    pub(crate) fn keccak(&mut self, bytes: &[u8]) -> Result<B256, Failure> {
        self.charge_words(KECCAK_GAS, KECCAK_WORD_GAS, bytes.len())?;
        Ok(keccak256(bytes))
    }

    /// Charges `base`, and `per_word` for every begun 32 bytes of `length`.
    pub(crate) fn charge_words(
        &mut self,
        base: u64,
        per_word: u64,
        length: usize,
    ) -> Result<(), Failure> {
        let words = u64::try_from(length.div_ceil(32)).unwrap_or(u64::MAX);
        self.charge(words.saturating_mul(per_word).saturating_add(base))
    }

    fn writable(&self) -> Result<(), Failure> {
        if self.is_static { Err(Fault::Static.into()) } else { Ok(()) }
    }
}

/// Checked arithmetic that reverts with [`Overflow`].
pub(crate) trait Checked: Sized {
    /// The sum.
    fn plus(self, other: Self) -> Result<Self, Failure>;
    /// The difference.
    fn minus(self, other: Self) -> Result<Self, Failure>;
}

macro_rules! checked {
    ($($ty:ty),+) => {$(
        impl Checked for $ty {
            fn plus(self, other: Self) -> Result<Self, Failure> {
                self.checked_add(other).ok_or_else(|| Overflow {}.into())
            }

            fn minus(self, other: Self) -> Result<Self, Failure> {
                self.checked_sub(other).ok_or_else(|| Overflow {}.into())
            }
        }
    )+};
}
checked!(u64, u128, U256);

/// Narrows an amount, or reverts with [`Overflow`].
pub(crate) fn narrow<T: TryFrom<U256>>(amount: U256) -> Result<T, Failure> {
    T::try_from(amount).map_err(|_| Overflow {}.into())
}
