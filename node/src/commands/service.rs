//! `wayleave service`: serves customers of a network and runs until it is stopped.

use super::{key, network::Network};
use crate::{
    cli,
    devnet::accounts,
    metrics::{self, Sources},
    out,
    s3::Access,
    stop,
    storefront::{Open, SHAPE, Storefront},
    units,
};
use alloy_primitives::U256;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, bail};
use client::{Client, Intent};
use contracts::{
    abi::{IDollars, IRails, IToken},
    address,
};
use protocol::{Micros, NetworkId, Reason};
use s3_service::{Credentials, KEYRING_FILE, RailPlan};
use std::{convert::Infallible, path::Path, time::Duration};
use storage_kind::STORAGE;

/// The service's own key in the data folder: it signs vouchers and owns nothing but gas.
const SIGNER_KEY: &str = "signer.json";

/// How often it is looked for a new statement.
const LOOK: Duration = Duration::from_secs(5);

/// Runs a service command.
pub(crate) async fn run(service: cli::Service) -> anyhow::Result<()> {
    match service {
        cli::Service::S3(arguments) => s3(arguments).await,
    }
}

async fn s3(arguments: cli::S3Service) -> anyhow::Result<()> {
    let at = &arguments.ledger;
    let ledger = at.connect().await?;
    let passphrase = arguments.passphrase.read()?;
    let payer = key::open(&arguments.payer_key, &passphrase)?;
    accounts::refuse_outside_devnet(payer.address(), ledger.chain_id())?;
    std::fs::create_dir_all(&arguments.data)
        .with_context(|| format!("making {}", arguments.data.display()))?;
    let recorder = arguments.metrics.map(|_| metrics::recorder()).transpose()?;
    let network = NetworkId(at.network);
    if arguments.recover {
        keys_are_there(&arguments.data)?;
    }
    Deposit::look(&ledger, &payer, network).await?.keep(arguments.deposit).await?;
    let signer = key::open_or_create(&arguments.data.join(SIGNER_KEY), &passphrase)?;
    gas(&ledger, &payer, &signer).await?;
    let front = Storefront {
        data: arguments.data.clone(),
        listen: arguments.listen,
        passphrase,
        credentials: None,
        signer,
        payer: Some(payer),
        network,
    };
    let keyring = front.keyring(ledger.chain_id()).await?;
    if arguments.recover {
        let found = front.recover(ledger.clone(), &keyring, arguments.silent).await?;
        let (answered, asked) = found.answered;
        out::line(format!(
            "recovered {} objects, {}, from what {answered} of {asked} agents keep",
            found.objects,
            units::bytes(found.object_bytes)
        ));
    }
    let running = front.open(ledger, keyring).await?;
    let Credentials { access_key, secret_key } = running.credentials().clone();
    out::line(format!("S3 answers at {}", running.url()));
    let access = Access { url: running.url(), key: access_key, secret: secret_key };
    access.exports().iter().for_each(out::line);
    out::line(format!("the key folder to back up: {}", arguments.data.display()));
    let service = Open::new(running);
    if let (Some(address), Some(recorder)) = (arguments.metrics, recorder) {
        let sources = Sources { recorder, ledger: None, s3: Some(service.clone()) };
        metrics::serve(address, sources).await?;
    }
    let statements = Network::connect(at).await?;
    tokio::select! {
        asked = stop::asked() => asked?,
        never = heed(&statements, &service) => match never {},
    }
    out::line("stopping; run the same command to go on");
    service.stop().await;
    Ok(())
}

/// Has the service look at the rails of which an epoch's statement says that proofs were missed.
async fn heed(network: &Network, service: &Open) -> Infallible {
    let mut heeded = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let Ok(latest) = network.latest().await else { continue };
        if heeded == Some(latest) {
            continue;
        }
        match network.statement(latest).await {
            Ok(statement) => {
                let causes = statement.rows.iter().flat_map(|row| &row.causes);
                let missed = causes.filter(|cause| cause.reason == Reason::MissedDuty);
                service.suspect(missed.filter_map(|cause| cause.rail).collect()).await;
                heeded = Some(latest);
            }
            Err(error) => tracing::debug!(%error, "a statement could not be read"),
        }
    }
}

/// Nothing can be recovered with keys that are made now.
fn keys_are_there(data: &Path) -> anyhow::Result<()> {
    for name in [KEYRING_FILE, SIGNER_KEY] {
        let path = data.join(name);
        if !path.exists() {
            bail!(
                "{} is missing: give back {KEYRING_FILE} and {SIGNER_KEY} of the service that was lost",
                path.display()
            );
        }
    }
    Ok(())
}

