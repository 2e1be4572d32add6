//! Which shards are repaired next: pure, the time is given.
//!
//! * The least healthy segments come first, in the order of [`storage_kind::health`]; of two alike the one
//!   that lost a shard before the one that only has to move it.
//! * Segments of which fewer than k shards can be read cannot be helped, and wait without being tried.
//! * One shard of a segment at a time, so that two are never on their way to one owner.
//! * A shard whose repair failed waits, longer each time, as every try may cost the delivery of k others.
//! * What repairs read and write is within a rate. It may be overdrawn by one shard: else a large one would
//!   never come.

use crate::{codec::SegmentId, index::Queued};
use std::collections::{BTreeMap, BTreeSet};
use storage_kind::health::{Population, Segment};

/// Shards repaired in one step.
pub const REPAIRS: usize = 16;
/// How long a shard waits after a repair that failed, milliseconds; doubled with every further one.
pub const PUT_OFF_MS: u64 = 1_000;
/// How often that is doubled at most.
pub const PUT_OFF_DOUBLED_MAX: u32 = 6;
/// Shards that wait so at most; beyond it the one that is due first is tried at once.
pub const PUT_OFF_MAX: usize = 65_536;
/// For how long unused rate is kept, milliseconds.
pub const SAVED_MS: u64 = 4_000;

/// A shard of a segment.
pub type Key = (SegmentId, u8);

/// A repair that failed.
#[derive(Clone, Copy, Debug)]
struct PutOff {
    until_ms: u64,
    failures: u32,
}

/// Plans repairs.
#[derive(Debug)]
pub struct Planner {
    put_off: BTreeMap<Key, PutOff>,
    bytes_per_s: u64,
    /// Bytes that may be moved now, and bytes that were moved beforehand.
    saved: u64,
    owed: u64,
    counted_ms: Option<u64>,
}

impl Planner {
    /// A planner that moves so many bytes a second at most.
    pub const fn new(bytes_per_s: u64) -> Self {
        Self { put_off: BTreeMap::new(), bytes_per_s, saved: 0, owed: 0, counted_ms: None }
    }

    /// The repairs to be done now out of `queued`, the most urgent first. Those of segments that are still
    /// being stored (`busy`) are not needed yet.
    pub fn next(
        &mut self,
        queued: Vec<Queued>,
        population: &Population,
        busy: impl Fn(SegmentId) -> bool,
        now_ms: u64,
    ) -> Vec<Queued> {
        self.earn(now_ms);
        let is_due = |shard: &Queued| {
            self.put_off.get(&(shard.segment, shard.index)).is_none_or(|off| off.until_ms <= now_ms)
        };
        let mut urgent: Vec<_> = queued
            .into_iter()
            .filter(|shard| shard.alive >= shard.needed && is_due(shard))
            .filter(|shard| !busy(shard.segment))
            .map(|shard| (health(&shard).millidays(population), shard))
            .collect();
        urgent
            .sort_by_key(|(days, shard)| (*days, shard.from.is_some(), shard.segment, shard.index));
        let mut seen = BTreeSet::new();
        let mut chosen = Vec::new();
        for (_, shard) in urgent {
            if chosen.len() == REPAIRS || self.saved == 0 {
                break;
            }
            if seen.insert(shard.segment) {
                self.spend(cost(&shard));
                chosen.push(shard);
            }
        }
        chosen
    }

    /// A repair is done, or needless.
    pub fn done(&mut self, key: Key) {
        self.put_off.remove(&key);
    }

    /// A repair failed: it waits.
    pub fn failed(&mut self, key: Key, now_ms: u64) {
        let failures = self.put_off.get(&key).map_or(0, |off| off.failures);
        let wait = PUT_OFF_MS << failures.min(PUT_OFF_DOUBLED_MAX);
        if self.put_off.len() >= PUT_OFF_MAX {
            let first = self.put_off.iter().min_by_key(|(_, off)| off.until_ms);
            let first = first.map(|(key, _)| *key);
            first.and_then(|first| self.put_off.remove(&first));
        }
        let until_ms = now_ms.saturating_add(wait);
        self.put_off.insert(key, PutOff { until_ms, failures: failures.saturating_add(1) });
    }

    fn earn(&mut self, now_ms: u64) {
        let most = self.bytes_per_s.saturating_mul(SAVED_MS) / 1_000;
        let Some(counted) = self.counted_ms.replace(now_ms) else {
            self.saved = most;
            return;
        };
        let earned = self.bytes_per_s.saturating_mul(now_ms.saturating_sub(counted)) / 1_000;
        if earned == 0 {
            // Too short a time to be worth a byte still counts.
            self.counted_ms = Some(counted.min(now_ms));
            return;
        }
        let paid = earned.min(self.owed);
        self.owed -= paid;
        self.saved = self.saved.saturating_add(earned - paid).min(most);
    }

    fn spend(&mut self, bytes: u64) {
        self.owed = self.owed.saturating_add(bytes.saturating_sub(self.saved));
        self.saved = self.saved.saturating_sub(bytes);
    }
}

/// Bytes that a repair reads and writes: a shard that only moves is read once, one that is lost is made
/// from k others.
fn cost(shard: &Queued) -> u64 {
    let read = if shard.from.is_some() { 1 } else { u64::from(shard.needed) };
    shard.bytes.saturating_mul(read + 1)
}

fn health(shard: &Queued) -> Segment {
    Segment {
        healthy: shard.alive.into(),
        needed: shard.needed.into(),
        moving: shard.moving.into(),
    }
}

#[cfg(test)]
mod tests;
