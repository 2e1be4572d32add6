//! How healthy all segments are: counted one by one, pure.

use crate::codec::SegmentId;
use storage_kind::health::{self, Rates};

/// The rates that the outlook assumes: a device fails as often as Storj's do (5.435e-5 a day,
/// `vectors/storage`), and one shard of a segment is rebuilt a day, which any service that runs exceeds.
pub const RATES: Rates = Rates { failure_ppb: 54_350, repair_ppm: 1_000_000 };

/// How healthy a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Fewer than k shards can be read: it is lost unless agents come back.
    Lost,
    /// k shards: the next loss is one too many.
    Endangered,
    /// Some are missing.
    Degraded,
    /// All are there.
    Whole,
}

/// The shards of one segment, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The segment.
    pub id: SegmentId,
    /// Shards needed to read it.
    pub needed: u8,
    /// Shards in all.
    pub total: u8,
    /// Shards that are durable with agents on which one can count.
    pub alive: u8,
}

impl Counted {
    /// How healthy it is.
    pub const fn class(&self) -> Class {
        if self.alive < self.needed {
            Class::Lost
        } else if self.alive == self.needed {
            Class::Endangered
        } else if self.alive < self.total {
            Class::Degraded
        } else {
            Class::Whole
        }
    }

    /// The expected time until it is lost, thousandths of a day.
    pub fn millidays(&self) -> u64 {
        health::outlook(self.needed, self.total, self.alive, &RATES)
    }
}

/// The segments by how healthy they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// [`Class::Lost`].
    pub lost: u64,
    /// [`Class::Endangered`].
    pub endangered: u64,
    /// [`Class::Degraded`].
    pub degraded: u64,
    /// [`Class::Whole`].
    pub whole: u64,
    /// The least healthy one that is not lost, and the expected time until it is, thousandths of a day.
    pub worst: Option<(SegmentId, u64)>,
}

impl Health {
    /// Counts a segment.
    pub fn add(&mut self, segment: &Counted) {
        let count = match segment.class() {
            Class::Lost => &mut self.lost,
            Class::Endangered => &mut self.endangered,
            Class::Degraded => &mut self.degraded,
            Class::Whole => &mut self.whole,
        };
        *count += 1;
        let days = segment.millidays();
        if segment.class() > Class::Lost && self.worst.is_none_or(|(_, worst)| days < worst) {
            self.worst = Some((segment.id, days));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_segment_counts_once_and_the_worst_is_the_one_that_may_be_saved() {
        let counted =
            |id: u8, alive| Counted { id: SegmentId([id; 16]), needed: 4, total: 6, alive };
        let mut health = Health::default();
        for (id, alive) in [(1, 6), (2, 5), (3, 4), (4, 3), (5, 0), (6, 6)] {
            health.add(&counted(id, alive));
        }
        assert_eq!((health.lost, health.endangered, health.degraded, health.whole), (2, 1, 1, 2));
        let (worst, days) = health.worst.unwrap();
        assert_eq!(worst, SegmentId([3; 16]));
        assert!(days > 0 && days < counted(2, 5).millidays());
        assert_eq!(counted(4, 3).millidays(), 0);
    }
}
