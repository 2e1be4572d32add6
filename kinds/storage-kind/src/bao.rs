//! Bao: BLAKE3's own tree as a proof that bytes stand at their place in a file.
//!
//! A *slice* is Bao's combined encoding of a range: the length (8 bytes, little-endian), then the
//! tree in pre-order, where a parent is its two children's chaining values (64 bytes) and a leaf is a
//! chunk of 1 KiB, and only what the range touches is there (github.com/oconnor663/bao, docs/spec.md;
//! `vectors/storage/bao_test_vectors.json` with today's BLAKE3). A duty asks for a slice of exactly
//! one chunk.
//!
//! Rules:
//! * the length that a slice announces must be the one that the reader knows, here from the dataset;
//! * every byte is checked before it is used, nothing may be missing and nothing may follow;
//! * an [`Outboard`] keeps one chaining value for each 64 KiB, so that a proof reads 64 KiB of a shard
//!   and not all of it.

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use protocol::Digest;

/// The size of a chunk, in bytes: the leaf of BLAKE3's tree.
pub const CHUNK: u64 = 1024;
/// How many bytes one chaining value of an [`Outboard`] stands for.
pub const GROUP: u64 = 64 * 1024;
/// The longest file of which slices are read, in bytes.
pub const LENGTH_MAX: u64 = 1 << 62;
/// The longest slice of one chunk, in bytes: the longest file has 52 levels of parents.
pub const CHUNK_SLICE_MAX: usize = HEADER + 52 * PARENT + 1024;

const HEADER: usize = 8;
const PARENT: usize = 64;

/// Why a slice does not prove its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaoError {
    /// The slice announces another length, or the length is above [`LENGTH_MAX`].
    #[error("the slice is of a file with another length, or the file is too long")]
    Length,
    /// The range is empty or goes beyond the end.
    #[error("the range is empty or goes beyond the end")]
    Range,
    /// The slice ends too early.
    #[error("the slice is cut short")]
    Truncated,
    /// Bytes follow the slice.
    #[error("{0} bytes follow the slice")]
    Trailing(usize),
    /// A parent or chunk is not the one that the hash commits to.
    #[error("the slice does not match the hash")]
    Mismatch,
}

/// Why a slice cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError<E> {
    /// The range is empty or goes beyond the end.
    #[error("the range is empty or goes beyond the end")]
    Range,
    /// The reader gave fewer bytes than the file has.
    #[error("the file is shorter than it was")]
    Short,
    /// The reader failed.
    #[error("reading failed: {0}")]
    Read(E),
}

/// The number of the chunk that holds the byte at `offset`.
pub const fn chunk_of(offset: u64) -> u64 {
    offset / CHUNK
}

/// The chunks of a file of `length` bytes; the empty file has one, which is empty.
pub fn chunks(length: u64) -> u64 {
    length.div_ceil(CHUNK).max(1)
}

/// The slice of one chunk of `data`; nothing beyond the last chunk.
pub fn slice(data: &[u8], chunk: u64) -> Option<Vec<u8>> {
    let read = |offset: u64, length: usize| {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok::<_, std::convert::Infallible>(data.iter().skip(start).take(length).copied().collect())
    };
    Outboard::of(data).slice(chunk, read).ok()
}

/// Checks that `slice` is the slice of `chunk` in the file of `hash` and `length`, and returns the
/// chunk's bytes.
///
/// # Errors
/// [`BaoError`] names the rule that is broken.
pub fn verify(hash: Digest, length: u64, chunk: u64, slice: &[u8]) -> Result<&[u8], BaoError> {
    if chunk >= chunks(length) {
        return Err(BaoError::Range);
    }
    let mut cursor = Cursor::open(slice, length)?;
    let at = chunk.saturating_mul(CHUNK);
    let (mut node, mut expected) = (Span { start: 0, length }, Expected::Root(hash));
    while node.length > CHUNK {
        let (left, right) = cursor.parent(&expected)?;
        let (first, second) = node.halves();
        (node, expected) = if at < second.start {
            (first, Expected::Inner(left))
        } else {
            (second, Expected::Inner(right))
        };
    }
    let bytes = cursor.chunk(node, &expected)?;
    cursor.close()?;
    Ok(bytes)
}

/// Checks a slice of `count` bytes from `offset` in the file of `hash` and `length`, and returns
/// them.
///
/// # Errors
/// [`BaoError`] names the rule that is broken.
pub fn decode(
    hash: Digest,
    length: u64,
    offset: u64,
    count: u64,
    slice: &[u8],
) -> Result<Vec<u8>, BaoError> {
    let end = offset.checked_add(count).ok_or(BaoError::Range)?;
    if count == 0 || end > length {
        return Err(BaoError::Range);
    }
    let mut cursor = Cursor::open(slice, length)?;
    let mut out = Vec::new();
    let range = (offset, end);
    decode_node(&mut cursor, Span { start: 0, length }, &Expected::Root(hash), range, &mut out)?;
    cursor.close()?;
    Ok(out)
}

