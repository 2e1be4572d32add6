//! Dynamic arrays: the length at the slot, the elements from `keccak256(slot)` on.

use super::{Place, Record, Slot};
use crate::context::Context;
use crate::env::{Failure, Fault};
use alloy_primitives::{Address, U256};
use std::marker::PhantomData;

/// A dynamic array.
pub(crate) struct List<T> {
    contract: Address,
    slot: U256,
    element: PhantomData<T>,
}

impl<T> Place for List<T> {
    fn at(contract: Address, slot: U256) -> Self {
        Self { contract, slot, element: PhantomData }
    }
}

impl<T: Record> List<T> {
    fn length(&self) -> Slot<u64> {
        Slot::at(self.contract, self.slot)
    }

    /// The place of an element, whether or not it is within the length.
    fn element(&self, cx: &mut Context<'_>, index: u64) -> Result<Slot<T>, Failure> {
        let base: U256 = cx.keccak(&self.slot.to_be_bytes::<32>())?.into();
        let words = U256::from(index) * U256::from(T::WORDS);
        Ok(Slot::at(self.contract, base.wrapping_add(words)))
    }

    pub(crate) fn len(&self, cx: &mut Context<'_>) -> Result<u64, Failure> {
        self.length().get(cx)
    }

    /// The element at `index`, if there is one.
    pub(crate) fn get(&self, cx: &mut Context<'_>, index: u64) -> Result<Option<T>, Failure> {
        if index >= self.len(cx)? {
            return Ok(None);
        }
        self.element(cx, index)?.get(cx).map(Some)
    }

    /// All elements in order.
    pub(crate) fn all(&self, cx: &mut Context<'_>) -> Result<Vec<T>, Failure> {
        let length = self.len(cx)?;
        let mut elements = Vec::new();
        let mut slot = self.element(cx, 0)?.slot;
        for _ in 0..length {
            elements.push(Slot::<T>::at(self.contract, slot).get(cx)?);
            slot = slot.wrapping_add(U256::from(T::WORDS));
        }
        Ok(elements)
    }

    /// Takes out all elements and returns them.
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> Result<Vec<T>, Failure> {
        let elements = self.all(cx)?;
        for index in (0..).take(elements.len()) {
            self.clear(cx, index)?;
        }
        self.length().set(cx, &0)?;
        Ok(elements)
    }

    /// The last element, if there is one.
    pub(crate) fn last(&self, cx: &mut Context<'_>) -> Result<Option<T>, Failure> {
        match self.len(cx)?.checked_sub(1) {
            Some(index) => self.get(cx, index),
            None => Ok(None),
        }
    }

    /// Adds an element and returns its index.
    pub(crate) fn push(&self, cx: &mut Context<'_>, value: &T) -> Result<u64, Failure> {
        let index = self.len(cx)?;
        self.element(cx, index)?.set(cx, value)?;
        self.length().set(cx, &index.saturating_add(1))?;
        Ok(index)
    }

    /// Forgets all elements from `length` on, whatever their number: their words stay until they are
    /// written again.
    pub(crate) fn truncate(&self, cx: &mut Context<'_>, length: u64) -> Result<(), Failure> {
        if length < self.len(cx)? { self.length().set(cx, &length) } else { Ok(()) }
    }

    /// Replaces an element that is there.
    pub(crate) fn set(&self, cx: &mut Context<'_>, index: u64, value: &T) -> Result<(), Failure> {
        if index >= self.len(cx)? {
            return Err(Fault::Storage("list index beyond its length".into()).into());
        }
        self.element(cx, index)?.set(cx, value)
    }

    /// Removes the element at `index` by moving the last one there, and returns the moved one, if any.
    pub(crate) fn swap_remove(
        &self,
        cx: &mut Context<'_>,
        index: u64,
    ) -> Result<Option<T>, Failure> {
        let length = self.len(cx)?;
        let Some(last) = length.checked_sub(1).filter(|last| index <= *last) else {
            return Err(Fault::Storage("list index beyond its length".into()).into());
        };
        let tail = self.element(cx, last)?;
        let moved = if index == last {
            None
        } else {
            let value = tail.get(cx)?;
            self.element(cx, index)?.set(cx, &value)?;
            Some(value)
        };
        self.clear(cx, last)?;
        self.length().set(cx, &last)?;
        Ok(moved)
    }

    fn clear(&self, cx: &mut Context<'_>, index: u64) -> Result<(), Failure> {
        let base: U256 = cx.keccak(&self.slot.to_be_bytes::<32>())?.into();
        let mut slot = base.wrapping_add(U256::from(index) * U256::from(T::WORDS));
        for _ in 0..T::WORDS {
            cx.store(self.contract, slot, U256::ZERO)?;
            slot = slot.wrapping_add(U256::ONE);
        }
        Ok(())
    }
}
