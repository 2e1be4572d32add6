//! A real ledger of one validator behind a real server, asked by real clients.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod http;
mod light;
mod reading;
mod sending;
mod subscribing;
mod support;
