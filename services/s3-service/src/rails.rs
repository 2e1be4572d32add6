//! Rails towards agents, and what is agreed on them: datasets, from the index to the ledger.
//!
//! * One rail an agent is kept open, as far as the plan goes. Its rate is the network's price for the
//!   bytes that the plan foresees, and no more bytes are stored on it than the rate pays for; its
//!   limit pays that rate for the planned epochs, and vouchers. What the rate used and will soon need
//!   is kept from vouchers, and the limit is raised when either runs low.
//! * Some epochs before a rail ends, another is opened and what is stored on it moves, while the agent
//!   is still paid for giving it.
//! * A look at the ledger that is older than the last one is refused: an endpoint that lags would make
//!   rails look gone that are there.
//! * When shards came or went, the change is committed with the agent, whose signature is checked,
//!   and shortly before the epoch ends all new datasets are frozen by one transaction, so that the
//!   next seed asks for them (design 11).
//! * Agents that ask more than the network's price get nothing new.

mod datasets;
pub mod ledger;
pub mod memory;

use crate::{
    backup::{Backup, BackupError, Place},
    config::{Limits, RailPlan},
    fleet::Agent,
    index::{Committed, IndexError, Rail as Kept},
    purse::Allowance,
    repair::Standing,
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
    time::Duration,
};
use storage_kind::{STORAGE, wire};
use tokio::time::Instant;

