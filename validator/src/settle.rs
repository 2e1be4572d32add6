//! Settling: announce the inputs, replay the epoch from the archive once its grace is over, archive the
//! statement, vote. One epoch after the other, each step skipped if it is done, so that a restart at any
//! moment goes on; networks do not wait for one another.
//!
//! An epoch builds on the statement before it, and that must be the ledger's. Who was away while others
//! made epochs final goes back to the newest one whose final statement is at hand, in the archive or with
//! another validator ([`Files`]), or to the network's beginning, and replays from there: without a vote,
//! since there is nothing to vote on, but comparing each statement with the ledger's. One that differs is
//! [`SettleEpochError::Dissent`]: it is never archived over the final one, nor built upon, and settling of
//! the network stops at it for all to see.

use crate::files::{Files, FilesError};
use alloy_primitives::U256;
use client::{
    CallError, Client, SendError, Signer,
    abi::{ISettlements, IValidators, Outcome, Totals},
    address,
};
use evidence::{ArchiveError, segment};
use futures::{StreamExt as _, stream};
use protocol::{Digest, Epoch, Height, NetworkId, clock::EpochClock, statement::Statement};
use settlement::{SettleError, Settled};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::Instrument as _;

/// How many networks are settled at once.
const NETWORKS_AT_ONCE: usize = 16;

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
    /// Ledger or archive, when looking for a file.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The files do not settle.
    #[error("epoch {0}: {1}")]
    Settle(Epoch, SettleError),
    /// A file is missing.
    #[error("neither the archive nor another validator has the {0} of epoch {1}")]
    Missing(&'static str, Epoch),
    /// The Parquet segment.
    #[error(transparent)]
    Segment(#[from] segment::SegmentError),
    /// The ledger's final outcome is another one than this validator's.
    #[error(
        "epoch {epoch} of network {network} is final with another statement than this archive gives: compare archives with `wayleave verify-epoch {epoch}`"
    )]
    Dissent {
        /// The network.
        network: NetworkId,
        /// The epoch.
        epoch: Epoch,
    },
}

/// What a validator votes for when an epoch was settled.
pub type Choice = fn(&Settled) -> Outcome;

/// The settling half of a validator.
#[derive(Debug)]
pub struct Settler {
    files: Files,
    signer: Signer,
    clock: EpochClock,
    choice: Choice,
    /// What this validator said since it started: said again after a restart, which replaces it.
    said: BTreeMap<NetworkId, Said>,
}

/// The epochs for which something was said.
#[derive(Clone, Debug, Default)]
struct Said {
    /// The ledger's term in which it was said.
    term: u64,
    /// Whose inputs are announced, of those that are open.
    announced: BTreeSet<Epoch>,
    voted: Option<Epoch>,
}

impl Said {
    /// Begins a term. What is said counts in one round of voting, and a round ends with a term: all that
    /// is still open is said again in each.
    fn begin(&mut self, term: u64) {
        if self.term != term {
            *self = Self { term, ..Self::default() };
        }
    }

    /// The epochs to announce, when `open` is the first that can become final and `begun` the last that
    /// has begun. Later ones do not wait for one whose inputs are still to come, nor are they said again
    /// for its sake.
    fn unannounced(&mut self, open: Epoch, begun: Epoch) -> Vec<Epoch> {
        self.announced = self.announced.split_off(&open);
        (open.0..=begun.0).map(Epoch).filter(|epoch| !self.announced.contains(epoch)).collect()
    }
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
    /// Votes with `signer` for what `files` give.
    pub const fn new(files: Files, signer: Signer, clock: EpochClock) -> Self {
        Self { files, signer, clock, choice: outcome, said: BTreeMap::new() }
    }

    /// Votes for what `choice` makes of what was settled: [`outcome`], unless a simulated validator lies.
    pub fn choosing(self, choice: Choice) -> Self {
        Self { choice, ..self }
    }

    /// Does what is due once the blocks up to `recorded` are in the archive. Returns how many networks
    /// are left with work that failed; the log says why, and the next call goes on.
    ///
    /// # Errors
    /// When the ledger cannot say which networks there are.
    pub async fn settle_due(&mut self, recorded: Height) -> Result<usize, CallError> {
        let networks = (1..=self.files.client.networks().await?).map(NetworkId);
        let works = networks.map(|network| {
            let mut said = self.said.get(&network).cloned().unwrap_or_default();
            let span = tracing::info_span!("settle", %network, %recorded);
            let settler = &*self;
            let work = async move {
                let result = settler.network_due(network, recorded, &mut said).await;
                (network, said, result)
            };
            work.instrument(span)
        });
        // Each transaction waits for a block: networks settled one by one would fall behind their epochs.
        let done: Vec<_> = stream::iter(works).buffer_unordered(NETWORKS_AT_ONCE).collect().await;
        let mut failed = 0;
        for (network, said, result) in done {
            self.said.insert(network, said);
            if let Err(error) = result {
                tracing::warn!(%network, %error, "settling failed; it is tried again");
                metrics::counter!("wayleave_settlement_failures_total").increment(1);
                failed += 1;
            }
        }
        Ok(failed)
    }

