//! Validators that were away: what they lack, where they get it, and what they never do.

use crate::{
    epoch::{accepted, agent, carried},
    http::get,
    world::{
        Alone, CHAIN, CLOCK, NETWORK, Wall, World, device, files, finality, founder, serve, until,
    },
};
use client::{abi::ISettlements, address};
use consensus::Retention;
use evidence::{Batch, BlockEvidence};
use protocol::{
    Digest, Epoch, Height,
    body::{Common, Report},
    clock::{Clock as _, EpochClock},
    envelope::{Envelope, Payload},
    key::DeviceSecret,
    statement::Statement,
};
use std::path::Path;
use tokio::sync::watch;
use validator::{VerifyEpochError, files::Files, follow::FollowError, settle::Settler};

/// A copy of an archive with the objects of these folders alone.
pub(crate) fn copy(from: &Path, to: &Path, folders: &[&str]) {
    for folder in folders {
        let mut open = vec![from.join(folder)];
        while let Some(next) = open.pop() {
            // A folder without an object is never made.
            let Ok(entries) = std::fs::read_dir(&next) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    open.push(path);
                    continue;
                }
                let copy = to.join(path.strip_prefix(from).unwrap());
                std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
                std::fs::copy(path, copy).unwrap();
            }
        }
    }
}

async fn settle(files: &Files, recorded: Height) -> usize {
    Settler::new(files.clone(), founder(), CLOCK).settle_due(recorded).await.unwrap()
}

/// Settles until `epoch` is decided: a vote takes a few blocks.
async fn decide(files: &Files, recorded: Height, epoch: Epoch) {
    let mut settler = Settler::new(files.clone(), founder(), CLOCK);
    until(&files.client, "a decision", async || {
        let last = files.client.final_epoch(NETWORK).await.unwrap();
        if last.is_some_and(|last| last >= epoch) {
            return Some(());
        }
        assert_eq!(settler.settle_due(recorded).await.unwrap(), 0);
        None
    })
    .await;
}

/// The statement of a final epoch that an archive has, compared with the ledger.
async fn is_final(files: &Files, epoch: Epoch) -> bool {
    files.agreed(NETWORK, epoch).await.unwrap().is_some()
}

/// A ledger on which two epochs after the newest final one are over, and the archive of a validator that
/// recorded them and did not vote. Returns the first of them.
pub(crate) async fn unsettled(folder: &Path) -> (Alone, Epoch) {
    let world = World::start(folder).await;
    finality(&world.client, Epoch(1)).await;
    let alone = world.stop_worker().await;
    let open = alone.client.final_epoch(NETWORK).await.unwrap().unwrap().next();
    alone.client.wait_for(Height(CLOCK.grace_end(open.next()).0 + 2)).await;
    let (mut follower, _) = alone.follower(folder, &[]);
    follower.resume(Vec::new()).await.unwrap();
    (alone, open)
}

/// A block's worth of evidence that no block carried.
pub(crate) fn foreign(clock: EpochClock, epoch: Epoch) -> BlockEvidence {
    let body = Common::Report(Report { used: 1, free: 1, at: Height(0) }).to_body();
    let time_ms = Wall.now_ms();
    let payload = Payload { network: NETWORK, epoch, sequence: 1, time_ms, body };
    let envelope = Envelope::sign(&device(), &payload).bytes().to_vec();
    let author = DeviceSecret::from_seed([97; 32]);
    let batch = Batch::sign(&author, CHAIN, NETWORK, vec![envelope]);
    BlockEvidence::new(Height(clock.first(epoch).0 + 3), time_ms, [batch.to_bytes()])
}

