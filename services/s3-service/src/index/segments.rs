//! Segments and their shards: where they are durable, which are queued, which are garbage.

use super::{
    BlobId, Extent, Holding, Home, IndexError, Rail, Reader, Segment, ShardRow, Tables, cut,
    decode, from, get, more, put, segment_of, under,
};
use crate::{codec::SegmentId, num::wide, repair::survey::Counted};
use protocol::{DeviceId, Digest};
use std::collections::BTreeSet;

/// A shard that needs a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its segment.
    pub segment: SegmentId,
    /// Which of the segment's shards.
    pub index: u8,
    /// Where it is, if it has to move; it is durable nowhere otherwise.
    pub from: Option<Home>,
    /// How many shards of the segment are durable where they can be read.
    pub alive: u8,
    /// How many of these have to move.
    pub moving: u8,
    /// How many are needed to read it.
    pub needed: u8,
    /// Its length, bytes.
    pub bytes: u64,
}

/// Packed segments below this many live bytes are worth packing again.
pub(super) const LOOSE_BELOW: u64 = 8 << 20;

fn queued_key(segment: SegmentId, index: u8) -> [u8; 17] {
    let mut key = [0; 17];
    key[..16].copy_from_slice(&segment.0);
    key[16] = index;
    key
}

fn placed_key(extent: &Extent) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&extent.segment.0);
    key[16..].copy_from_slice(&extent.offset.to_be_bytes());
    key
}

pub(super) fn holding_key(home: &Home, shard: &ShardRow) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&home.rail.0.to_be_bytes());
    key[8..].copy_from_slice(shard.hash.as_bytes());
    key
}

fn shard_bytes(row: &Segment) -> Result<u64, IndexError> {
    let layout = row.layout().map_err(|_| IndexError::Damaged("a segment has no layout"))?;
    Ok(wide(layout.shard_bytes()))
}

