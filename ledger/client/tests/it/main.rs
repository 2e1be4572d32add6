//! The client against a small ledger that forgets, stops and lies.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chain;
mod garbage;
mod ledger;
mod lies;
mod local;
mod real;
mod sending;
mod terms;
mod views;
