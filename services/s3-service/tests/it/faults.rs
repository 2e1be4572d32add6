//! Agents that fail, lie and forget; services that are killed.

use crate::world::{PATIENCE, World, bytes, code, get, limits, message, put};
use aws_sdk_s3::primitives::ByteStream;
use s3_service::{Limits, shards::memory::Manner};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_of_eight_may_be_down() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let (small, large) = (bytes(1, 3_000), bytes(2, 9 << 20));
    put(&client, "bucket", "small", small.clone()).await;
    put(&client, "bucket", "large", large.clone()).await;
    let whole = async |world: &World| world.queued().await == 0;
    for pair in [[0, 1], [2, 3], [4, 5], [6, 7], [0, 7]] {
        // Acknowledged is one loss away from the limit, two only when all six are durable.
        world.until("all six are durable", whole).await;
        for at in pair {
            world.shards.set(world.agents[at].0, Manner::Down);
        }
        assert!(get(&client, "bucket", "small").await == small, "{pair:?}");
        assert!(get(&client, "bucket", "large").await == large, "{pair:?}");
        let key = format!("new-{}-{}", pair[0], pair[1]);
        put(&client, "bucket", &key, bytes(7, 2 << 20)).await;
        for at in pair {
            world.shards.set(world.agents[at].0, Manner::Honest);
        }
        assert!(get(&client, "bucket", &key).await == bytes(7, 2 << 20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_of_six_acknowledge_and_the_sixth_is_repaired() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    world.shards.set(world.agents[0].0, Manner::Down);
    let body = bytes(1, 5 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    assert_eq!(world.queued().await, 1);
    world.shards.set(world.agents[0].0, Manner::Honest);
    world.until("repaired", async |world| world.queued().await == 0).await;
    assert_eq!(world.shards.kept(world.agents[0].0).0, 1);
    // The repaired shard is as good as any.
    for at in [1, 2] {
        world.shards.set(world.agents[at].0, Manner::Down);
    }
    assert!(get(&client, "bucket", "key").await == body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_agents_is_a_clear_refusal() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    for at in [0, 1] {
        world.shards.set(world.agents[at].0, Manner::Down);
    }
    for size in [100, 2 << 20] {
        let put = || {
            let put = client.put_object().bucket("bucket").key("key");
            put.body(ByteStream::from(bytes(1, size))).send()
        };
        assert_eq!(code(put().await), "ServiceUnavailable");
        let said = message(put().await);
        assert!(said.contains("needed"), "{said}");
    }
    assert_eq!(world.running().snapshot().await.unwrap().objects, 0);
    let few = World::new(3).await;
    let client = few.bucket("bucket").await;
    let refused = client.put_object().bucket("bucket").key("k").body(ByteStream::from_static(b"x"));
    let said = message(refused.send().await);
    assert!(said.contains("3 owners with a usable agent, 5 needed"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_agents_down_is_an_error_and_not_a_broken_body() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "key", bytes(1, 3 << 20)).await;
    for at in [0, 1, 2] {
        world.shards.set(world.agents[at].0, Manner::Down);
    }
    let refused = client.get_object().bucket("bucket").key("key").send().await;
    assert_eq!(code(refused), "ServiceUnavailable");
    for at in [0, 1, 2] {
        world.shards.set(world.agents[at].0, Manner::Honest);
    }
    assert!(get(&client, "bucket", "key").await == bytes(1, 3 << 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_found_and_gets_nothing_more() {
    // Nobody is given up for being slow, so who is asked depends on nothing but where the shards are.
    let long = Duration::from_secs(600);
    let patient =
        Limits { hedge: long, stall: long, request_timeout: long, refresh: long, ..limits() };
    let world = World::with(8, patient).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 12 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    world.until("all six are durable", async |world| world.queued().await == 0).await;
    assert!(get(&client, "bucket", "key").await == body);
    // One that is read from: who holds parity alone is not asked, and not found out.
    let rails = world.ledger.rails();
    let read = |(peer, device): &&(_, _)| world.shards.promised(*peer, rails[device].id).1 > 0;
    let liar = world.agents.iter().find(read).unwrap().0;
    world.shards.set(liar, Manner::Lying);
    for _ in 0..2 {
        assert!(get(&client, "bucket", "key").await == body);
    }
    for seed in 0..6 {
        put(&client, "bucket", &format!("new-{seed}"), bytes(seed, 2 << 20)).await;
    }
    world.until("all are durable", async |world| world.queued().await == 0).await;
    for other in world.agents.iter().filter(|(peer, _)| *peer != liar).take(2) {
        world.shards.set(other.0, Manner::Down);
    }
    for seed in 0..6 {
        assert!(get(&client, "bucket", &format!("new-{seed}")).await == bytes(seed, 2 << 20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_busy_is_asked_again_at_once() {
    // Nobody is asked for terms in between: an answer to that would end all doubt.
    let limits = Limits { refresh: Duration::from_secs(600), ..limits() };
    let world = World::with(6, limits).await;
    let client = world.bucket("bucket").await;
    let put_one = || {
        let put = client.put_object().bucket("bucket").key("key");
        put.body(ByteStream::from(bytes(1, 2 << 20))).send()
    };
    for at in [0, 1] {
        world.shards.set(world.agents[at].0, Manner::Busy);
    }
    assert_eq!(code(put_one().await), "ServiceUnavailable");
    for at in [0, 1] {
        world.shards.set(world.agents[at].0, Manner::Honest);
    }
    put_one().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_shards_are_repaired_elsewhere() {
    let world = World::with(8, Limits { audit: Duration::from_millis(20), ..limits() }).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 6 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    let whole = async |world: &World| {
        let kept: usize = world.agents.iter().map(|(peer, _)| world.shards.kept(*peer).0).sum();
        kept >= 6 && world.queued().await == 0
    };
    world.until("stored", whole).await;
    world.running().flush().await.unwrap();
    // Each agent forgets what it has in turn, parity too: no read would come across that.
    for at in 0..8 {
        world.shards.wipe(world.agents[at].0);
        world.until("repaired", whole).await;
    }
    assert!(get(&client, "bucket", "key").await == body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_agents_are_hedged() {
    let quick = Duration::from_millis(50);
    let hour = Duration::from_secs(3_600);
    // Nobody is given up in time, and nobody asked for terms, which would tell who is slow.
    let limits =
        Limits { hedge: quick, stall: quick, request_timeout: hour, refresh: hour, ..limits() };
    let world = World::with(8, limits).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 3 << 20);
    put(&client, "bucket", "key", body.clone()).await;
    // It was acknowledged with five of six shards: with two agents away, the sixth is needed.
    world.until("stored", async |world: &World| world.queued().await == 0).await;
    // The others look slow at first too.
    for (at, (peer, _)) in world.agents.iter().enumerate() {
        let manner = if [2, 5].contains(&at) { hour } else { 4 * quick };
        world.shards.set(*peer, Manner::Slow(manner));
    }
    let got = tokio::time::timeout(PATIENCE, get(&client, "bucket", "key")).await;
    assert!(got.expect("a read waits for the slow") == body);
    // And what is stored goes to others: two of six would keep it waiting for an hour.
    for seed in 0..12 {
        let key = format!("new-{seed}");
        let done = put(&client, "bucket", &key, bytes(seed, 3_000));
        let done = tokio::time::timeout(PATIENCE, done).await;
        assert!(done.is_ok(), "a write waits for the slow");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_has_all_that_it_acknowledged() {
    let mut world = World::new(8).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "before", bytes(1, 2_000)).await;
    put(&client, "bucket", "large", bytes(2, 3 << 20)).await;
    let begun = client.create_multipart_upload().bucket("bucket").key("parts").send().await;
    let id = begun.unwrap().upload_id.unwrap();
    let sent = client.upload_part().bucket("bucket").key("parts").upload_id(&id).part_number(1);
    sent.body(ByteStream::from(bytes(3, 2 << 20))).send().await.unwrap();
    get(&client, "bucket", "before").await;
    world.crash().await;
    let client = world.client();
    assert!(get(&client, "bucket", "before").await == bytes(1, 2_000));
    assert!(get(&client, "bucket", "large").await == bytes(2, 3 << 20));
    let parts = client.list_parts().bucket("bucket").key("parts").upload_id(&id).send().await;
    assert_eq!(parts.unwrap().parts().len(), 1);
    put(&client, "bucket", "after", bytes(4, 2_000)).await;
    world.stop().await;
    world.start().await;
    let client = world.client();
    assert!(get(&client, "bucket", "after").await == bytes(4, 2_000));
    assert_eq!(world.running().snapshot().await.unwrap().objects, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_off_upload_leaves_nothing() {
    use tokio::io::AsyncWriteExt as _;
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let presigned = client
        .put_object()
        .bucket("bucket")
        .key("key")
        .presigned(
            aws_sdk_s3::presigning::PresigningConfig::expires_in(Duration::from_secs(60)).unwrap(),
        )
        .await
        .unwrap();
    let url: hyper::Uri = presigned.uri().parse().unwrap();
    let mut stream = tokio::net::TcpStream::connect(world.running().address()).await.unwrap();
    let head = format!(
        "PUT {} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n",
        url.path_and_query().unwrap(),
        url.authority().unwrap(),
        150 << 20,
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Two of the three segments and a little, then nothing more.
    let chunk = bytes(1, 1 << 20);
    for _ in 0..110 {
        stream.write_all(&chunk).await.unwrap();
    }
    let stored = async |world: &World| world.running().snapshot().await.unwrap().segments > 0;
    world.until("a segment is stored", stored).await;
    drop(stream);
    let gone = async |world: &World| world.running().snapshot().await.unwrap().segments == 0;
    world.until("it is collected", gone).await;
    let missing = client.get_object().bucket("bucket").key("key").send().await;
    assert_eq!(code(missing), "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named() {
    let world = World::new(6).await;
    let taken = world.running().address();
    let folder = tempfile::tempdir().unwrap();
    let mut config = world.config.clone();
    config.listen = taken;
    config.data = folder.path().join("other");
    let around = s3_service::World {
        shards: std::sync::Arc::clone(&world.shards) as _,
        ledger: std::sync::Arc::clone(&world.ledger) as _,
        clock: std::sync::Arc::new(s3_service::WallClock),
        random: std::sync::Arc::new(s3_service::keys::System),
    };
    let keyring = s3_service::Keyring::generate().unwrap();
    let refused = s3_service::Service::start(config, keyring, around).await.unwrap_err();
    assert!(refused.to_string().contains(&taken.to_string()), "{refused}");
}
