//! What an agent asks of the ledger: the clock, the newest height, the hash of an epoch's inputs.

use client::{CallError, Client, RpcError};
use futures::future::BoxFuture;
use protocol::{Digest, Epoch, Height, NetworkId, clock::EpochClock};

/// Why the ledger did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A contract could not be read.
    #[error("ledger: {0}")]
    Call(#[from] CallError),
    /// A request was refused or not answered.
    #[error("ledger: {0}")]
    Rpc(#[from] RpcError),
}

/// The ledger as an agent needs it.
pub trait Ledger: Send + Sync + 'static {
    /// The chain's id.
    fn chain_id(&self) -> u64;

    /// The clock of epochs.
    fn clock(&self) -> BoxFuture<'_, Result<EpochClock, LedgerError>>;

    /// Waits for a height above `after` and returns the newest.
    fn next(&self, after: Option<Height>) -> BoxFuture<'_, Height>;

    /// The hash of an epoch's inputs file, once it is fixed.
    fn inputs_hash(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> BoxFuture<'_, Result<Option<Digest>, LedgerError>>;
}

impl Ledger for Client {
    fn chain_id(&self) -> u64 {
        Self::chain_id(self)
    }

    fn clock(&self) -> BoxFuture<'_, Result<EpochClock, LedgerError>> {
        Box::pin(async { Ok(Self::clock(self).await?) })
    }

    fn next(&self, after: Option<Height>) -> BoxFuture<'_, Height> {
        Box::pin(async move {
            let wanted = after.map_or(Height(0), |height| Height(height.0.saturating_add(1)));
            let mut heights = self.follow(wanted);
            let height = heights.next().await;
            heights.head().unwrap_or(height).max(height)
        })
    }

    fn inputs_hash(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> BoxFuture<'_, Result<Option<Digest>, LedgerError>> {
        Box::pin(async move { Ok(Self::inputs_hash(self, network, epoch).await?) })
    }
}
