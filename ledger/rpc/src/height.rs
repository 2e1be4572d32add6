//! Which block a request means.

use crate::{error::Error, server::Context};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use consensus::Ledger;

/// The height a number or tag names; it may lie above the last block.
pub(crate) fn of_tag(cx: &Context, tag: BlockNumberOrTag) -> u64 {
    match tag {
        BlockNumberOrTag::Number(height) => height,
        BlockNumberOrTag::Earliest => 0,
        // One block is all of these: it is final when it appears.
        BlockNumberOrTag::Latest
        | BlockNumberOrTag::Safe
        | BlockNumberOrTag::Finalized
        | BlockNumberOrTag::Pending => cx.ledger.head().height(),
    }
}

/// The height of an existing block; the last one when none is named.
pub(crate) fn of(cx: &Context, id: Option<BlockId>) -> Result<u64, Error> {
    match id.unwrap_or_default() {
        BlockId::Number(tag) => {
            let height = of_tag(cx, tag);
            if height > cx.ledger.head().height() { Err(Error::NoBlock) } else { Ok(height) }
        }
        BlockId::Hash(hash) => of_hash(&cx.ledger, hash.block_hash),
    }
}

/// The height of the block with this hash.
pub(crate) fn of_hash(ledger: &Ledger, hash: B256) -> Result<u64, Error> {
    ledger.height_of(hash)?.ok_or(Error::NoBlock)
}

/// As [`of`], for methods that must not wait for the disk where they run.
pub(crate) async fn find(cx: &Context, id: Option<BlockId>) -> Result<u64, Error> {
    let Some(BlockId::Hash(hash)) = id else { return of(cx, id) };
    let ledger = cx.ledger.clone();
    cx.aside(move || of_hash(&ledger, hash.block_hash)).await?
}
