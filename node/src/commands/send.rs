//! `wayleave send`: coin from a keystore's account to another.

use super::key;
use crate::{cli::Send, devnet::accounts, out, units};
use client::Intent;
use serde_json::json;

/// Sends coin.
pub(crate) async fn run(arguments: &Send, json: bool) -> anyhow::Result<()> {
    let ledger = arguments.at.ledger().connect().await?;
    let signer = key::read(&arguments.key_file, &arguments.passphrase)?;
    accounts::refuse_outside_devnet(signer.address(), ledger.chain_id())?;
    let receipt =
        ledger.send_intent(&signer, Intent::transfer(arguments.to, arguments.coins)).await?;
    let (transaction, height) = (receipt.transaction, receipt.height);
    let coins = units::coins(arguments.coins);
    if json {
        return out::json(&json!({
            "from": signer.address(), "to": arguments.to, "coins": coins,
            "transaction": transaction, "height": height.0,
        }));
    }
    out::line(format!("sent {coins} coins to {} in block {height}", arguments.to));
    Ok(())
}
