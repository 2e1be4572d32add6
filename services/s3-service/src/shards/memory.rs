//! Agents in memory, with the faults that tests and simulations ask for.

use super::{Ask, Noted, Shards, ShardsError};
use crate::num::{mem, wide};
use alloy_sol_types::Eip712Domain;
use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::{
    Account, DeviceId, Digest, Micros, NetworkId, RailId, inputs, key::DeviceSecret,
    manifest::KindTerms, net::Peer,
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use storage_kind::{
    dataset::{Dataset, Shard},
    wire::{Commit, Committed, Refusal, Stat, Terms},
};

/// How an agent behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    #[default]
    Honest,
    /// Nobody answers.
    Down,
    /// Every answer takes this long.
    Slow(Duration),
    /// Every byte read is altered.
    Lying,
    /// It takes shards, and has none when it is asked.
    Forgetful,
    /// It takes nothing new.
    Full,
    /// It has too much to do, and gives and takes nothing.
    Busy,
    /// It says that it leaves, and takes nothing new.
    Leaving,
}

/// What all agents of a world know.
#[derive(Clone, Debug)]
pub struct World {
    /// The chain.
    pub chain_id: u64,
    /// The network.
    pub network: NetworkId,
    /// The domain of vouchers.
    pub domain: Eip712Domain,
    /// The account that signs vouchers.
    pub signer: Account,
    /// Prices.
    pub terms: KindTerms,
}

#[derive(Debug)]
struct Agent {
    secret: DeviceSecret,
    owner: Account,
    capacity: u64,
    manner: Manner,
    shards: BTreeMap<(RailId, Digest), Bytes>,
    rails: BTreeMap<RailId, Book>,
    requests: u64,
}

#[derive(Debug, Default)]
struct Book {
    shards: Vec<Shard>,
    version: u64,
    last: Option<(Commit, Committed)>,
    delivered: u64,
    promised: Micros,
    kept: Noted,
}

/// Agents in memory.
#[derive(Debug)]
pub struct MemoryShards {
    world: World,
    agents: Mutex<BTreeMap<[u8; 32], Agent>>,
    refuses_notes: AtomicBool,
}

impl MemoryShards {
    /// No agents.
    pub const fn new(world: World) -> Self {
        Self { world, agents: Mutex::new(BTreeMap::new()), refuses_notes: AtomicBool::new(false) }
    }

