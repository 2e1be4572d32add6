//! Settling: announce the inputs, replay the epoch from the archive once its grace is over, archive the
//! statement, vote. One epoch after the other, each step skipped if it is done, so that a restart at any
//! moment goes on; networks do not wait for one another ([`turns`]): one that takes long to replay holds up the
//! replays of others, and no announcement, commit or reveal.
//!
//! A vote is a commit and, once commits are closed, its reveal ([`vote`]). Nothing of it has to be kept: the
//! salt follows from the signer's key, the outcome from the archive.
//!
//! An epoch builds on the statement before it, and that must be the ledger's. What the ledger decided is
//! replayed, by validators and observers alike ([`decided`]); only what cannot be replayed, since the ledger
//! was joined later, is taken on the word of its committee. A decided statement that differs from the replay
//! is [`SettleEpochError::Dissent`]: it is never archived nor built upon, and settling of the network stops
//! at it for all to see ([`Refusals`]) until the ledger decides otherwise. It is replayed again once an epoch:
//! files that were missing or damaged here may have come or been mended meanwhile.
//!
//! A dissent opens a decided epoch, and those after it, again: the next call finds the epoch open and settles
//! it anew.

mod decided;
mod refusals;
mod turns;
mod vote;

pub use refusals::{Refusal, Refusals};
pub use turns::Agreed;
pub use vote::{choice, decides, outcome};

use crate::files::{Files, FilesError};
use alloy_primitives::B256;
use client::{
    CallError, Client, Intent, SendError, Signer,
    abi::{ISettlements, IValidators, Outcome},
    address,
};
use evidence::{ArchiveError, segment};
use protocol::{Digest, Epoch, Height, NetworkId, clock::EpochClock, statement::Statement};
use settlement::{SettleError, Settled};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};
use tokio::runtime::{Handle, RuntimeFlavor};
use turns::Replays;

/// Gas that an announcement takes along for fixing the inputs. It is estimated on a state in which others in the
/// same block have not announced yet; the one that decides stores a word more.
const FIXING_GAS: u64 = 100_000;

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
    /// No secret of the ballot can be made.
    #[error("the account cannot sign: {0}")]
    Sign(String),
    /// The ledger decided another outcome than this node's replay gives.
    #[error(
        "epoch {epoch} of network {network} is decided with another statement than this archive gives: compare them with `wayleave verify-epoch {epoch}`"
    )]
    Dissent {
        /// The network.
        network: NetworkId,
        /// The epoch.
        epoch: Epoch,
    },
}

/// What a validator votes for when an epoch was settled.
pub type Voice = fn(&Settled) -> Outcome;

/// The settling half of a node.
#[derive(Debug)]
pub struct Settler {
    files: Files,
    /// Whose seats vote; none of a node that only watches.
    signer: Option<Signer>,
    clock: EpochClock,
    voice: Voice,
    refusals: Refusals,
    replays: Replays,
    agreed: Agreed,
    /// What this node said and found since it started: said and found again after a restart.
    said: BTreeMap<NetworkId, Said>,
}

/// What was said and found of a network.
#[derive(Clone, Debug, Default)]
struct Said {
    /// The ledger's term in which it was said.
    term: u64,
    /// Whose inputs are announced, of those that are open.
    announced: BTreeSet<Epoch>,
    /// The decided statement up to which everything agrees with the replay; none before the first call.
    agreed: Option<Base>,
    /// The decided choice that does not, and up to which height blocks were recorded when it was replayed.
    refused: Option<(Epoch, B256, Height)>,
    /// What the replay of the newest open epoch gave.
    replayed: Option<Replayed>,
    /// The term whose committee has no seat of ours.
    seatless: Option<u64>,
}

/// What the next epoch builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Base {
    /// The decided epoch before it; none at the network's beginning.
    epoch: Option<Epoch>,
    /// Its statement.
    statement: Digest,
    /// All that was decided of it, root and totals too, as [`choice`] names it.
    choice: B256,
}

/// What the replay of an epoch gave.
#[derive(Clone, Debug)]
struct Replayed {
    epoch: Epoch,
    /// The statement that it builds on.
    previous: Digest,
    statement: Digest,
    /// What is voted for.
    outcome: Outcome,
}

