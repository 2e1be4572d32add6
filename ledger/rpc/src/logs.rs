//! `eth_getLogs`: a bounded walk over the blocks whose bloom may match.

use crate::{error::Error, format, height, server::Context};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{Address, B256};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};
use jsonrpsee::types::Params;
use std::{ops::RangeInclusive, sync::Arc};

/// Heights looked up at a time.
const STEP: usize = 256;

pub(crate) async fn get(params: &Params<'_>, cx: Arc<Context>) -> Result<Vec<Log>, Error> {
    let filter: Filter = params.sequence().next()?;
    // The semaphore is never closed.
    let permit = Arc::clone(&cx.log_queries).acquire_owned().await;
    let walk = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        search(&cx, &filter)
    });
    walk.await.map_err(|error| Error::Damaged(error.to_string()))?
}

fn search(cx: &Context, filter: &Filter) -> Result<Vec<Log>, Error> {
    let Some(range) = range(cx, filter)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let addresses: Vec<Address> = filter.address.iter().copied().collect();
    let topics: Vec<Vec<B256>> =
        filter.topics.iter().map(|any| any.iter().copied().collect()).collect();
    let (mut from, to) = range.into_inner();
    while from <= to {
        let heights = cx.ledger.heights_with_logs(from..=to, (&addresses, &topics), STEP)?;
        for height in &heights {
            collect(cx, filter, *height, &mut found)?;
        }
        match heights.last().and_then(|last| last.checked_add(1)) {
            Some(next) if heights.len() == STEP => from = next,
            _ => break,
        }
    }
    Ok(found)
}

/// Adds the matching logs of one block.
fn collect(cx: &Context, filter: &Filter, height: u64, found: &mut Vec<Log>) -> Result<(), Error> {
    let receipts = cx.ledger.receipts(height)?.unwrap_or_default();
    let mut logs = receipts.iter().flat_map(|receipt| receipt.envelope.logs());
    // The bloom may be wrong: the whole block is read only when there is something in it.
    if !logs.any(|log| matches(filter, log)) {
        return Ok(());
    }
    let Some(block) = cx.ledger.block(height)? else { return Ok(()) };
    found.extend(format::block_logs(&block).into_iter().filter(|log| matches(filter, &log.inner)));
    let limit = cx.limits.logs;
    if found.len() > limit {
        return Err(Error::Limit(format!(
            "more than {limit} logs match: ask for fewer blocks (they are reached at block {height})"
        )));
    }
    Ok(())
}

/// Whether a log has the addresses and topics asked for.
pub(crate) fn matches(filter: &Filter, log: &alloy_primitives::Log) -> bool {
    filter.matches_address(log.address) && filter.matches_topics(log.topics())
}

/// The existing heights a filter means.
fn range(cx: &Context, filter: &Filter) -> Result<Option<RangeInclusive<u64>>, Error> {
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let height = cx.ledger.block_by_hash(hash)?.ok_or(Error::NoBlock)?.height();
            return Ok(Some(height..=height));
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let latest = BlockNumberOrTag::Latest;
            (from_block.unwrap_or(latest), to_block.unwrap_or(latest))
        }
    };
    let (from, to) = (height::of_tag(cx, from), height::of_tag(cx, to));
    if from > to {
        return Err(Error::Invalid(format!("fromBlock {from} is after toBlock {to}")));
    }
    let head = cx.ledger.head().height();
    if from > head {
        return Ok(None);
    }
    let to = to.min(head);
    let limit = cx.limits.log_blocks;
    if to - from >= limit {
        return Err(Error::Limit(format!(
            "the query spans {} blocks, at most {limit} are allowed: ask for blocks {from} to {} first",
            to - from + 1,
            from + limit - 1,
        )));
    }
    Ok(Some(from..=to))
}