/// Agents asked at once.
const ASKED_AT_ONCE: usize = 16;
/// How long an agent's terms are waited for.
const TERMS_WITHIN: Duration = Duration::from_secs(3);
/// How long after a refusal rails are not asked for again, milliseconds.
const REFUSED_MS: u64 = 30_000;
/// Epochs before its end from which on a rail gets nothing new and what is on it moves.
pub const MOVE_EPOCHS: u64 = 4;
/// Addresses of agents that were complained about at most.
const NAMED_MAX: usize = 4_096;

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

    /// Ends a rail with the current epoch, by the payer's key if the service has it.
    fn close(&self, rail: RailId) -> BoxFuture<'_, Result<(), LedgerError>>;

    /// The version of a rail's dataset that the ledger holds; 0 if there is none.
    fn frozen_version(&self, rail: RailId) -> BoxFuture<'_, Result<u64, LedgerError>>;
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
    /// Of these, the rails that do not end soon.
    staying: Option<BTreeMap<RailId, DeviceId>>,
    /// Devices whose addresses do not parse, which was said.
    unreadable: BTreeSet<DeviceId>,
    refused_until_ms: u64,
    audited_ms: u64,
    /// The rail that was asked last, and where to go on with it.
    audit_at: Option<(RailId, Option<Digest>)>,
    /// Rails to be asked first, wholly.
    suspects: BTreeSet<RailId>,
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
    backup: Backup,
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
            backup: Backup::new(Arc::clone(&store)),
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

    /// Where shards may stay and where they can be read, by what ledger and agents said last; nothing before
    /// the ledger said anything. They may not stay on rails that end soon, nor with devices that lack
    /// stake, leave, or do not answer.
    pub fn standing(&self) -> Option<Standing> {
        let fleet = &self.store.fleet;
        let silent = u64::try_from(self.limits().silent.as_millis()).unwrap_or(u64::MAX);
        let (alive, leaving) = (fleet.alive(silent, self.store.now_ms()), fleet.leaving());
        let mut staying = self.with(|state| state.staying.clone())?;
        staying.retain(|_, device| {
            // One whose address nobody can read was never asked, and is no worse for it.
            !leaving.contains(device) && (alive.contains(device) || fleet.peer(*device).is_none())
        });
        Some(Standing { staying, alive })
    }

    /// Gives the agents what changed in the index. All that it had when this was called is with them when it
    /// returns.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn back_up(&self) -> Result<(), BackupError> {
        let open = self.with(|state| state.open.clone());
        let place = |(rail, (device, peer))| {
            let owner = self.store.fleet.owner(device)?;
            Some(Place { rail, peer, owner })
        };
        let places: Vec<Place> = open.into_iter().filter_map(place).collect();
        self.backup.step(&places).await
    }

    /// How many changes of the index the agents do not have.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn behind(&self) -> Result<u64, IndexError> {
        self.backup.behind().await
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
        self.look_at_suspects().await?;
        self.audit().await
    }

    /// Something was not proven on these rails: their agents are asked next for all that they should hold.
    /// Rails that are not ours are passed over.
    pub fn suspect(&self, rails: impl IntoIterator<Item = RailId>) {
        self.with(|state| {
            let ours = rails.into_iter().filter(|rail| state.open.contains_key(rail));
            let ours: Vec<RailId> = ours.collect();
            state.suspects.extend(ours);
        });
    }

    /// Commits what changed with all agents, and freezes it.
    ///
    /// # Errors
    /// The first failure; what could be done is done.
    pub async fn settle(&self) -> Result<(), KeepError> {
        let committed = self.commit_all().await;
        self.freeze().await?;
        self.end_left().await?;
        committed
    }

    /// Looks at the ledger and the agents.
    ///
    /// # Errors
    /// [`KeepError::Ledger`], [`KeepError::Index`].
    pub async fn refresh(&self) -> Result<(), KeepError> {
        let mut view = self.look().await?;
        if self.open_missing(&view).await? {
            view = self.look().await?;
        }
        self.complain(&view);
        let kept: BTreeMap<RailId, Kept> =
            self.store.writer.read(|reader| reader.rails()).await?.into_iter().collect();
        let signer = self.store.purse.address();
        let rails = first_of_each(&view, signer);
        self.top_up(&view, &rails, &kept).await;
        let epoch = view.clock.epoch(view.height);
        let allowances = view.rails.iter().filter(|rail| rail.signer == signer).map(|rail| {
            let kept = reserved(&self.plan, rail, epoch);
            (rail.id, Allowance { limit: rail.limit, nonce: rail.nonce, kept })
        });
        self.store.purse.update(view.terms, allowances.collect());
        let agents: Vec<Agent> = reachable(&view)
            .map(|(device, peer)| {
                // One without stake gets nothing new.
                let rail = rails.get(&device.id).filter(|_| is_staked(device, &view.terms));
                self.agent(&view, device, peer, rail, &kept)
            })
            .collect();
        let served: BTreeSet<DeviceId> = view.devices.iter().map(|(device, _)| device.id).collect();
        let staked = staked(&view);
        let counts = |from: Epoch, devices: &BTreeSet<DeviceId>| -> BTreeMap<RailId, DeviceId> {
            ours(&view, signer, from)
                .filter(|rail| devices.contains(&rail.device))
                .map(|rail| (rail.id, rail.device))
                .collect()
        };
        let (counting, staying) = (counts(epoch, &served), counts(later(epoch), &staked));
        let peers: BTreeMap<DeviceId, Peer> =
            agents.iter().map(|agent| (agent.device, agent.peer)).collect();
        self.with(|state| {
            state.position = Some((view.height, view.clock));
            state.open = counting
                .iter()
                .filter_map(|(rail, device)| Some((*rail, (*device, *peers.get(device)?))))
                .collect();
            state.counting = Some(counting);
            state.staying = Some(staying);
        });
        let owners = view.devices.iter().map(|(device, _)| (device.id, device.owner));
        self.store.fleet.owned(owners);
        self.store.fleet.update(agents.clone());
        self.ask_terms(agents, &view.terms).await;
        Ok(())
    }

    /// The ledger now; never older than it was seen before.
    async fn look(&self) -> Result<View, LedgerError> {
        let view = self.port.view().await?;
        let seen = self.with(|state| state.position).map_or(Height(0), |(height, _)| height);
        if view.height < seen {
            let cause = format!("it was at height {seen} and now is at {}", view.height);
            return Err(LedgerError::Silent(cause));
        }
        Ok(view)
    }

    /// Says once of each device that its address is none.
    fn complain(&self, view: &View) {
        let unreadable = |(device, named): &&(Device, Option<String>)| {
            let named = named.as_deref().filter(|_| device.kind == STORAGE);
            named.is_some_and(|named| named.parse::<SocketAddr>().is_err())
        };
        for (device, named) in view.devices.iter().filter(unreadable).take(NAMED_MAX) {
            if self.with(|state| state.unreadable.insert(device.id)) {
                let named = named.as_deref().unwrap_or_default();
                tracing::warn!(device = %device.id, named, "an agent's address is not IP:PORT");
            }
        }
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
        let terms = &view.terms;
        // At a price of nothing, what is planned.
        let pays_for =
            rail.map_or(0, |rail| terms.units(rail.rate, terms.price).unwrap_or(self.plan.bytes));
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
                        self.store.fleet.leaves(agent.device, terms.leaving);
                    }
                    Ok(Err(ShardsError::Refused(wire::Refusal::Busy))) => {}
                    Ok(Err(error)) => self.store.failed(agent.device, &error),
                    Err(_) => self.store.fleet.silent(agent.device, self.store.now_ms()),
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
        let leaving = self.store.fleet.leaving();
        let openings: Vec<Opening> = reachable(view)
            .filter(|(device, _)| !rails.contains_key(&device.id) && !leaving.contains(&device.id))
            .filter(|(device, _)| is_staked(device, &view.terms))
            .take(room)
            .map(|(device, _)| Opening {
                device: device.id,
                payee: device.owner,
                limit: limit.saturating_add(self.plan.vouchers),
                rate,
                expiry: Epoch(epoch.0.saturating_add(self.plan.life_epochs.max(2 * MOVE_EPOCHS))),
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

    /// Raises the limits of rails that are nearly used up, by the rate or by vouchers.
    async fn top_up(
        &self,
        view: &View,
        rails: &BTreeMap<DeviceId, Rail>,
        rows: &BTreeMap<RailId, Kept>,
    ) {
        let now = self.store.now_ms();
        if self.with(|state| state.refused_until_ms) > now {
            return;
        }
        let epoch = view.clock.epoch(view.height);
        for rail in rails.values() {
            let promised = rows.get(&rail.id).and_then(|row| row.amount_bound);
            let used =
                for_rate(&self.plan, rail, epoch).saturating_add(promised.unwrap_or_default());
            let low = Micros(self.plan.vouchers.0 / 4);
            if rail.rate.is_zero() || used.saturating_add(low) <= rail.limit {
                continue;
            }
            let more = Micros(rail.rate.0.saturating_mul(self.plan.epochs / 4));
            let limit = used.saturating_add(more).saturating_add(self.plan.vouchers);
            if let Err(error) = self.port.top_up(rail.id, limit.max(rail.limit)).await {
                tracing::warn!(rail = %rail.id, %error, "a rail runs out and was not topped up");
                self.with(|state| state.refused_until_ms = now.saturating_add(REFUSED_MS));
                return;
            }
        }
    }
}

/// What a rail's rate uses of its limit: since the beginning, at most, and in the next epochs.
fn for_rate(plan: &RailPlan, rail: &Rail, epoch: Epoch) -> Micros {
    let passed = epoch.0.saturating_sub(rail.opened.0);
    let coming = rail.expiry.0.saturating_sub(epoch.0).min(plan.epochs_low());
    Micros(rail.rate.0.saturating_mul(passed.saturating_add(coming)))
}

/// What of that is kept from vouchers. Never what the plan has for them: the rate may have used less,
/// as it is paid for proven epochs only, and nobody may be there to raise the limit. Without vouchers
/// nothing could be read any more.
fn reserved(plan: &RailPlan, rail: &Rail, epoch: Epoch) -> Micros {
    for_rate(plan, rail, epoch).min(rail.limit.saturating_sub(plan.vouchers))
}

/// The rails towards devices that this signer answers for and that count after `epoch`, ascending. One to
/// a device that was sold pays its seller, and so nobody: there is nothing to expect of it.
fn ours(view: &View, signer: Account, epoch: Epoch) -> impl Iterator<Item = &Rail> {
    let owners: BTreeMap<_, _> =
        view.devices.iter().map(|(device, _)| (device.id, device.owner)).collect();
    view.rails.iter().filter(move |rail| {
        let counts = rail.signer == signer && rail.expiry > epoch;
        let sold = owners.get(&rail.device).is_some_and(|owner| *owner != rail.payee);
        counts && rail.device != DeviceId::default() && !sold
    })
}

/// The epoch after which a rail must count for anything to be put on it now.
const fn later(epoch: Epoch) -> Epoch {
    Epoch(epoch.0.saturating_add(MOVE_EPOCHS))
}

/// The first rail towards each device that does not end soon: new shards are stored on it.
fn first_of_each(view: &View, signer: Account) -> BTreeMap<DeviceId, Rail> {
    let mut rails = BTreeMap::new();
    for rail in ours(view, signer, later(view.clock.epoch(view.height))) {
        rails.entry(rail.device).or_insert(*rail);
    }
    rails
}

/// Whether a device's stake is what its kind asks for. One that asked it back, or was slashed, is not.
fn is_staked(device: &Device, terms: &KindTerms) -> bool {
    device.stake >= terms.stake(device.capacity)
}

/// The devices that have their stake.
fn staked(view: &View) -> BTreeSet<DeviceId> {
    let staked = view.devices.iter().filter(|(device, _)| is_staked(device, &view.terms));
    staked.map(|(device, _)| device.id).collect()
}

/// The storage devices that can be dialled.
pub(crate) fn reachable(view: &View) -> impl Iterator<Item = (&Device, Peer)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planned_for_vouchers_stays_theirs() {
        let plan = RailPlan::default();
        let rail = Rail {
            opened: Epoch(10),
            expiry: Epoch(1_000_000),
            rate: Micros(4_000_000),
            limit: Micros(12_000_000_000),
            id: RailId(1),
            payer: Account::ZERO,
            payee: Account::ZERO,
            signer: Account::ZERO,
            device: DeviceId::default(),
            nonce: 1,
            class: 0,
            presented: Micros::ZERO,
        };
        let low = plan.epochs_low();
        assert_eq!(reserved(&plan, &rail, Epoch(10)), Micros(4_000_000 * low));
        assert_eq!(reserved(&plan, &rail, Epoch(110)), Micros(4_000_000 * (100 + low)));
        let late = Epoch(10 + 3_000);
        assert_eq!(reserved(&plan, &rail, late), Micros(rail.limit.0 - plan.vouchers.0));
        // The limit is raised for all that the rate uses.
        assert_eq!(for_rate(&plan, &rail, late), Micros(4_000_000 * (3_000 + low)));
        let small = Rail { limit: Micros(plan.vouchers.0 / 2), ..rail };
        assert_eq!(reserved(&plan, &small, late), Micros::ZERO);
    }
}
