//! The rows. Fields are numbered for good: a new one is added at the end and optional, a change that
//! this does not allow is a new format.

use crate::codec::{CodecError, Layout, SegmentId, Shape};
use minicbor::{Decode, Encode};
use protocol::{DeviceId, Digest, Micros, RailId};
use std::collections::BTreeMap;

/// A blob: a run of plain bytes. Numbered from 1, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct BlobId(#[n(0)] pub u64);

/// A multipart upload: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UploadId(pub [u8; 16]);

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Bucket {
    /// Milliseconds since 1970.
    #[n(0)]
    pub created_ms: u64,
}

/// What a client said of an object and gets back with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Headers {
    /// `Content-Type`.
    #[n(0)]
    pub content_type: Option<String>,
    /// `Content-Encoding`.
    #[n(1)]
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    #[n(2)]
    pub content_language: Option<String>,
    /// `Content-Disposition`.
    #[n(3)]
    pub content_disposition: Option<String>,
    /// `Cache-Control`.
    #[n(4)]
    pub cache_control: Option<String>,
    /// `Expires`, milliseconds since 1970.
    #[n(5)]
    pub expires_ms: Option<u64>,
    /// `x-amz-meta-*`.
    #[n(6)]
    pub metadata: BTreeMap<String, String>,
}

/// A checksum that was verified when the bytes came.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Checksum {
    /// Which: 1 CRC32, 2 CRC32C, 3 SHA-1, 4 SHA-256, 5 CRC64NVME.
    #[n(0)]
    pub algorithm: u8,
    /// Its value.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub value: Vec<u8>,
    /// 0 over the whole object; otherwise over the checksums of so many parts.
    #[n(2)]
    pub parts: u16,
}

/// A mention of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct BlobRef {
    /// The blob.
    #[n(0)]
    pub blob: BlobId,
    /// Its length, bytes.
    #[n(1)]
    pub bytes: u64,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Object {
    /// Its length, bytes.
    #[n(0)]
    pub bytes: u64,
    /// Hexadecimal MD5, or that of the parts' MD5s with `-parts`.
    #[n(1)]
    pub etag: String,
    /// Milliseconds since 1970.
    #[n(2)]
    pub modified_ms: u64,
    /// What the client said of it.
    #[n(3)]
    pub headers: Headers,
    /// A checksum.
    #[n(4)]
    pub checksum: Option<Checksum>,
    /// Where its bytes are; none for an empty object. More than one for what was uploaded in parts.
    #[n(5)]
    pub blobs: Vec<BlobRef>,
    /// How many parts it was uploaded in; 0 for one that was not.
    #[n(6)]
    pub parts: u16,
}

/// A multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Upload {
    /// Milliseconds since 1970.
    #[n(0)]
    pub initiated_ms: u64,
    /// What the client said of the object to be.
    #[n(1)]
    pub headers: Headers,
    /// The algorithm of checksums, as in [`Checksum::algorithm`].
    #[n(2)]
    pub algorithm: Option<u8>,
    /// Whether the object's checksum is to be over all its bytes and not over the parts' checksums.
    #[n(3)]
    pub whole: bool,
}

/// A part of an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Part {
    /// Its length, bytes.
    #[n(0)]
    pub bytes: u64,
    /// Its MD5.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub md5: [u8; 16],
    /// Milliseconds since 1970.
    #[n(2)]
    pub modified_ms: u64,
    /// A checksum.
    #[n(3)]
    pub checksum: Option<Checksum>,
    /// Where its bytes are; more than one if it was copied from an object of several.
    #[n(4)]
    pub blobs: Vec<BlobRef>,
}

/// A run of bytes in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Extent {
    /// The segment.
    #[n(0)]
    pub segment: SegmentId,
    /// The first plain byte.
    #[n(1)]
    pub offset: u32,
    /// How many.
    #[n(2)]
    pub bytes: u32,
}

