//! Sequence numbers that are never used twice, whatever dies when.
//!
//! Two different payloads under one (device, network, sequence) cost the device its stake
//! ([`protocol::Reason::ConflictingPayloads`]), so a number may only be used after a record that
//! covers it is durable. Numbers are reserved [`RANGE`] at a time: one record, then many reports. A
//! crash skips what was reserved and not used.
//!
//! Numbers also never fall behind the clock in milliseconds. A device reports far less than once a
//! millisecond, so a journal restored from an old copy, or lost, still cannot repeat a number.

/// How many numbers one record reserves.
pub const RANGE: u64 = 1_024;

/// The next number and how far numbers are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    next: u64,
    reserved: u64,
}

impl Sequence {
    /// Goes on after everything that `reserved` may have covered.
    pub const fn after(reserved: u64) -> Self {
        Self { next: reserved, reserved }
    }

    /// The next number, and the new end of the reservation if one has to be made durable before the
    /// number may be used.
    pub fn take(&mut self, now_ms: u64) -> (u64, Option<u64>) {
        let number = self.next.max(now_ms);
        self.next = number.saturating_add(1);
        if number < self.reserved {
            return (number, None);
        }
        self.reserved = number.saturating_add(RANGE);
        (number, Some(self.reserved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lost_journal_is_covered_by_the_clock() {
        let (first, reserved) = Sequence::after(0).take(5_000);
        assert_eq!((first, reserved), (5_000, Some(5_000 + RANGE)));
        let (second, _) = Sequence::after(0).take(6_000);
        assert!(second > first);
    }

    proptest! {
        #[test]
        fn no_number_is_used_twice_or_unreserved(
            steps in prop::collection::vec((0u64..3_000, any::<bool>()), 1..200)
        ) {
            let (mut now, mut durable, mut last) = (0u64, 0u64, None);
            let mut sequence = Sequence::after(durable);
            for (passed, crash) in steps {
                now += passed;
                if crash {
                    sequence = Sequence::after(durable);
                }
                let (number, record) = sequence.take(now);
                durable = record.unwrap_or(durable);
                prop_assert!(number < durable);
                prop_assert!(last < Some(number));
                last = Some(number);
            }
        }
    }
}
