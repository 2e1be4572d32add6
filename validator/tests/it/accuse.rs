//! Double votes that the ledger saw become convictions.

use crate::world::{World, founder, operator};
use alloy_primitives::B256;
use client::{
    abi::IValidators::{genesisHashCall, keyInfoCall},
    address::VALIDATORS,
};
use consensus::{DoubleVote, ValidatorKeys};
use protocol::{Height, key::DeviceSecret};
use tokio::sync::watch;
use validator::accuse::accuse;

/// A notarizing vote of the only seat for `payload`, in the encoding of simplex.
fn vote(genesis: B256, payload: u8) -> Vec<u8> {
    // Term, view, the parent's view, and the block.
    let body = [&[0, 7, 6][..], &[payload; 32]].concat();
    let namespace = [&b"wayleave/ledger/1/"[..], genesis.as_slice(), b"_NOTARIZE"].concat();
    let length = u8::try_from(namespace.len()).unwrap();
    // The network key of the world's validator, which signs as any Ed25519 key does.
    let secret = blake3::derive_key("wayleave 2026-11 validator network key", &[1; 32]);
    let signature = DeviceSecret::from_seed(secret).sign(&[&[length][..], &namespace, &body].concat());
    [&[0][..], &body, &[0], &signature].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_double_vote_is_reported_once_and_nonsense_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let client = &world.client;
    let genesis = client.call(VALIDATORS, genesisHashCall {}).await.unwrap();
    let key = B256::from(ValidatorKeys::derive(&[1; 32]).network_key());
    let double = |view, payloads: [u8; 2]| {
        let [first, second] = payloads.map(|payload| vote(genesis, payload).into());
        DoubleVote { term: 0, view, key, first, second }
    };
    // The same vote twice is no offence: the contract says so, and it is not tried again.
    let nonsense = DoubleVote { key: B256::ZERO, ..double(7, [1, 1]) };
    let (seen, watched) = watch::channel(vec![nonsense.clone()]);
    let accusing = tokio::spawn(accuse(client.clone(), founder(), watched.clone()));
    seen.send_replace(vec![nonsense, double(7, [1, 2])]);
    let convicted = async || client.call(VALIDATORS, keyInfoCall { key }).await.unwrap().convicted;
    let mut heights = client.follow(Height(1));
    while !convicted().await {
        heights.next().await;
    }
    // Another validator comes too late, which is as good.
    let other = tokio::spawn(accuse(client.clone(), operator(), watched));
    drop(seen);
    accusing.await.unwrap();
    other.await.unwrap();
    assert!(convicted().await);
    world.stop().await;
}
