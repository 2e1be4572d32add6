//! The index against a model in memory, with the file closed and opened again at random moments.

use super::*;
use proptest::prelude::*;
use protocol::{DeviceId, Digest, RailId};
use std::collections::BTreeMap;

const BUCKETS: [&str; 2] = ["alpha", "beta"];
const KEYS: [&str; 7] = ["a", "a/b", "a/b/c", "a/c", "b", "b/", "z\u{e9}"];

#[derive(Clone, Debug)]
enum Step {
    CreateBucket(usize),
    DeleteBucket(usize),
    /// Objects packed into one segment: bucket, key, length.
    Put(Vec<(usize, usize, u16)>),
    Delete(usize, usize),
    Copy(usize, usize, usize),
    Upload(usize, usize, Vec<u16>, bool),
    Lose(usize, u8),
    Leave(u64),
    Store(u8),
    Forget,
    Commit(u64),
    Pack,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let (bucket, key) = (|| 0..BUCKETS.len(), || 0..KEYS.len());
    prop_oneof![
        2 => bucket().prop_map(Step::CreateBucket),
        1 => bucket().prop_map(Step::DeleteBucket),
        8 => prop::collection::vec((bucket(), key(), 0u16..2_000), 1..4).prop_map(Step::Put),
        4 => (bucket(), key()).prop_map(|(bucket, key)| Step::Delete(bucket, key)),
        3 => (bucket(), key(), key()).prop_map(|(bucket, from, to)| Step::Copy(bucket, from, to)),
        2 => (bucket(), key(), prop::collection::vec(1u16..500, 1..4), any::<bool>())
            .prop_map(|(bucket, key, parts, done)| Step::Upload(bucket, key, parts, done)),
        2 => (0usize..8, 0u8..6).prop_map(|(at, shard)| Step::Lose(at, shard)),
        2 => (0u64..7).prop_map(Step::Leave),
        3 => (1u8..9).prop_map(Step::Store),
        2 => Just(Step::Forget),
        3 => (1u64..9).prop_map(Step::Commit),
        2 => Just(Step::Pack),
        2 => Just(Step::Reopen),
    ]
}

type Model = BTreeMap<&'static str, BTreeMap<&'static str, (u64, String)>>;

struct World {
    index: Index,
    path: std::path::PathBuf,
    model: Model,
    next: u64,
}

impl World {
    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A segment of `plain` bytes whose last shard is durable nowhere.
    fn segment(&mut self, plain: u32) -> (SegmentId, Segment) {
        let number = self.fresh();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let shards = (0u8..6)
            .map(|index| ShardRow {
                hash: Digest::of(&[&number.to_be_bytes()[..], &[index]].concat()),
                home: (index < 5).then(|| home(u64::from(index) + number % 3)),
            })
            .collect();
        let row = Segment { plain, k: 4, live: 0, created_ms: 0, packed: true, shards };
        (SegmentId(id), row)
    }

    fn put(&mut self, items: &[(usize, usize, u16)]) {
        let total: u32 = items.iter().map(|item| u32::from(item.2)).sum();
        let (id, row) = self.segment(total.max(1));
        let mut stored = Vec::new();
        for (bucket, key, bytes) in items {
            let etag = self.fresh().to_string();
            if let Some(objects) = self.model.get_mut(BUCKETS[*bucket]) {
                objects.insert(KEYS[*key], (u64::from(*bytes), etag.clone()));
            }
            stored.push((BUCKETS[*bucket], KEYS[*key], *bytes, etag));
        }
        self.index
            .write(|tables| {
                tables.add_segment(id, &row)?;
                let mut offset = 0;
                for (bucket, key, bytes, etag) in stored {
                    let mut item = object(bucket, key, u64::from(bytes), &etag);
                    if tables.check_put(&item).is_err() {
                        continue;
                    }
                    let bytes = u32::from(bytes);
                    if bytes > 0 {
                        let extent = Extent { segment: id, offset, bytes };
                        item.object.blobs = vec![tables.add_blob(vec![extent])?];
                    }
                    offset += bytes;
                    tables.put_object(&item, 1)?;
                }
                tables.abandon(id, 1)
            })
            .unwrap();
    }