    /// Adds an agent; how to reach it and its device.
    pub fn add(&self, seed: u8, owner: Account, capacity: u64) -> (Peer, DeviceId) {
        let secret = DeviceSecret::from_seed([seed; 32]);
        let (key, device) = (secret.key().x(), secret.id());
        let agent = Agent {
            secret,
            owner,
            capacity,
            manner: Manner::Honest,
            shards: BTreeMap::new(),
            rails: BTreeMap::new(),
            requests: 0,
        };
        self.lock().insert(key, agent);
        (Peer { key, address: ([127, 0, 0, 1], u16::from(seed)).into() }, device)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Agent>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how an agent behaves.
    pub fn set(&self, peer: Peer, manner: Manner) {
        if let Some(agent) = self.lock().get_mut(&peer.key) {
            agent.manner = manner;
        }
    }

    /// How many shards and bytes an agent keeps.
    pub fn kept(&self, peer: Peer) -> (usize, u64) {
        self.lock().get(&peer.key).map_or((0, 0), |agent| {
            (agent.shards.len(), agent.shards.values().map(|bytes| wide(bytes.len())).sum())
        })
    }

    /// How many requests an agent was asked.
    pub fn requests(&self, peer: Peer) -> u64 {
        self.lock().get(&peer.key).map_or(0, |agent| agent.requests)
    }

    /// The largest promise that an agent holds on a rail, and the bytes it delivered there.
    pub fn promised(&self, peer: Peer, rail: RailId) -> (Micros, u64) {
        let agents = self.lock();
        let book = agents.get(&peer.key).and_then(|agent| agent.rails.get(&rail));
        book.map_or((Micros::ZERO, 0), |book| (book.promised, book.delivered))
    }

    /// Removes all shards behind everybody's back.
    pub fn wipe(&self, peer: Peer) {
        if let Some(agent) = self.lock().get_mut(&peer.key) {
            agent.shards.clear();
        }
    }

    /// Alters a byte of every shard behind everybody's back.
    pub fn corrupt(&self, peer: Peer) {
        if let Some(agent) = self.lock().get_mut(&peer.key) {
            for bytes in agent.shards.values_mut() {
                let mut altered = bytes.to_vec();
                altered.iter_mut().take(1).for_each(|byte| *byte ^= 1);
                *bytes = altered.into();
            }
        }
    }

    /// Whether no agent takes notes from now on.
    pub fn refuse_notes(&self, refuse: bool) {
        self.refuses_notes.store(refuse, Ordering::Relaxed);
    }

    /// The owners of all agents that keep this shard.
    pub fn keepers(&self, shard: Digest) -> Vec<Account> {
        let agents = self.lock();
        let keeps = |agent: &&Agent| agent.shards.keys().any(|(_, hash)| *hash == shard);
        agents.values().filter(keeps).map(|agent| agent.owner).collect()
    }

    /// Makes an agent forget everything, as one whose disk was replaced.
    pub fn reset(&self, peer: Peer) {
        if let Some(agent) = self.lock().get_mut(&peer.key) {
            agent.shards.clear();
            agent.rails.clear();
        }
    }

    async fn ask<T>(
        &self,
        peer: Peer,
        answer: impl FnOnce(&mut Agent, &World) -> Result<T, ShardsError>,
    ) -> Result<T, ShardsError> {
        let manner = self.lock().get(&peer.key).map(|agent| agent.manner);
        match manner {
            None | Some(Manner::Down) => {
                return Err(ShardsError::Unreachable("the agent is down".into()));
            }
            Some(Manner::Slow(time)) => tokio::time::sleep(time).await,
            Some(_) => tokio::task::yield_now().await,
        }
        let mut agents = self.lock();
        let agent = agents
            .get_mut(&peer.key)
            .ok_or_else(|| ShardsError::Unreachable("the agent is gone".into()))?;
        agent.requests += 1;
        answer(agent, &self.world)
    }
}

fn no<T>(refusal: Refusal) -> Result<T, ShardsError> {
    Err(ShardsError::Refused(refusal))
}

impl Agent {
    fn free(&self) -> u64 {
        if matches!(self.manner, Manner::Full | Manner::Leaving) {
            return 0;
        }
        let used: u64 = self.shards.values().map(|bytes| wide(bytes.len())).sum();
        self.capacity.saturating_sub(used)
    }

    fn put(&mut self, rail: RailId, shard: Shard, bytes: Bytes) -> Result<(), ShardsError> {
        if self.manner == Manner::Busy {
            return no(Refusal::Busy);
        }
        if Digest::of(&bytes) != shard.hash || wide(bytes.len()) != shard.bytes {
            return no(Refusal::BadShard);
        }
        if self.manner == Manner::Leaving {
            return no(Refusal::Leaving);
        }
        if self.free() < shard.bytes {
            return no(Refusal::Full);
        }
        if self.manner != Manner::Forgetful {
            self.shards.insert((rail, shard.hash), bytes);
        }
        Ok(())
    }

    fn get(&mut self, world: &World, ask: &Ask) -> Result<Bytes, ShardsError> {
        let Some(shard) = self.shards.get(&(ask.rail, ask.shard)) else {
            return no(Refusal::NotHeld(ask.shard));
        };
        let start = mem(ask.offset);
        let Some(bytes) = shard.get(start..start + mem(ask.length)) else {
            return no(Refusal::OutOfRange);
        };
        let mut bytes = bytes.to_vec();
        let book = self.rails.entry(ask.rail).or_default();
        if let Some(voucher) = ask.voucher {
            let named = (voucher.voucher.network, voucher.voucher.rail);
            if named != (world.network, ask.rail)
                || voucher.signer(&world.domain) != Some(world.signer)
            {
                return no(Refusal::BadVoucher);
            }
            if voucher.voucher.amount > book.promised {
                book.promised = voucher.voucher.amount;
                book.kept.voucher = Some(voucher);
            }
        }
        let due = world.terms.dollars(book.delivered + ask.length, world.terms.delivery_price);
        if self.manner == Manner::Busy {
            return no(Refusal::Busy);
        }
        if book.promised < due {
            return no(Refusal::VoucherNeeded(due));
        }
        book.delivered += ask.length;
        if self.manner == Manner::Lying {
            bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        }
        Ok(bytes.into())
    }

