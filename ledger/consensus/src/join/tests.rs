//! Nodes that join, leave, come back and crash, in the deterministic runtime.
//!
//! The engine keeps few blocks in tests, so that 60 are enough to be too late for a replay.

use super::*;
use crate::{
    Config, Finalized, Genesis, History, HistoryError, Ledger, MemoryFile, Peer, Retention,
    engine::EngineError,
    recovery::Recovery,
    testing::{COIN, NOBODY, block_at, genesis, included, keys, roots, transfer},
    validator::Launch,
};
use alloy_primitives::U256;
use commonware_runtime::{
    Clock as _, Handle, Runner as _, Spawner as _, Supervisor as _, deterministic,
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicU16, Ordering},
};
use tokio::sync::oneshot;

/// Blocks in a term of these tests.
const TERM: u64 = 7;
/// A height at which peers have pruned the first blocks.
const LATE: u64 = 60;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4000 + port))
}

/// A node's disk, and the life it lives on it.
struct Node {
    history: MemoryFile,
    port: u16,
    life: Option<Handle<()>>,
}

/// Nodes that know each other, each by the address of its first life.
struct Town {
    context: deterministic::Context,
    genesis: Genesis,
    nodes: BTreeMap<u8, Node>,
    /// Keys that are known to all, from 0 on.
    people: u8,
    lives: u16,
}

impl Town {
    fn new(context: &deterministic::Context, seats: u8, people: u8) -> Self {
        Self {
            context: context.child("town"),
            genesis: genesis(seats, TERM),
            nodes: BTreeMap::new(),
            people,
            lives: 0,
        }
    }

    /// Begins a life of node `n` without waiting for it.
    fn begin(
        &mut self,
        n: u8,
        change: impl FnOnce(&mut Config),
    ) -> oneshot::Receiver<Result<Ledger, EngineError>> {
        // An address is never free again in this runtime.
        self.lives += 1;
        let port = if self.nodes.contains_key(&n) { 100 + self.lives } else { u16::from(n) };
        let node = self.nodes.entry(n).or_insert_with(|| Node {
            history: MemoryFile::new(),
            port: u16::from(n),
            life: None,
        });
        node.port = port;
        let (key, files) = (keys(n % 50), node.history.clone());
        let mut config = Config::new("unused".into(), address(port), key, self.genesis.clone());
        config.peers = (0..self.people)
            .filter(|peer| *peer != n % 50)
            .map(|peer| Peer { key: keys(peer).network_key(), address: address(u16::from(peer)) })
            .collect();
        config.blocks_served = 16;
        change(&mut config);
        let history = History::open_in(files, config.genesis.digest(), config.kept()).unwrap();
        let launch = Launch {
            prefix: format!("node-{n}"),
            committee: Arc::new(config.genesis.check().unwrap()),
            history: Arc::new(history),
            listen: config.listen,
            recovery: Recovery::sequential(),
            served: crate::engine::Served::LITTLE,
            config,
        };
        let (ready, started) = oneshot::channel();
        let context = self.context.child("node").with_attribute("life", self.lives);
        let life = context.spawn(async move |context| {
            drop(ready.send(Box::pin(launch.start(&context)).await));
            std::future::pending().await
        });
        self.nodes.get_mut(&n).unwrap().life = Some(life);
        started
    }

    async fn start(&mut self, n: u8) -> Ledger {
        self.begin(n, |_| ()).await.unwrap().unwrap()
    }

    /// Ends the life of node `n` as kill -9 does, and leaves of its history what was synced.
    async fn kill(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        let life = node.life.take().unwrap();
        life.abort();
        drop(life.await);
        // What it left to the runtime ends a moment later.
        self.context.sleep(Duration::from_millis(1)).await;
        node.history = node.history.crash();
    }

    /// Starts nodes 0 to `count`.
    async fn found(&mut self, count: u8) -> Vec<Ledger> {
        let began: Vec<_> = (0..count).map(|n| self.begin(n, |_| ())).collect();
        let mut ledgers = Vec::new();
        for started in began {
            ledgers.push(started.await.unwrap().unwrap());
        }
        ledgers
    }
}

fn run<T>(seed: u64, play: impl AsyncFnOnce(deterministic::Context) -> T) -> T {
    deterministic::Runner::seeded(seed).start(async move |context| play(context).await)
}

/// Waits until `ledger` and `other` have `height`, and compares what both have of the blocks up to it.
async fn agree(ledger: &Ledger, other: &Ledger, height: u64) -> Arc<Finalized> {
    let block = block_at(ledger, height).await;
    assert_eq!(block_at(other, height).await, block);
    for height in ledger.first().unwrap().max(other.first().unwrap())..=height {
        assert_eq!(ledger.block(height).unwrap(), other.block(height).unwrap());
    }
    block
}

