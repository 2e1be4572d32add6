//! The depots of a world: agents of distinct owners, what befalls them, and what they truly hold.
//!
//! A [`Line`] stands between one life of the shop and the depots: answers take a while that is drawn, nothing
//! passes once the shop's power is gone, and what depots acknowledged is remembered for the checkers.

use crate::{faults::disk::Disk, world::people::CHAIN};
use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::{Account, DeviceId, Digest, NetworkId, RailId, net::Peer};
use rand::{RngExt as _, rngs::StdRng};
use s3_service::{
    index::Home,
    rails::memory::MemoryLedger,
    shards::{
        Ask, Noted, Shards, ShardsError,
        memory::{self, Manner, MemoryShards},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use storage_kind::{
    dataset::Shard,
    wire::{Commit, Committed, Stat, Terms},
};

/// The network that depots serve.
pub const NETWORK: NetworkId = NetworkId(1);
/// What a depot can hold, bytes.
const CAPACITY: u64 = 1 << 30;
/// How long a request or an answer is on its way at most, milliseconds.
const WAY_MS: u64 = 8;

/// What befalls a depot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It is off.
    Off,
    /// It is on, and as quick and empty as ever.
    On,
    /// Every answer takes so many milliseconds.
    Slow(u64),
    /// It takes nothing new.
    Full,
    /// A shard rots: it reads as other bytes from now on.
    Rot,
    /// Its disk is lost for ever, and it goes on with an empty one.
    Lost,
    /// It says that it leaves.
    Leave,
}

/// How a depot is.
#[derive(Clone, Copy, Debug, Default)]
struct Condition {
    off: bool,
    slow_ms: Option<u64>,
    full: bool,
    leaving: bool,
}

#[derive(Clone, Copy, Debug)]
struct Depot {
    peer: Peer,
    device: DeviceId,
    owner: Account,
}

/// All depots.
#[derive(Debug)]
pub struct Yard {
    shards: Arc<MemoryShards>,
    depots: Vec<Depot>,
    conditions: Mutex<Vec<Condition>>,
    /// Which depots ever said that a shard is durable with them.
    acknowledged: Mutex<BTreeMap<Digest, BTreeSet<usize>>>,
    /// Which shards were lost or rotted somewhere.
    hurt: Mutex<BTreeSet<Digest>>,
    /// How often something befell one.
    mishaps: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Yard {
    /// So many depots, that stand on a ledger. The last two have one owner.
    pub fn new(depots: u8, world: memory::World, ledger: &MemoryLedger) -> Self {
        let shards = Arc::new(MemoryShards::new(world));
        let depot = |number: u8| {
            let owner = Account::repeat_byte(number.min(depots.saturating_sub(1)));
            let (peer, device) = shards.add(number, owner, CAPACITY);
            ledger.register(peer, owner);
            Depot { peer, device, owner }
        };
        let depots: Vec<_> = (1..=depots).map(depot).collect();
        let conditions = Mutex::new(vec![Condition::default(); depots.len()]);
        Self {
            shards,
            depots,
            conditions,
            acknowledged: Mutex::default(),
            hurt: Mutex::default(),
            mishaps: AtomicU64::new(0),
        }
    }

    /// What befalls a depot now.
    pub fn befall(&self, depot: usize, mishap: Mishap, rng: &mut StdRng) {
        self.mishaps.fetch_add(1, Ordering::Relaxed);
        let peer = self.depots[depot].peer;
        let mut conditions = lock(&self.conditions);
        let condition = &mut conditions[depot];
        match mishap {
            Mishap::Off => condition.off = true,
            Mishap::On => {
                *condition = Condition { leaving: condition.leaving, ..Condition::default() };
            }
            Mishap::Slow(ms) => condition.slow_ms = Some(ms),
            Mishap::Full => condition.full = true,
            Mishap::Rot => {
                let rotten = self.shards.rot(peer, rng.random_range(0..1_000));
                lock(&self.hurt).extend(rotten);
            }
            Mishap::Lost => {
                let acknowledged = lock(&self.acknowledged);
                let held = acknowledged.iter().filter(|(_, depots)| depots.contains(&depot));
                lock(&self.hurt).extend(held.map(|(shard, _)| *shard));
                self.shards.reset(peer);
            }
            Mishap::Leave => condition.leaving = true,
        }
        let manner = match *condition {
            Condition { off: true, .. } => Manner::Down,
            Condition { slow_ms: Some(ms), .. } => Manner::Slow(Duration::from_millis(ms)),
            Condition { leaving: true, .. } => Manner::Leaving,
            Condition { full: true, .. } => Manner::Full,
            _ => Manner::Honest,
        };
        self.shards.set(peer, manner);
    }

    /// All that can be undone is undone.
    pub fn heal(&self, rng: &mut StdRng) {
        (0..self.depots.len()).for_each(|depot| self.befall(depot, Mishap::On, rng));
    }

    /// How often something befell one so far.
    pub fn mishaps(&self) -> u64 {
        self.mishaps.load(Ordering::Relaxed)
    }

    fn at(&self, home: &Home) -> Option<usize> {
        self.depots.iter().position(|depot| depot.device == home.device)
    }

    /// Who owns the depot of a home.
    pub fn owner(&self, home: &Home) -> Option<Account> {
        self.at(home).map(|depot| self.depots[depot].owner)
    }

    /// Whether a shard is truly there, byte by byte.
    pub fn holds(&self, home: &Home, shard: Digest) -> bool {
        self.at(home)
            .is_some_and(|at| self.shards.holds_whole(self.depots[at].peer, home.rail, shard))
    }

    /// Whether the depot of a home answers in good time.
    pub fn answers(&self, home: &Home) -> bool {
        let conditions = lock(&self.conditions);
        self.at(home).is_some_and(|at| !conditions[at].off && conditions[at].slow_ms.is_none())
    }

    /// Whether the depot of a home is to be left.
    pub fn leaves(&self, home: &Home) -> bool {
        let conditions = lock(&self.conditions);
        self.at(home).is_some_and(|at| conditions[at].leaving)
    }

    /// The owners whose depots ever said that a shard is durable.
    pub fn acknowledged(&self, shard: Digest) -> BTreeSet<Account> {
        let acknowledged = lock(&self.acknowledged);
        let depots = acknowledged.get(&shard).into_iter().flatten();
        depots.map(|depot| self.depots[*depot].owner).collect()
    }

    /// Whether a depot lost a shard for which nobody else can be blamed.
    pub fn excused(&self, shard: Digest) -> bool {
        lock(&self.hurt).contains(&shard)
    }

    /// How many shards and bytes each depot keeps.
    pub fn kept(&self) -> Vec<(usize, u64)> {
        self.depots.iter().map(|depot| self.shards.kept(depot.peer)).collect()
    }

    fn took(&self, peer: Peer, shard: Digest) {
        if let Some(depot) = self.depots.iter().position(|depot| depot.peer.key == peer.key) {
            lock(&self.acknowledged).entry(shard).or_default().insert(depot);
        }
    }
}

/// The way from one life of the shop to the depots.
#[derive(Debug)]
pub struct Line {
    yard: Arc<Yard>,
    disk: Arc<Disk>,
    rng: Mutex<StdRng>,
}

impl Line {
    /// A line that lasts as long as the power of a disk.
    pub const fn new(yard: Arc<Yard>, disk: Arc<Disk>, rng: StdRng) -> Self {
        Self { yard, disk, rng: Mutex::new(rng) }
    }

    async fn way(&self) {
        let ms = lock(&self.rng).random_range(1..WAY_MS);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        if self.disk.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    async fn pass<T>(&self, answer: BoxFuture<'_, T>) -> T {
        self.way().await;
        let answer = answer.await;
        self.way().await;
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
            let done = self.pass(self.yard.shards.put(to, rail, shard, bytes)).await;
            if done.is_ok() {
                self.yard.took(to, shard.hash);
            }
            done
        })
    }

    fn get(&self, from: Peer, ask: Ask) -> BoxFuture<'_, Result<Bytes, ShardsError>> {
        Box::pin(self.pass(self.yard.shards.get(from, ask)))
    }

    fn commit(&self, to: Peer, commit: Commit) -> BoxFuture<'_, Result<Committed, ShardsError>> {
        Box::pin(self.pass(self.yard.shards.commit(to, commit)))
    }

    fn holds(
        &self,
        of: Peer,
        rail: RailId,
        shards: Vec<Digest>,
    ) -> BoxFuture<'_, Result<Vec<bool>, ShardsError>> {
        Box::pin(self.pass(self.yard.shards.holds(of, rail, shards)))
    }

    fn stat(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Stat, ShardsError>> {
        Box::pin(self.pass(self.yard.shards.stat(of, rail)))
    }

    fn note(&self, to: Peer, rail: RailId, note: Bytes) -> BoxFuture<'_, Result<(), ShardsError>> {
        Box::pin(self.pass(self.yard.shards.note(to, rail, note)))
    }

    fn noted(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Noted, ShardsError>> {
        Box::pin(self.pass(self.yard.shards.noted(of, rail)))
    }

    fn terms(&self, of: Peer) -> BoxFuture<'_, Result<Terms, ShardsError>> {
        Box::pin(self.pass(self.yard.shards.terms(of)))
    }
}

/// The chain by which datasets and vouchers are signed.
pub const CHAIN_ID: u64 = CHAIN;
