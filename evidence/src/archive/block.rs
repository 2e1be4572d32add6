//! The evidence of one block, as it lies in the archive.

use crate::Batch;
use bytes::Bytes;
use minicbor::{Decode, Encode, bytes::ByteSlice};
use protocol::{
    Height,
    cbor::{self, DecodeError},
};

/// The blobs of one block. Reading it copies none of them: they are parts of the bytes that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockEvidence {
    /// The block's height.
    pub height: Height,
    /// The time of its header, in milliseconds since 1970.
    pub time_ms: u64,
    blobs: Vec<Bytes>,
}

/// How it is encoded.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Form<'b> {
    #[n(0)]
    version: u16,
    #[n(1)]
    height: Height,
    #[n(2)]
    time_ms: u64,
    #[b(3)]
    blobs: Vec<&'b ByteSlice>,
}

impl BlockEvidence {
    /// These blobs of the block at `height`.
    pub fn new(
        height: Height,
        time_ms: u64,
        blobs: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Self {
        let blobs = blobs.into_iter().map(|blob| Bytes::copy_from_slice(blob.as_ref())).collect();
        Self { height, time_ms, blobs }
    }

    /// What is worth keeping of a block's blobs: those that are batches of the chain. The others are nothing
    /// to replay ([`mod@crate::replay`]), nobody answers for them, and they cost whoever fills a block
    /// nothing. Without them the header's hash over the blobs cannot be checked, so who fetches the evidence
    /// of a block asks for all of its blobs.
    ///
    /// Returns the batches as well, since each has a signature to check, and a block may have thousands.
    pub fn of_chain(
        height: Height,
        time_ms: u64,
        blobs: &[Bytes],
        chain_id: u64,
    ) -> (Self, Vec<Batch>) {
        let batch = |blob: &Bytes| Some((blob.clone(), Batch::from_bytes(blob, chain_id).ok()?));
        let (blobs, batches) = blobs.iter().filter_map(batch).unzip();
        (Self { height, time_ms, blobs }, batches)
    }

    /// The same without what is no batch of the chain, and the batches.
    pub fn without_junk(&self, chain_id: u64) -> (Self, Vec<Batch>) {
        Self::of_chain(self.height, self.time_ms, &self.blobs, chain_id)
    }

    /// The blobs, in the block's order.
    pub fn blobs(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.blobs.iter().map(AsRef::as_ref)
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let blobs = self.blobs().map(Into::into).collect();
        cbor::to_vec(&Form { version: 1, height: self.height, time_ms: self.time_ms, blobs })
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// When the bytes are not canonical or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&Bytes::copy_from_slice(bytes))
    }

    /// Reads canonical bytes without copying them.
    ///
    /// # Errors
    /// As [`BlockEvidence::from_bytes`].
    pub fn read(bytes: &Bytes) -> Result<Self, DecodeError> {
        let malformed = |error: minicbor::decode::Error| DecodeError::Malformed(error.to_string());
        let form: Form<'_> = minicbor::decode(bytes).map_err(malformed)?;
        if cbor::to_vec(&form) != *bytes {
            return Err(DecodeError::NotCanonical);
        }
        if form.version != 1 {
            return Err(DecodeError::Malformed(format!("version {} is not 1", form.version)));
        }
        let blobs = form.blobs.iter().map(|blob| bytes.slice_ref(blob)).collect();
        Ok(Self { height: form.height, time_ms: form.time_ms, blobs })
    }
}
