//! The real ledger behind [`LedgerPort`](super::LedgerPort), through its client.

use super::{LedgerError, LedgerPort, Opening, View};
use crate::index::Committed;
use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use client::{Client, SendError, abi::IRails, address};
use futures::future::BoxFuture;
use protocol::{Account, Micros, NetworkId, RailId};
use std::collections::BTreeMap;
use storage_kind::STORAGE;

/// Rails opened by one transaction.
const OPEN_MAX: usize = 32;

/// The ledger through its client.
#[derive(Clone)]
pub struct ClientLedger {
    client: Client,
    network: NetworkId,
    signer: PrivateKeySigner,
    payer: Option<PrivateKeySigner>,
}

impl std::fmt::Debug for ClientLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientLedger")
            .field("network", &self.network)
            .field("signer", &self.signer.address())
            .field("payer", &self.payer.as_ref().map(PrivateKeySigner::address))
            .finish_non_exhaustive()
    }
}

fn silent(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Silent(error.to_string())
}

fn refused(what: &'static str) -> impl FnOnce(SendError) -> LedgerError {
    move |error| match error {
        SendError::Rpc(error) => silent(error),
        SendError::Unconfirmed { .. } => silent(error),
        error => LedgerError::Refused { what, cause: error.to_string() },
    }
}

impl ClientLedger {
    /// The ledger behind `client`. With a payer's key rails are opened as they are needed; without
    /// one the customer's wallet opens them.
    pub const fn new(
        client: Client,
        network: NetworkId,
        signer: PrivateKeySigner,
        payer: Option<PrivateKeySigner>,
    ) -> Self {
        Self { client, network, signer, payer }
    }

    async fn look(&self) -> Result<View, LedgerError> {
        let height = self.client.head().await.map_err(silent)?;
        let clock = self.client.clock().await.map_err(silent)?;
        let manifest =
            self.client.manifest(self.network, clock.epoch(height)).await.map_err(silent)?;
        let terms = *manifest
            .terms(STORAGE)
            .ok_or_else(|| LedgerError::Silent("the network pays for no storage".into()))?;
        let roster = self.client.roster(self.network, height).await.map_err(silent)?;
        let endpoints = self.client.endpoints(self.network, height).await.map_err(silent)?;
        let mut endpoints: BTreeMap<_, _> = endpoints.into_iter().collect();
        let rails = self.client.rails(self.network, height).await.map_err(silent)?;
        let devices = roster
            .into_iter()
            .map(|device| {
                let endpoint = endpoints.remove(&device.id);
                (device, endpoint)
            })
            .collect();
        Ok(View { height, clock, terms, devices, rails })
    }

    fn payer(&self, what: &'static str) -> Result<&PrivateKeySigner, LedgerError> {
        self.payer.as_ref().ok_or(LedgerError::NoPayer(what))
    }

    /// Who signs vouchers.
    pub fn signer(&self) -> Account {
        self.signer.address()
    }
}

impl LedgerPort for ClientLedger {
    fn view(&self) -> BoxFuture<'_, Result<View, LedgerError>> {
        Box::pin(self.look())
    }

    fn open(&self, rails: Vec<Opening>) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let payer = self.payer("open rails")?;
            let rails: Vec<_> = rails
                .into_iter()
                .map(|opening| IRails::OpenRail {
                    network: self.network.0,
                    payee: opening.payee,
                    signer: self.signer.address(),
                    device: B256::from(opening.device),
                    limit: opening.limit.0,
                    rate: opening.rate.0,
                    expiry: opening.expiry.0,
                })
                .collect();
            for some in rails.chunks(OPEN_MAX) {
                let call = IRails::openManyCall { rails: some.to_vec() };
                self.client
                    .send(payer, address::RAILS, &call)
                    .await
                    .map_err(refused("open rails"))?;
            }
            Ok(())
        })
    }

    fn top_up(&self, rail: RailId, limit: Micros) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let payer = self.payer("raise a limit")?;
            let call = IRails::topUpCall { rail: rail.0, limit: limit.0 };
            self.client
                .send(payer, address::RAILS, &call)
                .await
                .map_err(refused("raise a limit"))?;
            Ok(())
        })
    }

    fn freeze(&self, datasets: Vec<Committed>) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let datasets = datasets
                .into_iter()
                .map(|new| IRails::Dataset {
                    rail: new.dataset.rail.0,
                    version: new.dataset.version,
                    root: B256::from(new.dataset.root),
                    size: new.dataset.bytes,
                    signature: new.signature.to_vec().into(),
                })
                .collect();
            let call = IRails::freezeCall { datasets };
            self.client
                .send(&self.signer, address::RAILS, &call)
                .await
                .map_err(refused("freeze datasets"))?;
            Ok(())
        })
    }

    fn close(&self, rail: RailId) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let payer = self.payer("end a rail")?;
            let call = IRails::closeCall { rail: rail.0 };
            self.client.send(payer, address::RAILS, &call).await.map_err(refused("end a rail"))?;
            Ok(())
        })
    }

    fn frozen_version(&self, rail: RailId) -> BoxFuture<'_, Result<u64, LedgerError>> {
        Box::pin(async move {
            let call = IRails::datasetCall { rail: rail.0 };
            Ok(self.client.call(address::RAILS, call).await.map_err(silent)?.version)
        })
    }
}
