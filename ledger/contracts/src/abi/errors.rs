//! Errors of system contracts by name, from the data of a revert.

use super::{
    IDevices, IDollars, IGuard, INetworks, IRails, ISettlements, IStakes, ISystem, IToken,
    IValidators, IVotes,
};
use alloy_sol_types::{GenericContractError, SolInterface};
use std::fmt;

/// An error as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name: `InsufficientStake`; `Error` for a text, `Panic` for an assertion.
    pub name: String,
    /// The name with its fields, or the text.
    pub detail: String,
}

/// Looks an error up among Solidity's own and those of the system contracts, contract by contract;
/// errors of one signature are one error.
pub fn named(data: &[u8]) -> Option<Named> {
    standard(data)
        .or_else(|| custom::<ISystem::ISystemErrors>(data))
        .or_else(|| custom::<IToken::ITokenErrors>(data))
        .or_else(|| custom::<IVotes::IVotesErrors>(data))
        .or_else(|| custom::<IDollars::IDollarsErrors>(data))
        .or_else(|| custom::<INetworks::INetworksErrors>(data))
        .or_else(|| custom::<IDevices::IDevicesErrors>(data))
        .or_else(|| custom::<IStakes::IStakesErrors>(data))
        .or_else(|| custom::<IValidators::IValidatorsErrors>(data))
        .or_else(|| custom::<IRails::IRailsErrors>(data))
        .or_else(|| custom::<ISettlements::ISettlementsErrors>(data))
        .or_else(|| custom::<IGuard::IGuardErrors>(data))
}

/// The error as one of a contract's. Its `Debug` form is `Name(Name { field: value })`.
fn custom<E: SolInterface + fmt::Debug>(data: &[u8]) -> Option<Named> {
    let text = format!("{:?}", E::abi_decode(data).ok()?);
    let (name, rest) = text.split_once('(')?;
    Some(Named { name: name.to_owned(), detail: rest.strip_suffix(')')?.to_owned() })
}

fn standard(data: &[u8]) -> Option<Named> {
    use alloy_sol_types::ContractError::{CustomError, Panic, Revert};
    match GenericContractError::abi_decode(data).ok()? {
        Revert(text) => Some(Named { name: "Error".to_owned(), detail: text.reason }),
        Panic(panic) => Some(Named { name: "Panic".to_owned(), detail: panic.to_string() }),
        CustomError(none) => match none {},
    }
}
