//! The client against a small ledger that forgets, stops and lies.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ledger;
mod real;
mod sending;
mod views;
