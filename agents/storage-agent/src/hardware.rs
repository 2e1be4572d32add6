//! The storage agent as the runtime sees it: a disk that reports, is looked at, and proves.

use crate::store::Store;
use agent::{Figures, ProveError};
use protocol::{
    DeviceId, Epoch, Micros, RailId,
    envelope::Body,
    inputs::{Inputs, Rail},
    kind::Duty,
    manifest::KindTerms,
    voucher::SignedVoucher,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use storage_kind::{STORAGE, body::Evidence};

/// What the newest inputs say of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) epoch: Epoch,
    pub(crate) kind: KindTerms,
}

/// The disk of one device.
#[derive(Debug)]
pub(crate) struct Hardware {
    store: Arc<Store>,
    device: DeviceId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    terms: Option<Terms>,
    /// For each open epoch, the rails of the device in its inputs and the versions that its inputs freeze.
    open: BTreeMap<Epoch, BTreeMap<RailId, u64>>,
}

impl Hardware {
    pub(crate) fn new(store: Arc<Store>, device: DeviceId) -> Self {
        Self { store, device, state: Mutex::default() }
    }

    /// What the newest inputs say of storage, if any were seen.
    pub(crate) fn terms(&self) -> Option<Terms> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).terms
    }
}

impl agent::Hardware for Hardware {
    fn figures(&self) -> Figures {
        let usage = self.store.usage();
        Figures { used: usage.bytes, free: usage.capacity.saturating_sub(usage.bytes) }
    }

    fn open(&self, inputs: &Inputs) {
        let terms = inputs.manifest.terms(STORAGE);
        let dataset = |rail: &Rail| inputs.dataset(rail.id);
        let due = |rail: &Rail| {
            let bytes = dataset(rail).filter(|_| inputs.is_live(rail)).map_or(0, |set| set.bytes);
            terms.map_or(Micros::ZERO, |terms| terms.dollars(bytes, terms.price).min(rail.rate))
        };
        // Rails that have ended, too: the desk has to know.
        let listed: Vec<_> = inputs.rails_of(self.device).map(|rail| (*rail, due(rail))).collect();
        if let Err(error) = self.store.follow(inputs.epoch, &listed) {
            tracing::error!(%error, "the terms of rails cannot be kept");
        }
        let live = listed.iter().map(|(rail, _)| rail).filter(|rail| inputs.epoch <= rail.expiry);
        let version = |rail| dataset(rail).map_or(0, |dataset| dataset.version);
        let frozen = live.map(|rail| (rail.id, version(rail))).collect();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.insert(inputs.epoch, frozen);
        let newer = state.terms.is_none_or(|terms| terms.epoch <= inputs.epoch);
        if let Some(kind) = terms.filter(|_| newer) {
            state.terms = Some(Terms { epoch: inputs.epoch, kind: *kind });
        }
    }

    fn close(&self, epoch: Epoch) {
        let mut oldest: BTreeMap<RailId, u64> = BTreeMap::new();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.open.retain(|open, _| *open > epoch);
            if state.open.is_empty() {
                // Without the inputs of a later epoch it is not known what may go.
                return;
            }
            for (rail, version) in state.open.values().flatten() {
                let least = oldest.entry(*rail).or_insert(*version);
                *least = (*least).min(*version);
            }
        }
        if let Err(error) = self.store.close(epoch, &oldest) {
            tracing::error!(%error, %epoch, "old versions cannot be folded");
        }
    }

    fn inspect(&self, _: &Inputs, duty: &Duty) -> Option<Body> {
        self.store.lost(duty).map(|loss| {
            tracing::warn!(rail = %duty.rail, shards = loss.shards.len(), "shards are lost");
            Evidence::Loss(loss).to_body()
        })
    }

    fn prove(&self, _: &Inputs, duty: &Duty) -> Result<Body, ProveError> {
        self.store.prove(duty).map(|proof| Evidence::Proof(proof).to_body())
    }

    fn vouchers(&self) -> Vec<SignedVoucher> {
        // What is presented must not be forgotten.
        if let Err(error) = self.store.flush() {
            tracing::error!(%error, "vouchers cannot be kept");
        }
        self.store.tabs().into_values().filter_map(|tab| tab.best).collect()
    }
}
