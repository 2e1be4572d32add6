use super::*;
use crate::{BlockEvidence, archive::counted::Counted, fixture::*};
use std::sync::Arc;

const CLOCK: EpochClock = EpochClock { length: 30, grace: 4 };

/// An archive with evidence in every second block of the first five epochs, and a segment of each.
async fn archive() -> Archive {
    let archive = Archive::new(Arc::new(Counted::default()));
    for height in (0..150).step_by(2) {
        let block = BlockEvidence::new(Height(height), TIME, [[7; 100]]);
        archive.record_block(&block).await.unwrap();
    }
    for epoch in (0..5).map(Epoch) {
        archive.put_segment(NETWORK, epoch, vec![1]).await.unwrap();
    }
    archive
}

/// The first block that is left, and the first segment.
async fn left(archive: &Archive) -> (Option<u64>, Option<u64>) {
    let mut found = (None, None);
    for height in (0..150).rev() {
        if archive.block(Height(height)).await.unwrap().is_some() {
            found.0 = Some(height);
        }
    }
    for epoch in (0..5).rev() {
        if archive.segment(NETWORK, Epoch(epoch)).await.unwrap().is_some() {
            found.1 = Some(epoch);
        }
    }
    found
}

#[tokio::test]
async fn what_is_old_goes_step_by_step_and_the_rest_stays() {
    let archive = archive().await;
    archive.put_inputs(&inputs_of(Epoch(0))).await.unwrap();
    let (blocks, bytes) = archive.kept();
    assert_eq!(blocks, 75);
    let prune = |to, blocks| archive.prune(Height(to), blocks, (&CLOCK, NETWORK));
    assert!(!prune(60, 40).await.unwrap());
    assert_eq!(
        (archive.since().await.unwrap(), left(&archive).await),
        (Height(60), (Some(40), Some(2)))
    );
    assert!(prune(60, 40).await.unwrap());
    assert_eq!(left(&archive).await, (Some(60), Some(2)));
    assert_eq!(archive.kept().0, 45);
    assert!((bytes / 2..bytes * 2 / 3).contains(&archive.kept().1));
    assert!(archive.inputs(NETWORK, Epoch(0)).await.unwrap().is_some());
    // Less than that changes nothing, and again neither.
    for to in [30, 60] {
        assert!(prune(to, 40).await.unwrap());
        assert_eq!(
            (archive.since().await.unwrap(), left(&archive).await),
            (Height(60), (Some(60), Some(2)))
        );
    }
    // Another process counts the same.
    let again = Archive::new(archive.store.clone());
    again.count(Height(150)).await.unwrap();
    assert_eq!(again.kept(), archive.kept());
    let fewer = Archive::new(archive.store.clone());
    fewer.count(Height(100)).await.unwrap();
    assert_eq!(fewer.kept().0, 20);
}

/// Whatever moment a crash comes at, nothing that is gone is counted on, and the next call ends the work.
#[tokio::test]
async fn a_crash_between_forgetting_and_deleting_leaves_nothing_false() {
    // In how many places it went on before it was cut off.
    for steps in 0.. {
        let archive = archive().await;
        let done = {
            let work = archive.prune(Height(60), 1_000, (&CLOCK, NETWORK));
            let mut work = Box::pin(work);
            let mut done = false;
            for _ in 0..=steps {
                if futures::poll!(&mut work).is_ready() {
                    done = true;
                    break;
                }
            }
            done
        };
        let (since, first) = (archive.since().await.unwrap(), left(&archive).await.0.unwrap());
        assert!(first <= since.0, "block {first} is the first though {since} is said to be");
        assert!(since == Height(60) || first == 0, "{since} {first}");
        assert!(archive.prune(Height(60), 1_000, (&CLOCK, NETWORK)).await.unwrap());
        assert_eq!(left(&archive).await, (Some(60), Some(2)));
        if done {
            assert!(steps > 60, "it was cut off in {steps} places");
            break;
        }
    }
}
