//! What can go wrong with machines and what is between them.
//!
//! A [`Fault`] is one change of a world at one moment; a plan ([`crate::scenario::Plan`]) is a list of them
//! drawn from a seed before the world begins, so that what happens never depends on what is looked at.

pub mod disk;
pub mod file;
pub mod shelf;
pub mod wire;

use self::{disk::Trouble, wire::Link};
use std::fmt;

/// A change of the world. Machines are named by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A machine loses power. What it had not synced is kept, lost or torn.
    Kill(usize),
    /// A machine gets power and starts its validator, unless it runs.
    Boot(usize),
    /// A directed link changes.
    Link(usize, usize, Link),
    /// All connections of a machine break.
    CutConnections(usize),
    /// All links are as they should be again.
    HealLinks,
    /// A machine's clock is ahead by so many milliseconds from now on, or behind if negative.
    Skew(usize, i64),
    /// Something is wrong with a machine's disk from now on, or nothing.
    Disk(usize, Trouble),
    /// Something is wrong with the shop or a depot.
    Storage(crate::storage::Fault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(machine) => write!(f, "kill {machine}"),
            Self::Boot(machine) => write!(f, "boot {machine}"),
            Self::Link(from, to, link) if !link.open => write!(f, "link {from}->{to} cut"),
            Self::Link(from, to, link) => write!(
                f,
                "link {from}->{to} delay {}+{} ms, loss {} %",
                link.delay_ms, link.jitter_ms, link.loss_percent
            ),
            Self::CutConnections(machine) => write!(f, "connections of {machine} cut"),
            Self::HealLinks => f.write_str("links healed"),
            Self::Skew(machine, ms) => write!(f, "clock of {machine} ahead by {ms} ms"),
            Self::Storage(fault) => fault.fmt(f),
            Self::Disk(machine, trouble) => write!(f, "disk of {machine}: {trouble:?}"),
        }
    }
}
