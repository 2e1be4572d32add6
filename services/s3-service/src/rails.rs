//! Rails towards agents, and what is agreed on them: datasets, from the index to the ledger.
//!
//! * One rail an agent is kept open, as far as the plan goes. Its rate is the network's price for the
//!   bytes that the plan foresees, and no more bytes are stored on it than the rate pays for; its
//!   limit pays that rate for the planned epochs, and vouchers.
//! * When shards came or went, the change is committed with the agent, whose signature is checked,
//!   and shortly before the epoch ends all new datasets are frozen by one transaction, so that the
//!   next seed asks for them (design 11).
//! * Agents that ask more than the network's price get nothing new.

mod datasets;
pub mod ledger;
pub mod memory;

use crate::{
    config::{Limits, RailPlan},
    fleet::Agent,
    index::{Committed, IndexError, Rail as Kept},
    purse::Allowance,
    shards::ShardsError,
    store::Store,
};
use futures::{StreamExt as _, future::BoxFuture, stream};
use protocol::{
    Account, DeviceId, Digest, Epoch, Height, Micros, NetworkId, RailId,
    clock::EpochClock,
    inputs::{Device, Rail},
    key::DeviceKey,
    manifest::KindTerms,
    net::Peer,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use storage_kind::{STORAGE, wire};

/// Agents asked at once.
const ASKED_AT_ONCE: usize = 16;
/// How long an agent's terms are waited for.
const TERMS_WITHIN: Duration = Duration::from_secs(3);
/// How long after a refusal rails are not asked for again, milliseconds.
const REFUSED_MS: u64 = 30_000;

/// The ledger as it is at one height.
#[derive(Clone, Debug)]
pub struct View {
    /// The height.
    pub height: Height,
    /// Epochs.
    pub clock: EpochClock,
    /// Prices of the storage kind.
    pub terms: KindTerms,
    /// Devices in service, and where their agents say that they are.
    pub devices: Vec<(Device, Option<String>)>,
    /// Rails not yet released.
    pub rails: Vec<Rail>,
}

/// A rail to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The device that serves.
    pub device: DeviceId,
    /// Its owner, who is paid.
    pub payee: Account,
    /// All that it may ever pay.
    pub limit: Micros,
    /// For a proven epoch.
    pub rate: Micros,
    /// The last epoch that counts.
    pub expiry: Epoch,
}

/// Why the ledger did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// Only a payer can, and the service has no payer's key.
    #[error("only a payer can {0}, and this service holds no payer's key: do it with the wallet")]
    NoPayer(&'static str),
    /// The ledger refused.
    #[error("the ledger refused to {what}: {cause}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// What it said.
        cause: String,
    },
    /// The ledger does not answer as it should.
    #[error("the ledger does not answer: {0}")]
    Silent(String),
}

/// The ledger as the service needs it.
pub trait LedgerPort: Send + Sync + 'static {
    /// The ledger now.
    fn view(&self) -> BoxFuture<'_, Result<View, LedgerError>>;

    /// Opens rails whose signer is the service, by the payer's key if the service has it. Applied
    /// when this returns.
    fn open(&self, rails: Vec<Opening>) -> BoxFuture<'_, Result<(), LedgerError>>;

    /// Raises a rail's limit, likewise.
    fn top_up(&self, rail: RailId, limit: Micros) -> BoxFuture<'_, Result<(), LedgerError>>;

    /// Freezes datasets by one transaction. Applied when this returns.
    fn freeze(&self, datasets: Vec<Committed>) -> BoxFuture<'_, Result<(), LedgerError>>;
}

/// Why datasets are not what they should be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeepError {
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// An agent refused, or did not answer.
    #[error("rail {rail}: the agent did not commit: {cause}")]
    Agent {
        /// The rail.
        rail: RailId,
        /// What it said.
        cause: ShardsError,
    },
    /// An agent signed something else.
    #[error("rail {0}: the agent signed another dataset, or did not sign it")]
    Signature(RailId),
}

#[derive(Debug, Default)]
struct State {
    /// Rails whose agents can be dialled.
    open: BTreeMap<RailId, (DeviceId, Peer)>,
    /// Rails that still count, dialled or not; nothing before the first look.
    counting: Option<BTreeMap<RailId, DeviceId>>,
    refused_until_ms: u64,
    audited_ms: u64,
    /// The rail that was asked last, and where to go on with it.
    audit_at: Option<(RailId, Option<Digest>)>,
    frozen_in: Option<Epoch>,
    position: Option<(Height, EpochClock)>,
}

