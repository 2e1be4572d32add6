//! `wayleave dissent`: disputes what the ledger decided for an epoch, if the archive gives something else.
//!
//! Filing it costs a bond that is lost if the validators decide the same again, so nothing is filed that the
//! replay does not support. The replayed statement goes into the archive, from which the node beside it serves
//! its rows to everybody.

use super::{
    key,
    network::Network,
    verify::{self, Replay},
};
use crate::{cli::Dissent, devnet::accounts, exit::Failure, out, units};
use alloy_primitives::U256;
use client::Intent;
use contracts::{abi::ISettlements, address};
use protocol::{Epoch, Height};
use serde_json::json;
use std::path::Path;
use validator::settle::outcome;

/// Files a dissent.
pub(crate) async fn run(root: &Path, arguments: &Dissent, json: bool) -> anyhow::Result<()> {
    let network = Network::connect(&arguments.ledger).await?;
    let archive = verify::open(root, arguments.archive.as_ref())?;
    let epoch = Epoch(arguments.epoch);
    let replay = verify::replay(&network, &archive, epoch).await?;
    check(&replay, epoch)?;
    let until = in_time(&network, epoch).await?;
    let bond = bond(&network, arguments.bond).await?;
    let signer = key::read(&arguments.key_file, &arguments.passphrase)?;
    accounts::refuse_outside_devnet(signer.address(), network.ledger.chain_id())?;
    let coins = units::coins(bond);
    if !json {
        let window = match until {
            Some(until) => format!("this is possible until block {until}"),
            None => "its window for disputes stands still".to_owned(),
        };
        out::line(format!(
            "the archive does not give what the ledger decided for epoch {epoch}; bonding {coins} coins of {}, which are lost if it is decided the same again and come back if not ({window})",
            signer.address()
        ));
    }
    archive.put_statement(&replay.settled.statement).await?;
    let call = ISettlements::dissentCall {
        network: network.id.0,
        epoch: epoch.0,
        outcome: outcome(&replay.settled),
    };
    let intent = Intent { value: bond, ..Intent::call(address::SETTLEMENTS, &call) };
    let receipt = network.ledger.send_intent(&signer, intent).await?;
    let (transaction, height) = (receipt.transaction, receipt.height);
    let statement = replay.settled.statement.digest();
    if json {
        return out::json(&json!({
            "epoch": epoch, "statement": statement, "bond": coins,
            "transaction": transaction, "height": height.0,
        }));
    }
    out::line(format!("epoch {epoch} is disputed since block {height}, by statement {statement}"));
    out::line(format!("  transaction {transaction}"));
    out::line("validators replay it and vote again; `wayleave status` shows while they do");
    Ok(())
}

/// Refuses a dissent that the replay does not support.
fn check(replay: &Replay, epoch: Epoch) -> anyhow::Result<()> {
    Err(match replay.agrees() {
        Some(false) => return Ok(()),
        Some(true) => Failure::Check(format!(
            "the archive gives what the ledger decided for epoch {epoch}: there is nothing to dispute, and the bond would be lost"
        )),
        None => Failure::Check(format!("epoch {epoch} is disputed already")),
    }
    .into())
}

/// The first block in which the epoch can be claimed, and so disputed no more. Nothing while its window stands
/// still, since others that were decided with it are not decided again yet.
async fn in_time(network: &Network, epoch: Epoch) -> anyhow::Result<Option<Height>> {
    let call = ISettlements::claimableFromCall { network: network.id.0, epoch: epoch.0 };
    let until = Height(network.ledger.call(address::SETTLEMENTS, call).await?);
    // What the ledger decided was looked at before, so no height does not mean that it is not decided.
    if until == Height::default() {
        return Ok(None);
    }
    if network.ledger.head().await? >= until {
        return Err(Failure::Check(format!(
            "the dispute window of epoch {epoch} was over at block {until}: what it decided can be claimed and stays"
        ))
        .into());
    }
    Ok(Some(until))
}

/// The bond that was given, or the least.
async fn bond(network: &Network, given: Option<U256>) -> anyhow::Result<U256> {
    let call = ISettlements::dissentBondCall {};
    let least = network.ledger.call(address::SETTLEMENTS, call).await?;
    let bond = given.unwrap_or(least);
    if bond < least {
        anyhow::bail!("a dissent takes a bond of {} coins at least", units::coins(least));
    }
    Ok(bond)
}
