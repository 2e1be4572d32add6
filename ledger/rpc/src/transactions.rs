//! Transactions: sending them, finding them, and what became of them.

use crate::{
    error::Error,
    format::{self, Place},
    height,
    server::Context,
};
use alloy_eips::{BlockNumberOrTag, eip2718::Encodable2718 as _};
use alloy_primitives::{B256, Bytes, U64};
use alloy_rpc_types_eth::{Transaction, TransactionReceipt};
use consensus::{Finalized, Located};
use jsonrpsee::types::Params;

/// `eth_sendRawTransaction`: answers once the transaction waits for a block.
pub(crate) async fn send(params: &Params<'_>, cx: &Context) -> Result<B256, Error> {
    let raw: Bytes = params.sequence().next()?;
    Ok(cx.ledger.submit(&raw).await?)
}

fn place(cx: &Context, located: &Located) -> Result<Place, Error> {
    let height = located.place.height;
    let header = cx.ledger.header(height)?;
    let header = header.ok_or_else(|| Error::Damaged(format!("block {height} is missing")))?;
    Ok(Place {
        block_hash: located.block,
        height,
        timestamp: header.timestamp(),
        index: located.place.index.into(),
    })
}

pub(crate) fn by_hash(params: &Params<'_>, cx: &Context) -> Result<Option<Transaction>, Error> {
    let hash: B256 = params.sequence().next()?;
    // First the pool: a transaction moves from there to a block, never back.
    let waiting = cx.ledger.waiting(hash)?;
    if let Some(located) = cx.ledger.transaction(hash)? {
        let tx = format::decode(&located.transaction)?;
        let place = place(cx, &located)?;
        return Ok(Some(format::transaction(tx, place, located.receipt.gas_price)));
    }
    Ok(waiting.map(format::waiting))
}

pub(crate) fn raw_by_hash(params: &Params<'_>, cx: &Context) -> Result<Option<Bytes>, Error> {
    let hash: B256 = params.sequence().next()?;
    let waiting = cx.ledger.waiting(hash)?;
    if let Some(located) = cx.ledger.transaction(hash)? {
        return Ok(Some(located.transaction.into()));
    }
    Ok(waiting.map(|tx| tx.inner().encoded_2718().into()))
}

pub(crate) fn receipt(
    params: &Params<'_>,
    cx: &Context,
) -> Result<Option<TransactionReceipt>, Error> {
    let hash: B256 = params.sequence().next()?;
    let Some(located) = cx.ledger.transaction(hash)? else { return Ok(None) };
    let index = usize::try_from(located.place.index).unwrap_or(usize::MAX);
    let receipts = cx.ledger.receipts(located.place.height)?.unwrap_or_default();
    let first = format::logs_before(&receipts, index);
    let tx = format::decode(&located.transaction)?;
    let place = place(cx, &located)?;
    Ok(Some(format::receipt(&tx, &located.receipt, place, first)))
}

fn at(block: &Finalized, index: U64) -> Result<Option<Transaction>, Error> {
    let at = usize::try_from(index.to::<u64>()).unwrap_or(usize::MAX);
    let (Some(bytes), Some(receipt)) = (block.transactions.get(at), block.receipts.get(at)) else {
        return Ok(None);
    };
    let place = Place {
        block_hash: block.hash,
        height: block.height(),
        timestamp: block.header.timestamp(),
        index: index.to(),
    };
    Ok(Some(format::transaction(format::decode(bytes)?, place, receipt.gas_price)))
}

pub(crate) fn by_number_and_index(
    params: &Params<'_>,
    cx: &Context,
) -> Result<Option<Transaction>, Error> {
    let mut params = params.sequence();
    let (tag, index): (BlockNumberOrTag, U64) = (params.next()?, params.next()?);
    let block = cx.ledger.block(height::of_tag(cx, tag))?;
    block.map_or(Ok(None), |block| at(&block, index))
}

pub(crate) fn by_hash_and_index(
    params: &Params<'_>,
    cx: &Context,
) -> Result<Option<Transaction>, Error> {
    let mut params = params.sequence();
    let (hash, index): (B256, U64) = (params.next()?, params.next()?);
    let block = cx.ledger.block_by_hash(hash)?;
    block.map_or(Ok(None), |block| at(&block, index))
}
