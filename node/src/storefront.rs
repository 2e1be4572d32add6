//! Wiring of the S3 service to a real ledger and real agents, the same for `up` and `service s3`.

use alloy_signer_local::PrivateKeySigner;
use anyhow::Context as _;
use client::{Client, address};
use protocol::{NetworkId, RailId};
use s3_service::{
    Config, Credentials, Keyring, Limits, RailPlan, Running, Service, Snapshot, World,
    backup::Recovered, codec::Shape,
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::sync::RwLock;

/// What differs between the two.
pub(crate) struct Storefront {
    /// The folder of index and keyring.
    pub(crate) data: PathBuf,
    /// Where S3 clients connect.
    pub(crate) listen: SocketAddr,
    /// Opens the keyring.
    pub(crate) passphrase: String,
    /// S3 credentials, if not the keyring's own.
    pub(crate) credentials: Option<Credentials>,
    /// Signs vouchers and freezes datasets.
    pub(crate) signer: PrivateKeySigner,
    /// Opens rails; without one they are the customer's to open.
    pub(crate) payer: Option<PrivateKeySigner>,
    /// The network.
    pub(crate) network: NetworkId,
}

/// The devnet's erasure code: any 4 of 6 shards give a segment back.
pub(crate) const SHAPE: (u8, u8) = (4, 6);

impl Storefront {
    fn config(&self, chain_id: u64) -> anyhow::Result<Config> {
        Ok(Config {
            data: self.data.clone(),
            listen: self.listen,
            passphrase: self.passphrase.clone(),
            credentials: self.credentials.clone(),
            signer: self.signer.clone(),
            chain_id,
            network: self.network,
            rails_contract: address::RAILS,
            shape: Shape::new(SHAPE.0, SHAPE.1)?,
            plan: RailPlan::default(),
            limits: Limits::default(),
        })
    }

    /// The keyring, made if it is not there. Deriving its key takes some tenths of a second, so this
    /// runs beside the start of everything else.
    pub(crate) async fn keyring(&self, chain_id: u64) -> anyhow::Result<Keyring> {
        let config = self.config(chain_id)?;
        Ok(tokio::task::spawn_blocking(move || Service::keyring(&config)).await??)
    }

    /// Makes the index of a service that lost its disk anew; `silent` agents need not answer.
    pub(crate) async fn recover(
        &self,
        ledger: Client,
        keyring: &Keyring,
        silent: Option<usize>,
    ) -> anyhow::Result<Recovered> {
        let config = self.config(ledger.chain_id())?;
        let world = World::real(&config, keyring, ledger, None).await?;
        let recovered = Service::recover(&config, keyring, &world, silent).await;
        // The service that starts now has the same address.
        world.shards.close().await;
        recovered.context("recovering the S3 service")
    }

    /// Starts the service.
    pub(crate) async fn open(&self, ledger: Client, keyring: Keyring) -> anyhow::Result<Running> {
        let config = self.config(ledger.chain_id())?;
        let world = World::real(&config, &keyring, ledger, self.payer.clone()).await?;
        Service::start(config, keyring, world).await.context("starting the S3 service")
    }
}

/// A running service that several parts look at and one stops.
#[derive(Clone, Debug)]
pub(crate) struct Open(Arc<RwLock<Option<Running>>>);

impl Open {
    /// Shares a service.
    pub(crate) fn new(running: Running) -> Self {
        Self(Arc::new(RwLock::new(Some(running))))
    }

    /// What the service is and did; nothing once it was stopped.
    pub(crate) async fn snapshot(&self) -> Option<Snapshot> {
        let running = self.0.read().await;
        let snapshot = running.as_ref()?.snapshot().await;
        snapshot.inspect_err(|error| tracing::warn!(%error, "the S3 index could not be read")).ok()
    }

    /// Something was not proven on these rails.
    pub(crate) async fn suspect(&self, rails: Vec<RailId>) {
        if let Some(running) = self.0.read().await.as_ref() {
            running.suspect(rails);
        }
    }

    /// Stops the service, once those who look at it have seen what they asked for.
    pub(crate) async fn stop(&self) {
        let running = self.0.write().await.take();
        if let Some(running) = running {
            running.stop().await;
        }
    }
}
