use super::*;
use evidence::journal::Medium;
use protocol::{
    Account, KindId, NetworkId, Tokens,
    body::{Common, Report},
    envelope::{Envelope, Payload},
    fixtures,
    inputs::Device,
    manifest::{EvidenceRules, Manifest},
};

use std::{
    fs::File,
    io,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

const CHAIN: u64 = 0xDE91;
const CLOCK: EpochClock = EpochClock { length: 30, grace: 4 };
const TIME: u64 = 1_700_000_000_000;

fn device() -> DeviceSecret {
    DeviceSecret::from_seed([1; 32])
}

fn manifest() -> Manifest {
    let rules = fixtures::free(KindId(1));
    let evidence =
        EvidenceRules { quota_bytes: 1 << 20, skew_ms: 10_000, slack: 6, ..rules.evidence };
    Manifest { evidence, ..rules }
}

fn inputs(epoch: u64) -> Arc<Inputs> {
    let key = device().key();
    let device = Device {
        id: key.id(),
        key,
        owner: Account::repeat_byte(1),
        maker: Account::ZERO,
        kind: KindId(1),
        tier: 2,
        cell: 0,
        capacity: 1,
        offer: Digest::default(),
        stake: Tokens::ZERO,
        netted: Tokens::ZERO,
    };
    Arc::new(Inputs {
        version: 1,
        chain_id: CHAIN,
        network: NetworkId(1),
        epoch: Epoch(epoch),
        clock: CLOCK,
        mix: [0; 32],
        latest_root: [0; 32],
        rails_contract: Account::ZERO,
        treasury: Account::ZERO,
        manifest: manifest(),
        roster: vec![device],
        rails: Vec::new(),
        datasets: Vec::new(),
        by_device: Default::default(),
    })
}

fn envelope(epoch: u64, sequence: u64) -> Vec<u8> {
    let body = Common::Report(Report { used: 0, free: 0, at: Height(0) }).to_body();
    let (network, epoch) = (NetworkId(1), Epoch(epoch));
    let payload = Payload { network, epoch, sequence, time_ms: TIME, body };
    Envelope::sign(&device(), &payload).bytes().to_vec()
}

/// An intake at height 40, in epoch 1, with what its journal held.
fn intake(folder: &Path) -> (Intake, Vec<Vec<u8>>) {
    let secret = DeviceSecret::from_seed([9; 32]);
    let (intake, accepted) =
        Intake::open(folder, secret, (CHAIN, CLOCK), (crate::sizes(), Limits::default())).unwrap();
    intake.open_epoch(inputs(1));
    intake.block(&block(40, &[]));
    (intake, accepted)
}

fn block(height: u64, blobs: &[bytes::Bytes]) -> BlockEvidence {
    BlockEvidence::new(Height(height), TIME, blobs)
}

fn submit(intake: &Intake, envelopes: &[&Vec<u8>]) -> Vec<Answer> {
    let envelopes = envelopes.iter().map(|envelope| (*envelope).clone());
    intake.submit(&Submit::new(envelopes), TIME)
}

#[test]
fn what_was_accepted_survives_a_restart_until_a_block_carries_it() {
    let folder = tempfile::tempdir().unwrap();
    let (first, none) = intake(folder.path());
    assert!(none.is_empty());
    let (a, b) = (envelope(1, 1), envelope(1, 2));
    assert!(submit(&first, &[&a, &b]).iter().all(|answer| answer.accepted().is_ok()));
    // Handed over, but the process dies before a block holds the batch.
    assert_eq!(first.due(Height(40)).len(), 1);
    drop(first);

    let (second, accepted) = intake(folder.path());
    assert_eq!(accepted, [a.clone(), b.clone()]);
    assert_eq!(second.restore(&accepted), 2);
    let batch = second.due(Height(40));
    second.block(&block(41, &batch));
    assert_eq!(second.carried(Digest::of(&a)), Some(Height(41)));
    drop(second);

    // A third start hears of the block before it restores.
    let (third, accepted) = intake(folder.path());
    third.block(&block(41, &batch));
    assert_eq!(third.restore(&accepted), 0);
    assert!(third.due(Height(41)).is_empty());
    assert!(matches!(submit(&third, &[&b])[0], Answer::Replayed(_)));
}

#[test]
fn a_batch_is_handed_over_again_until_a_block_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let (intake, _) = intake(folder.path());
    submit(&intake, &[&envelope(1, 1)]);
    let batch = intake.due(Height(40));
    for height in 41..40 + AGAIN_AFTER {
        assert!(intake.due(Height(height)).is_empty());
    }
    assert_eq!(intake.due(Height(40 + AGAIN_AFTER)), batch);
    assert!(intake.due(Height(41 + AGAIN_AFTER)).is_empty());
    intake.block(&block(46, &batch));
    assert!(intake.due(Height(90)).is_empty());
}

