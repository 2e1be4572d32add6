//! From plain bytes to shards and back: encryption, erasure code and masks (design 11).
//!
//! A **segment** is up to 64 MiB of plain bytes. It is cut into frames; each frame is sealed with
//! AES-256-GCM under the segment's own key; the sealed frames are dealt out in turn to k data shards,
//! from which n - k parity shards follow by Reed-Solomon; each shard is masked with a key stream of
//! its own, so that nobody can compute one shard from others. The hash of the masked bytes names it.
//!
//! Rules:
//! * A frame never spans two shards. Any byte range of a segment therefore needs only the frames that
//!   overlap it, from the data shards that hold them, and a small read needs one agent. A long read
//!   uses all k agents at once, which whole quarters of a segment would not allow without holding the
//!   segment in memory ([`Layout`]).
//! * The content key and the mask key are separate: those who repair get the mask key alone.
//! * A segment's id is random and never used twice, so no two frames ever share a key and a nonce.
//! * Every frame's tag binds the segment, the frame's place and the number of frames: bytes that were
//!   moved, cut or replaced do not open.
//!
//! Pure: no input or output, no clock, no randomness; ids are given.

mod frame;
mod layout;
mod mask;
mod segment;

pub use layout::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, Layout, SEGMENT_BYTES_MAX, Shape, TAG_BYTES};
pub use segment::{Opener, Sealer, Shard, rebuild, reconstruct};

use minicbor::{Decode, Encode};
use std::fmt;

/// A segment: 16 random bytes, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub [u8; 16]);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<C> Encode<C> for SegmentId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SegmentId {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        <[u8; 16]>::try_from(d.bytes()?)
            .map(Self)
            .map_err(|_| minicbor::decode::Error::message("expected 16 bytes"))
    }
}

/// A 32-byte secret. Never shown, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes the bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for use and never for display.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0 = [0; 32];
        // Keeps the compiler from dropping the store as dead.
        std::hint::black_box(&self.0);
    }
}

/// Lifts the masks of shards, and opens nothing: what is under a mask is sealed with the content key,
/// which does not follow from this one. All that those who repair are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskKey(Secret);

impl MaskKey {
    /// Takes the secret.
    pub const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// The bytes, for use and never for display.
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// The two keys of a service's content.
#[derive(Clone, Debug)]
pub struct ContentKeys {
    /// Opens what is stored. Never leaves the service.
    pub content: Secret,
    /// Lifts the masks. Those who repair get it too.
    pub mask: MaskKey,
}

/// Why bytes could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A shape outside 1 <= k < n <= 255.
    #[error("{k} of {n} is no erasure code: needs 1 <= k < n <= 255")]
    Shape {
        /// Shards needed.
        k: u8,
        /// Shards in all.
        n: u8,
    },
    /// A segment of no bytes or of too many.
    #[error("a segment has 1 to {SEGMENT_BYTES_MAX} bytes, not {0}")]
    Length(u64),
    /// More or fewer bytes than the layout was made for.
    #[error("expected {expected} bytes, got {got}")]
    Mismatch {
        /// What the layout says.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// A frame whose tag does not hold: it was altered, moved or cut.
    #[error("frame {0} does not open: it was altered")]
    Forged(u32),
    /// Fewer than k shards.
    #[error("too few shards to rebuild the others")]
    TooFew,
    /// The cipher refused its input; only a fault of this program can cause it.
    #[error("cipher failed")]
    Cipher,
}

#[cfg(test)]
mod tests;
