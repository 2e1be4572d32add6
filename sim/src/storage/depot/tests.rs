//! Lives of a depot: what it acknowledged is there, whatever befell it.

use super::*;
use crate::{
    economy::NETWORK,
    storage::{
        roll::{Roll, inputs},
        way::Way,
    },
    world::{clockwork, people::CHAIN},
};
use alloy_signer_local::PrivateKeySigner;
use futures::future::join_all;
use protocol::{Account, Height, Micros, Tokens, clock::EpochClock, manifest::KindTerms, voucher};
use s3_service::{
    rails::{LedgerPort as _, Opening, memory::MemoryLedger},
    shards::{Ask, Shards as _, ShardsError, remote::RemoteShards},
};
use storage_kind::{
    STORAGE,
    wire::{Commit, Refusal},
};

const RAIL: RailId = RailId(1);
const SMALL_MAX: u64 = 1 << 10;
const CAPACITY: u64 = 8 << 20;

/// A service, a depot, and what the depot promised.
struct World {
    ledger: Arc<MemoryLedger>,
    depot: Arc<Depot>,
    shards: RemoteShards,
    rng: StdRng,
    /// Shards that were acknowledged and not given up.
    acknowledged: BTreeMap<Digest, Bytes>,
    committed: BTreeSet<Digest>,
    version: u64,
    /// A commit of which it is not known whether it was made.
    doubtful: Option<Commit>,
    trace: Vec<String>,
}

fn runtime() -> tokio::runtime::Runtime {
    clockwork::runtime().unwrap()
}

impl World {
    async fn new(seed: u64, room: u64) -> Self {
        let signer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
        let account = signer.address().into_array().into();
        let terms = KindTerms {
            kind: STORAGE,
            price: Micros(0),
            delivery_price: Micros(0),
            per_units: 1 << 30,
            stake_base: Tokens::ZERO,
            stake_per: Tokens::ZERO,
            positions: 2,
            window: 4,
        };
        let clock = EpochClock { length: 12, grace: 3 };
        let ledger = Arc::new(MemoryLedger::new(account, clock, terms));
        let rails = Account::repeat_byte(5);
        let settings = Settings { network: NETWORK, chain_id: CHAIN, rails, credit: 1 << 20 };
        let offer = Offer { settings, capacity: CAPACITY, small_max: SMALL_MAX, room };
        let secret = DeviceSecret::from_seed([9; 32]);
        let roll = Arc::new(Roll::new(Arc::<MemoryLedger>::clone(&ledger)));
        let depot = Depot::new(secret, offer, roll).unwrap();
        let device = ledger.register(depot.peer(), Account::repeat_byte(1));
        let opening = Opening {
            device,
            payee: Account::repeat_byte(1),
            rate: Micros(0),
            limit: Micros(1_000),
            expiry: Epoch(1_000),
        };
        ledger.open(vec![opening]).await.unwrap();
        let way = Way::new(vec![Arc::clone(&depot)], seed);
        let domain = voucher::domain(CHAIN, rails);
        let shards = way.speak_for([3; 32], &signer, &domain).unwrap();
        Self {
            ledger,
            depot,
            shards,
            rng: StdRng::seed_from_u64(seed),
            acknowledged: BTreeMap::new(),
            committed: BTreeSet::new(),
            version: 0,
            doubtful: None,
            trace: Vec::new(),
        }
    }

    fn body(&mut self, bytes: usize) -> Bytes {
        let mut body = vec![0; bytes];
        self.rng.fill_bytes(&mut body);
        body.into()
    }

    async fn put(&mut self, bodies: Vec<Bytes>) -> Vec<Result<(), ShardsError>> {
        let put =
            |body: &Bytes| self.shards.put(self.depot.peer(), RAIL, shard(body), body.clone());
        let answers = join_all(bodies.iter().map(put)).await;
        for (body, answer) in bodies.into_iter().zip(&answers) {
            self.trace.push(format!("put {} {answer:?}", body.len()));
            if answer.is_ok() {
                self.acknowledged.insert(Digest::of(&body), body);
            }
        }
        answers
    }

    async fn read(&self, hash: Digest, length: usize) -> Result<Bytes, ShardsError> {
        let length = u64::try_from(length).unwrap();
        let ask = Ask { rail: RAIL, shard: hash, offset: 0, length, voucher: None };
        self.shards.get(self.depot.peer(), ask).await
    }

