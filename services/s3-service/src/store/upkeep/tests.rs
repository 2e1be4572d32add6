//! The order of repairs, what is packed again, and what garbage waits for.

use super::*;
use crate::{
    codec::{ContentKeys, MaskKey, Secret, Shape},
    config::Limits,
    fleet::{Agent, Fleet},
    index::{Home, Index, Segment, ShardRow, Writer},
    keys::System,
    purse::Purse,
    shards::memory::{self, MemoryShards},
    store::Parts,
};
use alloy_signer_local::PrivateKeySigner;
use protocol::{
    Account, DeviceId, Digest, KindId, Micros, NetworkId, Tokens, clock::Clock,
    manifest::KindTerms, net::Peer,
};
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn store(clock: &Arc<Hand>) -> Arc<Store> {
    let signer = PrivateKeySigner::from_slice(&[7; 32]).unwrap();
    let domain = protocol::voucher::domain(1, Account::ZERO);
    let terms = KindTerms {
        kind: KindId(1),
        price: Micros(1),
        delivery_price: Micros(1),
        per_units: 1 << 30,
        stake_base: Tokens::ZERO,
        stake_per: Tokens::ZERO,
        positions: 5,
        window: 6,
    };
    let network = NetworkId(1);
    let world = memory::World {
        chain_id: 1,
        network,
        domain: domain.clone(),
        signer: signer.address(),
        terms,
    };
    let writer = Writer::start(Arc::new(Index::in_memory().unwrap())).unwrap();
    let fleet = Fleet::default();
    fleet.update((1..9).map(|number| Agent {
        device: DeviceId([number; 32]),
        peer: Peer { key: [number; 32], address: ([127, 0, 0, 1], 1).into() },
        owner: Account::repeat_byte(number),
        rail: None,
        paid_room: 0,
        proven: true,
    }));
    Store::new(Parts {
        keys: ContentKeys {
            content: Secret::new([1; 32]),
            mask: MaskKey::new(Secret::new([2; 32])),
        },
        shape: Shape::new(4, 6).unwrap(),
        limits: Limits::default(),
        purse: Arc::new(Purse::new(signer, domain, network, writer.clone())),
        writer,
        shards: Arc::new(MemoryShards::new(world)),
        fleet: Arc::new(fleet),
        clock: Arc::clone(clock) as _,
        random: Arc::new(System),
    })
}

fn home(number: u8) -> Home {
    Home { rail: RailId(number.into()), device: DeviceId([number; 32]) }
}

/// A segment with so many shards at home.
async fn add(store: &Store, number: u8, durable: u8) -> SegmentId {
    let id = SegmentId([number; 16]);
    let shards = (0u8..6)
        .map(|index| ShardRow {
            hash: Digest::of(&[number, index]),
            home: (index < durable).then(|| home(index + 1)),
        })
        .collect();
    let row = Segment { plain: 100, k: 4, live: 0, created_ms: 0, packed: false, shards };
    store.writer.write(move |tables| tables.add_segment(id, &row)).await.unwrap();
    id
}

/// Everybody can be read, and nothing may stay.
fn nowhere() -> Standing {
    let alive = (1..9).map(|number| DeviceId([number; 32])).collect();
    Standing { alive, ..Standing::default() }
}

fn names(urgent: &[Queued]) -> Vec<(u8, u8)> {
    urgent.iter().map(|shard| (shard.segment.0[0], shard.index)).collect()
}

#[tokio::test]
async fn what_is_lost_is_not_in_the_way_and_the_least_healthy_come_first() {
    let clock = Arc::new(Hand::default());
    let store = store(&clock);
    for number in 0..40 {
        add(&store, number, 3).await;
    }
    add(&store, 50, 5).await;
    let moving = add(&store, 51, 6).await;
    add(&store, 52, 4).await;
    store.writer.write(move |tables| tables.shard_leaves(moving, 2, home(3))).await.unwrap();
    let mut upkeep = Upkeep::new(Arc::clone(&store));
    let urgent = upkeep.urgent().await.unwrap();
    assert_eq!(names(&urgent), [(52, 4), (51, 2), (50, 5)]);
    assert_eq!((urgent[1].from, urgent[1].moving), (Some(home(3)), 1));
}

