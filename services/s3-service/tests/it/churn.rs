//! Agents that die, come back with old data, alter it, or leave: what repairs make of it.

use crate::world::{World, bytes, code, get, limits, put, terms};
use protocol::{RailId, Tokens, manifest::KindTerms};
use s3_service::{Limits, shards::memory::Manner};
use std::time::Duration;

/// An agent that is silent for a moment is gone, and every look is quick.
fn impatient() -> Limits {
    Limits {
        silent: Duration::from_millis(50),
        audit: Duration::from_millis(20),
        survey: Duration::from_millis(20),
        ..limits()
    }
}

async fn stored(world: &World) -> bool {
    let all = world.running().snapshot().await.unwrap();
    all.health.is_some_and(|health| health.whole == all.segments && all.segments > 0)
        && all.queued == 0
}

/// Whether all shards of all segments are with others than these.
async fn stored_without(world: &World, dead: &[usize]) -> bool {
    let others = (0..world.agents.len()).filter(|at| !dead.contains(at));
    let kept: usize = others.map(|at| world.shards.kept(world.agents[at].0).0).sum();
    let all = world.running().snapshot().await.unwrap();
    kept >= usize::try_from(6 * all.segments).unwrap() && stored(world).await
}

/// Devices that hold something.
async fn holders(world: &World) -> Vec<usize> {
    let kept = |at: &usize| world.shards.kept(world.agents[*at].0).0 > 0;
    (0..world.agents.len()).filter(kept).collect()
}

