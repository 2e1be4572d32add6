//! What the ledger says of votes, disputes and claims: the events of its contract, block by block.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::Address;
use alloy_sol_types::{SolCall as _, SolEventInterface as _};
use consensus::Finalized;
use contracts::{
    abi::ISettlements::{ISettlementsEvents, revealCall},
    address::SETTLEMENTS,
};

/// How often it said what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ballots of others that copiers committed to.
    pub copied: u64,
    /// Reveals of others that copiers sent, and that were in a block while the epoch was not decided.
    pub repeated: u64,
    /// Dissents that replaced an outcome.
    pub upheld: u64,
    /// Dissents that did not.
    pub rejected: u64,
    /// Seats that were fined.
    pub fined: u64,
    /// Claims of the devices' owner that paid.
    pub paid: u64,
}

/// The contract's events in a block, in their order, with its height.
pub(super) fn events(block: &Finalized) -> impl Iterator<Item = (u64, ISettlementsEvents)> + '_ {
    let logs = block.receipts.iter().flat_map(|receipt| receipt.envelope.logs());
    let ours = logs.filter(|log| log.address == SETTLEMENTS);
    let decoded = ours.filter_map(|log| ISettlementsEvents::decode_log(log).ok());
    decoded.map(|log| (block.header.height, log.data))
}

/// What was revealed in a block, by whom and with its salts, whether or not that counted.
pub(super) fn reveals(block: &Finalized) -> impl Iterator<Item = (Address, revealCall)> + '_ {
    block.transactions.iter().filter_map(|raw| {
        let transaction = TxEnvelope::decode_2718(&mut raw.as_ref()).ok()?;
        let ours = transaction.to() == Some(SETTLEMENTS);
        let call = ours.then(|| revealCall::abi_decode(transaction.input()).ok()).flatten()?;
        Some((execution::decode(raw).ok()?.signer(), call))
    })
}
