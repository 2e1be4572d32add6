use super::{counted::Counted, *};
use crate::{Batch, fixture::*};
use object_store::memory::InMemory;
use proptest::prelude::*;
use protocol::statement::Statement;

fn memory() -> Archive {
    Archive::new(Arc::new(InMemory::new()))
}

fn evidence(height: u64, blobs: &[&[u8]]) -> BlockEvidence {
    BlockEvidence::new(Height(height), TIME + height, blobs)
}

#[tokio::test]
async fn a_folder_is_read_back_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, block) = (inputs(), evidence(301, &[b"one", b"two"]));
    let statement = Statement { epoch: EPOCH, ..Statement::genesis(CHAIN, NETWORK) };
    {
        let archive = Archive::open(&folder.path().join("deep/archive")).unwrap();
        archive.record_block(&block).await.unwrap();
        archive.record_block(&evidence(302, &[])).await.unwrap();
        archive.put_inputs(&inputs).await.unwrap();
        archive.put_statement(&statement).await.unwrap();
        archive.put_segment(NETWORK, EPOCH, vec![1, 2]).await.unwrap();
        archive.put_cursor(Height(301)).await.unwrap();
        archive.put_cursor(Height(302)).await.unwrap();
    }
    let archive = Archive::open(&folder.path().join("deep/archive")).unwrap();
    assert_eq!(archive.block(Height(301)).await.unwrap(), Some(block.clone()));
    assert_eq!(archive.block(Height(302)).await.unwrap(), None);
    let blocks: Vec<_> = archive.blocks(Height(290), Height(310)).try_collect().await.unwrap();
    assert_eq!(blocks, [block]);
    assert_eq!(archive.inputs(NETWORK, EPOCH).await.unwrap(), Some(inputs.clone()));
    let bytes = archive.inputs_bytes(NETWORK, EPOCH).await.unwrap().unwrap();
    assert_eq!(bytes, inputs.to_bytes());
    assert_eq!(archive.statement(NETWORK, EPOCH).await.unwrap(), Some(statement));
    assert_eq!(archive.statement(NETWORK, EPOCH.next()).await.unwrap(), None);
    assert_eq!(archive.segment(NETWORK, EPOCH).await.unwrap().unwrap(), vec![1, 2]);
    assert_eq!(archive.cursor().await.unwrap(), Some(Height(302)));
    assert_eq!(archive.since().await.unwrap(), Height(0));
    archive.put_since(Height(290)).await.unwrap();
    assert_eq!(archive.since().await.unwrap(), Height(290));
    assert!(folder.path().join("deep/archive/evidence/000000000301.cbor").is_file());
}

#[tokio::test]
async fn history_cannot_change() {
    let archive = memory();
    let block = evidence(301, &[b"one"]);
    archive.record_block(&block).await.unwrap();
    archive.record_block(&block).await.unwrap();
    let other = archive.record_block(&evidence(301, &[b"two"])).await;
    assert!(
        matches!(other, Err(ArchiveError::Differs(path)) if path == "evidence/000000000301.cbor")
    );
    assert_eq!(archive.block(Height(301)).await.unwrap(), Some(block));
    let mut inputs = inputs();
    archive.put_inputs(&inputs).await.unwrap();
    inputs.mix = [2; 32];
    assert!(matches!(archive.put_inputs(&inputs).await, Err(ArchiveError::Differs(_))));
}

#[tokio::test]
async fn a_statement_can_be_corrected() {
    let archive = memory();
    let mut statement = Statement { epoch: EPOCH, ..Statement::genesis(CHAIN, NETWORK) };
    archive.put_statement(&statement).await.unwrap();
    statement.version = 2;
    archive.put_statement(&statement).await.unwrap();
    assert_eq!(archive.statement(NETWORK, EPOCH).await.unwrap(), Some(statement));
}

#[tokio::test]
async fn damage_is_named() {
    let store = Arc::new(InMemory::new());
    let archive = Archive::new(store.clone());
    let put = |path: &str, bytes: Vec<u8>| {
        let (store, path) = (store.clone(), Path::from(path));
        async move { store.put(&path, bytes.into()).await.unwrap() }
    };
    let mut cut = evidence(5, &[b"one"]).to_bytes();
    cut.pop();
    put("evidence/000000000005.cbor", cut).await;
    put("evidence/000000000006.cbor", evidence(7, &[b"one"]).to_bytes()).await;
    put("evidence/000000000008.cbor", vec![0; 3 * 1024 * 1024]).await;
    for height in [5, 6, 8] {
        let error = archive.block(Height(height)).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged(..)), "{error}");
    }
    assert!(archive.blocks(Height(0), Height(10)).try_collect::<Vec<_>>().await.is_err());
    put("inputs/1/000000000010.cbor", vec![0x80]).await;
    assert!(matches!(archive.inputs(NETWORK, EPOCH).await, Err(ArchiveError::Damaged(..))));
    put("inputs/1/000000000011.cbor", inputs().to_bytes()).await;
    assert!(matches!(archive.inputs(NETWORK, EPOCH.next()).await, Err(ArchiveError::Damaged(..))));
    put("cursor.cbor", vec![0x18, 0x01]).await;
    assert!(matches!(archive.cursor().await, Err(ArchiveError::Damaged(..))));
}

