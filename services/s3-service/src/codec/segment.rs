//! Sealing a segment as its bytes come, opening frames of it, and rebuilding shards.

use super::{
    CodecError, ContentKeys, Layout, MaskKey, SegmentId, Shape, TAG_BYTES, frame::FrameKey, mask,
};
use crate::num::{mem, mem32, wide};
use bytes::Bytes;
use protocol::Digest;
use reed_solomon_erasure::galois_8::ReedSolomon;
use std::ops::Range;

/// One masked shard and its name.
#[derive(Clone, Debug)]
pub struct Shard {
    /// BLAKE3 of `bytes`.
    pub hash: Digest,
    /// The masked bytes.
    pub bytes: Bytes,
}

/// A segment being sealed. Holds its data shards, and of the plain bytes only an unfinished frame.
#[derive(Debug)]
pub struct Sealer {
    layout: Layout,
    id: SegmentId,
    key: FrameKey,
    data: Vec<Vec<u8>>,
    partial: Vec<u8>,
    frame: u32,
    taken: u64,
}

impl Sealer {
    /// Starts segment `id`. Never use an id twice.
    ///
    /// # Errors
    /// [`CodecError::Cipher`].
    pub fn new(keys: &ContentKeys, id: SegmentId, layout: Layout) -> Result<Self, CodecError> {
        let data = (0..layout.shape().k()).map(|_| vec![0; layout.shard_bytes()]).collect();
        Ok(Self {
            layout,
            id,
            key: FrameKey::derive(&keys.content, id, layout.frames())?,
            data,
            partial: Vec::new(),
            frame: 0,
            taken: 0,
        })
    }

    /// Plain bytes still to come.
    pub fn missing(&self) -> u64 {
        u64::from(self.layout.plain_bytes()) - self.taken
    }

    /// Takes the next plain bytes.
    ///
    /// # Errors
    /// [`CodecError::Mismatch`] if these are more than the layout was made for.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), CodecError> {
        if wide(bytes.len()) > self.missing() {
            return Err(self.mismatch(self.taken + wide(bytes.len())));
        }
        self.taken += wide(bytes.len());
        while !bytes.is_empty() {
            let wanted = self.layout.plain_of(self.frame);
            if self.partial.is_empty() && bytes.len() >= wanted {
                let (plain, rest) = bytes.split_at(wanted);
                Self::seal(&self.layout, &self.key, &mut self.data, self.frame, plain)?;
                bytes = rest;
            } else {
                let (more, rest) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
                self.partial.extend_from_slice(more);
                bytes = rest;
                if self.partial.len() < wanted {
                    break;
                }
                Self::seal(&self.layout, &self.key, &mut self.data, self.frame, &self.partial)?;
                self.partial.clear();
            }
            self.frame += 1;
        }
        Ok(())
    }

    fn seal(
        layout: &Layout,
        key: &FrameKey,
        data: &mut [Vec<u8>],
        frame: u32,
        plain: &[u8],
    ) -> Result<(), CodecError> {
        let shard = data
            .get_mut(usize::from(layout.shard_of(frame)))
            .and_then(|shard| shard.get_mut(layout.span_of(frame)))
            .ok_or(CodecError::Cipher)?;
        key.seal(frame, plain, shard)
    }

    fn mismatch(&self, got: u64) -> CodecError {
        CodecError::Mismatch { expected: u64::from(self.layout.plain_bytes()), got }
    }

    /// Makes the shards. Takes some tens of milliseconds for a full segment.
    ///
    /// # Errors
    /// [`CodecError::Mismatch`] if bytes are missing.
    pub fn finish(mut self, keys: &ContentKeys) -> Result<Vec<Shard>, CodecError> {
        if self.missing() > 0 {
            return Err(self.mismatch(self.taken));
        }
        let shape = self.layout.shape();
        let mut parity: Vec<Vec<u8>> =
            (shape.k()..shape.n()).map(|_| vec![0; self.layout.shard_bytes()]).collect();
        code(shape)?.encode_sep(&self.data, &mut parity).map_err(|_| CodecError::TooFew)?;
        self.data.append(&mut parity);
        (0..shape.n())
            .zip(self.data)
            .map(|(index, bytes)| cover(&keys.mask, self.id, index, bytes))
            .collect()
    }
}

fn cover(key: &MaskKey, id: SegmentId, index: u8, mut bytes: Vec<u8>) -> Result<Shard, CodecError> {
    mask::apply(key, id, index, 0, &mut bytes)?;
    Ok(Shard { hash: Digest::of(&bytes), bytes: Bytes::from(bytes) })
}