/// Waits for a block of node `n` above `height`.
async fn proposes(ledger: &Ledger, n: u8, height: u64) -> u64 {
    let mut blocks = ledger.subscribe_from(height + 1);
    loop {
        let block = blocks.next().await.unwrap().unwrap();
        if block.header.proposer == keys(n).signer().public_key() {
            return block.height();
        }
    }
}

/// Sends coins through `ledger`, so that its state has something to show.
async fn pay(ledger: &Ledger, nonce: u64) -> u64 {
    let hash = ledger.submit(&transfer(1, nonce, COIN)).await.unwrap();
    included(ledger, hash).await.place.height
}

async fn paid(ledger: &Ledger, coins: u64) {
    let head = ledger.head().height();
    let account = ledger.account(NOBODY, head).await.unwrap();
    assert_eq!(account.balance, U256::from(COIN) * U256::from(coins));
    let proof = ledger.prove(vec![execution::Key::Account(NOBODY)]).await.unwrap();
    assert_eq!(proof.root, ledger.header(proof.height).unwrap().unwrap().state.root);
}

#[test]
fn a_young_ledger_is_replayed() {
    run(1, async |context| {
        let mut town = Town::new(&context, 4, 4);
        let ledgers = town.found(3).await;
        pay(&ledgers[0], 0).await;
        block_at(&ledgers[0], 10).await;
        let late = town.start(3).await;
        let height = ledgers[0].head().height();
        agree(&ledgers[0], &late, height).await;
        assert_eq!(late.first().unwrap(), 0);
        paid(&late, 1).await;
        proposes(&late, 3, height).await;
    });
}

/// A node with an empty folder joins an old ledger, follows, and votes where it has a seat.
async fn fetch(context: deterministic::Context) -> (u64, BTreeMap<u64, B256>) {
    let mut town = Town::new(&context, 4, 4);
    let ledgers = town.found(3).await;
    pay(&ledgers[0], 0).await;
    block_at(&ledgers[0], LATE).await;

    let late = town.start(3).await;
    let (first, head) = (late.first().unwrap(), late.head().height());
    assert!(first > LATE && head + 1 >= first, "began at {first}, head {head}");
    paid(&late, 1).await;
    for height in 1..first {
        match late.block(height) {
            Err(HistoryError::Before { height: at, first: from }) => {
                assert_eq!((at, from), (height, first));
            }
            other => panic!("{other:?}"),
        }
    }
    // How terms ended stays known, here too.
    for ledger in [&ledgers[0], &late] {
        assert!(ledger.certificate(TERM - 1).await.unwrap().is_some());
        assert!(ledger.certificate(TERM).await.unwrap().is_none());
    }
    assert_eq!(late.header(0).unwrap().unwrap().digest(), ledgers[0].genesis_hash());
    assert!(late.account(NOBODY, first - 2).await.is_err());
    assert_eq!(late.oldest_state().unwrap(), first - 1);
    assert!(late.heights_with_logs(0..=head, |_| true, 9).is_err());

    // It takes part: by transactions, by reads of all later states, and by blocks of its own.
    pay(&late, 1).await;
    let mine = proposes(&late, 3, head).await;
    agree(&late, &ledgers[1], mine + 2 * TERM).await;
    paid(&late, 2).await;
    (first, roots(&ledgers[0]))
}

#[test]
fn an_old_ledger_is_joined_by_its_state() {
    run(2, fetch);
}

#[test]
fn one_seed_gives_one_way_of_joining() {
    assert_eq!(run(3, fetch), run(3, fetch));
}

#[test]
fn a_crash_at_any_moment_of_joining_is_survived() {
    run(4, async |context| {
        let mut town = Town::new(&context, 4, 4);
        let ledgers = town.found(3).await;
        pay(&ledgers[0], 0).await;
        block_at(&ledgers[0], LATE).await;
        let mut cut = 0;
        for millis in (100..4_000).step_by(130) {
            let mut started = town.begin(3, |_| ());
            context.sleep(Duration::from_millis(millis)).await;
            cut += u32::from(started.try_recv().is_err());
            town.kill(3).await;
        }
        assert!(cut > 5, "only {cut} of these lives ended before they had joined");
        let late = town.start(3).await;
        assert!(late.first().unwrap() > LATE);
        paid(&late, 1).await;
        let mine = proposes(&late, 3, late.head().height()).await;
        agree(&late, &ledgers[1], mine + 1).await;
    });
}