/// A blob.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Blob {
    /// How many objects and parts mention it. At least 1.
    #[n(0)]
    pub refs: u32,
    /// Its bytes, in order.
    #[n(1)]
    pub extents: Vec<Extent>,
}

/// Where a shard is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Home {
    /// The rail that pays for it.
    #[n(0)]
    pub rail: RailId,
    /// The device that keeps it.
    #[n(1)]
    pub device: DeviceId,
}

/// One shard of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ShardRow {
    /// BLAKE3 of its masked bytes.
    #[n(0)]
    pub hash: Digest,
    /// Where it is durable; nowhere if it is queued.
    #[n(1)]
    pub home: Option<Home>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Segment {
    /// Plain bytes.
    #[n(0)]
    pub plain: u32,
    /// Shards needed.
    #[n(1)]
    pub k: u8,
    /// Plain bytes that a blob still needs.
    #[n(2)]
    pub live: u64,
    /// Milliseconds since 1970.
    #[n(3)]
    pub created_ms: u64,
    /// Whether it holds many small blobs.
    #[n(4)]
    pub packed: bool,
    /// Its shards, data first.
    #[n(5)]
    pub shards: Vec<ShardRow>,
}

impl Segment {
    /// Where its bytes lie.
    ///
    /// # Errors
    /// [`CodecError`] if the row is damaged.
    pub fn layout(&self) -> Result<Layout, CodecError> {
        let n = u8::try_from(self.shards.len())
            .map_err(|_| CodecError::Shape { k: self.k, n: u8::MAX })?;
        Layout::new(Shape::new(self.k, n)?, u64::from(self.plain))
    }
}

/// A shard that an agent holds for a rail, and its place in the rail's dataset.
///
/// `inside` is what the newest signed dataset says, `wanted` what the next is to say; `proposed`
/// marks that a commit which turns `inside` over is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Holding {
    /// Its length, bytes.
    #[n(0)]
    pub bytes: u64,
    /// Whether the newest signed dataset holds it.
    #[n(1)]
    pub inside: bool,
    /// Whether the service needs it there.
    #[n(2)]
    pub wanted: bool,
    /// Whether a commit under way turns `inside` over.
    #[n(3)]
    pub proposed: bool,
}

/// A dataset that the device signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Committed {
    /// The dataset.
    #[n(0)]
    pub dataset: protocol::inputs::Dataset,
    /// The device's signature.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// What the service keeps of a rail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Rail {
    /// The newest dataset that both sides agree on.
    #[n(0)]
    pub committed: Option<Committed>,
    /// The version of the commit under way.
    #[n(1)]
    pub proposal: Option<u64>,
    /// The newest version frozen on the ledger.
    #[n(2)]
    pub frozen: u64,
    /// No voucher with a nonce at or above this was ever sent.
    #[n(3)]
    pub nonce_bound: u64,
    /// No voucher for more delivered bytes than this was ever sent.
    #[n(4)]
    pub delivered_bound: u64,
    /// Bytes of all wanted holdings.
    #[n(5)]
    pub held: u64,
    /// No voucher for more than this was ever sent; nothing before the first bound.
    #[n(6)]
    pub amount_bound: Option<Micros>,
    /// The agent took a version as high as this: the next one must be above it.
    #[n(7)]
    pub floor: Option<u64>,
}

impl Rail {
    /// Whether agent and service have to agree anew on what is on the rail, be it nothing: the agent may
    /// keep, and be paid for, what nobody needs.
    pub fn begins_anew(&self) -> bool {
        self.committed.is_none() && self.floor.is_some_and(|floor| floor > 0)
    }
}

/// Sums over the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Stats {
    /// Objects.
    #[n(0)]
    pub objects: u64,
    /// Plain bytes of objects.
    #[n(1)]
    pub object_bytes: u64,
    /// Segments, garbage that is not collected yet included.
    #[n(2)]
    pub segments: u64,
    /// Bytes of all durable shards of these.
    #[n(3)]
    pub shard_bytes: u64,
    /// Shards that are durable nowhere.
    #[n(4)]
    pub queued: u64,
}
