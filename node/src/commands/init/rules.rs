//! The usual rules of a ledger and of a storage network on it, in blocks and epochs of any length.
//!
//! Rules count in heights and epochs (design 9), people in hours: what is a time here becomes blocks by the
//! pace, and epochs by their length.

use crate::units;
use protocol::{
    Epoch, KindId, Micros, Ppm, Tokens,
    clock::EpochClock,
    manifest::{Bootstrap, EvidenceRules, KindTerms, Manifest, Slashes, Split, Vesting},
};
use std::time::Duration;

/// Dollars for a GiB and day: some five dollars a TiB and month.
const GIB_DAY: u64 = 163;
/// Dollars for a GiB delivered: a cent.
const DELIVERY: Micros = Micros(10_000);
/// The least blocks of an epoch. Votes take commits for four blocks after the first one, and as many for
/// reveals (`contracts`, settlements), whatever the grace is. If one seat is silent all four pass; a reveal that
/// is sent on sight of the block after them is in a block two later, and so is the first commit of the next
/// epoch: ten blocks, and two to spare. Where epochs begin faster than they are decided, the first that is not
/// void has only the length of one epoch left, so that after a while none can be decided any more.
pub(super) const EPOCH_MIN: u64 = 12;
/// The least blocks of a term (`consensus::Genesis`): its first elects who follows it.
pub(super) const TERM_MIN: u64 = 2;
/// Epochs in which a final root can be disputed.
pub(super) const DISPUTE_EPOCHS: u64 = 4;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// How long blocks and epochs are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    /// Blocks of an epoch.
    pub(super) epoch: u64,
    /// Time between two blocks.
    pub(super) pace: Duration,
}

impl Lengths {
    /// So many blocks as a time has, but at most the given part of an epoch, and one at least.
    fn part(&self, time: Duration, of_epoch: u64) -> u64 {
        units::blocks(time, self.pace).min(self.epoch / of_epoch).max(1)
    }

    /// The blocks of a day.
    pub(super) fn day(&self) -> u64 {
        units::blocks(DAY, self.pace)
    }

    /// The epochs of so many days, at least `least`.
    fn epochs(&self, days: u64, least: u16) -> u16 {
        let epochs = self.day().saturating_mul(days) / self.epoch.max(1);
        u16::try_from(epochs).unwrap_or(u16::MAX).max(least)
    }

    /// Epochs, with ten minutes after each, or less of short ones, in which its evidence is still carried.
    pub(super) fn clock(&self) -> EpochClock {
        EpochClock { length: self.epoch, grace: self.part(10 * MINUTE, 6) }
    }

    /// The rules of design 8 and 11 for a network of storage.
    pub(super) fn manifest(&self, name: &str) -> Manifest {
        let short = |blocks: u64| u16::try_from(blocks).unwrap_or(u16::MAX);
        let price = GIB_DAY.saturating_mul(self.epoch) / self.day();
        Manifest {
            version: 1,
            name: name.to_owned(),
            split: Split::default(),
            beta: Ppm(500_000),
            vesting: Vesting { share: Ppm(750_000), epochs: self.epochs(180, 1).into() },
            // Pay for presence has to be worth less than what it costs to be present, which nobody knows of
            // hardware that is not there yet.
            bootstrap: Bootstrap { per_device: Tokens(0), until: Epoch(0) },
            token_price: Micros(100_000),
            evidence: EvidenceRules {
                quota_bytes: 1 << 20,
                skew_ms: 60_000,
                slack: short(self.part(MINUTE, 10)),
                absence_epochs: self.epochs(7, 4),
                unbonding_epochs: self.epochs(14, short(DISPUTE_EPOCHS.saturating_mul(2))),
            },
            slashes: Slashes {
                conflicting_payloads: Ppm(200_000),
                false_proof: Ppm(500_000),
                selective_miss: Ppm(100_000),
                long_absence: Ppm(100_000),
            },
            tiers: [Ppm(250_000), Ppm(500_000), Ppm::ONE, Ppm::ONE],
            kinds: vec![KindTerms {
                kind: KindId(1),
                // Short epochs are for trying: a price that rounds to nothing would show nothing.
                price: Micros(price.max(1)),
                delivery_price: DELIVERY,
                per_units: 1 << 30,
                stake_base: Tokens::whole(100),
                stake_per: Tokens::whole(1),
                positions: 5,
                window: short(self.part(30 * MINUTE, 5)),
            }],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_hold_for_epochs_of_any_length() {
        for (epoch, pace) in
            [(EPOCH_MIN, 500), (30, 100), (172_800, 500), (86_400, 1_000), (u64::MAX, 1)]
        {
            let lengths = Lengths { epoch, pace: Duration::from_millis(pace) };
            let manifest = lengths.manifest("Valley");
            assert_eq!(manifest.validate(), Ok(()), "{lengths:?}");
            let EvidenceRules { slack, unbonding_epochs, .. } = manifest.evidence;
            assert!(u64::from(unbonding_epochs) > DISPUTE_EPOCHS, "{lengths:?}");
            let clock = lengths.clock();
            assert!((1..=epoch).contains(&clock.grace), "{lengths:?}");
            assert!(u64::from(slack) <= clock.grace, "{lengths:?}");
        }
        let day = Lengths { epoch: 172_800, pace: Duration::from_millis(500) };
        let manifest = day.manifest("Valley");
        assert_eq!(manifest.vesting.epochs, 180);
        assert_eq!(manifest.kinds[0].price, Micros(GIB_DAY));
        assert_eq!(manifest.kinds[0].window, 3_600);
    }
}
