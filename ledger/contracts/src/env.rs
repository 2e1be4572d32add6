//! What a system contract sees of the ledger, and how its calls end.
//!
//! [`Env`] is implemented by the executor over EVM state with gas metering, and by
//! [`crate::testing::Memory`] in memory. A call ends in one of three ways, and they never mix: it
//! returns; it *reverts* with an ABI-encoded error that its caller sees ([`Failure::Revert`]); or it
//! *faults* ([`Failure::Fault`]) for a reason outside the contract, which is passed on unchanged so
//! that the executor can suspend, charge all gas or stop the block. Undoing writes after a revert or a
//! fault is the work of the implementation.

use alloy_primitives::{Address, Bytes, LogData, U256};
use alloy_sol_types::SolError;

/// State and block, as a system contract sees them.
pub trait Env {
    /// The value of a storage slot; zero if it was never written.
    fn load(&mut self, contract: Address, slot: U256) -> Result<U256, Fault>;

    /// Writes a storage slot. Never called within a static call.
    fn store(&mut self, contract: Address, slot: U256, value: U256) -> Result<(), Fault>;

    /// Emits a log of `contract`. Never called within a static call.
    fn log(&mut self, contract: Address, data: LogData) -> Result<(), Fault>;

    /// Charges gas for computation (hashing, signatures). Storage and logs charge for themselves.
    fn charge(&mut self, gas: u64) -> Result<(), Fault>;

    /// Gives `contract` the marker that keeps its account from being cleared as empty (EIP-161):
    /// nonce 1 and code `0xfe`. Never called within a static call.
    fn mark(&mut self, contract: Address) -> Result<(), Fault>;

    /// Whether an account has code.
    fn has_code(&mut self, account: Address) -> Result<bool, Fault>;

    /// Pays coin that `contract` holds to an account, in the smallest unit. No code runs there. Never
    /// called within a static call.
    fn pay(&mut self, contract: Address, to: Address, amount: U256) -> Result<(), Fault>;

    /// The coin of an account, in the smallest unit.
    fn balance(&mut self, account: Address) -> Result<U256, Fault>;

    /// The height of the block.
    fn height(&self) -> u64;

    /// The block's time, in seconds since 1970.
    fn timestamp(&self) -> u64;

    /// The chain id.
    fn chain_id(&self) -> u64;
}

/// A call of a system contract.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The contract.
    pub contract: Address,
    /// The account or contract that calls.
    pub caller: Address,
    /// The coin that comes with the call and that the contract holds already; functions that take none
    /// revert unless it is zero.
    pub value: U256,
    /// Selector and arguments.
    pub input: &'a [u8],
    /// Whether the call must not write.
    pub is_static: bool,
    /// Whether code address and storage address are the same: false for DELEGATECALL and CALLCODE.
    pub is_direct: bool,
}

/// A reason outside the contract for which a call cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The gas is used up.
    #[error("out of gas")]
    OutOfGas,
    /// A write within a static call.
    #[error("write in a static call")]
    Static,
    /// The state cannot be read or written, or holds what no contract wrote.
    #[error("storage: {0}")]
    Storage(String),
}

/// How a call ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Refused by the contract, with the ABI encoding of an error of [`crate::abi`].
    #[error("reverted with {0}")]
    Revert(Bytes),
    /// Stopped for a reason outside the contract.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl<E: SolError> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Revert(error.abi_encode().into())
    }
}

impl Failure {
    /// The error `E`, if the call reverted with it.
    pub fn revert<E: SolError>(&self) -> Option<E> {
        match self {
            Self::Revert(data) => E::abi_decode(data).ok(),
            Self::Fault(_) => None,
        }
    }
}

/// Reverts with an error of [`crate::abi`] unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $error:expr) => {
        if !$condition {
            return Err($crate::env::Failure::from($error));
        }
    };
}
pub(crate) use ensure;
