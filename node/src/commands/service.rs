//! `wayleave service`: serves customers of a network and runs until it is stopped.

use super::key;
use crate::{cli, devnet::accounts, exit::Failure, out, stop, storefront::Storefront};
use alloy_primitives::U256;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, bail};
use client::{Client, Intent};
use contracts::{
    abi::{IDollars, IRails, IToken},
    address,
};
use protocol::{Micros, NetworkId};
use std::path::Path;

/// The service's own key in the data folder: it signs vouchers and owns nothing but gas.
const SIGNER_KEY: &str = "signer.json";

/// Runs a service command.
pub(crate) async fn run(service: cli::Service) -> anyhow::Result<()> {
    match service {
        cli::Service::S3(arguments) => s3(arguments).await,
    }
}

async fn s3(arguments: cli::S3Service) -> anyhow::Result<()> {
    let at = &arguments.ledger;
    let ledger = at.connect().await.map_err(|error| {
        Failure::Unreachable(format!(
            "no ledger answers at {} ({error}): give --ledger URL",
            at.ledger
        ))
    })?;
    let payer = key::read(&arguments.payer_key)?;
    accounts::refuse_outside_devnet(payer.address(), ledger.chain_id())?;
    std::fs::create_dir_all(&arguments.data)
        .with_context(|| format!("making {}", arguments.data.display()))?;
    let signer = key::open_or_create(&arguments.data.join(SIGNER_KEY))?;
    fund(&ledger, &payer, &signer, NetworkId(at.network)).await?;
    let front = Storefront {
        data: arguments.data.clone(),
        listen: arguments.listen,
        passphrase: key::passphrase()?,
        credentials: None,
        signer,
        payer: Some(payer),
        network: NetworkId(at.network),
    };
    let keyring = front.keyring(ledger.chain_id()).await?;
    let running = front.open(ledger, keyring).await?;
    let credentials = running.credentials();
    out::line(format!("S3 answers at {}", running.url()));
    out::line(format!(
        "  export AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION={}",
        running.url(),
        crate::s3::REGION
    ));
    out::line(format!(
        "  export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}",
        credentials.access_key, credentials.secret_key
    ));
    out::line(format!("the key folder to back up: {}", Path::new(&arguments.data).display()));
    stop::asked().await?;
    out::line("stopping; run the same command to go on");
    running.stop().await;
    Ok(())
}

/// Sees to it that the payer has a deposit and the service's key has gas; says what is missing.
async fn fund(
    ledger: &Client,
    payer: &PrivateKeySigner,
    signer: &PrivateKeySigner,
    network: NetworkId,
) -> anyhow::Result<()> {
    let account = payer.address();
    let purse = ledger.purse(network, account).await?;
    if purse.coin.is_zero() {
        bail!("next: send some coin to {account} to pay for transactions, then run this again");
    }
    if ledger.balance(signer.address()).await?.is_zero() {
        let gift = Intent::transfer(signer.address(), purse.coin / U256::from(100));
        ledger.send_intent(payer, gift).await?;
        out::line(format!(
            "gave the service's key {} a hundredth of the coin for gas",
            signer.address()
        ));
    }
    if purse.deposited.is_zero() {
        deposit(ledger, payer, purse.dollars).await?;
    }
    Ok(())
}

/// Deposits what the payer holds in stablecoin and dollars.
async fn deposit(ledger: &Client, payer: &PrivateKeySigner, dollars: Micros) -> anyhow::Result<()> {
    let account = payer.address();
    let stable = ledger.call(address::STABLECOIN, IToken::balanceOfCall { account }).await?;
    let amount = stable.saturating_add(U256::from(dollars.0));
    if amount.is_zero() {
        bail!(
            "next: send stablecoin ({}) to {account}, then run this again; it is deposited for rails",
            address::STABLECOIN
        );
    }
    let mut intents = Vec::new();
    if !stable.is_zero() {
        let approve = IToken::approveCall { spender: address::DOLLARS, value: stable };
        intents.push(Intent::call(address::STABLECOIN, &approve));
        intents.push(Intent::call(address::DOLLARS, &IDollars::depositCall { stable }));
    }
    intents.push(Intent::call(address::RAILS, &IRails::depositCall { amount }));
    for result in ledger.send_many(payer, intents).await {
        result?;
    }
    out::line(format!("deposited {}", Micros(u64::try_from(amount).unwrap_or(u64::MAX))));
    Ok(())
}