    fn upload(&mut self, bucket: usize, key: usize, parts: &[u16], done: bool) {
        let (bucket, key) = (BUCKETS[bucket], KEYS[key]);
        let upload = UploadId(u128::from(self.fresh()).to_be_bytes());
        let row =
            Upload { initiated_ms: 0, headers: Headers::default(), algorithm: None, whole: false };
        let begun = self.index.write(|tables| tables.create_upload(bucket, key, upload, &row));
        if !self.model.contains_key(bucket) {
            assert!(matches!(begun, Err(IndexError::NoSuchBucket(_))));
            return;
        }
        begun.unwrap();
        for (number, bytes) in (1u16..).zip(parts) {
            let (id, segment) = self.segment(u32::from(*bytes));
            let extent = Extent { segment: id, offset: 0, bytes: u32::from(*bytes) };
            self.index
                .write(|tables| {
                    tables.add_segment(id, &segment)?;
                    let blob = tables.add_blob(vec![extent])?;
                    let part = Part {
                        bytes: blob.bytes,
                        md5: [0; 16],
                        modified_ms: 0,
                        checksum: None,
                        blobs: vec![blob],
                    };
                    let (bucket, key) = (bucket.to_owned(), key.to_owned());
                    tables.put_part(&PartPut { bucket, key, upload, number, part }, 1)
                })
                .unwrap();
        }
        let numbers: Vec<_> = (1..).map(|number| (number, [0; 16])).take(parts.len()).collect();
        let bytes = parts.iter().map(|bytes| u64::from(*bytes)).sum();
        let etag = self.fresh().to_string();
        let item = object(bucket, key, bytes, &etag);
        let missing = [numbers.clone(), vec![(1, [1; 16])]].concat();
        let refused =
            self.index.write(|tables| tables.complete_upload(item.clone(), upload, &missing, 1));
        assert!(matches!(refused, Err(IndexError::InvalidPart(1))));
        if done {
            self.index.write(|tables| tables.complete_upload(item, upload, &numbers, 1)).unwrap();
            self.model.get_mut(bucket).unwrap().insert(key, (bytes, etag));
        } else {
            self.index.write(|tables| tables.abort_upload(bucket, key, upload, 1)).unwrap();
        }
    }

    fn copy(&mut self, bucket: usize, from: usize, to: usize) {
        let (bucket, from, to) = (BUCKETS[bucket], KEYS[from], KEYS[to]);
        let done = self.index.write(|tables| {
            let object = tables.expect_object(bucket, from)?;
            let (bucket, key) = (bucket.to_owned(), to.to_owned());
            tables.put_copy(&ObjectPut { bucket, key, expect: Expect::default(), object }, 1)
        });
        let source = self.model.get(bucket).and_then(|objects| objects.get(from)).cloned();
        assert_eq!(done.is_ok(), source.is_some());
        if let Some(source) = source {
            self.model.get_mut(bucket).unwrap().insert(to, source);
        }
    }

