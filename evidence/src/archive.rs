//! The archive: all that is needed to settle an epoch again, in an object store.
//!
//! | object | what |
//! |---|---|
//! | `evidence/{height:012}.cbor` | a block's height, header time and batches, byte for byte; only if it has one |
//! | `inputs/{network}/{epoch:012}.cbor` | the inputs file |
//! | `statements/{network}/{epoch:012}.cbor` | the statement |
//! | `segments/network={network}/epoch={epoch:012}/envelopes.parquet` | derived: the envelopes that counted ([`crate::segment`]) |
//! | `cursor.cbor` | up to which height the blocks are recorded |
//! | `since.cbor` | from which height on none is missing, if not from the first |
//! | `pruned.cbor` | below which height blocks and segments are deleted ([`Archive::prune`]) |
//!
//! Rules:
//! * an object appears whole or not at all, and is durable when the call returns;
//! * evidence and inputs are written once: the same bytes again are no error, other bytes are
//!   ([`ArchiveError::Differs`]), so that history cannot change unnoticed;
//! * a statement may be replaced, since an epoch that is not final is settled again with a corrected
//!   judge (design 9); which one is final, the ledger says by its hash;
//! * everything read is bounded and decoded canonically, and a range of blocks is a stream: whoever fills
//!   blocks fills disks, and never a memory.
//!
//! The default store is a local folder; any other `object_store` works as well.

mod block;
mod prune;

pub use block::BlockEvidence;

use crate::{Replay, Replayed, Sizes};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    local::LocalFileSystem, path::Path,
};
use protocol::{
    Epoch, Height, NetworkId, cbor,
    inputs::{Inputs, InputsError},
    statement::Statement,
};
use prune::Tally;
use std::{pin::pin, sync::Arc};

/// How many objects are read at once: so many blocks are held in memory.
const READS: usize = 8;
/// The largest evidence object: a block's blobs and what stands around them, in bytes.
const EVIDENCE_MAX: u64 = 2 * 1024 * 1024 + 64 * 1024;

/// The archive.
#[derive(Clone, Debug)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    tally: Arc<Tally>,
}