impl Tables<'_> {
    /// Adds a segment of which nothing is live yet.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if its lengths are impossible.
    pub fn add_segment(&mut self, id: SegmentId, row: &Segment) -> Result<(), IndexError> {
        let bytes = shard_bytes(row)?;
        put(&mut self.segments, &id.0, row)?;
        put(&mut self.unborn, &id.0, &())?;
        self.stats.segments = more(self.stats.segments, 1)?;
        for (index, shard) in (0u8..).zip(&row.shards) {
            match &shard.home {
                Some(home) => self.settle(home, shard, bytes)?,
                None => self.enqueue(id, index)?,
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, id: SegmentId, index: u8) -> Result<(), IndexError> {
        self.stats.queued = more(self.stats.queued, 1)?;
        put(&mut self.queued, &queued_key(id, index), &())
    }

    /// A shard is durable at `home`: it is wanted in that rail's dataset.
    fn settle(&mut self, home: &Home, shard: &ShardRow, bytes: u64) -> Result<(), IndexError> {
        let key = holding_key(home, shard);
        let old: Option<Holding> = get(&self.holdings, &key)?;
        let mut holding =
            old.unwrap_or(Holding { bytes, inside: false, wanted: false, proposed: false });
        if holding.wanted {
            return Err(IndexError::Damaged("a shard is held twice on one rail"));
        }
        holding.wanted = true;
        self.stats.shard_bytes = more(self.stats.shard_bytes, bytes)?;
        self.hold(home, bytes, true)?;
        put(&mut self.holdings, &key, &holding)
    }

    /// A shard is no longer wanted at `home`.
    fn unsettle(&mut self, home: &Home, shard: &ShardRow) -> Result<(), IndexError> {
        let key = holding_key(home, shard);
        let mut holding: Holding = get(&self.holdings, &key)?
            .ok_or(IndexError::Damaged("a durable shard has no holding"))?;
        holding.wanted = false;
        self.stats.shard_bytes = self.stats.shard_bytes.saturating_sub(holding.bytes);
        self.hold(home, holding.bytes, false)?;
        if holding.inside || holding.proposed {
            return put(&mut self.holdings, &key, &holding);
        }
        cut(&mut self.holdings, &key)?;
        Ok(())
    }

    fn hold(&mut self, home: &Home, bytes: u64, is_more: bool) -> Result<(), IndexError> {
        let key = home.rail.0.to_be_bytes();
        let mut rail: Rail = get(&self.rails, &key)?.unwrap_or_default();
        rail.held = if is_more { more(rail.held, bytes)? } else { rail.held.saturating_sub(bytes) };
        put(&mut self.rails, &key, &rail)
    }

    pub(super) fn expect_segment(&self, id: SegmentId) -> Result<Segment, IndexError> {
        get(&self.segments, &id.0)?.ok_or(IndexError::Damaged("a segment is mentioned and missing"))
    }

    /// A queued or lost shard is durable at `home` now. Whether the segment was still there.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn shard_stored(
        &mut self,
        id: SegmentId,
        index: u8,
        home: Home,
    ) -> Result<bool, IndexError> {
        let Some(mut row) = get::<Segment>(&self.segments, &id.0)? else { return Ok(false) };
        let bytes = shard_bytes(&row)?;
        let shard = row
            .shards
            .get_mut(usize::from(index))
            .ok_or(IndexError::Damaged("a segment has fewer shards"))?;
        if shard.home.is_some() {
            return Ok(false);
        }
        shard.home = Some(home);
        let shard = *shard;
        if cut(&mut self.queued, &queued_key(id, index))? {
            self.stats.queued = self.stats.queued.saturating_sub(1);
        }
        self.settle(&home, &shard, bytes)?;
        put(&mut self.segments, &id.0, &row)?;
        Ok(true)
    }

    /// A shard has to move from where it is: it is queued, and can be read there until it has moved.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn shard_leaves(&mut self, id: SegmentId, index: u8, at: Home) -> Result<(), IndexError> {
        let row: Option<Segment> = get(&self.segments, &id.0)?;
        match row.as_ref().and_then(|row| row.shards.get(usize::from(index))) {
            Some(shard) if shard.home == Some(at) => {
                put(&mut self.queued, &queued_key(id, index), &())
            }
            _ => Ok(()),
        }
    }

    /// A shard that had to move may stay where it is after all.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn shard_stays(&mut self, id: SegmentId, index: u8, at: Home) -> Result<(), IndexError> {
        let row: Option<Segment> = get(&self.segments, &id.0)?;
        match row.as_ref().and_then(|row| row.shards.get(usize::from(index))) {
            Some(shard) if shard.home == Some(at) => {
                cut(&mut self.queued, &queued_key(id, index)).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Whether another shard of the segment is kept by one of these devices.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn is_beside(
        &self,
        id: SegmentId,
        index: u8,
        devices: &BTreeSet<DeviceId>,
    ) -> Result<bool, IndexError> {
        let row: Option<Segment> = get(&self.segments, &id.0)?;
        let shards = row.into_iter().flat_map(|row| (0u8..).zip(row.shards));
        let mut homes = shards.filter(|(at, _)| *at != index).filter_map(|(_, shard)| shard.home);
        Ok(homes.any(|home| devices.contains(&home.device)))
    }

    /// A shard that had to move is durable at `to` now and needed no longer where it was. Whether it
    /// was still there.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn shard_moved(
        &mut self,
        id: SegmentId,
        index: u8,
        from: Home,
        to: Home,
    ) -> Result<bool, IndexError> {
        if from.rail == to.rail || !self.shard_lost(id, index, from)? {
            return Ok(false);
        }
        self.shard_stored(id, index, to)
    }

    /// A shard is no longer where it was: it is queued. Whether that was news.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn shard_lost(&mut self, id: SegmentId, index: u8, at: Home) -> Result<bool, IndexError> {
        let Some(mut row) = get::<Segment>(&self.segments, &id.0)? else { return Ok(false) };
        let shard = row
            .shards
            .get_mut(usize::from(index))
            .ok_or(IndexError::Damaged("a segment has fewer shards"))?;
        if shard.home != Some(at) {
            return Ok(false);
        }
        shard.home = None;
        let shard = *shard;
        self.unsettle(&at, &shard)?;
        self.enqueue(id, index)?;
        put(&mut self.segments, &id.0, &row)?;
        Ok(true)
    }

    /// Marks the extent as needed by `blob`.
    pub(super) fn place(&mut self, blob: BlobId, extent: &Extent) -> Result<(), IndexError> {
        let mut row = self.expect_segment(extent.segment)?;
        row.live = more(row.live, u64::from(extent.bytes))?;
        cut(&mut self.unborn, &extent.segment.0)?;
        put(&mut self.placed, &placed_key(extent), &blob)?;
        self.sort(extent.segment, &row)?;
        put(&mut self.segments, &extent.segment.0, &row)
    }

    /// The extent is needed no longer.
    pub(super) fn unplace(&mut self, extent: &Extent, now_ms: u64) -> Result<(), IndexError> {
        let mut row = self.expect_segment(extent.segment)?;
        row.live = row.live.saturating_sub(u64::from(extent.bytes));
        cut(&mut self.placed, &placed_key(extent))?;
        if row.live == 0 {
            put(&mut self.garbage, &extent.segment.0, &now_ms)?;
        }
        self.sort(extent.segment, &row)?;
        put(&mut self.segments, &extent.segment.0, &row)
    }

    /// Puts the segment on the list of those worth packing again, or takes it off.
    fn sort(&mut self, id: SegmentId, row: &Segment) -> Result<(), IndexError> {
        let wasted = row.live < u64::from(row.plain).div_ceil(2);
        if row.packed && row.live > 0 && (row.live < LOOSE_BELOW || wasted) {
            put(&mut self.loose, &id.0, &row.live)
        } else {
            cut(&mut self.loose, &id.0).map(|_| ())
        }
    }

    /// Gives up a segment that never became part of a blob.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn abandon(&mut self, id: SegmentId, now_ms: u64) -> Result<(), IndexError> {
        if cut(&mut self.unborn, &id.0)? {
            put(&mut self.garbage, &id.0, &now_ms)?;
        }
        Ok(())
    }

    /// Forgets a garbage segment; its shards leave their datasets with the next commits.
    ///
    /// # Errors
    /// [`IndexError::Damaged`].
    pub fn forget(&mut self, id: SegmentId) -> Result<(), IndexError> {
        if !cut(&mut self.garbage, &id.0)? {
            return Ok(());
        }
        let row = self.expect_segment(id)?;
        for (index, shard) in (0u8..).zip(&row.shards) {
            cut(&mut self.queued, &queued_key(id, index))?;
            match &shard.home {
                Some(home) => self.unsettle(home, shard)?,
                None => self.stats.queued = self.stats.queued.saturating_sub(1),
            }
        }
        self.stats.segments = self.stats.segments.saturating_sub(1);
        cut(&mut self.segments, &id.0)?;
        Ok(())
    }
}