/// Keeps rails open and datasets frozen.
pub struct Keeper {
    store: Arc<Store>,
    port: Arc<dyn LedgerPort>,
    plan: RailPlan,
    chain_id: u64,
    network: NetworkId,
    state: Mutex<State>,
    /// One commit at a time: a proposal under way must not be sent twice at once.
    committing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Keeps the rails of `store` on `port`.
    pub fn new(
        store: Arc<Store>,
        port: Arc<dyn LedgerPort>,
        plan: RailPlan,
        chain_id: u64,
        network: NetworkId,
    ) -> Self {
        Self {
            store,
            port,
            plan,
            chain_id,
            network,
            state: Mutex::default(),
            committing: tokio::sync::Mutex::default(),
        }
    }

    fn limits(&self) -> &Limits {
        &self.store.limits
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rails that still count and their devices, by what the ledger said last; nothing before it
    /// said anything.
    pub fn counting(&self) -> Option<BTreeMap<RailId, DeviceId>> {
        self.with(|state| state.counting.clone())
    }

    /// One round: looks at the ledger and the agents, opens rails, and freezes when it is time.
    ///
    /// # Errors
    /// The first thing that failed; the next round tries again.
    #[tracing::instrument(name = "s3.rails.round", level = "debug", skip_all)]
    pub async fn round(&self) -> Result<(), KeepError> {
        self.refresh().await?;
        let due = self.with(|state| {
            let (height, clock) = state.position?;
            let epoch = clock.epoch(height);
            let left = clock.last(epoch).0.saturating_sub(height.0);
            (left <= self.limits().freeze_lead && state.frozen_in != Some(epoch)).then_some(epoch)
        });
        if let Some(epoch) = due {
            self.settle().await?;
            self.with(|state| state.frozen_in = Some(epoch));
        }
        self.audit().await
    }

    /// Commits what changed with all agents, and freezes it.
    ///
    /// # Errors
    /// The first failure; what could be done is done.
    pub async fn settle(&self) -> Result<(), KeepError> {
        let committed = self.commit_all().await;
        self.freeze().await?;
        committed
    }

    /// Looks at the ledger and the agents.
    ///
    /// # Errors
    /// [`KeepError::Ledger`], [`KeepError::Index`].
    pub async fn refresh(&self) -> Result<(), KeepError> {
        let mut view = self.port.view().await?;
        if self.open_missing(&view).await? {
            view = self.port.view().await?;
        }
        let kept: BTreeMap<RailId, Kept> =
            self.store.writer.read(|reader| reader.rails()).await?.into_iter().collect();
        let signer = self.store.purse.address();
        let rails = first_of_each(&view, signer);
        self.top_up(&view, &rails).await;
        let allowances = view.rails.iter().filter(|rail| rail.signer == signer).map(|rail| {
            let kept = Micros(rail.limit.0.saturating_sub(self.plan.vouchers.0));
            let kept = if rail.rate.is_zero() { Micros::ZERO } else { kept };
            (rail.id, Allowance { limit: rail.limit, nonce: rail.nonce, kept })
        });
        self.store.purse.update(view.terms, allowances.collect());
        let agents: Vec<Agent> = reachable(&view)
            .map(|(device, peer)| self.agent(&view, device, peer, rails.get(&device.id), &kept))
            .collect();
        let served: BTreeSet<DeviceId> = view.devices.iter().map(|(device, _)| device.id).collect();
        let counting: BTreeMap<RailId, DeviceId> = ours(&view, signer)
            .filter(|rail| served.contains(&rail.device))
            .map(|rail| (rail.id, rail.device))
            .collect();
        let peers: BTreeMap<DeviceId, Peer> =
            agents.iter().map(|agent| (agent.device, agent.peer)).collect();
        self.with(|state| {
            state.position = Some((view.height, view.clock));
            state.open = counting
                .iter()
                .filter_map(|(rail, device)| Some((*rail, (*device, *peers.get(device)?))))
                .collect();
            state.counting = Some(counting);
        });
        self.store.fleet.update(agents.clone());
        self.ask_terms(agents, &view.terms).await;
        Ok(())
    }

    fn agent(
        &self,
        view: &View,
        device: &Device,
        peer: Peer,
        rail: Option<&Rail>,
        kept: &BTreeMap<RailId, Kept>,
    ) -> Agent {
        let row = rail.and_then(|rail| kept.get(&rail.id));
        let held = row.map_or(0, |row| row.held);
        let pays_for = rail.map_or(0, |rail| worth(rail.rate, &view.terms, self.plan.bytes));
        Agent {
            device: device.id,
            peer,
            owner: device.owner,
            rail: rail.map(|rail| rail.id),
            paid_room: pays_for.saturating_sub(held),
            proven: row.is_some_and(|row| row.frozen > 0),
        }
    }

    /// Asks all agents what they still take.
    async fn ask_terms(&self, agents: Vec<Agent>, price: &KindTerms) {
        stream::iter(agents)
            .for_each_concurrent(ASKED_AT_ONCE, |agent| async move {
                let begun = Instant::now();
                let asked = self.store.shards.terms(agent.peer);
                match tokio::time::timeout(TERMS_WITHIN, asked).await {
                    Ok(Ok(terms)) => {
                        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                        self.store.fleet.answered(agent.device, took.max(1));
                        self.store.fleet.offers(agent.device, self.takes(&agent, &terms, price));
                    }
                    Ok(Err(ShardsError::Refused(wire::Refusal::Busy))) => {}
                    Ok(Err(_)) | Err(_) => {
                        self.store.fleet.failed(agent.device, self.store.now_ms());
                    }
                }
            })
            .await;
    }

    /// What an agent takes at a price that the network pays.
    fn takes(&self, agent: &Agent, terms: &wire::Terms, price: &KindTerms) -> u64 {
        let same = terms.device == agent.device && terms.network == self.network;
        let dear = terms.price > price.price || terms.delivery_price > price.delivery_price;
        if same && !dear { terms.free } else { 0 }
    }

    /// Opens rails towards agents that have none. Whether any was opened.
    async fn open_missing(&self, view: &View) -> Result<bool, KeepError> {
        let now = self.store.now_ms();
        if self.with(|state| state.refused_until_ms) > now {
            return Ok(false);
        }
        let rails = first_of_each(view, self.store.purse.address());
        let epoch = view.clock.epoch(view.height);
        let rate = view.terms.dollars(self.plan.bytes, view.terms.price);
        let limit = Micros(rate.0.saturating_mul(self.plan.epochs));
        let room = self.plan.agents_max.saturating_sub(rails.len());
        let openings: Vec<Opening> = reachable(view)
            .filter(|(device, _)| !rails.contains_key(&device.id))
            .take(room)
            .map(|(device, _)| Opening {
                device: device.id,
                payee: device.owner,
                limit: limit.saturating_add(self.plan.vouchers),
                rate,
                expiry: Epoch(epoch.0.saturating_add(self.plan.life_epochs)),
            })
            .collect();
        if openings.is_empty() {
            return Ok(false);
        }
        match self.port.open(openings).await {
            Ok(()) => Ok(true),
            Err(error @ LedgerError::Silent(_)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "rails are missing and were not opened");
                self.with(|state| state.refused_until_ms = now.saturating_add(REFUSED_MS));
                Ok(false)
            }
        }
    }

