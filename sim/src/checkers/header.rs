//! The rules of headers, written anew from the design and not from the code that keeps them.

use super::Broken;
use consensus::{Genesis, Header};
use execution::{BLOCK_GAS_LIMIT, next_base_fee};

/// How far a block's time may be after its parent's, in milliseconds: 30 days.
const STEP_MS: u64 = 30 * 86_400_000;

/// Checks a header against its parent.
///
/// # Errors
/// The rule that is broken.
pub fn check(genesis: &Genesis, parent: &Header, header: &Header) -> Result<(), Broken> {
    let step = header.timestamp_ms.saturating_sub(parent.timestamp_ms);
    let fee = next_base_fee(parent.base_fee, parent.gas_used, parent.gas_limit);
    let rules = [
        (header.chain_id == genesis.chain_id, "chain id"),
        (header.height == parent.height + 1, "height"),
        (header.parent == parent.digest(), "parent"),
        (header.term == header.height / genesis.term_length, "term"),
        (header.epoch == header.height / genesis.epoch_length, "epoch"),
        ((1..=STEP_MS).contains(&step), "time"),
        (header.mix != parent.mix, "mix"),
        (header.base_fee == fee, "base fee"),
        (header.gas_limit == BLOCK_GAS_LIMIT, "gas limit"),
        (header.gas_used <= header.gas_limit, "gas used"),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, rule)) => {
            Err(Broken(format!("block {} breaks the rule of {rule}", header.height)))
        }
    }
}
