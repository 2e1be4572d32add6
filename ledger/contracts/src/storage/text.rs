//! Byte strings: up to 31 bytes within the slot, longer ones in chunks from `keccak256(slot)` on.

use super::{Place, corrupt};
use crate::context::Context;
use crate::env::Failure;
use alloy_primitives::{Address, U256};

/// The longest byte string: a manifest is the largest thing kept in state.
pub(crate) const LENGTH_MAX: usize = 16 * 1024;
const CHUNK: usize = 32;

/// A byte string (`bytes` or `string` of Solidity).
pub(crate) struct Text {
    contract: Address,
    slot: U256,
}

impl Place for Text {
    fn at(contract: Address, slot: U256) -> Self {
        Self { contract, slot }
    }
}

impl Text {
    /// The length in bytes.
    fn length(&self, head: U256) -> Result<usize, Failure> {
        let low = head.byte(0);
        if low & 1 == 0 {
            return Ok(usize::from(low / 2));
        }
        usize::try_from(head >> 1usize)
            .ok()
            .filter(|length| *length <= LENGTH_MAX)
            .ok_or_else(|| corrupt(self.contract, self.slot))
    }

    fn chunks_at(&self, cx: &mut Context<'_>) -> Result<U256, Failure> {
        Ok(cx.keccak(&self.slot.to_be_bytes::<32>())?.into())
    }

    pub(crate) fn get(&self, cx: &mut Context<'_>) -> Result<Vec<u8>, Failure> {
        let head = cx.load(self.contract, self.slot)?;
        let length = self.length(head)?;
        if length < CHUNK {
            return Ok(head.to_be_bytes::<CHUNK>()[..length].to_vec());
        }
        let mut bytes = Vec::with_capacity(length.next_multiple_of(CHUNK));
        let mut slot = self.chunks_at(cx)?;
        while bytes.len() < length {
            bytes.extend(cx.load(self.contract, slot)?.to_be_bytes::<CHUNK>());
            slot = slot.wrapping_add(U256::ONE);
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The text, with what is not UTF-8 replaced (nothing that is not UTF-8 is ever stored as text).
    pub(crate) fn get_string(&self, cx: &mut Context<'_>) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&self.get(cx)?).into_owned())
    }

    /// Replaces the bytes; the callers keep them within [`LENGTH_MAX`].
    pub(crate) fn set(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() > LENGTH_MAX {
            return Err(corrupt(self.contract, self.slot));
        }
        let before = self.length(cx.load(self.contract, self.slot)?)?;
        let (old, new) = (chunks(before), chunks(bytes.len()));
        let head = if new == 0 {
            let mut word = [0; CHUNK];
            word[..bytes.len()].copy_from_slice(bytes);
            U256::from_be_bytes(word) | U256::from(bytes.len() * 2)
        } else {
            U256::from(bytes.len() * 2 + 1)
        };
        cx.store(self.contract, self.slot, head)?;
        if old.max(new) == 0 {
            return Ok(());
        }
        let base = self.chunks_at(cx)?;
        let outside: &[u8] = if new == 0 { &[] } else { bytes };
        let mut parts = outside.chunks(CHUNK);
        for index in 0..old.max(new) {
            let mut word = [0; CHUNK];
            if let Some(part) = parts.next() {
                word[..part.len()].copy_from_slice(part);
            }
            let slot = base.wrapping_add(U256::from(index));
            cx.store(self.contract, slot, U256::from_be_bytes(word))?;
        }
        Ok(())
    }
}

/// How many words outside the slot a string of this length takes.
const fn chunks(length: usize) -> usize {
    if length < CHUNK { 0 } else { length.div_ceil(CHUNK) }
}
