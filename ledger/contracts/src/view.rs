//! Views run anywhere: a static call over values that somebody looks up.
//!
//! A node runs a view so to learn which values it reads, and proves them; a light client runs the same view
//! over the proven values and takes its own result. Gas is counted in one way for both, in a budget that the
//! caller shares out, so that neither computes without bound.

use crate::env::{Call, Env, Failure, Fault};
use alloy_primitives::{Address, LogData, U256};

/// Gas for a question: what a block may use.
pub const VIEW_GAS: u64 = 30_000_000;
/// Gas of reading a value.
const READ_GAS: u64 = 100;

/// Where the values come from.
pub trait Lookup {
    /// The value of a storage slot; zero if it was never written.
    ///
    /// # Errors
    /// [`Fault::Storage`] when it cannot be had.
    fn slot(&mut self, contract: Address, slot: U256) -> Result<U256, Fault>;

    /// What an account holds.
    ///
    /// # Errors
    /// As [`Lookup::slot`].
    fn account(&mut self, account: Address) -> Result<Held, Fault>;
}

/// What an account holds, as far as contracts look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Coin, in its smallest unit.
    pub coin: U256,
    /// Whether it has code.
    pub has_code: bool,
}

/// The block whose state is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The chain id.
    pub chain_id: u64,
    /// The height.
    pub height: u64,
    /// The block's time, in seconds since 1970.
    pub timestamp: u64,
}

/// Runs a view of a system contract, as a static call of nobody, and takes what it uses from `gas`.
///
/// # Errors
/// As [`crate::call`]; [`Fault::OutOfGas`] when the gas does not suffice, [`Fault::Static`] for what is no view.
pub fn view(
    lookup: &mut dyn Lookup,
    (at, gas): (At, &mut u64),
    contract: Address,
    input: &[u8],
) -> Result<Vec<u8>, Failure> {
    crate::call(
        &mut Looking { lookup, at, gas },
        &Call {
            contract,
            caller: Address::ZERO,
            value: U256::ZERO,
            input,
            is_static: true,
            is_direct: true,
        },
    )
}

struct Looking<'a> {
    lookup: &'a mut dyn Lookup,
    at: At,
    gas: &'a mut u64,
}

impl Env for Looking<'_> {
    fn load(&mut self, contract: Address, slot: U256) -> Result<U256, Fault> {
        self.charge(READ_GAS)?;
        self.lookup.slot(contract, slot)
    }

    fn store(&mut self, _: Address, _: U256, _: U256) -> Result<(), Fault> {
        Err(Fault::Static)
    }

    fn log(&mut self, _: Address, _: LogData) -> Result<(), Fault> {
        Err(Fault::Static)
    }

    fn charge(&mut self, gas: u64) -> Result<(), Fault> {
        *self.gas = self.gas.checked_sub(gas).ok_or(Fault::OutOfGas)?;
        Ok(())
    }

    fn mark(&mut self, _: Address) -> Result<(), Fault> {
        Err(Fault::Static)
    }

    fn has_code(&mut self, account: Address) -> Result<bool, Fault> {
        self.charge(READ_GAS)?;
        Ok(self.lookup.account(account)?.has_code)
    }

    fn pay(&mut self, _: Address, _: Address, _: U256) -> Result<(), Fault> {
        Err(Fault::Static)
    }

    fn balance(&mut self, account: Address) -> Result<U256, Fault> {
        self.charge(READ_GAS)?;
        Ok(self.lookup.account(account)?.coin)
    }

    fn height(&self) -> u64 {
        self.at.height
    }

    fn timestamp(&self) -> u64 {
        self.at.timestamp
    }

    fn chain_id(&self) -> u64 {
        self.at.chain_id
    }
}
