//! Which block a request means.

use crate::{error::Error, server::Context};
use alloy_eips::{BlockId, BlockNumberOrTag};
use jsonrpsee::types::params::ParamsSequence;

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
        BlockId::Hash(hash) => cx.ledger.height_of(hash.block_hash)?.ok_or(Error::NoBlock),
    }
}

/// Takes the next parameter as a block and gives its height.
pub(crate) fn next(cx: &Context, params: &mut ParamsSequence<'_>) -> Result<u64, Error> {
    of(cx, params.optional_next()?)
}
