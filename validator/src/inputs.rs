//! Building an epoch's inputs file from the ledger's state at the last height before the epoch.

use client::{
    CallError, Client, RpcError,
    abi::{INetworks, ISettlements},
    address,
};
use consensus::Header;
use protocol::{
    Epoch, Height, NetworkId,
    inputs::{Inputs, InputsError},
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
}

/// Builds the inputs of `epoch` from the state after the block with `header`, which must be the last one
/// before the epoch (or genesis, for epoch 0).
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
        ledger.root(network, Epoch(settled.epoch)).await?.unwrap_or_default().0
    } else {
        [0; 32]
    };
    let treasury = INetworks::treasuryCall { network: network.0 };
    let treasury = ledger.call_at(address::NETWORKS, treasury, height).await?;
    let roster = ledger.roster(network, height).await?;
    let devices: BTreeSet<_> = roster.iter().map(|device| device.id).collect();
    let mut rails = ledger.rails(network, height).await?;
    // A rail may outlive its device's service: it pays nothing then, and is left out with its dataset.
    rails.retain(|rail| rail.device.0 == [0; 32] || devices.contains(&rail.device));
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
    };
    inputs.validate()?;
    Ok(inputs)
}
