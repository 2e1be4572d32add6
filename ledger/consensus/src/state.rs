//! The authenticated state: QMDB `current`, ordered, fixed size, behind this module alone.
//!
//! QMDB and `glue` are marked ALPHA by their authors; nothing outside this module and
//! [`crate::application`] names their types, and replaying blocks remains the way to migrate.
//!
//! Rules:
//! * a key is the 32-byte hash of an execution key, a value its 72 bytes (design 5);
//! * the commit of each block carries its height, so a reader knows which block the state reflects
//!   under one lock, and reads of the past are consistent while blocks are applied;
//! * the database is ordered: the absence of a key is proven as well as its value.

mod proof;

pub use proof::{KeyProof, ProofError, StateProof, VIEW_KEYS_MAX, Views, verify};

use crate::{
    header::StateCommitment,
    history::{History, HistoryError},
    query::QueryError,
};
use alloy_primitives::B256;
use commonware_cryptography::{Sha256, sha256};
use commonware_glue::stateful::db::{
    Barrier, DatabaseSet, Merkleized as _, Reader, Shared, Unmerkleized as _,
};
use commonware_parallel::Sequential;
use commonware_runtime::{Spawner, buffer::paged::CacheRef};
use commonware_storage::{
    Context as StorageContext,
    journal::contiguous::fixed::Config as LogConfig,
    mmr::{self, full::Config as MerkleConfig},
    qmdb::{
        any::ordered::fixed::Operation,
        current::{FixedConfig, ordered::fixed},
        sync::Target,
    },
    translator::EightCap,
};
use commonware_utils::{NZU64, NZUsize, sequence::FixedBytes};
use execution::{BlockEnv, Key, Patience, Store, StoreError, VALUE_BYTES, Value, view_reads};
use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

/// Bytes of a chunk of QMDB's activity bitmap.
pub(crate) const CHUNK_BYTES: usize = 32;
/// Buffer of a file being written or replayed.
pub(crate) const BUFFER_BYTES: NonZeroUsize = NZUsize!(256 * 1024);

pub(crate) type StoredValue = FixedBytes<VALUE_BYTES>;
pub(crate) type StateDb<E> = fixed::Db<
    mmr::Family,
    E,
    sha256::Digest,
    StoredValue,
    Sha256,
    EightCap,
    CHUNK_BYTES,
    Sequential,
>;
/// One entry of the state's log, as sent to a syncing node.
pub(crate) type StateOperation = Operation<mmr::Family, sha256::Digest, StoredValue>;
pub(crate) type Databases<E> = Shared<StateDb<E>>;
pub(crate) type Batch<E> = <Databases<E> as DatabaseSet<E>>::Unmerkleized;
pub(crate) type Sealed<E> = <Databases<E> as DatabaseSet<E>>::Merkleized;
pub(crate) type Targets<E> = <Databases<E> as DatabaseSet<E>>::SyncTargets;
pub(crate) type StateConfig = FixedConfig<EightCap, Sequential>;

/// Files of the state below `prefix`.
pub(crate) fn config(prefix: &str, page_cache: &CacheRef) -> StateConfig {
    FixedConfig {
        merkle_config: MerkleConfig {
            journal_partition: format!("{prefix}-state-tree-journal"),
            metadata_partition: format!("{prefix}-state-tree-pins"),
            items_per_blob: NZU64!(1 << 20),
            write_buffer: BUFFER_BYTES,
            replay_buffer: BUFFER_BYTES,
            strategy: Sequential,
            page_cache: page_cache.clone(),
        },
        journal_config: LogConfig {
            partition: format!("{prefix}-state-log"),
            items_per_blob: NZU64!(1 << 17),
            page_cache: page_cache.clone(),
            write_buffer: BUFFER_BYTES,
            replay_buffer: BUFFER_BYTES,
        },
        grafted_metadata_partition: format!("{prefix}-state-grafts"),
        translator: EightCap,
        init_cache: Some(NZUsize!(1 << 16)),
        init_buffer: BUFFER_BYTES,
        init_concurrency: (),
    }
}

fn stored_key(hash: [u8; 32]) -> sha256::Digest {
    sha256::Digest(hash)
}

