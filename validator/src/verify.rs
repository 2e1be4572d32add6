//! Anyone's check of an epoch from the archive alone: envelopes, inputs file, previous statement.

use alloy_primitives::B256;
use evidence::{Archive, ArchiveError};
use protocol::{Digest, Epoch, NetworkId};
use settlement::VerifyError;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The hash of the inputs file.
    pub inputs: Digest,
    /// The hash of the statement.
    pub statement: Digest,
    /// The root over the accounts.
    pub root: B256,
    /// How many envelopes were replayed.
    pub envelopes: usize,
}

/// Why an epoch does not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyEpochError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file is missing.
    #[error("the archive has no {0} of epoch {1}")]
    Missing(&'static str, Epoch),
    /// The files do not give the statement.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// Recomputes an epoch from the archive and compares it with the archive's statement. That the ledger
/// made the same one final is for the caller to compare.
///
/// # Errors
/// [`VerifyEpochError`].
pub async fn verify_epoch(
    archive: &Archive,
    network: NetworkId,
    epoch: Epoch,
) -> Result<Verified, VerifyEpochError> {
    let missing = VerifyEpochError::Missing;
    let inputs = archive.inputs(network, epoch).await?.ok_or(missing("inputs", epoch))?;
    let statement =
        archive.statement_bytes(network, epoch).await?.ok_or(missing("statement", epoch))?;
    let previous = match epoch.previous() {
        Some(before) => archive.statement_bytes(network, before).await?,
        None => None,
    };
    let carried = archive.carried(&inputs, &crate::sizes()).await?.carried;
    let envelopes = carried.len();
    let settled = settlement::verify(&inputs.to_bytes(), previous.as_deref(), carried, &statement)?;
    Ok(Verified {
        inputs: inputs.digest(),
        statement: settled.statement.digest(),
        root: settled.tree.root(),
        envelopes,
    })
}