    /// Commits what is not committed, gives up some of what is, or asks again after a silence.
    async fn commit(&mut self) {
        let commit = match self.doubtful.take() {
            Some(commit) => commit,
            None => {
                let waiting = |hash: &&Digest| !self.committed.contains(*hash);
                let added = self.acknowledged.keys().filter(waiting);
                let added: Vec<Shard> =
                    added.map(|hash| shard(&self.acknowledged[hash])).take(20).collect();
                let gives_up = self.rng.random_range(0..3);
                let removed: Vec<Digest> = self.committed.iter().take(gives_up).copied().collect();
                // Whatever becomes of the commit, nobody asks for these again.
                removed.iter().for_each(|hash| drop(self.acknowledged.remove(hash)));
                Commit { rail: RAIL, base: self.version, version: self.version + 1, added, removed }
            }
        };
        let answer = self.shards.commit(self.depot.peer(), commit.clone()).await;
        self.trace.push(format!("commit {} {:?}", commit.version, answer.as_ref().map(|_| ())));
        match answer {
            Ok(committed) => {
                assert_eq!(committed.dataset.version, commit.version);
                self.version = commit.version;
                self.committed.retain(|hash| !commit.removed.contains(hash));
                self.committed.extend(commit.added.iter().map(|shard| shard.hash));
            }
            Err(ShardsError::Refused(Refusal::NotHeld(hash))) => {
                panic!("{hash} was acknowledged and is not held")
            }
            Err(ShardsError::Refused(
                refusal @ (Refusal::StaleBase(_) | Refusal::BadCommit(_)),
            )) => {
                panic!("the depot forgot a commit: {refusal}")
            }
            Err(_) => self.doubtful = Some(commit),
        }
    }

    async fn epoch(&mut self) {
        let height = self.ledger.view().await.unwrap().height;
        self.ledger.advance_to(Height(height.0 + 12));
        let frozen: Vec<_> =
            self.ledger.frozen(RAIL).map(|frozen| frozen.dataset).into_iter().collect();
        let view = self.ledger.view().await.unwrap();
        self.depot.hear(Arc::new(inputs(&view, frozen)));
    }

    fn crash(&mut self, crash: Crash) {
        self.trace.push(format!("{crash:?} {:?}", self.depot.disk().trouble()));
        self.depot.disk().set(Trouble::None);
        self.depot.crash(crash, &mut self.rng).unwrap();
    }

    /// All that was acknowledged is there, and can be read.
    async fn check(&mut self) {
        self.depot.check().unwrap();
        let there = self.depot.inventory();
        for (hash, body) in &self.acknowledged {
            assert!(there.contains(hash), "{} bytes were acknowledged and are lost", body.len());
        }
        let at = self.rng.random_range(0..self.acknowledged.len().max(1));
        let Some((hash, body)) = self.acknowledged.iter().nth(at) else { return };
        assert_eq!(self.read(*hash, body.len()).await.as_ref(), Ok(body));
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..16u8) {
            0..=5 => {
                let count = self.rng.random_range(1..6);
                let sizes: Vec<usize> =
                    (0..count).map(|_| self.rng.random_range(1..3_000)).collect();
                let bodies = sizes.into_iter().map(|bytes| self.body(bytes)).collect();
                self.put(bodies).await;
            }
            6..=8 => self.commit().await,
            9 => self.epoch().await,
            10 => {
                let note = self.body(500);
                let answer = self.shards.note(self.depot.peer(), RAIL, note.clone()).await;
                self.trace.push(format!("note {answer:?}"));
                if answer.is_ok() {
                    let noted = self.shards.noted(self.depot.peer(), RAIL).await;
                    assert!(noted.is_err() || noted.is_ok_and(|noted| noted.note == note));
                }
            }
            11 => {
                let troubles = [Trouble::Sync, Trouble::Write, Trouble::Full];
                self.depot.disk().set(troubles[self.rng.random_range(0..3)]);
            }
            12 => {
                let operations = self.rng.random_range(0..60);
                self.depot.disk().cut_after(Some(operations));
            }
            13 => self.crash(Crash::Program),
            14 => self.crash(Crash::Power),
            _ => {
                self.depot.disk().set(Trouble::None);
                tokio::time::sleep(Duration::from_secs(2)).await;
                self.depot.tend().unwrap();
            }
        }
        if self.depot.disk().is_dead() {
            self.crash(Crash::Power);
            self.check().await;
        }
    }
}

fn shard(body: &Bytes) -> Shard {
    Shard { hash: Digest::of(body), bytes: u64::try_from(body.len()).unwrap() }
}

fn live(seed: u64, steps: usize) -> Vec<String> {
    runtime().block_on(async {
        let mut world = World::new(seed, CAPACITY).await;
        for _ in 0..steps {
            world.step().await;
        }
        world.crash(Crash::Power);
        world.check().await;
        world.trace
    })
}

#[test]
fn what_was_acknowledged_is_there_whatever_befell_the_disk() {
    for seed in 0..60 {
        live(seed, 60);
    }
}

#[test]
fn the_same_seed_is_the_same_life() {
    assert_eq!(live(4_711, 120), live(4_711, 120));
}

#[test]
fn a_full_disk_says_so_and_loses_nothing() {
    for bytes in [3_000, 100] {
        runtime().block_on(async {
            let mut world = World::new(1, 20_000).await;
            let body = world.body(3_000);
            assert_eq!(world.put(vec![body]).await, [Ok(())]);
            world.depot.disk().set(Trouble::Full);
            let body = world.body(bytes);
            let refused = world.put(vec![body.clone()]).await;
            assert_eq!(refused, [Err(ShardsError::Refused(Refusal::Full))], "{bytes} bytes");
            world.depot.disk().set(Trouble::None);
            tokio::time::sleep(Duration::from_secs(2)).await;
            world.check().await;
            assert_eq!(world.put(vec![body]).await, [Ok(())], "{bytes} bytes");
        });
    }
}