fn plain(value: &StoredValue) -> Value {
    let mut bytes = [0; VALUE_BYTES];
    bytes.copy_from_slice(value);
    bytes
}

fn read_failed(error: impl std::fmt::Debug) -> StoreError {
    StoreError::new(format!("state database: {error:?}"))
}

/// The height a commit carries, first in its 72 bytes.
fn mark(height: u64) -> StoredValue {
    let mut bytes = [0; VALUE_BYTES];
    bytes[..8].copy_from_slice(&height.to_be_bytes());
    StoredValue::new(bytes)
}

/// The height of the block that `db` reflects.
async fn height_of<E: Spawner + StorageContext>(db: &StateDb<E>) -> Result<u64, StoreError> {
    let mark = db.get_metadata().await.map_err(read_failed)?;
    let height = mark.as_deref().and_then(|bytes| bytes.first_chunk::<8>().copied());
    height.map(u64::from_be_bytes).ok_or_else(|| StoreError::new("state without a height"))
}

/// The height of the block that the applied state reflects, and its canonical root.
pub(crate) async fn applied<E: Spawner + StorageContext>(
    databases: &Databases<E>,
) -> Result<(u64, B256), StoreError> {
    let db = databases.read().await;
    Ok((height_of(&db).await?, B256::from(db.root().0)))
}

/// Writes a block's changes over its parent's state and computes the roots.
pub(crate) async fn seal<E: Spawner + StorageContext>(
    batch: Batch<E>,
    height: u64,
    writes: &BTreeMap<Key, Option<Value>>,
) -> Result<Sealed<E>, StoreError> {
    let mut batch = batch.with_metadata(mark(height));
    for (key, value) in writes {
        batch = batch.write(stored_key(key.hash()), value.map(StoredValue::new));
    }
    batch.merkleize().await.map_err(read_failed)
}

/// What a header must say of a sealed state.
pub(crate) fn commitment<E: Spawner + StorageContext>(sealed: &Sealed<E>) -> StateCommitment {
    StateCommitment {
        root: B256::from(sealed.root().0),
        ops_root: B256::from(sealed.ops_root().0),
        ops_start: sealed.sync_boundary().as_u64(),
        ops_end: sealed.bounds().tip.size.as_u64(),
    }
}

/// What `glue` compares a header's state with.
///
/// # Panics
/// Never for a decoded or proposed header: its range is checked there.
pub(crate) fn targets<E: Spawner + StorageContext>(state: &StateCommitment) -> Targets<E> {
    let range = state.range().expect("the decoder refuses a header without a valid range");
    Target::new(sha256::Digest(state.ops_root.0), range)
}

/// Writes the state of height 0 into new files, removing what an interrupted start left there.
pub(crate) async fn create<E: Spawner + StorageContext>(
    context: &E,
    config: StateConfig,
    values: &BTreeMap<Key, Value>,
) -> Result<StateCommitment, StoreError> {
    let left = StateDb::init(context.child("state_left"), config.clone(), None)
        .await
        .map_err(read_failed)?;
    left.destroy().await.map_err(read_failed)?;
    let databases =
        <Databases<E> as DatabaseSet<E>>::init(context.child("state_new"), config, None).await;
    let writes = values.iter().map(|(key, value)| (*key, Some(*value))).collect();
    let batch = <Databases<E> as DatabaseSet<E>>::new_batches(&databases).await;
    let sealed = seal::<E>(batch, 0, &writes).await?;
    let commitment = commitment::<E>(&sealed);
    <Databases<E> as DatabaseSet<E>>::apply(&databases, sealed).await;
    let barrier: Barrier = <Databases<E> as DatabaseSet<E>>::finalize(&databases).await;
    if barrier.durable().await {
        Ok(commitment)
    } else {
        Err(StoreError::new("genesis state is not durable"))
    }
}

/// The state under a block that is being built or checked.
pub(crate) struct BatchStore<'a, E: Spawner + StorageContext>(pub(crate) &'a Batch<E>);

impl<E: Spawner + StorageContext> Store for BatchStore<'_, E> {
    async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let value = self.0.get(&stored_key(key.hash())).await.map_err(read_failed)?;
        Ok(value.as_ref().map(plain))
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Value>>, StoreError> {
        let keys: Vec<_> = keys.iter().map(|key| stored_key(key.hash())).collect();
        let values =
            self.0.get_many(&keys.iter().collect::<Vec<_>>()).await.map_err(read_failed)?;
        Ok(values.iter().map(|value| value.as_ref().map(plain)).collect())
    }
}