    fn commit(&mut self, rail: u64) {
        let rail = RailId(rail);
        let gone = self.index.read(|reader| reader.unwanted(rail, 100)).unwrap();
        let proposed = self.index.write(|tables| tables.propose(rail, 3, &gone)).unwrap();
        let Some(proposal) = proposed else {
            assert!(!self.index.reader().unwrap().is_stale(rail).unwrap());
            return;
        };
        // Asked again, even after a crash, it is the same to the bit.
        self.reopen();
        let again = self.index.write(|tables| tables.propose(rail, 3, &gone)).unwrap();
        assert_eq!(again.as_ref(), Some(&proposal));
        if self.fresh().is_multiple_of(4) {
            self.index.write(|tables| tables.withdraw(rail)).unwrap();
            return;
        }
        let dataset = protocol::inputs::Dataset {
            rail,
            version: proposal.commit.version,
            root: proposal.root,
            bytes: proposal.bytes,
        };
        let committed = Committed { dataset, signature: [0; 64] };
        let before = self.index.reader().unwrap().dataset(rail).unwrap();
        self.index.write(|tables| tables.committed(&committed)).unwrap();
        let twice = self.index.write(|tables| tables.committed(&committed));
        assert!(matches!(twice, Err(IndexError::Version(_))));
        let after = self.index.reader().unwrap().dataset(rail).unwrap();
        let built = storage_kind::dataset::Dataset::build(before)
            .unwrap()
            .apply(&proposal.commit.added, &proposal.commit.removed)
            .unwrap();
        assert_eq!(built.shards(), &after[..]);
        assert_eq!(built.root(), proposal.root);
    }

    fn pack(&mut self) {
        let reader = self.index.reader().unwrap();
        let mut moves = Vec::new();
        let mut sources = Vec::new();
        for loose in reader.loose(3).unwrap() {
            sources.extend(reader.live(loose.segment).unwrap());
        }
        let total: u32 = sources.iter().map(|(_, extent)| extent.bytes).sum();
        let (id, row) = self.segment(total.max(1));
        let mut offset = 0;
        for (blob, from) in sources {
            let to = Extent { segment: id, offset, bytes: from.bytes };
            moves.push(Move { blob, from, to });
            offset += from.bytes;
        }
        let moved = self.index.write(|tables| tables.relocate(id, &row, &moves, 2)).unwrap();
        assert_eq!(moved, moves.len());
    }

    /// Closes the file and opens it again; or leaves it as a killed process would, and opens what is
    /// on the disk.
    fn reopen(&mut self) {
        if self.fresh().is_multiple_of(2) {
            let placeholder = Index::in_memory().unwrap();
            drop(std::mem::replace(&mut self.index, placeholder));
        } else {
            let left = self.path.with_extension(format!("{}", self.next));
            std::fs::copy(&self.path, &left).unwrap();
            self.path = left;
        }
        self.index = Index::open(&self.path).unwrap();
    }

    fn lose(&mut self, at: usize, shard: u8) {
        let reader = self.index.reader().unwrap();
        let segments = ids(&reader.segments).unwrap();
        let Some(id) = segments.get(at).copied() else { return };
        let home = reader.segment(id).unwrap().unwrap().shards[usize::from(shard)].home;
        let Some(home) = home else { return };
        assert!(self.index.write(|tables| tables.shard_lost(id, shard, home)).unwrap());
        assert!(!self.index.write(|tables| tables.shard_lost(id, shard, home)).unwrap());
    }

