//! Real transactions over the crate's public interface.

mod blocks;
mod calls;
mod contracts_in_code;
mod limits;
mod money;
mod support;
