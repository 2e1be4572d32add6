//! `wayleave send`: coin, or a network's tokens, from a keystore's account to another.

use super::key;
use crate::{cli::Send, devnet::accounts, out, units};
use client::{Intent, abi::IToken, address};
use protocol::NetworkId;
use serde_json::json;

/// Sends coin.
pub(crate) async fn run(arguments: &Send, json: bool) -> anyhow::Result<()> {
    let ledger = arguments.at.ledger().connect().await?;
    let signer = key::read(&arguments.key_file, &arguments.passphrase)?;
    accounts::refuse_outside_devnet(signer.address(), ledger.chain_id())?;
    let (to, value) = (arguments.to, arguments.coins);
    let (intent, of) = match arguments.tokens.map(NetworkId) {
        None => (Intent::transfer(to, value), "coins".to_owned()),
        Some(network) => {
            let call = IToken::transferCall { to, value };
            (Intent::call(address::token(network), &call), format!("tokens of network {network}"))
        }
    };
    let receipt = ledger.send_intent(&signer, intent).await?;
    let (transaction, height) = (receipt.transaction, receipt.height);
    let amount = units::coins(value);
    if json {
        let unit = if arguments.tokens.is_some() { "tokens" } else { "coins" };
        return out::json(&json!({
            "from": signer.address(), "to": to, unit: amount,
            "transaction": transaction, "height": height.0,
        }));
    }
    out::line(format!("sent {amount} {of} to {to} in block {height}"));
    Ok(())
}