    /// All shards on a rail have to move, and can be read until they have.
    fn leave(&mut self, rail: u64) {
        let reader = self.index.reader().unwrap();
        let stranded = reader.stranded(|at| at.rail == RailId(rail), 3).unwrap();
        let leave = |tables: &mut Tables<'_>| {
            stranded.iter().try_for_each(|(id, index, at)| tables.shard_leaves(*id, *index, *at))
        };
        self.index.write(leave).unwrap();
        let after = self.index.reader().unwrap();
        for (id, index, at) in &stranded {
            let row = after.segment(*id).unwrap().unwrap();
            assert_eq!(row.shards[usize::from(*index)].home, Some(*at));
        }
        if let Some((id, index, at)) = stranded.first().copied() {
            self.index.write(|tables| tables.shard_stays(id, index, at)).unwrap();
        }
    }

    fn store(&mut self, rail: u8) {
        let queued = self.index.reader().unwrap().queued(None, 1, |_| true).unwrap();
        let Some(shard) = queued.first().copied() else { return };
        let home = home(20 + self.fresh() * 10 + u64::from(rail));
        let (id, index) = (shard.segment, shard.index);
        let stored = self.index.write(|tables| match shard.from {
            Some(from) => tables.shard_moved(id, index, from, home),
            None => tables.shard_stored(id, index, home),
        });
        assert!(stored.unwrap());
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::CreateBucket(at) => {
                let done = self.index.write(|tables| tables.create_bucket(BUCKETS[at], 1));
                assert_eq!(done.is_ok(), !self.model.contains_key(BUCKETS[at]));
                self.model.entry(BUCKETS[at]).or_default();
            }
            Step::DeleteBucket(at) => {
                let done = self.index.write(|tables| tables.delete_bucket(BUCKETS[at], 1));
                let empty = self.model.get(BUCKETS[at]).is_some_and(BTreeMap::is_empty);
                assert_eq!(done.is_ok(), empty);
                if empty {
                    self.model.remove(BUCKETS[at]);
                }
            }
            Step::Put(items) => self.put(&items),
            Step::Delete(bucket, key) => {
                let (bucket, key) = (BUCKETS[bucket], KEYS[key]);
                let expect = Expect::default();
                let done = self.index.write(|tables| tables.delete_object(bucket, key, &expect, 1));
                let gone = self.model.get_mut(bucket).map(|objects| objects.remove(key).is_some());
                assert_eq!(done.ok(), gone);
            }
            Step::Copy(bucket, from, to) => self.copy(bucket, from, to),
            Step::Upload(bucket, key, parts, done) => self.upload(bucket, key, &parts, done),
            Step::Lose(at, shard) => self.lose(at, shard),
            Step::Leave(rail) => self.leave(rail),
            Step::Store(rail) => self.store(rail),
            Step::Forget => {
                let garbage = self.index.reader().unwrap().garbage(2).unwrap();
                let forget = |tables: &mut Tables<'_>| {
                    garbage.into_iter().try_for_each(|segment| tables.forget(segment))
                };
                self.index.write(forget).unwrap();
            }
            Step::Commit(rail) => self.commit(rail),
            Step::Pack => self.pack(),
            Step::Reopen => self.reopen(),
        }
    }

    fn compare(&self) {
        let reader = self.index.reader().unwrap();
        reader.check().unwrap();
        let names: Vec<_> = reader.buckets().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, self.model.keys().copied().collect::<Vec<_>>());
        for (bucket, objects) in &self.model {
            for limit in [1, 3, 100] {
                let found = pages(&reader, bucket, &Query { limit, ..Query::default() });
                let wanted: Vec<_> = objects
                    .iter()
                    .map(|(key, (bytes, etag))| ((*key).to_owned(), *bytes, etag.clone()))
                    .collect();
                assert_eq!(found.0, wanted);
            }
            for prefix in ["", "a", "a/", "b/"] {
                let (keys, prefixes) = rolled_up(objects.keys().copied(), prefix);
                for limit in [1, 2, 100] {
                    let query = Query { prefix, delimiter: Some("/"), limit, ..Query::default() };
                    let found = pages(&reader, bucket, &query);
                    let found_keys: Vec<_> = found.0.into_iter().map(|(key, ..)| key).collect();
                    assert_eq!((&found_keys, &found.1), (&keys, &prefixes), "{prefix} {limit}");
                }
            }
            for (key, (bytes, etag)) in objects {
                let object = reader.object(bucket, key).unwrap();
                assert_eq!((object.bytes, &object.etag), (*bytes, etag));
                let extents = reader.extents(&object.blobs).unwrap();
                let sum: u64 = extents.iter().map(|extent| u64::from(extent.bytes)).sum();
                assert_eq!(sum, *bytes);
            }
        }
    }
}

fn rolled_up<'a>(keys: impl Iterator<Item = &'a str>, prefix: &str) -> (Vec<String>, Vec<String>) {
    let (mut plain, mut prefixes) = (Vec::new(), Vec::<String>::new());
    for key in keys.filter(|key| key.starts_with(prefix)) {
        match key[prefix.len()..].find('/') {
            Some(at) => prefixes.push(key[..=prefix.len() + at].to_owned()),
            None => plain.push(key.to_owned()),
        }
    }
    prefixes.dedup();
    (plain, prefixes)
}

