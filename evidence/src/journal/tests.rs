use super::*;
use proptest::prelude::*;

fn reopened(folder: &Path) -> Vec<Vec<u8>> {
    Journal::open(folder).unwrap().1
}

#[test]
fn what_is_appended_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, none) = Journal::open(folder.path()).unwrap();
    assert!(none.is_empty());
    journal.append([(Epoch(2), &b"b"[..]), (Epoch(1), b"a"), (Epoch(2), b"c")]).unwrap();
    drop(journal);
    let (mut journal, there) = Journal::open(folder.path()).unwrap();
    assert_eq!(there, [b"a", b"b", b"c"]);
    journal.append([(Epoch(1), &b"d"[..])]).unwrap();
    assert_eq!(reopened(folder.path()), [b"a", b"d", b"b", b"c"]);
    journal.forget_before(Epoch(2)).unwrap();
    assert_eq!(reopened(folder.path()), [b"b", b"c"]);
    journal.forget_before(Epoch(9)).unwrap();
    journal.append([(Epoch(9), &b"e"[..])]).unwrap();
    assert_eq!(reopened(folder.path()), [b"e"]);
}

#[test]
fn foreign_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), b"mine").unwrap();
    assert!(reopened(folder.path()).is_empty());
    assert_eq!(fs::read(folder.path().join("notes.txt")).unwrap(), b"mine");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a crash leaves of the last write, all that was synced before is read, nothing false
    /// is, and the journal goes on from there.
    #[test]
    fn a_torn_end_is_cut_off(
        first in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..5),
        last in proptest::collection::vec(any::<u8>(), 1..50),
        cut in 0usize..60,
        garbage in proptest::collection::vec(any::<u8>(), 0..30),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.append(first.iter().map(|envelope| (Epoch(1), envelope.as_slice()))).unwrap();
        let path = journal.path(Epoch(1));
        let synced = fs::read(&path).unwrap().len();
        journal.append([(Epoch(1), last.as_slice())]).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes.truncate(synced + cut.min(HEAD + last.len() - 1));
        bytes.extend_from_slice(&garbage);
        // Garbage that happens to be the missing end is no garbage.
        prop_assume!(!bytes.starts_with(&whole));
        fs::write(&path, &bytes).unwrap();
        let (mut journal, there) = Journal::open(folder.path()).unwrap();
        prop_assert_eq!(&there, &first);
        journal.append([(Epoch(1), &b"after"[..])]).unwrap();
        drop(journal);
        let expected: Vec<_> = first.into_iter().chain([b"after".to_vec()]).collect();
        prop_assert_eq!(reopened(folder.path()), expected);
    }
}
