//! Rails, datasets and what the ledger holds of them.

use crate::world::{World, bytes, get, limits, put};
use protocol::{DeviceId, Height, Micros, inputs::Dataset};
use s3_service::{
    RailPlan,
    index::Committed,
    rails::{KeepError, LedgerError, LedgerPort as _},
    shards::{Shards as _, memory::Manner},
};
use storage_kind::wire::Commit;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_rail_an_agent_at_the_planned_rate() {
    let world = World::new(8).await;
    let rails = world.ledger.rails();
    assert_eq!(rails.len(), 8);
    for (_, device) in &world.agents {
        let rail = &rails[device];
        // 4 GiB at 1,000 micro-dollars a GiB.
        assert_eq!(rail.rate, Micros(4_000));
        assert_eq!(rail.signer, world.running().signer());
    }
    assert_eq!(world.running().snapshot().await.unwrap().rails, 8);
    assert_eq!(world.ledger.transactions(), 1);
}

/// The agents' datasets, and what the ledger holds.
async fn agree(world: &World) -> bool {
    let rails = world.ledger.rails();
    for (peer, device) in &world.agents {
        let rail = rails[device].id;
        let stat = world.shards.stat(*peer, rail).await.unwrap();
        let frozen = world.ledger.frozen(rail).map(|frozen| frozen.dataset);
        let held = Dataset { rail, version: stat.version, root: stat.root, bytes: stat.bytes };
        if stat.version > 0 && frozen != Some(held) {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datasets_are_frozen_before_the_epoch_ends_and_only_then() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "key", bytes(1, 3 << 20)).await;
    put(&client, "bucket", "small", bytes(2, 3_000)).await;
    world.until("all shards are stored", async |world| world.queued().await == 0).await;
    let rails = world.ledger.rails();
    let frozen = |world: &World| {
        let all = world
            .agents
            .iter()
            .filter_map(|(_, device): &(_, DeviceId)| world.ledger.frozen(rails[device].id));
        all.map(|frozen| frozen.dataset.bytes).sum::<u64>()
    };
    world.ledger.advance_to(Height(15));
    assert_eq!(frozen(&world), 0);
    let before = world.ledger.transactions();
    world.ledger.advance_to(Height(21));
    let stored = world.running().snapshot().await.unwrap().shard_bytes;
    world.until("frozen", async |world| frozen(world) == stored).await;
    assert!(agree(&world).await);
    assert_eq!(world.ledger.transactions(), before + 1, "one transaction for all");
    let noted = async |world: &World| {
        let snapshot = world.running().snapshot().await.unwrap();
        (snapshot.frozen_bytes, snapshot.stale_rails) == (stored, 0)
    };
    world.until("the service noted it", noted).await;

    // What is deleted leaves the datasets with the next epoch, and the agents.
    client.delete_object().bucket("bucket").key("key").send().await.unwrap();
    let gone = async |world: &World| world.running().snapshot().await.unwrap().segments == 1;
    world.until("the segment is collected", gone).await;
    world.ledger.advance_to(Height(51));
    let left = world.running().snapshot().await.unwrap().shard_bytes;
    assert!(left < stored);
    world.until("frozen again", async |world| frozen(world) == left).await;
    assert!(agree(&world).await);
    let kept: u64 = world.agents.iter().map(|(peer, _)| world.shards.kept(*peer).1).sum();
    assert_eq!(kept, left);
    assert!(get(&client, "bucket", "small").await == bytes(2, 3_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_not_heard_is_sent_again() {
    let mut world = World::new(8).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "key", bytes(1, 3 << 20)).await;
    world.until("all shards are stored", async |world| world.queued().await == 0).await;
    world.ledger.refuse(true);
    assert!(world.running().flush().await.is_err(), "the ledger refuses");
    // Committed with the agents, not frozen; and then killed.
    world.crash().await;
    world.ledger.refuse(false);
    for at in [0, 1] {
        world.shards.set(world.agents[at].0, Manner::Down);
    }
    put(&world.client(), "bucket", "more", bytes(2, 3 << 20)).await;
    let _ = world.running().flush().await;
    for at in [0, 1] {
        world.shards.set(world.agents[at].0, Manner::Honest);
    }
    world
        .until("all agree", async |world| {
            let _ = world.running().flush().await;
            agree(world).await && world.running().snapshot().await.unwrap().stale_rails == 0
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_of_a_retired_device_move() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 3 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    world.until("all shards are stored", async |world| world.queued().await == 0).await;
    let (peer, device) =
        *world.agents.iter().find(|(peer, _)| world.shards.kept(*peer).0 > 0).unwrap();
    world.ledger.retire(device);
    world.shards.set(peer, Manner::Down);
    let whole = async |world: &World| {
        let others = world.agents.iter().filter(|(other, _)| *other != peer);
        others.map(|(other, _)| world.shards.kept(*other).0).sum::<usize>() >= 6
    };
    world.until("its shard has another home", whole).await;
    assert!(get(&client, "bucket", "key").await == body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_without_room_get_nothing() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    for at in [0, 1] {
        world.shards.set(world.agents[at].0, Manner::Full);
    }
    for seed in 0..4 {
        put(&client, "bucket", &format!("key-{seed}"), bytes(seed, 2 << 20)).await;
    }
    world.until("all shards are stored", async |world| world.queued().await == 0).await;
    for at in [0, 1] {
        assert_eq!(world.shards.kept(world.agents[at].0).0, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_a_new_disk_starts_over() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    for seed in 0..5 {
        put(&client, "bucket", &format!("key-{seed}"), bytes(seed, 2 << 20)).await;
    }
    world.until("all shards are stored", async |world| world.queued().await == 0).await;
    world.running().flush().await.unwrap();
    let (peer, _) = *world.agents.iter().find(|(peer, _)| world.shards.kept(*peer).0 > 1).unwrap();
    world.shards.reset(peer);
    put(&client, "bucket", "more", bytes(9, 2 << 20)).await;
    world
        .until("all agree again", async |world| {
            let _ = world.running().flush().await;
            world.queued().await == 0
                && agree(world).await
                && world.running().snapshot().await.unwrap().stale_rails == 0
        })
        .await;
    for seed in 0..5 {
        assert!(get(&client, "bucket", &format!("key-{seed}")).await == bytes(seed, 2 << 20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rails_that_end_together_lose_nothing() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    let (small, large) = (bytes(1, 3_000), bytes(2, 9 << 20));
    put(&client, "bucket", "small", small.clone()).await;
    put(&client, "bucket", "large", large.clone()).await;
    world.until("all shards are stored", async |world| world.queued().await == 0).await;
    world.running().flush().await.unwrap();
    let before = world.ledger.rails();
    world.ledger.close_all();
    // At every moment all of it can be read, and in the end all of it is on rails that count.
    let moved = async |world: &World| {
        assert!(get(&client, "bucket", "small").await == small);
        assert!(get(&client, "bucket", "large").await == large);
        assert_eq!(world.queued().await, 0);
        let _ = world.running().flush().await;
        let rails = world.ledger.rails();
        let frozen = world.agents.iter().filter_map(|(_, device)| {
            let rail = rails[device].id;
            world.ledger.frozen(rail).filter(|_| rail != before[device].id)
        });
        let frozen: u64 = frozen.map(|frozen| frozen.dataset.bytes).sum();
        frozen == world.running().snapshot().await.unwrap().shard_bytes
    };
    world.until("all has moved", moved).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_the_ledger_that_goes_back_is_refused() {
    let world = World::new(6).await;
    world.ledger.advance_to(Height(12));
    world.running().flush().await.unwrap();
    world.ledger.advance_to(Height(11));
    let refused = world.running().flush().await;
    assert!(matches!(refused, Err(KeepError::Ledger(LedgerError::Silent(_)))), "{refused:?}");
    world.ledger.advance_to(Height(13));
    world.running().flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_beyond_what_a_rail_was_opened_with() {
    // A rail of 27 micro-dollars, of which 20 are for some 2 MiB of reading.
    let plan = RailPlan { bytes: 8 << 20, epochs: 1, vouchers: Micros(20), ..RailPlan::default() };
    let world = World::planned(6, limits(), plan).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 6 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    for _ in 0..12 {
        let read = async |_: &World| {
            let got = client.get_object().bucket("bucket").key("key").send().await;
            let Ok(got) = got else { return false };
            got.body.collect().await.is_ok_and(|got| got.to_vec() == body)
        };
        world.until("the limits are raised", read).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_another_history_is_brought_back() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "key", bytes(1, 3 << 20)).await;
    world.until("all shards are stored", async |world| world.queued().await == 0).await;
    world.running().flush().await.unwrap();
    let (peer, device) = world.agents[0];
    let rail = world.ledger.rails()[&device].id;
    let base = world.shards.stat(peer, rail).await.unwrap().version;
    let other = Commit { rail, base, version: base + 5, added: Vec::new(), removed: Vec::new() };
    world.shards.commit(peer, other).await.unwrap();
    put(&client, "bucket", "more", bytes(2, 3 << 20)).await;
    world
        .until("all agree again", async |world| {
            let _ = world.running().flush().await;
            world.queued().await == 0
                && agree(world).await
                && world.running().snapshot().await.unwrap().stale_rails == 0
        })
        .await;
    assert!(world.shards.stat(peer, rail).await.unwrap().version > base + 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_that_was_applied_and_not_noted_is_noted() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "key", bytes(1, 3 << 20)).await;
    world.until("all shards are stored", async |world| world.queued().await == 0).await;
    world.ledger.refuse(true);
    assert!(world.running().flush().await.is_err(), "the ledger refuses");
    world.ledger.refuse(false);
    let (peer, device) = world.agents[0];
    let rail = world.ledger.rails()[&device].id;
    let stat = world.shards.stat(peer, rail).await.unwrap();
    let dataset = Dataset { rail, version: stat.version, root: stat.root, bytes: stat.bytes };
    world.ledger.freeze(vec![Committed { dataset, signature: [0; 64] }]).await.unwrap();
    world.running().flush().await.unwrap();
    assert!(agree(&world).await);
    assert_eq!(world.running().snapshot().await.unwrap().stale_rails, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_is_not_promised_more_for_being_busy() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 2 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    world.until("all shards are stored", async |world| world.queued().await == 0).await;
    assert!(get(&client, "bucket", "key").await == body);
    let rails = world.ledger.rails();
    let promised = |(peer, device): (_, DeviceId)| world.shards.promised(peer, rails[&device].id);
    let busy = *world.agents.iter().find(|agent| promised(**agent).1 > 0).unwrap();
    let once = promised(busy).0;
    world.shards.set(busy.0, Manner::Busy);
    for _ in 0..8 {
        assert!(get(&client, "bucket", "key").await == body);
    }
    assert!(promised(busy).0 <= Micros(2 * once.0 + 1), "{:?} after {once:?}", promised(busy));
}
