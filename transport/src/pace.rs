//! Where those who answer requests make short reads of a disk: on the thread that they are on, or aside.
//!
//! What was used lately is in memory, and to read a few rows of it takes less time than to have another thread
//! do it. Where that is not so, nobody else should wait for a disk: one slow read is enough to have the next
//! score of them made where blocking is allowed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The average time of a read up to which it is quick.
const QUICK: Duration = Duration::from_micros(100);
/// The average moves by one part in so many of what a read took.
const WEIGHT: u64 = 8;

/// How long short reads took of late.
#[derive(Debug, Default)]
pub struct Pace {
    /// Nanoseconds.
    average: AtomicU64,
}

impl Pace {
    /// Whether the next read may be made by whoever is asked for it.
    pub fn is_quick(&self) -> bool {
        u128::from(self.average.load(Ordering::Relaxed)) <= QUICK.as_nanos()
    }

    /// Takes in what a read took. Of two that end at once one may be missed.
    pub fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let before = self.average.load(Ordering::Relaxed);
        self.average.store(before - before / WEIGHT + time / WEIGHT, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_read_sends_the_next_ones_elsewhere_until_they_are_quick_again() {
        let pace = Pace::default();
        assert!(pace.is_quick());
        pace.took(Duration::from_micros(300));
        assert!(pace.is_quick(), "a read that other threads held up is no slow disk");
        pace.took(Duration::from_millis(10));
        let quick = Duration::from_micros(5);
        let elsewhere = (0..100).take_while(|_| {
            pace.took(quick);
            !pace.is_quick()
        });
        assert!((10..30).contains(&elsewhere.count()));
        pace.took(Duration::MAX);
        pace.took(Duration::MAX);
        assert!(!pace.is_quick());
    }
}
