//! The system contracts of the ledger: money, networks, devices and settlements, in native Rust behind
//! Solidity interfaces (design 5 and 8).
//!
//! State lives in ordinary EVM slots in Solidity's layout, so that reverts, proofs, wallets and explorers
//! simply work. The executor hands a call to [`call`] with its view of the ledger ([`env::Env`]); this
//! crate knows no EVM. Every contract is one folder of one skeleton: `mod.rs` answers calls, `state.rs`
//! is the layout, `calls.rs` the transitions, `invariants.rs` what always holds, `tests.rs`.
//!
//! Invariants:
//! * two functions take coin (`Validators.bond`, `Settlements.dissent`), none is reached by DELEGATECALL,
//!   none calls into code;
//! * all arithmetic is checked, every list and text is bounded;
//! * each asset is made in one function: dollars in `Dollars.deposit`, a network's token when it is
//!   founded and when settled pay is claimed, the test stablecoin at genesis;
//! * a static call writes nothing.
//!
//! Never here: a resource kind, evidence and its meaning, the clock of the machine.

pub mod abi;
pub mod address;
mod context;
mod devices;
mod dispatch;
mod dollars;
pub mod env;
mod genesis;
mod guard;
mod invariants;
mod networks;
mod rails;
mod settlements;
mod signature;
mod stakes;
mod storage;
#[cfg(any(test, feature = "fixtures"))]
pub mod testing;
mod tokens;
mod validators;
pub mod view;

pub use address::is_system;
pub use dispatch::{INPUT_MAX, call};
pub use env::{Call, Env, Failure, Fault};
pub use genesis::{GenesisConfig, GenesisNetwork, GenesisValidator, SeatRules, genesis};
pub use invariants::{Broken, check_invariants};
pub use validators::{
    REGISTRATION_NAMESPACE, SEATS_MAX, UNBONDING_TERMS_MAX, VOTES_NAMESPACE, begin_block,
    registration,
};

#[cfg(test)]
mod tests;