type Page = (Vec<(String, u64, String)>, Vec<String>);

fn pages(reader: &Reader, bucket: &str, query: &Query<'_>) -> Page {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    let mut after: Option<String> = None;
    loop {
        let page =
            reader.list(bucket, &Query { after: after.as_deref(), ..query.clone() }).unwrap();
        assert!(page.objects.len() + page.prefixes.len() <= query.limit);
        objects.extend(page.objects.into_iter().map(|(key, row)| (key, row.bytes, row.etag)));
        prefixes.extend(page.prefixes);
        after = page.next;
        if after.is_none() {
            return (objects, prefixes);
        }
    }
}

fn home(rail: u64) -> Home {
    Home { rail: RailId(rail), device: DeviceId([u8::try_from(rail).unwrap_or(0); 32]) }
}

fn object(bucket: &str, key: &str, bytes: u64, etag: &str) -> ObjectPut {
    ObjectPut {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        expect: Expect::default(),
        object: Object {
            bytes,
            etag: etag.to_owned(),
            modified_ms: 1,
            headers: Headers::default(),
            checksum: None,
            blobs: Vec::new(),
            parts: 0,
        },
    }
}

fn world() -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.redb");
    let index = Index::open(&path).unwrap();
    (folder, World { index, path, model: Model::new(), next: 0 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_index_is_the_model(steps in prop::collection::vec(step(), 1..40), at in 0usize..40) {
        let (_folder, mut world) = world();
        world.run(Step::CreateBucket(0));
        let mut dumped = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            if number == at {
                dumped = dump(&world.index, 300);
            }
            world.run(step);
            world.index.reader().unwrap().check().unwrap();
        }
        world.compare();
        world.reopen();
        world.compare();

        // Made anew from its journal, or from a dump and what came after, it is the same to the bit.
        let all = dump(&world.index, usize::MAX);
        let sequence = dumped.first().map_or(0, |entry: &Entry| entry.sequence);
        let after = |after| world.index.read(|reader| reader.journal(after, usize::MAX)).unwrap();
        for entries in [after(0), [dumped, after(sequence)].concat()] {
            let anew = Index::in_memory().unwrap();
            anew.write(|tables| tables.clear()).unwrap();
            for entry in &entries {
                anew.write(|tables| tables.restore(&entry.changes)).unwrap();
            }
            let parts = dump(&anew, 1_000);
            prop_assert_eq!(rows(&parts), rows(&all));
            anew.read(|reader| reader.check()).unwrap();
        }
    }
}

/// All rows of an index, in parts of so many bytes.
fn dump(index: &Index, limit: usize) -> Vec<Entry> {
    let (mut parts, mut cursor) = (Vec::new(), None);
    let reader = index.reader().unwrap();
    loop {
        let (entry, next) = reader.dump(cursor, limit).unwrap();
        parts.push(entry);
        if next.is_none() {
            return parts;
        }
        cursor = next;
    }
}

/// The rows of parts, without the count of transactions, which is no row of what is stored.
fn rows(parts: &[Entry]) -> Vec<&Change> {
    let all = parts.iter().flat_map(|part| &part.changes);
    all.filter(|change| change.key != b"sequence").collect()
}

#[test]
fn a_journal_that_nobody_takes_is_bounded_and_all_is_dumped_then() {
    let index = Index::in_memory().unwrap();
    assert!(index.read(|reader| reader.backup()).unwrap().complete);
    index
        .write(|tables| {
            for number in 0u64..=changes::ENTRIES_MAX {
                tables.frozen(RailId(1), number + 1)?;
                tables.note()?;
            }
            Ok(())
        })
        .unwrap();
    let (backup, entries) =
        index.read(|reader| Ok((reader.backup()?, reader.journal(0, usize::MAX)?))).unwrap();
    assert!(!backup.complete && entries.len() < 10, "{}", entries.len());
    // A dump makes it whole again.
    let new = Backup { complete: true, logged: 9, ..Backup::default() };
    index.write(|tables| tables.backed_up(&new, 0)).unwrap();
    assert!(index.read(|reader| reader.backup()).unwrap().complete);
}

