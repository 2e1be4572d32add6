//! Exit codes: documented, stable, and the same for every command.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed; the message says why |
//! | 2 | wrong usage (from the argument parser) |
//! | 3 | nothing answers at the address |
//! | 4 | a check failed: an epoch that does not verify, a doctor's finding, an endpoint that does not prove what it says |
//! | 5 | what was asked for does not exist |

use client::{CallError, RpcError};
use std::{fmt, process::ExitCode};

/// A failure that decides the exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing answers: the address, and what to start.
    Unreachable(String),
    /// A check failed.
    Check(String),
    /// No such thing.
    NotFound(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(text) | Self::Check(text) | Self::NotFound(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

/// The exit code of a result's error.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(match error.downcast_ref::<Failure>() {
        Some(Failure::Unreachable(_)) => 3,
        Some(Failure::Check(_)) => 4,
        Some(Failure::NotFound(_)) => 5,
        None if is_untrue(error) => 4,
        None => 1,
    })
}

/// Whether an endpoint said what it did not prove.
fn is_untrue(error: &anyhow::Error) -> bool {
    let called = error.downcast_ref::<CallError>();
    let asked = called.and_then(|error| match error {
        CallError::Rpc(error) => Some(error),
        _ => None,
    });
    matches!(asked.or_else(|| error.downcast_ref()), Some(RpcError::Untrue { .. }))
}