#[test]
fn few_batches_are_under_way_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let secret = DeviceSecret::from_seed([9; 32]);
    // One report of 4 KiB fits a batch of the least size beside nothing else of its size.
    let limits = Limits { batch_bytes: 1, ..Limits::default() };
    let (intake, _) =
        Intake::open(folder.path(), secret, (CHAIN, CLOCK), (crate::sizes(), limits)).unwrap();
    intake.open_epoch(inputs(1));
    intake.block(&block(40, &[]));
    let many: Vec<_> = (0..5_000).map(|sequence| envelope(1, sequence)).collect();
    for group in many.chunks(200) {
        submit(&intake, &group.iter().collect::<Vec<_>>());
    }
    let due = intake.due(Height(40));
    assert_eq!(due.len(), UNDER_WAY_MAX);
    assert!(intake.due(Height(41)).is_empty());
    intake.block(&block(41, &due[..3]));
    assert_eq!(intake.due(Height(41)).len(), 3);
}

#[test]
fn nothing_is_accepted_that_is_not_durable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let (intake, _) = intake(&path);
    // No file can be made in a folder that is gone.
    std::fs::remove_dir_all(&path).unwrap();
    let a = envelope(1, 1);
    let full = Answer::Refused(Reason::QueueFull);
    assert_eq!(submit(&intake, &[&a, &a]), [full.clone(), full]);
    assert!(intake.due(Height(40)).is_empty());
    std::fs::create_dir_all(&path).unwrap();
    assert!(matches!(submit(&intake, &[&a])[0], Answer::Accepted(_)));
    assert_eq!(intake.due(Height(40)).len(), 1);
}

/// A disk that says when it is asked to sync, and does so when it is told.
#[derive(Debug)]
struct Slow {
    asked: mpsc::Sender<()>,
    told: Mutex<mpsc::Receiver<io::Result<()>>>,
}

impl Medium for Slow {
    fn sync(&self, _: &File) -> io::Result<()> {
        self.asked.send(()).unwrap();
        self.told.lock().unwrap().recv().unwrap()
    }
}

/// An intake over a slow disk, what tells of a sync asked for, and what ends it.
fn slow(folder: &Path) -> (Intake, mpsc::Receiver<()>, mpsc::Sender<io::Result<()>>) {
    let (asked, asks) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let medium = Box::new(Slow { asked, told: Mutex::new(told) });
    let (journal, _) = Journal::open_on(folder, medium).unwrap();
    let secret = DeviceSecret::from_seed([9; 32]);
    let ingest = Ingest::new(secret, CHAIN, crate::sizes(), Limits::default());
    let intake = Intake::new(journal, ingest, (CHAIN, CLOCK));
    intake.open_epoch(inputs(1));
    intake.block(&block(40, &[]));
    (intake, asks, tell)
}

/// Waits until so many envelopes of this size are taken in.
fn until_waiting(intake: &Intake, count: usize) {
    while intake.waiting_bytes() < count * envelope(1, 1).len() {
        std::thread::yield_now();
    }
}

#[test]
fn requests_that_wait_together_share_a_sync_and_are_answered_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let (intake, asks, tell) = slow(folder.path());
    let intake = &intake;
    std::thread::scope(|scope| {
        let first = scope.spawn(|| submit(intake, &[&envelope(1, 1)]));
        asks.recv().unwrap();
        // The same again is known, and yet not durable.
        let again = scope.spawn(|| submit(intake, &[&envelope(1, 1)]));
        let others: Vec<_> = (2..18)
            .map(|sequence| scope.spawn(move || submit(intake, &[&envelope(1, sequence)])))
            .collect();
        until_waiting(intake, 17);
        assert!(!first.is_finished() && !again.is_finished());
        assert!(others.iter().all(|thread| !thread.is_finished()));
        tell.send(Ok(())).unwrap();
        assert!(matches!(first.join().unwrap()[0], Answer::Accepted(_)));
        asks.recv().unwrap();
        assert!(others.iter().all(|thread| !thread.is_finished()));
        tell.send(Ok(())).unwrap();
        assert!(matches!(again.join().unwrap()[0], Answer::Replayed(_)));
        for thread in others {
            assert!(matches!(thread.join().unwrap()[0], Answer::Accepted(_)));
        }
    });
    assert!(asks.try_recv().is_err(), "two syncs for 18 requests");
    // What is durable is answered without the disk.
    assert!(matches!(submit(intake, &[&envelope(1, 5)])[0], Answer::Replayed(_)));
    assert_eq!(Journal::open(folder.path()).unwrap().1.len(), 17);
}