impl Said {
    /// Begins a term. An announcement counts in one round, and a round ends with a term: all that is still
    /// open is announced again in each.
    fn begin(&mut self, term: u64) {
        if self.term != term {
            self.term = term;
            self.announced.clear();
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
    pub fn new(files: Files, signer: Signer, clock: EpochClock) -> Self {
        Self { signer: Some(signer), ..Self::watching(files, clock) }
    }

    /// Replays what the ledger decides and compares it with `files`, without a vote.
    pub fn watching(files: Files, clock: EpochClock) -> Self {
        let (refusals, said) = (Refusals::default(), BTreeMap::new());
        let (replays, agreed) = (Replays::default(), Agreed::default());
        Self { files, signer: None, clock, voice: outcome, refusals, replays, agreed, said }
    }

    /// Votes for what `voice` makes of what was settled: [`outcome`], unless a simulated validator lies.
    #[must_use]
    pub fn speaking(self, voice: Voice) -> Self {
        Self { voice, ..self }
    }

    /// What this node refuses, for who wants to show it.
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// Announces every open epoch that has begun, so that duties go on even while votes fail, and then
    /// settles one epoch after the other.
    async fn network_due(
        &self,
        network: NetworkId,
        recorded: Height,
        said: &mut Said,
    ) -> Result<(), SettleEpochError> {
        if let Some(signer) = &self.signer {
            let terms = IValidators::termsCall {};
            said.begin(self.files.client.call(address::VALIDATORS, terms).await?.current);
            let open = self.files.client.next_epoch(network).await?;
            let begun = self.clock.epoch(Height(recorded.0.saturating_add(1)));
            for epoch in said.unannounced(open, begun) {
                if self.announce(signer, network, epoch).await? {
                    said.announced.insert(epoch);
                }
            }
        }
        // A vote that does not decide waits for those of others.
        while self.settle(network, recorded, said).await? {}
        Ok(())
    }

    /// Announces the inputs of an epoch; false if they are not at hand yet.
    async fn announce(
        &self,
        signer: &Signer,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<bool, SettleEpochError> {
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
        let intent = Intent { gas: FIXING_GAS, ..Intent::call(address::SETTLEMENTS, &call) };
        match client.send_intent(signer, intent).await {
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

    /// Compares what was decided since the last call, replays the open epoch and votes on it, as far as each
    /// is possible now. True if the epoch is decided, so that the next one may be due.
    async fn settle(
        &self,
        network: NetworkId,
        recorded: Height,
        said: &mut Said,
    ) -> Result<bool, SettleEpochError> {
        let open = self.files.client.next_epoch(network).await?;
        let base = self.base(network, open).await?;
        if said.agreed != Some(base) {
            if !self.agree(network, (open, recorded), said).await? {
                return Ok(false);
            }
            said.agreed = Some(base);
        }
        if self.clock.grace_end(open) >= recorded || !self.records(open).await? {
            return Ok(false);
        }
        let is_open = |known: &Replayed| (known.epoch, known.previous) == (open, base.statement);
        let known = said.replayed.take().filter(is_open);
        let replayed = match known {
            Some(known) => known,
            None => self.replay_open(network, open, base).await?,
        };
        let replayed = said.replayed.insert(replayed).clone();
        self.vote(network, &replayed, &mut said.seatless).await
    }

    /// Replays the open epoch and archives its statement: what may become final on the ledger can be fetched
    /// here before it is.
    async fn replay_open(
        &self,
        network: NetworkId,
        epoch: Epoch,
        base: Base,
    ) -> Result<Replayed, SettleEpochError> {
        let began = Instant::now();
        let Files { client, archive, .. } = &self.files;
        let previous = base.statement;
        let statement = match base.epoch {
            Some(before) => self
                .files
                .statement(network, before, previous)
                .await?
                .ok_or(SettleEpochError::Missing("statement", before))?,
            None => Statement::genesis(client.chain_id(), network),
        };
        let settled = self.replay(network, epoch, statement).await?;
        archive.put_statement(&settled.statement).await?;
        let elapsed = began.elapsed();
        let totals = settled.statement.totals;
        metrics::histogram!("wayleave_settlement_seconds").record(elapsed.as_secs_f64());
        metrics::counter!("wayleave_epochs_settled_total").increment(1);
        tracing::info!(%epoch, ?elapsed, spent = %totals.spent, slashed = %totals.slashed, "settled");
        self.dispute(network, &settled).await?;
        let (statement, outcome) = (settled.statement.digest(), (self.voice)(&settled));
        Ok(Replayed { epoch, previous, statement, outcome })
    }

    /// Whether the archive has all evidence of an epoch, as far as blocks are recorded.
    async fn records(&self, epoch: Epoch) -> Result<bool, ArchiveError> {
        Ok(self.files.archive.since().await? <= self.clock.first(epoch))
    }

    async fn replay(
        &self,
        network: NetworkId,
        epoch: Epoch,
        previous: Statement,
    ) -> Result<Settled, SettleEpochError> {
        let Files { archive, .. } = &self.files;
        // Who waits for others does so before its turn, and holds nothing until then.
        if archive.inputs_bytes(network, epoch).await?.is_none() {
            self.files.inputs(network, epoch).await?;
        }
        // Until it is settled: then what is left of an epoch's evidence is its statement.
        let _turn = self.replays.turn().await;
        let inputs = archive.inputs(network, epoch).await?;
        let inputs = inputs.ok_or(SettleEpochError::Missing("inputs", epoch))?;
        let replayed = archive.carried(&inputs, &crate::sizes()).await?;
        if replayed.beyond > 0 {
            tracing::warn!(%epoch, beyond = replayed.beyond, "an epoch has more evidence than may count");
        }
        for fault in &replayed.faults {
            tracing::warn!(?fault, "a batch's author is at fault");
        }
        let faults = u64::try_from(replayed.faults.len()).unwrap_or(u64::MAX);
        metrics::counter!("wayleave_batch_faults_total").increment(faults);
        let encode = move || (segment::encode(&replayed.carried), replayed);
        let (parquet, replayed) = aside(encode).await;
        archive.put_segment(network, epoch, parquet?).await?;
        let settle =
            move || settlement::settle(&inputs, &previous, replayed.carried, replayed.faults);
        aside(settle).await.map_err(|error| SettleEpochError::Settle(epoch, error))
    }
}

/// Computes something that must not hold up the tasks of this runtime. One of a single thread is a
/// simulator's or a test's: there it is done at once, so that the order of what happens does not depend on
/// threads.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

#[cfg(test)]
mod tests;
