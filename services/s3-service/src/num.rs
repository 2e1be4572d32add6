//! Conversions between the widths of lengths, in one place.
//!
//! Lengths in memory are `usize`, lengths on disk and on the wire are `u64` or `u32`. Every platform
//! that this crate builds for has 64-bit addresses, which is asserted when it compiles.

// The build fails on other hosts.
const _: () = assert!(usize::BITS == 64, "needs 64-bit addresses");

/// A length in memory as a 64-bit number.
pub(crate) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A 64-bit length as one in memory.
pub(crate) fn mem(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// A 32-bit length as one in memory.
pub(crate) fn mem32(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