fn code(shape: Shape) -> Result<ReedSolomon, CodecError> {
    let (k, n) = (usize::from(shape.k()), usize::from(shape.n()));
    ReedSolomon::new(k, n - k).map_err(|_| CodecError::Shape { k: shape.k(), n: shape.n() })
}

/// Fills in the missing data pieces from any k pieces, all of the same rows and without masks. With
/// `parity` the missing parity pieces too.
///
/// # Errors
/// [`CodecError::TooFew`] with fewer than k pieces.
pub fn reconstruct(
    shape: Shape,
    pieces: &mut [Option<Vec<u8>>],
    parity: bool,
) -> Result<(), CodecError> {
    let code = code(shape)?;
    if parity { code.reconstruct(pieces) } else { code.reconstruct_data(pieces) }
        .map_err(|_| CodecError::TooFew)
}

/// Rebuilds the whole shard `missing` from whole masked shards. Needs the mask key alone.
///
/// # Errors
/// [`CodecError::TooFew`] with fewer than k shards.
pub fn rebuild(
    key: &MaskKey,
    id: SegmentId,
    shape: Shape,
    mut shards: Vec<Option<Vec<u8>>>,
    missing: u8,
) -> Result<Shard, CodecError> {
    for (index, shard) in (0..shape.n()).zip(&mut shards) {
        if let Some(bytes) = shard {
            mask::apply(key, id, index, 0, bytes)?;
        }
    }
    reconstruct(shape, &mut shards, missing >= shape.k())?;
    let bytes =
        shards.get_mut(usize::from(missing)).and_then(Option::take).ok_or(CodecError::TooFew)?;
    cover(key, id, missing, bytes)
}

/// Opens frames of one segment.
#[derive(Debug)]
pub struct Opener {
    layout: Layout,
    id: SegmentId,
    key: FrameKey,
    mask: MaskKey,
}

impl Opener {
    /// Opens frames of segment `id`.
    ///
    /// # Errors
    /// [`CodecError::Cipher`].
    pub fn new(keys: &ContentKeys, id: SegmentId, layout: Layout) -> Result<Self, CodecError> {
        let key = FrameKey::derive(&keys.content, id, layout.frames())?;
        Ok(Self { layout, id, key, mask: keys.mask.clone() })
    }

    /// The segment's layout.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Lifts the mask from bytes of a shard that begin at `offset`.
    ///
    /// # Errors
    /// [`CodecError::Cipher`].
    pub fn uncover(&self, shard: u8, offset: usize, bytes: &mut [u8]) -> Result<(), CodecError> {
        mask::apply(&self.mask, self.id, shard, offset, bytes)
    }

    /// Opens, where they lie, those of `frames` that data shard `shard` holds in `piece`, which are
    /// the uncovered bytes of the rows from `first_row` on.
    ///
    /// # Errors
    /// [`CodecError::Forged`] names the first frame that does not open; the piece is useless then.
    pub fn open(
        &self,
        shard: u8,
        first_row: u32,
        frames: &Range<u32>,
        piece: &mut [u8],
    ) -> Result<(), CodecError> {
        let base = self.layout.bytes_of(&(first_row..first_row + 1)).start;
        for frame in frames.clone().filter(|frame| self.layout.shard_of(*frame) == shard) {
            let span = self.layout.span_of(frame);
            let sealed = span
                .start
                .checked_sub(base)
                .and_then(|start| piece.get_mut(start..span.end - base))
                .ok_or(CodecError::Forged(frame))?;
            self.key.open(frame, sealed)?;
        }
        Ok(())
    }

    /// Where, in a piece of rows from `first_row` on that was opened, lie those plain bytes of
    /// `frame` that are in `wanted` (plain bytes of the segment).
    pub fn plain_in(&self, first_row: u32, frame: u32, wanted: &Range<u32>) -> Range<usize> {
        let base = self.layout.bytes_of(&(first_row..first_row + 1)).start;
        let span = self.layout.span_of(frame);
        let begins = self.layout.start_of(frame);
        let skip = mem32(wanted.start.saturating_sub(begins));
        let plain = span.end - span.start - TAG_BYTES;
        let upto = mem(u64::from(wanted.end).saturating_sub(u64::from(begins))).min(plain);
        let start = span.start - base;
        start + skip.min(upto)..start + upto
    }
}