impl Reader {
    /// A segment's row, if it is there.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn segment(&self, id: SegmentId) -> Result<Option<Segment>, IndexError> {
        get(&self.segments, &id.0)
    }

    /// Up to `limit` queued shards that come after the one given, ascending by segment and shard. Those
    /// at homes where `alive` says no cannot be read.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn queued(
        &self,
        after: Option<(SegmentId, u8)>,
        limit: usize,
        alive: impl Fn(&Home) -> bool,
    ) -> Result<Vec<Queued>, IndexError> {
        let last = after.map(|(segment, index)| queued_key(segment, index));
        let start = last.map_or_else(Vec::new, |last| last.to_vec());
        let mut keys = Vec::new();
        for row in from(&self.queued, &[], &start)? {
            let key = row?.0;
            if keys.len() == limit {
                break;
            }
            if last.as_ref().is_none_or(|last| key.value() != last) {
                keys.push((segment_of(key.value())?, key.value().last().copied().unwrap_or(0)));
            }
        }
        let mut queued = Vec::with_capacity(keys.len());
        for (segment, index) in keys {
            let Some(row) = self.segment(segment)? else { continue };
            let mut shard = Queued {
                segment,
                index,
                from: None,
                alive: 0,
                moving: 0,
                needed: row.k,
                bytes: shard_bytes(&row)?,
            };
            for (at, home) in (0u8..).zip(row.shards.iter().map(|shard| shard.home)) {
                let is_alive = home.as_ref().is_some_and(&alive);
                shard.alive += u8::from(is_alive);
                let listed = get::<()>(&self.queued, &queued_key(segment, at))?.is_some();
                shard.moving += u8::from(is_alive && listed);
                if at == index {
                    shard.from = home;
                }
            }
            queued.push(shard);
        }
        Ok(queued)
    }

    /// Counts the shards of up to `limit` segments after the one given, ascending; those that nothing needs
    /// are passed over. And where to go on, if there are more.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn survey(
        &self,
        after: Option<SegmentId>,
        limit: usize,
        alive: impl Fn(&Home) -> bool,
    ) -> Result<(Vec<Counted>, Option<SegmentId>), IndexError> {
        let start = after.map_or_else(Vec::new, |id| id.0.to_vec());
        let (mut counted, mut seen) = (Vec::new(), 0);
        for row in from(&self.segments, &[], &start)? {
            let (key, row) = row?;
            let (id, row) = (segment_of(key.value())?, decode::<Segment>(row.value())?);
            if Some(id) == after {
                continue;
            }
            let homes = row.shards.iter().filter_map(|shard| shard.home);
            if row.live > 0 {
                counted.push(Counted {
                    id,
                    needed: row.k,
                    total: u8::try_from(row.shards.len()).unwrap_or(u8::MAX),
                    alive: u8::try_from(homes.filter(&alive).count()).unwrap_or(u8::MAX),
                });
            }
            seen += 1;
            if seen == limit {
                return Ok((counted, Some(id)));
            }
        }
        Ok((counted, None))
    }

    /// Up to `limit` garbage segments.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn garbage(&self, limit: usize) -> Result<Vec<SegmentId>, IndexError> {
        under(&self.garbage, &[])?.take(limit).map(|row| segment_of(row?.0.value())).collect()
    }

    /// The segments and places of shards by their hashes at one home. Looks at all segments: only for
    /// what is rare.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn find_shards(
        &self,
        home: Home,
        hashes: &BTreeSet<Digest>,
    ) -> Result<Vec<(SegmentId, u8)>, IndexError> {
        let mut found = Vec::new();
        for row in under(&self.segments, &[])? {
            let (key, row) = row?;
            let (id, row) = (segment_of(key.value())?, decode::<Segment>(row.value())?);
            for (index, shard) in (0u8..).zip(&row.shards) {
                if shard.home == Some(home) && hashes.contains(&shard.hash) {
                    found.push((id, index));
                }
            }
        }
        Ok(found)
    }

    /// Up to `limit` shards kept where `gone` names, and not queued yet.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn stranded(
        &self,
        gone: impl Fn(&Home) -> bool,
        limit: usize,
    ) -> Result<Vec<(SegmentId, u8, Home)>, IndexError> {
        let mut found = Vec::new();
        for row in under(&self.segments, &[])? {
            let (key, row) = row?;
            let (id, row) = (segment_of(key.value())?, decode::<Segment>(row.value())?);
            for (index, shard) in (0u8..).zip(&row.shards) {
                let Some(home) = shard.home.filter(&gone) else { continue };
                if get::<()>(&self.queued, &queued_key(id, index))?.is_some() {
                    continue;
                }
                if found.len() == limit {
                    return Ok(found);
                }
                found.push((id, index, home));
            }
        }
        Ok(found)
    }
}