#[test]
fn a_group_that_is_not_durable_is_refused_as_a_whole_and_may_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let (intake, asks, tell) = slow(folder.path());
    let (intake, full) = (&intake, Answer::Refused(Reason::QueueFull));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| submit(intake, &[&envelope(1, 1)]));
        asks.recv().unwrap();
        let others: Vec<_> = (2..6)
            .map(|sequence| scope.spawn(move || submit(intake, &[&envelope(1, sequence)])))
            .collect();
        until_waiting(intake, 5);
        tell.send(Ok(())).unwrap();
        assert!(matches!(first.join().unwrap()[0], Answer::Accepted(_)));
        asks.recv().unwrap();
        tell.send(Err(io::Error::other("the disk is gone"))).unwrap();
        for thread in others {
            assert_eq!(thread.join().unwrap(), std::slice::from_ref(&full));
        }
    });
    assert_eq!(intake.waiting_bytes(), envelope(1, 1).len());
    tell.send(Ok(())).unwrap();
    assert!(matches!(submit(intake, &[&envelope(1, 2)])[0], Answer::Accepted(_)));
    assert_eq!(Journal::open(folder.path()).unwrap().1, [envelope(1, 1), envelope(1, 2)]);
}

#[test]
fn nothing_is_signed_that_is_not_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (intake, asks, tell) = slow(folder.path());
    let intake = &intake;
    std::thread::scope(|scope| {
        let first = scope.spawn(|| submit(intake, &[&envelope(1, 1)]));
        asks.recv().unwrap();
        let second = scope.spawn(|| submit(intake, &[&envelope(1, 2)]));
        until_waiting(intake, 2);
        // Neither what is at the disk nor what waits for it.
        assert!(intake.due(Height(40)).is_empty());
        tell.send(Ok(())).unwrap();
        first.join().unwrap();
        asks.recv().unwrap();
        let [batch] = &intake.due(Height(41))[..] else { panic!("one batch") };
        let batch = evidence::Batch::from_bytes(batch, CHAIN).unwrap();
        assert_eq!(batch.envelopes().collect::<Vec<_>>(), [&envelope(1, 1)]);
        // What was never signed may be taken back.
        tell.send(Err(io::Error::other("the disk is gone"))).unwrap();
        second.join().unwrap();
        assert!(intake.due(Height(42)).is_empty());
    });
}

#[test]
fn who_repeats_what_failed_is_refused_though_its_own_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (intake, asks, tell) = slow(folder.path());
    let (intake, full) = (&intake, Answer::Refused(Reason::QueueFull));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| submit(intake, &[&envelope(1, 1)]));
        asks.recv().unwrap();
        let both = scope.spawn(|| submit(intake, &[&envelope(1, 1), &envelope(1, 2)]));
        until_waiting(intake, 2);
        tell.send(Err(io::Error::other("the disk is gone"))).unwrap();
        assert_eq!(first.join().unwrap(), std::slice::from_ref(&full));
        asks.recv().unwrap();
        tell.send(Ok(())).unwrap();
        let answers = both.join().unwrap();
        assert_eq!(answers[0], full);
        assert!(matches!(answers[1], Answer::Accepted(_)));
    });
    assert_eq!(Journal::open(folder.path()).unwrap().1, [envelope(1, 2)]);
}

/// A disk that panics once, after half of its work.
#[derive(Debug)]
struct Panics(AtomicBool);

impl Medium for Panics {
    fn sync(&self, _: &File) -> io::Result<()> {
        assert!(self.0.swap(true, Ordering::Relaxed), "the first sync");
        Ok(())
    }
}

#[test]
fn a_panic_at_the_disk_refuses_one_group_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let medium = Box::new(Panics(AtomicBool::new(false)));
    let (journal, _) = Journal::open_on(folder.path(), medium).unwrap();
    let secret = DeviceSecret::from_seed([9; 32]);
    let ingest = Ingest::new(secret, CHAIN, crate::sizes(), Limits::default());
    let intake = Intake::new(journal, ingest, (CHAIN, CLOCK));
    intake.open_epoch(inputs(1));
    intake.block(&block(40, &[]));
    let refused = submit(&intake, &[&envelope(1, 1)]);
    assert_eq!(refused, [Answer::Refused(Reason::QueueFull)]);
    assert_eq!(intake.waiting_bytes(), 0);
    assert!(matches!(submit(&intake, &[&envelope(1, 2)])[0], Answer::Accepted(_)));
    // What was written before the panic was never answered.
    assert_eq!(Journal::open(folder.path()).unwrap().1, [envelope(1, 2)]);
}

#[test]
fn what_no_block_can_concern_any_more_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (intake, _) = intake(folder.path());
    let a = envelope(1, 1);
    submit(&intake, &[&a]);
    let batch = intake.due(Height(40));
    intake.block(&block(50, &batch));
    // Epoch 1 ends with height 59 and its grace with 63.
    for (height, kept) in [(63, 1), (64, 0)] {
        intake.block(&block(height, &[]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), kept, "{height}");
    }
    assert_eq!(intake.carried(Digest::of(&a)), Some(Height(50)));
    intake.block(&block(90, &[]));
    assert_eq!(intake.carried(Digest::of(&a)), None);
}