    fn commit(&mut self, world: &World, commit: &Commit) -> Result<Committed, ShardsError> {
        let book = self.rails.entry(commit.rail).or_default();
        if let Some((_, answer)) = book.last.as_ref().filter(|(last, _)| last == commit) {
            return Ok(*answer);
        }
        // Version 0 is always there.
        let is_base = commit.base == 0 || commit.base == book.version;
        if !is_base || commit.version <= book.version {
            return no(Refusal::StaleBase(book.version));
        }
        let absent = |shard: &&Shard| !self.shards.contains_key(&(commit.rail, shard.hash));
        if let Some(shard) = commit.added.iter().find(absent)
            && self.manner != Manner::Forgetful
        {
            return no(Refusal::NotHeld(shard.hash));
        }
        let base = book.shards.iter().filter(|_| commit.base > 0);
        let set = Dataset::build(base.copied())
            .and_then(|set| set.apply(&commit.added, &commit.removed))
            .map_err(|_| ShardsError::Refused(Refusal::BadCommit(Digest::default())))?;
        let dataset = inputs::Dataset {
            rail: commit.rail,
            version: commit.version,
            root: set.root(),
            bytes: set.bytes(),
        };
        let signature = self.secret.sign(&dataset.signing_bytes(world.chain_id));
        let answer = Committed { dataset, signature };
        let old = std::mem::replace(&mut book.shards, set.shards().to_vec());
        book.version = commit.version;
        book.last = Some((commit.clone(), answer));
        for shard in old.iter().filter(|shard| set.find(shard.hash).is_none()) {
            self.shards.remove(&(commit.rail, shard.hash));
        }
        Ok(answer)
    }
}

impl Shards for MemoryShards {
    fn put(
        &self,
        to: Peer,
        rail: RailId,
        shard: Shard,
        bytes: Bytes,
    ) -> BoxFuture<'_, Result<(), ShardsError>> {
        Box::pin(self.ask(to, move |agent, _| agent.put(rail, shard, bytes)))
    }

    fn get(&self, from: Peer, ask: Ask) -> BoxFuture<'_, Result<Bytes, ShardsError>> {
        Box::pin(self.ask(from, move |agent, world| agent.get(world, &ask)))
    }

    fn commit(&self, to: Peer, commit: Commit) -> BoxFuture<'_, Result<Committed, ShardsError>> {
        Box::pin(self.ask(to, move |agent, world| agent.commit(world, &commit)))
    }

    fn holds(
        &self,
        of: Peer,
        rail: RailId,
        shards: Vec<Digest>,
    ) -> BoxFuture<'_, Result<Vec<bool>, ShardsError>> {
        Box::pin(self.ask(of, move |agent, _| {
            Ok(shards.iter().map(|hash| agent.shards.contains_key(&(rail, *hash))).collect())
        }))
    }

    fn stat(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Stat, ShardsError>> {
        Box::pin(self.ask(of, move |agent, _| {
            let book = agent.rails.entry(rail).or_default();
            let set = Dataset::build(book.shards.iter().copied())
                .map_err(|_| ShardsError::Wrong("a dataset that is none"))?;
            Ok(Stat {
                version: book.version,
                root: set.root(),
                bytes: set.bytes(),
                shards: wide(book.shards.len()),
            })
        }))
    }

    fn note(&self, to: Peer, rail: RailId, note: Bytes) -> BoxFuture<'_, Result<(), ShardsError>> {
        let refuses = self.refuses_notes.load(Ordering::Relaxed);
        Box::pin(self.ask(to, move |agent, _| {
            if refuses {
                return no(Refusal::Disk);
            }
            agent.rails.entry(rail).or_default().kept.note = note;
            Ok(())
        }))
    }

    fn noted(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Noted, ShardsError>> {
        Box::pin(self.ask(of, move |agent, _| {
            Ok(agent.rails.get(&rail).map(|book| book.kept.clone()).unwrap_or_default())
        }))
    }

    fn terms(&self, of: Peer) -> BoxFuture<'_, Result<Terms, ShardsError>> {
        Box::pin(self.ask(of, |agent, world| {
            Ok(Terms {
                device: agent.secret.id(),
                network: world.network,
                owner: agent.owner,
                price: world.terms.price,
                delivery_price: world.terms.delivery_price,
                free: agent.free(),
                leaving: agent.manner == Manner::Leaving,
            })
        }))
    }
}
