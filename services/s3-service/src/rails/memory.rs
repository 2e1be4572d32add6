//! A ledger in memory, for tests and simulation: it opens what is asked, and remembers what was
//! frozen.

use super::{LedgerError, LedgerPort, Opening, View};
use crate::index::Committed;
use futures::future::BoxFuture;
use protocol::{
    Account, DeviceId, Digest, Epoch, Height, Micros, RailId, Tokens,
    clock::EpochClock,
    inputs::{Device, Rail},
    key::DeviceKey,
    manifest::KindTerms,
    net::Peer,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use storage_kind::STORAGE;

#[derive(Debug)]
struct State {
    height: Height,
    clock: EpochClock,
    terms: KindTerms,
    devices: BTreeMap<DeviceId, (Device, Option<String>)>,
    rails: BTreeMap<RailId, Rail>,
    frozen: BTreeMap<RailId, Committed>,
    transactions: usize,
    refuses: bool,
}

/// A ledger in memory.
#[derive(Debug)]
pub struct MemoryLedger {
    signer: Account,
    state: Mutex<State>,
}

impl MemoryLedger {
    /// A ledger at height 0 without devices. Rails that it opens have this signer.
    pub const fn new(signer: Account, clock: EpochClock, terms: KindTerms) -> Self {
        let state = State {
            height: Height(0),
            clock,
            terms,
            devices: BTreeMap::new(),
            rails: BTreeMap::new(),
            frozen: BTreeMap::new(),
            transactions: 0,
            refuses: false,
        };
        Self { signer, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a storage device whose agent is at `peer`.
    pub fn register(&self, peer: Peer, owner: Account) -> DeviceId {
        let key = DeviceKey::Ed25519(peer.key);
        let device = Device {
            id: key.id(),
            key,
            owner,
            maker: Account::ZERO,
            kind: STORAGE,
            tier: 2,
            cell: 0,
            capacity: 1 << 40,
            offer: Digest::default(),
            stake: Tokens::ZERO,
            netted: Tokens::ZERO,
        };
        let id = device.id;
        self.lock().devices.insert(id, (device, Some(peer.address.to_string())));
        id
    }

    /// Takes a device out of service.
    pub fn retire(&self, device: DeviceId) {
        self.lock().devices.remove(&device);
    }

    /// Sets what a device has staked.
    pub fn stake(&self, device: DeviceId, stake: Tokens) {
        if let Some((device, _)) = self.lock().devices.get_mut(&device) {
            device.stake = stake;
        }
    }

    /// What the kind asks for from now on.
    pub fn ask(&self, terms: KindTerms) {
        self.lock().terms = terms;
    }

    /// Ends all rails with the current epoch, as their payer may.
    pub fn close_all(&self) {
        let mut state = self.lock();
        let epoch = state.clock.epoch(state.height);
        state.rails.values_mut().for_each(|rail| rail.expiry = rail.expiry.min(epoch));
    }

    /// Goes to this height.
    pub fn advance_to(&self, height: Height) {
        self.lock().height = height;
    }

    /// Whether everything is refused from now on.
    pub fn refuse(&self, refuses: bool) {
        self.lock().refuses = refuses;
    }

    /// What is frozen of a rail.
    pub fn frozen(&self, rail: RailId) -> Option<Committed> {
        self.lock().frozen.get(&rail).copied()
    }

    /// The rails, by device.
    pub fn rails(&self) -> BTreeMap<DeviceId, Rail> {
        self.lock().rails.values().map(|rail| (rail.device, *rail)).collect()
    }

    /// A rail.
    pub fn rail(&self, rail: RailId) -> Option<Rail> {
        self.lock().rails.get(&rail).copied()
    }

    /// How many transactions were sent.
    pub fn transactions(&self) -> usize {
        self.lock().transactions
    }

    /// The epoch now.
    pub fn epoch(&self) -> Epoch {
        let state = self.lock();
        state.clock.epoch(state.height)
    }

    fn change(
        &self,
        what: &'static str,
        change: impl FnOnce(&mut State) -> Result<(), String>,
    ) -> Result<(), LedgerError> {
        let mut state = self.lock();
        if state.refuses {
            return Err(LedgerError::Refused { what, cause: "it was told to".into() });
        }
        state.transactions += 1;
        change(&mut state).map_err(|cause| LedgerError::Refused { what, cause })
    }
}

impl LedgerPort for MemoryLedger {
    fn view(&self) -> BoxFuture<'_, Result<View, LedgerError>> {
        let state = self.lock();
        let view = View {
            height: state.height,
            clock: state.clock,
            terms: state.terms,
            devices: state.devices.values().cloned().collect(),
            rails: state.rails.values().copied().collect(),
        };
        Box::pin(std::future::ready(Ok(view)))
    }

    fn open(&self, rails: Vec<Opening>) -> BoxFuture<'_, Result<(), LedgerError>> {
        let opened = self.change("open rails", |state| {
            for opening in rails {
                let id = RailId(state.rails.last_key_value().map_or(1, |(last, _)| last.0 + 1));
                let rail = Rail {
                    id,
                    payer: Account::repeat_byte(0xcc),
                    payee: opening.payee,
                    signer: self.signer,
                    device: opening.device,
                    limit: opening.limit,
                    rate: opening.rate,
                    nonce: 1,
                    opened: state.clock.epoch(state.height),
                    expiry: opening.expiry,
                    class: 0,
                    presented: Micros::ZERO,
                };
                state.rails.insert(id, rail);
            }
            Ok(())
        });
        Box::pin(std::future::ready(opened))
    }

    fn top_up(&self, rail: RailId, limit: Micros) -> BoxFuture<'_, Result<(), LedgerError>> {
        let done = self.change("raise a limit", |state| {
            let rail = state.rails.get_mut(&rail).ok_or("no such rail")?;
            rail.limit = rail.limit.max(limit);
            Ok(())
        });
        Box::pin(std::future::ready(done))
    }

    fn freeze(&self, datasets: Vec<Committed>) -> BoxFuture<'_, Result<(), LedgerError>> {
        let done = self.change("freeze datasets", |state| {
            for new in &datasets {
                let rail = new.dataset.rail;
                let old = state.frozen.get(&rail).map_or(0, |old| old.dataset.version);
                if new.dataset.version <= old {
                    return Err(format!("rail {rail} is at version {old}"));
                }
                state.frozen.insert(rail, *new);
            }
            Ok(())
        });
        Box::pin(std::future::ready(done))
    }

    fn close(&self, rail: RailId) -> BoxFuture<'_, Result<(), LedgerError>> {
        let done = self.change("end a rail", |state| {
            let epoch = state.clock.epoch(state.height);
            let rail = state.rails.get_mut(&rail).ok_or("no such rail")?;
            rail.expiry = rail.expiry.min(epoch);
            Ok(())
        });
        Box::pin(std::future::ready(done))
    }

    fn frozen_version(&self, rail: RailId) -> BoxFuture<'_, Result<u64, LedgerError>> {
        let version = self.frozen(rail).map_or(0, |held| held.dataset.version);
        Box::pin(std::future::ready(Ok(version)))
    }
}
