//! Round trips through every loss that the code allows, and refusal of every alteration.

use super::*;
use proptest::prelude::*;
use protocol::Digest;
use std::ops::Range;

fn keys() -> ContentKeys {
    ContentKeys { content: Secret::new([1; 32]), mask: MaskKey::new(Secret::new([2; 32])) }
}

fn plain(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&length.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn seal(shape: Shape, id: SegmentId, bytes: &[u8], cuts: &[usize]) -> (Layout, Vec<Shard>) {
    let layout = Layout::new(shape, u64::try_from(bytes.len()).unwrap()).unwrap();
    let mut sealer = Sealer::new(&keys(), id, layout).unwrap();
    let mut rest = bytes;
    for cut in cuts {
        let (head, tail) = rest.split_at((*cut).min(rest.len()));
        sealer.push(head).unwrap();
        rest = tail;
    }
    sealer.push(rest).unwrap();
    (layout, sealer.finish(&keys()).unwrap())
}

/// Reads `wanted` as a service does: rows of some shards, data pieces rebuilt where missing.
fn read(
    layout: Layout,
    id: SegmentId,
    shards: &[Option<Shard>],
    wanted: Range<u32>,
) -> Result<Vec<u8>, CodecError> {
    let opener = Opener::new(&keys(), id, layout)?;
    let frames = layout.frames_of(&wanted);
    let rows = layout.rows_of(&frames);
    let span = layout.bytes_of(&rows);
    let mut pieces: Vec<Option<Vec<u8>>> = shards
        .iter()
        .zip(0u8..)
        .map(|(shard, index)| {
            let mut piece = shard.as_ref()?.bytes[span.clone()].to_vec();
            opener.uncover(index, span.start, &mut piece).unwrap();
            Some(piece)
        })
        .collect();
    reconstruct(layout.shape(), &mut pieces, false)?;
    for shard in 0..layout.shape().k() {
        let piece = pieces[usize::from(shard)].as_mut().unwrap();
        opener.open(shard, rows.start, &frames, piece)?;
    }
    let mut out = Vec::new();
    for frame in frames {
        let piece = pieces[usize::from(layout.shard_of(frame))].as_ref().unwrap();
        out.extend_from_slice(&piece[opener.plain_in(rows.start, frame, &wanted)]);
    }
    Ok(out)
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1u8..6, 1u8..5).prop_map(|(k, more)| Shape::new(k, k + more).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any range comes back from any k shards, however the bytes came in.
    #[test]
    fn any_k_shards_give_any_range(
        shape in shapes(),
        length in prop_oneof![1usize..40_000, 200_000usize..900_000],
        cuts in prop::collection::vec(1usize..100_000, 0..6),
        from in 0.0f64..1.0,
        to in 0.0f64..1.0,
        order in any::<u64>(),
    ) {
        let bytes = plain(length);
        let id = SegmentId([length.to_be_bytes()[7]; 16]);
        let (layout, shards) = seal(shape, id, &bytes, &cuts);
        for shard in &shards {
            prop_assert_eq!(Digest::of(&shard.bytes), shard.hash);
            prop_assert_eq!(shard.bytes.len(), layout.shard_bytes());
        }
        let mut kept: Vec<Option<Shard>> = shards.into_iter().map(Some).collect();
        let mut draw = protocol::seed::Seed([3; 32]).draw("loss", &[&order.to_be_bytes()]);
        let mut lost = 0;
        while lost < shape.n() - shape.k() {
            let at = usize::try_from(draw.below(u64::from(shape.n()))).unwrap();
            if kept[at].take().is_some() {
                lost += 1;
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "draws a position in the segment")]
        let at = |share: f64| (share * length as f64) as usize;
        let (from, to) = (at(from).min(at(to)), at(from).max(at(to)));
        let to = (to + 1).min(length);
        let from = from.min(to - 1);
        let wanted = u32::try_from(from).unwrap()..u32::try_from(to).unwrap();
        prop_assert_eq!(read(layout, id, &kept, wanted).unwrap(), &bytes[from..to]);
    }

    /// Every shard can be rebuilt from k others, to the bit.
    #[test]
    fn any_shard_is_rebuilt(shape in shapes(), length in 1usize..300_000, which in any::<u8>()) {
        let id = SegmentId([9; 16]);
        let (_, shards) = seal(shape, id, &plain(length), &[]);
        let missing = which % shape.n();
        let others: Vec<_> = (0..shape.n())
            .zip(&shards)
            .filter(|(index, _)| *index != missing)
            .take(usize::from(shape.k()))
            .map(|(index, _)| index)
            .collect();
        let given = (0..shape.n())
            .zip(&shards)
            .map(|(index, shard)| others.contains(&index).then(|| shard.bytes.to_vec()))
            .collect();
        let rebuilt = rebuild(&keys().mask, id, shape, given, missing).unwrap();
        prop_assert_eq!(rebuilt.hash, shards[usize::from(missing)].hash);
    }

    /// One bit turned anywhere in a data shard that is read is noticed.
    #[test]
    fn a_turned_bit_is_noticed(length in 1usize..200_000, at in any::<u64>(), bit in 0u8..8) {
        let shape = Shape::new(4, 6).unwrap();
        let id = SegmentId([4; 16]);
        let bytes = plain(length);
        let (layout, shards) = seal(shape, id, &bytes, &[]);
        let frame = u32::try_from(at % u64::from(layout.frames())).unwrap();
        let shard = usize::from(layout.shard_of(frame));
        let span = layout.span_of(frame);
        let place = span.start + usize::try_from(at).unwrap_or(0) % span.len();
        let mut kept: Vec<Option<Shard>> = shards.into_iter().map(Some).collect();
        let mut altered = kept[shard].as_ref().unwrap().bytes.to_vec();
        altered[place] ^= 1 << bit;
        kept[shard].as_mut().unwrap().bytes = altered.into();
        let whole = 0..layout.plain_bytes();
        prop_assert_eq!(read(layout, id, &kept, whole), Err(CodecError::Forged(frame)));
    }

    /// A mask lifted in pieces is the mask lifted at once.
    #[test]
    fn masks_are_seekable(length in 1usize..5_000, cut in any::<u16>()) {
        let cut = usize::from(cut) % (length + 1);
        let (key, id) = (MaskKey::new(Secret::new([5; 32])), SegmentId([6; 16]));
        let mut whole = plain(length);
        let mut parts = whole.clone();
        mask::apply(&key, id, 3, 0, &mut whole).unwrap();
        mask::apply(&key, id, 3, 0, &mut parts[..cut]).unwrap();
        mask::apply(&key, id, 3, cut, &mut parts[cut..]).unwrap();
        prop_assert_eq!(&whole, &parts);
        prop_assert!(length < 16 || whole != plain(length));
    }
}

#[test]
fn frames_do_not_open_elsewhere() {
    let shape = Shape::new(4, 6).unwrap();
    let bytes = plain(64 * 1024 * 9);
    let (layout, shards) = seal(shape, SegmentId([1; 16]), &bytes, &[]);
    let kept: Vec<_> = shards.iter().cloned().map(Some).collect();
    // Under another segment's id, and with two shards swapped.
    let other = read(layout, SegmentId([2; 16]), &kept, 0..10);
    assert_eq!(other, Err(CodecError::Forged(0)));
    let mut swapped = kept;
    swapped.swap(0, 1);
    assert_eq!(read(layout, SegmentId([1; 16]), &swapped, 0..10), Err(CodecError::Forged(0)));
    // A segment that claims to be shorter: the number of frames is bound.
    let short = Layout::new(shape, 64 * 1024 * 8).unwrap();
    assert!(short.frames() < layout.frames());
    let kept: Vec<_> = shards.into_iter().map(Some).collect();
    assert_eq!(read(short, SegmentId([1; 16]), &kept, 0..10), Err(CodecError::Forged(0)));
}

#[test]
fn shards_share_no_bytes_with_what_is_stored() {
    let shape = Shape::new(4, 6).unwrap();
    let bytes = vec![0; 1 << 20];
    let (_, shards) = seal(shape, SegmentId([1; 16]), &bytes, &[]);
    for (at, shard) in shards.iter().enumerate() {
        assert!(!shard.bytes.windows(16).any(|window| window == [0; 16]));
        assert!(shards[at + 1..].iter().all(|other| other.bytes != shard.bytes));
    }
    let (_, again) = seal(shape, SegmentId([2; 16]), &bytes, &[]);
    assert_ne!(shards[0].hash, again[0].hash);
}

#[test]
fn lengths_are_checked() {
    let shape = Shape::new(4, 6).unwrap();
    assert_eq!(Shape::new(0, 6), Err(CodecError::Shape { k: 0, n: 6 }));
    assert_eq!(Shape::new(6, 6), Err(CodecError::Shape { k: 6, n: 6 }));
    assert_eq!(Layout::new(shape, 0), Err(CodecError::Length(0)));
    let over = SEGMENT_BYTES_MAX + 1;
    assert_eq!(Layout::new(shape, over), Err(CodecError::Length(over)));
    let layout = Layout::new(shape, 10).unwrap();
    let mut sealer = Sealer::new(&keys(), SegmentId([0; 16]), layout).unwrap();
    sealer.push(&[0; 4]).unwrap();
    let mismatch = |got| CodecError::Mismatch { expected: 10, got };
    assert_eq!(sealer.push(&[0; 7]), Err(mismatch(11)));
    assert_eq!(sealer.finish(&keys()).unwrap_err(), mismatch(4));
}

#[test]
fn a_full_segment_wastes_little_and_a_small_one_uses_all_shards() {
    let shape = Shape::new(4, 6).unwrap();
    let full = Layout::new(shape, SEGMENT_BYTES_MAX).unwrap();
    assert_eq!(full.frames(), 1_024);
    assert_eq!(full.shard_bytes(), 256 * (65_536 + 16));
    assert!(full.stored_bytes() < SEGMENT_BYTES_MAX * 3 / 2 + 32_768);
    let small = Layout::new(shape, 20_000).unwrap();
    assert_eq!((small.frame_bytes(), small.frames(), small.rows()), (8_192, 3, 1));
    let tiny = Layout::new(shape, 100).unwrap();
    assert_eq!((tiny.frames(), tiny.shard_bytes()), (1, 116));
}

#[test]
fn secrets_stay_hidden() {
    let shown = format!("{:?}", keys());
    assert!(!shown.contains('1') && !shown.contains('2'), "{shown}");
}
