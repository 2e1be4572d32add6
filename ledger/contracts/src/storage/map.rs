//! Mappings: the value of a key stands at `keccak256(key . slot)`.

use super::{Place, Word};
use crate::context::Context;
use crate::env::Failure;
use alloy_primitives::{Address, B256, U256};
use std::marker::PhantomData;

/// What can be the key of a mapping: any value type, in its word.
pub(crate) trait Key: Word {}
impl Key for Address {}
impl Key for B256 {}
impl Key for U256 {}
impl Key for u64 {}

/// A mapping from keys to places.
pub(crate) struct Map<K, V> {
    contract: Address,
    slot: U256,
    types: PhantomData<(K, V)>,
}

impl<K, V> Place for Map<K, V> {
    fn at(contract: Address, slot: U256) -> Self {
        Self { contract, slot, types: PhantomData }
    }
}

impl<K: Key, V: Place> Map<K, V> {
    /// The place of a key.
    pub(crate) fn at_key(&self, cx: &mut Context<'_>, key: K) -> Result<V, Failure> {
        let mut preimage = [0; 64];
        preimage[..32].copy_from_slice(&key.to_word().to_be_bytes::<32>());
        preimage[32..].copy_from_slice(&self.slot.to_be_bytes::<32>());
        Ok(V::at(self.contract, cx.keccak(&preimage)?.into()))
    }
}

impl<K: Key, T: super::Record> Map<K, super::Slot<T>> {
    pub(crate) fn get(&self, cx: &mut Context<'_>, key: K) -> Result<T, Failure> {
        self.at_key(cx, key)?.get(cx)
    }

    pub(crate) fn set(&self, cx: &mut Context<'_>, key: K, value: &T) -> Result<(), Failure> {
        self.at_key(cx, key)?.set(cx, value)
    }
}

impl<K: Key, J: Key, T: super::Record> Map<K, Map<J, super::Slot<T>>> {
    /// The value of a key in the mapping of another.
    pub(crate) fn get2(&self, cx: &mut Context<'_>, outer: K, inner: J) -> Result<T, Failure> {
        self.at_key(cx, outer)?.get(cx, inner)
    }

    pub(crate) fn set2(
        &self,
        cx: &mut Context<'_>,
        outer: K,
        inner: J,
        value: &T,
    ) -> Result<(), Failure> {
        self.at_key(cx, outer)?.set(cx, inner, value)
    }
}