#[test]
fn who_was_away_too_long_fetches_the_state_and_keeps_what_it_had() {
    run(5, async |context| {
        let mut town = Town::new(&context, 4, 4);
        let ledgers = town.found(4).await;
        pay(&ledgers[0], 0).await;
        block_at(&ledgers[3], 12).await;
        let had = ledgers[3].head().height();
        town.kill(3).await;
        pay(&ledgers[0], 1).await;
        block_at(&ledgers[0], had + LATE).await;

        let late = town.start(3).await;
        let first = late.first().unwrap();
        assert!(first > had + 1);
        paid(&late, 2).await;
        assert_eq!(late.block(had).unwrap(), ledgers[0].block(had).unwrap());
        let gap = late.block(had + 2).unwrap_err();
        assert!(gap.to_string().contains("ask an archive"), "{gap}");
        let mine = proposes(&late, 3, late.head().height()).await;
        agree(&late, &ledgers[1], mine + 1).await;

        // A second time: one gap more.
        town.kill(3).await;
        let head = ledgers[0].head().height();
        block_at(&ledgers[0], head + LATE).await;
        let late = town.start(3).await;
        assert!(late.first().unwrap() > head);
        paid(&late, 2).await;
        assert_eq!(late.block(mine).unwrap(), ledgers[0].block(mine).unwrap());
    });
}

#[test]
fn who_was_away_shortly_replays() {
    run(6, async |context| {
        let mut town = Town::new(&context, 4, 4);
        let ledgers = town.found(4).await;
        block_at(&ledgers[3], 12).await;
        town.kill(3).await;
        let head = ledgers[0].head().height();
        block_at(&ledgers[0], head + 10).await;
        let late = town.start(3).await;
        agree(&late, &ledgers[0], head + 12).await;
        assert_eq!(late.first().unwrap(), 0);
        proposes(&late, 3, head + 12).await;
    });
}

#[test]
fn an_observer_follows_without_a_vote() {
    run(7, async |context| {
        let mut town = Town::new(&context, 3, 5);
        let ledgers = town.found(3).await;
        let observe = |config: &mut Config| config.role = Role::Observer;
        let observer = town.begin(3, observe).await.unwrap().unwrap();
        assert_eq!(observer.head().height(), 0);
        pay(&ledgers[0], 0).await;
        agree(&observer, &ledgers[1], 20).await;
        paid(&observer, 1).await;
        // A seat that only observes: the others go on without it.
        town.kill(2).await;
        let seat = town.begin(2, observe);
        let height = ledgers[0].head().height();
        assert!(seat.await.unwrap().is_ok());
        context.sleep(Duration::from_secs(30)).await;
        // Three of three have to vote.
        assert!(ledgers[0].head().height() <= height + 2);
    });
}

#[test]
fn an_archive_keeps_all_and_needs_another() {
    run(8, async |context| {
        let mut town = Town::new(&context, 3, 6);
        let keeps = |config: &mut Config| {
            config.role = Role::Archive;
            config.retention = Retention { blobs: Some(2), ..Retention::default() };
        };
        let began: Vec<_> = (0..3).map(|n| town.begin(n, |_| ())).collect();
        let mut ledgers = Vec::new();
        for started in began {
            ledgers.push(started.await.unwrap().unwrap());
        }
        ledgers[0].submit_blob(bytes::Bytes::from_static(b"evidence")).unwrap();
        block_at(&ledgers[0], LATE).await;

        // Nobody has the first blocks.
        let refused = town.begin(5, keeps).await.unwrap().unwrap_err();
        let expected = matches!(refused, EngineError::Join(JoinError::NoBlock { height: 1 }));
        assert!(expected, "{refused}");
        town.kill(5).await;
    });
    run(9, async |context| {
        let mut town = Town::new(&context, 3, 6);
        let keeps = |config: &mut Config| {
            config.role = Role::Archive;
            config.retention = Retention { blobs: Some(2), ..Retention::default() };
        };
        let ledgers = town.found(3).await;
        let first = town.begin(3, keeps).await.unwrap().unwrap();
        ledgers[0].submit_blob(bytes::Bytes::from_static(b"evidence")).unwrap();
        block_at(&ledgers[0], LATE).await;
        let second = town.begin(4, keeps).await.unwrap().unwrap();
        agree(&second, &first, LATE).await;
        let blobs: usize = (0..=LATE)
            .map(|h| second.block(h).unwrap().unwrap().blobs.clone().unwrap().len())
            .sum();
        assert_eq!((second.first().unwrap(), blobs), (0, 1));
    });
}

