//! `wayleave claim`: pays out what an account's latest leaf holds.

use super::{key, names, network::Network};
use crate::{
    cli,
    devnet::accounts::{self, Accounts, CHAIN_ID},
    exit::Failure,
    out,
};
use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use anyhow::bail;
use contracts::{abi::ISettlements, address};
use protocol::{Account, Epoch, Micros, Tokens, leaf::Leaf};
use serde::Serialize;

/// What a claim paid.
#[derive(Debug, Serialize)]
pub(crate) struct Paid {
    /// The account.
    pub(crate) account: Account,
    /// The epoch whose leaf was claimed.
    pub(crate) epoch: Epoch,
    /// Tokens paid.
    pub(crate) tokens: Tokens,
    /// Dollars paid.
    pub(crate) dollars: Micros,
    /// The transaction.
    pub(crate) transaction: String,
}

/// Claims for an account.
pub(crate) async fn run(arguments: &cli::Claim, json: bool) -> anyhow::Result<()> {
    let network = Network::connect(&arguments.ledger).await?;
    let signer = signer(arguments, network.ledger.chain_id())?;
    let paid = claim(&network, &signer, signer.address()).await?;
    if json {
        return out::json(&paid);
    }
    out::line(format!(
        "{} received {} and {} tokens for all epochs up to {}",
        paid.account, paid.dollars, paid.tokens, paid.epoch
    ));
    out::line(format!("  transaction {}", paid.transaction));
    Ok(())
}

/// What a claim would pay now.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    epoch: Epoch,
    leaf: Leaf,
    proof: Vec<B256>,
    tokens: Tokens,
    /// Dollars that it would pay.
    pub(crate) dollars: Micros,
}

/// What the newest leaf of `account` that can be claimed holds beyond what was claimed, if anything. A
/// root can be claimed when its dispute window is over.
pub(crate) async fn due(network: &Network, account: Account) -> anyhow::Result<Option<Due>> {
    let Some(epoch) = network.ledger.claimable_epoch(network.id).await? else { return Ok(None) };
    let statement = network.statement(epoch).await?;
    let Some(state) = statement.account(account) else { return Ok(None) };
    let leaf = state.leaf(network.id, epoch);
    let (tokens, dollars) = network.ledger.claimed(network.id, account).await?;
    let (tokens, dollars) =
        (leaf.vested.saturating_sub(tokens), leaf.earned.cash.saturating_sub(dollars));
    if tokens.is_zero() && dollars.is_zero() {
        return Ok(None);
    }
    let proof = statement.tree().proof(leaf.hash()).unwrap_or_default();
    Ok(Some(Due { epoch, leaf, proof, tokens, dollars }))
}

/// Claims what is due to `account`. Anyone may send it.
pub(crate) async fn claim(
    network: &Network,
    sender: &PrivateKeySigner,
    account: Account,
) -> anyhow::Result<Paid> {
    let Due { epoch, leaf, proof, tokens, dollars } =
        due(network, account).await?.ok_or_else(|| {
            Failure::NotFound(format!(
                "{account} has nothing to claim now: an epoch can be claimed when its dispute window is over"
            ))
        })?;
    let call = ISettlements::claimCall { epoch: epoch.0, leaf: (&leaf).into(), proof };
    let receipt = network.ledger.send(sender, address::SETTLEMENTS, &call).await?;
    let transaction = receipt.transaction.to_string();
    Ok(Paid { account, epoch, tokens, dollars, transaction })
}

fn signer(arguments: &cli::Claim, chain_id: u64) -> anyhow::Result<PrivateKeySigner> {
    match (&arguments.account, &arguments.key_file) {
        (None, Some(file)) => {
            let signer = key::read(file, &arguments.passphrase)?;
            accounts::refuse_outside_devnet(signer.address(), chain_id)?;
            Ok(signer)
        }
        (Some(name), None) if chain_id == CHAIN_ID => {
            let known = Accounts::derive(32)?;
            let account = names::account(name, chain_id)?;
            match known.all().find(|named| named.account() == account) {
                Some(named) => Ok(named.signer.clone()),
                None => {
                    bail!("{name} is no devnet account: give its keystore with --key-file FILE")
                }
            }
        }
        (Some(_), None) => bail!("named accounts exist on the devnet only: give --key-file FILE"),
        _ => bail!("say who claims: a devnet name such as operator-1, or --key-file FILE"),
    }
}
