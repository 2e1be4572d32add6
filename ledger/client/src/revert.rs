//! Why a call was refused, by name.
//!
//! A revert carries four bytes that name an error and its ABI-encoded fields. [`Revert`] looks the
//! name up among the errors of the system contracts and of Solidity itself, so that a person reads
//! `InsufficientStake(required: 5, staked: 3)` and a program compares [`Revert::name`].

use alloy_primitives::{Bytes, hex};
use alloy_sol_types::{GenericContractError, SolInterface};
use contracts::abi;
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
        let (name, detail) = known(&data).unwrap_or_else(|| unknown(&data));
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

fn unknown(data: &[u8]) -> (String, String) {
    if data.is_empty() {
        ("OutOfGas".to_owned(), "out of gas, or reverted without a reason".to_owned())
    } else {
        ("Unknown".to_owned(), format!("unknown error 0x{}", hex::encode(data)))
    }
}

/// Looks the error up, contract by contract. Errors of one signature are one error.
fn known(data: &[u8]) -> Option<(String, String)> {
    standard(data)
        .or_else(|| custom::<abi::ISystem::ISystemErrors>(data))
        .or_else(|| custom::<abi::IToken::ITokenErrors>(data))
        .or_else(|| custom::<abi::IVotes::IVotesErrors>(data))
        .or_else(|| custom::<abi::IDollars::IDollarsErrors>(data))
        .or_else(|| custom::<abi::INetworks::INetworksErrors>(data))
        .or_else(|| custom::<abi::IDevices::IDevicesErrors>(data))
        .or_else(|| custom::<abi::IStakes::IStakesErrors>(data))
        .or_else(|| custom::<abi::IRails::IRailsErrors>(data))
        .or_else(|| custom::<abi::ISettlements::ISettlementsErrors>(data))
        .or_else(|| custom::<abi::IGuard::IGuardErrors>(data))
}

/// The error as one of a contract's. Its `Debug` form is `Name(Name { field: value })`.
fn custom<E: SolInterface + fmt::Debug>(data: &[u8]) -> Option<(String, String)> {
    let text = format!("{:?}", E::abi_decode(data).ok()?);
    let (name, rest) = text.split_once('(')?;
    Some((name.to_owned(), rest.strip_suffix(')')?.to_owned()))
}

fn standard(data: &[u8]) -> Option<(String, String)> {
    use alloy_sol_types::ContractError::{CustomError, Panic, Revert as Text};
    match GenericContractError::abi_decode(data).ok()? {
        Text(text) => Some(("Error".to_owned(), text.reason)),
        Panic(panic) => Some(("Panic".to_owned(), panic.to_string())),
        CustomError(none) => match none {},
    }
}

#[cfg(test)]
mod tests;
