//! The store under a disk and an index that fail at any step, against a simple model.

use super::*;
use crate::versions::{IGNORED_EPOCHS, RETENTION_EPOCHS, WAITING_EPOCHS};
use proptest::prelude::*;
use protocol::{
    Account, DeviceId, Epoch, Height, KindId, Micros, Tokens, cbor::Item, inputs::Rail, kind::Duty,
    manifest::KindTerms,
};
use redb::StorageBackend;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicI64},
};
use storage_kind::{
    dataset::{Dataset, Shard},
    duty::Task,
    wire::Commit,
};

/// Counts steps down; at zero the machine is dead and everything fails.
#[derive(Debug)]
struct Fuse(AtomicI64, AtomicBool);

impl Fuse {
    fn step(&self) -> std::io::Result<()> {
        if self.1.load(Ordering::SeqCst) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        if self.0.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        Err(std::io::Error::other("the machine is dead"))
    }
}

/// A disk in memory whose files appear whole or not at all, one after the other.
#[derive(Debug)]
struct Files {
    fuse: Arc<Fuse>,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    room: u64,
    /// Whether it says that there is room when there is none.
    boasts: AtomicBool,
}

impl Files {
    fn step(&self, name: &str) -> Result<(), DiskError> {
        self.fuse.step().map_err(|source| DiskError::Io { name: name.to_owned(), source })
    }

    fn bytes(&self) -> u64 {
        self.files.lock().unwrap().values().map(|file| u64::try_from(file.len()).unwrap()).sum()
    }
}

impl Disk for Files {
    fn write(&self, files: &[(&str, &[&[u8]])]) -> Result<(), DiskError> {
        let more: usize = files.iter().flat_map(|(_, parts)| *parts).map(|part| part.len()).sum();
        if self.bytes() + u64::try_from(more).unwrap() > self.room {
            return Err(DiskError::Full);
        }
        for (name, contents) in files {
            self.step(name)?;
            self.files.lock().unwrap().insert((*name).to_owned(), contents.concat());
        }
        self.step("sync")
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        let files = self.files.lock().unwrap();
        let file = files.get(name).ok_or_else(|| DiskError::Missing(name.to_owned()))?;
        let offset = usize::try_from(offset).unwrap().min(file.len());
        Ok(file[offset..file.len().min(offset + length)].to_vec())
    }

    fn length(&self, name: &str) -> Result<Option<u64>, DiskError> {
        let files = self.files.lock().unwrap();
        Ok(files.get(name).map(|file| u64::try_from(file.len()).unwrap()))
    }

    fn remove(&self, names: &[&str]) -> Result<(), DiskError> {
        for name in names {
            self.step(name)?;
            self.files.lock().unwrap().remove(*name);
        }
        Ok(())
    }

    fn free(&self) -> Result<u64, DiskError> {
        let boasts = self.boasts.load(Ordering::SeqCst);
        Ok(if boasts { u64::MAX } else { self.room - self.bytes() })
    }
}

/// The file of the index, or of the journal, in memory: what is synced survives a crash, of the rest any part.
#[derive(Clone, Debug)]
struct Image {
    fuse: Arc<Fuse>,
    state: Arc<Mutex<ImageState>>,
}

#[derive(Debug, Default)]
struct ImageState {
    now: Vec<u8>,
    synced: Vec<u8>,
    since: Vec<(usize, Vec<u8>)>,
}

fn apply(image: &mut Vec<u8>, (offset, data): &(usize, Vec<u8>)) {
    if data.is_empty() {
        return image.resize(*offset, 0);
    }
    if image.len() < offset + data.len() {
        image.resize(offset + data.len(), 0);
    }
    image[*offset..offset + data.len()].copy_from_slice(data);
}

impl ImageState {
    fn push(&mut self, operation: (usize, Vec<u8>)) {
        apply(&mut self.now, &operation);
        self.since.push(operation);
    }
}

impl StorageBackend for Image {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(u64::try_from(self.state.lock().unwrap().now.len()).unwrap())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let offset = usize::try_from(offset).unwrap();
        let state = self.state.lock().unwrap();
        let found = state.now.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.fuse.step()?;
        self.state.lock().unwrap().push((usize::try_from(len).unwrap(), Vec::new()));
        Ok(())
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.fuse.step()?;
        let mut state = self.state.lock().unwrap();
        state.synced = state.now.clone();
        state.since.clear();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.fuse.step()?;
        self.state.lock().unwrap().push((usize::try_from(offset).unwrap(), data.to_vec()));
        Ok(())
    }
}

const CAPACITY: u64 = 1 << 22;
const RAILS_OF_TEST: u64 = 2;
/// Shards up to number 5 are small, the others are files.
const SMALL: u64 = 1_005;

