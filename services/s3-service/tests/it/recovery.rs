//! A service that lost its disk, from its keys, the ledger and the agents.

use crate::world::{World, bytes, get, limits, put};
use alloy_signer_local::PrivateKeySigner;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use s3_service::{
    INDEX_FILE, Keyring, Service, backup::RecoverError, rails::LedgerPort as _,
    shards::memory::Manner,
};
use std::collections::BTreeMap;

/// Objects of all sorts: packed, large, in parts, copied, empty, overwritten, deleted.
async fn fill(world: &World) -> BTreeMap<String, Vec<u8>> {
    let client = world.bucket("bucket").await;
    client.create_bucket().bucket("empty").send().await.unwrap();
    let mut all = BTreeMap::new();
    for seed in 0..40 {
        let size = usize::try_from(seed * 700).unwrap();
        all.insert(format!("small/{seed}"), bytes(seed, size));
    }
    all.insert("large".into(), bytes(100, 9 << 20));
    for (key, body) in &all {
        put(&client, "bucket", key, body.clone()).await;
    }
    for seed in 0..5 {
        let key = format!("small/{seed}");
        all.insert(key.clone(), bytes(1_000 + seed, 5_000));
        put(&client, "bucket", &key, bytes(1_000 + seed, 5_000)).await;
    }
    for seed in 30..35 {
        let key = format!("small/{seed}");
        all.remove(&key);
        client.delete_object().bucket("bucket").key(key).send().await.unwrap();
    }
    let copy = client.copy_object().bucket("bucket").key("copy").copy_source("bucket/large");
    copy.send().await.unwrap();
    all.insert("copy".into(), bytes(100, 9 << 20));
    let upload =
        client.create_multipart_upload().bucket("bucket").key("parts").send().await.unwrap();
    let id = upload.upload_id.unwrap();
    let mut parts = Vec::new();
    for number in 1..=2 {
        let part =
            client.upload_part().bucket("bucket").key("parts").upload_id(&id).part_number(number);
        let body = bytes(200 + u64::try_from(number).unwrap(), 5 << 20);
        let part = part.body(ByteStream::from(body)).send().await.unwrap();
        let done = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag);
        parts.push(done.build());
    }
    let done = client.complete_multipart_upload().bucket("bucket").key("parts").upload_id(id);
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    done.multipart_upload(parts).send().await.unwrap();
    all.insert("parts".into(), [bytes(201, 5 << 20), bytes(202, 5 << 20)].concat());
    all
}

async fn listed(world: &World) -> Vec<String> {
    let list = world.client().list_objects_v2().bucket("bucket").send().await.unwrap();
    list.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect()
}

