//! The real ledger behind [`LedgerPort`](super::LedgerPort), through its client.
//!
//! What the keeper looks at in every round changes rarely: devices, their addresses and stakes, rails. Proven,
//! a device and its rail cost some 13 KB, with a round a second 13 KB a second. So they are read anew when
//! something can be expected to be new: a device was registered or a rail opened (two counters, some 6 KB in
//! each round however many devices there are), an epoch began, this service sent something, or
//! [`FRESH_BLOCKS`] have passed, which at two blocks a second is 1.3 KB a second for each device. Between, an
//! agent's new address or a stake that was withdrawn is seen that much later; placement bears that as it
//! bears an agent that does not answer.

use super::{LedgerError, LedgerPort, Opening, View};
use crate::index::Committed;
use alloy_primitives::B256;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use client::{
    Client, SendError,
    abi::{IDevices, IRails},
    address,
};
use futures::future::BoxFuture;
use protocol::{Account, Height, Micros, NetworkId, RailId};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use storage_kind::STORAGE;

/// Rails opened by one transaction.
const OPEN_MAX: usize = 32;

/// Blocks after which all is read anew, whatever the counters say.
const FRESH_BLOCKS: u64 = 20;

/// How many devices were ever registered with the network, and how many rails ever opened with any.
type Counts = (u64, u64);

/// What was read last.
#[derive(Clone)]
struct Known {
    counts: Counts,
    view: View,
}

impl Known {
    /// Whether nothing new is to be expected at `height`.
    fn holds(&self, height: Height, counts: Counts) -> bool {
        let (then, clock) = (self.view.height, self.view.clock);
        let passed = height.0.checked_sub(then.0);
        self.counts == counts
            && clock.epoch(then) == clock.epoch(height)
            && passed.is_some_and(|passed| passed < FRESH_BLOCKS)
    }
}

/// The ledger through its client.
#[derive(Clone)]
pub struct ClientLedger {
    client: Client,
    network: NetworkId,
    signer: PrivateKeySigner,
    payer: Option<PrivateKeySigner>,
    known: Arc<Mutex<Option<Known>>>,
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
    pub fn new(
        client: Client,
        network: NetworkId,
        signer: PrivateKeySigner,
        payer: Option<PrivateKeySigner>,
    ) -> Self {
        Self { client, network, signer, payer, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        // What is known is put there whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn counts(&self, height: Height) -> Result<Counts, LedgerError> {
        let devices = IDevices::registeredCountCall { network: self.network.0 };
        let devices = self.client.call_at(address::DEVICES, devices, height).await;
        let rails = self.client.call_at(address::RAILS, IRails::railCountCall {}, height).await;
        Ok((devices.map_err(silent)?, rails.map_err(silent)?))
    }

    async fn look(&self) -> Result<View, LedgerError> {
        let height = self.client.head().await.map_err(silent)?;
        let counts = self.counts(height).await?;
        let known = self.known().clone().filter(|known| known.holds(height, counts));
        if let Some(known) = known {
            return Ok(View { height, ..known.view });
        }
        let view = self.read(height).await?;
        *self.known() = Some(Known { counts, view: view.clone() });
        Ok(view)
    }

    async fn read(&self, height: Height) -> Result<View, LedgerError> {
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

    /// Sends; whatever it came to, all is read anew after it.
    async fn send<C: SolCall>(
        &self,
        signer: &PrivateKeySigner,
        call: &C,
        what: &'static str,
    ) -> Result<(), LedgerError> {
        let sent = self.client.send(signer, address::RAILS, call).await;
        *self.known() = None;
        sent.map(drop).map_err(refused(what))
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
                self.send(payer, &call, "open rails").await?;
            }
            Ok(())
        })
    }

    fn top_up(&self, rail: RailId, limit: Micros) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let payer = self.payer("raise a limit")?;
            let call = IRails::topUpCall { rail: rail.0, limit: limit.0 };
            self.send(payer, &call, "raise a limit").await
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
            self.send(&self.signer, &call, "freeze datasets").await
        })
    }

    fn close(&self, rail: RailId) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(async move {
            let payer = self.payer("end a rail")?;
            let call = IRails::closeCall { rail: rail.0 };
            self.send(payer, &call, "end a rail").await
        })
    }

    fn frozen_version(&self, rail: RailId) -> BoxFuture<'_, Result<u64, LedgerError>> {
        Box::pin(async move {
            let call = IRails::datasetCall { rail: rail.0 };
            Ok(self.client.call(address::RAILS, call).await.map_err(silent)?.version)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{KindId, Tokens, clock::EpochClock, manifest::KindTerms};

    #[test]
    fn what_was_read_holds_until_something_new_can_be_expected() {
        let terms = KindTerms {
            kind: KindId(1),
            price: Micros(1),
            delivery_price: Micros(1),
            per_units: 1,
            stake_base: Tokens::ZERO,
            stake_per: Tokens::ZERO,
            positions: 1,
            window: 1,
        };
        let clock = EpochClock { length: 30, grace: 4 };
        let known = |height| {
            let view = View {
                height: Height(height),
                clock,
                terms,
                devices: Vec::new(),
                rails: Vec::new(),
            };
            Known { counts: (2, 3), view }
        };
        assert!(known(30).holds(Height(30), (2, 3)));
        assert!(known(30).holds(Height(49), (2, 3)));
        assert!(!known(30).holds(Height(50), (2, 3)), "it is old");
        assert!(!known(30).holds(Height(31), (3, 3)), "a device is new");
        assert!(!known(30).holds(Height(31), (2, 4)), "a rail is new");
        assert!(!known(58).holds(Height(60), (2, 3)), "an epoch began");
        assert!(!known(30).holds(Height(29), (2, 3)), "the endpoint went back");
    }
}
