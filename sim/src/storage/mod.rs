//! Storage in a world: operators' depots on disks that fail, and the way to them.
//!
//! A [`depot::Depot`] is one operator's storage agent, the program's own store and desk, over a
//! [`drive::Drive`] and files ([`crate::faults::file`]) that keep, lose or tear what was not synced. A service
//! speaks to depots by its own side of the wire over a [`way::Way`]; depots ask a [`roll::Roll`] for rails.

pub mod depot;
pub mod drive;
pub mod roll;
pub mod way;
