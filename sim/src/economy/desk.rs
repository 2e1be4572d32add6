//! A validator's desk: takes evidence in, archives final blocks, settles epochs.
//!
//! It does what the validator's worker does, in the world's time. Its journal is a real folder that
//! outlives a crash of its machine, and so does its archive; what is under way does not.

use super::{CLOCK, NETWORK, Network, height};
use crate::{checkers::Broken, world::people::CHAIN};
use alloy_primitives::B256;
use bytes::Bytes;
use consensus::Finalized;
use evidence::{
    Archive, BlockEvidence,
    ingest::Limits,
    wire::{Answer, Submit},
};
use object_store::memory::InMemory;
use protocol::{Digest, Epoch, Height, inputs::Inputs, key::DeviceSecret, statement::Statement};
use std::{collections::BTreeMap, fmt, sync::Arc};
use tempfile::TempDir;
use validator::{intake::Intake, sizes};

/// A desk, across crashes of its machine.
pub struct Desk {
    machine: usize,
    folder: TempDir,
    archive: Archive,
    intake: Option<Intake>,
    /// The last block it has archived.
    head: Height,
    inputs: BTreeMap<Epoch, Arc<Inputs>>,
    statements: BTreeMap<Epoch, Statement>,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Desk {
    /// An empty desk on a machine.
    ///
    /// # Errors
    /// No folder can be made.
    pub fn new(machine: usize) -> Result<Self, Broken> {
        Ok(Self {
            machine,
            folder: tempfile::tempdir().map_err(Broken::new)?,
            archive: Archive::new(Arc::new(InMemory::new())),
            intake: None,
            head: Height(0),
            inputs: BTreeMap::new(),
            statements: BTreeMap::new(),
        })
    }

    fn broken(&self, error: impl fmt::Display) -> Broken {
        Broken(format!("desk of machine {}: {error}", self.machine))
    }

    /// The last block it has archived, while it runs.
    pub fn head(&self) -> Option<Height> {
        self.intake.as_ref().map(|_| self.head)
    }

    /// What an epoch began with, if that is known here.
    pub fn inputs(&self, epoch: Epoch) -> Option<Arc<Inputs>> {
        self.inputs.get(&epoch).cloned()
    }

    /// Goes on where it stopped: opens what is open, hears again what blocks carried, and puts back what
    /// was accepted.
    ///
    /// # Errors
    /// Journal or archive cannot be read.
    pub async fn boot(&mut self) -> Result<(), Broken> {
        let number = u8::try_from(self.machine).map_err(Broken::new)?;
        let secret = DeviceSecret::from_seed([200u8.wrapping_add(number); 32]);
        let opened =
            Intake::open(self.folder.path(), secret, (CHAIN, CLOCK), (sizes(), Limits::default()));
        let (intake, accepted) = opened.map_err(|error| self.broken(error))?;
        let now = CLOCK.epoch(Height(self.head.0 + 1));
        let open = self.inputs.range(now.previous().unwrap_or(now)..);
        open.for_each(|(_, inputs)| intake.open_epoch(Arc::clone(inputs)));
        let first = CLOCK.first(now.previous().unwrap_or(now)).0.max(1);
        for height in first..=self.head.0 {
            let block = self.archive.block(Height(height)).await;
            if let Some(block) = block.map_err(|error| self.broken(error))? {
                intake.block(&block);
            }
        }
        intake.restore(&accepted);
        self.intake = Some(intake);
        Ok(())
    }

    /// What is in memory is gone.
    pub fn kill(&mut self) {
        self.intake = None;
    }

    /// Takes an envelope; nothing if nobody is there.
    pub fn submit(&self, envelope: &[u8], now_ms: u64) -> Option<Answer> {
        let intake = self.intake.as_ref()?;
        intake.submit(&Submit::new([envelope.to_vec()]), now_ms).into_iter().next()
    }

    /// Whether a block carries an envelope; nothing if nobody is there.
    pub fn carried(&self, digest: Digest) -> Option<Option<Height>> {
        self.intake.as_ref().map(|intake| intake.carried(digest))
    }

    /// The batches to be handed to the ledger now.
    pub fn due(&self) -> Vec<Bytes> {
        self.intake.as_ref().map(|intake| intake.due(self.head)).unwrap_or_default()
    }

    /// Takes a final block; gives the statement of an epoch that it ends.
    ///
    /// # Errors
    /// The archive fails, or an epoch cannot be settled.
    pub async fn block(
        &mut self,
        network: &Network,
        block: &Finalized,
    ) -> Result<Option<Statement>, Broken> {
        let blobs = block.blobs.iter().flatten();
        let evidence = BlockEvidence::new(height(block), block.header.timestamp_ms, blobs);
        let recorded = self.archive.record_block(&evidence).await;
        recorded.map_err(|error| self.broken(error))?;
        self.head = height(block);
        if let Some(intake) = &self.intake {
            intake.block(&evidence);
        }
        let next = CLOCK.epoch(Height(self.head.0 + 1));
        if CLOCK.first(next).0 == self.head.0 + 1 {
            self.begin(network, next, block.header.mix);
        }
        let due = CLOCK.epoch(self.head).previous();
        match due.filter(|epoch| epoch.0 > 0 && self.head.0 == CLOCK.grace_end(*epoch).0 + 1) {
            Some(epoch) => self.settle(epoch).await.map(Some),
            None => Ok(None),
        }
    }

    /// An epoch begins: from now on its evidence is taken.
    fn begin(&mut self, network: &Network, epoch: Epoch, mix: B256) {
        let latest = epoch.previous().and_then(Epoch::previous);
        let latest = latest.and_then(|epoch| self.statements.get(&epoch));
        let root = latest.map_or(B256::ZERO, |statement| B256::from(statement.tree().root()));
        let inputs = Arc::new(network.inputs(epoch, mix, root));
        if let Some(intake) = &self.intake {
            intake.open_epoch(Arc::clone(&inputs));
        }
        self.inputs.insert(epoch, inputs);
    }

    async fn settle(&mut self, epoch: Epoch) -> Result<Statement, Broken> {
        let inputs = self.inputs(epoch).ok_or_else(|| self.broken("an epoch without inputs"))?;
        let replayed = self.archive.carried(&inputs, &sizes()).await;
        let replayed = replayed.map_err(|error| self.broken(error))?;
        if let Some(fault) = replayed.faults.first() {
            return Err(self.broken(format!("an honest author is at fault: {fault:?}")));
        }
        let before = epoch.previous().and_then(|before| self.statements.get(&before).cloned());
        let before = before.unwrap_or_else(|| Statement::genesis(CHAIN, NETWORK));
        let settled = settlement::settle(&inputs, &before, replayed.carried, replayed.faults);
        let statement = settled.map_err(|error| self.broken(error))?.statement;
        self.statements.insert(epoch, statement.clone());
        Ok(statement)
    }
}
