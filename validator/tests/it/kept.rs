//! What archives keep, for how long, and what of it is in memory.

use crate::{
    behind::{copy, unsettled},
    counted::Counted,
    epoch::{accepted, agent, carried},
    http::get,
    world::{CHAIN, CLOCK, NETWORK, World, files},
};
use consensus::Retention;
use evidence::{Archive, Batch, BlockEvidence};
use protocol::{Height, key::DeviceSecret};
use std::{sync::Arc, time::Duration};
use validator::{VerifyEpochError, settle::Settler};

const POLL: Duration = Duration::from_millis(20);
/// Blocks that an archive reads ahead, the one that is worked on, and some room.
const AT_ONCE: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_reads_full_blocks_one_after_another() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, _) = unsettled(folder.path()).await;
    let store = Counted::default();
    let archive = Archive::new(Arc::new(store.clone()));
    // All of the epoch before and of this one up to the cursor; its last block is recorded again.
    let cursor = Height(CLOCK.first(CLOCK.epoch(alone.client.head().await.unwrap())).0 - 1);
    let first = CLOCK.first(CLOCK.epoch(cursor));
    let author = DeviceSecret::from_seed([96; 32]);
    let mut size = 0;
    for height in first.0..cursor.0 {
        let junk = (0u8..60).map(|n| [vec![n; 4_000], height.to_be_bytes().to_vec()].concat());
        let blob = Batch::sign(&author, CHAIN, NETWORK, junk.collect()).to_bytes();
        size = blob.len();
        archive.record_block(&BlockEvidence::new(Height(height), 1, [blob])).await.unwrap();
    }
    archive.put_cursor(cursor).await.unwrap();
    let mut follower = alone.follower_over(&folder.path().join("full"), archive);
    follower.resume(Vec::new()).await.unwrap();
    let budget = AT_ONCE * (size + 1_000);
    assert!(store.most() <= budget, "{} bytes at once", store.most());
    let all = usize::try_from(cursor.0 - first.0).unwrap() * size;
    assert!(store.most() > 0 && all > budget * 3 / 2, "{all} bytes in all");
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_is_not_archived_and_is_given_while_the_ledger_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let mut height = world.client.head().await.unwrap();
    let junk = b"no batch of anybody".repeat(9);
    world.submit_blob(junk.clone());
    let evidence = loop {
        world.client.wait_for(height).await;
        let answer = get(world.http, &format!("/v1/blocks/{height}")).await;
        if answer.status == 200 {
            let evidence = BlockEvidence::from_bytes(&answer.body).unwrap();
            if evidence.blobs().any(|blob| blob == junk) {
                break evidence;
            }
        }
        height = Height(height.0 + 1);
    };
    assert_eq!(evidence.height, height);
    while world.worker.recorded() < height {
        tokio::time::sleep(POLL).await;
    }
    let kept = world.archive().block(height).await.unwrap();
    assert!(kept.is_none_or(|kept| kept.blobs().all(|blob| blob != junk)));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_disputed_no_more_goes_and_nobody_calls_it_false() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start_keeping(folder.path(), Retention::default(), Some(0)).await;
    let (endpoint, connection) = agent(&world).await;
    let (_, envelope) = accepted(&world, &connection).await;
    let height = carried(&world, &envelope).await;
    let (archive, epoch) = (world.archive(), CLOCK.epoch(height));
    while archive.since().await.unwrap() <= height || archive.block(height).await.unwrap().is_some()
    {
        tokio::time::sleep(POLL).await;
    }
    assert!(world.client.claimable_epoch(NETWORK).await.unwrap() >= Some(epoch));
    assert!(archive.inputs(NETWORK, epoch).await.unwrap().is_some());
    assert!(archive.statement(NETWORK, epoch).await.unwrap().is_some());
    assert_eq!(archive.segment(NETWORK, epoch).await.unwrap(), None);
    let refused = validator::verify_epoch(&archive, NETWORK, epoch).await.unwrap_err();
    assert!(matches!(refused, VerifyEpochError::Incomplete(at, _) if at == epoch), "{refused}");
    assert!(refused.to_string().contains("--role archive"), "{refused}");

    // Who has no more of the past than that, and no statement, replays what there is and takes the rest by its hash.
    let (recorded, since) = (world.worker.recorded(), archive.since().await.unwrap());
    let late = folder.path().join("late");
    copy(&world.archive_folder(), &late, &["evidence", "inputs"]);
    let late = files(&world.client, &late, &[format!("http://{}", world.http)]);
    late.archive.put_since(since).await.unwrap();
    let mut settler = Settler::watching(late, CLOCK);
    assert_eq!(settler.settle_due(recorded).await.unwrap(), 0);
    assert!(settler.refusals().all().is_empty());
    assert!(settler.agreed().of(NETWORK).flatten() > Some(epoch));

    // Another start goes on from what is left.
    let world = world.restart_worker().await;
    let next = Height(world.client.head().await.unwrap().0 + 3);
    while world.worker.recorded() < next {
        tokio::time::sleep(POLL).await;
    }
    endpoint.close().await;
    world.stop().await;
}
