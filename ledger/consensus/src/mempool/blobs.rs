//! Evidence blobs that wait for a block: a bounded queue an author, first come, first carried.
//!
//! An author is the seat whose node sent a blob, which the peers' network proves, or this node itself.
//! A full queue refuses ([`BlobRefused::Full`]): whoever collects evidence holds it back and tries
//! again. A blob leaves only when a final block carries it, and then all queues.
//!
//! A block has room for [`MAX_BLOBS_BYTES`]: each author with something waiting gets an equal share,
//! and what some leave of theirs goes to the others in turn, one blob each. A blob may be larger than a
//! share, so one author goes first in each block, another at each height, and its first blob is carried
//! whatever its size: nobody's flood holds up what another sends.
//!
//! Two authors may send the same bytes. Each keeps its own place for them, or else whoever copies a
//! blob and is quicker could put it behind junk of its own; a block carries them once.

use super::{AGAIN_BLOCKS, Source};
use crate::block::{MAX_BLOBS, MAX_BLOBS_BYTES, blob_hash};
use alloy_primitives::B256;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of our own that wait: what eight blocks carry.
pub(super) const OWN_BYTES: usize = 8 * MAX_BLOBS_BYTES;
/// Most bytes of another author that wait: what two blocks carry.
pub(super) const AUTHOR_BYTES: usize = 2 * MAX_BLOBS_BYTES;
/// Most blobs of an author that wait.
pub(super) const QUEUE_BLOBS: usize = MAX_BLOBS;
/// Most hashes of blobs carried lately that are remembered, twice.
const CARRIED: usize = 2 * MAX_BLOBS;

/// Why a blob was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobRefused {
    /// A blob has 1 to [`MAX_BLOBS_BYTES`] bytes.
    #[error("a blob has 1 to {MAX_BLOBS_BYTES} bytes, not {0}")]
    Size(usize),
    /// The queue holds as much as it may.
    #[error("the queue of blobs is full: try again after the next block")]
    Full,
    /// The same bytes wait already, or came from a peer after a block that carries them.
    #[error("the same blob is waiting already")]
    Known,
    /// The ledger has stopped.
    #[error("the ledger has stopped")]
    Stopped,
}

/// What one author has waiting, in order of arrival.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<u64, (B256, Bytes)>,
    places: BTreeMap<B256, u64>,
    bytes: usize,
}

/// The waiting blobs.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    queues: BTreeMap<Source, Queue>,
    /// Who has a blob waiting.
    holders: BTreeMap<B256, BTreeSet<Source>>,
    /// What is ours to be sent again, by the height from which on it is due.
    again: BTreeSet<(u64, B256)>,
    /// Lately carried, two generations: a peer's blob may arrive after the block that carries it.
    carried: [BTreeSet<B256>; 2],
    height: u64,
    arrivals: u64,
}

