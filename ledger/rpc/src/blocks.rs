//! `eth_getBlockBy…` and what else asks for a block.

use crate::{error::Error, format, height, server::Context};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U64};
use alloy_rpc_types_eth::{Block, TransactionReceipt};
use consensus::Finalized;
use jsonrpsee::types::Params;
use std::sync::Arc;

type Found = Option<Arc<Finalized>>;

fn at_tag(cx: &Context, tag: BlockNumberOrTag) -> Result<Found, Error> {
    Ok(cx.ledger.block(height::of_tag(cx, tag))?)
}

fn shown(block: Found, whole: Option<bool>) -> Result<Option<Block>, Error> {
    block.map(|block| format::block(&block, whole.unwrap_or(false))).transpose()
}

fn transactions(block: Found) -> Option<U64> {
    block.map(|block| U64::from(format::count(block.transactions.len())))
}

pub(crate) fn by_number(params: &Params<'_>, cx: &Context) -> Result<Option<Block>, Error> {
    let mut params = params.sequence();
    let tag = params.next()?;
    shown(at_tag(cx, tag)?, params.optional_next()?)
}

pub(crate) fn by_hash(params: &Params<'_>, cx: &Context) -> Result<Option<Block>, Error> {
    let mut params = params.sequence();
    let hash: B256 = params.next()?;
    shown(cx.ledger.block_by_hash(hash)?, params.optional_next()?)
}

pub(crate) fn count_by_number(params: &Params<'_>, cx: &Context) -> Result<Option<U64>, Error> {
    Ok(transactions(at_tag(cx, params.sequence().next()?)?))
}

pub(crate) fn count_by_hash(params: &Params<'_>, cx: &Context) -> Result<Option<U64>, Error> {
    let hash: B256 = params.sequence().next()?;
    Ok(transactions(cx.ledger.block_by_hash(hash)?))
}

pub(crate) fn receipts(
    params: &Params<'_>,
    cx: &Context,
) -> Result<Option<Vec<TransactionReceipt>>, Error> {
    let block = match params.sequence().next()? {
        BlockId::Number(tag) => at_tag(cx, tag)?,
        BlockId::Hash(hash) => cx.ledger.block_by_hash(hash.block_hash)?,
    };
    block.map(|block| format::receipts(&block)).transpose()
}