#[tokio::test(flavor = "multi_thread")]
async fn who_missed_final_epochs_replays_or_fetches_them_and_votes_again() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, open) = unsettled(folder.path()).await;
    let last = open.previous().unwrap();
    let [dissenter, replayer, fetcher] =
        ["dissenter", "replayer", "fetcher"].map(|name| folder.path().join(name));
    let original = alone.folder.join("archive");
    for to in [&dissenter, &replayer] {
        copy(&original, to, &["evidence", "inputs"]);
    }
    let due = |epoch: Epoch| Height(CLOCK.grace_end(epoch).0 + 1);

    // Another archive gives other statements: what was decided is never archived, and nothing is built on it
    // nor voted.
    let dissenter = files(&alone.client, &dissenter, &[]);
    dissenter.archive.record_block(&foreign(CLOCK, last)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(settle(&dissenter, due(open)).await, 1);
        assert!(dissenter.archive.statement(NETWORK, last).await.unwrap().is_some());
        assert!(!is_final(&dissenter, last).await);
        assert_eq!(dissenter.archive.statement_bytes(NETWORK, open).await.unwrap(), None);
    }
    assert!(is_final(&dissenter, last.previous().unwrap()).await);
    assert_eq!(alone.client.final_epoch(NETWORK).await.unwrap(), Some(last));
    // Once its files are mended it agrees, without a restart, when it looks again.
    let mut watcher = Settler::watching(dissenter.clone(), CLOCK);
    assert_eq!(watcher.settle_due(due(last)).await.unwrap(), 1);
    let forged = format!("dissenter/evidence/{:012}.cbor", CLOCK.first(last).0 + 3);
    std::fs::remove_file(folder.path().join(forged)).unwrap();
    assert_eq!(watcher.settle_due(due(last)).await.unwrap(), 1);
    assert_eq!(watcher.refusals().all().len(), 1);
    assert_eq!(watcher.settle_due(Height(due(last).0 + CLOCK.length)).await.unwrap(), 0);
    assert!(is_final(&dissenter, last).await && watcher.refusals().all().is_empty());

    // Without any statement, all are replayed from the network's beginning, and the open one voted on.
    let replayer = files(&alone.client, &replayer, &[]);
    decide(&replayer, due(open), open).await;
    assert_eq!(alone.client.final_epoch(NETWORK).await.unwrap(), Some(open));
    for epoch in (0..=open.0).map(Epoch) {
        assert!(is_final(&replayer, epoch).await, "{epoch}");
    }

    // Without the evidence of the past, the statement before and the inputs come from another validator.
    copy(&original, &fetcher, &["evidence"]);
    let at = serve(
        Files { archive: replayer.archive.clone(), ..files(&alone.client, &original, &[]) },
        &folder.path().join("journal-2"),
    )
    .await;
    let fetcher = files(&alone.client, &fetcher, &[format!("http://{at}")]);
    // Nobody has announced the next epoch's inputs, so they can only be our own.
    let next = open.next();
    let inputs = replayer.archive.inputs(NETWORK, next).await.unwrap().unwrap();
    fetcher.archive.put_inputs(&inputs).await.unwrap();
    fetcher.archive.put_since(CLOCK.first(next)).await.unwrap();
    decide(&fetcher, due(next), next).await;
    assert_eq!(alone.client.final_epoch(NETWORK).await.unwrap(), Some(next));
    assert!(is_final(&fetcher, open).await && is_final(&fetcher, next).await);
    assert_eq!(fetcher.archive.statement_bytes(NETWORK, last).await.unwrap(), None);

    newest(&replayer, open, at).await;
    alone.stop().await;
}