#[tokio::test]
async fn what_silent_agents_have_counts_neither_as_there_nor_as_lost() {
    let store = store(&Arc::default());
    let id = add(&store, 1, 6).await;
    let mut upkeep = Upkeep::new(Arc::clone(&store));
    let staying = (3..=6).map(|number| (RailId(number.into()), DeviceId([number; 32]))).collect();
    let standing = Standing { staying, alive: (3..=8).map(|at| DeviceId([at; 32])).collect() };
    assert_eq!(upkeep.leave(standing).await.unwrap(), 2);
    let urgent = upkeep.urgent().await.unwrap();
    assert_eq!(names(&urgent), [(1, 0)]);
    assert_eq!((urgent[0].alive, urgent[0].moving), (4, 0));
    upkeep.survey().await.unwrap();
    assert_eq!(store.health().unwrap(), Health::default(), "nothing needs it");
    let row = store.writer.read(move |reader| reader.segment(id)).await.unwrap().unwrap();
    assert!(row.shards.iter().all(|shard| shard.home.is_some()), "they may come back");
}

#[tokio::test]
async fn shards_on_rails_that_go_stay_where_they_are_until_they_have_moved() {
    let store = store(&Arc::default());
    let id = add(&store, 1, 6).await;
    let mut upkeep = Upkeep::new(Arc::clone(&store));
    assert_eq!(upkeep.leave(nowhere()).await.unwrap(), 6);
    assert_eq!(upkeep.leave(nowhere()).await.unwrap(), 0, "once is enough");
    let row = store.writer.read(move |reader| reader.segment(id)).await.unwrap().unwrap();
    assert!(row.shards.iter().all(|shard| shard.home.is_some()));
    assert_eq!(upkeep.urgent().await.unwrap().len(), 1, "one after another");
    // The ledger was looked at wrongly: all is well after all.
    let all = (1..=6).map(|number| (RailId(number.into()), DeviceId([number; 32]))).collect();
    let standing = Standing { staying: all, ..nowhere() };
    upkeep.leave(standing).await.unwrap();
    for _ in 0..6 {
        assert_eq!(upkeep.repair().await.unwrap(), 1);
    }
    assert!(upkeep.urgent().await.unwrap().is_empty());
    store.writer.read(|reader| reader.check()).await.unwrap();
}

#[tokio::test]
async fn garbage_waits_for_reads_that_began_before_it_was_listed() {
    let store = store(&Arc::default());
    let id = add(&store, 1, 6).await;
    store.writer.write(move |tables| tables.abandon(id, 1)).await.unwrap();
    let mut upkeep = Upkeep::new(Arc::clone(&store));
    let garbage = store.writer.read(|reader| reader.garbage(9)).await.unwrap();
    let reading = store.reading();
    upkeep.find(garbage);
    assert_eq!(upkeep.collect().await.unwrap(), 0);
    drop(reading);
    assert_eq!(upkeep.collect().await.unwrap(), 1);
}

#[test]
fn a_byte_is_packed_again_a_few_times_only() {
    const EACH: u64 = 4 << 10;
    const PUTS: u64 = 8_192;
    let mut loose: Vec<u64> = Vec::new();
    let mut written = 0;
    for _ in 0..PUTS {
        loose.insert(0, EACH);
        loop {
            loose.sort_unstable();
            let rows = loose.iter().zip(0u128..);
            let rows: Vec<_> = rows
                .map(|(live, id)| Loose { segment: SegmentId(id.to_be_bytes()), live: *live })
                .collect();
            let packed = alike(rows, 16);
            if packed.is_empty() {
                break;
            }
            let total: u64 = packed.iter().map(|one| one.live).sum();
            let largest = packed.iter().map(|one| one.live).max().unwrap_or(0);
            assert!(total >= 2 * largest, "nothing is gained");
            for one in &packed {
                let at = loose.iter().position(|live| *live == one.live).unwrap();
                loose.remove(at);
            }
            written += total;
            if total < 8 << 20 {
                loose.push(total);
            }
        }
    }
    assert!(written <= 12 * EACH * PUTS, "{} times", written / (EACH * PUTS));
    assert!(loose.len() < 100, "{} are left", loose.len());
}
