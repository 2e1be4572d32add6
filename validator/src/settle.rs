//! Settling: announce the inputs, replay the epoch from the archive once its grace is over, archive the
//! statement, vote. One epoch after the other, each step skipped if it is done.

use client::{
    CallError, Client, SendError, Signer,
    abi::{ISettlements, Outcome, Totals},
    address,
};
use evidence::{Archive, ArchiveError, segment};
use alloy_primitives::U256;
use protocol::{Epoch, Height, NetworkId, clock::EpochClock, statement::Statement};
use settlement::{SettleError, Settled};
use std::time::Instant;

/// Why an epoch is not settled yet.
#[derive(Debug, thiserror::Error)]
pub enum SettleEpochError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A transaction was not applied.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The files do not settle.
    #[error("epoch {0}: {1}")]
    Settle(Epoch, SettleError),
    /// A file is missing.
    #[error("the archive has no {0} of epoch {1}")]
    Missing(&'static str, Epoch),
    /// The Parquet segment.
    #[error(transparent)]
    Segment(#[from] segment::SegmentError),
    /// The ledger's final outcome is another one than this validator's.
    #[error("epoch {epoch} of network {network} is final with another statement than this archive gives: compare archives with `wayleave verify-epoch {epoch}`")]
    Dissent {
        /// The network.
        network: NetworkId,
        /// The epoch.
        epoch: Epoch,
    },
}

/// The settling half of a validator.
#[derive(Clone, Debug)]
pub struct Settler {
    /// The ledger.
    pub client: Client,
    /// The archive.
    pub archive: Archive,
    /// The account that votes.
    pub signer: Signer,
    /// The ledger's clock.
    pub clock: EpochClock,
}

/// Whether a network has rules in `epoch`.
pub(crate) async fn is_live(
    client: &Client,
    network: NetworkId,
    epoch: Epoch,
) -> Result<bool, CallError> {
    Ok(client.network(network).await?.start <= epoch.0)
}

impl Settler {
    /// Does what is due once the blocks up to `recorded` are in the archive.
    ///
    /// # Errors
    /// [`SettleEpochError`]; what was done stays done, and the next call goes on.
    pub async fn settle_due(&self, recorded: Height) -> Result<(), SettleEpochError> {
        for network in 1..=self.client.networks().await? {
            let network = NetworkId(network);
            let mut epoch = self.next_epoch(network).await?;
            loop {
                self.announce(network, epoch, recorded).await?;
                if recorded <= self.clock.grace_end(epoch) {
                    break;
                }
                self.settle(network, epoch).await?;
                epoch = epoch.next();
            }
            // The epoch under way has its inputs, although the one before it is not settled yet.
            self.announce(network, epoch.next(), recorded).await?;
        }
        Ok(())
    }

    /// The first epoch that is not final.
    async fn next_epoch(&self, network: NetworkId) -> Result<Epoch, CallError> {
        Ok(match self.client.final_epoch(network).await? {
            Some(epoch) => epoch.next(),
            None => Epoch(self.client.network(network).await?.start),
        })
    }

    async fn announce(
        &self,
        network: NetworkId,
        epoch: Epoch,
        recorded: Height,
    ) -> Result<(), SettleEpochError> {
        // The inputs exist when the last block before the epoch is recorded.
        if recorded.0.saturating_add(1) < self.clock.first(epoch).0
            || self.client.inputs_hash(network, epoch).await?.is_some()
        {
            return Ok(());
        }
        let Some(inputs) = self.archive.inputs(network, epoch).await? else { return Ok(()) };
        self.client.wait_for(self.clock.first(epoch)).await;
        let call = ISettlements::announceCall {
            network: network.0,
            epoch: epoch.0,
            inputs: inputs.digest().into(),
        };
        self.client.send(&self.signer, address::SETTLEMENTS, &call).await?;
        tracing::info!(%network, %epoch, devices = inputs.roster.len(), "inputs announced");
        Ok(())
    }

    async fn settle(&self, network: NetworkId, epoch: Epoch) -> Result<(), SettleEpochError> {
        let began = Instant::now();
        let settled = self.replay(network, epoch).await?;
        self.archive.put_statement(&settled.statement).await?;
        self.vote(network, &settled).await?;
        let elapsed = began.elapsed();
        metrics::histogram!("wayleave_settlement_seconds").record(elapsed.as_secs_f64());
        tracing::info!(%network, %epoch, ?elapsed, "epoch settled");
        Ok(())
    }

    async fn replay(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Settled, SettleEpochError> {
        let inputs = self
            .archive
            .inputs(network, epoch)
            .await?
            .ok_or(SettleEpochError::Missing("inputs", epoch))?;
        let first = self.client.network(network).await?.start == epoch.0;
        let previous = match epoch.previous().filter(|_| !first) {
            Some(before) => self
                .archive
                .statement(network, before)
                .await?
                .ok_or(SettleEpochError::Missing("statement", before))?,
            None => Statement::genesis(inputs.chain_id, network),
        };
        let replayed = self.archive.carried(&inputs, &crate::sizes()).await?;
        for fault in &replayed.faults {
            tracing::warn!(?fault, "a batch's author is at fault");
        }
        let parquet = segment::encode(&replayed.carried)?;
        self.archive.put_segment(network, epoch, parquet).await?;
        // Settling is computation: it must not hold up the tasks of this runtime.
        let task = tokio::task::spawn_blocking(move || {
            settlement::settle(&inputs, &previous, replayed.carried)
        });
        match task.await {
            Ok(result) => result.map_err(|error| SettleEpochError::Settle(epoch, error)),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    async fn vote(&self, network: NetworkId, settled: &Settled) -> Result<(), SettleEpochError> {
        let statement = &settled.statement;
        let epoch = statement.epoch;
        let digest = statement.digest();
        if let Some(outcome) = self.client.outcome(network, epoch).await? {
            return if outcome.statement.0 == digest.0 {
                Ok(())
            } else {
                Err(SettleEpochError::Dissent { network, epoch })
            };
        }
        let call = ISettlements::voteCall {
            network: network.0,
            epoch: epoch.0,
            outcome: outcome(settled),
        };
        self.client.send(&self.signer, address::SETTLEMENTS, &call).await?;
        Ok(())
    }
}

/// What is voted on.
pub fn outcome(settled: &Settled) -> Outcome {
    let statement = &settled.statement;
    let totals = &statement.totals;
    Outcome {
        inputs: statement.inputs.into(),
        statement: statement.digest().into(),
        root: settled.tree.root(),
        totals: Totals {
            vested: U256::from(totals.vested.0),
            cash: U256::from(totals.earned.cash.0),
            card: U256::from(totals.earned.card.0),
            credit: U256::from(totals.earned.credit.0),
            spent: U256::from(totals.spent.0),
            burned: U256::from(totals.to_burn.0),
            slashed: U256::from(totals.slashed.0),
            toppedUp: U256::from(totals.topped_up.0),
            bootstrapped: U256::from(totals.bootstrapped.0),
        },
    }
}
