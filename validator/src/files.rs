//! The archive, completed by what other validators keep.
//!
//! What the ledger fixed by hash can come from anybody: the inputs file of an epoch once it is announced,
//! the statement once it is final, the evidence of a final block. A fetched file goes into the archive and is never asked for again.
//!
//! A statement in the archive is this node's replay, or one that it could not replay. If it is not the decided
//! one, nothing is fetched over it: settling refuses what was decided ([`crate::settle`](mod@crate::settle)).

use crate::{
    others::Others,
    settle::{aside, decides},
};
use bytes::Bytes;
use client::{CallError, Client};
use consensus::{Header, blob_hash, blobs_root};
use evidence::{Archive, ArchiveError, BlockEvidence};
use protocol::{Digest, Epoch, Height, NetworkId, inputs::Inputs, statement::Statement};
use std::sync::Arc;

/// How many epochs back from the newest final one its statement is looked for.
pub const NEWEST_BACK: u64 = 64;

/// The archive and who completes it.
#[derive(Clone, Debug)]
pub struct Files {
    /// The ledger, which knows the hashes.
    pub client: Client,
    /// Our archive.
    pub archive: Archive,
    /// The other validators.
    pub others: Arc<Others>,
}

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Files {
    /// The inputs file of an epoch: ours, or the announced one as another validator has it.
    ///
    /// # Errors
    /// When ledger or archive fail.
    pub async fn inputs(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Inputs>, FilesError> {
        if let Some(inputs) = self.archive.inputs(network, epoch).await? {
            return Ok(Some(inputs));
        }
        let Some(digest) = self.client.inputs_hash(network, epoch).await? else { return Ok(None) };
        let path = format!("/v1/inputs/{network}/{epoch}");
        let Some(bytes) = self.others.file(&path, digest).await else { return Ok(None) };
        let inputs = match Inputs::from_bytes(&bytes) {
            Ok(inputs) if (inputs.network, inputs.epoch) == (network, epoch) => inputs,
            Ok(_) => return Ok(None),
            Err(error) => {
                tracing::error!(%network, %epoch, %error, "what was announced is no inputs file");
                return Ok(None);
            }
        };
        self.archive.put_inputs(&inputs).await?;
        tracing::info!(%network, %epoch, "inputs fetched from another validator");
        Ok(Some(inputs))
    }

    /// The statement of an epoch that is decided as `digest`: ours if it is that one, or, if we have none,
    /// another validator's.
    ///
    /// # Errors
    /// When ledger or archive fail.
    pub async fn statement(
        &self,
        network: NetworkId,
        epoch: Epoch,
        digest: Digest,
    ) -> Result<Option<Statement>, FilesError> {
        if let Some(ours) = self.archive.statement(network, epoch).await? {
            return Ok((ours.digest() == digest).then_some(ours));
        }
        let path = format!("/v1/statement/{network}/{epoch}");
        let Some(bytes) = self.others.file(&path, digest).await else { return Ok(None) };
        let statement = match Statement::from_bytes(&bytes) {
            Ok(there) if (there.network, there.epoch) == (network, epoch) => there,
            Ok(_) => return Ok(None),
            Err(error) => {
                tracing::error!(%network, %epoch, %error, "what is final is no statement");
                return Ok(None);
            }
        };
        self.archive.put_statement(&statement).await?;
        tracing::info!(%network, %epoch, "statement fetched from another validator");
        Ok(Some(statement))
    }

    /// A statement of an epoch that is `wanted`, as we or another validator have it. It is compared with ours
    /// and not kept.
    pub async fn statement_where(
        &self,
        network: NetworkId,
        epoch: Epoch,
        wanted: impl Fn(&Statement) -> bool,
    ) -> Option<Statement> {
        let ours = self.archive.statement(network, epoch).await.ok().flatten();
        if let Some(ours) = ours.filter(&wanted) {
            return Some(ours);
        }
        let accept = |bytes: Bytes| Statement::from_bytes(&bytes).ok().filter(&wanted);
        self.others.find(&format!("/v1/statement/{network}/{epoch}"), accept).await
    }

    /// The evidence of the final block with `header`: ours, or all of its blobs as another validator has them,
    /// which the header's hash proves. It is not put into the archive, since the caller records every block.
    ///
    /// # Errors
    /// When the archive fails.
    pub async fn block(&self, header: &Header) -> Result<Option<BlockEvidence>, ArchiveError> {
        let height = Height(header.height);
        if let Some(evidence) = self.archive.block(height).await? {
            return Ok(Some(evidence));
        }
        let of_block = |evidence: &BlockEvidence| {
            (evidence.height, evidence.time_ms) == (height, header.timestamp_ms)
                && blobs_root(evidence.blobs().map(blob_hash)) == header.blobs_root
        };
        let accept = |bytes: Bytes| BlockEvidence::read(&bytes).ok().filter(of_block);
        Ok(self.others.find(&format!("/v1/blocks/{height}"), accept).await)
    }

    /// The archived statement of an epoch, if the epoch is final and with what this statement gives.
    ///
    /// # Errors
    /// When ledger or archive fail.
    pub async fn agreed(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Statement>, FilesError> {
        let Some(outcome) = self.client.outcome(network, epoch).await? else { return Ok(None) };
        let ours = self.archive.statement(network, epoch).await?;
        let Some(ours) = ours else { return Ok(None) };
        Ok(aside(move || decides(&outcome, &ours).then_some(ours)).await)
    }

    /// The newest archived statement that is the ledger's, at most [`NEWEST_BACK`] epochs before the
    /// newest final one.
    ///
    /// # Errors
    /// When ledger or archive fail.
    pub async fn newest(&self, network: NetworkId) -> Result<Option<Statement>, FilesError> {
        let Some(last) = self.client.final_epoch(network).await? else { return Ok(None) };
        for epoch in (last.0.saturating_sub(NEWEST_BACK)..=last.0).rev().map(Epoch) {
            if let Some(statement) = self.agreed(network, epoch).await? {
                return Ok(Some(statement));
            }
        }
        Ok(None)
    }
}
