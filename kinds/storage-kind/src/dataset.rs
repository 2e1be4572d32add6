//! A rail's dataset: a size-weighted Merkle tree over its shards, ascending by hash (design 11).
//!
//! ```text
//! leaf  = BLAKE3("wayleave/dataset/leaf" | shard hash | bytes)
//! node  = BLAKE3("wayleave/dataset/node" | left hash | left bytes | right hash | right bytes)
//! root  = BLAKE3("wayleave/dataset/root" | top hash | bytes)        numbers: 8 bytes, big-endian
//! ```
//!
//! Rules and invariants:
//! * every node commits to the bytes below each of its children, and the root to their sum, so that
//!   an offset below the sum belongs to exactly one shard and a path proves which ([`verify`]);
//! * nodes pair from the left; the last node of an odd level rises unchanged, so that the set of
//!   shards alone decides the root;
//! * no shard is empty and none is listed twice; the dataset without shards has 0 bytes.
//!
//! A shard's size is what both sides signed. BLAKE3 authenticates a size through its last chunk
//! only, so two colluding signers can claim a size that is too large, but then the positions drawn
//! in what does not exist cannot be proven, in proportion to the lie.

use minicbor::{Decode, Encode};
use protocol::Digest;

/// The longest path that a proof may hold: a tree of 2^64 shards is no deeper.
pub const PATH_MAX: usize = 64;

const LEAF: &[u8] = b"wayleave/dataset/leaf";
const NODE: &[u8] = b"wayleave/dataset/node";
const ROOT: &[u8] = b"wayleave/dataset/root";

/// One shard: its BLAKE3 hash and its size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct Shard {
    /// The BLAKE3 hash of its bytes.
    #[n(0)]
    pub hash: Digest,
    /// Its size in bytes. At least 1.
    #[n(1)]
    pub bytes: u64,
}

/// On which side of the path a sibling stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Side {
    /// The sibling comes before the path, and its bytes do too.
    #[n(0)]
    Left,
    /// The sibling comes after the path.
    #[n(1)]
    Right,
}

/// A node beside a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Sibling {
    /// Where it stands.
    #[n(0)]
    pub side: Side,
    /// Its hash.
    #[n(1)]
    pub hash: Digest,
    /// The bytes below it.
    #[n(2)]
    pub bytes: u64,
}

/// Why shards do not make a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatasetError {
    /// A shard without bytes.
    #[error("shard {0} is empty")]
    Empty(Digest),
    /// A shard that is listed twice or is already there.
    #[error("shard {0} is already in the dataset")]
    Repeated(Digest),
    /// A shard to be removed that is not there.
    #[error("shard {0} is not in the dataset")]
    Missing(Digest),
    /// More bytes than 64 bits count.
    #[error("the dataset's size does not fit 64 bits")]
    Overflow,
}

/// Why a path does not prove that an offset lies in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Longer than [`PATH_MAX`].
    #[error("path of {0} steps is longer than {PATH_MAX}")]
    TooLong(usize),
    /// The sizes on the path add up to another size, or to more than 64 bits.
    #[error("sizes on the path do not add up to the dataset's")]
    Sum,
    /// The path leads to another root.
    #[error("path leads to another root")]
    Root,
    /// The path proves another stretch of the dataset.
    #[error("the shard does not hold the offset")]
    Offset,
}

/// Where an offset of the dataset lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The shard's number, from 0, ascending by hash.
    pub index: usize,
    /// The shard.
    pub shard: Shard,
    /// The offset within the shard, in bytes.
    pub offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    hash: Digest,
    bytes: u64,
}

/// A dataset with its whole tree in memory: about 130 bytes a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    shards: Vec<Shard>,
    /// For each shard, the offset at which it ends.
    ends: Vec<u64>,
    /// The tree's levels, leaves first; the last has one node, or there are none.
    levels: Vec<Vec<Node>>,
}

impl Dataset {
    /// The dataset of `shards`, in any order.
    ///
    /// # Errors
    /// [`DatasetError`] if a shard is empty or repeated, or if their sizes overflow.
    pub fn build(shards: impl IntoIterator<Item = Shard>) -> Result<Self, DatasetError> {
        let mut shards: Vec<Shard> = shards.into_iter().collect();
        shards.sort_unstable_by_key(|shard| shard.hash);
        Self::from_sorted(shards)
    }