#[test]
fn conditions_hold_or_nothing_changes() {
    let index = Index::in_memory().unwrap();
    let is = |tag: &str| Some(Tag::Is(tag.to_owned()));
    let mut item = object("alpha", "key", 0, "one");
    let put = |item: &ObjectPut| index.write(|tables| tables.put_object(item, 1));
    assert!(matches!(put(&item), Err(IndexError::NoSuchBucket(_))));
    index.write(|tables| tables.create_bucket("alpha", 1)).unwrap();
    item.expect = Expect { matches: is("one"), differs: None };
    assert!(matches!(put(&item), Err(IndexError::NoSuchKey(_))));
    item.expect = Expect { matches: None, differs: Some(Tag::Any) };
    put(&item).unwrap();
    assert!(matches!(put(&item), Err(IndexError::Condition)));
    item.object.etag = "two".to_owned();
    item.expect = Expect { matches: is("zero"), differs: None };
    assert!(matches!(put(&item), Err(IndexError::Condition)));
    item.expect = Expect { matches: is("one"), differs: is("two") };
    put(&item).unwrap();
    assert_eq!(index.reader().unwrap().object("alpha", "key").unwrap().etag, "two");
    assert_eq!(index.reader().unwrap().stats().unwrap().objects, 1);
}

#[test]
fn what_was_being_stored_is_garbage_after_a_restart() {
    let (_folder, mut world) = world();
    let (id, row) = world.segment(100);
    world.index.write(|tables| tables.add_segment(id, &row)).unwrap();
    assert!(world.index.reader().unwrap().garbage(9).unwrap().is_empty());
    world.reopen();
    assert_eq!(world.index.reader().unwrap().garbage(9).unwrap(), vec![id]);
    world.index.write(|tables| tables.forget(id)).unwrap();
    let reader = world.index.reader().unwrap();
    reader.check().unwrap();
    assert_eq!(reader.stats().unwrap(), Stats::default());
}

/// A disk that can be full. It outlives the databases on it.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, bool)>>);

