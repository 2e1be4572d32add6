//! Ports for programs that are started later.
//!
//! They lie below those that systems give to outgoing connections (RFC 6335 says from 49152, Linux from
//! 32768): a port that is free while nobody listens must not become the near end of somebody's connection.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// The ports looked at.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// Ports on which nobody listens, never the same twice in this process.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin at different places.
    let begin = process::id().wrapping_mul(97) % COUNT;
    std::iter::repeat_with(|| (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST)
        .map(|port| u16::try_from(port).unwrap())
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .take(count)
        .collect()
}
