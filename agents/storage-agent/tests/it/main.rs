//! The storage agent with a service and a validator on loopback and a ledger played by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic where it stands")]

mod world;

use bytes::Bytes;
use protocol::{
    Digest, Epoch, Micros, RailId,
    body::Common,
    inputs::{Inputs, Rail},
    kind::{Duty, Kind},
};
use std::{fs, path::Path, sync::Arc};
use storage_agent::{Config, Drain, Running, StartError};
use storage_kind::{
    Storage, bao,
    body::{Evidence, Loss, Proof},
    dataset::Shard,
    duty::Task,
    proof,
    wire::{self, Form, Refusal, Request, Response},
};
use world::{
    CLOCK, KIB_PRICE, LIMIT, RAIL, Service, World, body, config, device, inputs, rail, signer,
    validator,
};

async fn service(running: &Running) -> Service {
    let service = Service::new(running, 50, signer(1)).await;
    service.introduce().await;
    service
}

fn proofs(world: &World, epoch: u64) -> Vec<Proof> {
    let envelopes = world.envelopes(epoch);
    envelopes
        .iter()
        .filter_map(|envelope| match Evidence::from_body(&envelope.payload().body) {
            Ok(Evidence::Proof(proof)) => Some(proof),
            _ => None,
        })
        .collect()
}

fn losses(world: &World, epoch: u64) -> Vec<Loss> {
    let envelopes = world.envelopes(epoch);
    envelopes
        .iter()
        .filter_map(|envelope| match Evidence::from_body(&envelope.payload().body) {
            Ok(Evidence::Loss(loss)) => Some(loss),
            _ => None,
        })
        .collect()
}

fn duties(inputs: &Inputs) -> Vec<Duty> {
    Storage.duties(inputs, inputs.device(device().id()).unwrap())
}

/// Files of shards below the data folder.
fn files(data: &Path) -> Vec<std::path::PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![data.join("shards")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

async fn settled(running: &Running, proofs: u64, accepted: u64) {
    let mut watch = running.watch();
    watch.wait_for(|m| m.proofs >= proofs && m.accepted >= accepted).await.unwrap();
}

#[tokio::test]
async fn shards_are_stored_committed_proven_and_survive_restarts() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let running = world::start(config(data.path(), &validator), &world).await;
    let service = service(&running).await;

    let bodies = [body(1, 300_000), body(2, 70_000), body(3, 1_000)];
    let mut shards = Vec::new();
    for body in &bodies {
        shards.push(service.put(RAIL, body).await.unwrap());
    }
    let dataset = service.commit((0, 1), &shards, &[]).await.unwrap();
    assert_eq!(dataset.bytes, 371_000);
    assert_eq!(running.metrics().usage.shards, 3);

    let first = inputs(1, Some(dataset));
    world.begin(&running, &first).await;
    world.advance(&running, 40).await;
    running.stop().await;
    let running = world::start(config(data.path(), &validator), &world).await;
    world.epoch(&running, &first).await;
    world.advance(&running, 64).await;

    for duty in duties(&first) {
        let task = Task::of(&duty).unwrap();
        let proofs = proofs(&world, 1);
        let made = proofs.iter().filter(|proof| proof.index == duty.index);
        let checked: Vec<_> = made.map(|proof| proof::check(&duty, &task, proof)).collect();
        assert_eq!(checked, [Ok(())], "duty {}", duty.index);
    }
    assert_eq!(running.metrics().agent.missed, 0);
    let reports = world.envelopes(1);
    assert!(reports.iter().any(|envelope| {
        matches!(Common::from_body(&envelope.payload().body), Ok(Common::Report(_)))
    }));
    running.stop().await;
}

