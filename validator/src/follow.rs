//! Following final blocks: evidence into the archive, epochs opened, batches handed over.

use crate::{
    inputs::{self, BuildError},
    intake::Intake,
    settle,
};
use client::{CallError, Client};
use consensus::{BlobRefused, Finalized, HistoryError, Ledger};
use evidence::{Archive, ArchiveError, BlockEvidence, replay::batches};
use protocol::{Epoch, Height, NetworkId, clock::EpochClock};
use std::sync::Arc;
use tokio::sync::watch;

/// What stops the follower.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The ledger's own history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The evidence of a block that was never recorded is pruned.
    #[error("the blobs of block {0} are pruned and not in the archive: copy another validator's archive")]
    Pruned(Height),
}

/// The follower and what it works on.
#[derive(Clone, Debug)]
pub struct Follower {
    /// The ledger.
    pub ledger: Ledger,
    /// The same ledger as others see it.
    pub client: Client,
    /// The archive.
    pub archive: Archive,
    /// The intake.
    pub intake: Arc<Intake>,
    /// The ledger's clock.
    pub clock: EpochClock,
}

impl Follower {
    /// Brings archive and intake to where they were before a restart: the inputs of open epochs, what
    /// their blocks carried, and what was accepted and not carried.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn resume(&self, accepted: &[Vec<u8>]) -> Result<Height, FollowError> {
        let next = self.archive.cursor().await?.map_or(1, |height| height.0.saturating_add(1));
        let done = Height(next.saturating_sub(1));
        let current = self.clock.epoch(done);
        for epoch in current.previous().into_iter().chain([current]) {
            self.open(epoch).await?;
        }
        let first = self.clock.first(current.previous().unwrap_or(current));
        for evidence in self.archive.blocks(first, done).await? {
            self.intake.block(&evidence);
        }
        let restored = self.intake.restore(accepted);
        tracing::info!(height = %done, restored, "the validator goes on");
        Ok(Height(next))
    }

    /// Follows blocks from `next` on until the ledger stops, telling `recorded` of each.
    ///
    /// # Errors
    /// [`FollowError`]; the caller starts again.
    pub async fn run(
        &self,
        next: Height,
        recorded: &watch::Sender<Height>,
    ) -> Result<(), FollowError> {
        let mut blocks = self.ledger.subscribe_from(next.0);
        while let Some(block) = blocks.next().await? {
            self.record(&block).await?;
            let height = Height(block.header.height);
            let after = self.clock.epoch(Height(height.0.saturating_add(1)));
            if self.clock.first(after).0 == height.0.saturating_add(1) {
                self.open(after).await?;
            }
            self.hand_over(height);
            recorded.send_replace(height);
        }
        Ok(())
    }

    async fn record(&self, block: &Finalized) -> Result<(), FollowError> {
        let height = Height(block.header.height);
        let blobs = match &block.blobs {
            Some(blobs) => blobs.as_slice(),
            None if self.archive.block(height).await?.is_some() => &[],
            None => return Err(FollowError::Pruned(height)),
        };
        let evidence = BlockEvidence::new(height, block.header.timestamp_ms, blobs.to_vec());
        if !blobs.is_empty() {
            self.archive.record_block(&evidence).await?;
            let envelopes: usize = batches(evidence.blobs(), self.client.chain_id(), None)
                .iter()
                .map(|batch| batch.envelopes().len())
                .sum();
            metrics::counter!("wayleave_evidence_carried_total")
                .increment(u64::try_from(envelopes).unwrap_or(u64::MAX));
        }
        self.archive.put_cursor(height).await?;
        self.intake.block(&evidence);
        metrics::gauge!("wayleave_block_height").set(to_f64(height.0));
        Ok(())
    }

    /// Opens `epoch` of every network: the inputs file is read from the archive or built once.
    async fn open(&self, epoch: Epoch) -> Result<(), FollowError> {
        let before = Height(self.clock.first(epoch).0.saturating_sub(1));
        for network in 1..=self.client.networks().await? {
            let network = NetworkId(network);
            let inputs = match self.archive.inputs(network, epoch).await? {
                Some(inputs) => inputs,
                None => {
                    if !settle::is_live(&self.client, network, epoch).await? {
                        continue;
                    }
                    let Some(header) = self.ledger.header(before.0)? else { continue };
                    let inputs = inputs::build(&self.client, &header, network, epoch).await?;
                    self.archive.put_inputs(&inputs).await?;
                    inputs
                }
            };
            self.intake.open_epoch(Arc::new(inputs));
        }
        let oldest = epoch.previous().and_then(Epoch::previous).unwrap_or_default();
        if let Err(error) = self.intake.forget_before(oldest) {
            tracing::warn!(%error, "an old journal could not be removed");
        }
        Ok(())
    }

    fn hand_over(&self, height: Height) {
        for batch in self.intake.due(height) {
            match self.ledger.submit_blob(batch) {
                Ok(_) | Err(BlobRefused::Known) => {}
                Err(error) => tracing::warn!(%error, "a batch is handed over again later"),
            }
        }
    }
}

/// A count as a gauge wants it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
const fn to_f64(count: u64) -> f64 {
    count as f64
}
