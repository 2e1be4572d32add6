//! Batches that no honest author signs cost their author's bond.

use crate::world::{CHAIN, CLOCK, NETWORK, Wall, World, device, keys, operator};
use alloy_primitives::U256;
use client::{
    abi::IValidators::{bondOfCall, dueOfCall, keyInfoCall},
    address::VALIDATORS,
};
use evidence::Batch;
use protocol::{
    AuthorKey, Epoch, Height, Reason,
    author::AuthorLeaf,
    body::{Common, Report},
    clock::Clock as _,
    envelope::{Envelope, Payload},
    statement::Statement,
};
use tokio::sync::watch;
use validator::charge::charge;

/// A report of the world's device for an epoch, its signature spoiled.
fn forged(epoch: Epoch) -> Vec<u8> {
    let body = Common::Report(Report { used: 0, free: 0, at: Height(0) }).to_body();
    let payload = Payload { network: NETWORK, epoch, sequence: 1, time_ms: Wall.now_ms(), body };
    let mut bytes = Envelope::sign(&device(), &payload).bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

/// Has a forged report carried in a batch of the validator's key, and waits for the epoch's statement.
async fn carried(world: &World) -> Statement {
    let client = &world.client;
    let mut heights = client.follow(client.head().await.unwrap());
    loop {
        // The next epoch, in which the device is on the roster.
        let epoch = CLOCK.epoch(heights.next().await).next();
        client.wait_for(CLOCK.first(epoch)).await;
        let batch = Batch::sign(&keys().author(), CHAIN, NETWORK, vec![forged(epoch)]);
        world.submit_blob(batch.to_bytes());
        let statement = loop {
            heights.next().await;
            if client.next_epoch(NETWORK).await.unwrap() > epoch
                && let Some(statement) = world.archive().statement(NETWORK, epoch).await.unwrap()
            {
                break statement;
            }
        };
        // A machine that stood still for most of the epoch carried the batch after it.
        if !statement.authors.is_empty() {
            return statement;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_author_that_checks_nothing_pays_once_its_epoch_is_claimable() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let client = &world.client;
    let key = keys().network_key().into();
    let owner = client.call(VALIDATORS, keyInfoCall { key }).await.unwrap().owner;
    let bond = async || client.call(VALIDATORS, bondOfCall { owner }).await.unwrap().amount;
    let before = bond().await;

    let statement = carried(&world).await;
    let [row] = &statement.authors[..] else { panic!("{:?}", statement.authors) };
    assert_eq!((row.author.0, row.envelopes), (keys().network_key(), 1));
    assert_eq!(row.causes[0].reason, Reason::BadSignature);
    let leaf: AuthorLeaf = row.leaf(NETWORK, statement.epoch);
    let due = async || client.call(VALIDATORS, dueOfCall { leaf: (&leaf).into() }).await.unwrap();
    let owed = due().await;
    assert!(owed > U256::ZERO && bond().await == before);

    // The author's own worker presents nothing; two others do, and it is paid once.
    let files = || crate::world::files(client, &world.archive_folder(), &[]);
    let (tell, told) = watch::channel(Height(0));
    let other = AuthorKey([0; 32]);
    let charging: Vec<_> = (0..2)
        .map(|_| tokio::spawn(charge((files(), operator()), other, CLOCK, told.clone())))
        .collect();
    let mut heights = client.follow(client.head().await.unwrap());
    while due().await > U256::ZERO {
        tell.send_replace(heights.next().await);
    }
    assert_eq!(bond().await, before - owed);
    drop(tell);
    for task in charging {
        task.await.unwrap();
    }
    assert_eq!(bond().await, before - owed);
    world.stop().await;
}