#[tokio::test]
async fn what_is_carried_is_what_the_recorded_blocks_hold() {
    let archive = memory();
    for (height, envelopes) in [
        (299, vec![envelope(1, 9, 0)]),
        (300, vec![envelope(1, 1, 0), envelope(2, 1, 0)]),
        (333, vec![envelope(1, 2, 0)]),
        (334, vec![envelope(1, 3, 0)]),
    ] {
        let block = BlockEvidence::new(Height(height), TIME, [blob(envelopes)]);
        archive.record_block(&block).await.unwrap();
    }
    let replayed = archive.carried(&inputs(), &sizes()).await.unwrap();
    let mut found: Vec<_> = replayed.carried.iter().map(|carried| carried.digest).collect();
    let mut expected: Vec<_> = [envelope(1, 1, 0), envelope(2, 1, 0), envelope(1, 2, 0)]
        .iter()
        .map(|bytes| protocol::Digest::of(bytes))
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// A batch of about 64 KiB that anybody can sign, and in which nothing counts.
fn filler(height: u64) -> Vec<u8> {
    let author = secret(150);
    let junk = (0u8..16).map(|n| [vec![n; 4_000], height.to_be_bytes().to_vec()].concat());
    Batch::sign(&author, CHAIN, NETWORK, junk.collect()).to_bytes()
}

#[tokio::test]
async fn full_blocks_fill_no_memory() {
    let store = Counted::default();
    let archive = Archive::new(Arc::new(store.clone()));
    let size = filler(300).len();
    for height in 300..334 {
        let mine = blob(vec![envelope(1, height, 0)]);
        let block = BlockEvidence::new(Height(height), TIME, [filler(height), mine]);
        archive.record_block(&block).await.unwrap();
    }
    let replayed = archive.carried(&inputs(), &sizes()).await.unwrap();
    assert_eq!(replayed.malformed, 34 * 16);
    assert!(replayed.carried.len() > 5);
    // So many blocks are read ahead, one is replayed, and there is some room around each.
    let budget = (READS + 2) * (size + 1_000);
    assert!(store.most() <= budget, "{} bytes at once", store.most());
    assert!(34 * size > 3 * budget, "the epoch is larger than that");
}

#[tokio::test]
async fn blobs_that_are_no_batch_are_not_kept_and_change_nothing() {
    let (whole, kept) = (memory(), memory());
    for height in 300..334 {
        let other = Batch::sign(&validator(), 1, NETWORK, vec![envelope(1, 2, 0)]).to_bytes();
        let mine =
            [blob(vec![envelope(1, height, 0)]), blob(vec![forged(&envelope(2, height, 0))])];
        let junk = [vec![0xff; 900], other, forged(&mine[0])];
        let blobs: Vec<Bytes> = junk.into_iter().chain(mine.clone()).map(Bytes::from).collect();
        whole.record_block(&BlockEvidence::new(Height(height), TIME, &blobs)).await.unwrap();
        let (block, _) = BlockEvidence::of_chain(Height(height), TIME, &blobs, CHAIN);
        assert!(block.blobs().eq(mine.iter().map(Vec::as_slice)));
        kept.record_block(&block).await.unwrap();
    }
    let (junk, _) =
        BlockEvidence::of_chain(Height(334), TIME, &[Bytes::from_static(b"junk")], CHAIN);
    kept.record_block(&junk).await.unwrap();
    assert_eq!(kept.block(Height(334)).await.unwrap(), None);
    let replayed = whole.carried(&inputs(), &sizes()).await.unwrap();
    assert!(!replayed.carried.is_empty() && !replayed.faults.is_empty());
    assert_eq!(replayed, kept.carried(&inputs(), &sizes()).await.unwrap());
    assert!(kept.kept().1 < whole.kept().1);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(evidence) = BlockEvidence::from_bytes(&bytes) {
            prop_assert_eq!(evidence.to_bytes(), bytes);
        }
    }

    #[test]
    fn blobs_are_kept_byte_for_byte(
        height: u64,
        time_ms: u64,
        blobs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..8),
    ) {
        let evidence = BlockEvidence::new(Height(height), time_ms, &blobs);
        let read = BlockEvidence::from_bytes(&evidence.to_bytes()).unwrap();
        prop_assert_eq!(read.blobs().map(<[u8]>::to_vec).collect::<Vec<_>>(), blobs);
    }
}
