//! Tests across contracts: dispatch, static calls, and money over random sequences of calls.

mod dispatch;
mod random;
pub(crate) mod world;
