//! Anyone's check of a settled epoch, from bytes alone.

use crate::{SettleError, Settled, settle};
use protocol::{
    Digest,
    author::AuthorFault,
    cbor::DecodeError,
    inputs::{Inputs, InputsError},
    kind::Carried,
    statement::Statement,
};

/// Why a statement is not the result of settling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The inputs file is invalid.
    #[error(transparent)]
    Inputs(#[from] InputsError),
    /// A statement does not decode.
    #[error("{0} statement: {1}")]
    Statement(&'static str, DecodeError),
    /// The epoch cannot be settled from these files.
    #[error("settling failed: {0}")]
    Settle(#[from] SettleError),
    /// Settling gives another statement than the one given.
    #[error("settling gives statement {computed}, not {given}")]
    Differs {
        /// The digest of what settling gives.
        computed: Digest,
        /// The digest of what was given.
        given: Digest,
    },
}

/// Settles again from the bytes of the inputs file and the previous statement (nothing before the first
/// epoch) and what a replay gives, evidence and authors' faults, and compares with the bytes of the
/// statement.
///
/// # Errors
/// [`VerifyError`]; [`VerifyError::Differs`] means that the statement is wrong.
pub fn verify(
    inputs: &[u8],
    previous: Option<&[u8]>,
    (carried, faults): (Vec<Carried>, Vec<AuthorFault>),
    statement: &[u8],
) -> Result<Settled, VerifyError> {
    let inputs = Inputs::from_bytes(inputs)?;
    let previous = match previous {
        Some(bytes) => Statement::from_bytes(bytes)
            .map_err(|error| VerifyError::Statement("previous", error))?,
        None => Statement::genesis(inputs.chain_id, inputs.network),
    };
    let settled = settle(&inputs, &previous, carried, faults)?;
    let computed = settled.statement.to_bytes();
    if computed == statement {
        return Ok(settled);
    }
    Err(VerifyError::Differs { computed: Digest::of(&computed), given: Digest::of(statement) })
}

#[cfg(test)]
mod tests;