#[test]
fn another_genesis_finds_no_peer() {
    run(10, async |context| {
        let mut town = Town::new(&context, 2, 5);
        let ledgers = town.found(2).await;
        let other = |config: &mut Config| config.genesis.timestamp_ms += 1;
        let refused = town.begin(4, other).await.unwrap().unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, EngineError::Join(JoinError::NoPeer { .. })), "{text}");
        assert!(text.contains("check the addresses of the peers"), "{text}");
        block_at(&ledgers[0], ledgers[0].head().height() + 2).await;
    });
}

#[test]
fn a_trusted_block_begins_the_proof() {
    run(11, async |context| {
        let mut town = Town::new(&context, 3, 7);
        let ledgers = town.found(3).await;
        block_at(&ledgers[0], LATE).await;
        let hash = ledgers[0].header(30).unwrap().unwrap().digest();
        let trust = |hash| {
            move |config: &mut Config| {
                config.trust = Some(Trusted { height: 30, hash });
            }
        };
        let joined = town.begin(4, trust(hash)).await.unwrap().unwrap();
        agree(&joined, &ledgers[0], joined.head().height() + 3).await;
        assert!(joined.first().unwrap() > LATE);

        // One that nobody has, and one that this node knows to be another.
        let refused = town.begin(5, trust(B256::repeat_byte(7))).await.unwrap().unwrap_err();
        let expected = matches!(refused, EngineError::Join(JoinError::NoProof { .. }));
        assert!(expected, "{refused}");
        town.kill(0).await;
        let refused = town.begin(0, trust(B256::repeat_byte(7))).await.unwrap().unwrap_err();
        let expected = matches!(refused, EngineError::Join(JoinError::Trust { height: 30, .. }));
        assert!(expected, "{refused}");
    });
}

#[test]
fn how_terms_ended_is_kept_at_any_pace() {
    run(16, async |context| {
        let mut town = Town::new(&context, 3, 5);
        // Between two looks of a node lie more blocks than marshal keeps.
        let quick = |config: &mut Config| config.pace = WATCH / 100;
        let began: Vec<_> = (0..3).map(|n| town.begin(n, quick)).collect();
        let mut ledgers = Vec::new();
        for started in began {
            ledgers.push(started.await.unwrap().unwrap());
        }
        block_at(&ledgers[0], 3 * LATE).await;
        for ledger in &ledgers {
            for term in 0..3 * LATE / TERM {
                let last = (term + 1) * TERM - 1;
                assert!(ledger.certificate(last).await.unwrap().is_some(), "term {term}");
            }
        }
        let observe = |config: &mut Config| config.role = Role::Observer;
        let observer = town.begin(3, observe).await.unwrap().unwrap();
        agree(&observer, &ledgers[1], observer.head().height() + 3).await;
    });
}

#[test]
fn a_key_that_votes_elsewhere_is_found_out() {
    run(12, async |context| {
        let mut town = Town::new(&context, 4, 4);
        // Whoever is connected with a key refuses a second node that has it, so node 0 does not know where
        // node 3 is, but where its copy (node 53) will be. Seat 2 is empty: all others have to vote.
        let zero = town.begin(0, |config| config.peers[2].address = address(53));
        let one = town.begin(1, |_| ());
        let three = town.begin(3, |config| config.peers.retain(|peer| peer.address != address(0)));
        for started in [zero, three] {
            started.await.unwrap().unwrap();
        }
        let ledger = one.await.unwrap().unwrap();
        block_at(&ledger, 4).await;
        let copy = town.begin(53, |config| config.peers.truncate(1)).await.unwrap().unwrap_err();
        let text = copy.to_string();
        assert!(matches!(copy, EngineError::Join(JoinError::KeyInUse { .. })), "{text}");
        assert!(text.contains("in use by another node"), "{text}");
    });
}

#[test]
fn a_copy_that_nobody_hears_does_not_vote() {
    run(13, async |context| {
        let mut town = Town::new(&context, 4, 4);
        let ledgers = town.found(4).await;
        block_at(&ledgers[3], 12).await;
        let copy = town.start(53).await;
        block_at(&ledgers[0], 30).await;
        assert_eq!(copy.head().height(), 0);
        let faults = ledgers.iter().map(|ledger| ledger.double_votes().borrow().len());
        assert_eq!(faults.sum::<usize>(), 0);
    });
}

