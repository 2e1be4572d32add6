//! Following final blocks: evidence into the archive, epochs opened, batches handed over.
//!
//! Recording evidence comes first: the follower stops for the ledger's history and for the archive, without
//! which a block would be lost, and for nothing else. An epoch that cannot be opened for a network, since
//! its inputs file cannot be built or fetched, is tried again every [`RETRY_EVERY`] blocks, as long as that
//! can be of use: while the ledger keeps the state from which the file is built, or a block may still carry
//! the epoch's evidence. After that settlement fetches the file when it needs it. Blocks wait for another
//! validator's answer for [`FETCH_PATIENCE`]; a slower one is met at the next try.
//!
//! What blocks carried before is read one block after another, and once for all networks that are opened late:
//! no block is worth more than its turn in memory.

use crate::{
    files::{Files, FilesError},
    inputs::{self, BuildError},
    intake::Intake,
    settle,
};
use consensus::{BlobRefused, Finalized, HistoryError, Ledger};
use evidence::{ArchiveError, BlockEvidence, Opening};
use futures::TryStreamExt as _;
use protocol::{Epoch, Height, NetworkId, clock::EpochClock, inputs::Inputs};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tracing::Instrument as _;

/// How many blocks the archive's cursor may lag: they are recorded again after a restart.
const CURSOR_EVERY: u64 = 8;
/// After how many blocks an epoch that could not be opened is tried again.
pub const RETRY_EVERY: u64 = 4;
/// How long blocks wait for a file from another validator.
pub const FETCH_PATIENCE: Duration = Duration::from_secs(3);

/// What stops the follower.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The ledger's own history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The evidence of a block that was never recorded is pruned.
    #[error(
        "the blobs of block {0} are pruned, and neither the archive nor another validator has them: name more validators, or copy an archive"
    )]
    Pruned(Height),
}

/// Why an epoch of a network is not open yet.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    /// Its inputs cannot be built, and nobody has them.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Ledger or archive.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// The follower and what it works on.
#[derive(Debug)]
pub struct Follower {
    ledger: Ledger,
    files: Files,
    /// What evidence is taken in; none of a node that only watches.
    intake: Option<Arc<Intake>>,
    clock: EpochClock,
    /// Epochs not open for every network yet, each with the networks that are done.
    opening: BTreeMap<Epoch, BTreeSet<NetworkId>>,
    /// What was accepted before a restart, while epochs that it may belong to are not open.
    accepted: Vec<Vec<u8>>,
    /// The fetch of an inputs file that is under way, at most one.
    fetching: JoinSet<()>,
}

impl Follower {
    /// Follows `ledger`, the same as that of `files`, by its `clock`.
    pub fn new(ledger: Ledger, files: Files, intake: Arc<Intake>, clock: EpochClock) -> Self {
        Self { intake: Some(intake), ..Self::watching(ledger, files, clock) }
    }

    /// The same without taking evidence in.
    pub fn watching(ledger: Ledger, files: Files, clock: EpochClock) -> Self {
        let (opening, fetching) = (BTreeMap::new(), JoinSet::new());
        Self { ledger, files, intake: None, clock, opening, accepted: Vec::new(), fetching }
    }

