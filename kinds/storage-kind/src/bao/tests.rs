use super::*;
use proptest::prelude::*;
use serde::Deserialize;

const VECTORS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/storage/bao_test_vectors.json");

#[derive(Deserialize)]
struct Vectors {
    hash: Vec<HashVector>,
    encode: Vec<EncodeVector>,
    slice: Vec<SliceFile>,
}

#[derive(Deserialize)]
struct HashVector {
    input_len: usize,
    bao_hash: String,
}

#[derive(Deserialize)]
struct EncodeVector {
    input_len: usize,
    output_len: usize,
    bao_hash: String,
    encoded_blake3: String,
    corruptions: Vec<usize>,
}

#[derive(Deserialize)]
struct SliceFile {
    input_len: usize,
    bao_hash: String,
    slices: Vec<SliceVector>,
}

#[derive(Deserialize)]
struct SliceVector {
    start: u64,
    len: u64,
    output_len: usize,
    output_blake3: String,
    corruptions: Vec<usize>,
}

fn vectors() -> Vectors {
    let text = std::fs::read_to_string(VECTORS).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The vectors' input: a 4-byte little-endian counter from 1.
fn input(length: usize) -> Vec<u8> {
    (1u32..).flat_map(u32::to_le_bytes).take(length).collect()
}

fn length(data: &[u8]) -> u64 {
    u64::try_from(data.len()).unwrap()
}

fn reader(data: &[u8]) -> impl FnMut(u64, usize) -> Result<Vec<u8>, &'static str> {
    move |offset, length| {
        assert!(offset % GROUP == 0 && length <= usize::try_from(GROUP).unwrap());
        let start = usize::try_from(offset).unwrap();
        Ok(data[start..start + length].to_vec())
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

#[test]
fn the_vectors_are_of_todays_blake3() {
    let vectors = vectors();
    assert_eq!(vectors.hash.len(), 13);
    for vector in vectors.hash {
        let data = input(vector.input_len);
        let expected: Digest = vector.bao_hash.parse().unwrap();
        assert_eq!(Digest::of(&data), expected);
        assert_eq!(Outboard::of(&data).hash(), expected);
    }
}

#[test]
fn whole_files_encode_as_published_and_no_corruption_passes() {
    for vector in vectors().encode {
        let data = input(vector.input_len);
        let hash: Digest = vector.bao_hash.parse().unwrap();
        let outboard = Outboard::of(&data);
        let all = length(&data);
        let encoded = if all == 0 {
            // The empty range is not one of ours; the empty file's only chunk is the same encoding.
            outboard.slice(0, reader(&data)).unwrap()
        } else {
            outboard.encode(0, all, reader(&data)).unwrap()
        };
        assert_eq!(encoded.len(), vector.output_len);
        assert_eq!(Digest::of(&encoded), vector.encoded_blake3.parse().unwrap());
        let read = |encoded: &[u8]| {
            if all == 0 {
                verify(hash, 0, 0, encoded).map(<[u8]>::to_vec)
            } else {
                decode(hash, all, 0, all, encoded)
            }
        };
        assert_eq!(read(&encoded), Ok(data));
        for at in vector.corruptions {
            assert!(read(&flipped(&encoded, at)).is_err(), "byte {at} of {all}");
        }
    }
}

#[test]
fn slices_are_as_published_and_no_corruption_passes() {
    let (mut ranges, mut single) = (0, 0);
    for file in vectors().slice {
        let data = input(file.input_len);
        let hash: Digest = file.bao_hash.parse().unwrap();
        let (outboard, all) = (Outboard::of(&data), length(&data));
        for vector in file.slices {
            // Bao reads an empty range as one byte, and beyond the end as the last chunk.
            let start = vector.start.min(all.saturating_sub(1));
            let end =
                vector.start.saturating_add(vector.len.max(1)).clamp(start + 1, all.max(start + 1));
            let expected: Digest = vector.output_blake3.parse().unwrap();
            if all > 0 {
                let slice = outboard.encode(start, end - start, reader(&data)).unwrap();
                assert_eq!((slice.len(), Digest::of(&slice)), (vector.output_len, expected));
                let read = |slice: &[u8]| decode(hash, all, start, end - start, slice);
                let (from, to) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
                assert_eq!(read(&slice).unwrap(), data[from..to]);
                for at in &vector.corruptions {
                    assert!(read(&flipped(&slice, *at)).is_err(), "byte {at} of {all} at {start}");
                }
                ranges += 1;
            }
            let chunk = chunk_of(start);
            if chunk == chunk_of(end - 1) {
                let slice = super::slice(&data, chunk).unwrap();
                assert_eq!((slice.len(), Digest::of(&slice)), (vector.output_len, expected));
                let from = usize::try_from(chunk * CHUNK).unwrap();
                let bytes = &data[from..data.len().min(from + 1024)];
                assert_eq!(verify(hash, all, chunk, &slice), Ok(bytes));
                for at in vector.corruptions {
                    assert!(verify(hash, all, chunk, &flipped(&slice, at)).is_err());
                }
                single += 1;
            }
        }
    }
    // All vectors but the four of the empty file, and those of one chunk a second time.
    assert_eq!((ranges, single), (218, 191));
}

#[test]
fn chunks_of_other_ranges_are_refused() {
    let data = input(5_000);
    let (hash, all) = (Digest::of(&data), 5_000);
    let slice = super::slice(&data, 2).unwrap();
    assert_eq!(verify(hash, all, 2, &slice).unwrap(), &data[2048..3072]);
    assert!(verify(hash, all, 1, &slice).is_err());
    assert_eq!(verify(hash, all, 5, &slice), Err(BaoError::Range));
    assert_eq!(verify(hash, all + 1, 2, &slice), Err(BaoError::Length));
    assert_eq!(verify(hash, all, 2, &slice[..slice.len() - 1]), Err(BaoError::Truncated));
    assert_eq!(verify(hash, all, 2, &[]), Err(BaoError::Truncated));
    assert_eq!(verify(hash, all, 2, &[&slice[..], &[0]].concat()), Err(BaoError::Trailing(1)));
    assert_eq!(verify(Digest::of(b"else"), all, 2, &slice), Err(BaoError::Mismatch));
    assert_eq!(decode(hash, all, 0, 0, &slice), Err(BaoError::Range));
    assert_eq!(decode(hash, all, 4_999, 2, &slice), Err(BaoError::Range));
    assert_eq!(decode(hash, all, u64::MAX, 2, &slice), Err(BaoError::Range));
    assert_eq!(super::slice(&data, 5), None);
}

#[test]
fn claims_of_huge_files_are_refused_even_with_a_hash_that_fits() {
    // The liar chooses the children first, so that the root is what they say.
    let root = |left: &[u8; 32], right: &[u8; 32]| {
        Digest(*merge_subtrees_root(left, right, Mode::Hash).as_bytes())
    };
    let hash = root(&[1; 32], &[2; 32]);
    let read = |length: u64, error: BaoError| {
        let slice = [&length.to_le_bytes()[..], &[1; 32], &[2; 32], &[0; 4096]].concat();
        let last = chunks(length) - 1;
        assert_eq!(verify(hash, length, 0, &slice), Err(error));
        assert_eq!(verify(hash, length, last, &slice), Err(error));
        assert_eq!(decode(hash, length, 0, length, &slice), Err(error));
    };
    read(u64::MAX, BaoError::Length);
    read(LENGTH_MAX + 1, BaoError::Length);
    read(LENGTH_MAX, BaoError::Mismatch);
    read(LENGTH_MAX - 1, BaoError::Mismatch);
}

#[test]
fn the_longest_slice_of_a_chunk_is_within_the_limit() {
    let (mut node, mut parents) = (Span { start: 0, length: LENGTH_MAX }, 0);
    while node.length > CHUNK {
        (node, parents) = (node.halves().0, parents + 1);
    }
    assert_eq!(HEADER + parents * PARENT + 1024, CHUNK_SLICE_MAX);
}

#[test]
fn a_reader_that_fails_or_falls_short_is_named() {
    let data = input(200_000);
    let outboard = Outboard::of(&data);
    assert_eq!(outboard.slice(7, |_, _| Err("broken")), Err(EncodeError::Read("broken")));
    assert_eq!(outboard.slice::<()>(7, |_, _| Ok(vec![0; 9])), Err(EncodeError::Short));
    assert_eq!(outboard.slice(196, reader(&data)), Err(EncodeError::Range));
    // A byte that rotted is not noticed here, but by the check before signing.
    let rotten = flipped(&data, 7 * 1024);
    let slice = outboard.slice(7, reader(&rotten)).unwrap();
    assert_eq!(verify(outboard.hash(), 200_000, 7, &slice), Err(BaoError::Mismatch));
}

#[test]
fn an_outboard_that_was_tampered_with_is_not_read() {
    for size in [0, 1, 65_536, 65_537, 500_000] {
        let outboard = Outboard::of(&input(size));
        let bytes = outboard.to_bytes();
        assert_eq!(Outboard::from_bytes(&bytes), Some(outboard.clone()));
        assert_eq!(Outboard::from_bytes(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Outboard::from_bytes(&[&bytes[..], &[0; 32]].concat()), None);
        if size > 65_536 {
            for at in 8..bytes.len() {
                assert_eq!(Outboard::from_bytes(&flipped(&bytes, at)), None);
            }
        }
    }
    assert_eq!(Outboard::from_bytes(&u64::MAX.to_le_bytes()), None);
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..5_000, 60_000usize..200_000, Just(65_536), Just(65_537), Just(131_072)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_chunk_of_any_file_is_proven(size in sizes(), at: prop::sample::Index) {
        let data = input(size);
        let (outboard, all) = (Outboard::of(&data), length(&data));
        prop_assert_eq!(outboard.hash(), Digest::of(&data));
        let chunk = u64::try_from(at.index(size)).unwrap() / CHUNK;
        let slice = outboard.slice(chunk, reader(&data)).unwrap();
        prop_assert!(slice.len() <= CHUNK_SLICE_MAX);
        let from = usize::try_from(chunk * CHUNK).unwrap();
        prop_assert_eq!(verify(outboard.hash(), all, chunk, &slice).unwrap(), &data[from..size.min(from + 1024)]);
        prop_assert_eq!(super::slice(&data, chunk), Some(slice));
    }

    #[test]
    fn any_range_of_any_file_is_proven(size in sizes(), a: prop::sample::Index, b: prop::sample::Index) {
        let data = input(size);
        let (outboard, all) = (Outboard::of(&data), length(&data));
        let (from, to) = (a.index(size).min(b.index(size)), a.index(size).max(b.index(size)) + 1);
        let range = (u64::try_from(from).unwrap(), u64::try_from(to - from).unwrap());
        let slice = outboard.encode(range.0, range.1, reader(&data)).unwrap();
        prop_assert_eq!(decode(outboard.hash(), all, range.0, range.1, &slice).unwrap(), &data[from..to]);
    }

    #[test]
    fn no_flipped_byte_passes(size in sizes(), at: prop::sample::Index, bit in 0u8..8, byte: prop::sample::Index) {
        let data = input(size);
        let chunk = u64::try_from(at.index(size)).unwrap() / CHUNK;
        let mut slice = super::slice(&data, chunk).unwrap();
        let byte = byte.index(slice.len());
        slice[byte] ^= 1 << bit;
        prop_assert!(verify(Digest::of(&data), length(&data), chunk, &slice).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, length: u64, chunk: u64, range: (u64, u64)) {
        let hash = Digest::of(&bytes);
        let _ = verify(hash, length, chunk, &bytes);
        let _ = decode(hash, length, range.0, range.1, &bytes);
        let _ = Outboard::from_bytes(&bytes);
        let headed = [&length.to_le_bytes()[..], &bytes].concat();
        let _ = verify(hash, length, chunk % chunks(length), &headed);
        let _ = decode(hash, length, 0, length.max(1), &headed);
    }
}
