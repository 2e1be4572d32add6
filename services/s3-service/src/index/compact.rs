//! Packing again: live extents of loose segments move into a new one, in one transaction.

use super::{
    Blob, BlobId, Extent, IndexError, Reader, Segment, Tables, decode, get, put, segment_of, under,
};
use crate::codec::SegmentId;

/// A packed segment worth packing again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loose {
    /// The segment.
    pub segment: SegmentId,
    /// Plain bytes that are still needed.
    pub live: u64,
}

/// The move of one extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The blob that needs it.
    pub blob: BlobId,
    /// Where it is.
    pub from: Extent,
    /// Where its bytes are too.
    pub to: Extent,
}

impl Tables<'_> {
    /// Adds the segment `id` and points blobs at their copies in it. Blobs that are gone by now are
    /// passed over. How many extents moved.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn relocate(
        &mut self,
        id: SegmentId,
        row: &Segment,
        moves: &[Move],
        now_ms: u64,
    ) -> Result<usize, IndexError> {
        self.add_segment(id, row)?;
        let mut moved = 0;
        for step in moves {
            let key = step.blob.0.to_be_bytes();
            let Some(mut blob) = get::<Blob>(&self.blobs, &key)? else { continue };
            let Some(extent) = blob.extents.iter_mut().find(|extent| **extent == step.from) else {
                continue;
            };
            *extent = step.to;
            put(&mut self.blobs, &key, &blob)?;
            self.place(step.blob, &step.to)?;
            self.unplace(&step.from, now_ms)?;
            moved += 1;
        }
        self.abandon(id, now_ms)?;
        Ok(moved)
    }
}

impl Reader {
    /// All loose segments, those with the fewest live bytes first. Looks at no more than `limit`.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn loose(&self, limit: usize) -> Result<Vec<Loose>, IndexError> {
        let mut loose = under(&self.loose, &[])?
            .take(limit)
            .map(|row| {
                let (key, live) = row?;
                Ok(Loose { segment: segment_of(key.value())?, live: decode(live.value())? })
            })
            .collect::<Result<Vec<_>, IndexError>>()?;
        loose.sort_by_key(|loose| (loose.live, loose.segment));
        Ok(loose)
    }

    /// What is live in a segment.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn live(&self, segment: SegmentId) -> Result<Vec<(BlobId, Extent)>, IndexError> {
        let mut live = Vec::new();
        for row in under(&self.placed, &segment.0)? {
            let (key, blob) = row?;
            let blob: BlobId = decode(blob.value())?;
            let offset = key
                .value()
                .last_chunk::<4>()
                .map(|offset| u32::from_be_bytes(*offset))
                .ok_or(IndexError::Damaged("a placed key is too short"))?;
            let row: Blob = get(&self.blobs, &blob.0.to_be_bytes())?
                .ok_or(IndexError::Damaged("a placed blob is missing"))?;
            let extent = row
                .extents
                .iter()
                .find(|extent| extent.segment == segment && extent.offset == offset)
                .ok_or(IndexError::Damaged("a placed extent is not the blob's"))?;
            live.push((blob, *extent));
        }
        Ok(live)
    }
}
