//! Following final blocks: evidence into the archive, epochs opened, batches handed over.

use crate::{
    inputs::{self, BuildError},
    intake::Intake,
    settle,
};
use client::Client;
use consensus::{BlobRefused, Finalized, HistoryError, Ledger};
use evidence::{Archive, ArchiveError, BlockEvidence, replay::batches};
use protocol::{Epoch, Height, NetworkId, clock::EpochClock};
use std::sync::Arc;
use tokio::sync::watch;
use tracing::Instrument as _;

/// How many blocks the archive's cursor may lag: they are recorded again after a restart.
const CURSOR_EVERY: u64 = 8;

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
    /// The evidence of a block that was never recorded is pruned.
    #[error(
        "the blobs of block {0} are pruned and not in the archive: copy another validator's archive"
    )]
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
    /// their blocks carried, the blocks since, and at last what was accepted and is not carried. Returns
    /// the next block to follow.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn resume(&self, accepted: &[Vec<u8>]) -> Result<Height, FollowError> {
        let done = self.archive.cursor().await?.unwrap_or_default();
        let current = self.clock.epoch(Height(done.0.saturating_add(1)));
        for epoch in current.previous().into_iter().chain([current]) {
            self.open(epoch).await?;
        }
        let first = self.clock.first(current.previous().unwrap_or(current));
        for evidence in self.archive.blocks(first, done).await? {
            self.intake.block(&evidence);
        }
        // The last one is recorded again: it tells the intake how far the ledger is.
        let mut next = done;
        while let Some(block) = self.ledger.block(next.0)? {
            self.step(&block).await?;
            next = Height(next.0.saturating_add(1));
        }
        let restored = self.intake.restore(accepted);
        tracing::info!(height = %next, restored, "the validator goes on");
        Ok(next)
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
            let span = tracing::debug_span!("follow.block", height = block.header.height);
            self.step(&block).instrument(span).await?;
            recorded.send_replace(Height(block.header.height));
        }
        Ok(())
    }

    /// Does everything that one final block asks for. Doing it again is harmless.
    async fn step(&self, block: &Finalized) -> Result<(), FollowError> {
        let height = Height(block.header.height);
        let after = Height(height.0.saturating_add(1));
        self.record(block).await?;
        let epoch = self.clock.epoch(after);
        let is_last = self.clock.first(epoch) == after;
        if is_last {
            self.open(epoch).await?;
        }
        if is_last || height.0.is_multiple_of(CURSOR_EVERY) {
            self.archive.put_cursor(height).await?;
        }
        self.hand_over(height);
        Ok(())
    }

    /// Records a block's blobs, and tells the intake what they carry.
    async fn record(&self, block: &Finalized) -> Result<(), FollowError> {
        let height = Height(block.header.height);
        let evidence = match &block.blobs {
            Some(blobs) => {
                let evidence = BlockEvidence::new(height, block.header.timestamp_ms, blobs);
                self.archive.record_block(&evidence).await?;
                evidence
            }
            None => self.archive.block(height).await?.ok_or(FollowError::Pruned(height))?,
        };
        let envelopes: usize = batches(evidence.blobs(), self.client.chain_id(), None)
            .iter()
            .map(|batch| batch.envelopes().len())
            .sum();
        self.intake.block(&evidence);
        metrics::counter!("wayleave_evidence_carried_total")
            .increment(u64::try_from(envelopes).unwrap_or(u64::MAX));
        metrics::gauge!("wayleave_block_height").set(to_f64(height.0));
        Ok(())
    }

    /// Opens `epoch` of every network: the inputs file is read from the archive or built once.
    async fn open(&self, epoch: Epoch) -> Result<(), FollowError> {
        let before = Height(self.clock.first(epoch).0.saturating_sub(1));
        for network in 1..=self.client.networks().await.map_err(BuildError::from)? {
            let network = NetworkId(network);
            let inputs = match self.archive.inputs(network, epoch).await? {
                Some(inputs) => inputs,
                None => {
                    let live = settle::is_live(&self.client, network, epoch).await;
                    if !live.map_err(BuildError::from)? {
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
        Ok(())
    }

    fn hand_over(&self, height: Height) {
        for batch in self.intake.due(height) {
            match self.ledger.submit_blob(batch) {
                Ok(_) | Err(BlobRefused::Known) => {}
                Err(error) => tracing::warn!(%error, "a batch is handed over again later"),
            }
        }
        metrics::gauge!("wayleave_evidence_waiting_bytes")
            .set(to_f64(u64::try_from(self.intake.waiting_bytes()).unwrap_or(u64::MAX)));
    }
}

/// A count as a gauge wants it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
const fn to_f64(count: u64) -> f64 {
    count as f64
}
