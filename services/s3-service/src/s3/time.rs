//! Milliseconds since 1970 as S3's timestamps, and back.

use s3s::dto::{Timestamp, TimestampFormat};
use std::time::{Duration, SystemTime};

/// A timestamp of milliseconds since 1970.
pub(super) fn stamp(ms: u64) -> Timestamp {
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_millis(ms))
}

/// A timestamp of whole seconds, as headers carry it.
pub(super) fn whole(ms: u64) -> Timestamp {
    stamp(ms - ms % 1_000)
}

/// Milliseconds since 1970, to the second; nothing before.
pub(super) fn millis(stamp: &Timestamp) -> Option<u64> {
    let mut text = Vec::new();
    stamp.format(TimestampFormat::EpochSeconds, &mut text).ok()?;
    let text = String::from_utf8(text).ok()?;
    let seconds: u64 = text.split('.').next()?.parse().ok()?;
    seconds.checked_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(millis(&stamp(1_700_000_000_123)), Some(1_700_000_000_000));
        assert_eq!(whole(1_999), stamp(1_000));
        assert!(whole(1_999) < stamp(1_999));
    }
}
