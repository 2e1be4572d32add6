//! What always holds for devices.

use super::state::Devices;
use crate::context::Context;
use crate::invariants::{Broken, holds};
use crate::networks::Networks;
use alloy_primitives::{Address, U256};
use std::collections::{BTreeMap, BTreeSet};

/// The list of a network and its devices' records agree; owners have at least their devices in service.
pub(crate) fn check(cx: &mut Context<'_>, accounts: &BTreeSet<Address>) -> Result<(), Broken> {
    let devices = Devices::new();
    let (mut owned, mut ever) = (BTreeMap::<Address, U256>::new(), U256::ZERO);
    for network in Networks::new().all(cx)? {
        let list = devices.in_service.at_key(cx, network.0)?;
        let (count, registered) = (list.len(cx)?, devices.registered.get(cx, network.0)?);
        holds!(count <= registered, "network {network}: {count} of {registered} devices serve");
        ever += U256::from(registered);
        for index in 0..count {
            let device = devices.in_service_at(cx, network, index)?;
            let record = devices.find(cx, device)?;
            let listed = record.network == network.0 && record.index == index;
            holds!(listed && record.is_in_service(), "device {device} is not at {index}");
            *owned.entry(record.owner).or_default() += U256::ONE;
        }
    }
    let mut total = U256::ZERO;
    for account in accounts {
        let balance = devices.balances.get(cx, *account)?;
        let least = owned.get(account).copied().unwrap_or_default();
        holds!(balance >= least, "{account} owns {balance} devices, but {least} serve");
        total += balance;
    }
    holds!(total == ever, "{ever} devices were registered, {total} are owned");
    Ok(())
}