fn terms(id: u64) -> Rail {
    Rail {
        id: RailId(id),
        payer: Account::with_last_byte(1),
        payee: Account::with_last_byte(2),
        signer: Account::with_last_byte(3),
        device: DeviceId([4; 32]),
        limit: Micros(1_000),
        rate: Micros(0),
        nonce: 0,
        opened: Epoch(0),
        expiry: Epoch(1_000),
        class: 0,
        presented: Micros(0),
    }
}

fn body(shard: u8) -> Vec<u8> {
    vec![shard; 1_000 + usize::from(shard)]
}

fn shard(number: u8) -> Shard {
    let body = body(number);
    Shard { hash: Digest::of(&body), bytes: u64::try_from(body.len()).unwrap() }
}

fn checked(rail: u64, number: u8) -> Checked {
    Checked::new(RailId(rail), shard(number), body(number).into()).unwrap()
}

/// A machine that can die and come back.
struct Machine {
    fuse: Arc<Fuse>,
    disk: Arc<Files>,
    image: Image,
    journal: Image,
    store: Option<Store>,
}

impl Machine {
    fn new(room: u64) -> Self {
        let fuse = Arc::new(Fuse(AtomicI64::new(i64::MAX), AtomicBool::new(false)));
        let disk = Files {
            fuse: Arc::clone(&fuse),
            files: Mutex::default(),
            room,
            boasts: AtomicBool::default(),
        };
        let [image, journal] =
            [(); 2].map(|()| Image { fuse: Arc::clone(&fuse), state: Arc::default() });
        let mut machine = Self { fuse, disk: Arc::new(disk), image, journal, store: None };
        machine.start(CAPACITY);
        for rail in 1..=RAILS_OF_TEST {
            machine.store().admit(&[terms(rail)]).unwrap();
        }
        machine
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn start(&mut self, capacity: u64) {
        let disk: Arc<dyn Disk> = Arc::<Files>::clone(&self.disk);
        let image = self.image.clone();
        let ground = Ground {
            path: "index".into(),
            index: Box::new(move |builder| builder.create_with_backend(image.clone())),
            journal: Box::new(self.journal.clone()),
            disk,
            random: Box::new(rand::random),
        };
        self.store = Some(Store::upon(ground, capacity, SMALL).unwrap());
    }

    /// Dies, keeping of what was not synced the parts that `luck` chooses, and comes back.
    fn restart(&mut self, mut luck: u64) {
        self.fuse.0.store(0, Ordering::SeqCst);
        drop(self.store.take());
        for image in [&self.image, &self.journal] {
            let mut state = image.state.lock().unwrap();
            let mut survived = std::mem::take(&mut state.synced);
            for operation in std::mem::take(&mut state.since) {
                luck = luck.rotate_left(1);
                if luck & 1 == 1 {
                    apply(&mut survived, &operation);
                }
            }
            (state.now, state.synced) = (survived.clone(), survived);
        }
        self.fuse.0.store(i64::MAX, Ordering::SeqCst);
        self.start(CAPACITY);
    }

    fn held(&self, rail: u64) -> BTreeSet<Digest> {
        let read = self.store().index.begin_read().unwrap();
        let table = read.open_table(SHARDS).unwrap();
        let entries = table.range(index::range(RailId(rail))).unwrap();
        let fresh = self.store().fresh();
        let fresh = fresh.all().filter(|(of, ..)| of.0 == rail).map(|(_, hash, _)| hash);
        entries.map(|entry| named(entry.unwrap().0.value()).1).chain(fresh).collect()
    }

    /// Index and files say the same, and the counts are their sums.
    fn check(&self) {
        let read = self.store().index.begin_read().unwrap();
        let shards = read.open_table(SHARDS).unwrap();
        let usage = read.open_table(USAGE).unwrap();
        let pending = read.open_table(PENDING).unwrap();
        assert!(read.open_table(UNSETTLED).unwrap().iter().unwrap().next().is_none());
        let mut files = self.disk.files.lock().unwrap().clone();
        let (mut bytes, mut count, mut kept) = (0, 0, 0);
        let mut counts: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
        for entry in shards.iter().unwrap() {
            let (key, found) = entry.unwrap();
            let ((rail, hash), (size, state)) = (named(key.value()), found.value());
            let bytes_there = match state {
                KEPT => self.store().small(rail, hash).unwrap().unwrap().to_vec(),
                HELD => files.remove(&shard::name(rail, hash)).expect("a record without a file"),
                state => panic!("a shard is in state {state}"),
            };
            kept += usize::from(state == KEPT);
            assert_eq!(Digest::of(&bytes_there), hash);
            let of = counts.entry(rail.0).or_default();
            let waiting = pending.get((rail.0, &hash.0)).unwrap().is_some();
            *of = (of.0 + size, of.1 + if waiting { size } else { 0 }, of.2 + 1);
            (bytes, count) = (bytes + size, count + 1);
        }
        assert!(files.is_empty(), "files without a record: {:?}", files.keys());
        let small = read.open_table(index::SMALL).unwrap();
        assert_eq!(small.iter().unwrap().count(), kept, "bytes without a record");
        for (rail, hash, small) in self.store().fresh().all() {
            assert_eq!(Digest::of(small), hash);
            assert!(shards.get((rail.0, &hash.0)).unwrap().is_none(), "taken over and still fresh");
            (bytes, count) = (bytes + u64::try_from(small.len()).unwrap(), count + 1);
        }
        let expected = Usage { bytes, shards: count, capacity: CAPACITY };
        assert_eq!(self.store().usage(), expected);
        for entry in usage.iter().unwrap() {
            let (rail, found) = entry.unwrap();
            let counts = counts.get(&rail.value()).copied().unwrap_or_default();
            assert_eq!(found.value(), counts, "rail {}", rail.value());
        }
    }
}

#[test]
fn the_same_shard_twice_is_stored_once_and_a_lost_file_is_written_again() {
    let machine = Machine::new(CAPACITY);
    let answers = machine.store().put(&[checked(1, 7), checked(1, 7), checked(2, 7)]);
    assert_eq!(answers, [Ok(()), Ok(()), Ok(())]);
    assert_eq!(machine.store().usage().shards, 2);
    let name = shard::name(RailId(1), shard(7).hash);
    machine.disk.files.lock().unwrap().remove(&name);
    assert_eq!(machine.store().put(&[checked(1, 7)]), [Ok(())]);
    machine.check();
}

#[test]
fn an_index_without_room_says_that_there_is_none_and_goes_on_when_there_is() {
    for number in [7, 3] {
        let machine = Machine::new(CAPACITY);
        machine.fuse.1.store(true, Ordering::SeqCst);
        assert_eq!(machine.store().put(&[checked(1, number)]), [Err(Refusal::Full)], "{number}");
        machine.fuse.1.store(false, Ordering::SeqCst);
        machine.store().mend().unwrap();
        assert_eq!(machine.store().put(&[checked(1, number)]), [Ok(())], "{number}");
        machine.check();
    }
}

#[test]
fn small_shards_cost_no_transaction_and_survive_from_the_journal() {
    let mut machine = Machine::new(CAPACITY);
    let synced = machine.image.state.lock().unwrap().synced.clone();
    let batch = [checked(1, 5), checked(1, 5), checked(2, 5), checked(1, 3)];
    assert_eq!(machine.store().put(&batch), [Ok(()); 4]);
    assert_eq!(machine.store().put(&batch[..1]), [Ok(())]);
    assert_eq!(machine.store().usage().shards, 3);
    assert!(machine.image.state.lock().unwrap().synced == synced);
    assert_eq!(machine.store().size(RailId(1), shard(3).hash).unwrap(), Some(shard(3).bytes));
    machine.restart(0);
    assert_eq!(machine.store().usage().shards, 3);
    machine.check();
    // Once the index has them the journal begins anew, and its old entries count no more.
    assert_eq!(machine.store().put(&[checked(1, 1)]), [Ok(())]);
    machine.restart(0);
    machine.check();
    // A shard that the index has, put again, waits for a commit again.
    assert_eq!(machine.store().put(&batch), [Ok(()); 4]);
    assert_eq!(machine.store().usage().shards, 4);
    machine.check();
}

#[test]
fn a_small_shard_that_left_and_came_back_survives() {
    let mut machine = Machine::new(CAPACITY);
    machine.store().put(&[checked(1, 5)]);
    let commit = |base, version, added: Vec<Shard>| {
        let commit = Commit { rail: RailId(1), base, version, added, removed: Vec::new() };
        machine.store().commit(&commit, u64::MAX).unwrap();
    };
    commit(0, 1, vec![shard(5)]);
    commit(0, 2, Vec::new());
    // That its record is gone becomes durable with the next transaction only.
    machine.store().close(Epoch(1), &BTreeMap::from([(RailId(1), 2), (RailId(2), 0)])).unwrap();
    assert_eq!(machine.store().size(RailId(1), shard(5).hash).unwrap(), None);
    assert_eq!(machine.store().put(&[checked(1, 5)]), [Ok(())]);
    machine.restart(0);
    machine.check();
    assert_eq!(machine.held(1), [shard(5).hash].into());
}

#[test]
fn the_index_takes_over_when_the_journal_is_full() {
    let mut machine = Machine::new(CAPACITY);
    machine.store = None;
    // Ids of rails make many shards of one.
    let rails: Vec<Rail> = (1..=1_500).map(terms).collect();
    machine.start(CAPACITY);
    machine.store().admit(&rails).unwrap();
    let batch: Vec<Checked> = (1..=1_500).map(|rail| checked(rail, 1)).collect();
    assert!(machine.store().put(&batch).iter().all(Result::is_ok));
    let waiting = machine.store().fresh().all().count();
    assert!(waiting > 0 && waiting < 1_500, "{waiting} wait");
    machine.check();
    machine.restart(0);
    machine.check();
    assert_eq!(machine.store().usage().shards, 1_500);
}

#[test]
fn a_journal_that_failed_is_not_trusted_again() {
    let mut machine = Machine::new(CAPACITY);
    assert_eq!(machine.store().put(&[checked(1, 1)]), [Ok(())]);
    // The write happens, the sync does not.
    machine.fuse.0.store(1, Ordering::SeqCst);
    assert_eq!(machine.store().put(&[checked(1, 2)]), [Err(Refusal::Disk)]);
    machine.fuse.0.store(i64::MAX, Ordering::SeqCst);
    assert_eq!(machine.store().put(&[checked(1, 3)]), [Ok(())]);
    machine.check();
    machine.restart(0);
    let held: BTreeSet<Digest> = [1, 3].map(|number| shard(number).hash).into();
    assert_eq!(machine.held(1), held);
    machine.check();
}

#[test]
fn the_capacity_is_kept_and_half_of_it_is_for_what_is_committed() {
    let mut machine = Machine::new(CAPACITY);
    machine.store = None;
    let size = shard(0).bytes;
    machine.start(size * 4);
    assert_eq!(machine.store().put(&[checked(1, 0)]), [Ok(())]);
    let others: Vec<Checked> = (1..6).map(|number| checked(1, number)).collect();
    let answers = machine.store().put(&others);
    // 1,000 and 1,001 bytes are more than half of 4,000.
    assert!(answers.iter().all(|answer| *answer == Err(Refusal::Full)), "{answers:?}");
    let commit =
        Commit { rail: RailId(1), base: 0, version: 1, added: vec![shard(0)], removed: Vec::new() };
    machine.store().commit(&commit, u64::MAX).unwrap();
    let answers = machine.store().put(&others);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let of_two: Vec<Checked> = (1..6).map(|number| checked(2, number)).collect();
    let answers = machine.store().put(&of_two);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(machine.store().usage().bytes <= size * 4);
    assert!(machine.store().free() < size);
}

#[test]
fn a_full_disk_is_a_clear_refusal_and_nothing_is_left_behind() {
    let machine = Machine::new(4_000);
    let batch: Vec<Checked> = (6..11).map(|number| checked(1, number)).collect();
    // A disk that fills up under the write.
    machine.disk.boasts.store(true, Ordering::SeqCst);
    let answers = machine.store().put(&batch);
    assert!(answers.iter().all(|answer| *answer == Err(Refusal::Full)), "{answers:?}");
    machine.check();
    assert_eq!(machine.store().usage().bytes, 0);
    // One that says so takes what fits: 1,006, 1,007 and 1,008 bytes of 4,000, and their rows.
    machine.disk.boasts.store(false, Ordering::SeqCst);
    let answers = machine.store().put(&batch);
    let full = Err(Refusal::Full);
    assert_eq!(answers, [Ok(()), Ok(()), Ok(()), full, full]);
    machine.check();
}

#[test]
fn commits_fit_their_base_or_are_refused_and_repeat_themselves() {
    let machine = Machine::new(CAPACITY);
    let store = machine.store();
    let commit = |base, version, added: &[u8], removed: &[u8]| {
        let mut added: Vec<Shard> = added.iter().map(|number| shard(*number)).collect();
        let mut removed: Vec<Digest> = removed.iter().map(|number| shard(*number).hash).collect();
        added.sort_unstable_by_key(|shard| shard.hash);
        removed.sort_unstable();
        Commit { rail: RailId(1), base, version, added, removed }
    };
    assert_eq!(
        store.commit(&commit(0, 1, &[1], &[]), u64::MAX),
        Err(Refusal::NotHeld(shard(1).hash))
    );
    store.put(&[checked(1, 1), checked(1, 2), checked(1, 3)]);
    let first = store.commit(&commit(0, 3, &[1, 2], &[]), u64::MAX).unwrap();
    let expected = Dataset::build([shard(1), shard(2)]).unwrap();
    assert_eq!((first.version, first.root, first.bytes), (3, expected.root(), expected.bytes()));
    assert_eq!(store.commit(&commit(0, 3, &[1, 2], &[]), u64::MAX), Ok(first));
    assert_eq!(store.commit(&commit(0, 3, &[1], &[]), u64::MAX), Err(Refusal::StaleBase(3)));
    assert_eq!(store.commit(&commit(2, 4, &[3], &[]), u64::MAX), Err(Refusal::StaleBase(3)));
    let twice = Err(Refusal::BadCommit(shard(1).hash));
    assert_eq!(store.commit(&commit(3, 4, &[1], &[]), u64::MAX), twice);
    let absent = Err(Refusal::BadCommit(shard(3).hash));
    assert_eq!(store.commit(&commit(3, 4, &[], &[3]), u64::MAX), absent);
    store.commit(&commit(3, 4, &[3], &[1]), u64::MAX).unwrap();
    // A second successor of version 3, and a new beginning.
    store.commit(&commit(3, 6, &[], &[2]), u64::MAX).unwrap();
    let anew = store.commit(&commit(0, 7, &[3], &[]), u64::MAX).unwrap();
    assert_eq!(anew.root, Dataset::build([shard(3)]).unwrap().root());
    assert_eq!(store.stat(RailId(1)).unwrap().version, 7);
    assert_eq!(store.stat(RailId(2)).unwrap().version, 0);
    let unknown = Commit { rail: RailId(9), ..commit(0, 1, &[], &[]) };
    assert_eq!(store.commit(&unknown, u64::MAX), Err(Refusal::UnknownRail));
}

#[test]
fn folding_keeps_every_later_version_and_deletes_what_none_needs() {
    let mut machine = Machine::new(CAPACITY);
    let put: Vec<Checked> = (1..=6).map(|number| checked(1, number)).collect();
    machine.store().put(&put);
    let commit = |machine: &Machine, base, version, added: &[u8], removed: &[u8]| {
        let mut added: Vec<Shard> = added.iter().map(|number| shard(*number)).collect();
        let mut removed: Vec<Digest> = removed.iter().map(|number| shard(*number).hash).collect();
        added.sort_unstable_by_key(|shard| shard.hash);
        removed.sort_unstable();
        let commit = Commit { rail: RailId(1), base, version, added, removed };
        machine.store().commit(&commit, u64::MAX).unwrap()
    };
    commit(&machine, 0, 1, &[1, 2, 3], &[]);
    let frozen = commit(&machine, 1, 2, &[4], &[1]);
    let branch = commit(&machine, 1, 3, &[5], &[2]);
    let on_top = commit(&machine, 3, 4, &[], &[3]);
    machine.store().close(Epoch(1), &BTreeMap::from([(RailId(1), 2), (RailId(2), 0)])).unwrap();
    // 1 is in version 3 and 4 still, 6 waits for its commit: nothing may go yet.
    assert_eq!(machine.held(1).len(), 6);
    machine.restart(0);
    for made in [frozen, branch, on_top] {
        let dataset = machine.store().dataset(RailId(1), made.version).unwrap().unwrap();
        assert_eq!((dataset.root(), dataset.bytes()), (made.root, made.bytes));
    }
    assert!(machine.store().dataset(RailId(1), 1).unwrap().is_none());
    machine.store().close(Epoch(2), &BTreeMap::from([(RailId(1), 4), (RailId(2), 0)])).unwrap();
    let left: BTreeSet<Digest> = [1, 5, 6].map(|number| shard(number).hash).into();
    assert_eq!(machine.held(1), left);
    machine.check();
}

#[test]
fn the_shards_of_an_ended_rail_go_after_the_retention() {
    let machine = Machine::new(CAPACITY);
    machine.store().put(&[checked(1, 1), checked(2, 2)]);
    let listed = BTreeMap::from([(RailId(2), 0)]);
    for epoch in 1..=RETENTION_EPOCHS + 1 {
        machine.store().close(Epoch(epoch), &listed).unwrap();
        assert_eq!(machine.held(1).len(), 1);
    }
    machine.store().close(Epoch(RETENTION_EPOCHS + 2), &listed).unwrap();
    assert!(machine.held(1).is_empty());
    assert_eq!(machine.held(2).len(), 1);
    assert_eq!(machine.store().terms(RailId(1)), None);
    machine.check();
}

#[test]
fn tabs_survive_up_to_the_credit() {
    let mut machine = Machine::new(CAPACITY);
    let free = KindTerms {
        kind: KindId(1),
        price: Micros(0),
        delivery_price: Micros(0),
        per_units: 1,
        stake_base: Tokens::ZERO,
        stake_per: Tokens::ZERO,
        positions: 1,
        window: 1,
    };
    let deliver = |machine: &Machine, bytes| {
        machine.store().tab(RailId(1), 100, |tab| tab.deliver(bytes, &free, Micros(0))).unwrap();
    };
    deliver(&machine, 60);
    machine.store().flush().unwrap();
    deliver(&machine, 90);
    machine.restart(0);
    assert_eq!(machine.store().tabs()[&RailId(1)].delivered, 60);
    deliver(&machine, 101);
    machine.restart(0);
    assert_eq!(machine.store().tabs()[&RailId(1)].delivered, 161);
}

/// A commit on rail 1.
fn change(base: u64, version: u64, added: &[u8], removed: &[u8]) -> Commit {
    let mut added: Vec<Shard> = added.iter().map(|number| shard(*number)).collect();
    let mut removed: Vec<Digest> = removed.iter().map(|number| shard(*number).hash).collect();
    added.sort_unstable_by_key(|shard| shard.hash);
    removed.sort_unstable();
    Commit { rail: RailId(1), base, version, added, removed }
}

#[test]
fn what_is_refused_once_is_refused_twice() {
    let mut machine = Machine::new(CAPACITY);
    machine.start(shard(7).bytes);
    let full = Err(Refusal::Full);
    assert_eq!(machine.store().put(&[checked(1, 7), checked(1, 7)]), [full, full]);
    assert_eq!(machine.store().put(&[checked(1, 3), checked(1, 3)]), [full, full]);
    assert_eq!(machine.store().size(RailId(1), shard(7).hash).unwrap(), None);
}

#[test]
fn shards_that_no_commit_names_go_and_what_is_committed_stays() {
    let machine = Machine::new(CAPACITY);
    let store = machine.store();
    // 1 to 3 are small, the others files. 2 and 8 are committed; 3 and 9 are, and put once more.
    let all = [1, 2, 3, 7, 8, 9].map(|number| checked(1, number));
    assert_eq!(store.put(&all), [Ok(()); 6]);
    store.commit(&change(0, 1, &[2, 3, 8, 9], &[]), u64::MAX).unwrap();
    assert_eq!(store.put(&[checked(1, 3), checked(1, 9)]), [Ok(()); 2]);
    let listed = BTreeMap::from([(RailId(1), 0), (RailId(2), 0)]);
    store.close(Epoch(1), &listed).unwrap();
    for epoch in 2..=IGNORED_EPOCHS + 2 {
        assert_eq!(machine.held(1).len(), 6);
        store.commit(&change(epoch - 1, epoch, &[], &[]), u64::MAX).unwrap();
        store.close(Epoch(epoch), &listed).unwrap();
    }
    let left: BTreeSet<Digest> = [2, 3, 8, 9].map(|number| shard(number).hash).into();
    assert_eq!(machine.held(1), left);
    machine.check();
}

#[test]
fn shards_of_a_customer_who_is_away_wait_long_but_not_for_ever() {
    let mut machine = Machine::new(CAPACITY);
    assert_eq!(machine.store().put(&[checked(1, 1), checked(1, 7)]), [Ok(()); 2]);
    let listed = BTreeMap::from([(RailId(1), 0), (RailId(2), 0)]);
    for epoch in 1..=WAITING_EPOCHS {
        machine.store().close(Epoch(epoch), &listed).unwrap();
    }
    machine.restart(0);
    assert_eq!(machine.held(1).len(), 2);
    // Put again is wanted again.
    assert_eq!(machine.store().put(&[checked(1, 7)]), [Ok(())]);
    machine.store().close(Epoch(WAITING_EPOCHS + 1), &listed).unwrap();
    assert_eq!(machine.held(1), BTreeSet::from([shard(7).hash]));
    machine.check();
}

#[test]
fn a_rail_gets_no_more_room_than_it_pays_for() {
    let machine = Machine::new(CAPACITY);
    let store = machine.store();
    let paying = |number, paid| Checked { paid, ..checked(1, number) };
    for number in [1, 7] {
        let bytes = shard(number).bytes;
        let too_low = Err(Refusal::RateTooLow(bytes));
        assert_eq!(store.put(&[paying(number, bytes - 1)]), [too_low]);
    }
    let paid = 3_030;
    let all = [1, 2, 7, 8].map(|number| paying(number, paid));
    let answers = store.put(&all);
    assert_eq!(answers, [Ok(()), Ok(()), Ok(()), Err(Refusal::RateTooLow(4_018))]);
    assert_eq!(store.put(&all[2..3]), [Ok(())]);
    store.commit(&change(0, 1, &[1, 2, 7], &[]), paid).unwrap();
    assert_eq!(store.put(&all[3..]), [Err(Refusal::RateTooLow(4_018))]);
    // What was removed is not paid any more, and must not come back on top of what came instead.
    store.commit(&change(1, 2, &[], &[1, 7]), paid).unwrap();
    assert_eq!(store.put(&all[3..]), [Ok(())]);
    let back = store.commit(&change(2, 3, &[1, 7, 8], &[]), paid);
    assert_eq!(back, Err(Refusal::RateTooLow(4_018)));
    store.commit(&change(2, 3, &[8], &[]), paid).unwrap();
    // A price that has risen holds up nothing that was taken before, and nothing that goes.
    store.commit(&change(3, 4, &[], &[2]), 1).unwrap();
    machine.check();
}

#[test]
fn tiny_shards_are_charged_for_their_rows_and_are_not_too_many() {
    let mut machine = Machine::new(CAPACITY);
    machine.start(10 * (1 + SHARD_OVERHEAD));
    machine.store().admit(&(1..=20).map(terms).collect::<Vec<_>>()).unwrap();
    let tiny = Shard { hash: Digest::of(b"x"), bytes: 1 };
    let one = |rail| Checked::new(RailId(rail), tiny, "x".into()).unwrap();
    let answers = machine.store().put(&(1..=20).map(one).collect::<Vec<_>>());
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    assert_eq!(machine.store().free(), 0);

    let machine = Machine::new(CAPACITY);
    let write = machine.store().index.begin_write().unwrap();
    count(&mut write.open_table(USAGE).unwrap(), RailId(1), |_| (1, 0, RAIL_SHARDS_MAX)).unwrap();
    write.commit().unwrap();
    for number in [1, 7] {
        assert_eq!(machine.store().put(&[checked(1, number)]), [Err(Refusal::Full)]);
        assert_eq!(machine.store().put(&[checked(2, number)]), [Ok(())]);
    }
}

#[test]
fn an_index_that_failed_is_opened_again_and_no_loss_is_declared_meanwhile() {
    // A failure at each step of storing a shard that is a file, and of a commit.
    for steps in 0..12 {
        let mut machine = Machine::new(CAPACITY);
        let store = machine.store();
        assert_eq!(store.put(&[checked(1, 1), checked(1, 7)]), [Ok(()); 2]);
        let made = store.commit(&change(0, 1, &[1, 7], &[]), u64::MAX).unwrap();
        let duty = Duty {
            rail: RailId(1),
            index: 0,
            from: Height(0),
            to: Height(1),
            task: Item::of(&Task { version: 1, root: made.root, bytes: made.bytes, offset: 0 }),
        };
        assert_eq!(store.lost(&duty), None);
        assert_eq!(store.put(&[checked(1, 2)]), [Ok(())]);
        machine.fuse.0.store(steps, Ordering::SeqCst);
        let taken = store.put(&[checked(1, 8)])[0].is_ok();
        let committed = store.commit(&change(1, 2, &[2], &[]), u64::MAX).is_ok();
        assert!(!committed, "nothing failed");
        assert_eq!(store.lost(&duty), None);
        machine.fuse.0.store(i64::MAX, Ordering::SeqCst);
        // The disk is well again, and the index is not.
        assert_eq!(store.put(&[checked(1, 9)]), [Err(Refusal::Disk)]);
        assert_eq!(store.lost(&duty), None);
        store.mend().unwrap();
        machine.check();
        let store = machine.store();
        assert!(!taken || machine.held(1).contains(&shard(8).hash));
        assert_eq!(store.put(&[checked(1, 8), checked(1, 9), checked(1, 3)]), [Ok(()); 3]);
        let newest = store.stat(RailId(1)).unwrap().version;
        store.commit(&change(newest, 5, &[3, 9], &[]), u64::MAX).unwrap();
        machine.restart(0);
        assert!(machine.held(1).is_superset(&[1, 2, 3, 7, 8, 9].map(|n| shard(n).hash).into()));
        machine.check();
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(u64, Vec<u8>),
    Commit(u64, u64, Vec<u8>, Vec<u8>),
    Close(u64, u64),
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let rail = || 1..=RAILS_OF_TEST;
    let some = || prop::collection::vec(0u8..12, 0..5);
    prop_oneof![
        4 => (rail(), some()).prop_map(|(rail, shards)| Op::Put(rail, shards)),
        4 => (rail(), 0u64..3, some(), some())
            .prop_map(|(rail, back, added, removed)| Op::Commit(rail, back, added, removed)),
        2 => (0u64..3, 0u64..3).prop_map(|(first, second)| Op::Close(first, second)),
        1 => Just(Op::Restart),
    ]
}

/// What must be there, and what may.
#[derive(Clone, Default)]
struct Model {
    versions: BTreeMap<u64, BTreeSet<u8>>,
    /// Shards that wait for a commit, and in how many epochs commits may have ignored them.
    pending: BTreeMap<u8, u64>,
    /// Shards of puts that were cut off, or that may have waited for too long: there or not.
    perhaps: BTreeSet<u8>,
    newest: u64,
    closed_at: u64,
    folded: u64,
}

impl Model {
    /// An epoch closes, or nearly.
    fn age(&mut self) {
        let committed = std::mem::replace(&mut self.closed_at, self.newest) < self.newest;
        self.pending.values_mut().for_each(|ignored| *ignored += u64::from(committed));
        let late = self.pending.extract_if(.., |_, ignored| *ignored > IGNORED_EPOCHS);
        self.perhaps.extend(late.map(|(number, _)| number));
    }

    fn required(&self) -> BTreeSet<u8> {
        let kept = self.versions.range(self.folded..).flat_map(|(_, shards)| shards);
        kept.chain(self.pending.keys()).copied().collect()
    }

    /// The version committed `back` before the newest, or 0.
    fn back(&self, back: u64) -> u64 {
        let kept = self.versions.range(self.folded..).rev();
        kept.map(|(version, _)| *version).nth(usize::try_from(back).unwrap()).unwrap_or(0)
    }
}

struct Trial {
    machine: Machine,
    models: BTreeMap<u64, Model>,
    epoch: u64,
}

impl Trial {
    fn run(&mut self, op: &Op) {
        match op {
            Op::Put(rail, shards) => {
                let batch: Vec<Checked> =
                    shards.iter().map(|number| checked(*rail, *number)).collect();
                let answers = self.machine.store().put(&batch);
                let model = self.models.get_mut(rail).unwrap();
                for (number, answer) in shards.iter().zip(answers) {
                    match answer {
                        Ok(()) => drop(model.pending.insert(*number, 0)),
                        Err(_) => drop(model.perhaps.insert(*number)),
                    }
                }
            }
            Op::Commit(rail, back, added, removed) => self.commit(*rail, *back, added, removed),
            Op::Close(first, second) => {
                self.epoch += 1;
                let backs = [*first, *second];
                let frozen = self.models.iter_mut().zip(backs).map(|((rail, model), back)| {
                    // What the ledger froze it never takes back, even if the close was cut off.
                    model.folded = model.folded.max(model.back(back));
                    model.age();
                    (RailId(*rail), model.folded)
                });
                let frozen: BTreeMap<_, _> = frozen.collect();
                if self.machine.store().close(Epoch(self.epoch), &frozen).is_ok() {
                    self.check_nothing_is_left_over();
                }
            }
            Op::Restart => self.machine.restart(u64::MAX),
        }
    }

    fn commit(&mut self, rail: u64, back: u64, added: &[u8], removed: &[u8]) {
        let model = self.models.get_mut(&rail).unwrap();
        let base = model.back(back);
        let start = model.versions.get(&base).cloned().unwrap_or_default();
        let there = model.required();
        let added: BTreeSet<u8> = added
            .iter()
            .copied()
            .filter(|number| there.contains(number) && !start.contains(number))
            .collect();
        let removed: BTreeSet<u8> =
            removed.iter().copied().filter(|number| start.contains(number)).collect();
        let mut shards: Vec<Shard> = added.iter().map(|number| shard(*number)).collect();
        shards.sort_unstable_by_key(|shard| shard.hash);
        let mut hashes: Vec<Digest> = removed.iter().map(|number| shard(*number).hash).collect();
        hashes.sort_unstable();
        let version = model.newest + 1;
        let commit = Commit { rail: RailId(rail), base, version, added: shards, removed: hashes };
        let outcome = self.machine.store().commit(&commit, u64::MAX);
        if outcome.is_err() {
            // Cut off: it happened or it did not; the store itself says.
            self.machine.restart(0x5555_5555_5555_5555);
            if self.machine.store().stat(RailId(rail)).unwrap().version != version {
                return;
            }
            assert!(
                self.machine.store().commit(&commit, u64::MAX).is_ok(),
                "a commit does not repeat itself"
            );
        }
        let model = self.models.get_mut(&rail).unwrap();
        let members: BTreeSet<u8> =
            start.union(&added).copied().filter(|number| !removed.contains(number)).collect();
        let expected = Dataset::build(members.iter().map(|number| shard(*number))).unwrap();
        assert_eq!(self.machine.store().stat(RailId(rail)).unwrap().root, expected.root());
        model.pending.retain(|number, _| !added.contains(number) && !removed.contains(number));
        model.perhaps.retain(|number| !added.contains(number) && !removed.contains(number));
        model.versions.insert(version, members);
        model.newest = version;
    }

    fn check_nothing_is_left_over(&self) {
        for (rail, model) in &self.models {
            let mut allowed = model.required();
            allowed.extend(&model.perhaps);
            let allowed: BTreeSet<Digest> =
                allowed.iter().map(|number| shard(*number).hash).collect();
            let held = self.machine.held(*rail);
            assert!(held.is_subset(&allowed), "rail {rail} holds what no version needs");
        }
    }

    fn check(&self) {
        self.machine.check();
        for (rail, model) in &self.models {
            let held = self.machine.held(*rail);
            for number in model.required() {
                assert!(held.contains(&shard(number).hash), "rail {rail} lost shard {number}");
            }
            for (version, members) in model.versions.range(model.folded..) {
                let dataset = self.machine.store().dataset(RailId(*rail), *version).unwrap();
                let expected = Dataset::build(members.iter().map(|number| shard(*number))).unwrap();
                let root = dataset.map(|dataset| dataset.root());
                assert_eq!(root, Some(expected.root()), "rail {rail} version {version}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn index_and_files_agree_after_a_crash_at_any_step(
        ops in prop::collection::vec((op(), prop::option::weighted(0.3, 0i64..60), any::<u64>()), 1..30),
    ) {
        let models = (1..=RAILS_OF_TEST).map(|rail| (rail, Model::default())).collect();
        let mut trial = Trial { machine: Machine::new(CAPACITY), models, epoch: 0 };
        for (op, fuse, luck) in ops {
            if let Some(steps) = fuse {
                trial.machine.fuse.0.store(steps, Ordering::SeqCst);
            }
            trial.run(&op);
            if trial.machine.fuse.0.load(Ordering::SeqCst) <= 0 {
                trial.machine.restart(luck);
            }
            trial.machine.fuse.0.store(i64::MAX, Ordering::SeqCst);
            trial.check();
        }
        trial.machine.restart(0);
        trial.check();
    }
}
