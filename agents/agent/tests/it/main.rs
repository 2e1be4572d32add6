//! The runtime against a validator on loopback: over iroh, over HTTP when iroh fails, and across a
//! restart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic where it stands")]

mod world;

use agent::{Metrics, Validator, state::Submitted};
use protocol::{Epoch, Height, Reason, body::Common};
use std::{collections::BTreeSet, sync::Arc};
use transport::Peer;
use world::{CLOCK, Chain, Desk, Hardware, NETWORK, inputs, start};

/// Waits until `holds` of what the agent did; tests end by their own limits, not by a clock here.
async fn until(running: &agent::Running, holds: impl Fn(&Metrics) -> bool) -> Metrics {
    running.watch().wait_for(holds).await.unwrap().clone()
}

#[tokio::test]
async fn an_epoch_over_iroh_is_followed_proven_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::open().await;
    let chain = Arc::new(Chain::new(CLOCK.length - 1));
    let validators = [Validator { http: desk.http_url(), peer: Some(desk.peer()) }];
    let hardware = Arc::new(Hardware::default());
    let running = start(folder.path(), &chain, &validators, &hardware).await;
    desk.publish(inputs(1));
    chain.announce(&inputs(1));
    for height in 30..=59 {
        chain.advance(height);
        until(&running, |metrics| metrics.head == Some(Height(height))).await;
    }
    let metrics = until(&running, |m| m.proofs == 2 && m.accepted >= 4).await;
    assert_eq!(metrics.epoch, Some(Epoch(1)));
    assert!(metrics.enrolled);
    assert_eq!(metrics.missed, 0);
    assert_eq!(hardware.opened(), [Epoch(1)]);
    assert!(desk.over_iroh() >= 4);
    assert_eq!(desk.over_http(), 0);
    let taken = desk.taken();
    assert!(taken.iter().any(|envelope| Common::from_body(&envelope.payload().body).is_ok()));
    assert!(taken.iter().all(|envelope| envelope.payload().network == NETWORK));
    running.stop().await;
}

#[tokio::test]
async fn http_serves_when_iroh_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::open().await;
    let chain = Arc::new(Chain::new(CLOCK.length - 1));
    // Nobody with this key is there.
    let wrong =
        Peer { key: protocol::key::DeviceSecret::from_seed([77; 32]).key().x(), ..desk.peer() };
    let validators = [Validator { http: desk.http_url(), peer: Some(wrong) }];
    let hardware = Arc::new(Hardware::default());
    let running = start(folder.path(), &chain, &validators, &hardware).await;
    desk.publish(inputs(1));
    chain.announce(&inputs(1));
    for height in 30..=59 {
        chain.advance(height);
        until(&running, |metrics| metrics.head == Some(Height(height))).await;
        if height == 32 {
            until(&running, |metrics| metrics.epoch == Some(Epoch(1))).await;
        }
    }
    until(&running, |metrics| metrics.accepted >= 1).await;
    assert_eq!(desk.over_iroh(), 0);
    assert!(desk.over_http() >= 1);
    running.stop().await;
}

#[tokio::test]
async fn inputs_that_the_ledger_does_not_confirm_are_not_acted_on() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::open().await;
    let chain = Arc::new(Chain::new(CLOCK.length - 1));
    let validators = [Validator { http: desk.http_url(), peer: Some(desk.peer()) }];
    let hardware = Arc::new(Hardware::default());
    let running = start(folder.path(), &chain, &validators, &hardware).await;
    let mut forged = inputs(1);
    forged.mix = [9; 32];
    desk.publish(forged);
    chain.announce(&inputs(1));
    for height in 30..=40 {
        chain.advance(height);
        until(&running, |metrics| metrics.head == Some(Height(height))).await;
    }
    assert_eq!(running.metrics().epoch, None);
    // The right file, and the agent goes on.
    desk.publish(inputs(1));
    chain.advance(41);
    until(&running, |metrics| metrics.head == Some(Height(41))).await;
    chain.advance(42);
    until(&running, |metrics| metrics.epoch == Some(Epoch(1))).await;
    running.stop().await;
}

#[tokio::test]
async fn a_restart_sends_what_was_not_sent_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let desk = Desk::open().await;
    desk.publish(inputs(1));
    let chain = Arc::new(Chain::new(CLOCK.length - 1));
    chain.announce(&inputs(1));
    let hardware = Arc::new(Hardware::default());
    desk.refuse_evidence(true);
    let validators = [Validator { http: desk.http_url(), peer: None }];
    let running = start(folder.path(), &chain, &validators, &hardware).await;
    for height in 30..=38 {
        chain.advance(height);
        until(&running, |metrics| metrics.head == Some(Height(height))).await;
        if height == 32 {
            until(&running, |metrics| metrics.epoch == Some(Epoch(1))).await;
        }
    }
    let before = until(&running, |metrics| metrics.outbox >= 2).await;
    assert_eq!(before.accepted, 0);
    running.stop().await;

    desk.refuse_evidence(false);
    let validators = [Validator { http: desk.http_url(), peer: Some(desk.peer()) }];
    let running = start(folder.path(), &chain, &validators, &hardware).await;
    chain.advance(39);
    until(&running, |metrics| metrics.accepted >= 2).await;
    running.stop().await;
    // The same envelope may come twice, when its first answer was lost; never two under one number.
    let digests: BTreeSet<_> = desk.taken().iter().map(|envelope| envelope.digest()).collect();
    let sequences: BTreeSet<_> =
        desk.taken().iter().map(|envelope| envelope.payload().sequence).collect();
    assert_eq!(digests.len(), sequences.len());
}

#[tokio::test]
async fn a_refusal_names_its_reason_and_a_forged_acceptance_is_no_acceptance() {
    let desk = Desk::open().await;
    let endpoint = world::endpoint(50).await;
    let validators = [Validator { http: desk.http_url(), peer: Some(desk.peer()) }];
    let remote = agent::Remote::new(world::CHAIN, endpoint.clone(), &validators).unwrap();
    let envelope: Arc<[u8]> = Arc::from(&b"not an envelope"[..]);
    let refused = agent::Validators::submit(&remote, 0, Arc::clone(&envelope)).await;
    assert_eq!(refused, Submitted::Refused(Reason::Malformed));

    let other_chain = agent::Remote::new(world::CHAIN + 1, endpoint, &validators).unwrap();
    let signed: Arc<[u8]> = world::envelope().bytes().into();
    let forged = agent::Validators::submit(&other_chain, 0, Arc::clone(&signed)).await;
    assert!(matches!(forged, Submitted::Unreachable(_)), "{forged:?}");
    let accepted = agent::Validators::submit(&remote, 0, signed).await;
    assert!(matches!(accepted, Submitted::Accepted(_)), "{accepted:?}");
}