impl Disk {
    fn full(&self, is: bool) {
        self.0.lock().unwrap().1 = is;
    }

    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<()> {
        let (bytes, full) = &mut *self.0.lock().unwrap();
        if *full {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        change(bytes);
        Ok(())
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(crate::num::wide(self.0.lock().unwrap().0.len()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let at = crate::num::mem(offset);
        out.copy_from_slice(&self.0.lock().unwrap().0[at..at + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> std::io::Result<()> {
        self.change(|bytes| bytes.resize(crate::num::mem(length), 0))
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.change(|_| ())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let at = crate::num::mem(offset);
        self.change(|bytes| bytes[at..at + data.len()].copy_from_slice(data))
    }
}

#[test]
fn a_disk_that_is_full_for_a_moment_is_no_end() {
    let disk = Disk::default();
    let on = disk.clone();
    let opener = move || Ok(redb::Database::builder().create_with_backend(on.clone())?);
    let index = Index::open_by(Box::new(opener)).unwrap();
    let make = |name: &str| index.write(|tables| tables.create_bucket(name, 1));
    make("before").unwrap();
    let (id, row) = (SegmentId([1; 16]), segment_row());
    index.write(|tables| tables.add_segment(id, &row)).unwrap();
    disk.full(true);
    for _ in 0..3 {
        let refused = make("during").unwrap_err();
        assert!(matches!(&refused, IndexError::Store(_)), "{refused}");
    }
    disk.full(false);
    make("after").unwrap();
    let names = index.read(|reader| reader.buckets()).unwrap();
    assert_eq!(
        names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["after", "before"]
    );
    // What was being stored is not given up: who stores it goes on.
    assert!(index.read(|reader| reader.garbage(9)).unwrap().is_empty());
    index.close();
    assert!(matches!(make("closed"), Err(IndexError::Closed)));
}

fn segment_row() -> Segment {
    let shards =
        (0u8..6).map(|index| ShardRow { hash: Digest::of(&[index]), home: None }).collect();
    Segment { plain: 100, k: 4, live: 0, created_ms: 0, packed: true, shards }
}

#[test]
fn an_index_belongs_to_its_keys() {
    let index = Index::in_memory().unwrap();
    index.tie(&Digest([1; 32])).unwrap();
    index.tie(&Digest([1; 32])).unwrap();
    assert!(matches!(index.tie(&Digest([2; 32])), Err(IndexError::Keys)));
}

#[test]
fn another_format_is_refused() {
    let (_folder, mut world) = world();
    world.index.write(|tables| put(&mut tables.meta, FORMAT_KEY, &99u32)).unwrap();
    world.index = Index::in_memory().unwrap();
    assert!(matches!(Index::open(&world.path), Err(IndexError::Format(99))));
}

#[tokio::test]
async fn changes_that_wait_together_fail_alone() {
    let writer = Writer::start(Arc::new(Index::in_memory().unwrap())).unwrap();
    let make = |name: &'static str| {
        let writer = writer.clone();
        async move { writer.write(move |tables| tables.create_bucket(name, 1)).await }
    };
    let (first, second, third) = tokio::join!(make("one"), make("one"), make("two"));
    first.unwrap();
    assert!(matches!(second, Err(IndexError::BucketExists(_))));
    third.unwrap();
    let names = writer.read(|reader| reader.buckets()).await.unwrap();
    assert_eq!(names.len(), 2);
}

#[test]
fn a_damaged_index_is_an_error_and_never_a_panic() {
    let (folder, mut world) = world();
    world.run(Step::CreateBucket(0));
    let path = world.path.clone();
    drop(world);
    let sound = std::fs::read(&path).unwrap();
    let (mut refused, page) = (0, 4096);
    for at in (0..sound.len()).step_by(page * 4) {
        for fill in [0, 0xff] {
            let mut bytes = sound.clone();
            let end = sound.len().min(at + page);
            bytes[at..end].fill(fill);
            std::fs::write(&path, &bytes).unwrap();
            refused += usize::from(Index::open(&path).is_err());
        }
        std::fs::write(&path, &sound[..at]).unwrap();
        refused += usize::from(Index::open(&path).is_err());
    }
    assert!(refused > 0);
    drop(folder);
}

#[test]
fn rows_with_impossible_numbers_are_an_error_and_never_a_panic() {
    let row = |table: u8, key: Vec<u8>, row: Vec<u8>| Change { table, key, row: Some(row) };
    let damaged = |changes: &[Change], use_it: &dyn Fn(&Index) -> Result<(), IndexError>| {
        let index = Index::in_memory().unwrap();
        index.write(|tables| tables.restore(changes)).unwrap();
        let outcome = use_it(&index);
        assert!(matches!(outcome, Err(IndexError::Damaged(_))), "{outcome:?}");
    };
    let blob = BlobRef { blob: BlobId(1), bytes: u64::MAX };
    let huge = Object { blobs: vec![blob, blob], ..object("alpha", "a", 1, "etag").object };
    let huge = row(1, b"alpha\0a".to_vec(), cbor::to_vec(&huge));
    damaged(&[huge], &|index| index.read(|reader| reader.check()));
    damaged(&[], &|index| index.write(|tables| tables.restored(u64::MAX)));
    let stats = Stats { objects: u64::MAX, ..Stats::default() };
    let stats = row(13, STATS.to_vec(), cbor::to_vec(&stats));
    let bucket = row(0, b"alpha".to_vec(), cbor::to_vec(&Bucket { created_ms: 1 }));
    let put = object("alpha", "a", 1, "etag");
    damaged(&[stats, bucket], &|index| index.write(|tables| tables.put_object(&put, 1)));
}
