//! `wayleave agent`: joins a network with hardware and runs until it is stopped.

use super::{join::Joining, key};
use crate::{
    cli,
    devnet::accounts,
    metrics::{self, Sources},
    out, stop, units,
};
use agent::{Validator, keystore};
use anyhow::Context as _;
use protocol::NetworkId;
use storage_agent::{Config, StorageAgent};

/// The device's keystore in the data folder.
const DEVICE_KEY: &str = "device.json";

/// Runs an agent command.
pub(crate) async fn run(agent: cli::Agent) -> anyhow::Result<()> {
    match agent {
        cli::Agent::Storage(arguments) => Box::pin(storage(arguments)).await,
    }
}

async fn storage(arguments: cli::StorageAgent) -> anyhow::Result<()> {
    let at = &arguments.ledger;
    let ledger = at.connect().await?;
    let passphrase = arguments.passphrase.read()?;
    let owner = key::open(&arguments.owner_key, &passphrase)?;
    accounts::refuse_outside_devnet(owner.address(), ledger.chain_id())?;
    std::fs::create_dir_all(&arguments.data)
        .with_context(|| format!("making {}", arguments.data.display()))?;
    let secret = keystore::open_or_create(&arguments.data.join(DEVICE_KEY), &passphrase)?;
    let kind = registry::by_name("storage").context("this program has no storage kind")?;
    let joining = Joining {
        network: NetworkId(at.network),
        kind: kind.id(),
        key: secret.key(),
        capacity: arguments.capacity,
        owner: &owner,
    };
    if let Some(address) = arguments.metrics {
        let sources = Sources { recorder: metrics::recorder()?, ledger: None, s3: None };
        metrics::serve(address, sources).await?;
    }
    joining.enroll(&ledger, |message| secret.sign(message)).await?;
    let mut config =
        Config::new(joining.network, at.rpc().to_owned(), arguments.data.clone(), secret);
    config.capacity = arguments.capacity;
    config.light = ledger.trust();
    config.listen = arguments.listen;
    config.validators =
        at.validators().map(|http| Validator { http: http.to_owned(), peer: None }).collect();
    let running = StorageAgent::start(config).await?;
    if joining.announce(&ledger, &running.endpoint()).await? {
        out::line(format!("announced {}", running.endpoint()));
    }
    out::line(format!(
        "offering {} as device {}; its duties begin with the next epoch after a customer opens a rail",
        units::bytes(arguments.capacity),
        running.device_id()
    ));
    out::line(format!("see what it earns and why: wayleave why {}", running.device_id()));
    stop::asked().await?;
    out::line("stopping; run the same command to go on");
    running.stop().await;
    Ok(())
}
