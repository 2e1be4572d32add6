//! What a storage device says in evidence: a proof that answers a duty, or a loss that it declares.

use crate::{
    STORAGE,
    dataset::{Shard, Sibling},
};
use minicbor::{Decode, Encode};
use protocol::{
    Digest, RailId,
    cbor::{DecodeError, Item},
    envelope,
};

/// How many lost shards one declaration may name.
pub const LOSS_MAX: usize = 64;

/// A storage body.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Evidence {
    /// The answer to one duty.
    #[n(0)]
    Proof(#[n(0)] Proof),
    /// Data of a rail is gone. Carried before a window opens, it spares the stake (design 8).
    #[n(1)]
    Loss(#[n(0)] Loss),
}

/// The answer to one duty: the drawn byte's shard, its place in the dataset, and its chunk.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Proof {
    /// The rail.
    #[n(0)]
    pub rail: RailId,
    /// The duty's number on the rail.
    #[n(1)]
    pub index: u16,
    /// The dataset's version that is answered for; of another than the frozen one nothing follows.
    #[n(2)]
    pub version: u64,
    /// The shard that holds the drawn byte.
    #[n(3)]
    pub shard: Shard,
    /// From the shard to the dataset's root, from the bottom.
    #[n(4)]
    pub path: Vec<Sibling>,
    /// The Bao slice of the one chunk that holds the drawn byte ([`crate::bao::slice`]).
    #[cbor(n(5), with = "minicbor::bytes")]
    pub slice: Vec<u8>,
}

/// A declaration that data of a rail is gone. The rail's epoch is unpaid.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Loss {
    /// The rail.
    #[n(0)]
    pub rail: RailId,
    /// The dataset's version.
    #[n(1)]
    pub version: u64,
    /// Which shards, for the repair: the first [`LOSS_MAX`], ascending; none means all.
    #[n(2)]
    pub shards: Vec<Digest>,
}

impl Evidence {
    /// The envelope body that holds this.
    pub fn to_body(&self) -> envelope::Body {
        envelope::Body { kind: STORAGE, item: Item::of(self) }
    }

    /// Reads a body of this kind.
    ///
    /// # Errors
    /// When the kind or the encoding is another, or a list is over its limit or out of order.
    pub fn from_body(body: &envelope::Body) -> Result<Self, DecodeError> {
        let malformed = |what: &str| Err(DecodeError::Malformed(what.to_owned()));
        if body.kind != STORAGE {
            return malformed("not a storage body");
        }
        let evidence: Self = body.item.to()?;
        match &evidence {
            Self::Proof(proof) if proof.path.len() > crate::dataset::PATH_MAX => {
                malformed("path is too long")
            }
            Self::Proof(proof) if proof.slice.len() > crate::bao::CHUNK_SLICE_MAX => {
                malformed("slice is too long")
            }
            Self::Loss(loss) if loss.shards.len() > LOSS_MAX => malformed("too many lost shards"),
            Self::Loss(loss) if !loss.shards.is_sorted_by(|a, b| a < b) => {
                malformed("lost shards are not strictly ascending")
            }
            _ => Ok(evidence),
        }
    }
}

#[cfg(test)]
mod tests;
