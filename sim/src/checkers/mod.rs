//! What must hold in every world, checked after every block.
//!
//! [`chronicle`] compares what all honest machines say is final, and executes it again; [`court`] compares
//! what validators vote. Liveness is the world's to check, which knows when everything was healed.

pub mod chronicle;
pub mod court;
pub mod header;

/// A promise that was broken, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

impl Broken {
    /// From anything that can say what is wrong.
    pub fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}
