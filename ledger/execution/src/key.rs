//! Keys and values of the state: what is stored where, to the byte.
//!
//! | key | hashed as keccak256 of | value (72 bytes) |
//! |---|---|---|
//! | `Account(a)` | `"wayleave/account" ‖ a` | balance 32 BE ‖ nonce 8 BE ‖ code hash 32 |
//! | `Slot(a, s)` | `"wayleave/slot" ‖ a ‖ s 32 BE` | value 32 BE ‖ 40 zero bytes |
//! | `Code(h, 0)` | `"wayleave/code" ‖ h ‖ 0 2 BE` | length 4 BE ‖ first 68 bytes of code, zero padded |
//! | `Code(h, n)` | `"wayleave/code" ‖ h ‖ n 2 BE` | next 72 bytes of code, zero padded |
//!
//! Invariants:
//! * the tags have different lengths of input behind them and no tag is a prefix of another key's
//!   bytes of the same length, so two different keys never hash the same bytes;
//! * a slot that is zero, an account that is empty (EIP-161) have no entry at all;
//! * code is named by its hash and never changed or removed once written.

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, Keccak256, U256};

/// Size of every value, in bytes: an account fills it exactly.
pub const VALUE_BYTES: usize = 72;

/// A value of the state. See the module for the layouts.
pub type Value = [u8; VALUE_BYTES];

/// Longest contract code, in bytes (EIP-170).
pub const CODE_BYTES_MAX: usize = 24_576;

/// Bytes of code in chunk 0, behind its length.
const FIRST_CHUNK: usize = VALUE_BYTES - LENGTH_BYTES;
/// Bytes of the length that opens chunk 0.
const LENGTH_BYTES: usize = 4;

/// Names one value of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An account's balance, nonce and code hash.
    Account(Address),
    /// One storage slot of an account.
    Slot(Address, U256),
    /// One chunk of the code with this hash.
    Code(B256, u16),
}

impl Key {
    /// The 32 bytes under which an authenticated store keeps this key.
    pub fn hash(&self) -> [u8; 32] {
        let mut hasher = Keccak256::new();
        match self {
            Self::Account(address) => {
                hasher.update(b"wayleave/account");
                hasher.update(address);
            }
            Self::Slot(address, slot) => {
                hasher.update(b"wayleave/slot");
                hasher.update(address);
                hasher.update(slot.to_be_bytes::<32>());
            }
            Self::Code(hash, chunk) => {
                hasher.update(b"wayleave/code");
                hasher.update(hash);
                hasher.update(chunk.to_be_bytes());
            }
        }
        hasher.finalize().0
    }
}

/// What an account's value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Coins, in the smallest unit (18 decimals).
    pub balance: U256,
    /// Number of transactions sent, or of contracts created.
    pub nonce: u64,
    /// keccak256 of the code; of nothing when there is none.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { balance: U256::ZERO, nonce: 0, code_hash: KECCAK256_EMPTY }
    }
}

impl Account {
    /// Reads an account's value. Every 72 bytes are an account.
    pub fn decode(value: &Value) -> Self {
        let (balance, rest) = split(value);
        let (nonce, code_hash): ([u8; 8], [u8; 32]) = split_at(&rest);
        Self {
            balance: U256::from_be_bytes::<32>(balance),
            nonce: u64::from_be_bytes(nonce),
            code_hash: B256::from(code_hash),
        }
    }

    /// Writes an account's value.
    pub fn encode(&self) -> Value {
        let mut value = [0; VALUE_BYTES];
        value[..32].copy_from_slice(&self.balance.to_be_bytes::<32>());
        value[32..40].copy_from_slice(&self.nonce.to_be_bytes());
        value[40..].copy_from_slice(self.code_hash.as_slice());
        value
    }

    /// Whether the account is as good as absent (EIP-161).
    pub fn is_empty(&self) -> bool {
        self.balance.is_zero() && self.nonce == 0 && !self.has_code()
    }

    /// Whether the account has code (a contract, or a delegation of EIP-7702).
    pub fn has_code(&self) -> bool {
        self.code_hash != KECCAK256_EMPTY && !self.code_hash.is_zero()
    }
}

