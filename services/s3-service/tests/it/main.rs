//! The whole service against agents and a ledger in memory, driven by the AWS SDK.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checksums;
mod churn;
mod faults;
mod listings;
mod objects;
mod rails;
mod recovery;
mod uploads;
mod wire;
mod world;
