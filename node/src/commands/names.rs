//! What commands accept for accounts and devices: addresses and ids, or the devnet's names.

use crate::{
    devnet::accounts::{self, Accounts, CHAIN_ID},
    exit::Failure,
};
use protocol::{Account, DeviceId};

/// The account that `text` names.
pub(crate) fn account(text: &str, chain_id: u64) -> anyhow::Result<Account> {
    if let Ok(account) = text.parse() {
        return Ok(account);
    }
    if chain_id == CHAIN_ID
        && let Some(named) = Accounts::derive(32)?.by_name(text)
    {
        return Ok(named.account());
    }
    let known =
        "an address of 40 hexadecimal digits, or on the devnet founder, customer, operator-1 …";
    Err(Failure::NotFound(format!("no account {text:?}: give {known}")).into())
}

/// The device that `text` names.
pub(crate) fn device(text: &str, chain_id: u64) -> anyhow::Result<DeviceId> {
    if let Ok(device) = text.parse() {
        return Ok(device);
    }
    if chain_id == CHAIN_ID
        && let Some(number) = text.strip_prefix("agent-").and_then(|number| number.parse().ok())
    {
        return Ok(accounts::device(number).id());
    }
    let known = "an id of 64 hexadecimal digits, or on the devnet agent-1 … agent-8";
    Err(Failure::NotFound(format!("no device {text:?}: give {known}")).into())
}