    /// Brings archive and intake to where they were before a restart: the inputs of open epochs, what
    /// their blocks carried, the blocks since, and at last what was accepted and is not carried. Returns
    /// the next block to follow.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn resume(&mut self, accepted: Vec<Vec<u8>>) -> Result<Height, FollowError> {
        let mut done = self.files.archive.cursor().await?.unwrap_or_default();
        let begins = Height(self.ledger.first()?);
        if done < begins {
            // The ledger fetched its state from others and has no blocks below: nor has this archive.
            tracing::warn!(from = %done, to = %begins, "evidence between these heights is not here");
            self.files.archive.put_since(begins).await?;
            done = begins;
        }
        let current = self.clock.epoch(Height(done.0.saturating_add(1)));
        let before = current.previous().unwrap_or(current);
        let first = self.clock.first(before);
        self.opening = [(before, BTreeSet::new()), (current, BTreeSet::new())].into();
        self.open(Height(first.0.saturating_sub(1))).await?;
        if let Some(intake) = &self.intake {
            let mut blocks = pin!(self.files.archive.blocks(first, done));
            while let Some(evidence) = blocks.try_next().await? {
                intake.block(&evidence);
            }
        }
        // The last one is recorded again: it tells the intake how far the ledger is.
        let mut next = done;
        while let Some(block) = self.ledger.block(next.0)? {
            self.step(&block).await?;
            next = Height(next.0.saturating_add(1));
        }
        let restored = self.intake.as_ref().map_or(0, |intake| intake.restore(&accepted));
        if !self.opening.is_empty() {
            self.accepted = accepted;
        }
        tracing::info!(height = %next, restored, "the worker goes on");
        Ok(next)
    }

    /// Follows blocks from `next` on until the ledger stops, telling `recorded` of each.
    ///
    /// # Errors
    /// [`FollowError`]; the caller starts again.
    pub async fn run(
        &mut self,
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
    async fn step(&mut self, block: &Finalized) -> Result<(), FollowError> {
        let height = Height(block.header.height);
        let after = Height(height.0.saturating_add(1));
        self.record(block).await?;
        let epoch = self.clock.epoch(after);
        let is_last = self.clock.first(epoch) == after;
        if is_last {
            self.opening.entry(epoch).or_default();
        }
        if is_last || height.0.is_multiple_of(RETRY_EVERY) {
            self.open(height).await?;
        }
        if is_last || height.0.is_multiple_of(CURSOR_EVERY) {
            self.files.archive.put_cursor(height).await?;
        }
        self.hand_over(height);
        Ok(())
    }

    /// Records a block's batches, and tells the intake what they carry.
    async fn record(&self, block: &Finalized) -> Result<(), FollowError> {
        let (height, time_ms) = (Height(block.header.height), block.header.timestamp_ms);
        let Files { client, archive, .. } = &self.files;
        let (evidence, batches) = match &block.blobs {
            Some(blobs) => BlockEvidence::of_chain(height, time_ms, blobs, client.chain_id()),
            None => {
                let evidence = self.files.block(&block.header).await?;
                evidence.ok_or(FollowError::Pruned(height))?.without_junk(client.chain_id())
            }
        };
        archive.record_block(&evidence).await?;
        let envelopes: usize = batches.iter().map(|batch| batch.envelopes().len()).sum();
        if let Some(intake) = &self.intake {
            intake.block_of(&evidence, &batches);
        }
        metrics::counter!("wayleave_evidence_carried_total")
            .increment(u64::try_from(envelopes).unwrap_or(u64::MAX));
        metrics::gauge!("wayleave_block_height").set(to_f64(height.0));
        let (blocks, bytes) = archive.kept();
        metrics::gauge!("wayleave_archive_blocks").set(to_f64(blocks));
        metrics::gauge!("wayleave_archive_bytes").set(to_f64(bytes));
        Ok(())
    }

    /// Opens what is to be opened after the block at `height`, and gives up what is of no use any more.
    async fn open(&mut self, height: Height) -> Result<(), FollowError> {
        for (epoch, mut done) in std::mem::take(&mut self.opening) {
            if !self.open_epoch(epoch, height, &mut done).await {
                self.opening.insert(epoch, done);
            }
        }
        if self.opening.is_empty() {
            self.accepted.clear();
            return Ok(());
        }
        let (oldest, head) = (self.ledger.oldest_state()?, self.ledger.head().header.height);
        let clock = self.clock;
        self.opening.retain(|epoch, _| {
            before(clock, *epoch).0 >= oldest || head <= clock.grace_end(*epoch).0
        });
        Ok(())
    }

    /// Opens `epoch` of every network that is not among the `done`, after the block at `height`. False if one is
    /// left.
    async fn open_epoch(
        &mut self,
        epoch: Epoch,
        height: Height,
        done: &mut BTreeSet<NetworkId>,
    ) -> bool {
        let networks = match self.files.client.networks().await {
            Ok(networks) => networks,
            Err(error) => {
                tracing::warn!(%epoch, %error, "an epoch is not open yet; it is tried again");
                return false;
            }
        };
        let parts = usize::try_from(networks).unwrap_or(usize::MAX);
        let (mut all, mut openings) = (true, Vec::new());
        for network in (1..=networks).map(NetworkId) {
            if done.contains(&network) {
                continue;
            }
            match self.inputs(network, epoch).await {
                Ok(inputs) => {
                    let intake = self.intake.as_ref();
                    match intake
                        .zip(inputs)
                        .map(|(intake, inputs)| intake.opening(inputs.into(), parts))
                    {
                        Some(opening) => openings.push(opening),
                        None => {
                            done.insert(network);
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%network, %epoch, %error, "an epoch is not open yet; it is tried again");
                    all = false;
                }
            }
        }
        match self.open_late((self.clock.first(epoch), height), openings).await {
            Ok(opened) => done.extend(opened),
            Err(error) => {
                tracing::warn!(%epoch, %error, "an epoch is not open yet; it is tried again");
                all = false;
            }
        }
        all
    }

    /// Opens an epoch of networks with what the recorded blocks from `first` to `last` carried of it.
    async fn open_late(
        &self,
        (first, last): (Height, Height),
        mut openings: Vec<Opening>,
    ) -> Result<Vec<NetworkId>, ArchiveError> {
        let Some(intake) = self.intake.as_ref().filter(|_| !openings.is_empty()) else {
            return Ok(Vec::new());
        };
        let mut blocks = pin!(self.files.archive.blocks(first, last));
        while let Some(evidence) = blocks.try_next().await? {
            openings.iter_mut().for_each(|opening| opening.block(&evidence));
        }
        let opened = openings.iter().map(|opening| opening.inputs().network).collect();
        for opening in openings {
            // What was accepted and is there already, or carried, is passed over.
            intake.open_late(opening, &self.accepted);
        }
        Ok(opened)
    }

    /// The inputs file of an epoch, built if the archive has none, fetched if it cannot be built. None
    /// before the network begins.
    async fn inputs(
        &mut self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Inputs>, OpenError> {
        let Files { client, archive, .. } = &self.files;
        if let Some(inputs) = archive.inputs(network, epoch).await? {
            return Ok(Some(inputs));
        }
        if !settle::is_live(client, network, epoch).await.map_err(BuildError::from)? {
            return Ok(None);
        }
        match self.build(network, epoch).await {
            Ok(inputs) => {
                archive.put_inputs(&inputs).await?;
                Ok(Some(inputs))
            }
            Err(error) => match self.fetch(network, epoch).await? {
                Some(inputs) => Ok(Some(inputs)),
                None => Err(error.into()),
            },
        }
    }

    /// The inputs file from another validator, if it comes while blocks can wait. What comes later is in
    /// the archive then.
    async fn fetch(
        &mut self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Inputs>, ArchiveError> {
        while self.fetching.try_join_next().is_some() {}
        if self.fetching.is_empty() {
            let files = self.files.clone();
            self.fetching.spawn(async move {
                if let Err(error) = files.inputs(network, epoch).await {
                    tracing::warn!(%network, %epoch, %error, "inputs could not be fetched");
                }
            });
            // Whether it came, the archive says.
            let _ = timeout(FETCH_PATIENCE, self.fetching.join_next()).await;
        }
        self.files.archive.inputs(network, epoch).await
    }

    async fn build(&self, network: NetworkId, epoch: Epoch) -> Result<Inputs, BuildError> {
        let before = before(self.clock, epoch);
        let header = self.ledger.header(before.0).ok().flatten();
        let header = header.ok_or(BuildError::Ahead(before))?;
        inputs::build(&self.files.client, &header, network, epoch).await
    }

    fn hand_over(&self, height: Height) {
        let Some(intake) = &self.intake else { return };
        for batch in intake.due(height) {
            match self.ledger.submit_blob(batch) {
                Ok(_) | Err(BlobRefused::Known) => {}
                Err(error) => tracing::warn!(%error, "a batch is handed over again later"),
            }
        }
        metrics::gauge!("wayleave_evidence_waiting_bytes")
            .set(to_f64(u64::try_from(intake.waiting_bytes()).unwrap_or(u64::MAX)));
    }
}

/// The last height before an epoch, genesis for epoch 0.
const fn before(clock: EpochClock, epoch: Epoch) -> Height {
    Height(clock.first(epoch).0.saturating_sub(1))
}

/// A count as a gauge wants it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
const fn to_f64(count: u64) -> f64 {
    count as f64
}
