//! Why a call was refused, by name.
//!
//! A revert carries four bytes that name an error and its ABI-encoded fields. [`Revert`] looks the
//! name up among the errors of the system contracts and of Solidity itself, so that a person reads
//! `InsufficientStake(required: 5, staked: 3)` and a program compares [`Revert::name`].

use alloy_primitives::{Bytes, hex};
use alloy_sol_types::SolInterface;
use contracts::abi::errors::{Named, named};
use std::fmt;

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert {
    name: String,
    detail: String,
    data: Bytes,
}

impl Revert {
    /// Reads the data of a revert.
    pub fn decode(data: Bytes) -> Self {
        let Named { name, detail } = named(&data).unwrap_or_else(|| unknown(&data));
        Self { name, detail, data }
    }

    /// The name of the error: `InsufficientStake`; `Error` for a text, `Panic` for an assertion,
    /// `OutOfGas` if there is no data at all, `Unknown` if no system contract has such an error.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name with its fields, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The encoded error.
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// The error as one of `E`, the errors of one contract.
    pub fn as_error<E: SolInterface>(&self) -> Option<E> {
        E::abi_decode(&self.data).ok()
    }

    /// Whether this is the error `E`.
    pub fn is<E: alloy_sol_types::SolError>(&self) -> bool {
        self.data.starts_with(&E::SELECTOR)
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Revert {}

fn unknown(data: &[u8]) -> Named {
    let (name, detail) = if data.is_empty() {
        ("OutOfGas", "out of gas, or reverted without a reason".to_owned())
    } else {
        ("Unknown", format!("unknown error 0x{}", hex::encode(data)))
    };
    Named { name: name.to_owned(), detail }
}

#[cfg(test)]
mod tests;
