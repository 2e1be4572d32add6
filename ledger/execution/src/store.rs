//! Where values come from: the trait of an asynchronous store, and two small ones.
//!
//! Invariants:
//! * a store shown to one execution is a snapshot: the same key gives the same value until it ends;
//! * a value that is absent is `None`, never 72 zero bytes.

use crate::key::{Account, Key, Value, ValueError, code_chunks, join_code, slot};
use alloy_primitives::{Address, B256, U256};
use std::{collections::BTreeMap, error::Error, future::Future};

/// The store could not answer. Execution stops; nothing is decided about the block.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the state: {0}")]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// Wraps the store's own error.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl From<ValueError> for StoreError {
    fn from(error: ValueError) -> Self {
        Self::new(error)
    }
}

/// An asynchronous snapshot of the state.
pub trait Store: Send + Sync {
    /// The value of `key`, or `None` when there is none.
    ///
    /// # Errors
    /// When the store cannot answer; never because a key is absent.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Value>, StoreError>> + Send;

    /// The values of several keys, in their order. A store that reads faster in batches overrides it.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn get_many(
        &self,
        keys: &[Key],
    ) -> impl Future<Output = Result<Vec<Option<Value>>, StoreError>> + Send {
        async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(key).await?);
            }
            Ok(values)
        }
    }
}

impl<S: Store> Store for &S {
    async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        (**self).get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Value>>, StoreError> {
        (**self).get_many(keys).await
    }
}

/// A store in memory: genesis under construction, tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore(pub BTreeMap<Key, Value>);

impl MemoryStore {
    /// Applies changes: a block's `writes`, or its `undo`.
    pub fn apply(&mut self, changes: &BTreeMap<Key, Option<Value>>) {
        for (key, value) in changes {
            match value {
                Some(value) => self.0.insert(*key, *value),
                None => self.0.remove(key),
            };
        }
    }
}

impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        Ok(self.0.get(key).copied())
    }
}

/// The account at `address`; an empty one when there is none.
///
/// # Errors
/// When the store cannot answer.
pub async fn account_at(store: &impl Store, address: Address) -> Result<Account, StoreError> {
    let value = store.get(&Key::Account(address)).await?;
    Ok(value.map_or_else(Account::default, |value| Account::decode(&value)))
}

/// The value of a storage slot.
///
/// # Errors
/// When the store cannot answer.
pub async fn slot_at(
    store: &impl Store,
    address: Address,
    index: U256,
) -> Result<U256, StoreError> {
    let value = store.get(&Key::Slot(address, index)).await?;
    Ok(value.map_or(U256::ZERO, |value| slot(&value)))
}

/// The code with this hash; nothing for the hash of nothing.
///
/// # Errors
/// When the store cannot answer, or its chunks are not a code.
pub async fn code_at(store: &impl Store, hash: B256) -> Result<Vec<u8>, StoreError> {
    if !(Account { code_hash: hash, ..Account::default() }).has_code() {
        return Ok(Vec::new());
    }
    let first = store.get(&Key::Code(hash, 0)).await?.ok_or(ValueError::ChunkMissing(0))?;
    let (_, count) = code_chunks(&first)?;
    let keys: Vec<Key> = (1..count).map(|chunk| Key::Code(hash, chunk)).collect();
    let mut chunks = vec![first];
    for (chunk, value) in (1..).zip(store.get_many(&keys).await?) {
        chunks.push(value.ok_or(ValueError::ChunkMissing(chunk))?);
    }
    Ok(join_code(&chunks)?)
}