#[tokio::test]
async fn a_lost_shard_is_declared_before_its_window_and_a_cheat_declares_nothing() {
    for declare in [true, false] {
        let data = tempfile::tempdir().unwrap();
        let world = World::new();
        let (_endpoint, validator) = validator(&world).await;
        let mut config = config(data.path(), &validator);
        config.declare_losses = declare;
        let running = world::start(config, &world).await;
        let service = service(&running).await;
        let shard = service.put(RAIL, &body(1, 300_000)).await.unwrap();
        let dataset = service.commit((0, 1), &[shard], &[]).await.unwrap();
        // Behind everybody's back.
        for file in files(data.path()) {
            fs::remove_file(file).unwrap();
        }
        let first = inputs(1, Some(dataset));
        world.begin(&running, &first).await;
        if declare {
            settled(&running, 0, 1).await;
        }
        world.advance(&running, 64).await;
        let declared = losses(&world, 1);
        assert!(proofs(&world, 1).is_empty());
        if declare {
            assert_eq!(declared, [Loss { rail: RAIL, version: 1, shards: vec![shard.hash] }]);
        } else {
            assert!(declared.is_empty());
            let mut watch = running.watch();
            watch.wait_for(|metrics| metrics.missed == 3 && metrics.reports > 0).await.unwrap();
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn shards_that_left_go_when_no_open_epoch_asks_for_them() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let running = world::start(config(data.path(), &validator), &world).await;
    let service = service(&running).await;
    let old = service.put(RAIL, &body(1, 70_000)).await.unwrap();
    let new = service.put(RAIL, &body(2, 80_000)).await.unwrap();
    let first = service.commit((0, 1), &[old], &[]).await.unwrap();
    world.epoch(&running, &inputs(1, Some(first))).await;
    let second = service.commit((1, 2), &[new], &[old.hash]).await.unwrap();
    // Frozen from the next epoch on; the old version's proofs may still be asked until the grace ends.
    world.begin(&running, &inputs(2, Some(second))).await;
    assert_eq!(files(data.path()).len(), 2);
    world.advance(&running, 65).await;
    let gone = || files(data.path()).len() == 1;
    let mut watch = running.watch();
    // Closing is done before the head after it is.
    world.advance(&running, 66).await;
    watch.wait_for(|_| true).await.unwrap();
    assert!(gone());
    assert_eq!(running.metrics().usage.bytes, 80_000);
    let holds = Request::Holds(RAIL, vec![old.hash, new.hash]);
    let (answer, _) = service.ask(&holds, Bytes::new()).await.unwrap();
    assert_eq!(answer, Response::Holds(vec![false, true]));
    running.stop().await;
}

#[tokio::test]
async fn an_agent_whose_address_is_taken_starts_at_another() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut elsewhere = config(data.path(), &validator);
    elsewhere.listen = taken.local_addr().unwrap();
    let refused = world::try_start(elsewhere, &world).await;
    assert!(matches!(refused, Err(StartError::Bind(_))), "{refused:?}");
    world::start(config(data.path(), &validator), &world).await.stop().await;
}

#[tokio::test]
async fn deliveries_are_paid_and_vouchers_presented_even_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let running = world::start(config(data.path(), &validator), &world).await;
    let mut service = service(&running).await;
    let whole = body(1, 200 * 1024);
    let shard = service.put(RAIL, &whole).await.unwrap();

    let unpaid = service.get_with(shard, (0, 2048), Form::Plain, None).await;
    assert_eq!(unpaid, Err(Refusal::VoucherNeeded(Micros(2 * KIB_PRICE))));

    let plain = service.get(shard, (0, shard.bytes), Form::Plain).await.unwrap();
    assert_eq!(&plain[..], &whole[..]);
    let slice = service.get(shard, (70_000, 5_000), Form::Slice).await.unwrap();
    let bytes = bao::decode(shard.hash, shard.bytes, 70_000, 5_000, &slice).unwrap();
    assert_eq!(bytes, &whole[70_000..75_000]);

    let best = service.voucher(900);
    let stranger = Service::new(&running, 51, signer(2)).await;
    let mut forged = best;
    forged.voucher.amount = Micros(1_000);
    let refused = service.get_with(shard, (0, 10), Form::Plain, Some(forged)).await;
    assert_eq!(refused, Err(Refusal::BadVoucher));
    let over = service.voucher(LIMIT.0 + 1);
    let refused = service.get_with(shard, (0, 10), Form::Plain, Some(over)).await;
    assert_eq!(refused, Err(Refusal::LimitTooLow(Micros(LIMIT.0 + 1))));
    let refused = stranger.get_with(shard, (0, 10), Form::Plain, Some(best)).await;
    assert_eq!(refused, Err(Refusal::NotIntroduced));
    for range in [(0, shard.bytes + 1), (shard.bytes, 1), (u64::MAX, 2)] {
        let refused = service.get_with(shard, range, Form::Plain, Some(best)).await;
        assert_eq!(refused, Err(Refusal::OutOfRange), "{range:?}");
    }
    let absent = Shard { hash: Digest([8; 32]), bytes: 5 };
    let refused = service.get_with(absent, (0, 5), Form::Plain, Some(best)).await;
    assert_eq!(refused, Err(Refusal::NotHeld(absent.hash)));

    running.stop().await;
    let running = world::start(config(data.path(), &validator), &world).await;
    world.epoch(&running, &inputs(1, None)).await;
    let mut watch = running.watch();
    watch.wait_for(|metrics| metrics.vouchers == 1 && metrics.accepted >= 2).await.unwrap();
    world.advance(&running, 63).await;
    let presented = world.envelopes(1).into_iter().find_map(|envelope| {
        match Common::from_body(&envelope.payload().body) {
            Ok(Common::Vouchers(vouchers)) => Some(vouchers),
            _ => None,
        }
    });
    assert_eq!(presented, Some(vec![best]));
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_stored_for_a_rail_that_would_not_pay_and_a_top_up_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let running = world::start(config(data.path(), &validator), &world).await;
    // Five micro-dollars pay for a KiB, and the limit for a little more than two epochs of it.
    let of = |limit| Rail { rate: Micros(5), limit: Micros(limit), ..rail(RAIL) };
    *world.rail.lock().unwrap() = of(13);
    let service = service(&running).await;
    assert_eq!(service.put(RAIL, &body(1, 1025)).await, Err(Refusal::RateTooLow(1025)));
    let shard = service.put(RAIL, &body(1, 1000)).await.unwrap();
    assert_eq!(service.put(RAIL, &body(2, 100)).await, Err(Refusal::RateTooLow(1100)));
    let dataset = service.commit((0, 1), &[shard], &[]).await.unwrap();
    for epoch in 1..=2 {
        let inputs = Inputs { rails: vec![of(13)], ..inputs(epoch, Some(dataset)) };
        world.epoch(&running, &inputs).await;
    }
    // Two epochs at four micro-dollars.
    assert_eq!(service.put(RAIL, b"new").await, Ok(Shard { hash: Digest::of(b"new"), bytes: 3 }));
    let third = Inputs { rails: vec![of(13)], ..inputs(3, Some(dataset)) };
    world.begin(&running, &third).await;
    let too_low = Err(Refusal::LimitTooLow(Micros(17)));
    assert_eq!(service.put(RAIL, b"more").await.map(drop), too_low);
    let new = Shard { hash: Digest::of(b"new"), bytes: 3 };
    let refused = service.commit((1, 2), &[new], &[]).await;
    assert_eq!(refused.map(drop), too_low);
    // What only goes may go, and a raised limit is found on the ledger at once.
    *world.rail.lock().unwrap() = of(17);
    assert_eq!(service.put(RAIL, b"more").await.map(drop), Ok(()));
    service.commit((1, 2), &[new], &[]).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_delivered_that_settlement_would_not_pay() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let running = world::start(config(data.path(), &validator), &world).await;
    let mut service = service(&running).await;
    let shard = service.put(RAIL, &body(1, 200 * 1024)).await.unwrap();
    let dataset = service.commit((0, 1), &[shard], &[]).await.unwrap();
    // No credit before anything was earned.
    let unpaid = service.get_with(shard, (0, 512), Form::Plain, None).await;
    assert_eq!(unpaid, Err(Refusal::VoucherNeeded(Micros(1))));
    world.epoch(&running, &inputs(1, Some(dataset))).await;
    service.get_with(shard, (0, 1024), Form::Plain, None).await.unwrap();
    let unpaid = service.get_with(shard, (0, 1024), Form::Plain, None).await;
    assert_eq!(unpaid, Err(Refusal::VoucherNeeded(Micros(2 * KIB_PRICE))));
    // The rate's part of the limit is not for vouchers: 200 KiB at 5 micro-dollars.
    let over = service.voucher(LIMIT.0 - 999);
    let refused = service.get_with(shard, (0, 1024), Form::Plain, Some(over)).await;
    assert_eq!(refused, Err(Refusal::LimitTooLow(Micros(LIMIT.0 + 1))));
    let best = service.voucher(LIMIT.0 / 2);
    service.get_with(shard, (0, 1024), Form::Plain, Some(best)).await.unwrap();

    // Closed in the second epoch: known from the third on, in which its vouchers are presented last.
    let closed = Rail { expiry: Epoch(2), ..rail(RAIL) };
    world.epoch(&running, &inputs(2, Some(dataset))).await;
    let last = service.voucher(LIMIT.0 / 2 + 5);
    service.get_with(shard, (0, 1024), Form::Plain, Some(last)).await.unwrap();
    let third = Inputs { rails: vec![closed], datasets: Vec::new(), ..inputs(3, None) };
    world.begin(&running, &third).await;
    // What is there can be read on, while vouchers are paid.
    service.get_with(shard, (0, 1024), Form::Plain, Some(last)).await.unwrap();
    assert_eq!(service.put(RAIL, b"new").await, Err(Refusal::UnknownRail));
    assert_eq!(service.commit((1, 2), &[], &[]).await, Err(Refusal::UnknownRail));
    let end = CLOCK.last(Epoch(3)).0;
    world.advance(&running, end).await;
    let mut watch = running.watch();
    watch.wait_for(|metrics| metrics.vouchers == 2).await.unwrap();
    world
        .begin(&running, &Inputs { rails: Vec::new(), datasets: Vec::new(), ..inputs(4, None) })
        .await;
    let refused = service.get_with(shard, (0, 1024), Form::Plain, Some(last)).await;
    assert_eq!(refused, Err(Refusal::UnknownRail));
    running.stop().await;
}

