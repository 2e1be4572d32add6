//! Wiring of the S3 service to a real ledger and real agents, the same for `up` and `service s3`.

use alloy_signer_local::PrivateKeySigner;
use anyhow::Context as _;
use client::{Client, address};
use protocol::{NetworkId, voucher};
use s3_service::{
    Config, Credentials, Keyring, Limits, RailPlan, Running, Service, World, codec::Shape,
    rails::ledger::ClientLedger, shards::remote::RemoteShards,
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use storage_kind::wire;
use transport::{BindConfig, Endpoint};

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
const SHAPE: (u8, u8) = (4, 6);

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

    /// Starts the service.
    pub(crate) async fn open(&self, ledger: Client, keyring: Keyring) -> anyhow::Result<Running> {
        let config = self.config(ledger.chain_id())?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut bind = BindConfig::new(*keyring.endpoint.expose(), loopback);
        bind.max_frame = wire::BODY_MAX;
        let endpoint = Endpoint::bind(bind).await?;
        let domain = voucher::domain(ledger.chain_id(), address::RAILS);
        let shards = RemoteShards::new(endpoint, &self.signer, &domain)?;
        let world = World {
            shards: Arc::new(shards),
            ledger: Arc::new(ClientLedger::new(
                ledger,
                self.network,
                self.signer.clone(),
                self.payer.clone(),
            )),
            clock: Arc::new(agent::WallClock),
        };
        Service::start(config, keyring, world).await.context("starting the S3 service")
    }
}
