//! The whole service against agents and a ledger in memory, driven by the AWS SDK.

mod checksums;
mod faults;
mod listings;
mod objects;
mod rails;
mod uploads;
mod world;