#[tokio::test]
async fn a_rail_that_is_in_no_inputs_any_more_has_ended() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let running = world::start(config(data.path(), &validator), &world).await;
    let service = service(&running).await;
    let shard = service.put(RAIL, b"shard").await.unwrap();
    let second = Inputs { rails: Vec::new(), ..inputs(2, None) };
    world.begin(&running, &second).await;
    assert_eq!(service.put(RAIL, b"more").await, Err(Refusal::UnknownRail));
    let unpaid = service.get_with(shard, (0, 5), Form::Plain, None).await;
    assert_eq!(unpaid, Err(Refusal::UnknownRail));
    running.stop().await;
}

#[tokio::test]
async fn bad_requests_have_named_refusals() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let mut config = config(data.path(), &validator);
    config.capacity = 100_000;
    let running = world::start(config, &world).await;
    let stranger = Service::new(&running, 51, signer(2)).await;
    assert_eq!(stranger.put(RAIL, b"x").await, Err(Refusal::NotIntroduced));
    stranger.introduce().await;
    assert_eq!(stranger.put(RAIL, b"x").await, Err(Refusal::NotYourRail));

    let service = service(&running).await;
    assert_eq!(service.put(RailId(4), b"x").await, Err(Refusal::UnknownRail));
    assert_eq!(service.put(RailId(99), b"x").await, Err(Refusal::UnknownRail));
    assert_eq!(service.put(RAIL, &body(1, 100_001)).await, Err(Refusal::Full));
    let shard = Shard { hash: Digest::of(b"other"), bytes: 3 };
    let put = Request::Put(wire::Put { rail: RAIL, shard });
    let wrong = service.ask(&put, Bytes::from_static(b"abc")).await.unwrap_err();
    assert_eq!(wrong, Refusal::BadShard);
    let short = service.ask(&put, Bytes::from_static(b"ab")).await.unwrap_err();
    assert_eq!(short, Refusal::BadShard);
    assert_eq!(service.raw(b"\xff", Bytes::new()).await.unwrap_err(), Refusal::Malformed);
    assert_eq!(service.commit((5, 6), &[], &[]).await, Err(Refusal::StaleBase(0)));
    let (terms, _) = service.ask(&Request::Terms, Bytes::new()).await.unwrap();
    let Response::Terms(terms) = terms else { panic!("{terms:?}") };
    assert_eq!((terms.device, terms.free), (device().id(), 100_000));
    assert_eq!(terms.price, Micros(5 << 20));
    assert!(running.metrics().service.refused >= 8);
    running.stop().await;
}

