//! Frames: AES-256-GCM under a key per segment, the frame's number as nonce.
//!
//! key = BLAKE3 keyed(content key, "segment" || id); nonce = 8 zero bytes and the frame's number, big
//! endian; additional data = id || frame || frames. The key is new for every segment, so a counter is
//! a nonce that never repeats.

use super::{CodecError, Secret, SegmentId, TAG_BYTES};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// The key of one segment's frames.
#[derive(Debug)]
pub(crate) struct FrameKey {
    key: LessSafeKey,
    id: SegmentId,
    frames: u32,
}

impl FrameKey {
    /// The key of segment `id`, which has `frames` frames.
    pub(crate) fn derive(content: &Secret, id: SegmentId, frames: u32) -> Result<Self, CodecError> {
        let mut hasher = blake3::Hasher::new_keyed(content.expose());
        hasher.update(b"wayleave segment key 1");
        hasher.update(&id.0);
        let key = UnboundKey::new(&AES_256_GCM, hasher.finalize().as_bytes())
            .map_err(|_| CodecError::Cipher)?;
        Ok(Self { key: LessSafeKey::new(key), id, frames })
    }

    fn nonce(frame: u32) -> Nonce {
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&frame.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    fn bound(&self, frame: u32) -> Aad<[u8; 24]> {
        let mut bound = [0; 24];
        bound[..16].copy_from_slice(&self.id.0);
        bound[16..20].copy_from_slice(&frame.to_be_bytes());
        bound[20..].copy_from_slice(&self.frames.to_be_bytes());
        Aad::from(bound)
    }

    /// Seals `plain` into `sealed`, which is [`TAG_BYTES`] longer.
    pub(crate) fn seal(
        &self,
        frame: u32,
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), CodecError> {
        let (text, tag) = sealed
            .split_last_chunk_mut::<TAG_BYTES>()
            .filter(|(text, _)| text.len() == plain.len())
            .ok_or(CodecError::Cipher)?;
        self.key
            .seal_out_of_place_scatter(Self::nonce(frame), self.bound(frame), plain, text, &[], tag)
            .map_err(|_| CodecError::Cipher)
    }

    /// Opens a sealed frame where it lies; the plain bytes are all but its last [`TAG_BYTES`].
    pub(crate) fn open(&self, frame: u32, sealed: &mut [u8]) -> Result<(), CodecError> {
        self.key
            .open_in_place(Self::nonce(frame), self.bound(frame), sealed)
            .map(|_| ())
            .map_err(|_| CodecError::Forged(frame))
    }
}
