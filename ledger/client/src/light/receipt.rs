//! Proven receipts: a transaction, what it came to and what it logged, by the roots of a certified header.
//!
//! Header v1 commits to Ethereum's ordered tries of transactions and receipts. The transaction at an index is
//! the one asked for by its hash; the receipt at the same index is its receipt; the one before tells the gas
//! that was used before it.

use super::{Certified, LightError};
use crate::Receipt;
use alloy_consensus::ReceiptEnvelope;
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rpc_types_eth::Log;
use alloy_trie::{Nibbles, proof::verify_proof};
use serde::Deserialize;

/// Nodes on the way to an item: an index of a block's items has few nibbles.
const NODES_MAX: usize = 16;
/// Every transaction and receipt is longer; shorter items stand inside their parents, which is not read here.
const ITEM_MIN: usize = 33;

/// An item of an ordered trie, and the nodes from the root to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Item {
    /// EIP-2718 bytes.
    pub bytes: Bytes,
    /// The nodes.
    pub proof: Vec<Bytes>,
}

impl Item {
    /// Checks that the item is the one at `index` under `root`.
    ///
    /// # Errors
    /// [`LightError::Receipt`] when it is not.
    pub fn verify(&self, root: B256, index: u64) -> Result<(), LightError> {
        if self.proof.len() > NODES_MAX || self.bytes.len() < ITEM_MIN {
            return Err(LightError::Receipt("its form is impossible"));
        }
        let path = Nibbles::unpack(alloy_rlp::encode_fixed_size(&index));
        verify_proof(root, path, Some(self.bytes.to_vec()), &self.proof)
            .map_err(|_| LightError::Receipt("it does not lead to the root"))
    }
}

/// What an endpoint gives to prove a receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The transaction.
    pub transaction: Item,
    /// Its receipt.
    pub receipt: Item,
    /// The receipt before it; for the first of a block there is none.
    pub before: Option<Item>,
}

/// A transaction that is proven to be in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenReceipt {
    /// The header of its block.
    pub header: Certified,
    /// Whether it was applied; a reverted one logs nothing.
    pub succeeded: bool,
    /// What came of it. The places of the logs within the block are not told.
    pub receipt: Receipt,
}

impl Evidence {
    /// Checks the receipt of transaction `hash`, which is the one at `index` in the block of `header`.
    ///
    /// # Errors
    /// [`LightError::Receipt`] says what does not hold.
    pub fn verify(
        &self,
        header: &Certified,
        hash: B256,
        index: u64,
    ) -> Result<ProvenReceipt, LightError> {
        if keccak256(&self.transaction.bytes) != hash {
            return Err(LightError::Receipt("it is of another transaction"));
        }
        self.transaction.verify(header.transactions_root, index)?;
        self.receipt.verify(header.receipts_root, index)?;
        let envelope = read(&self.receipt)?;
        let used_before = match (index.checked_sub(1), &self.before) {
            (None, _) => 0,
            (Some(before), Some(item)) => {
                item.verify(header.receipts_root, before)?;
                read(item)?.cumulative_gas_used()
            }
            (Some(_), None) => return Err(LightError::Receipt("the one before is withheld")),
        };
        let gas_used = envelope.cumulative_gas_used().checked_sub(used_before);
        let gas_used = gas_used.ok_or(LightError::Receipt("it uses less gas than nothing"))?;
        let logs = envelope.logs().iter().map(|log| Log {
            inner: log.clone(),
            block_hash: Some(header.hash),
            block_number: Some(header.height.0),
            block_timestamp: Some(header.time_ms / 1000),
            transaction_hash: Some(hash),
            transaction_index: Some(index),
            log_index: None,
            removed: false,
        });
        let receipt =
            Receipt { transaction: hash, height: header.height, gas_used, logs: logs.collect() };
        Ok(ProvenReceipt { header: header.clone(), succeeded: envelope.status(), receipt })
    }
}

fn read(item: &Item) -> Result<ReceiptEnvelope, LightError> {
    ReceiptEnvelope::decode_2718_exact(&item.bytes)
        .map_err(|_| LightError::Receipt("its bytes are none"))
}
