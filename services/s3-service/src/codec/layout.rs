//! Where each byte of a segment lies: pure arithmetic.
//!
//! Frame f lies in data shard `f % k`, row `f / k`. All frames but the segment's last have the same
//! length, so a row is the same byte range in every shard, parity included. The last row is as long
//! as its longest frame; shorter or missing frames are filled up with zeros before the code is
//! applied. Frames are 64 KiB, and smaller in small segments so that these use all k shards.

use super::CodecError;
use crate::num::{mem, mem32, wide};
use std::ops::Range;

/// Largest plain length of a segment, bytes.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Largest plain length of a frame, bytes.
pub const FRAME_BYTES_MAX: u32 = 64 << 10;
/// Smallest plain length of a frame (but the last), bytes. A power of two.
pub const FRAME_BYTES_MIN: u32 = 4 << 10;
/// Length of a frame's tag, bytes (AES-GCM).
pub const TAG_BYTES: usize = 16;

/// How many shards there are and how many are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    k: u8,
    n: u8,
}

impl Shape {
    /// k of n.
    ///
    /// # Errors
    /// [`CodecError::Shape`] unless 1 <= k < n.
    pub const fn new(k: u8, n: u8) -> Result<Self, CodecError> {
        if k == 0 || k >= n { Err(CodecError::Shape { k, n }) } else { Ok(Self { k, n }) }
    }

    /// Shards needed to read.
    pub const fn k(self) -> u8 {
        self.k
    }

    /// Shards in all.
    pub const fn n(self) -> u8 {
        self.n
    }

    /// Shards that must be durable before an object is acknowledged: k + 1 (design 11).
    pub const fn acknowledge(self) -> u8 {
        // k < n <= 255.
        self.k + 1
    }
}

/// The layout of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Shape,
    plain: u32,
    frame: u32,
}

impl Layout {
    /// The layout of `plain` bytes in `shape`.
    ///
    /// # Errors
    /// [`CodecError::Length`] if there are no bytes or more than [`SEGMENT_BYTES_MAX`].
    pub fn new(shape: Shape, plain: u64) -> Result<Self, CodecError> {
        let bytes = u32::try_from(plain).map_err(|_| CodecError::Length(plain))?;
        if bytes == 0 || plain > SEGMENT_BYTES_MAX {
            return Err(CodecError::Length(plain));
        }
        let quarter = bytes.div_ceil(u32::from(shape.k));
        let frame = quarter.next_power_of_two().clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX);
        Ok(Self { shape, plain: bytes, frame })
    }

    /// The shape.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Plain bytes of the segment.
    pub const fn plain_bytes(&self) -> u32 {
        self.plain
    }

    /// Plain bytes of every frame but the last.
    pub const fn frame_bytes(&self) -> u32 {
        self.frame
    }

    /// How many frames there are.
    pub const fn frames(&self) -> u32 {
        self.plain.div_ceil(self.frame)
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        self.frames().div_ceil(u32::from(self.shape.k))
    }

    /// Plain bytes of frame `frame`; 0 past the end.
    pub fn plain_of(&self, frame: u32) -> usize {
        let start = u64::from(frame) * u64::from(self.frame);
        mem(u64::from(self.plain).saturating_sub(start).min(u64::from(self.frame)))
    }

    /// The data shard that holds a frame.
    pub fn shard_of(&self, frame: u32) -> u8 {
        // The remainder is below k, which fits.
        u8::try_from(frame % u32::from(self.shape.k)).unwrap_or(0)
    }

    /// The row that holds a frame.
    pub fn row_of(&self, frame: u32) -> u32 {
        frame / u32::from(self.shape.k)
    }

    /// The frame in row `row` of data shard `shard`.
    pub fn frame_at(&self, row: u32, shard: u8) -> u32 {
        row * u32::from(self.shape.k) + u32::from(shard)
    }

    /// Bytes of a sealed frame of full length, which is the height of a row.
    fn pitch(&self) -> usize {
        mem32(self.frame) + TAG_BYTES
    }

    /// Bytes of every shard.
    pub fn shard_bytes(&self) -> usize {
        let last = self.rows() - 1;
        mem32(last) * self.pitch() + self.plain_of(self.frame_at(last, 0)) + TAG_BYTES
    }

    /// Where rows lie in every shard, data or parity.
    pub fn bytes_of(&self, rows: &Range<u32>) -> Range<usize> {
        let start = mem32(rows.start) * self.pitch();
        let end = (mem32(rows.end) * self.pitch()).min(self.shard_bytes());
        start..end
    }

    /// Where a sealed frame lies in its data shard.
    pub fn span_of(&self, frame: u32) -> Range<usize> {
        let start = mem32(self.row_of(frame)) * self.pitch();
        start..start + self.plain_of(frame) + TAG_BYTES
    }

    /// The frames that overlap a range of plain bytes. The range must lie in the segment and must
    /// not be empty.
    pub fn frames_of(&self, range: &Range<u32>) -> Range<u32> {
        debug_assert!(range.start < range.end && range.end <= self.plain);
        range.start / self.frame..range.end.div_ceil(self.frame)
    }

    /// The rows that hold a range of frames.
    pub fn rows_of(&self, frames: &Range<u32>) -> Range<u32> {
        self.row_of(frames.start)..self.row_of(frames.end - 1) + 1
    }

    /// Where a frame begins in the segment's plain bytes.
    pub fn start_of(&self, frame: u32) -> u32 {
        frame * self.frame
    }

    /// Bytes of all shards together.
    pub fn stored_bytes(&self) -> u64 {
        wide(self.shard_bytes()) * u64::from(self.shape.n)
    }
}