#[test]
fn a_depot_takes_what_there_is_room_for_and_no_more() {
    runtime().block_on(async {
        let mut world = World::new(1, 20_000).await;
        let mut taken = 0;
        for _ in 0..12 {
            let body = world.body(3_000);
            match &world.put(vec![body]).await[..] {
                [Ok(())] => taken += 1,
                answer => assert_eq!(answer, [Err(ShardsError::Refused(Refusal::Full))]),
            }
        }
        assert_eq!(taken, 6);
        world.crash(Crash::Power);
        world.check().await;
    });
}

#[test]
fn what_rots_is_found_by_who_reads_it() {
    runtime().block_on(async {
        let mut world = World::new(1, CAPACITY).await;
        let (body, other) = (world.body(3_000), world.body(500));
        let hash = Digest::of(&body);
        assert_eq!(world.put(vec![body.clone()]).await, [Ok(())]);
        assert!(world.depot.holds(&hash));
        assert_eq!(world.depot.rot(&mut world.rng), Some(hash));
        assert!(!world.depot.holds(&hash));
        let read = world.read(hash, body.len()).await;
        assert!(read.is_ok_and(|read| read != body));
        world.acknowledged.clear();
        assert_eq!(world.put(vec![other]).await, [Ok(())]);
        world.crash(Crash::Power);
        world.check().await;
    });
}

#[test]
fn a_byte_that_rots_in_the_index_costs_all_of_it_at_the_next_crash_and_no_more_than_that() {
    runtime().block_on(async {
        let mut world = World::new(1, CAPACITY).await;
        let (small, large) = (world.body(500), world.body(3_000));
        let hash = Digest::of(&small);
        assert_eq!(world.put(vec![small.clone()]).await, [Ok(())]);
        world.commit().await;
        assert_eq!(world.depot.rot(&mut world.rng), Some(hash));
        assert!(!world.depot.holds(&hash));
        assert_eq!(world.put(vec![large.clone()]).await, [Ok(())]);
        world.epoch().await;
        world.crash(Crash::Program);
        world.depot.check().unwrap();
        assert_ne!(world.read(hash, small.len()).await, Ok(small));
        world.acknowledged.clear();
        assert_eq!(world.put(vec![large]).await, [Ok(())]);
        world.crash(Crash::Power);
        world.check().await;
    });
}

#[test]
fn what_vanishes_is_missed_by_who_reads_it_and_taken_again() {
    runtime().block_on(async {
        let mut world = World::new(1, CAPACITY).await;
        let body = world.body(3_000);
        let hash = Digest::of(&body);
        assert_eq!(world.put(vec![body.clone()]).await, [Ok(())]);
        assert_eq!(world.depot.lose(&mut world.rng), Some(hash));
        let read = world.read(hash, body.len()).await;
        assert_eq!(read, Err(ShardsError::Refused(Refusal::NotHeld(hash))));
        assert!(!world.depot.holds(&hash));
        assert_eq!(world.put(vec![body]).await, [Ok(())]);
        world.check().await;
    });
}

#[test]
fn a_disk_that_lies_is_seen_to_lose_what_was_acknowledged() {
    let lost = (0..20).any(|seed| {
        runtime().block_on(async {
            let mut world = World::new(seed, CAPACITY).await;
            let first = world.body(3_000);
            world.put(vec![first]).await;
            world.depot.disk().set(Trouble::Lies);
            let body = world.body(3_000);
            let hash = Digest::of(&body);
            assert_eq!(world.put(vec![body]).await, [Ok(())]);
            world.depot.disk().set(Trouble::None);
            let started = world.depot.crash(Crash::Power, &mut world.rng);
            started.is_err() || !world.depot.holds(&hash)
        })
    });
    assert!(lost);
}

#[test]
fn a_depot_that_is_not_there_is_unreachable_and_one_that_goes_is_silent() {
    runtime().block_on(async {
        let mut world = World::new(1, CAPACITY).await;
        let depot = Arc::clone(&world.depot);
        for condition in [Condition::Off, Condition::Cut] {
            depot.set(condition).unwrap();
            let body = world.body(100);
            let answers = world.put(vec![body]).await;
            assert!(matches!(answers[..], [Err(ShardsError::Unreachable(_))]), "{condition:?}");
        }
        depot.set(Condition::Slow(Duration::from_secs(1))).unwrap();
        let body = world.body(2_000);
        let put = world.shards.put(depot.peer(), RAIL, shard(&body), body.clone());
        let crash = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            depot.crash(Crash::Power, &mut StdRng::seed_from_u64(1)).unwrap();
        };
        let (answer, ()) = futures::join!(put, crash);
        assert!(matches!(answer, Err(ShardsError::Silent(_))), "{answer:?}");
        depot.set(Condition::Well).unwrap();
        assert_eq!(world.put(vec![body]).await, [Ok(())]);
        depot.replace_disk().unwrap();
        assert!(depot.inventory().is_empty());
        let body = world.body(2_000);
        assert_eq!(world.put(vec![body]).await, [Ok(())]);
    });
}