/// Of how many agents does nobody else have to be counted on: data is read with all but these down.
async fn read_without(world: &World, down: &[usize], key: &str, body: &[u8]) {
    for at in down {
        world.shards.set(world.agents[*at].0, Manner::Down);
    }
    assert!(get(&world.client(), "bucket", key).await == body, "{key} without {down:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dead_agents_had_is_rebuilt_elsewhere() {
    let world = World::with(8, impatient()).await;
    let client = world.bucket("bucket").await;
    let (small, large) = (bytes(1, 3_000), bytes(2, 9 << 20));
    put(&client, "bucket", "small", small.clone()).await;
    put(&client, "bucket", "large", large.clone()).await;
    world.until("all is whole", stored).await;
    // Two die for good, and when all is whole again without them, two more.
    for pair in [[0, 1], [2, 3]] {
        for at in pair {
            world.shards.set(world.agents[at].0, Manner::Down);
        }
        assert!(get(&client, "bucket", "large").await == large);
        if pair == [0, 1] {
            // Six owners are left for six shards.
            let whole = async |world: &World| stored_without(world, &pair).await;
            world.until("all is whole without them", whole).await;
        }
    }
    assert!(get(&client, "bucket", "small").await == small);
    assert!(get(&client, "bucket", "large").await == large);
    let health = world.running().snapshot().await.unwrap().health.unwrap();
    assert_eq!(health.lost, 0, "{health:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_before_its_shards_have_moved_keeps_them() {
    // Nobody else has room, so that nothing can move.
    let world = World::with(6, impatient()).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 3 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    world.until("all is whole", stored).await;
    let kept: Vec<_> = world.agents.iter().map(|(peer, _)| world.shards.kept(*peer)).collect();
    world.shards.set(world.agents[0].0, Manner::Down);
    let degraded = async |world: &World| {
        let health = world.running().snapshot().await.unwrap().health;
        health.is_some_and(|health| health.degraded > 0)
    };
    world.until("it is missed", degraded).await;
    world.shards.set(world.agents[0].0, Manner::Honest);
    world.until("all is whole", stored).await;
    let now: Vec<_> = world.agents.iter().map(|(peer, _)| world.shards.kept(*peer)).collect();
    assert_eq!(kept, now, "nothing was moved or made twice");
    read_without(&world, &[1, 2], "key", &body).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_with_old_data_is_brought_up_to_date() {
    let world = World::with(7, impatient()).await;
    let client = world.bucket("bucket").await;
    let (old, new) = (bytes(1, 3 << 20), bytes(2, 3 << 20));
    put(&client, "bucket", "old", old.clone()).await;
    world.until("all is whole", stored).await;
    world.running().flush().await.unwrap();
    let gone = holders(&world).await[0];
    world.shards.set(world.agents[gone].0, Manner::Down);
    let whole = async |world: &World| stored_without(world, &[gone]).await;
    world.until("what it had is elsewhere", whole).await;
    put(&client, "bucket", "new", new.clone()).await;
    client.delete_object().bucket("bucket").key("old").send().await.unwrap();
    world.shards.set(world.agents[gone].0, Manner::Honest);
    world
        .until("it keeps what it should and nothing else", async |world| {
            let _ = world.running().flush().await;
            let all = world.running().snapshot().await.unwrap();
            let kept: u64 = world.agents.iter().map(|(peer, _)| world.shards.kept(*peer).1).sum();
            all.stale_rails == 0 && all.queued == 0 && kept == all.shard_bytes
        })
        .await;
    assert!(get(&client, "bucket", "new").await == new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrupt_shards_that_are_read_are_made_anew_elsewhere() {
    // Nobody is found out by anything but the read.
    let world = World::with(8, Limits { audit: Duration::from_secs(600), ..impatient() }).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 12 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    world.until("all is whole", stored).await;
    let rails = world.ledger.rails();
    assert!(get(&client, "bucket", "key").await == body);
    let read = |at: &usize| {
        let (peer, device) = world.agents[*at];
        world.shards.promised(peer, rails[&device].id).1 > 0
    };
    let bad = (0..8).find(read).unwrap();
    world.shards.corrupt(world.agents[bad].0);
    for _ in 0..2 {
        assert!(get(&client, "bucket", "key").await == body);
    }
    world.until("all is whole", stored).await;
    let others: Vec<_> = (0..8).filter(|at| *at != bad).take(1).collect();
    read_without(&world, &[bad, others[0]], "key", &body).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_missed_a_proof_is_asked_for_all_it_should_hold() {
    // Nothing else would find out.
    let world = World::with(8, Limits { audit: Duration::from_secs(600), ..impatient() }).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 3 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    world.until("all is whole", stored).await;
    let (peer, device) = world.agents[holders(&world).await[0]];
    world.shards.wipe(peer);
    let rail = world.ledger.rails()[&device].id;
    // One of somebody else's rails is nothing to us.
    world.running().suspect([RailId(999), rail]);
    let whole = async |world: &World| stored_without(world, &[]).await;
    world.until("what it lost is made anew", whole).await;
    assert!(get(&client, "bucket", "key").await == body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_k_left_all_is_rebuilt_and_with_one_less_the_others_do_not_suffer() {
    let world = World::with(12, impatient()).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 3 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    world.until("all is whole", stored).await;
    let held = holders(&world).await;
    assert_eq!(held.len(), 6);
    // Their disks are new: two of six are gone for good, and four are what it takes.
    for at in &held[..2] {
        world.shards.reset(world.agents[*at].0);
    }
    let whole = async |world: &World| stored_without(world, &[]).await;
    world.until("all is whole again", whole).await;
    assert!(get(&client, "bucket", "key").await == body);

    // Three at once is one too many.
    let held = holders(&world).await;
    for at in &held {
        world.shards.reset(world.agents[*at].0);
        if held.iter().position(|other| other == at) == Some(2) {
            break;
        }
    }
    let lost = async |world: &World| {
        let health = world.running().snapshot().await.unwrap().health;
        health.is_some_and(|health| health.lost == 1)
    };
    world.until("it is known to be lost", lost).await;
    let refused = client.get_object().bucket("bucket").key("key").send().await;
    assert_eq!(code(refused), "ServiceUnavailable");
    // The others are fine, and get better.
    let other = bytes(2, 3 << 20);
    put(&client, "bucket", "other", other.clone()).await;
    let better = async |world: &World| {
        let health = world.running().snapshot().await.unwrap().health;
        health.is_some_and(|health| health.lost == 1 && health.whole == 1)
    };
    world.until("the other is whole", better).await;
    assert!(get(&client, "bucket", "other").await == other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_without_its_stake_is_left() {
    let world = World::with(7, impatient()).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 3 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    world.until("all is whole", stored).await;
    let (peer, poor) = world.agents[holders(&world).await[0]];
    for (_, device) in world.agents.iter().filter(|(_, device)| *device != poor) {
        world.ledger.stake(*device, Tokens(1_000));
    }
    world.ledger.ask(KindTerms { stake_base: Tokens(1_000), ..terms() });
    let moved = async |world: &World| {
        let _ = world.running().flush().await;
        world.shards.kept(peer).0 == 0 && stored(world).await
    };
    world.until("what it had has moved", moved).await;
    assert!(get(&client, "bucket", "key").await == body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_in_the_middle_of_repairs_loses_nothing() {
    let mut world = World::with(8, impatient()).await;
    let client = world.bucket("bucket").await;
    for seed in 0..12 {
        put(&client, "bucket", &format!("key-{seed}"), bytes(seed, 1_100_000)).await;
    }
    world.until("all is whole", stored).await;
    let before = world.running().snapshot().await.unwrap();
    for at in [0, 1] {
        world.shards.set(world.agents[at].0, Manner::Down);
    }
    for _ in 0..4 {
        // Wherever it is by now.
        world.crash().await;
        let seen = async |world: &World| world.running().snapshot().await.unwrap().health.is_some();
        world.until("the agents were looked at", seen).await;
    }
    let whole = async |world: &World| stored_without(world, &[0, 1]).await;
    world.until("all is whole without them", whole).await;
    assert_eq!(world.running().snapshot().await.unwrap().objects, before.objects);
    let client = world.client();
    for at in [2, 3] {
        world.shards.set(world.agents[at].0, Manner::Down);
    }
    for seed in 0..12 {
        assert!(get(&client, "bucket", &format!("key-{seed}")).await == bytes(seed, 1_100_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_hands_over_what_it_has_under_load_and_its_rail_ends() {
    let mut world = World::with(8, impatient()).await;
    let client = world.bucket("bucket").await;
    for seed in 0..10 {
        put(&client, "bucket", &format!("key-{seed}"), bytes(seed, 1_100_000)).await;
    }
    world.until("all is whole", stored).await;
    world.running().flush().await.unwrap();
    let (peer, device) = world.agents[holders(&world).await[0]];
    let rail = world.ledger.rails()[&device];
    world.shards.set(peer, Manner::Leaving);
    // It goes on while objects come, go and are read, and over a crash.
    for seed in 10..16 {
        put(&client, "bucket", &format!("key-{seed}"), bytes(seed, 1_100_000)).await;
        let key = format!("key-{}", seed - 10);
        assert!(get(&client, "bucket", &key).await == bytes(seed - 10, 1_100_000));
    }
    world.crash().await;
    let client = world.client();
    let ended = async |world: &World| {
        let _ = world.running().flush().await;
        world.ledger.rail(rail.id).unwrap().expiry < rail.expiry
    };
    world.until("its rail ended", ended).await;
    assert_eq!(world.shards.kept(peer), (0, 0));
    let frozen = world.ledger.frozen(rail.id).unwrap();
    assert_eq!(frozen.dataset.bytes, 0, "nothing is asked of it any more");
    assert_eq!(world.running().snapshot().await.unwrap().leaving, (1, 0));
    world.shards.set(peer, Manner::Down);
    for seed in 0..16 {
        assert!(get(&client, "bucket", &format!("key-{seed}")).await == bytes(seed, 1_100_000));
    }
}