    /// Raises the limits of rails that are nearly used up.
    async fn top_up(&self, view: &View, rails: &BTreeMap<DeviceId, Rail>) {
        let now = self.store.now_ms();
        if self.with(|state| state.refused_until_ms) > now {
            return;
        }
        let epoch = view.clock.epoch(view.height);
        for rail in rails.values() {
            let passed = epoch.0.saturating_sub(rail.opened.0);
            let spent = Micros(rail.rate.0.saturating_mul(passed));
            let left = rail.limit.saturating_sub(spent).saturating_sub(self.plan.vouchers);
            let runs = Micros(rail.rate.0.saturating_mul(self.plan.epochs / 16));
            if rail.rate.is_zero() || left >= runs || rail.expiry <= epoch {
                continue;
            }
            let more = Micros(rail.rate.0.saturating_mul(self.plan.epochs / 4));
            if let Err(error) = self.port.top_up(rail.id, rail.limit.saturating_add(more)).await {
                tracing::warn!(rail = %rail.id, %error, "a rail runs out and was not topped up");
                self.with(|state| state.refused_until_ms = now.saturating_add(REFUSED_MS));
                return;
            }
        }
    }
}

/// The rails towards devices that this signer answers for and that still count, ascending.
fn ours(view: &View, signer: Account) -> impl Iterator<Item = &Rail> {
    let epoch = view.clock.epoch(view.height);
    view.rails.iter().filter(move |rail| {
        rail.signer == signer && rail.expiry > epoch && rail.device != DeviceId::default()
    })
}

/// Of these the first towards each device: new shards are stored on it.
fn first_of_each(view: &View, signer: Account) -> BTreeMap<DeviceId, Rail> {
    let mut rails = BTreeMap::new();
    for rail in ours(view, signer) {
        rails.entry(rail.device).or_insert(*rail);
    }
    rails
}

/// The storage devices that can be dialled.
fn reachable(view: &View) -> impl Iterator<Item = (&Device, Peer)> {
    view.devices.iter().filter(|(device, _)| device.kind == STORAGE).filter_map(
        |(device, endpoint)| {
            let address: SocketAddr = endpoint.as_deref()?.parse().ok()?;
            match device.key {
                DeviceKey::Ed25519(key) => Some((device, Peer { key, address })),
                DeviceKey::P256(..) => None,
            }
        },
    )
}

/// How many bytes a rate pays for; at a price of nothing, what is planned.
fn worth(rate: Micros, terms: &KindTerms, planned: u64) -> u64 {
    if terms.price.is_zero() {
        return planned;
    }
    let bytes = protocol::units::mul_div(
        u128::from(rate.0),
        u128::from(terms.per_units),
        u128::from(terms.price.0),
    );
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
