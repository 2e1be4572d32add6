//! A storage agent without a shell: its store, desk and hardware, and nothing that runs by itself.
//!
//! No thread, no clock, no network, no folder: what it stands upon is given to it ([`crate::store::Ground`]),
//! and all that it does is done by whoever calls. A simulation calls it for the network, the runtime and
//! the clock; it is lost like a program that is killed when it is dropped without [`Core::tend`].

use crate::{
    chain::Chain,
    counters::{Counters, Service},
    desk::{Desk, Settings, Work},
    hardware::Hardware,
    store::{Store, StoreError},
};
use bytes::Bytes;
use protocol::key::DeviceSecret;
use std::sync::Arc;

/// A storage agent without a shell.
#[derive(Debug)]
pub struct Core {
    store: Arc<Store>,
    hardware: Arc<Hardware>,
    counters: Arc<Counters>,
    desk: Desk,
}

impl Core {
    /// The agent of the device with this secret, which holds what is in `store`.
    pub fn new(
        settings: Settings,
        secret: DeviceSecret,
        store: Store,
        chain: Arc<dyn Chain>,
    ) -> Self {
        let store = Arc::new(store);
        let hardware = Arc::new(Hardware::new(Arc::clone(&store), secret.id()));
        let counters = Arc::new(Counters::default());
        let sides = (Arc::clone(&store), Arc::clone(&hardware));
        let desk =
            Desk::new(settings, secret, sides, (chain, Arc::clone(&counters)), Work::caller());
        Self { store, hardware, counters, desk }
    }

    /// The answer to a request ([`storage_kind::wire`]) of the peer with this key: a header and a body
    /// each. It waits for nothing but the ledger.
    pub async fn answer(&self, peer: [u8; 32], header: &[u8], body: Bytes) -> (Vec<u8>, Bytes) {
        self.desk.respond(peer, header, body).await
    }

    /// What the runtime of [`agent`] drives.
    pub fn hardware(&self) -> Arc<dyn agent::Hardware> {
        Arc::<Hardware>::clone(&self.hardware)
    }

    /// What it holds.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What it did for services.
    pub fn service(&self) -> Service {
        self.counters.read()
    }

    /// What has to be done every second: opens an index that failed again, and makes tabs durable.
    ///
    /// # Errors
    /// When the index or the disk fails still.
    pub fn tend(&self) -> Result<(), StoreError> {
        tend(&self.store)
    }
}

/// What has to be done for a store every second.
pub(crate) fn tend(store: &Store) -> Result<(), StoreError> {
    store.mend()?;
    store.flush()
}