#[tokio::test]
async fn a_second_agent_on_the_same_data_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let running = world::start(config(data.path(), &validator), &world).await;
    let second = world::try_start(config(data.path(), &validator), &world).await;
    assert!(matches!(second, Err(StartError::Store(_))), "{second:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_shards_at_once_are_each_acknowledged_durably() {
    let data = tempfile::tempdir().unwrap();
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let running = world::start(config(data.path(), &validator), &world).await;
    let service = Arc::new(service(&running).await);
    let begun = std::time::Instant::now();
    let puts = (0u16..200).map(|number| {
        let service = Arc::clone(&service);
        let body = [&number.to_be_bytes()[..], &body(7, 4_000)].concat();
        async move { service.put(RAIL, &body).await.unwrap() }
    });
    let shards = futures::future::join_all(puts).await;
    let small = begun.elapsed();
    let begun = std::time::Instant::now();
    let large = service.put(RAIL, &body(9, 16 << 20)).await.unwrap();
    println!(
        "stored durably: 200 shards of 4 KB in {small:?}, one of 16 MiB in {:?}",
        begun.elapsed()
    );
    drop(running);

    let running = loop {
        // The dropped agent's files are released when its last task has ended.
        match world::try_start(config(data.path(), &validator), &world).await {
            Ok(running) => break running,
            Err(StartError::Store(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let again = Service::new(&running, 52, signer(1)).await;
    again.introduce().await;
    let hashes: Vec<Digest> = shards.iter().chain([&large]).map(|shard| shard.hash).collect();
    let (answer, _) = again.ask(&Request::Holds(RAIL, hashes), Bytes::new()).await.unwrap();
    assert_eq!(answer, Response::Holds(vec![true; 201]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_leaves_keeps_proves_and_says_so_until_nothing_is_left() {
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let folder = tempfile::tempdir().unwrap();
    let running = world::start(config(folder.path(), &validator), &world).await;
    let mut service = service(&running).await;
    let shard = service.put(RAIL, &body(1, 5_000)).await.unwrap();
    let first = service.commit((0, 1), &[shard], &[]).await.unwrap();
    assert_eq!(running.drain(), None);
    running.stop().await;

    // It is told once, and says so again after it was started without a word.
    let leaving = Config { leaving: Some(true), ..config(folder.path(), &validator) };
    world::start(leaving, &world).await.stop().await;
    let running = world::start(config(folder.path(), &validator), &world).await;
    service = Service::new(&running, 7, signer(1)).await;
    service.introduce().await;
    assert_eq!(service.put(RAIL, &body(2, 5_000)).await, Err(Refusal::Leaving));
    let (terms, _) = service.ask(&wire::Request::Terms, Bytes::new()).await.unwrap();
    assert!(matches!(terms, wire::Response::Terms(terms) if terms.leaving && terms.free == 0));
    let left = Drain { bytes: 5_000, shards: 1, rails: 1 };
    assert_eq!(running.drain(), Some(left));

    // What is frozen is proven, and what it has is given.
    world.epoch(&running, &inputs(1, Some(first))).await;
    assert_eq!(running.metrics().agent.missed, 0);
    assert!(!world.envelopes(1).is_empty());
    let read = service.get(shard, (0, 5_000), Form::Plain).await.unwrap();
    assert_eq!(read, body(1, 5_000));

    // It was taken over: with the first epochs that ask for nothing it is gone.
    let empty = service.commit((1, 2), &[], &[shard.hash]).await.unwrap();
    for epoch in 2..5 {
        world.epoch(&running, &inputs(epoch, Some(empty))).await;
    }
    assert_eq!(running.drain(), Some(Drain { bytes: 0, shards: 0, rails: 1 }));
    running.stop().await;
    let staying = Config { leaving: Some(false), ..config(folder.path(), &validator) };
    let running = world::start(staying, &world).await;
    assert_eq!(running.drain(), None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_is_kept_for_its_customer_alone() {
    let world = World::new();
    let (_endpoint, validator) = validator(&world).await;
    let folder = tempfile::tempdir().unwrap();
    let running = world::start(config(folder.path(), &validator), &world).await;
    let service = Service::new(&running, 7, signer(1)).await;
    let note = |bytes: usize| (wire::Request::Note(RAIL), Bytes::from(body(3, bytes)));
    let noted = wire::Request::Noted(RAIL);
    let (ask, bytes) = note(10);
    assert_eq!(service.ask(&ask, bytes).await, Err(Refusal::NotIntroduced));
    service.introduce().await;
    assert_eq!(service.ask(&noted, Bytes::new()).await.unwrap().1, Bytes::new());
    for size in [wire::NOTE_MAX, 10, 4_000] {
        let (ask, bytes) = note(size);
        assert_eq!(service.ask(&ask, bytes.clone()).await.unwrap().0, wire::Response::Stored);
        let (answer, got) = service.ask(&noted, Bytes::new()).await.unwrap();
        assert_eq!(got, bytes);
        assert_eq!(answer, wire::Response::Noted(None));
    }
    let (ask, bytes) = note(wire::NOTE_MAX + 1);
    assert_eq!(service.ask(&ask, bytes).await, Err(Refusal::Malformed));
    let stranger = Service::new(&running, 8, signer(2)).await;
    stranger.introduce().await;
    assert_eq!(stranger.ask(&noted, Bytes::new()).await, Err(Refusal::NotYourRail));
    running.stop().await;
    let running = world::start(config(folder.path(), &validator), &world).await;
    let service = Service::new(&running, 7, signer(1)).await;
    service.introduce().await;
    assert_eq!(service.ask(&noted, Bytes::new()).await.unwrap().1, body(3, 4_000));
    running.stop().await;
}
