//! The simulator: the ledger's own code in a world where machines fail and validators lie.

pub mod adversaries;
pub mod checkers;
pub mod economy;
pub mod faults;
pub mod run;
pub mod scenario;
pub mod trace;
pub mod world;
