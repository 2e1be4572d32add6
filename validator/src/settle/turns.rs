//! Whose turn it is: each network by itself, and one replay after another.
//!
//! A round of votes lasts a few blocks, and a commit and its reveal are in different ones. So no network waits for
//! another one but to replay: that reads all blocks of an epoch and holds in memory what counts of it
//! ([`evidence::replay::CARRIED_MAX`]), whatever its network's founder makes of its rules, and a machine has
//! room for one of those.
//!
//! All is done in one task and in the order in which it can go on, so that a simulator repeats it.

use super::{Said, SettleEpochError, Settler};
use crate::running::RETRY;
use client::CallError;
use futures::{StreamExt as _, stream, stream::FuturesUnordered};
use protocol::{Epoch, Height, NetworkId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    select,
    sync::{Semaphore, SemaphorePermit, watch},
    time::Instant,
};
use tracing::Instrument as _;

/// How many networks are attended to at once, beside those that replay or wait for it.
const NETWORKS_AT_ONCE: usize = 16;

/// Who replays, and who waits for it.
#[derive(Debug)]
pub(super) struct Replays {
    one: Semaphore,
    count: AtomicUsize,
}

impl Default for Replays {
    fn default() -> Self {
        Self { one: Semaphore::new(1), count: AtomicUsize::new(0) }
    }
}

/// The turn to replay.
pub(super) struct Turn<'r> {
    _permit: Option<SemaphorePermit<'r>>,
    _waits: Waits<'r>,
}

/// Somebody who replays, or waits for it.
struct Waits<'r>(&'r AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Replays {
    /// Waits for the turn to replay, which lasts until it is dropped.
    pub(super) async fn turn(&self) -> Turn<'_> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(&self.count);
        // The semaphore is never closed.
        Turn { _permit: self.one.acquire().await.ok(), _waits: waits }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// Up to which epoch a node's replay agrees with what was decided of each network, for who wants to know.
#[derive(Clone, Debug, Default)]
pub struct Agreed(Arc<Mutex<BTreeMap<NetworkId, Option<Epoch>>>>);

impl Agreed {
    /// The newest epoch of a network up to which all that was decided agrees with the replay: none before the first,
    /// and nothing as long as that is not known.
    pub fn of(&self, network: NetworkId) -> Option<Option<Epoch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&network).copied()
    }

    fn note(&self, network: NetworkId, said: &Said) {
        if let Some(base) = said.agreed {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(network, base.epoch);
        }
    }
}

/// What came of attending to a network.
struct Attended {
    network: NetworkId,
    said: Said,
    result: Result<(), SettleEpochError>,
}

/// Which networks wait for their turn.
#[derive(Debug, Default)]
struct Turns {
    busy: BTreeSet<NetworkId>,
    /// For which block each was attended to last.
    begun: BTreeMap<NetworkId, Height>,
    /// Until when one that failed rests.
    resting: BTreeMap<NetworkId, Instant>,
    /// Whose turn was last.
    last: NetworkId,
}

impl Turns {
    /// The next network of so many whose turn it is with the block at `height`.
    fn next(&mut self, networks: u64, height: Height) -> Option<NetworkId> {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let after = (self.last.0.saturating_add(1)..=networks).chain(1..=self.last.0.min(networks));
        let network = after.map(NetworkId).find(|network| {
            !self.busy.contains(network)
                && !self.resting.contains_key(network)
                && self.begun.get(network) != Some(&height)
        })?;
        self.last = network;
        self.busy.insert(network);
        self.begun.insert(network, height);
        Some(network)
    }

    fn done(&mut self, network: NetworkId, failed: bool) {
        self.busy.remove(&network);
        if failed {
            self.resting.insert(network, Instant::now() + RETRY);
        }
    }
}

impl Settler {
    /// Up to which epochs this node agrees with what was decided.
    pub fn agreed(&self) -> Agreed {
        self.agreed.clone()
    }

    /// Does what is due with every block that is `recorded`, until there are no more. What fails is tried again
    /// with a later block; the log says why.
    pub async fn run(mut self, mut recorded: watch::Receiver<Height>) {
        let mut all = std::mem::take(&mut self.said);
        let (settler, mut turns, mut networks) = (&self, Turns::default(), 0);
        let mut works = FuturesUnordered::new();
        let mut seen = None;
        loop {
            let height = *recorded.borrow_and_update();
            if seen.replace(height) != Some(height) {
                match settler.files.client.networks().await {
                    Ok(count) => networks = count,
                    Err(error) => {
                        tracing::warn!(%error, "the ledger cannot be read; trying again");
                    }
                }
            }
            while turns.busy.len() < NETWORKS_AT_ONCE.saturating_add(settler.replays.count())
                && let Some(network) = turns.next(networks, height)
            {
                let said = all.remove(&network).unwrap_or_default();
                works.push(settler.attend(network, height, said));
            }
            select! {
                // In this order, so that nothing depends on a coin.
                biased;
                Some(attended) = works.next() => {
                    let network = attended.network;
                    let failed = settler.note(attended, &mut all);
                    turns.done(network, failed);
                }
                changed = recorded.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Does what is due once the blocks up to `recorded` are in the archive, of all networks once. Returns how many
    /// are left with work that failed; the log says why, and the next call goes on.
    ///
    /// # Errors
    /// When the ledger cannot say which networks there are.
    pub async fn settle_due(&mut self, recorded: Height) -> Result<usize, CallError> {
        let networks = (1..=self.files.client.networks().await?).map(NetworkId);
        let mut all = std::mem::take(&mut self.said);
        let works: Vec<_> = networks
            .map(|network| (network, all.remove(&network).unwrap_or_default()))
            .map(|(network, said)| self.attend(network, recorded, said))
            .collect();
        // Each transaction waits for a block: networks settled one by one would fall behind their epochs.
        let done: Vec<_> = stream::iter(works).buffer_unordered(NETWORKS_AT_ONCE).collect().await;
        let failed = done.into_iter().filter_map(|done| self.note(done, &mut all).then_some(()));
        let failed = failed.count();
        self.said = all;
        Ok(failed)
    }

    /// Does what is due of one network.
    async fn attend(&self, network: NetworkId, recorded: Height, mut said: Said) -> Attended {
        let span = tracing::info_span!("settle", %network, %recorded);
        let result = self.network_due(network, recorded, &mut said).instrument(span).await;
        Attended { network, said, result }
    }

    /// Remembers what came of it; true if it failed.
    fn note(&self, attended: Attended, all: &mut BTreeMap<NetworkId, Said>) -> bool {
        let Attended { network, said, result } = attended;
        self.agreed.note(network, &said);
        all.insert(network, said);
        let Err(error) = result else { return false };
        // A refusal is said once, with what differs.
        if !matches!(error, SettleEpochError::Dissent { .. }) {
            tracing::warn!(%network, %error, "settling failed; it is tried again");
        }
        metrics::counter!("wayleave_settlement_failures_total").increment(1);
        true
    }
}

#[cfg(test)]
mod tests;
