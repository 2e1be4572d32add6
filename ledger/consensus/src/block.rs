//! A block: a header, the transactions it executes and the evidence blobs it carries.
//!
//! Invariants:
//! * the body of a [`Block`] matches the two roots of its header, since the constructor and the
//!   decoder check them: a body cannot be exchanged under an honest digest;
//! * sizes are bounded before anything is allocated: transactions by count, each and total bytes,
//!   blobs likewise (design 5: at most 2 MiB of blobs a block);
//! * whether the transactions are valid is the application's question, not the codec's.
//!
//! Encoding: the 709 bytes of the header, then a varint count of transactions and each with a varint
//! length before it, then the same for blobs.

use crate::header::{ConsensusContext, Header};
use alloy_primitives::{B256, keccak256};
use bytes::Bytes;
use commonware_codec::{
    Buf, EncodeSize, Error, FixedSize as _, RangeCfg, Read, ReadExt as _, Write,
    util::max_items_size,
};
use commonware_consensus::{
    Block as ConsensusBlock, BoundedBlock, CertifiableBlock, Heightable, types::Height,
};
use commonware_cryptography::{Digestible, sha256};
use commonware_runtime::BufMut;

/// Most transactions in a block.
pub const MAX_TRANSACTIONS: usize = 32_768;
/// Most bytes of one transaction (as in Ethereum's public mempool).
pub const MAX_TRANSACTION_BYTES: usize = 128 * 1024;
/// Most bytes of all transactions of a block.
pub const MAX_TRANSACTIONS_BYTES: usize = 4 * 1024 * 1024;
/// Most blobs in a block.
pub const MAX_BLOBS: usize = 4_096;
/// Most bytes of all blobs of a block, and so of one blob (design 5).
pub const MAX_BLOBS_BYTES: usize = 2 * 1024 * 1024;

/// A body that does not fit or does not match its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More than [`MAX_TRANSACTIONS`], [`MAX_TRANSACTION_BYTES`] or [`MAX_TRANSACTIONS_BYTES`].
    #[error("too many or too large transactions")]
    Transactions,
    /// More than [`MAX_BLOBS`] or [`MAX_BLOBS_BYTES`], or an empty blob.
    #[error("too many, too large or empty blobs")]
    Blobs,
    /// The header's roots are of another body.
    #[error("the header commits to another body")]
    Mismatch,
}

/// What a block carries below its header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// EIP-2718 bytes of each transaction, in order of execution.
    pub transactions: Vec<Bytes>,
    /// Evidence, opaque to the ledger.
    pub blobs: Vec<Bytes>,
}

impl Body {
    /// Checks all bounds.
    ///
    /// # Errors
    /// The first bound that is broken.
    pub fn check(&self) -> Result<(), BodyError> {
        let bytes = |items: &[Bytes]| items.iter().map(Bytes::len).sum::<usize>();
        let fits = self.transactions.len() <= MAX_TRANSACTIONS
            && self.transactions.iter().all(|tx| tx.len() <= MAX_TRANSACTION_BYTES)
            && bytes(&self.transactions) <= MAX_TRANSACTIONS_BYTES;
        if !fits {
            return Err(BodyError::Transactions);
        }
        let fits = self.blobs.len() <= MAX_BLOBS
            && self.blobs.iter().all(|blob| !blob.is_empty())
            && bytes(&self.blobs) <= MAX_BLOBS_BYTES;
        if fits { Ok(()) } else { Err(BodyError::Blobs) }
    }

    /// Ethereum's ordered trie over the transactions.
    pub fn transactions_root(&self) -> B256 {
        alloy_trie::root::ordered_trie_root_encoded(&self.transactions)
    }

    /// The Merkle root over the blobs.
    pub fn blobs_root(&self) -> B256 {
        blobs_root(self.blobs.iter().map(|blob| blob_hash(blob)))
    }
}

/// The hash that names a blob: BLAKE3, as everywhere in evidence.
pub fn blob_hash(blob: &[u8]) -> B256 {
    B256::from(*blake3::hash(blob).as_bytes())
}

/// The Merkle root over blob hashes in order: zero for none.
///
/// A leaf is `blake3(0x00 || hash)`, an inner node `blake3(0x01 || left || right)`, and a node
/// without a sibling rises as it is. The number of blobs is mixed in last:
/// `blake3(0x02 || count || top)`, so that no two lists share a root.
pub fn blobs_root(hashes: impl IntoIterator<Item = B256>) -> B256 {
    let mut level: Vec<B256> =
        hashes.into_iter().map(|hash| tagged(0, &[hash.as_slice()])).collect();
    let count = u64::try_from(level.len()).unwrap_or(u64::MAX);
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => tagged(1, &[left.as_slice(), right.as_slice()]),
                _ => pair[0],
            })
            .collect();
    }
    level.first().map_or(B256::ZERO, |top| tagged(2, &[&count.to_be_bytes(), top.as_slice()]))
}