async fn is_there(world: &World, all: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(listed(world).await, all.keys().cloned().collect::<Vec<_>>());
    let buckets = world.client().list_buckets().send().await.unwrap().buckets.unwrap();
    let names: Vec<_> = buckets.into_iter().filter_map(|bucket| bucket.name).collect();
    assert_eq!(names, ["bucket", "empty"]);
    for (key, body) in all {
        assert!(get(&world.client(), "bucket", key).await == *body, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_was_acknowledged_comes_back_and_the_service_goes_on() {
    let mut world = World::new(8).await;
    let mut all = fill(&world).await;
    world.running().flush().await.unwrap();
    // Some of it no dataset has yet.
    put(&world.client(), "bucket", "late", bytes(300, 2 << 20)).await;
    all.insert("late".into(), bytes(300, 2 << 20));
    world.backed_up().await;
    // It happens again, and to a service that was made anew.
    for round in 0..2u64 {
        world.lose_disk().await;
        let recovered = world.recover().await.unwrap();
        assert_eq!(recovered.objects, u64::try_from(all.len()).unwrap());
        assert_eq!(recovered.answered, (8, 8));
        world.start().await;
        is_there(&world, &all).await;
        let key = format!("new-{round}");
        put(&world.client(), "bucket", &key, bytes(400 + round, 2 << 20)).await;
        all.insert(key, bytes(400 + round, 2 << 20));
        world
            .client()
            .delete_object()
            .bucket("bucket")
            .key(format!("small/{round}"))
            .send()
            .await
            .unwrap();
        all.remove(&format!("small/{round}"));
        let agreed = async |world: &World| {
            let _ = world.running().flush().await;
            let all = world.running().snapshot().await.unwrap();
            all.stale_rails == 0 && all.queued == 0
        };
        world.until("datasets are agreed on again", agreed).await;
        world.backed_up().await;
    }
    // One agent may still be missing.
    world.shards.set(world.agents[0].0, Manner::Down);
    is_there(&world, &all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_and_its_logs_come_back_though_an_agent_is_gone() {
    let mut world = World::new(8).await;
    let client = world.bucket("bucket").await;
    client.create_bucket().bucket("empty").send().await.unwrap();
    let mut all = BTreeMap::new();
    // Long metadata makes an index that no note holds.
    let note = "x".repeat(1_500);
    for seed in 0..100u64 {
        let key = format!("some/{seed:02}");
        let put = client.put_object().bucket("bucket").key(&key).metadata("note", &note);
        put.body(ByteStream::from(bytes(seed, 500))).send().await.unwrap();
        all.insert(key, bytes(seed, 500));
    }
    world.backed_up().await;
    world.lose_disk().await;
    world.recover().await.unwrap();
    // It is dumped now, as an index is that was made anew, and more logs follow.
    world.start().await;
    let client = world.client();
    world.backed_up().await;
    for seed in 0..100u64 {
        let key = format!("more/{seed:02}");
        let put = client.put_object().bucket("bucket").key(&key).metadata("note", &note);
        put.body(ByteStream::from(bytes(seed, 500))).send().await.unwrap();
        all.insert(key, bytes(seed, 500));
    }
    world.backed_up().await;
    world.lose_disk().await;
    // What is acknowledged survives one agent, and so does the index.
    world.shards.set(world.agents[2].0, Manner::Down);
    let recovered = world.recover().await.unwrap();
    assert_eq!(recovered.answered, (7, 8));
    world.start().await;
    is_there(&world, &all).await;
    let head = world.client().head_object().bucket("bucket").key("more/07").send().await.unwrap();
    assert_eq!(head.metadata.unwrap()["note"], note);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_of_a_recovery_is_said() {
    let mut world = World::new(7).await;
    assert!(matches!(world.recover().await, Err(RecoverError::There(_))));
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "key", bytes(1, 3_000)).await;
    world.backed_up().await;
    world.lose_disk().await;

    // Another keyring, another signer, too few agents: nothing is changed by any of them.
    let keyring = Keyring::generate().unwrap();
    let wrong = Service::recover(&world.config, &keyring, &world.around(), None).await;
    assert!(matches!(wrong, Err(RecoverError::Keys)), "{wrong:?}");
    let signer = PrivateKeySigner::from_slice(&[8; 32]).unwrap();
    let config = s3_service::Config { signer, ..world.config.clone() };
    let rails = world.ledger.view().await.unwrap().rails.len();
    let wrong = Service::recover(&config, &world.keyring, &world.around(), None).await;
    assert!(matches!(wrong, Err(RecoverError::NoRails(_))), "{wrong:?}");
    assert_eq!(world.ledger.view().await.unwrap().rails.len(), rails);
    for at in 0..5 {
        world.shards.set(world.agents[at].0, Manner::Down);
    }
    let wrong = world.recover().await;
    assert!(
        matches!(wrong, Err(RecoverError::Silent { silent: 5, asked: 7, most: 4 })),
        "{wrong:?}"
    );
    let said = wrong.unwrap_err().to_string();
    assert!(said.contains("5 of 7 agents do not answer"), "{said}");
    for at in 0..5 {
        world.shards.set(world.agents[at].0, Manner::Honest);
    }
    assert!(!world.config.data.join(INDEX_FILE).exists());
    world.recover().await.unwrap();
    world.start().await;
    assert!(get(&world.client(), "bucket", "key").await == bytes(1, 3_000));
    let nobody = World::with(
        6,
        s3_service::Limits { backup: std::time::Duration::from_secs(600), ..limits() },
    )
    .await;
    let mut nobody = nobody;
    nobody.lose_disk().await;
    let wrong = nobody.recover().await;
    assert!(matches!(wrong, Err(RecoverError::Nothing(6))), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_agent_lets_a_shard_go_before_the_others_know_that_it_is_not_needed() {
    let slow = s3_service::Limits { backup: std::time::Duration::from_secs(600), ..limits() };
    let mut world = World::with(8, slow).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "key", bytes(1, 3 << 20)).await;
    world.until("all is stored", async |world| world.queued().await == 0).await;
    world.running().flush().await.unwrap();
    let kept = |world: &World| -> usize {
        world.agents.iter().map(|(peer, _)| world.shards.kept(*peer).0).sum()
    };
    let before = kept(&world);
    // Nobody takes a note any more; the object goes, and its shards must not.
    world.shards.refuse_notes(true);
    client.delete_object().bucket("bucket").key("key").send().await.unwrap();
    let forgotten = async |world: &World| world.running().snapshot().await.unwrap().segments == 0;
    world.until("the segment is forgotten", forgotten).await;
    world.running().flush().await.unwrap();
    assert_eq!(kept(&world), before);
    world.lose_disk().await;
    world.shards.refuse_notes(false);
    world.recover().await.unwrap();
    world.start().await;
    let deleted = get(&world.client(), "bucket", "key").await;
    assert!(deleted == bytes(1, 3 << 20), "an index of before still names it");
    world.client().delete_object().bucket("bucket").key("key").send().await.unwrap();
    let gone = async |world: &World| {
        let _ = world.running().flush().await;
        let held: u64 = world.agents.iter().map(|(peer, _)| world.shards.kept(*peer).1).sum();
        // What is left is the index itself.
        held < 1 << 20
    };
    world.until("and now its shards go", gone).await;
}
