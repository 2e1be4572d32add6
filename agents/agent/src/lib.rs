//! The runtime that every hardware agent shares: follow epochs, know the device's duties, prove them
//! in their windows, report, and see to it that validators carry what was signed (design 6, 7, 9).
//!
//! [`state`] is the agent as a state machine without input or output; [`shell`] gives it events and
//! does its effects; [`hardware::Hardware`] is what a kind's agent adds. [`journal`] is what survives
//! a crash, [`keystore`] keeps the device key.
//!
//! Invariants:
//! * no identity (device, network, sequence) is ever used twice ([`sequence`]);
//! * no envelope is sent that a crash could forget;
//! * inputs that the ledger does not confirm are not acted on;
//! * nothing that a validator says costs the agent more than one refused envelope.
//!
//! Never here: what a kind proves, money, or another agent.

mod followed;
pub mod hardware;
pub mod http;
pub mod journal;
pub mod keystore;
pub mod ledger;
pub mod metrics;
mod outbox;
pub mod sequence;
pub mod shell;
pub mod state;
pub mod validators;
mod wall;

pub use hardware::{Figures, Hardware, ProveError};
pub use ledger::{Ledger, LedgerError};
pub use metrics::Metrics;
pub use outbox::{OUTBOX_MAX, SUBMITTING_MAX};
pub use shell::{Config, Running, StartError, World, start};
pub use validators::{Remote, Validator, Validators};
pub use wall::WallClock;