/// The applied state, for whoever holds a reader.
pub(crate) struct AppliedStore<'a, E: Spawner + StorageContext>(pub(crate) &'a Reader<StateDb<E>>);

impl<E: Spawner + StorageContext> Store for AppliedStore<'_, E> {
    async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let db = self.0.read().await;
        let value = db.get(&stored_key(key.hash())).await.map_err(read_failed)?;
        Ok(value.as_ref().map(plain))
    }
}

/// Why a past state could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PastError {
    #[error("block {height} is not applied yet, the state is at {now}")]
    Ahead { height: u64, now: u64 },
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// The state as it was after the block at `height`, while later blocks are applied beside it.
pub(crate) struct PastStore<E: Spawner + StorageContext> {
    pub(crate) databases: Databases<E>,
    pub(crate) history: Arc<History>,
    pub(crate) height: u64,
}

impl<E: Spawner + StorageContext> Store for PastStore<E> {
    async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let hash = key.hash();
        // One guard over height and value: no block is applied between the two.
        let db = self.databases.read().await;
        let now = height_of(&db).await?;
        if self.height > now {
            return Err(StoreError::new(PastError::Ahead { height: self.height, now }));
        }
        let overwritten = self
            .history
            .overwritten(&hash, self.height, now)
            .map_err(|error| StoreError::new(PastError::from(error)))?;
        if let Some(value) = overwritten {
            return Ok(value);
        }
        let value = db.get(&stored_key(hash)).await.map_err(read_failed)?;
        Ok(value.as_ref().map(plain))
    }
}

/// The applied state while a guard on it is held: no block is applied in the meantime.
struct HeldStore<'a, E: Spawner + StorageContext>(&'a StateDb<E>);

impl<E: Spawner + StorageContext> Store for HeldStore<'_, E> {
    async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let value = self.0.get(&stored_key(key.hash())).await.map_err(read_failed)?;
        Ok(value.as_ref().map(plain))
    }
}

/// Proves what `keys` hold in the applied state, and says of which block that is.
pub(crate) async fn prove<E: Spawner + StorageContext>(
    databases: &Databases<E>,
    keys: &[Key],
) -> Result<StateProof, StoreError> {
    let db = databases.read().await;
    prove_in(&db, keys).await
}

/// Proves all that views of system contracts read in the applied state, and accounts besides.
///
/// Blocks wait to be applied while it runs, so it is bounded: by [`VIEW_KEYS_MAX`] and by `patience`.
pub(crate) async fn prove_views<E: Spawner + StorageContext>(
    databases: &Databases<E>,
    views: Views,
    block: impl Fn(u64) -> Result<BlockEnv, QueryError>,
    patience: Patience,
) -> Result<(Vec<Key>, StateProof), QueryError> {
    let db = databases.read().await;
    let env = block(height_of(&db).await?)?;
    let store = HeldStore::<E>(&db);
    let mut keys = view_reads(&store, &env, views.calls, VIEW_KEYS_MAX, patience).await?;
    keys.extend(views.accounts.into_iter().map(Key::Account));
    let keys: Vec<_> = keys.into_iter().collect();
    let proof = prove_in(&db, &keys).await?;
    Ok((keys, proof))
}

async fn prove_in<E: Spawner + StorageContext>(
    db: &StateDb<E>,
    keys: &[Key],
) -> Result<StateProof, StoreError> {
    let height = height_of(db).await?;
    let mut entries = Vec::with_capacity(keys.len());
    for key in keys {
        let stored = stored_key(key.hash());
        let value = db.get(&stored).await.map_err(read_failed)?;
        entries.push(match value {
            Some(value) => {
                let proof = db.key_value_proof(stored).await.map_err(read_failed)?;
                KeyProof::present(plain(&value), &proof)
            }
            None => {
                let proof = db.exclusion_proof(&stored).await.map_err(read_failed)?;
                KeyProof::absent(&proof)
            }
        });
    }
    Ok(StateProof { height, root: B256::from(db.root().0), entries })
}
