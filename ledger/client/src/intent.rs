//! What a transaction is to do.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The contract or account it goes to.
    pub to: Address,
    /// Coin that it carries, in the coin's smallest unit.
    pub value: U256,
    /// The encoded call.
    pub input: Bytes,
    /// Gas beyond what is estimated, for a call that does more if others are applied before it: the last
    /// vote decides. What is not used is not paid.
    pub gas: u64,
}

impl Intent {
    /// A call of a contract.
    pub fn call<C: SolCall>(to: Address, call: &C) -> Self {
        Self { to, value: U256::ZERO, input: call.abi_encode().into(), gas: 0 }
    }

    /// A transfer of coin.
    pub const fn transfer(to: Address, value: U256) -> Self {
        Self { to, value, input: Bytes::new(), gas: 0 }
    }
}
