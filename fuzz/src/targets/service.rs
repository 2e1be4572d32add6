//! What the S3 service keeps: the rows of its index, its backup with the agents, its keyring.

use super::SECRET;
use crate::Target;
use minicbor::{Decode, Encode};
use protocol::{DeviceId, Digest, Micros, RailId, cbor, inputs::Dataset};
use s3_service::{
    Keyring,
    backup::{Note, Piece},
    codec::SegmentId,
    fuzzing,
    index::{
        Backup, Blob, BlobId, BlobRef, Bucket, Change, Checksum, Committed, Entry, Extent, Headers,
        Holding, Home, Index, IndexError, Object, Part, Query, Rail, Segment, ShardRow, Stats,
        Upload,
    },
};
use std::{collections::BTreeMap, fmt::Debug, sync::LazyLock};

/// The first byte says of which table.
pub(super) const ROWS: Target = Target {
    name: "s3-row",
    about: "a row of the S3 service's index",
    run: |bytes| {
        let Some((table, row)) = bytes.split_first() else { return false };
        match table % 12 {
            0 => is::<Bucket>(row),
            1 => is::<Object>(row),
            2 => is::<Upload>(row),
            3 => is::<Part>(row),
            4 => is::<Blob>(row),
            5 => is::<Segment>(row),
            6 => is::<Holding>(row),
            7 => is::<Rail>(row),
            8 => is::<Stats>(row),
            9 => is::<Backup>(row),
            10 => is::<Entry>(row),
            _ => is::<BlobId>(row),
        }
    },
    seeds: || rows().into_iter().map(|(table, row)| [&[table][..], &row].concat()).collect(),
};

/// Whether a row decodes; then it encodes back to one that decodes to the same.
fn is<T: for<'b> Decode<'b, ()> + Encode<()> + PartialEq + Debug>(row: &[u8]) -> bool {
    let Ok(value) = minicbor::decode::<T>(row) else { return false };
    let again = cbor::to_vec(&value);
    assert_eq!(minicbor::decode::<T>(&again).as_ref().ok(), Some(&value));
    true
}

fn checksum() -> Checksum {
    Checksum { algorithm: 4, value: vec![7; 32], parts: 0 }
}

fn object() -> Object {
    Object {
        bytes: 1_000,
        etag: "5d41402abc4b2a76b9719d911017c592".into(),
        modified_ms: 1_795_000_000_000,
        headers: Headers {
            content_type: Some("text/plain".into()),
            metadata: BTreeMap::from([("a".into(), "b".into())]),
            ..Headers::default()
        },
        checksum: Some(checksum()),
        blobs: vec![BlobRef { blob: BlobId(1), bytes: 1_000 }],
        parts: 0,
    }
}

fn segment() -> Segment {
    let home = |n: u8| Home { rail: RailId(u64::from(n)), device: DeviceId([n; 32]) };
    let shard = |n: u8| ShardRow { hash: Digest([n; 32]), home: Some(home(n)) };
    Segment {
        plain: 1_000,
        k: 2,
        live: 1_000,
        created_ms: 1_795_000_000_000,
        packed: false,
        shards: (1..=4).map(shard).collect(),
    }
}

/// A row of each kind, with its number in [`ROWS`].
fn rows() -> Vec<(u8, Vec<u8>)> {
    let blobs = vec![BlobRef { blob: BlobId(1), bytes: 1_000 }];
    let extent = Extent { segment: SegmentId([5; 16]), offset: 0, bytes: 1_000 };
    let upload =
        Upload { initiated_ms: 7, headers: Headers::default(), algorithm: Some(1), whole: true };
    let part = Part {
        bytes: 1_000,
        md5: [3; 16],
        modified_ms: 9,
        checksum: Some(checksum()),
        blobs: blobs.clone(),
    };
    let dataset = Dataset { rail: RailId(1), version: 2, root: Digest::default(), bytes: 500 };
    let rail = Rail {
        committed: Some(Committed { dataset, signature: [1; 64] }),
        proposal: Some(3),
        amount_bound: Some(Micros(9)),
        floor: Some(1),
        ..Rail::default()
    };
    let backup = Backup { dump: blobs.clone(), logs: blobs, logged: 4, complete: true };
    vec![
        (0, cbor::to_vec(&Bucket { created_ms: 5 })),
        (1, cbor::to_vec(&object())),
        (2, cbor::to_vec(&upload)),
        (3, cbor::to_vec(&part)),
        (4, cbor::to_vec(&Blob { refs: 1, extents: vec![extent] })),
        (5, cbor::to_vec(&segment())),
        (6, cbor::to_vec(&Holding { bytes: 500, inside: true, wanted: true, proposed: false })),
        (7, cbor::to_vec(&rail)),
        (8, cbor::to_vec(&Stats { objects: 1, ..Stats::default() })),
        (9, cbor::to_vec(&backup)),
        (10, cbor::to_vec(&entries()[0])),
        (11, cbor::to_vec(&BlobId(1))),
    ]
}

/// What a small index is made of: a bucket with an object in one segment.
static STORED: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let index = Index::in_memory().expect("an index in memory");
    let make = |entries: &mut Vec<Entry>| -> Result<(), IndexError> {
        index.write(|tables| tables.create_bucket("bucket", 1))?;
        index.write(|tables| {
            tables.add_segment(SegmentId([5; 16]), &Segment { live: 0, ..segment() })?;
            let extent = Extent { segment: SegmentId([5; 16]), offset: 0, bytes: 1_000 };
            let blob = tables.add_blob(vec![extent])?;
            let object = Object { blobs: vec![blob], ..object() };
            let (bucket, key) = ("bucket".to_owned(), "a/key".to_owned());
            let expect = s3_service::index::Expect::default();
            let put = s3_service::index::ObjectPut { bucket, key, expect, object };
            tables.put_object(&put, 2)
        })?;
        index.read(|reader| {
            reader.check()?;
            *entries = reader.journal(0, usize::MAX)?;
            let (dump, _) = reader.dump(None, usize::MAX)?;
            entries.push(dump);
            Ok(())
        })
    };
    let mut entries = Vec::new();
    make(&mut entries).expect("a small index");
    entries
});

