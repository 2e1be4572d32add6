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
//! That orders repairs, and says nothing of what they achieve: it knows of none. What an operator is shown is
//! [`outlook`], the mean time to data loss of redundant arrays (Patterson, Gibson, Katz, *A Case for Redundant
//! Arrays of Inexpensive Disks*, 1988, equation for one failure more than can be borne, carried on to any
//! number): a chain of births and deaths, in which each of i shards is lost at the rate f and one shard
//! at a time is rebuilt at the rate r. The mean time from i shards to i - 1 is
//!
//! ```text
//! T(n) = 1 / (n f),   T(i) = (1 + r T(i + 1)) / (i f),   days = T(k) + T(k + 1) + ... + T(alive)
//! ```
//!
//! Losses are taken to be independent, which a power cut or a false owner is not: the order of magnitude
//! is what it says.
//!
//! Integers only, rounded down: two validators or repair workers never disagree about the order.

use protocol::units::mul_div;

/// Thousandths of a day in a day: the unit of [`Segment::millidays`].
pub const DAY: u64 = 1_000;
/// The parts of [`Population::failure_ppb`] in a certainty.
const BILLION: u128 = 1_000_000_000;

/// How fast shards go and come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// The chance that a device fails on a day, in parts of 10^9.
    pub failure_ppb: u32,
    /// Shards of one segment rebuilt a day, in millionths.
    pub repair_ppm: u32,
}

/// The expected time until a segment is lost of which `alive` of `total` shards are there and `needed`
/// are needed, if it goes on being repaired; in thousandths of a day, rounded down.
///
/// Zero for a segment that cannot be read any more; `u64::MAX` for what does not fit, and if nothing
/// ever fails.
pub fn outlook(needed: u8, total: u8, alive: u8, rates: &Rates) -> u64 {
    if alive < needed {
        return 0;
    }
    if rates.failure_ppb == 0 {
        return u64::MAX;
    }
    // The time from i shards to i - 1; nothing comes above all of them.
    let (mut time, mut sum) = (0u64, 0u64);
    for shards in (needed.max(1)..=total.max(alive)).rev() {
        // In days: (1 + r T) / (i f), with r in millionths, f in billionths and T in thousandths.
        let repaired = BILLION + u128::from(rates.repair_ppm) * u128::from(time);
        let rate = u128::from(shards) * u128::from(rates.failure_ppb);
        time = u64::try_from(mul_div(repaired, u128::from(DAY), rate)).unwrap_or(u64::MAX);
        if shards <= alive {
            sum = sum.saturating_add(time);
        }
    }
    sum
}

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