#[test]
fn a_seat_whose_folder_is_lost_votes_again() {
    run(14, async |context| {
        let mut town = Town::new(&context, 4, 4);
        let ledgers = town.found(4).await;
        block_at(&ledgers[3], 12).await;
        town.kill(3).await;
        // The same key on another disk.
        let again = town.start(53).await;
        let head = ledgers[0].head().height();
        let mine = proposes(&ledgers[0], 3, head).await;
        agree(&again, &ledgers[0], mine).await;
        let faults = ledgers.iter().map(|ledger| ledger.double_votes().borrow().len());
        assert_eq!(faults.sum::<usize>(), 0);
    });
}

/// Addresses that are free now, below the ports that Linux gives to outgoing connections: nobody connects
/// *from* one before the node that is to listen there does.
fn free_addresses<const N: usize>() -> [SocketAddr; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 100).unwrap() * 100;
    [(); N].map(|()| {
        loop {
            let port = 20_000 + begin + NEXT.fetch_add(1, Ordering::Relaxed);
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            if std::net::TcpListener::bind(address).is_ok() {
                return address;
            }
        }
    })
}

/// The configuration of node `n` of those at `addresses`, with real files.
fn real(n: u8, addresses: &[SocketAddr], genesis: &Genesis, disk: &std::path::Path) -> Config {
    let own = addresses[usize::from(n)];
    let folder = disk.join(format!("node-{n}"));
    let mut config = Config::new(folder, own, keys(n), genesis.clone());
    config.peers = (0..)
        .zip(addresses)
        .filter(|(_, address)| **address != own)
        .map(|(peer, address)| Peer { key: keys(peer).network_key(), address: *address })
        .collect();
    config.pace = Duration::from_millis(50);
    config.blocks_served = 16;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_fetches_the_state_from_three() {
    let (disk, genesis) = (tempfile::tempdir().unwrap(), genesis(3, 20));
    let addresses = free_addresses::<4>();
    let config = |n| real(n, &addresses, &genesis, disk.path());
    let (zero, one, two) =
        tokio::join!(crate::start(config(0)), crate::start(config(1)), crate::start(config(2)));
    let running = [zero.unwrap(), one.unwrap(), two.unwrap()];
    pay(&running[0].ledger, 0).await;
    block_at(&running[0].ledger, LATE).await;

    let began = std::time::Instant::now();
    // Its peers keep enough to replay; it shall fetch the state all the same.
    let observer = Config { role: Role::Observer, replay_blocks: 0, ..config(3) };
    let fresh = crate::start(observer).await.unwrap();
    paid(&fresh.ledger, 1).await;
    println!("a fresh node served its first account after {:.2?}", began.elapsed());
    let head = fresh.ledger.head().height();
    assert!(fresh.ledger.first().unwrap() > 1);
    agree(&fresh.ledger, &running[1].ledger, head + 5).await;

    // It starts again from its own files.
    fresh.stop().await.unwrap();
    let again = crate::start(Config { role: Role::Observer, ..config(3) }).await.unwrap();
    agree(&again.ledger, &running[1].ledger, again.ledger.head().height() + 3).await;
    again.stop().await.unwrap();
    for node in running {
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: ACCOUNTS=1000000 cargo test --release -p consensus fetching -- --ignored --nocapture"]
async fn fetching_a_large_state() {
    let accounts = std::env::var("ACCOUNTS").ok().and_then(|text| text.parse().ok());
    let accounts: u64 = accounts.unwrap_or(10_000);
    let mut genesis = genesis(1, 1_000);
    for n in 0..accounts {
        let account = alloy_primitives::Address::left_padding_from(&(n + (1 << 40)).to_be_bytes());
        genesis.allocations.insert(account, U256::from(n + 1));
    }
    let (disk, addresses) = (tempfile::tempdir().unwrap(), free_addresses::<2>());
    let config = |n| real(n, &addresses, &genesis, disk.path());
    let validator = crate::start(config(0)).await.unwrap();
    block_at(&validator.ledger, 40).await;
    let began = std::time::Instant::now();
    let observer = Config { role: Role::Observer, replay_blocks: 0, ..config(1) };
    let observer = crate::start(observer).await.unwrap();
    let last =
        alloy_primitives::Address::left_padding_from(&(accounts - 1 + (1 << 40)).to_be_bytes());
    let read = observer.ledger.account(last, observer.ledger.head().height()).await.unwrap();
    assert_eq!(read.balance, U256::from(accounts));
    println!("{accounts} accounts were fetched and served after {:.2?}", began.elapsed());
    observer.stop().await.unwrap();
    validator.stop().await.unwrap();
}