fn entries() -> Vec<Entry> {
    STORED.clone()
}

pub(super) const INDEX: Target = Target {
    name: "s3-index",
    about: "rows of anything in the S3 service's index, which is checked, listed and gone on with",
    run: |bytes| {
        let Ok(entry) = cbor::from_slice::<Entry>(bytes) else { return false };
        let index = Index::in_memory().expect("an index in memory");
        let restored = index.write(|tables| {
            tables.clear()?;
            tables.restore(&entry.changes)
        });
        if restored.is_err() || index.write(|tables| tables.restored(entry.sequence)).is_err() {
            return false;
        }
        let good = index.read(|reader| reader.check()).is_ok();
        // Whatever it holds, nothing that is asked of it stops the service.
        let _ = index.read(|reader| {
            let query = Query { delimiter: Some("/"), limit: 10, ..Query::default() };
            for (bucket, _) in reader.buckets()? {
                let listing = reader.list(&bucket, &query)?;
                for (_, object) in &listing.objects {
                    let _ = reader.extents(&object.blobs);
                }
            }
            Ok(())
        });
        let _ = index.read(|reader| reader.loose(10));
        let _ = index.read(|reader| reader.garbage(10));
        let _ = index.read(|reader| reader.journal(0, 1_000));
        let _ = index.write(|tables| {
            let expect = s3_service::index::Expect::default();
            tables.delete_object("bucket", "a/key", &expect, 3)
        });
        let _ = index.write(|tables| tables.create_bucket("another", 4));
        good
    },
    seeds: || {
        let changes: Vec<Change> = entries().into_iter().flat_map(|entry| entry.changes).collect();
        vec![cbor::to_vec(&Entry { sequence: 2, changes })]
    },
};

/// The first byte is odd for what agents keep, and even for what is in it.
pub(super) const NOTE: Target = Target {
    name: "s3-note",
    about: "the note from which a lost index is made anew, sealed and not",
    run: |bytes| {
        let Some((sealed, bytes)) = bytes.split_first() else { return false };
        if sealed % 2 == 1 {
            return fuzzing::opened(SECRET, bytes).is_some();
        }
        let Ok(note) = cbor::from_slice::<Note>(bytes) else { return false };
        assert_eq!(cbor::to_vec(&note), bytes);
        let sealed = fuzzing::sealed(SECRET, bytes).expect("a small note");
        assert_eq!(fuzzing::opened(SECRET, &sealed).as_deref(), Some(bytes));
        true
    },
    seeds: || {
        let piece = Piece {
            segment: SegmentId([5; 16]),
            plain: 1_000,
            needed: 2,
            shards: vec![Digest([1; 32]), Digest([2; 32])],
        };
        let note = Note { sequence: 2, logged: 1, pieces: vec![piece], tail: entries() };
        let note = cbor::to_vec(&note);
        let sealed = fuzzing::sealed(SECRET, &note).expect("a small note");
        vec![[&[0], &note[..]].concat(), [&[1], &sealed[..]].concat()]
    },
};

pub(super) const ENTRIES: Target = Target {
    name: "s3-entries",
    about: "a log or a dump of the S3 service's index",
    run: |bytes| {
        let Some(again) = fuzzing::entries(bytes) else { return false };
        assert_eq!(fuzzing::entries(&again).as_ref(), Some(&again));
        true
    },
    seeds: || {
        let frame = |entry: &Entry| {
            let entry = cbor::to_vec(entry);
            let length = u32::try_from(entry.len()).expect("a short entry").to_be_bytes();
            [&length[..], &entry].concat()
        };
        vec![entries().iter().flat_map(frame).collect()]
    },
};

const PASSPHRASE: &str = "correct horse";

/// The first byte is odd for the file, and even for the secrets in it.
pub(super) const KEYRING: Target = Target {
    name: "s3-keyring",
    about: "the keyring of an S3 service, sealed and not",
    run: |bytes| {
        let Some((sealed, bytes)) = bytes.split_first() else { return false };
        if sealed % 2 == 0 {
            let Some(again) = fuzzing::secrets(bytes) else { return false };
            assert_eq!(fuzzing::secrets(&again).as_ref(), Some(&again));
            return true;
        }
        // What a damaged count makes it do is only work, and bounded.
        let file: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        let is_quick = file["iterations"].as_u64().is_some_and(|count| count < 100);
        is_quick && Keyring::unseal(bytes, PASSPHRASE).is_ok()
    },
    seeds: || {
        let secrets = secrets();
        let file = fuzzing::keyring(&secrets, PASSPHRASE).expect("secrets are sealed");
        vec![[&[0], &secrets[..]].concat(), [&[1], &file[..]].concat()]
    },
};

/// The secrets of a keyring.
fn secrets() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut bytes);
    let written = encoder.array(5).and_then(|to| {
        to.bytes(&[1; 32])?.bytes(&[2; 32])?.str("WL0123")?.str("secret")?.bytes(&[3; 32])
    });
    assert!(written.is_ok(), "memory takes what is written");
    bytes
}
