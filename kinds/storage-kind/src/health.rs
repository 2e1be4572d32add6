//! How healthy a segment is: the days until it is expected to be lost, for the order of repairs.
//!
//! The model is the one published by Storj (`vectors/storage/segment_health_and_reputation.json`):
//! shards are lost one by one out of a population of `nodes`, each of which fails with a given chance
//! a day. A segment with `healthy` of at least `needed` shards survives the loss of `healthy -
//! needed` more, so with r = healthy - needed + 1 the negative binomial distribution expects
//!
//! ```text
//! days = r (K / (N - K + 1) + 1) / (N f),   K = N - healthy,   that is   r (N + 1) / ((healthy + 1) N f)
//! ```
//!
//! A shard that must move anyway (its device leaves, or stands with another of the same owner) does
//! not make the segment's loss likelier, but its repair more urgent: the days are divided by one more
//! than the number of such shards. This rule is our own, within the order that the vectors publish.
//!
//! Integers only, rounded down: two validators or repair workers never disagree about the order.

use protocol::units::mul_div;

/// Thousandths of a day in a day: the unit of [`Segment::millidays`].
pub const DAY: u64 = 1_000;
/// The parts of [`Segment::failure_ppb`] in a certainty.
const BILLION: u128 = 1_000_000_000;

/// What is known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Shards that are there.
    pub healthy: u32,
    /// Shards that are needed to read it.
    pub needed: u32,
    /// Of the healthy ones, those that must move anyway.
    pub moving: u32,
}

/// The population of devices that shards are lost from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Population {
    /// How many there are.
    pub nodes: u32,
    /// The chance that one fails on a day, in parts of 10^9.
    pub failure_ppb: u32,
}

impl Segment {
    /// The expected time until the segment is lost, in thousandths of a day, rounded down.
    ///
    /// Zero for a segment that cannot be read any more; `u64::MAX` if nothing ever fails.
    pub fn millidays(&self, population: &Population) -> u64 {
        let Some(spare) = self.healthy.checked_sub(self.needed) else { return 0 };
        let nodes = u128::from(population.nodes.max(self.healthy));
        let losses_needed = u128::from(spare) + 1;
        let per_loss = (u128::from(self.healthy) + 1) * (u128::from(self.moving) + 1);
        // At most 2^32 * 2^32 * 2^40 above and 2^65 * 2^32 * 2^30 below the line.
        let above = losses_needed * (nodes + 1) * u128::from(DAY);
        let below = per_loss * nodes * u128::from(population.failure_ppb);
        if below == 0 {
            return u64::MAX;
        }
        u64::try_from(mul_div(above, BILLION, below)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
