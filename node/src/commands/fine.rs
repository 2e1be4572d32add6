//! `wayleave fine`: fines the seats that decided what a dissent overruled, one transaction a seat. What cannot be
//! fined, or was, costs nothing: a transaction that would fail is not sent.

use super::{key, network::Network};
use crate::{cli::Fine, devnet::accounts, exit::Failure, out, units};
use alloy_primitives::{Address, B256, U256};
use client::{Revert, Signer};
use contracts::{
    abi::{
        ISettlements::{self, Fined, NotFinable},
        IValidators::NoSuchSeat,
    },
    address,
};
use protocol::Epoch;
use serde::Serialize;

/// The most seats of a committee that are looked at.
const SEATS_MAX: u64 = 1_024;

/// A seat that was fined.
#[derive(Debug, Serialize)]
struct Paid {
    key: B256,
    validator: Address,
    /// What it lost, and what the dissenter got of it, in whole coins.
    amount: String,
    reward: String,
}

/// Fines all seats that can be.
pub(crate) async fn run(arguments: &Fine, json: bool) -> anyhow::Result<()> {
    let network = Network::connect(&arguments.ledger).await?;
    let signer = key::read(&arguments.key_file, &arguments.passphrase)?;
    accounts::refuse_outside_devnet(signer.address(), network.ledger.chain_id())?;
    let epoch = Epoch(arguments.epoch);
    let fined = fine_all(&network, &signer, epoch).await?;
    if fined.is_empty() {
        return Err(Failure::NotFound(format!(
            "nobody can be fined for epoch {epoch} now: a seat can be once, from when what a dissent put in place of its root can be claimed until the bonds of that term are free"
        ))
        .into());
    }
    if json {
        return out::json(&fined);
    }
    for Paid { key, validator, amount, reward } in fined {
        out::line(format!(
            "{key} of {validator} lost {amount} coins, {reward} of them to the dissenter"
        ));
    }
    Ok(())
}

async fn fine_all(network: &Network, signer: &Signer, epoch: Epoch) -> anyhow::Result<Vec<Paid>> {
    let (ledger, id) = (&network.ledger, network.id.0);
    let call = ISettlements::roundOfCall { network: id, epoch: epoch.0 };
    let last = ledger.call(address::SETTLEMENTS, call).await?.number;
    let mut fined = Vec::new();
    for round in 1..=last {
        let call = ISettlements::rulingOfCall { network: id, epoch: epoch.0, round };
        if ledger.call(address::SETTLEMENTS, call).await?.dissenter.is_zero() {
            continue;
        }
        for seat in 0..SEATS_MAX {
            let call = ISettlements::fineCall { network: id, epoch: epoch.0, round, seat };
            match ledger.send(signer, address::SETTLEMENTS, &call).await {
                Ok(receipt) => fined.extend(receipt.event::<Fined>(address::SETTLEMENTS).map(paid)),
                Err(error) if error.revert().is_some_and(Revert::is::<NoSuchSeat>) => break,
                Err(error) if error.revert().is_some_and(Revert::is::<NotFinable>) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(fined)
}

fn paid(event: Fined) -> Paid {
    let coins = |amount: U256| units::coins(amount);
    let Fined { key, validator, amount, reward, .. } = event;
    Paid { key, validator, amount: coins(amount), reward: coins(reward) }
}