impl Blobs {
    /// Bytes of our own that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.queues.get(&Source::Own).map_or(0, |queue| queue.bytes)
    }

    /// A blob of our own that waits.
    pub(crate) fn get(&self, hash: &B256) -> Option<&Bytes> {
        let queue = self.queues.get(&Source::Own)?;
        queue.waiting.get(queue.places.get(hash)?).map(|(_, blob)| blob)
    }

    /// Takes a blob of an author and gives its hash.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(crate) fn insert(&mut self, blob: Bytes, author: Source) -> Result<B256, BlobRefused> {
        if blob.is_empty() || blob.len() > MAX_BLOBS_BYTES {
            return Err(BlobRefused::Size(blob.len()));
        }
        let most = if author == Source::Own { OWN_BYTES } else { AUTHOR_BYTES };
        let (count, bytes) =
            self.queues.get(&author).map_or((0, 0), |queue| (queue.waiting.len(), queue.bytes));
        if bytes + blob.len() > most || count >= QUEUE_BLOBS {
            return Err(BlobRefused::Full);
        }
        let hash = blob_hash(&blob);
        let late = author != Source::Own && self.carried.iter().any(|late| late.contains(&hash));
        let holders = self.holders.get(&hash);
        if late || holders.is_some_and(|holders| holders.contains(&author)) {
            return Err(BlobRefused::Known);
        }
        self.holders.entry(hash).or_default().insert(author);
        if author == Source::Own {
            self.again.insert((self.height.saturating_add(AGAIN_BLOCKS), hash));
        }
        let queue = self.queues.entry(author).or_default();
        queue.bytes += blob.len();
        queue.places.insert(hash, self.arrivals);
        queue.waiting.insert(self.arrivals, (hash, blob));
        self.arrivals += 1;
        Ok(hash)
    }

    /// What the block at `height` should carry, without what blocks before it carry already.
    pub(crate) fn candidates(&self, carried: &BTreeSet<B256>, height: u64) -> Vec<Bytes> {
        let mut draw = Draw { taken: carried.clone(), left: MAX_BLOBS_BYTES, blobs: Vec::new() };
        let mut lines: Vec<_> = self
            .queues
            .values()
            .map(|queue| queue.waiting.values().peekable())
            .map(|line| Line { line, used: 0 })
            .collect();
        // Who has nothing new gets no share.
        lines.retain_mut(|line| line.next(&draw.taken).is_some());
        let Some(turn) = height.checked_rem(u64::try_from(lines.len()).unwrap_or(u64::MAX)) else {
            return Vec::new();
        };
        let share = MAX_BLOBS_BYTES / lines.len();
        lines.rotate_left(usize::try_from(turn).unwrap_or(0));
        if let Some(first) = lines.first_mut() {
            first.carry(&mut draw, MAX_BLOBS_BYTES);
        }
        for line in &mut lines {
            while line.carry(&mut draw, share) {}
        }
        while !lines.is_empty() {
            lines.retain_mut(|line| line.carry(&mut draw, MAX_BLOBS_BYTES));
        }
        draw.blobs
    }

    /// Removes what the final block at `height` carries.
    pub(crate) fn finalized(&mut self, height: u64, hashes: impl IntoIterator<Item = B256>) {
        self.height = self.height.max(height);
        for hash in hashes {
            for author in self.holders.remove(&hash).unwrap_or_default() {
                let Some(queue) = self.queues.get_mut(&author) else { continue };
                let place = queue.places.remove(&hash);
                if let Some((_, blob)) = place.and_then(|place| queue.waiting.remove(&place)) {
                    queue.bytes -= blob.len();
                }
            }
            let [young, old] = &mut self.carried;
            if young.len() >= CARRIED {
                *old = std::mem::take(young);
            }
            young.insert(hash);
        }
        self.queues.retain(|_, queue| !queue.waiting.is_empty());
        let holders = &self.holders;
        self.again.retain(|(_, hash)| {
            holders.get(hash).is_some_and(|holders| holders.contains(&Source::Own))
        });
    }

    /// What of our own is due at `height` to be sent to peers again, the longest due first: at most
    /// what one block carries.
    pub(crate) fn due(&mut self, height: u64, count: usize) -> Vec<B256> {
        let mut left = MAX_BLOBS_BYTES;
        let later = (height.saturating_add(1), B256::ZERO);
        let due: Vec<_> = self
            .again
            .range(..later)
            .take(count)
            .take_while(|(_, hash)| {
                let rest = left.checked_sub(self.get(hash).map_or(0, Bytes::len));
                left = rest.unwrap_or(left);
                rest.is_some()
            })
            .copied()
            .collect();
        for old in &due {
            self.again.remove(old);
            self.again.insert((height.saturating_add(AGAIN_BLOCKS), old.1));
        }
        due.into_iter().map(|(_, hash)| hash).collect()
    }
}

/// What a block carries so far.
struct Draw {
    taken: BTreeSet<B256>,
    left: usize,
    blobs: Vec<Bytes>,
}

/// One author's blobs on their way into a block.
struct Line<'q, I: Iterator<Item = &'q (B256, Bytes)>> {
    line: std::iter::Peekable<I>,
    used: usize,
}

impl<'q, I: Iterator<Item = &'q (B256, Bytes)>> Line<'q, I> {
    /// The author's first blob that no block carries.
    fn next(&mut self, taken: &BTreeSet<B256>) -> Option<&'q (B256, Bytes)> {
        while self.line.next_if(|(hash, _)| taken.contains(hash)).is_some() {}
        self.line.peek().copied()
    }

    /// Carries the next blob, unless the author would have more than `share` then, or it does not fit.
    fn carry(&mut self, draw: &mut Draw, share: usize) -> bool {
        let Some((hash, blob)) = self.next(&draw.taken) else { return false };
        let (used, rest) = (self.used + blob.len(), draw.left.checked_sub(blob.len()));
        let Some(rest) = rest.filter(|_| used <= share && draw.blobs.len() < MAX_BLOBS) else {
            return false;
        };
        (self.used, draw.left) = (used, rest);
        draw.taken.insert(*hash);
        draw.blobs.push(blob.clone());
        self.line.next();
        true
    }
}