    /// This dataset with some shards `added` and others `removed`; a shard may not be in both lists.
    ///
    /// # Errors
    /// As [`Dataset::build`], and [`DatasetError::Missing`] for the removal of what is not there.
    pub fn apply(&self, added: &[Shard], removed: &[Digest]) -> Result<Self, DatasetError> {
        let mut gone = removed.to_vec();
        gone.sort_unstable();
        if let Some(pair) = gone.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(DatasetError::Missing(pair[0]));
        }
        if let Some(hash) = gone.iter().find(|hash| self.find(**hash).is_none()) {
            return Err(DatasetError::Missing(*hash));
        }
        if let Some(shard) = added.iter().find(|shard| self.find(shard.hash).is_some()) {
            return Err(DatasetError::Repeated(shard.hash));
        }
        let stay = |shard: &Shard| gone.binary_search(&shard.hash).is_err();
        let mut shards: Vec<Shard> = self.shards.iter().copied().filter(stay).collect();
        shards.extend_from_slice(added);
        // A stable sort merges two runs in linear time once the tail is sorted.
        shards.sort_by_key(|shard| shard.hash);
        Self::from_sorted(shards)
    }

    fn from_sorted(shards: Vec<Shard>) -> Result<Self, DatasetError> {
        if let Some(pair) = shards.windows(2).find(|pair| pair[0].hash == pair[1].hash) {
            return Err(DatasetError::Repeated(pair[0].hash));
        }
        let mut ends = Vec::with_capacity(shards.len());
        let mut end = 0u64;
        for shard in &shards {
            if shard.bytes == 0 {
                return Err(DatasetError::Empty(shard.hash));
            }
            end = end.checked_add(shard.bytes).ok_or(DatasetError::Overflow)?;
            ends.push(end);
        }
        let mut levels = Vec::new();
        let mut level: Vec<Node> = shards.iter().map(leaf).collect();
        while level.len() > 1 {
            let above = level.chunks(2).map(parent).collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        if !level.is_empty() {
            levels.push(level);
        }
        Ok(Self { shards, ends, levels })
    }

    /// The root, which commits to every shard, every size and their sum.
    pub fn root(&self) -> Digest {
        let top = self.levels.last().and_then(|level| level.first());
        root(top.copied().unwrap_or(Node { hash: Digest::default(), bytes: 0 }))
    }

    /// The sum of the shards' sizes.
    pub fn bytes(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The shards, ascending by hash.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard with this hash and its number.
    pub fn find(&self, hash: Digest) -> Option<(usize, Shard)> {
        let index = self.shards.binary_search_by_key(&hash, |shard| shard.hash).ok()?;
        Some((index, self.shards[index]))
    }

    /// The shard that holds the byte at `offset`; nothing at or beyond [`Dataset::bytes`].
    pub fn locate(&self, offset: u64) -> Option<Place> {
        let index = self.ends.partition_point(|end| *end <= offset);
        let shard = *self.shards.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(Place { index, shard, offset: offset - start })
    }

    /// The path from the shard at `index` to the root, from the bottom; nothing beyond the last.
    pub fn proof(&self, index: usize) -> Option<Vec<Sibling>> {
        self.shards.get(index)?;
        let mut at = index;
        let mut path = Vec::with_capacity(self.levels.len());
        for level in &self.levels {
            let side = if at % 2 == 1 { Side::Left } else { Side::Right };
            if let Some(node) = level.get(at ^ 1) {
                path.push(Sibling { side, hash: node.hash, bytes: node.bytes });
            }
            at /= 2;
        }
        Some(path)
    }
}

/// The root of the dataset without shards.
pub fn empty_root() -> Digest {
    root(Node { hash: Digest::default(), bytes: 0 })
}

/// Checks that in the dataset of `root_hash` and `bytes` the byte at `offset` lies in `shard`, and
/// returns its offset within the shard.
///
/// # Errors
/// [`PathError`] names the rule that the path breaks.
pub fn verify(
    root_hash: Digest,
    bytes: u64,
    offset: u64,
    shard: Shard,
    path: &[Sibling],
) -> Result<u64, PathError> {
    if path.len() > PATH_MAX {
        return Err(PathError::TooLong(path.len()));
    }
    let mut node = leaf(&shard);
    let mut start = 0u64;
    for sibling in path {
        let beside = Node { hash: sibling.hash, bytes: sibling.bytes };
        let sum = node.bytes.checked_add(beside.bytes).ok_or(PathError::Sum)?;
        let (left, right) = match sibling.side {
            Side::Left => {
                // At most `sum`, because every earlier part of `start` is part of `node.bytes`.
                start = start.checked_add(beside.bytes).ok_or(PathError::Sum)?;
                (beside, node)
            }
            Side::Right => (node, beside),
        };
        node = Node { hash: node_hash(&left, &right), bytes: sum };
    }
    if node.bytes != bytes {
        return Err(PathError::Sum);
    }
    if root(node) != root_hash {
        return Err(PathError::Root);
    }
    let within = offset.checked_sub(start).ok_or(PathError::Offset)?;
    if within < shard.bytes { Ok(within) } else { Err(PathError::Offset) }
}

fn leaf(shard: &Shard) -> Node {
    let mut hasher = blake3::Hasher::new();
    hasher.update(LEAF).update(&shard.hash.0).update(&shard.bytes.to_be_bytes());
    Node { hash: Digest(*hasher.finalize().as_bytes()), bytes: shard.bytes }
}

/// The node above one or two nodes.
fn parent(pair: &[Node]) -> Node {
    match pair {
        [left, right] => Node {
            hash: node_hash(left, right),
            // The sum of all was checked before the tree is built.
            bytes: left.bytes.saturating_add(right.bytes),
        },
        // `chunks(2)` gives one or two nodes; a lone one rises unchanged.
        _ => pair[0],
    }
}

fn node_hash(left: &Node, right: &Node) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(NODE);
    for child in [left, right] {
        hasher.update(&child.hash.0).update(&child.bytes.to_be_bytes());
    }
    Digest(*hasher.finalize().as_bytes())
}

fn root(top: Node) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(ROOT).update(&top.hash.0).update(&top.bytes.to_be_bytes());
    Digest(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests;
