//! Rails, datasets and what the ledger holds of them.

use crate::world::{World, bytes, get, put};
use protocol::{DeviceId, Height, Micros, inputs::Dataset};
use s3_service::shards::{Shards as _, memory::Manner};

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
