//! Pruning the archive (design 5): evidence that can neither be disputed nor has to be replayed here is kept for
//! a while longer, and then goes. [`evidence::archive`] says what stays.
//!
//! What can still be needed of a network, and is kept whatever its age:
//! * epochs that are open, or decided and not claimable, since a dissent may have them voted on again;
//! * epochs that were decided and are not replayed here yet, or that this node refuses.
//!
//! One network can hold up the pruning of all, since blocks are shared: for as long as a decision of it can be
//! disputed, which costs bonds. Epochs that nobody settles are void after a while and hold up nothing.

use crate::{
    files::Files,
    settle::{Agreed, Refusals},
};
use client::CallError;
use evidence::ArchiveError;
use protocol::{Epoch, Height, NetworkId, clock::EpochClock};
use std::time::Duration;
use tokio::sync::watch;

/// How long evidence is kept that can be disputed no more, unless the operator says otherwise (design 5).
pub const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// After how many blocks there is a look at what may go.
const EVERY: u64 = 64;
/// Of how many blocks the evidence goes at once: more than come meanwhile.
const BLOCKS: u64 = 4_096;

/// Why pruning has to wait.
#[derive(Debug, thiserror::Error)]
enum PruneError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// What a pruner goes by.
#[derive(Debug)]
pub struct Pruner {
    /// The archive, and the ledger that says what is settled.
    pub files: Files,
    /// The ledger's clock.
    pub clock: EpochClock,
    /// For how many blocks evidence is kept that can be disputed no more.
    pub kept: u64,
    /// What this node has replayed.
    pub agreed: Agreed,
    /// What it refuses.
    pub refusals: Refusals,
}

impl Pruner {
    /// Prunes until blocks end.
    pub async fn run(self, mut recorded: watch::Receiver<Height>) {
        let mut next = Height(0);
        loop {
            let height = *recorded.borrow_and_update();
            if height >= next {
                if let Err(error) = self.prune(height).await {
                    tracing::warn!(%error, "the archive is pruned later");
                }
                next = Height(height.0.saturating_add(EVERY));
            }
            if recorded.changed().await.is_err() {
                return;
            }
        }
    }

    /// One step of what is due after the block at `recorded`.
    async fn prune(&self, recorded: Height) -> Result<(), PruneError> {
        let newest = NetworkId(self.files.client.networks().await?);
        let Some(oldest) = self.oldest(newest, recorded).await? else { return Ok(()) };
        let kept_from = Height(self.clock.first(oldest).0.saturating_sub(self.kept));
        // Whole epochs: of one of which a part is gone, the rest is of no use.
        let to = self.clock.first(self.clock.epoch(kept_from));
        let archive = &self.files.archive;
        let before = archive.since().await?;
        archive.prune(to, BLOCKS, (&self.clock, newest)).await?;
        if before < to {
            tracing::info!(below = %to, "evidence that can be disputed no more is pruned");
        }
        Ok(())
    }

    /// The oldest epoch of any network up to the `newest` that can still be needed; nothing as long as that is
    /// not known.
    async fn oldest(
        &self,
        newest: NetworkId,
        recorded: Height,
    ) -> Result<Option<Epoch>, CallError> {
        let client = &self.files.client;
        let mut oldest = self.clock.epoch(recorded);
        for network in (1..=newest.0).map(NetworkId) {
            let last = client.final_epoch(network).await?;
            if self.agreed.of(network) != Some(last) {
                return Ok(None);
            }
            let claimable = client.claimable_epoch(network).await?;
            let epoch = if claimable == last {
                client.next_epoch(network).await?
            } else {
                claimable.map_or(Epoch(0), Epoch::next)
            };
            oldest = oldest.min(epoch);
        }
        let refused = self.refusals.all().into_iter().map(|refusal| refusal.epoch);
        Ok(refused.chain([oldest]).min())
    }
}
