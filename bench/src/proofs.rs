//! Storage proofs made and checked in a second, on one core, beside bao-tree on the same bytes.

use crate::report::{Figure, median, progress};
use anyhow::{Context as _, ensure};
use bao_tree::{
    BlockSize, ChunkRanges,
    io::{
        outboard::{EmptyOutboard, PreOrderOutboard},
        round_up_to_chunks,
        sync::{CreateOutboard as _, decode_ranges, encode_ranges_validated},
    },
};
use protocol::Digest;
use std::{convert::Infallible, time::Instant};
use storage_kind::bao;

/// The shard: a quarter of a 64 MiB segment.
const SHARD: usize = 16 << 20;
/// Proofs a run.
const COUNT: u64 = 2_000;
/// Runs, of which the median counts.
const RUNS: usize = 5;
/// The rival's name.
const RIVAL: &str = "bao-tree 0.17, groups of 64 KiB";

/// Measures both.
pub(crate) fn compare() -> anyhow::Result<Vec<Figure>> {
    progress("storage proofs");
    let mut shard = vec![0; SHARD];
    blake3::Hasher::new().update(b"shard").finalize_xof().fill(&mut shard);
    let (mut made, mut checked) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..RUNS {
        for (at, run) in [ours, rival].into_iter().enumerate() {
            let (make, check) = run(&shard)?;
            made[at].push(make);
            checked[at].push(check);
        }
    }
    let figure = |what: &str, [ours, rival]: [Vec<f64>; 2]| Figure {
        what: what.into(),
        ours: median(ours),
        rival: Some((RIVAL.into(), median(rival))),
        unit: "1/s",
    };
    Ok(vec![
        figure("proofs made: slice of one 1 KiB chunk of a 16 MiB shard, one core", made),
        figure("proofs checked: the same slices, one core", checked),
    ])
}

/// The chunk of the nth proof: all over the shard.
fn chunk(number: u64) -> u64 {
    number.wrapping_mul(7_919) % bao::chunks(u64::try_from(SHARD).unwrap_or(u64::MAX))
}

fn per_second(began: Instant) -> f64 {
    let count = u32::try_from(COUNT).unwrap_or(u32::MAX);
    f64::from(count) / began.elapsed().as_secs_f64()
}

fn ours(shard: &[u8]) -> anyhow::Result<(f64, f64)> {
    let outboard = bao::Outboard::of(shard);
    let (hash, length) = (Digest::of(shard), u64::try_from(shard.len())?);
    let read = |offset: u64, length: usize| -> Result<Vec<u8>, Infallible> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(shard.len());
        Ok(shard[start..shard.len().min(start.saturating_add(length))].to_vec())
    };
    let began = Instant::now();
    let slices = (0..COUNT)
        .map(|number| outboard.slice(chunk(number), read))
        .collect::<Result<Vec<_>, _>>()?;
    let make = per_second(began);
    let began = Instant::now();
    for (number, slice) in (0..COUNT).zip(&slices) {
        bao::verify(hash, length, chunk(number), slice)?;
    }
    Ok((make, per_second(began)))
}

fn rival(shard: &[u8]) -> anyhow::Result<(f64, f64)> {
    let block = BlockSize::from_chunk_log(6);
    let outboard = PreOrderOutboard::<Vec<u8>>::create(std::io::Cursor::new(shard), block)?;
    let ranges = |number: u64| -> ChunkRanges {
        let start = chunk(number) * bao::CHUNK;
        let bytes = start..start + bao::CHUNK;
        round_up_to_chunks(&range_collections::RangeSet2::from(bytes))
    };
    let began = Instant::now();
    let slices = (0..COUNT)
        .map(|number| {
            let mut slice = Vec::new();
            encode_ranges_validated(shard, &outboard, &ranges(number), &mut slice)?;
            anyhow::Ok(slice)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let make = per_second(began);
    let began = Instant::now();
    for (number, slice) in (0..COUNT).zip(&slices) {
        let tree = outboard.tree;
        let mut target = EmptyOutboard { tree, root: outboard.root };
        let mut bytes = Vec::new();
        decode_ranges(slice.as_slice(), &ranges(number), &mut Sink(&mut bytes), &mut target)
            .context("bao-tree refused its own slice")?;
        ensure!(!bytes.is_empty(), "bao-tree decoded nothing");
    }
    Ok((make, per_second(began)))
}

/// Keeps the decoded bytes, wherever they belong.
#[derive(Debug)]
struct Sink<'a>(&'a mut Vec<u8>);

impl positioned_io::WriteAt for Sink<'_> {
    fn write_at(&mut self, _: u64, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