/// Sees to it that the service's key has gas.
async fn gas(
    ledger: &Client,
    payer: &PrivateKeySigner,
    signer: &PrivateKeySigner,
) -> anyhow::Result<()> {
    if !ledger.balance(signer.address()).await?.is_zero() {
        return Ok(());
    }
    let coin = ledger.balance(payer.address()).await?;
    let gift = Intent::transfer(signer.address(), coin / U256::from(100));
    ledger.send_intent(payer, gift).await?;
    let account = signer.address();
    out::line(format!("gave the service's key {account} a hundredth of the coin for gas"));
    Ok(())
}

/// What a payer has deposited, and what more could be.
struct Deposit<'a> {
    ledger: &'a Client,
    payer: &'a PrivateKeySigner,
    /// In place.
    deposited: Micros,
    /// Dollars that are free.
    dollars: Micros,
    /// Stablecoin, in millionths, which becomes dollars one to one.
    stable: Micros,
    /// What rails to the fewest agents that can keep data reserve.
    needed: Micros,
}

impl<'a> Deposit<'a> {
    async fn look(
        ledger: &'a Client,
        payer: &'a PrivateKeySigner,
        network: NetworkId,
    ) -> anyhow::Result<Self> {
        let account = payer.address();
        let purse = ledger.purse(network, account).await?;
        if purse.coin.is_zero() {
            bail!("next: send some coin to {account} to pay for transactions, then run this again");
        }
        let stable = ledger.call(address::STABLECOIN, IToken::balanceOfCall { account }).await?;
        let manifest = ledger.manifest(network, ledger.current_epoch().await?).await?;
        let terms = manifest.terms(STORAGE).context("the network has no storage")?;
        let plan = RailPlan::default();
        let rate = terms.dollars(plan.bytes, terms.price).0;
        let rail = rate.saturating_mul(plan.epochs).saturating_add(plan.vouchers.0);
        Ok(Self {
            ledger,
            payer,
            deposited: purse.deposited,
            dollars: purse.dollars,
            // More than can be counted in millionths can be deposited in parts.
            stable: Micros(u64::try_from(stable).unwrap_or(u64::MAX)),
            needed: Micros(rail.saturating_mul(SHAPE.1.into())),
        })
    }

    /// Deposits what `wanted` has more than is in place.
    async fn keep(&self, wanted: Option<Micros>) -> anyhow::Result<()> {
        let missing = match wanted {
            Some(wanted) => wanted.saturating_sub(self.deposited),
            None if self.deposited.is_zero() => bail!("{}", self.ask()),
            None => Micros(0),
        };
        if missing.is_zero() {
            out::line(format!("{} is deposited", self.deposited));
            self.warn(self.deposited);
            return Ok(());
        }
        let from_stable = missing.saturating_sub(self.dollars);
        if self.stable < from_stable {
            bail!(
                "next: send {} in stablecoin ({}) to {}, then run this again: {missing} is to be deposited, and it holds {} in dollars and {} in stablecoin",
                from_stable.saturating_sub(self.stable),
                address::STABLECOIN,
                self.payer.address(),
                self.dollars,
                self.stable
            );
        }
        for result in self.ledger.send_many(self.payer, transfers(missing, from_stable)).await {
            result?;
        }
        let now = self.deposited.saturating_add(missing);
        out::line(format!("deposited {missing}, now {now}"));
        self.warn(now);
        Ok(())
    }

    /// Says if a deposit does not go far enough.
    fn warn(&self, deposited: Micros) {
        if deposited < self.needed {
            out::line(format!(
                "rails to {} agents reserve {}: nothing can be stored before that is deposited",
                SHAPE.1, self.needed
            ));
        }
    }

    /// What is needed, what is there, and the command to copy.
    fn ask(&self) -> String {
        let command: Vec<String> = std::env::args().collect();
        format!(
            "nothing is deposited for rails yet, and only what --deposit says ever is\n  \
             needed     {} reserved by rails to {} agents, the fewest that keep data\n  \
             there      {} in dollars and {} in stablecoin, of {}\n  \
             next       {} --deposit {}",
            self.needed,
            SHAPE.1,
            self.dollars,
            self.stable,
            self.payer.address(),
            command.join(" "),
            self.needed.to_string().trim_start_matches('$')
        )
    }
}

/// The transactions that deposit `amount`, so much of it from stablecoin.
fn transfers(amount: Micros, from_stable: Micros) -> Vec<Intent> {
    let mut intents = Vec::new();
    let stable = U256::from(from_stable.0);
    if !from_stable.is_zero() {
        let approve = IToken::approveCall { spender: address::DOLLARS, value: stable };
        intents.push(Intent::call(address::STABLECOIN, &approve));
        intents.push(Intent::call(address::DOLLARS, &IDollars::depositCall { stable }));
    }
    let amount = U256::from(amount.0);
    intents.push(Intent::call(address::RAILS, &IRails::depositCall { amount }));
    intents
}
