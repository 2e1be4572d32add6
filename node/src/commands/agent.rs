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
use protocol::{DeviceId, NetworkId};
use std::{convert::Infallible, time::Duration};
use storage_agent::{Config, Drain, Running, StorageAgent};

/// The device's keystore in the data folder.
const DEVICE_KEY: &str = "device.json";
/// How often it is looked at how far a device that leaves has come.
const LOOK: Duration = Duration::from_secs(5);

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
    // Who leaves may have asked the stake back.
    if !arguments.drain {
        joining.enroll(&ledger, |message| secret.sign(message)).await?;
    }
    let mut config =
        Config::new(joining.network, at.rpc().to_owned(), arguments.data.clone(), secret);
    config.capacity = arguments.capacity;
    config.light = ledger.trust();
    config.listen = arguments.listen;
    config.leaving = (arguments.drain || arguments.stay).then_some(arguments.drain);
    config.validators =
        at.validators().map(|http| Validator { http: http.to_owned(), peer: None }).collect();
    let running = StorageAgent::start(config).await?;
    if joining.announce(&ledger, &running.endpoint()).await? {
        out::line(format!("announced {}", running.endpoint()));
    }
    if running.drain().is_none() {
        out::line(format!(
            "offering {} as device {}; its duties begin with the next epoch after a customer opens a rail",
            units::bytes(arguments.capacity),
            running.device_id()
        ));
    }
    out::line(format!("see what it earns and why: wayleave why {}", running.device_id()));
    tokio::select! {
        asked = stop::asked() => asked?,
        never = leave(&running) => match never {},
    }
    out::line("stopping; run the same command to go on");
    running.stop().await;
    Ok(())
}

/// Says how the leaving of a device goes, whenever that changed.
async fn leave(running: &Running) -> Infallible {
    let mut said = None;
    loop {
        if let Some(left) = running.drain().filter(|left| said != Some(*left)) {
            out::line(leaving(&left, running.device_id()));
            said = Some(left);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn leaving(left: &Drain, device: DeviceId) -> String {
    if left.shards > 0 {
        return format!(
            "leaving: {} in {} shards to be taken over, {} rails open; keep this running",
            units::bytes(left.bytes),
            left.shards,
            left.rails
        );
    }
    if left.rails > 0 {
        return format!("leaving: nothing is held any more, {} rails are to end", left.rails);
    }
    format!(
        "device {device} has left: nothing is held and no rail is open. Let this run for one more epoch, for the \
         last vouchers; then its stake can be asked back and the device be retired"
    )
}
