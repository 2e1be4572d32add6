//! Makes one shard anew, or moves it, and stores it with an owner who has no other of its segment.
//!
//! The worker holds the mask key. It lifts masks and sees what is under them: frames sealed with the content
//! key, which it has not. Nothing it is made of leads to one ([`MaskKey`], [`Link`]), so a process that is
//! given these can repair and cannot read.

use crate::{
    aside::aside,
    codec::{self, CodecError, MaskKey},
    index::Home,
    num::wide,
    placement::{self, Spot},
    shards::ShardsError,
    store::{Link, ReadError, Shelf, Space},
};
use bytes::Bytes;
use protocol::Account;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use storage_kind::{dataset::Shard, wire::Refusal};

/// Agents asked whether they take a shard before others are read for it.
const ASKED: usize = 8;
/// How long an agent may take to say what it takes.
const ASKED_WITHIN: Duration = Duration::from_secs(3);

/// Why a shard was not repaired.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RepairError {
    /// Too few others could be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The codec refused.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// What was made has another hash: the others are not of one segment.
    #[error("a rebuilt shard has another hash")]
    Hash,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}

/// Repairs single shards.
#[derive(Clone, Debug)]
pub struct Worker {
    mask: MaskKey,
    link: Arc<Link>,
}

impl Worker {
    /// A worker that moves shards over `link`.
    pub const fn new(mask: MaskKey, link: Arc<Link>) -> Self {
        Self { mask, link }
    }

    /// Stores shard `index` of a segment with an owner who has none other of it: as it is read `from` where
    /// it is, if it only has to move, or rebuilt from others. Where it is durable now, or nothing if nobody
    /// takes it.
    ///
    /// # Errors
    /// [`RepairError`].
    pub(crate) async fn repair(
        &self,
        shelf: &Arc<Shelf>,
        index: u8,
        from: Option<Home>,
    ) -> Result<Option<Home>, RepairError> {
        let row = shelf.row.shards.get(usize::from(index)).ok_or(RepairError::Hash)?;
        let shard = Shard { hash: row.hash, bytes: wide(shelf.layout.shard_bytes()) };
        // They are asked before anything is read, as reading costs.
        let Some(spot) = self.spot(shelf, index, shard.bytes).await else { return Ok(None) };
        let (bytes, space) = self.bytes(shelf, index, from.is_some()).await?;
        let stored = self.link.put_on(spot, shard, bytes).await;
        drop(space);
        Ok(stored.ok())
    }

    /// The owners that keep other shards of the segment.
    pub(crate) fn owners(&self, shelf: &Shelf, index: u8) -> BTreeSet<Account> {
        let shards = (0u8..).zip(&shelf.row.shards).filter(|(at, _)| *at != index);
        shards.filter_map(|(_, shard)| self.link.fleet.owner(shard.home?.device)).collect()
    }

    /// An agent that says it takes the shard.
    async fn spot(&self, shelf: &Shelf, index: u8, bytes: u64) -> Option<Spot> {
        let link = &self.link;
        let taken = self.owners(shelf, index);
        let candidates = link.fleet.candidates(link.now_ms());
        let spots = placement::replace(shelf.id, bytes, &candidates, &taken);
        for spot in spots.into_iter().take(ASKED) {
            let Some(peer) = link.fleet.peer(spot.device) else { continue };
            match tokio::time::timeout(ASKED_WITHIN, link.shards.terms(peer)).await {
                Ok(Ok(terms)) if terms.free >= bytes => return Some(spot),
                Ok(Ok(terms)) => link.fleet.offers(spot.device, terms.free),
                Ok(Err(ShardsError::Refused(Refusal::Busy))) => {}
                Ok(Err(_)) | Err(_) => link.fleet.failed(spot.device, link.now_ms()),
            }
        }
        None
    }

    /// The bytes of a shard, whole and checked, from where it is or rebuilt from others.
    async fn bytes(
        &self,
        shelf: &Arc<Shelf>,
        index: u8,
        is_there: bool,
    ) -> Result<(Bytes, Space), RepairError> {
        let at = usize::from(index);
        if is_there && let Some(found) = self.link.one(shelf, at).await {
            return Ok(found);
        }
        let (shards, space) = self.link.whole(shelf, Some(at), &[]).await?;
        let (mask, id, shape) = (self.mask.clone(), shelf.id, shelf.layout.shape());
        let rebuilt = aside(move || codec::rebuild(&mask, id, shape, shards, index))
            .await
            .ok_or(RepairError::Stopping)??;
        if shelf.row.shards.get(at).is_none_or(|shard| shard.hash != rebuilt.hash) {
            return Err(RepairError::Hash);
        }
        metrics::counter!("wayleave_s3_shards_rebuilt_total").increment(1);
        Ok((rebuilt.bytes, space))
    }
}
