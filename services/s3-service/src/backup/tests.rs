//! Notes: sealed, opened, and of which version.

use super::{
    note::{Note, NoteError, Piece, Sealer, entries, frames},
    *,
};
use crate::{
    codec::{Secret, SegmentId},
    index::{BlobId, Change},
    keys::System,
};
use protocol::Digest;

fn note() -> Note {
    let change = |key: u8, row| Change { table: 3, key: vec![key], row };
    let entry = Entry { sequence: 9, changes: vec![change(1, Some(vec![])), change(2, None)] };
    let piece = Piece {
        segment: SegmentId([7; 16]),
        plain: 100,
        needed: 4,
        shards: (0..6).map(|at| Digest::of(&[at])).collect(),
    };
    Note { sequence: 9, logged: 8, pieces: vec![piece], tail: vec![entry] }
}

#[test]
fn a_note_opens_with_its_key_alone() {
    let sealer = Sealer::new(&Secret::new([1; 32]));
    let sealed = sealer.seal(&note(), &System).unwrap();
    assert_eq!(sealer.open(&sealed), Ok(note()));
    assert_ne!(sealer.seal(&note(), &System).unwrap(), sealed, "no nonce is used twice");
    assert_eq!(Sealer::new(&Secret::new([2; 32])).open(&sealed), Err(NoteError::Keys));
    for at in [1, 13, sealed.len() - 1] {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert_eq!(sealer.open(&altered), Err(NoteError::Keys));
    }
    for bytes in [&[][..], &[1], &[2; 40], &sealed[..12]] {
        assert_eq!(sealer.open(bytes), Err(NoteError::Format));
    }
    let rows = vec![Change { table: 0, key: vec![0; 600 << 10], row: None }];
    let large = Note { tail: vec![Entry { sequence: 1, changes: rows }], ..note() };
    assert!(matches!(sealer.seal(&large, &System), Err(NoteError::Large(_))));
}

#[test]
fn entries_come_back_from_their_bytes_and_cut_ones_do_not() {
    let all: Vec<_> = (1..5).map(|sequence| Entry { sequence, ..note().tail[0].clone() }).collect();
    let bytes = frames(&all);
    assert_eq!(entries(&bytes), Ok(all));
    assert_eq!(entries(&[]), Ok(Vec::new()));
    for cut in [1, 3, 5, bytes.len() - 1] {
        assert_eq!(entries(&bytes[..cut]), Err(NoteError::Format));
    }
}

#[test]
fn all_is_dumped_when_logs_cost_more() {
    let blobs =
        |count: u64, bytes| (1..=count).map(|at| BlobRef { blob: BlobId(at), bytes }).collect();
    let kept = |logs, dump| Kept { dump, logs, logged: 1, complete: true };
    assert!(is_due(&Kept::default()), "nothing is there to begin with");
    assert!(!is_due(&kept(blobs(0, 0), blobs(0, 0))), "a young index is whole in its note");
    assert!(!is_due(&kept(blobs(23, 1_000), blobs(1, 1 << 20))));
    assert!(is_due(&kept(blobs(24, 1_000), blobs(1, 1 << 20))));
    assert!(is_due(&kept(blobs(2, 5 << 20), blobs(1, 1 << 20))));
    assert!(!is_due(&kept(blobs(2, 5 << 20), blobs(1, 20 << 20))));
}
