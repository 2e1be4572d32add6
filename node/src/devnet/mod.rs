//! The devnet: a whole network in one process on one machine, from fixed keys, for trying and testing.

pub(crate) mod accounts;
pub(crate) mod agents;
pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod genesis;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod running;
pub(crate) mod up;
