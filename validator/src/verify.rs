//! Anyone's check of an epoch from the archive alone: envelopes, inputs file, previous statement.

use alloy_primitives::B256;
use evidence::{Archive, ArchiveError};
use protocol::{Digest, Epoch, NetworkId, inputs::Inputs, statement::Statement};
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
    /// How many authors of batches are at fault.
    pub authors: usize,
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

/// The statement that `statement` says it builds on: the newest before it in the archive that has this
/// digest, as void epochs may lie between them. Nothing for the first, and if there is none: then settling
/// shows the difference.
async fn previous(
    archive: &Archive,
    inputs: &Inputs,
    statement: &[u8],
) -> Result<Option<Vec<u8>>, VerifyEpochError> {
    let genesis = Statement::genesis(inputs.chain_id, inputs.network).digest();
    let Ok(Statement { previous, .. }) = Statement::from_bytes(statement) else { return Ok(None) };
    let mut epoch = inputs.epoch;
    while let Some(before) = epoch.previous().filter(|_| previous != genesis) {
        let bytes = archive.statement_bytes(inputs.network, before).await?;
        if let Some(bytes) = bytes.filter(|bytes| Digest::of(bytes) == previous) {
            return Ok(Some(bytes.to_vec()));
        }
        epoch = before;
    }
    Ok(None)
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
    let previous = previous(archive, &inputs, &statement).await?;
    let replayed = archive.carried(&inputs, &crate::sizes()).await?;
    let (envelopes, found) = (replayed.carried.len(), (replayed.carried, replayed.faults));
    let settled = settlement::verify(&inputs.to_bytes(), previous.as_deref(), found, &statement)?;
    Ok(Verified {
        inputs: inputs.digest(),
        statement: settled.statement.digest(),
        root: settled.tree.root(),
        envelopes,
        authors: settled.statement.authors.len(),
    })
}
