//! The depots of a world: what befalls them, and what they truly hold.
//!
//! Depots are operators' storage agents on disks that fail ([`super::depot`]). A [`Line`] stands between one life
//! of the shop and the way to them: nothing passes once the shop's power is gone, and what depots
//! acknowledged is remembered for the checkers.

use super::{
    depot::{Condition, Depot, Offer},
    roll::{Roll, inputs},
    way::Way,
};
use crate::{
    checkers::Broken,
    economy::NETWORK,
    faults::disk::{Crash, Disk, Trouble},
    world::people::CHAIN,
};
use alloy_signer_local::PrivateKeySigner;
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use protocol::{Account, DeviceId, Digest, Epoch, RailId, key::DeviceSecret, net::Peer, voucher};
use rand::rngs::StdRng;
use s3_service::{
    index::Home,
    rails::{LedgerPort as _, memory::MemoryLedger},
    shards::{Ask, Noted, Shards, ShardsError, remote::RemoteShards},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use storage_agent::Settings;
use storage_kind::{
    dataset::Shard,
    wire::{Commit, Committed, Stat, Terms},
};

/// What a depot offers, and what its disk has room for, bytes.
const CAPACITY: u64 = 1 << 30;
/// Shards up to this size lie in a depot's journal and index, bytes.
const SMALL_MAX: u64 = 1 << 10;
/// What a depot delivers before it is paid, bytes.
const CREDIT: u64 = 1 << 20;
/// Shards that rot or vanish at once.
const SPOILT: usize = 6;
/// The key by which depots know the shop.
const SHOP: [u8; 32] = [3; 32];

/// The contract in whose domain vouchers are signed.
pub const RAILS: Account = Account::repeat_byte(5);

/// What befalls a depot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It is switched off.
    Off,
    /// Nobody reaches it.
    Cut,
    /// Its program runs, and nothing is wrong with its disk or its way.
    On,
    /// Every answer takes so many milliseconds.
    Slow(u64),
    /// Its program is killed, or its power goes; it starts again at once.
    Crash(Crash),
    /// Its power goes after so many more operations of its disk.
    PowerIn(u64),
    /// Something is wrong with its disk.
    Disk(Trouble),
    /// A byte rots of some shards, and nobody notices.
    Rot,
    /// The files of some shards vanish, and nobody notices.
    Vanish,
    /// Its disk is lost for ever, and it goes on with an empty one.
    Lost,
    /// It leaves.
    Leave,
}

/// What each depot surely and wholly holds.
pub type Inventory = Vec<BTreeSet<Digest>>;

/// A depot, and whose it is.
#[derive(Debug)]
struct Stand {
    depot: Arc<Depot>,
    device: DeviceId,
    owner: Account,
}

/// How depots are.
#[derive(Debug, Default)]
struct State {
    slow: BTreeSet<usize>,
    leaving: BTreeSet<usize>,
    /// Whose index or journal may be rotten: all that one has, and gets, goes at its next start.
    rotten: BTreeSet<usize>,
    /// Which depots ever said that a shard is durable with them.
    acknowledged: BTreeMap<Digest, BTreeSet<usize>>,
    /// How large those are, bytes.
    sizes: BTreeMap<Digest, u64>,
    /// Which shards were lost or rotted somewhere.
    hurt: BTreeSet<Digest>,
    /// Of these, those that nobody knows of until they are read.
    unnoticed: BTreeSet<(usize, Digest)>,
    epoch: Option<Epoch>,
}

impl State {
    /// A depot loses all that it has.
    fn loses_all(&mut self, depot: usize) {
        let held = self.acknowledged.iter().filter(|(_, depots)| depots.contains(&depot));
        self.hurt.extend(held.map(|(shard, _)| *shard));
    }
}

/// All depots.
#[derive(Debug)]
pub struct Yard {
    stands: Vec<Stand>,
    way: Arc<Way>,
    ledger: Arc<MemoryLedger>,
    state: Mutex<State>,
    /// How often something befell one.
    mishaps: AtomicU64,
}

