//! Anyone's check of an epoch from the archive alone: envelopes, inputs file, previous statement.
//!
//! [`verify_epoch`] compares with the archive's own statement; [`replay_epoch`] gives what the archive gives, on
//! the statement that the ledger decided before, for who disputes what it decided next.

use alloy_primitives::B256;
use evidence::{Archive, ArchiveError, Replayed};
use protocol::{Digest, Epoch, Height, NetworkId, inputs::Inputs, statement::Statement};
use settlement::{Settled, VerifyError};

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
    /// The archive was begun in the middle, or its beginning is pruned.
    #[error(
        "epoch {0} cannot be replayed here: the archive has no evidence from before block {1} (any more); a node with `--role archive` has it"
    )]
    Incomplete(Epoch, Height),
    /// The files do not give the statement.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// The statement with the digest `previous`: the newest before the epoch of `inputs` in the archive, as void
/// epochs may lie between them. Nothing for the network's beginning, and if there is none.
async fn previous(
    archive: &Archive,
    inputs: &Inputs,
    previous: Digest,
) -> Result<Option<Vec<u8>>, VerifyEpochError> {
    let genesis = Statement::genesis(inputs.chain_id, inputs.network).digest();
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

/// The inputs file of an epoch whose evidence is all in the archive.
async fn inputs(
    archive: &Archive,
    network: NetworkId,
    epoch: Epoch,
) -> Result<Inputs, VerifyEpochError> {
    let inputs = archive.inputs(network, epoch).await?;
    let inputs = inputs.ok_or(VerifyEpochError::Missing("inputs", epoch))?;
    let since = archive.since().await?;
    if since > inputs.first_height() {
        return Err(VerifyEpochError::Incomplete(epoch, since));
    }
    Ok(inputs)
}

/// What an epoch gives by the archive alone, on the statement `base` of an epoch before it (or of the network's
/// beginning), and how many envelopes were replayed. Whatever statement of the epoch is in the archive says
/// nothing here.
///
/// # Errors
/// [`VerifyEpochError`].
pub async fn replay_epoch(
    archive: &Archive,
    (network, epoch): (NetworkId, Epoch),
    base: Digest,
) -> Result<(Settled, usize), VerifyEpochError> {
    let inputs = inputs(archive, network, epoch).await?;
    let beginning = Statement::genesis(inputs.chain_id, network);
    let before = match previous(archive, &inputs, base).await? {
        Some(bytes) => Statement::from_bytes(&bytes)
            .map_err(|error| VerifyError::Statement("previous", error))?,
        None if beginning.digest() == base => beginning,
        None => return Err(VerifyEpochError::Missing("statement before that", epoch)),
    };
    let Replayed { carried, faults, .. } = archive.carried(&inputs, &crate::sizes()).await?;
    let envelopes = carried.len();
    let settled = settlement::settle(&inputs, &before, carried, faults);
    Ok((settled.map_err(VerifyError::from)?, envelopes))
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
    let inputs = inputs(archive, network, epoch).await?;
    let statement = archive.statement_bytes(network, epoch).await?;
    let statement = statement.ok_or(VerifyEpochError::Missing("statement", epoch))?;
    // If the statement is none, settling says so; if the one before it is not here, it shows the difference.
    let previous = match Statement::from_bytes(&statement) {
        Ok(there) => previous(archive, &inputs, there.previous).await?,
        Err(_) => None,
    };
    let Replayed { carried, faults, .. } = archive.carried(&inputs, &crate::sizes()).await?;
    let (envelopes, found) = (carried.len(), (carried, faults));
    let settled = settlement::verify(&inputs.to_bytes(), previous.as_deref(), found, &statement)?;
    Ok(Verified {
        inputs: inputs.digest(),
        statement: settled.statement.digest(),
        root: settled.tree.root(),
        envelopes,
        authors: settled.statement.authors.len(),
    })
}