fn tagged(tag: u8, parts: &[&[u8]]) -> B256 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[tag]);
    for part in parts {
        hasher.update(part);
    }
    B256::from(*hasher.finalize().as_bytes())
}

/// A block whose body matches its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    header: Header,
    body: Body,
}

impl Block {
    /// Joins a header and a body.
    ///
    /// # Errors
    /// The body breaks a bound or does not match the header's roots.
    pub fn new(header: Header, body: Body) -> Result<Self, BodyError> {
        body.check()?;
        if header.transactions_root != body.transactions_root()
            || header.blobs_root != body.blobs_root()
        {
            return Err(BodyError::Mismatch);
        }
        Ok(Self { header, body })
    }

    /// Joins a header and a body, setting the header's roots to the body's.
    ///
    /// # Errors
    /// The body breaks a bound.
    pub fn build(mut header: Header, body: Body) -> Result<Self, BodyError> {
        body.check()?;
        header.transactions_root = body.transactions_root();
        header.blobs_root = body.blobs_root();
        Ok(Self { header, body })
    }

    /// The header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The digest of the block, which is its header's.
    pub fn hash(&self) -> B256 {
        self.header.digest()
    }

    /// EIP-2718 bytes of the transactions, in order.
    pub fn transactions(&self) -> &[Bytes] {
        &self.body.transactions
    }

    /// The hashes of the transactions, in order: keccak256 of their EIP-2718 bytes.
    pub fn transaction_hashes(&self) -> impl Iterator<Item = B256> {
        self.body.transactions.iter().map(keccak256)
    }

    /// The evidence blobs, in order.
    pub fn blobs(&self) -> &[Bytes] {
        &self.body.blobs
    }

    /// The body.
    pub const fn body(&self) -> &Body {
        &self.body
    }
}

impl Write for Block {
    fn write(&self, buf: &mut impl BufMut) {
        self.header.write(buf);
        self.body.transactions.write(buf);
        self.body.blobs.write(buf);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        Header::SIZE + self.body.transactions.encode_size() + self.body.blobs.encode_size()
    }
}

impl Read for Block {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        let header = Header::read(buf)?;
        let transactions =
            read_bounded(buf, (MAX_TRANSACTIONS, MAX_TRANSACTION_BYTES, MAX_TRANSACTIONS_BYTES))?;
        let blobs = read_bounded(buf, (MAX_BLOBS, MAX_BLOBS_BYTES, MAX_BLOBS_BYTES))?;
        Self::new(header, Body { transactions, blobs })
            .map_err(|error| Error::Wrapped("block", Box::new(error)))
    }
}

/// Reads a list within (count, bytes each, bytes in all), stopping at the first excess.
pub(crate) fn read_bounded(
    buf: &mut impl Buf,
    (count, each, total): (usize, usize, usize),
) -> Result<Vec<Bytes>, Error> {
    let count = usize::read_cfg(buf, &RangeCfg::from(0..=count))?;
    let mut left = total;
    let mut items = Vec::new();
    for _ in 0..count {
        let item = Bytes::read_cfg(buf, &RangeCfg::from(0..=each.min(left)))?;
        left -= item.len();
        items.push(item);
    }
    Ok(items)
}

impl Digestible for Block {
    type Digest = sha256::Digest;

    fn digest(&self) -> sha256::Digest {
        self.header.sha256()
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        Height::new(self.header.height)
    }
}

impl ConsensusBlock for Block {
    fn parent(&self) -> sha256::Digest {
        sha256::Digest(self.header.parent.0)
    }
}

impl CertifiableBlock for Block {
    type Context = ConsensusContext;

    fn context(&self) -> ConsensusContext {
        self.header.context()
    }
}

impl BoundedBlock for Block {
    fn max_encode_size((): &()) -> usize {
        Header::SIZE
            + max_items_size(MAX_TRANSACTIONS, 5)
            + MAX_TRANSACTIONS_BYTES
            + max_items_size(MAX_BLOBS, 5)
            + MAX_BLOBS_BYTES
    }
}

#[cfg(test)]
mod tests;