impl Yard {
    /// So many depots, that stand on a ledger. The last two have one owner.
    ///
    /// # Errors
    /// One does not start.
    pub fn new(depots: u8, ledger: &Arc<MemoryLedger>, seed: u64) -> Result<Self, Broken> {
        let settings = Settings { network: NETWORK, chain_id: CHAIN, rails: RAILS, credit: CREDIT };
        let roll = Arc::new(Roll::new(Arc::<MemoryLedger>::clone(ledger)));
        let stand = |number: u8| {
            let offer = Offer {
                settings: settings.clone(),
                capacity: CAPACITY,
                small_max: SMALL_MAX,
                room: CAPACITY,
            };
            let owner = Account::repeat_byte(number.min(depots.saturating_sub(1)));
            let secret = DeviceSecret::from_seed([number; 32]);
            let depot = Depot::new(secret, offer, Arc::clone(&roll) as _)?;
            let device = ledger.register(depot.peer(), owner);
            Ok(Stand { depot, device, owner })
        };
        let stands = (1..=depots).map(stand).collect::<Result<Vec<_>, Broken>>()?;
        let way = Way::new(stands.iter().map(|stand| Arc::clone(&stand.depot)).collect(), seed);
        let (ledger, state) = (Arc::clone(ledger), Mutex::default());
        Ok(Self { stands, way, ledger, state, mishaps: AtomicU64::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What befalls a depot now.
    ///
    /// # Errors
    /// It does not start though it must.
    pub fn befall(&self, at: usize, mishap: Mishap, rng: &mut StdRng) -> Result<(), Broken> {
        self.mishaps.fetch_add(1, Ordering::Relaxed);
        let depot = &self.stands[at].depot;
        let state = &mut *self.state();
        match mishap {
            Mishap::Off => depot.set(Condition::Off)?,
            Mishap::Cut => depot.set(Condition::Cut)?,
            Mishap::On => {
                state.slow.remove(&at);
                depot.disk().set(Trouble::None);
                if depot.disk().is_dead() {
                    depot.crash(Crash::Power, rng)?;
                }
                depot.set(Condition::Well)?;
                // Within a second it does so by itself.
                depot.tend()?;
            }
            Mishap::Slow(ms) => {
                state.slow.insert(at);
                depot.set(Condition::Slow(Duration::from_millis(ms)))?;
            }
            Mishap::Crash(crash) => depot.crash(crash, rng)?,
            Mishap::PowerIn(operations) => depot.disk().cut_after(Some(operations)),
            Mishap::Disk(trouble) => depot.disk().set(trouble),
            Mishap::Rot => {
                for _ in 0..SPOILT {
                    let Some(shard) = depot.rot(rng) else { break };
                    state.hurt.insert(shard);
                    state.unnoticed.insert((at, shard));
                    // A small one lies where the depot has all that it knows.
                    if state.sizes.get(&shard).is_none_or(|bytes| *bytes <= SMALL_MAX) {
                        state.rotten.insert(at);
                        state.loses_all(at);
                    }
                }
            }
            Mishap::Vanish => {
                let gone: Vec<_> = (0..SPOILT).filter_map(|_| depot.lose(rng)).collect();
                state.hurt.extend(gone.iter().copied());
                state.unnoticed.extend(gone.into_iter().map(|shard| (at, shard)));
            }
            Mishap::Lost => {
                state.loses_all(at);
                state.rotten.remove(&at);
                depot.replace_disk()?;
            }
            Mishap::Leave => {
                // One that is off, or whose disk refuses, stays.
                let leaves = depot.core().is_some_and(|core| core.store().leave(true).is_ok());
                if leaves {
                    state.leaving.insert(at);
                }
            }
        }
        Ok(())
    }

    /// All that can be undone is undone; a depot that may be rotten is started again.
    ///
    /// # Errors
    /// One does not start.
    pub fn heal(&self, rng: &mut StdRng) -> Result<(), Broken> {
        for at in 0..self.stands.len() {
            self.befall(at, Mishap::On, rng)?;
            if self.state().rotten.contains(&at) {
                self.befall(at, Mishap::Crash(Crash::Program), rng)?;
                self.state().rotten.remove(&at);
            }
        }
        Ok(())
    }

    /// Does what depots' shells do every second, and lets them hear of an epoch that began.
    ///
    /// # Errors
    /// A depot did what it must not.
    pub fn tend(&self) -> Result<(), Broken> {
        for stand in &self.stands {
            stand.depot.tend()?;
            stand.depot.check()?;
        }
        let Some(Ok(view)) = self.ledger.view().now_or_never() else { return Ok(()) };
        let epoch = Some(view.clock.epoch(view.height));
        if std::mem::replace(&mut self.state().epoch, epoch) != epoch {
            let frozen = view.rails.iter().filter_map(|rail| self.ledger.frozen(rail.id));
            let inputs = Arc::new(inputs(&view, frozen.map(|frozen| frozen.dataset).collect()));
            self.stands.iter().for_each(|stand| stand.depot.hear(Arc::clone(&inputs)));
        }
        Ok(())
    }

    /// How often something befell one so far.
    pub fn mishaps(&self) -> u64 {
        self.mishaps.load(Ordering::Relaxed)
    }

    /// What each depot surely and wholly holds.
    pub fn inventory(&self) -> Inventory {
        self.stands.iter().map(|stand| stand.depot.inventory()).collect()
    }

    fn at(&self, home: &Home) -> Option<usize> {
        self.stands.iter().position(|stand| stand.device == home.device)
    }

    /// Who owns the depot of a home.
    pub fn owner(&self, home: &Home) -> Option<Account> {
        self.at(home).map(|at| self.stands[at].owner)
    }

    /// Whether a shard is truly there, byte by byte.
    pub fn holds(&self, inventory: &Inventory, home: &Home, shard: Digest) -> bool {
        self.at(home).is_some_and(|at| inventory[at].contains(&shard))
    }

    /// A home in words, and whether its depot believes to have a shard and ever said so.
    pub fn describe(&self, home: &Home, shard: Digest) -> String {
        let Some(at) = self.at(home) else { return "with nobody".to_owned() };
        let core = self.stands[at].depot.core();
        let believes = core.map(|core| core.store().size(home.rail, shard).ok().flatten());
        let took = self.state().acknowledged.get(&shard).is_some_and(|depots| depots.contains(&at));
        format!("depot {at} on rail {} (it believes {believes:?}, it took it: {took})", home.rail)
    }

    /// Whether the depot of a home answers in good time.
    pub fn answers(&self, home: &Home) -> bool {
        let well = |at: usize| {
            let depot = &self.stands[at].depot;
            depot.is_reachable() && depot.disk().trouble() == Trouble::None
        };
        self.at(home).is_some_and(|at| well(at) && !self.state().slow.contains(&at))
    }

    /// Whether the depot of a home is to be left.
    pub fn leaves(&self, home: &Home) -> bool {
        self.at(home).is_some_and(|at| self.state().leaving.contains(&at))
    }

    /// The owners whose depots ever said that a shard is durable.
    pub fn acknowledged(&self, shard: Digest) -> BTreeSet<Account> {
        let state = self.state();
        let depots = state.acknowledged.get(&shard).into_iter().flatten();
        depots.map(|at| self.stands[*at].owner).collect()
    }

    /// Whether a depot lost a shard for which nobody else can be blamed.
    pub fn excused(&self, shard: Digest) -> bool {
        self.state().hurt.contains(&shard)
    }

    /// Whether a shard is spoilt where it is and nobody can know yet.
    pub fn is_unnoticed(&self, home: &Home, shard: Digest) -> bool {
        self.at(home).is_some_and(|at| self.state().unnoticed.contains(&(at, shard)))
    }

    fn took(&self, peer: Peer, shard: Shard) {
        let at = self.stands.iter().position(|stand| stand.depot.peer().key == peer.key);
        let mut state = self.state();
        state.acknowledged.entry(shard.hash).or_default().extend(at);
        if at.is_some_and(|at| state.rotten.contains(&at)) {
            state.hurt.insert(shard.hash);
        }
        state.sizes.insert(shard.hash, shard.bytes);
        state.unnoticed.retain(|(of, spoilt)| Some(*of) != at || *spoilt != shard.hash);
    }
}

/// The way from one life of the shop to the depots.
#[derive(Debug)]
pub struct Line {
    yard: Arc<Yard>,
    shards: RemoteShards,
    disk: Arc<Disk>,
}

impl Line {
    /// A line that lasts as long as the power of a disk.
    ///
    /// # Errors
    /// The signer refuses.
    pub fn new(
        yard: &Arc<Yard>,
        disk: &Arc<Disk>,
        signer: &PrivateKeySigner,
    ) -> Result<Self, Broken> {
        let domain = voucher::domain(CHAIN, RAILS);
        let shards = yard.way.speak_for(SHOP, signer, &domain).map_err(Broken::new)?;
        Ok(Self { yard: Arc::clone(yard), shards, disk: Arc::clone(disk) })
    }

    async fn gate(&self) {
        if self.disk.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    async fn pass<T>(&self, answer: BoxFuture<'_, T>) -> T {
        self.gate().await;
        let answer = answer.await;
        self.gate().await;
        answer
    }
}

impl Shards for Line {
    fn put(
        &self,
        to: Peer,
        rail: RailId,
        shard: Shard,
        bytes: Bytes,
    ) -> BoxFuture<'_, Result<(), ShardsError>> {
        Box::pin(async move {
            let done = self.pass(self.shards.put(to, rail, shard, bytes)).await;
            if done.is_ok() {
                self.yard.took(to, shard);
            }
            done
        })
    }

    fn get(&self, from: Peer, ask: Ask) -> BoxFuture<'_, Result<Bytes, ShardsError>> {
        Box::pin(self.pass(self.shards.get(from, ask)))
    }

    fn commit(&self, to: Peer, commit: Commit) -> BoxFuture<'_, Result<Committed, ShardsError>> {
        Box::pin(self.pass(self.shards.commit(to, commit)))
    }

    fn holds(
        &self,
        of: Peer,
        rail: RailId,
        shards: Vec<Digest>,
    ) -> BoxFuture<'_, Result<Vec<bool>, ShardsError>> {
        Box::pin(self.pass(self.shards.holds(of, rail, shards)))
    }

    fn stat(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Stat, ShardsError>> {
        Box::pin(self.pass(self.shards.stat(of, rail)))
    }

    fn note(&self, to: Peer, rail: RailId, note: Bytes) -> BoxFuture<'_, Result<(), ShardsError>> {
        Box::pin(self.pass(self.shards.note(to, rail, note)))
    }

    fn noted(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Noted, ShardsError>> {
        Box::pin(self.pass(self.shards.noted(of, rail)))
    }

    fn terms(&self, of: Peer) -> BoxFuture<'_, Result<Terms, ShardsError>> {
        Box::pin(self.pass(self.shards.terms(of)))
    }
}
