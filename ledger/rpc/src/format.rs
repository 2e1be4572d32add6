//! Blocks, transactions, receipts and logs in the form that Ethereum's tools read.

use crate::error::Error;
use alloy_consensus::{Header, Sealed, Transaction as _};
use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_rpc_types_eth::{
    Block, BlockTransactions, Header as RpcHeader, Log, Transaction, TransactionReceipt,
};
use consensus::Finalized;
use execution::{Receipt, ReceiptEnvelope, Recovered, TxEnvelope};

/// Where a transaction stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) block_hash: B256,
    pub(crate) height: u64,
    /// Seconds since 1970.
    pub(crate) timestamp: u64,
    /// Index in the block.
    pub(crate) index: u64,
}

impl Place {
    fn within(block: &Finalized, index: usize) -> Self {
        Self {
            block_hash: block.hash,
            height: block.height(),
            timestamp: block.header.timestamp(),
            index: count(index),
        }
    }
}

/// A length as a number.
pub(crate) fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Decodes a recorded transaction.
pub(crate) fn decode(bytes: &[u8]) -> Result<Recovered<TxEnvelope>, Error> {
    execution::decode(bytes).map_err(|error| Error::Damaged(error.to_string()))
}

/// A block's header. Its hash is the ledger's, which the fields shown do not hash to.
pub(crate) fn header(block: &Finalized) -> RpcHeader {
    let h = &block.header;
    let shown = Header {
        parent_hash: h.parent,
        beneficiary: h.beneficiary,
        state_root: h.state.root,
        transactions_root: h.transactions_root,
        receipts_root: h.receipts_root,
        logs_bloom: h.logs_bloom,
        number: h.height,
        gas_limit: h.gas_limit,
        gas_used: h.gas_used,
        timestamp: h.timestamp(),
        extra_data: Bytes::copy_from_slice(h.proposer.as_ref()),
        mix_hash: h.mix,
        base_fee_per_gas: Some(h.base_fee),
        ..Header::default()
    };
    let body = block.transactions.iter().chain(block.blobs.iter().flatten());
    let size = h.to_bytes().len() + body.map(|item| item.len()).sum::<usize>();
    let sealed = Sealed::new_unchecked(shown, block.hash);
    RpcHeader::from_consensus(sealed, Some(U256::ZERO), Some(U256::from(size)))
}

/// A block with its transactions whole, or as hashes.
pub(crate) fn block(block: &Finalized, whole: bool) -> Result<Block, Error> {
    let transactions = if whole {
        BlockTransactions::Full(transactions(block)?)
    } else {
        BlockTransactions::Hashes(block.transaction_hashes().collect())
    };
    Ok(Block { header: header(block), uncles: Vec::new(), transactions, withdrawals: None })
}

/// All transactions of a block.
fn transactions(block: &Finalized) -> Result<Vec<Transaction>, Error> {
    let items = block.transactions.iter().zip(&block.receipts).enumerate();
    items
        .map(|(index, (bytes, receipt))| {
            Ok(transaction(decode(bytes)?, Place::within(block, index), receipt.gas_price))
        })
        .collect()
}

/// A transaction in a block.
pub(crate) fn transaction(tx: Recovered<TxEnvelope>, place: Place, gas_price: u128) -> Transaction {
    Transaction {
        inner: tx,
        block_hash: Some(place.block_hash),
        block_number: Some(place.height),
        transaction_index: Some(place.index),
        effective_gas_price: Some(gas_price),
        block_timestamp: Some(place.timestamp),
    }
}

/// A transaction that waits for a block.
pub(crate) fn waiting(tx: Recovered<TxEnvelope>) -> Transaction {
    Transaction {
        inner: tx,
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    }
}

/// Logs of the receipts before `index`.
pub(crate) fn logs_before(receipts: &[Receipt], index: usize) -> u64 {
    let logs = receipts.iter().take(index).map(|receipt| receipt.envelope.logs().len());
    count(logs.sum())
}

/// The logs of one transaction with their places, the first of them at `first` in its block.
pub(crate) fn logs(
    envelope: ReceiptEnvelope,
    (place, hash): (Place, B256),
    first: u64,
) -> ReceiptEnvelope<Log> {
    let mut indexes = first..;
    envelope.map_logs(|inner| Log {
        inner,
        block_hash: Some(place.block_hash),
        block_number: Some(place.height),
        block_timestamp: Some(place.timestamp),
        transaction_hash: Some(hash),
        transaction_index: Some(place.index),
        log_index: indexes.next(),
        removed: false,
    })
}

/// A receipt; `first` is the index of its first log in the block.
pub(crate) fn receipt(
    tx: &Recovered<TxEnvelope>,
    receipt: &Receipt,
    place: Place,
    first: u64,
) -> TransactionReceipt {
    let hash = *tx.inner().tx_hash();
    TransactionReceipt {
        inner: logs(receipt.envelope.clone(), (place, hash), first),
        transaction_hash: hash,
        transaction_index: Some(place.index),
        block_hash: Some(place.block_hash),
        block_number: Some(place.height),
        gas_used: receipt.gas_used,
        effective_gas_price: receipt.gas_price,
        blob_gas_used: None,
        blob_gas_price: None,
        from: tx.signer(),
        to: tx.to(),
        contract_address: receipt.created,
    }
}

/// All receipts of a block.
pub(crate) fn receipts(block: &Finalized) -> Result<Vec<TransactionReceipt>, Error> {
    let items = block.transactions.iter().zip(&block.receipts).enumerate();
    items
        .map(|(index, (bytes, one))| {
            let first = logs_before(&block.receipts, index);
            Ok(receipt(&decode(bytes)?, one, Place::within(block, index), first))
        })
        .collect()
}

/// The logs of a block that are `wanted`, in order. What has none of them is neither hashed nor copied.
pub(crate) fn block_logs(
    block: &Finalized,
    wanted: impl Fn(&alloy_primitives::Log) -> bool,
) -> Vec<Log> {
    let mut found: Vec<Log> = Vec::new();
    let mut first = 0;
    for (index, (bytes, receipt)) in block.transactions.iter().zip(&block.receipts).enumerate() {
        let held = receipt.envelope.logs();
        if held.iter().any(&wanted) {
            let place = (Place::within(block, index), keccak256(bytes));
            let shown = logs(receipt.envelope.clone(), place, first);
            found.extend(shown.logs().iter().filter(|log| wanted(&log.inner)).cloned());
        }
        first += count(held.len());
    }
    found
}
