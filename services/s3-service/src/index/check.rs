//! The index's invariants, walked over all its rows. For tests, and for `doctor`.

use super::{
    Blob, BlobId, BlobRef, IndexError, Object, Part, Reader, Segment, Stats, decode, get, ids,
    more, segment_of, under,
};
use crate::{codec::SegmentId, num::wide};
use protocol::Digest;
use std::collections::{BTreeMap, BTreeSet};

fn ensure(holds: bool, what: &'static str) -> Result<(), IndexError> {
    if holds { Ok(()) } else { Err(IndexError::Damaged(what)) }
}

impl Reader {
    /// Walks every row and checks the invariants of the module.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] names the first that is broken.
    pub fn check(&self) -> Result<(), IndexError> {
        let mut sums = Stats::default();
        let mut refs: BTreeMap<BlobId, u32> = BTreeMap::new();
        let mut mention = |blobs: &[BlobRef]| {
            for blob in blobs {
                let count = refs.entry(blob.blob).or_default();
                *count = count.saturating_add(1);
            }
        };
        for row in under(&self.objects, &[])? {
            let object: Object = decode(row?.1.value())?;
            let bytes = object.blobs.iter().try_fold(0, |sum, blob| more(sum, blob.bytes))?;
            ensure(bytes == object.bytes, "an object's blobs have another length")?;
            sums.objects += 1;
            sums.object_bytes = more(sums.object_bytes, bytes)?;
            mention(&object.blobs);
        }
        for row in under(&self.parts, &[])? {
            mention(&decode::<Part>(row?.1.value())?.blobs);
        }
        let backup = self.backup()?;
        mention(&backup.dump);
        mention(&backup.logs);
        let live = self.check_blobs(refs)?;
        self.check_segments(&live, &mut sums)?;
        ensure(sums == self.stats()?, "the stats are not the sums of the rows")
    }

    /// Returns the live bytes of segments, by the blobs.
    fn check_blobs(
        &self,
        mut refs: BTreeMap<BlobId, u32>,
    ) -> Result<BTreeMap<SegmentId, u64>, IndexError> {
        let mut live: BTreeMap<SegmentId, u64> = BTreeMap::new();
        for row in under(&self.blobs, &[])? {
            let (key, row) = row?;
            let id = key.value().first_chunk::<8>().map(|id| BlobId(u64::from_be_bytes(*id)));
            let id = id.ok_or(IndexError::Damaged("a blob's key is too short"))?;
            let blob: Blob = decode(row.value())?;
            ensure(refs.remove(&id) == Some(blob.refs), "a blob's mentions are miscounted")?;
            for extent in &blob.extents {
                let live = live.entry(extent.segment).or_default();
                *live = more(*live, u64::from(extent.bytes))?;
            }
        }
        ensure(refs.is_empty(), "a blob is mentioned and missing")?;
        for (segment, bytes) in &live {
            let placed: u64 =
                self.live(*segment)?.iter().map(|(_, extent)| u64::from(extent.bytes)).sum();
            ensure(placed == *bytes, "extents and their places differ")?;
        }
        Ok(live)
    }

    fn check_segments(
        &self,
        live: &BTreeMap<SegmentId, u64>,
        sums: &mut Stats,
    ) -> Result<(), IndexError> {
        let (mut garbage, mut unborn) = (ids(&self.garbage)?, ids(&self.unborn)?);
        let mut homes: BTreeSet<(u64, Digest)> = BTreeSet::new();
        for row in under(&self.segments, &[])? {
            let (key, row) = row?;
            let (id, segment): (_, Segment) = (segment_of(key.value())?, decode(row.value())?);
            ensure(live.get(&id).copied().unwrap_or(0) == segment.live, "live bytes differ")?;
            let dead = garbage.contains(&id);
            let waits = unborn.contains(&id);
            ensure(
                [dead, waits, segment.live > 0].iter().filter(|is| **is).count() == 1,
                "a segment is not exactly one of garbage, unborn and live",
            )?;
            garbage.retain(|other| *other != id);
            unborn.retain(|other| *other != id);
            sums.segments += 1;
            let layout = segment.layout().map_err(|_| IndexError::Damaged("no layout"))?;
            for (index, shard) in (0u8..).zip(&segment.shards) {
                let queued = get::<()>(&self.queued, &[&id.0[..], &[index]].concat())?.is_some();
                ensure(queued || shard.home.is_some(), "a shard is neither durable nor queued")?;
                sums.queued += u64::from(shard.home.is_none());
                if let Some(home) = shard.home {
                    sums.shard_bytes += wide(layout.shard_bytes());
                    homes.insert((home.rail.0, shard.hash));
                }
            }
        }
        ensure(garbage.is_empty() && unborn.is_empty(), "garbage that is no segment")?;
        self.check_rails(&homes)
    }

    fn check_rails(&self, homes: &BTreeSet<(u64, Digest)>) -> Result<(), IndexError> {
        let mut wanted = BTreeSet::new();
        for (id, rail) in self.rails()? {
            let mut held = 0;
            for (hash, holding) in self.holdings_of(id)? {
                ensure(!holding.proposed || rail.proposal.is_some(), "a proposal has no version")?;
                if holding.wanted {
                    held = more(held, holding.bytes)?;
                    wanted.insert((id.0, hash));
                }
            }
            ensure(held == rail.held, "a rail's held bytes are not the sum of its holdings")?;
        }
        ensure(&wanted == homes, "holdings and homes differ")
    }
}
