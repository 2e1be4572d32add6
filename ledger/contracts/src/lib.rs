//! The system contracts of the ledger, in native Rust behind Solidity interfaces.

pub mod abi;
pub mod address;
pub mod env;