/// Why the archive failed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store failed.
    #[error("archive: {0}")]
    Store(#[from] StoreError),
    /// The folder cannot be made.
    #[error("archive folder {folder}: {source}")]
    Folder {
        /// The folder.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something else was recorded under this name before.
    #[error("archive object {0} exists with other content")]
    Differs(String),
    /// An object is not what it should be.
    #[error("archive object {0} is damaged: {1}")]
    Damaged(String, String),
    /// An object that is needed is not there.
    #[error("archive has no {0}")]
    Missing(String),
}

impl Archive {
    /// An archive in any object store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, tally: Arc::default() }
    }

    /// An archive in a local folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`ArchiveError::Folder`] if it cannot be made.
    pub fn open(folder: &std::path::Path) -> Result<Self, ArchiveError> {
        std::fs::create_dir_all(folder).map_err(|source| ArchiveError::Folder {
            folder: folder.display().to_string(),
            source,
        })?;
        Ok(Self::new(Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true))))
    }

    /// Records a block's blobs. A block without blobs leaves no object.
    ///
    /// # Errors
    /// [`ArchiveError::Differs`] if another block was recorded at this height.
    pub async fn record_block(&self, evidence: &BlockEvidence) -> Result<(), ArchiveError> {
        if evidence.is_empty() {
            return Ok(());
        }
        let bytes = evidence.to_bytes();
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.put_once(evidence_path(evidence.height), bytes).await? {
            self.tally.add(size);
        }
        Ok(())
    }

    /// The blobs of the block at `height`, if it had any and is recorded.
    ///
    /// # Errors
    /// When the store fails or the object is damaged.
    pub async fn block(&self, height: Height) -> Result<Option<BlockEvidence>, ArchiveError> {
        let path = evidence_path(height);
        let Some(bytes) = self.get(&path, EVIDENCE_MAX).await? else { return Ok(None) };
        let evidence = BlockEvidence::read(&bytes).map_err(|error| damaged(&path, &error))?;
        if evidence.height == height {
            Ok(Some(evidence))
        } else {
            Err(damaged(&path, &"it is of another height"))
        }
    }

    /// The recorded blocks from `first` to `last`, both included, ascending, one after another. At most
    /// [`READS`] of them are in memory.
    pub fn blocks(
        &self,
        first: Height,
        last: Height,
    ) -> impl Stream<Item = Result<BlockEvidence, ArchiveError>> + Send + '_ {
        futures::stream::iter(first.0..=last.0)
            .map(|height| self.block(Height(height)))
            .buffered(READS)
            .try_filter_map(|evidence| async move { Ok(evidence) })
    }

    /// Everything that settlement reads of the epoch of `inputs`, verified again, block by block.
    ///
    /// # Errors
    /// When the store fails or an object is damaged.
    pub async fn carried(&self, inputs: &Inputs, sizes: &Sizes) -> Result<Replayed, ArchiveError> {
        let (first, last) = (inputs.first_height(), inputs.clock.grace_end(inputs.epoch));
        let mut replay = Replay::new(inputs, sizes);
        let mut blocks = pin!(self.blocks(first, last));
        while let Some(block) = blocks.try_next().await? {
            replay.block(&block);
        }
        Ok(replay.finish())
    }

    /// Writes the inputs file of an epoch.
    ///
    /// # Errors
    /// [`ArchiveError::Differs`] if another file was written for this epoch.
    pub async fn put_inputs(&self, inputs: &Inputs) -> Result<(), ArchiveError> {
        self.put_once(inputs_path(inputs.network, inputs.epoch), inputs.to_bytes()).await?;
        Ok(())
    }

    /// The bytes of an inputs file.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn inputs_bytes(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Bytes>, ArchiveError> {
        self.get(&inputs_path(network, epoch), u64::MAX).await
    }

    /// An inputs file, validated.
    ///
    /// # Errors
    /// When the store fails or the object is damaged or of another epoch.
    pub async fn inputs(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Inputs>, ArchiveError> {
        let path = inputs_path(network, epoch);
        let Some(bytes) = self.get(&path, u64::MAX).await? else { return Ok(None) };
        let inputs =
            Inputs::from_bytes(&bytes).map_err(|error: InputsError| damaged(&path, &error))?;
        if (inputs.network, inputs.epoch) == (network, epoch) {
            Ok(Some(inputs))
        } else {
            Err(damaged(&path, &"it is of another epoch"))
        }
    }

    /// Writes the statement of an epoch, replacing one of before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_statement(&self, statement: &Statement) -> Result<(), ArchiveError> {
        let path = statement_path(statement.network, statement.epoch);
        self.store.put(&path, statement.to_bytes().into()).await?;
        Ok(())
    }

    /// The bytes of a statement.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn statement_bytes(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Bytes>, ArchiveError> {
        self.get(&statement_path(network, epoch), u64::MAX).await
    }

    /// A statement.
    ///
    /// # Errors
    /// When the store fails or the object is damaged or of another epoch.
    pub async fn statement(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Statement>, ArchiveError> {
        let path = statement_path(network, epoch);
        let Some(bytes) = self.get(&path, u64::MAX).await? else { return Ok(None) };
        let statement = Statement::from_bytes(&bytes).map_err(|error| damaged(&path, &error))?;
        if (statement.network, statement.epoch) == (network, epoch) {
            Ok(Some(statement))
        } else {
            Err(damaged(&path, &"it is of another epoch"))
        }
    }

    /// Writes the Parquet segment of an epoch, replacing one of before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_segment(
        &self,
        network: NetworkId,
        epoch: Epoch,
        parquet: Vec<u8>,
    ) -> Result<(), ArchiveError> {
        self.store.put(&segment_path(network, epoch), parquet.into()).await?;
        Ok(())
    }

    /// The bytes of an epoch's Parquet segment.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn segment(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Bytes>, ArchiveError> {
        self.get(&segment_path(network, epoch), u64::MAX).await
    }

    /// Up to which height blocks are recorded. Recording a block again is harmless, so the cursor may
    /// lag behind.
    ///
    /// # Errors
    /// When the store fails or the object is damaged.
    pub async fn cursor(&self) -> Result<Option<Height>, ArchiveError> {
        let path = Path::from("cursor.cbor");
        let Some(bytes) = self.get(&path, 64).await? else { return Ok(None) };
        cbor::from_slice(&bytes).map(Some).map_err(|error| damaged(&path, &error))
    }

    /// Moves the cursor.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_cursor(&self, height: Height) -> Result<(), ArchiveError> {
        self.store.put(&Path::from("cursor.cbor"), cbor::to_vec(&height).into()).await?;
        Ok(())
    }

    /// From which height on no block's evidence is missing, as far as blocks are recorded: 0 unless the ledger
    /// was joined later, without its past, or what was below is pruned.
    ///
    /// # Errors
    /// When the store fails or the object is damaged.
    pub async fn since(&self) -> Result<Height, ArchiveError> {
        let path = Path::from("since.cbor");
        let Some(bytes) = self.get(&path, 64).await? else { return Ok(Height(0)) };
        cbor::from_slice(&bytes).map_err(|error| damaged(&path, &error))
    }

    /// Notes that evidence of blocks below `height` may be missing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_since(&self, height: Height) -> Result<(), ArchiveError> {
        self.store.put(&Path::from("since.cbor"), cbor::to_vec(&height).into()).await?;
        Ok(())
    }

    /// False if it was there already.
    async fn put_once(&self, path: Path, bytes: Vec<u8>) -> Result<bool, ArchiveError> {
        let bytes = Bytes::from(bytes);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, bytes.clone().into(), options).await {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. }) => match self.get(&path, u64::MAX).await? {
                Some(there) if there == bytes => Ok(false),
                _ => Err(ArchiveError::Differs(path.to_string())),
            },
            Err(error) => Err(error.into()),
        }
    }

    async fn get(&self, path: &Path, bytes_max: u64) -> Result<Option<Bytes>, ArchiveError> {
        match self.store.get(path).await {
            Ok(found) if found.meta.size > bytes_max => {
                Err(damaged(path, &format!("it has more than {bytes_max} bytes")))
            }
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn damaged(path: &Path, why: &impl ToString) -> ArchiveError {
    ArchiveError::Damaged(path.to_string(), why.to_string())
}

fn evidence_path(height: Height) -> Path {
    Path::from(format!("evidence/{:012}.cbor", height.0))
}

fn inputs_path(network: NetworkId, epoch: Epoch) -> Path {
    Path::from(format!("inputs/{network}/{:012}.cbor", epoch.0))
}

fn statement_path(network: NetworkId, epoch: Epoch) -> Path {
    Path::from(format!("statements/{network}/{:012}.cbor", epoch.0))
}

fn segment_path(network: NetworkId, epoch: Epoch) -> Path {
    Path::from(format!("segments/network={network}/epoch={:012}/envelopes.parquet", epoch.0))
}

#[cfg(test)]
mod counted;
#[cfg(test)]
mod tests;
