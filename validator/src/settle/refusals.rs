//! What this node refuses: epochs that the ledger decided with another statement than the replay gives.

use protocol::{Digest, Epoch, NetworkId};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A decided epoch that this node does not build upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The network.
    pub network: NetworkId,
    /// The first epoch that is refused; later ones build on it.
    pub epoch: Epoch,
    /// The statement that the ledger decided.
    pub decided: Digest,
    /// The statement that the replay gives.
    pub replayed: Digest,
    /// In how many fields they differ; nothing if no validator gave the decided one.
    pub differences: Option<u64>,
}

/// The refusals of a node, one a network at most, shared with who shows them.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<BTreeMap<NetworkId, Refusal>>>);

impl Refusals {
    /// All that stand, ascending by network.
    pub fn all(&self) -> Vec<Refusal> {
        self.lock().values().copied().collect()
    }

    pub(super) fn add(&self, refusal: Refusal) {
        self.lock().insert(refusal.network, refusal);
    }

    pub(super) fn clear(&self, network: NetworkId) {
        self.lock().remove(&network);
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.lock().len()).unwrap_or(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NetworkId, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
