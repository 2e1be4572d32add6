//! Building an epoch's inputs file from the ledger's state at the last height before the epoch.

use client::{
    CallError, Client, RpcError,
    abi::{INetworks, ISettlements},
    address,
};
use consensus::Header;
use protocol::{
    DeviceId, Epoch, Height, NetworkId,
    inputs::{Inputs, InputsError, Rail},
};
use std::collections::BTreeSet;

/// Why an inputs file cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The ledger does not answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// What was read breaks a rule of the file.
    #[error(transparent)]
    Inputs(#[from] InputsError),
    /// The ledger does not have the block yet.
    #[error("the ledger has no block {0} yet")]
    Ahead(Height),
}

/// Builds the inputs of `epoch` from the state after the block with `header`, which must be the last one
/// before the epoch (or genesis, for epoch 0).
///
/// Only rails that can be charged in the epoch are in the file: opened before it, not ended before the newest
/// claimable epoch, and to a device in service if to one. The first epoch settled after a rail's end pays
/// vouchers, and what is only decided can be disputed and end void: then a later epoch is the first, and the
/// rail has to be in its file, which was fixed long before. What is claimable stays so. So a rail that is left
/// out is charged in no later epoch: its end and a device's retirement are for good as well.
///
/// Everything is read at that height, so that all who build the file build the same, whatever was decided or
/// disputed since.
///
/// # Errors
/// [`BuildError`], and when the state of that height is no longer kept.
pub async fn build(
    ledger: &Client,
    header: &Header,
    network: NetworkId,
    epoch: Epoch,
) -> Result<Inputs, BuildError> {
    let height = Height(header.height);
    let settled = ISettlements::finalEpochCall { network: network.0 };
    let settled = ledger.call_at(address::SETTLEMENTS, settled, height).await?;
    let latest_root = if settled.any {
        let root = ISettlements::rootCall { network: network.0, epoch: settled.epoch };
        ledger.call_at(address::SETTLEMENTS, root, height).await?.0
    } else {
        [0; 32]
    };
    let claimable = ISettlements::claimableEpochCall { network: network.0 };
    let claimable = ledger.call_at(address::SETTLEMENTS, claimable, height).await?;
    let paid_until = claimable.any.then_some(Epoch(claimable.epoch));
    let treasury = INetworks::treasuryCall { network: network.0 };
    let treasury = ledger.call_at(address::NETWORKS, treasury, height).await?;
    let roster = ledger.roster(network, height).await?;
    let devices: BTreeSet<_> = roster.iter().map(|device| device.id).collect();
    let counts = |rail: &Rail| {
        let served = rail.device == DeviceId::default() || devices.contains(&rail.device);
        served && may_pay(rail, epoch, paid_until)
    };
    let mut rails = ledger.rails(network, height).await?;
    rails.retain(counts);
    let mut datasets = ledger.datasets(network, height).await?;
    datasets.retain(|set| rails.binary_search_by_key(&set.rail, |rail| rail.id).is_ok());
    let inputs = Inputs {
        version: 1,
        chain_id: ledger.chain_id(),
        network,
        epoch,
        clock: ledger.clock().await?,
        mix: header.mix.0,
        latest_root,
        rails_contract: address::RAILS,
        treasury,
        manifest: (*ledger.manifest(network, epoch).await?).clone(),
        roster,
        rails,
        datasets,
        by_device: Default::default(),
    };
    inputs.validate()?;
    Ok(inputs)
}

/// Whether a rail may have to pay in `epoch`, when what is settled up to `paid_until` is claimable.
fn may_pay(rail: &Rail, epoch: Epoch, paid_until: Option<Epoch>) -> bool {
    let awaited = paid_until.is_none_or(|paid| paid <= rail.expiry);
    rail.opened < epoch && (epoch <= rail.expiry || awaited)
}

#[cfg(test)]
mod tests;
