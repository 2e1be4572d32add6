//! What is true of segments: the index says where shards should be, the depots are asked what is there.

use super::yard::{Inventory, Yard};
use protocol::{Account, Digest};
use s3_service::{
    codec::SegmentId,
    index::{Extent, IndexError, Query, Reader, Segment},
};
use std::collections::BTreeSet;

/// A segment, held against what depots hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The segment.
    pub id: SegmentId,
    /// Shards needed, and shards in all.
    pub needed: usize,
    /// Shards in all.
    pub total: usize,
    /// Shards that are where the index says.
    pub whole: usize,
    /// Of these, those whose depots answer in good time.
    pub readable: usize,
    /// Shards that are at full strength as far as anybody can know: where they may stay, by distinct owners.
    pub settled: usize,
    /// Shards that a depot lost.
    pub excused: usize,
    /// Shards that are not where they should be, though no depot ever lost them.
    pub unexplained: Vec<(u8, Digest, String)>,
}

impl Truth {
    fn of(id: SegmentId, row: &Segment, yard: &Yard, inventory: &Inventory) -> Self {
        let mut owners: BTreeSet<Account> = BTreeSet::new();
        let (mut whole, mut readable, mut excused, mut unexplained) = (0, 0, 0, Vec::new());
        for (index, shard) in (0u8..).zip(&row.shards) {
            excused += usize::from(yard.excused(shard.hash));
            // One that has no home was never counted upon, or was given up and is not there any more.
            let Some(home) = shard.home else { continue };
            let is_there = yard.holds(inventory, &home, shard.hash);
            if is_there || yard.is_unnoticed(&home, shard.hash) {
                owners.extend(yard.owner(&home).filter(|_| !yard.leaves(&home)));
            }
            if is_there {
                whole += 1;
                readable += usize::from(yard.answers(&home));
            } else if !yard.excused(shard.hash) {
                unexplained.push((index, shard.hash, yard.describe(&home, shard.hash)));
            }
        }
        let (needed, total, settled) = (usize::from(row.k), row.shards.len(), owners.len());
        Self { id, needed, total, whole, readable, settled, excused, unexplained }
    }

    /// Whether too few shards are left.
    pub const fn is_lost(&self) -> bool {
        self.whole < self.needed
    }

    /// What nothing that befell the depots explains. One shard more than needed was durable, so that two have to
    /// be lost before the segment is.
    pub fn blame(&self) -> Option<String> {
        let Self { id, whole, needed, excused, .. } = self;
        if let Some((index, shard, place)) = self.unexplained.first() {
            return Some(format!(
                "shard {index} ({shard}) of segment {id} is not where the index says, {place}, and no depot lost it"
            ));
        }
        (self.is_lost() && *excused < 2).then(|| {
            format!("segment {id} has {whole} of {needed} shards left, and depots lost {excused}")
        })
    }
}

/// The truth of the segments of extents.
///
/// # Errors
/// The index's.
pub fn of(reader: &Reader, extents: &[Extent], yard: &Yard) -> Result<Vec<Truth>, IndexError> {
    let ids: BTreeSet<SegmentId> = extents.iter().map(|extent| extent.segment).collect();
    let inventory = yard.inventory();
    let one = |id: SegmentId| {
        let row = reader.segment(id)?;
        let row = row.ok_or(IndexError::Damaged("a segment is mentioned and missing"))?;
        Ok(Truth::of(id, &row, yard, &inventory))
    };
    ids.into_iter().map(one).collect()
}

/// The truth of all segments that something needs: objects', parts' of no upload, and those of the index's own
/// backup.
///
/// # Errors
/// The index's.
pub fn of_all(reader: &Reader, yard: &Yard) -> Result<Vec<Truth>, IndexError> {
    let backup = reader.backup()?;
    let mut blobs: Vec<_> = backup.dump.iter().chain(&backup.logs).copied().collect();
    for (bucket, _) in reader.buckets()? {
        let query = Query { limit: usize::MAX, ..Query::default() };
        let listing = reader.list(&bucket, &query)?;
        blobs.extend(listing.objects.into_iter().flat_map(|(_, object)| object.blobs));
    }
    of(reader, &reader.extents(&blobs)?, yard)
}

/// Whether every segment of an object that was just acknowledged was said to be durable by enough owners.
///
/// # Errors
/// Which was not.
pub fn acknowledged(
    reader: &Reader,
    (bucket, key): (&str, &str),
    needed: usize,
    yard: &Yard,
) -> Result<(), String> {
    let rows = || -> Result<Vec<(SegmentId, Option<Segment>)>, IndexError> {
        let object = reader.object(bucket, key)?;
        let extents = reader.extents(&object.blobs)?;
        let ids: BTreeSet<_> = extents.iter().map(|extent| extent.segment).collect();
        ids.into_iter().map(|id| Ok((id, reader.segment(id)?))).collect()
    };
    for (id, row) in rows().map_err(|error| format!("acknowledged and not there: {error}"))? {
        let shards = row.map(|row| row.shards).unwrap_or_default();
        let said: Vec<_> = shards.iter().map(|shard| yard.acknowledged(shard.hash)).collect();
        let durable = said.iter().filter(|owners| !owners.is_empty()).count();
        let owners: BTreeSet<_> = said.into_iter().flatten().collect();
        if durable.min(owners.len()) < needed {
            return Err(format!(
                "{bucket}/{key} was acknowledged, and {durable} shards of segment {id} were said to be \
                 durable by {} owners, {needed} are needed",
                owners.len()
            ));
        }
    }
    Ok(())
}