fn decode_node(
    cursor: &mut Cursor<'_>,
    node: Span,
    expected: &Expected,
    range: (u64, u64),
    out: &mut Vec<u8>,
) -> Result<(), BaoError> {
    if node.length <= CHUNK {
        let bytes = cursor.chunk(node, expected)?;
        let from = range.0.saturating_sub(node.start);
        let to = (range.1 - node.start).min(node.length);
        out.extend_from_slice(&bytes[to_usize(from)..to_usize(to)]);
        return Ok(());
    }
    let (left, right) = cursor.parent(expected)?;
    let (first, second) = node.halves();
    if range.0 < second.start {
        decode_node(cursor, first, &Expected::Inner(left), range, out)?;
    }
    if range.1 > second.start {
        decode_node(cursor, second, &Expected::Inner(right), range, out)?;
    }
    Ok(())
}

/// A stretch of a file that is one node of its tree.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    length: u64,
}

impl Span {
    /// The two children of a node of more than one chunk.
    fn halves(self) -> (Self, Self) {
        let left = left_subtree_len(self.length);
        let second = Self { start: self.start + left, length: self.length - left };
        (Self { start: self.start, length: left }, second)
    }
}

enum Expected {
    Root(Digest),
    Inner(ChainingValue),
}

/// Reads a slice from front to back.
struct Cursor<'s>(&'s [u8]);

impl<'s> Cursor<'s> {
    fn open(slice: &'s [u8], length: u64) -> Result<Self, BaoError> {
        let (header, rest) = slice.split_first_chunk::<HEADER>().ok_or(BaoError::Truncated)?;
        let holds = u64::from_le_bytes(*header) == length && length <= LENGTH_MAX;
        if holds { Ok(Self(rest)) } else { Err(BaoError::Length) }
    }

    fn parent(&mut self, expected: &Expected) -> Result<(ChainingValue, ChainingValue), BaoError> {
        let (left, rest) = self.0.split_first_chunk::<32>().ok_or(BaoError::Truncated)?;
        let (right, rest) = rest.split_first_chunk::<32>().ok_or(BaoError::Truncated)?;
        let holds = match expected {
            Expected::Root(hash) => {
                merge_subtrees_root(left, right, Mode::Hash).as_bytes() == hash.as_bytes()
            }
            Expected::Inner(value) => merge_subtrees_non_root(left, right, Mode::Hash) == *value,
        };
        self.0 = rest;
        if holds { Ok((*left, *right)) } else { Err(BaoError::Mismatch) }
    }

    fn chunk(&mut self, node: Span, expected: &Expected) -> Result<&'s [u8], BaoError> {
        let (bytes, rest) =
            self.0.split_at_checked(to_usize(node.length)).ok_or(BaoError::Truncated)?;
        let holds = match expected {
            Expected::Root(hash) => Digest::of(bytes) == *hash,
            Expected::Inner(value) => chaining_value(node.start, bytes) == *value,
        };
        self.0 = rest;
        if holds { Ok(bytes) } else { Err(BaoError::Mismatch) }
    }

    const fn close(&self) -> Result<(), BaoError> {
        if self.0.is_empty() { Ok(()) } else { Err(BaoError::Trailing(self.0.len())) }
    }
}

/// What is kept beside a shard so that a proof need not read all of it: 32 bytes for each 64 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outboard {
    hash: Digest,
    length: u64,
    /// A chaining value for each [`GROUP`]; none if the whole file is one group.
    groups: Vec<ChainingValue>,
}

impl Outboard {
    /// Hashes `data` once.
    pub fn of(data: &[u8]) -> Self {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if length <= GROUP {
            return Self { hash: Digest::of(data), length, groups: Vec::new() };
        }
        let mut start = 0;
        let mut groups = Vec::new();
        for group in data.chunks(to_usize(GROUP)) {
            groups.push(chaining_value(start, group));
            start += GROUP;
        }
        let mut outboard = Self { hash: Digest::default(), length, groups };
        outboard.hash = outboard.merged_root();
        outboard
    }

