//! `eth_getLogs`: a walk over the blocks whose bloom may match, bounded in blocks, inputs, time, and logs by
//! number and bytes; only the logs of a single block are answered however many they are.

use crate::{
    error::Error,
    format, height,
    server::{Context, Limits},
};
use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{Bloom, BloomInput};
use alloy_rpc_types_eth::{Filter, FilterBlockOption, Log};
use jsonrpsee::types::Params;
use std::{ops::RangeInclusive, sync::Arc, time::Instant};

/// Heights looked up at a time.
const STEP: u64 = 256;
/// Addresses, and topics at each position, of one filter.
const INPUTS_MAX: usize = 1_000;
/// What a log takes beside its data, in bytes, more or less.
const LOG_BYTES: usize = 512;

/// What a filter asks for, its inputs hashed once.
#[derive(Debug)]
pub(crate) struct Matcher {
    filter: Filter,
    addresses: Vec<Bloom>,
    topics: Vec<Vec<Bloom>>,
}

impl Matcher {
    /// # Errors
    /// The filter has more than [`INPUTS_MAX`] addresses, or topics at one position.
    pub(crate) fn new(filter: Filter) -> Result<Self, Error> {
        let topics = filter.topics.iter().map(|any| any.len());
        if topics.chain([filter.address.len()]).any(|inputs| inputs > INPUTS_MAX) {
            return Err(Error::Limit(format!(
                "at most {INPUTS_MAX} addresses, and topics at each position, can be asked for"
            )));
        }
        let hashed = |input: &[u8]| Bloom::from(BloomInput::Raw(input));
        let addresses = filter.address.iter().map(|input| hashed(input.as_slice())).collect();
        let topics = filter
            .topics
            .iter()
            .map(|any| any.iter().map(|input| hashed(input.as_slice())).collect());
        Ok(Self { addresses, topics: topics.collect(), filter })
    }

    /// Whether logs with this bloom may match. It may be wrong towards yes.
    pub(crate) fn may_match(&self, bloom: &Bloom) -> bool {
        let any = |inputs: &[Bloom]| {
            inputs.is_empty() || inputs.iter().any(|input| bloom.contains(input))
        };
        any(&self.addresses) && self.topics.iter().all(|inputs| any(inputs))
    }

    /// Whether a log has the addresses and topics asked for.
    pub(crate) fn matches(&self, log: &alloy_primitives::Log) -> bool {
        self.filter.matches_address(log.address) && self.filter.matches_topics(log.topics())
    }
}

pub(crate) async fn get(params: &Params<'_>, cx: Arc<Context>) -> Result<Vec<Log>, Error> {
    let matcher = Matcher::new(params.sequence().next()?)?;
    // The semaphore is never closed.
    let permit = Arc::clone(&cx.log_queries).acquire_owned().await;
    let walk = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        search(&cx, &matcher)
    });
    walk.await.map_err(|error| Error::Damaged(error.to_string()))?
}

/// Logs found so far, and what bounds them.
struct Found<'a> {
    limits: &'a Limits,
    end: Instant,
    logs: Vec<Log>,
    bytes: usize,
}

impl Found<'_> {
    /// Adds the logs of a block. Those of a single block are never too many: there is no smaller range to
    /// ask for.
    fn add(&mut self, height: u64, logs: Vec<Log>) -> Result<(), Error> {
        let first = self.logs.is_empty();
        self.bytes += logs.iter().map(|log| LOG_BYTES + log.inner.data.data.len()).sum::<usize>();
        self.logs.extend(logs);
        let limit = self.limits.logs;
        if first || (self.logs.len() <= limit && self.bytes <= self.limits.log_bytes) {
            return Ok(());
        }
        let bytes = self.limits.log_bytes;
        Err(Error::Limit(format!(
            "more than {limit} logs, or {bytes} bytes of them, match: ask for fewer blocks (they are \
             reached at block {height})"
        )))
    }

    /// Whoever asked has long gone, or waits in vain.
    fn in_time(&self, height: u64) -> Result<(), Error> {
        if Instant::now() < self.end {
            return Ok(());
        }
        let limit = self.limits.log_time;
        Err(Error::Limit(format!(
            "the query takes more than {limit:?}: ask for fewer blocks (block {height} is reached)"
        )))
    }
}

fn search(cx: &Context, matcher: &Matcher) -> Result<Vec<Log>, Error> {
    let Some(range) = range(cx, &matcher.filter)? else { return Ok(Vec::new()) };
    let end = Instant::now() + cx.limits.log_time;
    let mut found = Found { limits: &cx.limits, end, logs: Vec::new(), bytes: 0 };
    let (mut from, to) = range.into_inner();
    while from <= to {
        found.in_time(from)?;
        let last = to.min(from.saturating_add(STEP - 1));
        let may_match = |bloom: &Bloom| matcher.may_match(bloom);
        for height in cx.ledger.heights_with_logs(from..=last, may_match, usize::MAX)? {
            found.in_time(height)?;
            collect(cx, matcher, height, &mut found)?;
        }
        from = last.saturating_add(1);
    }
    Ok(found.logs)
}

/// Adds the matching logs of one block.
fn collect(
    cx: &Context,
    matcher: &Matcher,
    height: u64,
    found: &mut Found<'_>,
) -> Result<(), Error> {
    let receipts = cx.ledger.receipts(height)?.unwrap_or_default();
    let mut logs = receipts.iter().flat_map(|receipt| receipt.envelope.logs());
    // The bloom may be wrong: the whole block is read only when there is something in it.
    if !logs.any(|log| matcher.matches(log)) {
        return Ok(());
    }
    let Some(block) = cx.ledger.block(height)? else { return Ok(()) };
    found.add(height, format::block_logs(&block, |log| matcher.matches(log)))
}

/// The existing heights a filter means.
fn range(cx: &Context, filter: &Filter) -> Result<Option<RangeInclusive<u64>>, Error> {
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let height = height::of_hash(&cx.ledger, hash)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, B256};

    fn matcher(addresses: &[Address], topics: [Vec<B256>; 2]) -> Matcher {
        let [first, second] = topics;
        let filter = Filter::new().address(addresses.to_vec());
        Matcher::new(filter.event_signature(first).topic1(second)).unwrap()
    }

    #[test]
    fn blooms_find_addresses_and_topics() {
        let (address, topic) = (Address::repeat_byte(1), B256::repeat_byte(1));
        let (no_address, no_topic) = (Address::repeat_byte(0x55), B256::repeat_byte(0x55));
        let mut bloom = Bloom::ZERO;
        bloom.accrue(BloomInput::Raw(address.as_slice()));
        bloom.accrue(BloomInput::Raw(topic.as_slice()));
        let none = || [Vec::new(), Vec::new()];
        assert!(matcher(&[], none()).may_match(&bloom));
        let either = [vec![no_topic, topic], Vec::new()];
        assert!(matcher(&[no_address, address], either).may_match(&bloom));
        assert!(matcher(&[], [Vec::new(), vec![topic]]).may_match(&bloom));
        assert!(!matcher(&[no_address], none()).may_match(&bloom));
        assert!(!matcher(&[address], [vec![no_topic], Vec::new()]).may_match(&bloom));
        assert!(!matcher(&[address], none()).may_match(&Bloom::ZERO));
    }
}
