//! What gas costs: fee history and suggestions.

use crate::{error::Error, height, server::Context};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{U64, U256};
use alloy_rpc_types_eth::FeeHistory;
use consensus::Header;
use execution::{Receipt, next_base_fee};
use jsonrpsee::types::Params;
use std::sync::{Arc, PoisonError};

/// Blocks whose tips a suggestion follows.
const RECENT: u64 = 20;
/// The tip suggested when nobody pays more: 0.1 gwei a unit of gas.
const TIP_MIN: u128 = 100_000_000;
/// The tip never suggested above: 500 gwei a unit of gas.
const TIP_MAX: u128 = 500_000_000_000;
/// Percentiles that one request may ask for.
const PERCENTILES: usize = 100;

/// Runs `work` where it may wait for the disk, once it is its turn.
pub(crate) async fn in_turn<T: Send + 'static>(
    cx: Arc<Context>,
    work: impl FnOnce(&Context) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // The semaphore is never closed.
    let permit = Arc::clone(&cx.fee_queries).acquire_owned().await;
    let shared = Arc::clone(&cx);
    let work = move || {
        let _permit = permit;
        work(&shared)
    };
    cx.aside(work).await?
}

/// `eth_maxPriorityFeePerGas`: the median of the tips paid in the last blocks.
pub(crate) fn tip(cx: &Context) -> Result<U256, Error> {
    Ok(U256::from(suggested(cx)?))
}

/// `eth_gasPrice`: the next base fee and the suggested tip.
pub(crate) fn gas_price(cx: &Context) -> Result<U256, Error> {
    Ok(U256::from(cx.ledger.next_base_fee()) + U256::from(suggested(cx)?))
}

fn suggested(cx: &Context) -> Result<u128, Error> {
    let head = cx.ledger.head().height();
    // A pair of numbers is whole at every point where its holder could panic.
    let mut last = cx.last_tip.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, tip)) = last.filter(|(height, _)| *height == head) {
        return Ok(tip);
    }
    let mut tips = Vec::new();
    for height in head.saturating_sub(RECENT - 1)..=head {
        let (header, receipts) = read(cx, height)?;
        tips.extend(receipts.iter().map(|receipt| paid(&header, receipt)));
    }
    tips.sort_unstable();
    let median = tips.get(tips.len() / 2).copied().unwrap_or(TIP_MIN);
    let tip = median.clamp(TIP_MIN, TIP_MAX);
    *last = Some((head, tip));
    Ok(tip)
}

/// The tip a transaction paid.
fn paid(header: &Header, receipt: &Receipt) -> u128 {
    receipt.gas_price.saturating_sub(header.base_fee.into())
}

/// A header and its receipts, read only if there are any.
fn read(cx: &Context, height: u64) -> Result<(Header, Vec<Receipt>), Error> {
    let header = cx.ledger.header(height)?.ok_or(Error::NoBlock)?;
    let receipts = match header.gas_used {
        0 => None,
        _ => cx.ledger.receipts(height)?,
    };
    Ok((header, receipts.unwrap_or_default()))
}

/// `eth_feeHistory`.
pub(crate) async fn history(params: &Params<'_>, cx: Arc<Context>) -> Result<FeeHistory, Error> {
    let mut params = params.sequence();
    let (blocks, newest): (U64, BlockNumberOrTag) = (params.next()?, params.next()?);
    let percentiles: Option<Vec<f64>> = params.optional_next()?;
    in_turn(cx, move |cx| of(cx, (blocks, newest), percentiles)).await
}

fn of(
    cx: &Context,
    (blocks, newest): (U64, BlockNumberOrTag),
    percentiles: Option<Vec<f64>>,
) -> Result<FeeHistory, Error> {
    let newest = height::of(cx, Some(newest.into()))?;
    let blocks = blocks.to::<u64>().min(cx.limits.fee_blocks).min(newest.saturating_add(1));
    if let Some(percentiles) = &percentiles {
        check(percentiles)?;
    }
    if blocks == 0 {
        return Ok(FeeHistory::default());
    }
    let oldest = newest + 1 - blocks;
    let mut history = FeeHistory { oldest_block: oldest, ..FeeHistory::default() };
    let mut rewards = Vec::new();
    for height in oldest..=newest {
        let (header, receipts) = read(cx, height)?;
        history.base_fee_per_gas.push(header.base_fee.into());
        history.gas_used_ratio.push(number(header.gas_used) / number(header.gas_limit));
        if let Some(percentiles) = &percentiles {
            rewards.push(reward(&header, &receipts, percentiles));
        }
        if height == newest {
            let next = next_base_fee(header.base_fee, header.gas_used, header.gas_limit);
            history.base_fee_per_gas.push(next.into());
        }
    }
    history.reward = percentiles.map(|_| rewards);
    Ok(history)
}

/// Percentiles are ascending, from 0 to 100.
fn check(percentiles: &[f64]) -> Result<(), Error> {
    let ascending = percentiles.windows(2).all(|pair| pair[0] <= pair[1]);
    let within = percentiles.iter().all(|p| (0.0..=100.0).contains(p));
    if ascending && within && percentiles.len() <= PERCENTILES {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "reward percentiles are at most {PERCENTILES} ascending numbers from 0 to 100"
    )))
}

/// Tips at the percentiles of a block's gas.
fn reward(header: &Header, receipts: &[Receipt], percentiles: &[f64]) -> Vec<u128> {
    let mut tips: Vec<(u128, u64)> =
        receipts.iter().map(|receipt| (paid(header, receipt), receipt.gas_used)).collect();
    tips.sort_unstable();
    let at = |percentile: &f64| {
        let threshold = number(header.gas_used) * percentile / 100.0;
        let mut gas = 0;
        let found = tips.iter().find(|(_, used)| {
            gas += used;
            number(gas) >= threshold
        });
        found.or(tips.last()).map_or(0, |(tip, _)| *tip)
    };
    percentiles.iter().map(at).collect()
}

/// Gas of a block as a ratio's part; no block has 2^32.
fn number(gas: u64) -> f64 {
    f64::from(u32::try_from(gas).unwrap_or(u32::MAX))
}