    /// The file's BLAKE3 hash.
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// The file's length in bytes.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The bytes to keep: length (8 bytes, little-endian), hash, chaining values.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 32 + self.groups.len() * 32);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.hash.0);
        self.groups.iter().for_each(|group| bytes.extend_from_slice(group));
        bytes
    }

    /// Reads what [`Outboard::to_bytes`] wrote. Nothing if the bytes are not that, or if the chaining
    /// values do not lead to the hash; a file of one group has none that could be checked.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let length = u64::from_le_bytes(*header);
        let expected = if length <= GROUP { 0 } else { length.div_ceil(GROUP) };
        let (groups, tail) = rest.as_chunks::<32>();
        if !tail.is_empty() || u64::try_from(groups.len()) != Ok(expected) {
            return None;
        }
        let outboard = Self { hash: Digest(*hash), length, groups: groups.to_vec() };
        (outboard.groups.is_empty() || outboard.merged_root() == outboard.hash).then_some(outboard)
    }

    /// The slice of one chunk. `read(offset, length)` reads the file, at most one [`GROUP`].
    ///
    /// # Errors
    /// [`EncodeError::Range`] beyond the last chunk, else as `read`.
    pub fn slice<E>(
        &self,
        chunk: u64,
        read: impl FnMut(u64, usize) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, EncodeError<E>> {
        if chunk >= chunks(self.length) {
            return Err(EncodeError::Range);
        }
        let from = chunk.saturating_mul(CHUNK);
        Encoder::new(self, (from, from.saturating_add(1)), read).encode()
    }

    /// The slice of `count` bytes from `offset`. `read(offset, length)` reads the file, one [`GROUP`]
    /// after the other.
    ///
    /// # Errors
    /// [`EncodeError::Range`] if the range is empty or goes beyond the end, else as `read`.
    pub fn encode<E>(
        &self,
        offset: u64,
        count: u64,
        read: impl FnMut(u64, usize) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, EncodeError<E>> {
        let end = offset.checked_add(count).ok_or(EncodeError::Range)?;
        if count == 0 || end > self.length {
            return Err(EncodeError::Range);
        }
        Encoder::new(self, (offset, end), read).encode()
    }

    /// The root over the groups, of which there are at least two.
    fn merged_root(&self) -> Digest {
        let (first, second) = Span { start: 0, length: self.length }.halves();
        let root = merge_subtrees_root(&self.value(first), &self.value(second), Mode::Hash);
        Digest(*root.as_bytes())
    }

    /// The chaining value of a node of whole groups.
    fn value(&self, node: Span) -> ChainingValue {
        if node.length <= GROUP {
            return self.groups[to_usize(node.start / GROUP)];
        }
        let (first, second) = node.halves();
        merge_subtrees_non_root(&self.value(first), &self.value(second), Mode::Hash)
    }
}

/// Writes a slice in pre-order, reading one group at a time.
struct Encoder<'o, R> {
    outboard: &'o Outboard,
    range: (u64, u64),
    read: R,
    /// The group read last and where it starts.
    group: Option<(u64, Vec<u8>)>,
    out: Vec<u8>,
}

impl<'o, R> Encoder<'o, R> {
    fn new(outboard: &'o Outboard, range: (u64, u64), read: R) -> Self {
        Self { outboard, range, read, group: None, out: Vec::new() }
    }

    fn encode<E>(mut self) -> Result<Vec<u8>, EncodeError<E>>
    where
        R: FnMut(u64, usize) -> Result<Vec<u8>, E>,
    {
        self.out.extend_from_slice(&self.outboard.length.to_le_bytes());
        self.node(Span { start: 0, length: self.outboard.length })?;
        Ok(self.out)
    }

    fn node<E>(&mut self, node: Span) -> Result<(), EncodeError<E>>
    where
        R: FnMut(u64, usize) -> Result<Vec<u8>, E>,
    {
        if node.length <= CHUNK {
            let bytes = self.data(node)?.to_vec();
            self.out.extend_from_slice(&bytes);
            return Ok(());
        }
        let (first, second) = node.halves();
        for child in [first, second] {
            let value = self.value(child)?;
            self.out.extend_from_slice(&value);
        }
        if self.range.0 < second.start {
            self.node(first)?;
        }
        if self.range.1 > second.start {
            self.node(second)?;
        }
        Ok(())
    }

    /// The chaining value of a node: kept for whole groups, computed within one.
    fn value<E>(&mut self, node: Span) -> Result<ChainingValue, EncodeError<E>>
    where
        R: FnMut(u64, usize) -> Result<Vec<u8>, E>,
    {
        let group_start = node.start - node.start % GROUP;
        let group_length = GROUP.min(self.outboard.length - group_start);
        if !self.outboard.groups.is_empty() && node.length >= group_length {
            return Ok(self.outboard.value(node));
        }
        let start = node.start;
        Ok(chaining_value(start, self.data(node)?))
    }

    /// The bytes of a node within one group.
    fn data<E>(&mut self, node: Span) -> Result<&[u8], EncodeError<E>>
    where
        R: FnMut(u64, usize) -> Result<Vec<u8>, E>,
    {
        let start = node.start - node.start % GROUP;
        if self.group.as_ref().is_none_or(|(at, _)| *at != start) {
            let length = to_usize(GROUP.min(self.outboard.length - start));
            let bytes = (self.read)(start, length).map_err(EncodeError::Read)?;
            if bytes.len() != length {
                return Err(EncodeError::Short);
            }
            self.group = Some((start, bytes));
        }
        let from = to_usize(node.start - start);
        let bytes = self.group.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        bytes.get(from..from + to_usize(node.length)).ok_or(EncodeError::Short)
    }
}

/// The chaining value of a node that is not the root, from its bytes.
fn chaining_value(start: u64, bytes: &[u8]) -> ChainingValue {
    blake3::Hasher::new().set_input_offset(start).update(bytes).finalize_non_root()
}

/// Lengths within one group fit any platform's `usize`.
fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
