//! Real transactions over the crate's public interface.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod blocks;
mod calls;
mod contracts_in_code;
mod limits;
mod money;
mod support;
mod validators;
