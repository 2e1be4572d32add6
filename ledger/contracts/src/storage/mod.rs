//! Typed storage over EVM slots, in the layout that Solidity gives the same declarations.
//!
//! A state struct holds *places*, not values: [`Slot`] one value or a record of several words, [`Map`]
//! a mapping, [`List`] a dynamic array, [`Text`] a byte string in chunks of 32. Reading and writing
//! goes through a [`Context`]. Wallets, explorers and light proofs find a value where Solidity's rules
//! say: a mapping's value at `keccak256(key . slot)`, an array's elements from `keccak256(slot)`, the
//! fields of a record packed from the low end of each word.
//!
//! Invariants: a place never overlaps another; what was never written reads as zero; a value that does
//! not fit its type is a fault of the storage and never a revert.

mod list;
mod map;
mod record;
mod text;

#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::env::{Failure, Fault};
use alloy_primitives::{Address, B256, U256};
pub(crate) use list::List;
pub(crate) use map::Map;
pub(crate) use record::{Packer, Record, Unpacker, record};
use std::marker::PhantomData;
pub(crate) use text::Text;

/// A value of at most one word.
pub(crate) trait Word: Sized {
    /// How many bits the value takes when packed.
    const BITS: usize;

    fn to_word(&self) -> U256;

    /// The value in the low bits of `word`; nothing if it does not fit.
    fn from_word(word: U256) -> Option<Self>;
}

macro_rules! word {
    ($($ty:ty),+) => {$(
        impl Word for $ty {
            const BITS: usize = size_of::<Self>() * 8;

            fn to_word(&self) -> U256 {
                U256::from(*self)
            }

            fn from_word(word: U256) -> Option<Self> {
                Self::try_from(word).ok()
            }
        }
    )+};
}
word!(u8, u16, u64, u128, U256);

impl Word for bool {
    const BITS: usize = 8;

    fn to_word(&self) -> U256 {
        U256::from(*self)
    }

    fn from_word(word: U256) -> Option<Self> {
        match u8::try_from(word) {
            Ok(0) => Some(false),
            Ok(1) => Some(true),
            _ => None,
        }
    }
}

impl Word for Address {
    const BITS: usize = 160;

    fn to_word(&self) -> U256 {
        self.into_word().into()
    }

    fn from_word(word: U256) -> Option<Self> {
        (word.bit_len() <= Self::BITS).then(|| Self::from_word(B256::from(word)))
    }
}

impl Word for B256 {
    const BITS: usize = 256;

    fn to_word(&self) -> U256 {
        (*self).into()
    }

    fn from_word(word: U256) -> Option<Self> {
        Some(word.into())
    }
}

/// What can stand at a slot: the value of a mapping, the field of a state struct.
pub(crate) trait Place {
    fn at(contract: Address, slot: U256) -> Self;
}

/// A value, or a record of several words, at a fixed slot.
pub(crate) struct Slot<T> {
    contract: Address,
    slot: U256,
    value: PhantomData<T>,
}

impl<T> Place for Slot<T> {
    fn at(contract: Address, slot: U256) -> Self {
        Self { contract, slot, value: PhantomData }
    }
}

impl<T: Record> Slot<T> {
    pub(crate) fn get(&self, cx: &mut Context<'_>) -> Result<T, Failure> {
        let mut words = Vec::with_capacity(T::WORDS);
        let mut slot = self.slot;
        for _ in 0..T::WORDS {
            words.push(cx.load(self.contract, slot)?);
            slot = slot.wrapping_add(U256::ONE);
        }
        T::from_words(&words).ok_or_else(|| corrupt(self.contract, self.slot))
    }

    pub(crate) fn set(&self, cx: &mut Context<'_>, value: &T) -> Result<(), Failure> {
        let mut slot = self.slot;
        for word in value.to_words() {
            cx.store(self.contract, slot, word)?;
            slot = slot.wrapping_add(U256::ONE);
        }
        Ok(())
    }
}

fn corrupt(contract: Address, slot: U256) -> Failure {
    Fault::Storage(format!("slot {slot:#x} of {contract} holds no value of its type")).into()
}