/// Splits a value after its first 32 bytes.
fn split(value: &Value) -> ([u8; 32], [u8; 40]) {
    split_at(value)
}

/// Splits `N + M` bytes into the first `N` and the last `M`.
fn split_at<const L: usize, const N: usize, const M: usize>(bytes: &[u8; L]) -> ([u8; N], [u8; M]) {
    const { assert!(N + M == L, "the parts make up the whole") };
    let mut first = [0; N];
    let mut last = [0; M];
    first.copy_from_slice(&bytes[..N]);
    last.copy_from_slice(&bytes[N..]);
    (first, last)
}

/// Reads a slot's value.
pub fn slot(value: &Value) -> U256 {
    U256::from_be_bytes::<32>(split(value).0)
}

/// Writes a slot's value: `None` for zero, which has no entry.
pub fn slot_value(word: U256) -> Option<Value> {
    if word.is_zero() {
        return None;
    }
    let mut value = [0; VALUE_BYTES];
    value[..32].copy_from_slice(&word.to_be_bytes::<32>());
    Some(value)
}

/// Why stored chunks are not a contract's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The state names a code hash whose chunk is not there.
    #[error("chunk {0} of the code is missing")]
    ChunkMissing(u16),
    /// Chunk 0 claims more than [`CODE_BYTES_MAX`] bytes.
    #[error("code of {0} bytes is longer than the limit")]
    TooLong(u32),
    /// The bytes are no code: an EIP-7702 delegation of the wrong form.
    #[error("the bytes are not a code")]
    NotCode,
}

/// Length in bytes of the code whose first chunk is `first`, and how many chunks it has.
///
/// # Errors
/// [`ValueError::TooLong`] when the length cannot be a contract's.
pub fn code_chunks(first: &Value) -> Result<(usize, u16), ValueError> {
    let (length, _): ([u8; LENGTH_BYTES], [u8; FIRST_CHUNK]) = split_at(first);
    let length = u32::from_be_bytes(length);
    let bytes = usize::try_from(length).map_err(|_| ValueError::TooLong(length))?;
    if bytes > CODE_BYTES_MAX {
        return Err(ValueError::TooLong(length));
    }
    let more = bytes.saturating_sub(FIRST_CHUNK).div_ceil(VALUE_BYTES);
    let chunks = u16::try_from(more + 1).map_err(|_| ValueError::TooLong(length))?;
    Ok((bytes, chunks))
}

/// Joins the chunks of one code, in order, beginning with chunk 0.
///
/// # Errors
/// When the length is impossible or chunks are missing.
pub fn join_code(chunks: &[Value]) -> Result<Vec<u8>, ValueError> {
    let Some((first, rest)) = chunks.split_first() else {
        return Err(ValueError::ChunkMissing(0));
    };
    let (bytes, count) = code_chunks(first)?;
    if chunks.len() < usize::from(count) {
        let have = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
        return Err(ValueError::ChunkMissing(have));
    }
    let mut code = first[LENGTH_BYTES..].to_vec();
    code.extend(rest.iter().flatten());
    code.truncate(bytes);
    Ok(code)
}

/// The chunks of a code, ready to be written.
///
/// # Errors
/// [`ValueError::TooLong`] when the code is longer than [`CODE_BYTES_MAX`].
pub fn code_writes(hash: B256, code: &[u8]) -> Result<Vec<(Key, Value)>, ValueError> {
    let length = u32::try_from(code.len()).unwrap_or(u32::MAX);
    if code.len() > CODE_BYTES_MAX {
        return Err(ValueError::TooLong(length));
    }
    let (head, rest) = code.split_at(code.len().min(FIRST_CHUNK));
    let mut first = [0; VALUE_BYTES];
    first[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    first[LENGTH_BYTES..LENGTH_BYTES + head.len()].copy_from_slice(head);
    let mut writes = vec![(Key::Code(hash, 0), first)];
    for (chunk, bytes) in (1..).zip(rest.chunks(VALUE_BYTES)) {
        let mut value = [0; VALUE_BYTES];
        value[..bytes.len()].copy_from_slice(bytes);
        writes.push((Key::Code(hash, chunk), value));
    }
    Ok(writes)
}

#[cfg(test)]
mod tests;
