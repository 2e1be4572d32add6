use super::*;
use proptest::prelude::*;

fn shard(seed: u64, bytes: u64) -> Shard {
    Shard { hash: Digest::of(&seed.to_be_bytes()), bytes }
}

fn sample(sizes: &[u64]) -> Dataset {
    Dataset::build((0..).zip(sizes).map(|(seed, bytes)| shard(seed, *bytes))).unwrap()
}

fn hash(parts: &[&[u8]]) -> Digest {
    Digest::of(&parts.concat())
}

#[test]
fn the_root_of_three_shards_is_what_the_rules_say() {
    let dataset = sample(&[5, 6, 7]);
    let [a, b, c] = [0, 1, 2].map(|at| dataset.shards()[at]);
    let size = |bytes: u64| bytes.to_be_bytes();
    let leaf = |s: Shard| hash(&[b"wayleave/dataset/leaf", s.hash.as_bytes(), &size(s.bytes)]);
    let node = |left: (Digest, u64), right: (Digest, u64)| {
        let parts = [left.0.as_bytes(), &size(left.1)[..], right.0.as_bytes(), &size(right.1)];
        hash(&[b"wayleave/dataset/node", &parts.concat()])
    };
    let pair = node((leaf(a), a.bytes), (leaf(b), b.bytes));
    // The third leaf has no neighbour and rises.
    let top = node((pair, a.bytes + b.bytes), (leaf(c), c.bytes));
    let root = hash(&[b"wayleave/dataset/root", top.as_bytes(), &size(18)]);
    assert_eq!(dataset.root(), root);
    assert_eq!(dataset.bytes(), 18);
}

/// The roots of no shard, of one, and of seven.
const KNOWN: [&str; 3] = [
    "0x21529e2cf021e78b6e120897714c27a8de42365151fcd9c13fbd2a230c632172",
    "0x05897c3a54a2b290c2733443ac56654d48db7cc69d750cc7dcf5b67ef451992a",
    "0xa563b74b77284751091bf656a419c97e5b4dcc1183a07442553965f27eb4464f",
];

#[test]
fn the_root_never_changes_unnoticed() {
    // Kept from the first version: a change of these breaks every dataset frozen on a ledger.
    let roots =
        [&[][..], &[1024], &[1, 2, 3, 4, 5, 6, 7]].map(|sizes| sample(sizes).root().to_string());
    assert_eq!(roots, KNOWN);
}

#[test]
fn the_empty_dataset_has_a_root_and_no_offsets() {
    let dataset = sample(&[]);
    assert_eq!(dataset.root(), empty_root());
    assert_eq!((dataset.bytes(), dataset.locate(0), dataset.proof(0)), (0, None, None));
    let nothing = shard(0, 0);
    assert_eq!(verify(empty_root(), 0, 0, nothing, &[]), Err(PathError::Root));
}

#[test]
fn a_dataset_of_one_shard_has_an_empty_path() {
    let dataset = sample(&[10]);
    assert_eq!(dataset.proof(0), Some(Vec::new()));
    let only = dataset.shards()[0];
    assert_eq!(verify(dataset.root(), 10, 9, only, &[]), Ok(9));
    assert_eq!(verify(dataset.root(), 10, 10, only, &[]), Err(PathError::Offset));
}

#[test]
fn every_boundary_belongs_to_exactly_one_shard() {
    let dataset = sample(&[3, 1, 4, 1, 5]);
    let mut start = 0;
    for (index, shard) in dataset.shards().iter().enumerate() {
        let path = dataset.proof(index).unwrap();
        let within = |offset| verify(dataset.root(), dataset.bytes(), offset, *shard, &path);
        assert_eq!(within(start), Ok(0));
        assert_eq!(within(start + shard.bytes - 1), Ok(shard.bytes - 1));
        assert_eq!(within(start + shard.bytes), Err(PathError::Offset));
        if let Some(before) = start.checked_sub(1) {
            assert_eq!(within(before), Err(PathError::Offset));
        }
        start += shard.bytes;
    }
    assert_eq!(dataset.locate(start), None);
}

#[test]
fn what_is_not_a_dataset_is_refused_by_name() {
    let build = |shards: &[Shard]| Dataset::build(shards.iter().copied()).unwrap_err();
    let (a, b) = (shard(1, 1), shard(2, u64::MAX));
    assert_eq!(build(&[a, shard(2, 0)]), DatasetError::Empty(shard(2, 0).hash));
    assert_eq!(build(&[a, shard(1, 9)]), DatasetError::Repeated(a.hash));
    assert_eq!(build(&[a, b]), DatasetError::Overflow);

    let dataset = sample(&[1, 2]);
    let known = dataset.shards()[0];
    assert_eq!(dataset.apply(&[known], &[]), Err(DatasetError::Repeated(known.hash)));
    assert_eq!(dataset.apply(&[], &[b.hash]), Err(DatasetError::Missing(b.hash)));
    assert_eq!(
        dataset.apply(&[], &[known.hash, known.hash]),
        Err(DatasetError::Missing(known.hash))
    );
    assert_eq!(dataset.apply(&[known], &[known.hash]), Err(DatasetError::Repeated(known.hash)));
}

#[test]
fn a_leaf_is_never_taken_for_a_node() {
    // A shard whose hash and size are chosen so that its leaf would have a node's input.
    let dataset = sample(&[5, 6]);
    let [a, b] = [0, 1].map(|at| leaf(&dataset.shards()[at]));
    let top = node_hash(&a, &b);
    let posing = Shard { hash: top, bytes: 11 };
    assert_eq!(verify(dataset.root(), 11, 0, posing, &[]), Err(PathError::Root));
}

