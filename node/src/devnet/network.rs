//! The parts of a devnet, started in the order in which they need one another and stopped in reverse.

use super::{
    accounts::{Accounts, CHAIN_ID},
    agents::{Agents, Places},
    control::{self, Controls},
    demo, genesis,
    ports::Ports,
    running::Running,
};
use crate::{
    home::Home,
    metrics::{self, Sources},
    s3::Access,
    served::{Served, Voter, Work},
    storefront::{Open, Storefront},
    units,
};
use anyhow::{Context as _, bail};
use consensus::{Genesis, ValidatorKeys};
use protocol::key::DeviceSecret;
use s3_service::Credentials;
use std::{fs, io::ErrorKind, net::SocketAddr, sync::Arc};
use tokio::task::JoinHandle;

/// Keystores of a devnet are under a passphrase that everybody knows, as its accounts are.
const PASSPHRASE: &str = "devnet";
/// The S3 credentials of a devnet.
const CREDENTIALS: (&str, &str) = ("wayleave", "wayleave-devnet");

/// A running devnet.
#[derive(Debug)]
pub(crate) struct Devnet {
    /// Where it answers.
    pub(crate) running: Running,
    served: Served,
    agents: Arc<Agents>,
    s3: Open,
    tasks: Vec<JoinHandle<()>>,
}

impl Devnet {
    /// Starts every part.
    pub(crate) async fn start(home: &Home, ports: Ports, count: u8) -> anyhow::Result<Self> {
        let accounts = Accounts::derive(count)?;
        let recorder = metrics::recorder()?;
        let front = Arc::new(storefront(home, &accounts, ports.s3));
        let unlocking = front.clone();
        let keyring = tokio::spawn(async move { unlocking.keyring(CHAIN_ID).await });
        let keys = ValidatorKeys::derive(&secret("validator"));
        let file = genesis_file(home, &accounts, &keys)?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let author = keys.author();
        let config = consensus::Config::new(home.ledger(), loopback, keys, file);
        let kept = units::blocks(validator::prune::KEPT, config.pace);
        let http = format!("http://{}", ports.http.local_addr()?);
        let mut served = Served::start(config, ports.rpc, "wayleave up").await?;
        let url = served.url();
        let work = Work {
            archive: home.archive(),
            http: ports.http,
            others: Vec::new(),
            kept: Some(kept),
            voter: Some(Voter {
                folder: home.validator(),
                secret: DeviceSecret::from_seed(secret("evidence")),
                author,
                signer: accounts.founder.signer.clone(),
            }),
        };
        let validator = served.work(work).await?.context("a validator takes evidence in")?;
        let places = Places { home: home.clone(), rpc: url.clone(), http: http.clone(), validator };
        let agents = Arc::new(Agents::start(places, accounts.clone()).await?);
        let s3 = front.open(super::client(home, &url).await?, keyring.await??).await?;
        let running = Running {
            rpc: url,
            http,
            control: format!("http://{}", ports.control.local_addr()?),
            token: blake3::Hash::from(rand::random::<[u8; 32]>()).to_hex().to_string(),
            s3: Access { url: s3.url(), key: CREDENTIALS.0.into(), secret: CREDENTIALS.1.into() },
            agents: count,
        };
        let s3 = Open::new(s3);
        let token = running.token.clone().into();
        let controls = Controls { agents: agents.clone(), s3: s3.clone(), token };
        let sources =
            Sources { recorder, ledger: Some(served.ledger().clone()), s3: Some(s3.clone()) };
        let access = running.s3.clone();
        let tasks = vec![
            tokio::spawn(control::serve(ports.control, controls, sources)),
            tokio::spawn(async move {
                if let Err(error) = demo::complete(&access).await {
                    tracing::warn!(%error, "the demo files are not complete");
                }
            }),
        ];
        Ok(Self { running, served, agents, s3, tasks })
    }

    /// Ends when the ledger fails.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        self.served.failed().await
    }

    /// Stops every part, those that use others first.
    pub(crate) async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.s3.stop().await;
        self.agents.stop_all().await;
        self.served.stop().await;
    }
}

/// The devnet's S3 service, over the rails that genesis opened.
fn storefront(home: &Home, accounts: &Accounts, listen: SocketAddr) -> Storefront {
    Storefront {
        data: home.s3(),
        listen,
        passphrase: PASSPHRASE.into(),
        credentials: Some(Credentials {
            access_key: CREDENTIALS.0.into(),
            secret_key: CREDENTIALS.1.into(),
        }),
        signer: accounts.service.signer.clone(),
        payer: None,
        network: genesis::NETWORK,
    }
}

/// A devnet secret, for everybody to know.
fn secret(name: &str) -> [u8; 32] {
    blake3::derive_key("wayleave devnet 2026-11 secret", name.as_bytes())
}

/// The genesis file: read if it is there, else made and written before anything starts.
fn genesis_file(home: &Home, accounts: &Accounts, keys: &ValidatorKeys) -> anyhow::Result<Genesis> {
    let path = home.genesis();
    match fs::read(&path) {
        Ok(bytes) => {
            let file: Genesis = serde_json::from_slice(&bytes)
                .with_context(|| format!("reading {} (start over with --fresh)", path.display()))?;
            let known = accounts.operators.last().map(super::accounts::Named::account);
            if known.is_some_and(|account| !file.allocations.contains_key(&account)) {
                bail!("this devnet was made with fewer agents: use --fresh, or the old --agents");
            }
            Ok(file)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let file = genesis::file(accounts, keys)?;
            let new = path.with_extension("new");
            fs::write(&new, serde_json::to_vec(&file)?)?;
            fs::File::open(&new)?.sync_all()?;
            fs::rename(&new, &path)?;
            Ok(file)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
