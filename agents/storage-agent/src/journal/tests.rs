//! What is appended is read back, up to the first damage, and only of the generation that counts.

use super::*;
use redb::backends::InMemoryBackend;
use std::sync::Arc;

/// A file that several journals open one after another.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<InMemoryBackend>);

impl StorageBackend for Shared {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn record(number: u8, length: usize) -> Record {
    let bytes = vec![number; length];
    Record { rail: RailId(u64::from(number)), hash: Digest::of(&bytes), bytes }
}

fn open(file: &Shared, generation: u64) -> (Journal, Vec<Record>) {
    Journal::open(Box::new(file.clone()), generation).unwrap()
}

#[test]
fn entries_are_read_back_up_to_the_first_damage() {
    let file = Shared::default();
    let (mut journal, none) = open(&file, 7);
    assert!(none.is_empty() && journal.is_clean());
    let entries = [vec![record(1, 10)], vec![record(2, 5_000), record(3, 1)], vec![record(4, 60)]];
    for entry in &entries {
        journal.append(entry).unwrap();
    }
    assert_eq!(open(&file, 7).1, entries.concat());
    assert!(!open(&file, 7).0.is_clean());
    assert!(open(&file, 8).1.is_empty());
    // One bit of the second entry, which begins on the second block.
    let mut byte = [0];
    file.read(4_096 + 3_000, &mut byte).unwrap();
    file.write(4_096 + 3_000, &[byte[0] ^ 1]).unwrap();
    assert_eq!(open(&file, 7).1, entries[0]);
}

#[test]
fn a_new_generation_hides_what_is_left_of_the_old() {
    let file = Shared::default();
    let (mut journal, _) = open(&file, 7);
    for number in 0..5 {
        journal.append(&[record(number, 100)]).unwrap();
    }
    journal.restart(9);
    assert!(journal.is_clean() && open(&file, 9).1.is_empty());
    journal.append(&[record(9, 100)]).unwrap();
    assert_eq!(open(&file, 9).1, [record(9, 100)]);
}

#[test]
fn it_takes_entries_until_it_is_full_and_never_grows_beyond() {
    let file = Shared::default();
    let (mut journal, _) = open(&file, 1);
    let entry: Vec<Record> = (0..32).map(|number| record(number, 64 << 10)).collect();
    let mut entries = 0;
    while journal.takes() {
        journal.append(&entry).unwrap();
        entries += 1;
    }
    assert!(entries >= 2 && file.len().unwrap() <= LENGTH_MAX);
    assert_eq!(open(&file, 1).1.len(), entries * entry.len());
}
