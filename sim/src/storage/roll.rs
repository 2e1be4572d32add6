//! What depots hear of a ledger: whose a device is, what a rail's terms are, what an epoch's inputs freeze.
//!
//! Read from the same ledger that the service has ([`LedgerPort`]), so that both sides hear one story.

use crate::economy::{self, NETWORK};
use agent::LedgerError;
use client::RpcError;
use futures::{FutureExt as _, future::BoxFuture};
use protocol::{
    Account, DeviceId, NetworkId, RailId,
    inputs::{ByDevice, Dataset, Inputs, Rail},
    manifest::KindTerms,
};
use s3_service::rails::{LedgerPort, View};
use std::{fmt, sync::Arc};
use storage_agent::chain::Chain;
use storage_kind::STORAGE;

/// A ledger as depots hear of it.
#[derive(Clone)]
pub struct Roll(Arc<dyn LedgerPort>);

impl fmt::Debug for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roll")
    }
}

impl Roll {
    /// What this ledger says.
    pub fn new(ledger: Arc<dyn LedgerPort>) -> Self {
        Self(ledger)
    }

    async fn view(&self) -> Result<View, LedgerError> {
        let view = self.0.view().await;
        let unreachable = |message| RpcError::Unreachable { url: "the world".into(), message };
        view.map_err(|error| unreachable(error.to_string()).into())
    }
}

impl Chain for Roll {
    fn rail(&self, rail: RailId) -> BoxFuture<'_, Result<Option<Rail>, LedgerError>> {
        async move { Ok(self.view().await?.rails.into_iter().find(|found| found.id == rail)) }
            .boxed()
    }

    fn owner(&self, device: DeviceId) -> BoxFuture<'_, Result<Option<Account>, LedgerError>> {
        async move {
            let mut devices = self.view().await?.devices.into_iter();
            Ok(devices.find(|(found, _)| found.id == device).map(|(found, _)| found.owner))
        }
        .boxed()
    }

    fn terms(&self, _: NetworkId) -> BoxFuture<'_, Result<Option<KindTerms>, LedgerError>> {
        async move { Ok(Some(self.view().await?.terms)) }.boxed()
    }
}

/// The inputs of an epoch that begins now, with these datasets frozen: what a validator writes, as far as
/// agents read it.
pub fn inputs(view: &View, mut datasets: Vec<Dataset>) -> Inputs {
    let epoch = view.clock.epoch(view.height);
    let mut manifest = economy::manifest();
    manifest.kinds.retain(|terms| terms.kind != STORAGE);
    manifest.kinds.push(view.terms);
    let mut rails = view.rails.clone();
    rails.retain(|rail| rail.opened < epoch && rail.expiry.next() >= epoch);
    rails.sort_by_key(|rail| rail.id);
    datasets.sort_by_key(|dataset| dataset.rail);
    let mut roster: Vec<_> = view.devices.iter().map(|(device, _)| device.clone()).collect();
    roster.sort_by_key(|device| device.id);
    Inputs {
        version: 1,
        chain_id: crate::world::people::CHAIN,
        network: NETWORK,
        epoch,
        clock: view.clock,
        mix: [0; 32],
        latest_root: [0; 32],
        rails_contract: Account::ZERO,
        treasury: Account::ZERO,
        manifest,
        roster,
        rails,
        datasets,
        by_device: ByDevice::default(),
    }
}