#[test]
fn sums_that_overflow_and_long_paths_are_refused() {
    let dataset = sample(&[5, 6]);
    let mut path = dataset.proof(0).unwrap();
    path[0].bytes = u64::MAX;
    let first = dataset.shards()[0];
    assert_eq!(verify(dataset.root(), 11, 0, first, &path), Err(PathError::Sum));
    let long = vec![path[0]; PATH_MAX + 1];
    assert_eq!(verify(dataset.root(), 11, 0, first, &long), Err(PathError::TooLong(65)));
}

#[test]
fn a_hundred_thousand_shards_change_and_prove() {
    let count: u64 = 100_000;
    let dataset = Dataset::build((0..count).map(|seed| shard(seed, seed + 1))).unwrap();
    let bytes = count * (count + 1) / 2;
    assert_eq!(dataset.bytes(), bytes);
    let changed = dataset.apply(&[shard(count, 7)], &[shard(0, 1).hash]).unwrap();
    assert_eq!(changed.bytes(), bytes + 6);
    for offset in [0, 1, bytes / 2, bytes + 5] {
        let place = changed.locate(offset).unwrap();
        let path = changed.proof(place.index).unwrap();
        assert!(path.len() <= 17);
        let within = verify(changed.root(), changed.bytes(), offset, place.shard, &path);
        assert_eq!(within, Ok(place.offset));
    }
}

fn sizes() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![1u64..20, 1u64..1 << 40], 1..40)
}

proptest! {
    #[test]
    fn every_offset_is_proven_by_its_shard_alone(
        sizes in sizes(),
        at: u64,
        other: prop::sample::Index,
    ) {
        let dataset = sample(&sizes);
        let offset = at % dataset.bytes();
        let place = dataset.locate(offset).unwrap();
        let before: u64 = dataset.shards()[..place.index].iter().map(|shard| shard.bytes).sum();
        prop_assert_eq!(before + place.offset, offset);

        let path = dataset.proof(place.index).unwrap();
        let checked = |shard, path: &[Sibling]| verify(dataset.root(), dataset.bytes(), offset, shard, path);
        prop_assert_eq!(checked(place.shard, &path), Ok(place.offset));
        let other = other.index(sizes.len());
        if other != place.index {
            let path = dataset.proof(other).unwrap();
            prop_assert_eq!(checked(dataset.shards()[other], &path), Err(PathError::Offset));
        }
    }

    #[test]
    fn a_tampered_size_sum_hash_side_or_path_proves_nothing(
        sizes in prop::collection::vec(1u64..1 << 40, 2..40),
        at: prop::sample::Index,
        step: prop::sample::Index,
        delta in 1u64..1 << 41,
    ) {
        let dataset = sample(&sizes);
        let index = at.index(sizes.len());
        let (shard, path) = (dataset.shards()[index], dataset.proof(index).unwrap());
        let step = step.index(path.len());
        let refused = |bytes, shard: Shard, path: &[Sibling]| {
            // Whatever the offset: no stretch of the dataset may be proven by it.
            (0..64).all(|bit| verify(dataset.root(), bytes, 1 << bit >> 1, shard, path).is_err())
        };
        let bytes = dataset.bytes();
        let with = |change: &dyn Fn(&mut Sibling)| {
            let mut path = path.clone();
            change(&mut path[step]);
            path
        };
        let larger = Shard { bytes: shard.bytes + delta, ..shard };
        let another = Shard { hash: Digest::of(b"else"), ..shard };
        let turned = with(&|s| s.side = if s.side == Side::Left { Side::Right } else { Side::Left });
        prop_assert!(refused(bytes + delta, shard, &path));
        prop_assert!(refused(bytes, larger, &path));
        prop_assert!(refused(bytes + delta, larger, &path));
        prop_assert!(refused(bytes, another, &path));
        prop_assert!(refused(bytes, shard, &with(&|s| s.bytes += delta)));
        prop_assert!(refused(bytes + delta, shard, &with(&|s| s.bytes += delta)));
        prop_assert!(refused(bytes, shard, &with(&|s| s.hash.0[0] ^= 1)));
        prop_assert!(refused(bytes, shard, &turned));
        prop_assert!(refused(bytes, shard, &path[..path.len() - 1]));
        let longer = [&path[..], &path[step..=step]].concat();
        prop_assert!(refused(bytes, shard, &longer));
    }

    #[test]
    fn the_set_alone_decides_the_root(sizes in sizes(), seed: u64) {
        let mut shards = sample(&sizes).shards().to_vec();
        let dataset = sample(&sizes);
        shards.sort_by_key(|shard| Digest::of(&[&shard.hash.0[..], &seed.to_be_bytes()].concat()));
        prop_assert_eq!(Dataset::build(shards).unwrap(), dataset);
    }

    #[test]
    fn changes_lead_to_the_same_tree_as_building(sizes in sizes(), kept: u64, more in sizes()) {
        let dataset = sample(&sizes);
        let is_kept = |i: usize| kept >> (i % 64) & 1 == 1;
        let removed: Vec<Digest> = dataset.shards().iter().enumerate()
            .filter(|(i, _)| !is_kept(*i)).map(|(_, shard)| shard.hash).collect();
        let added: Vec<Shard> = (1_000..).zip(&more).map(|(seed, bytes)| shard(seed, *bytes)).collect();
        let changed = dataset.apply(&added, &removed).unwrap();
        let stay = dataset.shards().iter().filter(|shard| !removed.contains(&shard.hash)).copied();
        prop_assert_eq!(changed, Dataset::build(stay.chain(added)).unwrap());
    }
}