/// What is newest over HTTP is what the ledger has, whatever else is in the archive.
async fn newest(files: &Files, last: Epoch, at: std::net::SocketAddr) {
    let path = format!("/v1/statement/{NETWORK}/newest");
    let statement = Statement::from_bytes(&get(at, &path).await.body).unwrap();
    assert_eq!(statement.epoch, last);
    let mut other = statement;
    other.totals.spent.0 += 1;
    files.archive.put_statement(&other).await.unwrap();
    let statement = Statement::from_bytes(&get(at, &path).await.body).unwrap();
    assert_eq!(Some(statement.epoch), last.previous());
    let json = get(at, &format!("{path}.json")).await.json();
    assert_eq!(json["epoch"], statement.epoch.0);
    assert_eq!(get(at, "/v1/statement/9/newest").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_far_behind_follows_on_and_fetches_what_the_ledger_no_longer_tells() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention { undo: 30, ..Retention::default() };
    let world = World::start_with(folder.path(), retention).await;
    finality(&world.client, Epoch(3)).await;

    // One who knows only somebody that takes calls and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let others = [format!("http://{}", silent.local_addr().unwrap())];
    let (mut lonely, lacking) = world.follower(&folder.path().join("lonely"), &others);
    let next = lonely.resume(Vec::new()).await.unwrap();
    assert!(next > CLOCK.first(Epoch(4)));
    assert_eq!(lacking.archive.inputs(NETWORK, Epoch(1)).await.unwrap(), None);

    let others = [format!("http://{}", world.http)];
    let (mut follower, files) = world.follower(&folder.path().join("third"), &others);
    follower.resume(Vec::new()).await.unwrap();
    for epoch in (0..=4).map(Epoch) {
        let inputs = files.archive.inputs(NETWORK, epoch).await.unwrap().unwrap();
        assert_eq!(
            world.client.inputs_hash(NETWORK, epoch).await.unwrap(),
            Some(inputs.digest()),
            "{epoch}"
        );
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_the_ledger_pruned_comes_from_others_or_stops_the_follower() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention { blobs: Some(30), ..Retention::default() };
    let world = World::start_with(folder.path(), retention).await;
    let (endpoint, connection) = agent(&world).await;
    let (_, envelope) = accepted(&world, &connection).await;
    let height = carried(&world, &envelope).await;
    world.client.wait_for(Height(height.0 + 40)).await;

    let (mut lonely, _) = world.follower(&folder.path().join("lonely"), &[]);
    let stopped = lonely.resume(Vec::new()).await.unwrap_err();
    assert!(matches!(stopped, FollowError::Pruned(at) if at == height), "{stopped}");

    let others = [format!("http://{}", world.http)];
    let (mut follower, files) = world.follower(&folder.path().join("third"), &others);
    follower.resume(Vec::new()).await.unwrap();
    let evidence = files.archive.block(height).await.unwrap();
    assert!(evidence.is_some());
    assert_eq!(evidence, world.archive().block(height).await.unwrap());
    endpoint.close().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_cannot_be_opened_is_tried_again_while_blocks_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let (mut follower, files) = world.follower(&folder.path().join("second"), &[]);
    let next = follower.resume(Vec::new()).await.unwrap();
    let epoch = CLOCK.epoch(next).next().next();
    // Something that is no inputs file stands in the way.
    let inputs = folder.path().join("second/archive/inputs").join(NETWORK.to_string());
    let damaged = inputs.join(format!("{:012}.cbor", epoch.0));
    std::fs::write(&damaged, b"junk").unwrap();
    let (recorder, mut recorded) = watch::channel(next);
    let task = tokio::spawn(async move { follower.run(next, &recorder).await });
    recorded.wait_for(|height| *height > CLOCK.first(epoch)).await.unwrap();
    std::fs::remove_file(&damaged).unwrap();
    until(&world.client, "the inputs", async || {
        assert!(!task.is_finished());
        files.archive.inputs(NETWORK, epoch).await.unwrap()
    })
    .await;
    task.abort();
    world.stop().await;
}

#[tokio::test]
async fn a_file_is_taken_by_its_hash_alone() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    finality(&world.client, Epoch(0)).await;
    let url = format!("http://{}", world.http);
    let others = validator::others::Others::new(&[url]).unwrap();
    let path = format!("/v1/inputs/{NETWORK}/0");
    let digest = world.client.inputs_hash(NETWORK, Epoch(0)).await.unwrap().unwrap();
    let bytes = others.file(&path, digest).await.unwrap();
    assert_eq!(Digest::of(&bytes), digest);
    assert_eq!(others.file(&path, Digest::default()).await, None);
    assert_eq!(others.file("/v1/inputs/1/9999", digest).await, None);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_whose_evidence_is_not_all_here_is_not_voted_on() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, open) = unsettled(folder.path()).await;
    let joined = folder.path().join("joined");
    copy(&alone.folder.join("archive"), &joined, &["evidence", "inputs", "statements"]);
    let joined = files(&alone.client, &joined, &[]);
    joined.archive.put_since(Height(CLOCK.first(open).0 + 1)).await.unwrap();
    let due = Height(CLOCK.grace_end(open).0 + 1);
    for _ in 0..2 {
        assert_eq!(settle(&joined, due).await, 0);
        assert_eq!(joined.archive.statement_bytes(NETWORK, open).await.unwrap(), None);
    }
    let round = ISettlements::roundOfCall { network: NETWORK.0, epoch: open.0 };
    let round = alone.client.call(address::SETTLEMENTS, round).await.unwrap();
    assert_eq!(round.opened, 0, "nobody committed");
    let refused = validator::verify_epoch(&joined.archive, NETWORK, open).await.unwrap_err();
    assert!(
        matches!(refused, VerifyEpochError::Incomplete(epoch, _) if epoch == open),
        "{refused}"
    );
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_committed_and_lost_everything_but_its_key_reveals() {
    let folder = tempfile::tempdir().unwrap();
    let (alone, open) = unsettled(folder.path()).await;
    let original = alone.folder.join("archive");
    let archives = ["before", "after"].map(|name| folder.path().join(name));
    for archive in &archives {
        copy(&original, archive, &["evidence", "inputs"]);
    }
    let due = Height(CLOCK.grace_end(open).0 + 1);
    let vote = async || {
        let (network, epoch, validator) = (NETWORK.0, open.0, founder().address());
        let call = ISettlements::voteOfCall { network, epoch, round: 1, validator };
        alone.client.call(address::SETTLEMENTS, call).await.unwrap()
    };
    // The commit is in a block when the first call returns, and reveals come after that block.
    assert_eq!(settle(&files(&alone.client, &archives[0], &[]), due).await, 0);
    let committed = vote().await;
    assert!(!committed.ballot.is_zero() && committed.choice.is_zero());
    std::fs::remove_dir_all(&archives[0]).unwrap();
    // One that knows nothing of the commit finds it on the ledger and reveals it.
    let after = files(&alone.client, &archives[1], &[]);
    until(&alone.client, "a decision", async || {
        if alone.client.final_epoch(NETWORK).await.unwrap() >= Some(open) {
            return Some(());
        }
        assert_eq!(settle(&after, due).await, 0);
        None
    })
    .await;
    let revealed = vote().await;
    assert_eq!(revealed.ballot, committed.ballot, "it was not made again");
    // On a machine that stood still for a whole round it was a later one that decided.
    let round = ISettlements::roundOfCall { network: NETWORK.0, epoch: open.0 };
    let next = alone.client.call(address::SETTLEMENTS, round).await.unwrap().number;
    assert!(next > 2 || !revealed.choice.is_zero());
    assert!(is_final(&after, open).await);
    alone.stop().await;
}