    /// Announces every open epoch that has begun, so that duties go on even while votes fail, and then
    /// settles one epoch after the other.
    async fn network_due(
        &self,
        network: NetworkId,
        recorded: Height,
        said: &mut Said,
    ) -> Result<(), SettleEpochError> {
        let terms = IValidators::termsCall {};
        said.begin(self.files.client.call(address::VALIDATORS, terms).await?.current);
        let mut open = self.next_epoch(network).await?;
        let begun = self.clock.epoch(Height(recorded.0.saturating_add(1)));
        for epoch in said.unannounced(open, begun) {
            if self.announce(network, epoch).await? {
                said.announced.insert(epoch);
            }
        }
        // A vote that does not make the epoch final waits for those of others.
        while self.clock.grace_end(open) < recorded && said.voted != Some(open) {
            self.settle(network, open).await?;
            said.voted = Some(open);
            open = self.next_epoch(network).await?;
        }
        Ok(())
    }

    /// The first epoch that can still become final.
    async fn next_epoch(&self, network: NetworkId) -> Result<Epoch, CallError> {
        self.files.client.next_epoch(network).await
    }

    /// Announces the inputs of an epoch; false if they are not at hand yet.
    async fn announce(&self, network: NetworkId, epoch: Epoch) -> Result<bool, SettleEpochError> {
        let Files { client, archive, .. } = &self.files;
        if client.inputs_hash(network, epoch).await?.is_some() {
            return Ok(true);
        }
        let Some(inputs) = archive.inputs(network, epoch).await? else { return Ok(false) };
        client.wait_for(self.clock.first(epoch)).await;
        let digest = inputs.digest();
        let call = ISettlements::announceCall {
            network: network.0,
            epoch: epoch.0,
            inputs: digest.into(),
        };
        match client.send(&self.signer, address::SETTLEMENTS, &call).await {
            Ok(_) => {
                tracing::info!(%epoch, devices = inputs.roster.len(), "inputs announced");
                Ok(true)
            }
            // Others announced it meanwhile, or we did before a restart; or it is not ours to announce,
            // as we have no seat in the committee that does.
            Err(error)
                if error.revert().is_some_and(|revert| {
                    revert.is::<ISettlements::AlreadyAnnounced>()
                        || revert.is::<ISettlements::NotValidator>()
                }) =>
            {
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn settle(&self, network: NetworkId, epoch: Epoch) -> Result<(), SettleEpochError> {
        let began = Instant::now();
        let previous = self.previous(network, epoch).await?;
        let settled = self.replay(network, epoch, previous).await?;
        self.vote(network, &settled).await?;
        let elapsed = began.elapsed();
        let totals = settled.statement.totals;
        metrics::histogram!("wayleave_settlement_seconds").record(elapsed.as_secs_f64());
        metrics::counter!("wayleave_epochs_settled_total").increment(1);
        tracing::info!(%epoch, ?elapsed, spent = %totals.spent, slashed = %totals.slashed, "settled");
        Ok(())
    }

    /// The statement on which `epoch` builds: the final one of the epoch before it, or the network's
    /// beginning if none is final. What was missed since the newest one at hand is replayed and archived.
    async fn previous(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Statement, SettleEpochError> {
        let client = &self.files.client;
        let mut previous = Statement::genesis(client.chain_id(), network);
        let mut missed = Vec::new();
        let mut next = epoch;
        while let Some(before) = client.final_before(network, next).await?
            && let Some(outcome) = client.outcome(network, before).await?
        {
            let digest = outcome.statement.into();
            if let Some(statement) = self.files.statement(network, before, digest).await? {
                previous = statement;
                break;
            }
            missed.push((before, digest));
            next = before;
        }
        for (epoch, digest) in missed.into_iter().rev() {
            let statement = self.replay(network, epoch, previous).await?.statement;
            agree(&statement, digest)?;
            self.files.archive.put_statement(&statement).await?;
            tracing::info!(%epoch, "replayed an epoch that others made final");
            previous = statement;
        }
        Ok(previous)
    }

    async fn replay(
        &self,
        network: NetworkId,
        epoch: Epoch,
        previous: Statement,
    ) -> Result<Settled, SettleEpochError> {
        let Files { archive, .. } = &self.files;
        let inputs = self.files.inputs(network, epoch).await?;
        let inputs = inputs.ok_or(SettleEpochError::Missing("inputs", epoch))?;
        let replayed = archive.carried(&inputs, &crate::sizes()).await?;
        for fault in &replayed.faults {
            tracing::warn!(?fault, "a batch's author is at fault");
        }
        let faults = u64::try_from(replayed.faults.len()).unwrap_or(u64::MAX);
        metrics::counter!("wayleave_batch_faults_total").increment(faults);
        let parquet = segment::encode(&replayed.carried)?;
        archive.put_segment(network, epoch, parquet).await?;
        let settle = move || settlement::settle(&inputs, &previous, replayed.carried);
        aside(settle).await.map_err(|error| SettleEpochError::Settle(epoch, error))
    }

    /// Archives the statement and votes for it, unless the epoch is final already.
    async fn vote(&self, network: NetworkId, settled: &Settled) -> Result<(), SettleEpochError> {
        let Files { client, archive, .. } = &self.files;
        let statement = &settled.statement;
        let epoch = statement.epoch;
        let already = client.outcome(network, epoch).await?;
        if let Some(outcome) = &already {
            agree(statement, outcome.statement.into())?;
        }
        // Before the vote: what is final on the ledger can be fetched here.
        archive.put_statement(statement).await?;
        if already.is_some() {
            return Ok(());
        }
        let call = ISettlements::voteCall {
            network: network.0,
            epoch: epoch.0,
            outcome: (self.choice)(settled),
        };
        match client.send(&self.signer, address::SETTLEMENTS, &call).await {
            Ok(_) => Ok(()),
            // Others made it final meanwhile, or we did before a restart.
            Err(error)
                if error.revert().is_some_and(client::Revert::is::<ISettlements::AlreadyFinal>) =>
            {
                match client.outcome(network, epoch).await? {
                    Some(outcome) => agree(statement, outcome.statement.into()),
                    None => Ok(()),
                }
            }
            // The committee that decides is another; what we settled agrees with it or not, once it has.
            Err(error)
                if error.revert().is_some_and(client::Revert::is::<ISettlements::NotValidator>) =>
            {
                tracing::debug!(%epoch, "no seat in the committee that votes");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Computes something that must not hold up the tasks of this runtime. One of a single thread is a simulator's
/// or a test's: there it is done at once, so that the order of what happens does not depend on threads.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Whether a statement is the ledger's final one.
fn agree(statement: &Statement, digest: Digest) -> Result<(), SettleEpochError> {
    if statement.digest() == digest {
        return Ok(());
    }
    metrics::counter!("wayleave_settlement_dissents_total").increment(1);
    let Statement { network, epoch, .. } = *statement;
    Err(SettleEpochError::Dissent { network, epoch })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_said_again_in_another_term() {
        let mut said = Said::default();
        said.begin(7);
        said.announced.insert(Epoch(3));
        said.voted = Some(Epoch(2));
        said.begin(7);
        assert_eq!((said.unannounced(Epoch(3), Epoch(3)), said.voted), (vec![], Some(Epoch(2))));
        said.begin(8);
        assert_eq!((said.unannounced(Epoch(3), Epoch(3)), said.voted), (vec![Epoch(3)], None));
    }

    #[test]
    fn an_epoch_is_announced_once_though_an_earlier_ones_inputs_are_missing() {
        let mut said = Said::default();
        let epochs = |numbers: &[u64]| numbers.iter().copied().map(Epoch).collect::<Vec<_>>();
        assert_eq!(said.unannounced(Epoch(3), Epoch(5)), epochs(&[3, 4, 5]));
        // The inputs of 3 are missing.
        said.announced.extend(epochs(&[4, 5]));
        assert_eq!(said.unannounced(Epoch(3), Epoch(5)), epochs(&[3]));
        assert_eq!(said.unannounced(Epoch(3), Epoch(6)), epochs(&[3, 6]));
        said.announced.insert(Epoch(3));
        assert_eq!(said.unannounced(Epoch(5), Epoch(6)), epochs(&[6]));
        assert_eq!(said.announced, BTreeSet::from([Epoch(5)]), "only open epochs are kept");
    }
}
