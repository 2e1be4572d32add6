//! What came of a transaction.

use crate::rpc::RpcError;
use alloy_primitives::{Address, B256, Bytes, U64};
use alloy_rpc_types_eth::Log;
use alloy_sol_types::SolEvent;
use protocol::Height;
use serde::Deserialize;

/// A transaction that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction's hash.
    pub transaction: B256,
    /// The height of the block that holds it.
    pub height: Height,
    /// The gas it used.
    pub gas_used: u64,
    /// What it logged, in order.
    pub logs: Vec<Log>,
}

impl Receipt {
    /// The first event `E` that `contract` logged.
    pub fn event<E: SolEvent>(&self, contract: Address) -> Option<E> {
        self.events(contract).next()
    }

    /// All events `E` that `contract` logged, in order.
    pub fn events<E: SolEvent>(&self, contract: Address) -> impl Iterator<Item = E> {
        self.logs
            .iter()
            .filter(move |log| log.address() == contract)
            .filter_map(|log| E::decode_log(&log.inner).ok().map(|log| log.data))
    }
}

/// A receipt as the endpoint gives it. Besides Ethereum's fields, `revertReason` holds the data of a
/// revert if the endpoint kept it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wire {
    pub(crate) transaction_hash: B256,
    block_number: U64,
    gas_used: U64,
    status: U64,
    #[serde(default)]
    logs: Vec<Log>,
    #[serde(default)]
    pub(crate) revert_reason: Option<Bytes>,
}

impl Wire {
    pub(crate) fn succeeded(&self) -> bool {
        self.status == U64::from(1)
    }

    pub(crate) fn receipt(&self, asked: B256) -> Result<Receipt, RpcError> {
        if self.transaction_hash != asked {
            let method = "eth_getTransactionReceipt";
            return Err(crate::rpc::malformed(method, "the receipt is of another transaction"));
        }
        Ok(Receipt {
            transaction: self.transaction_hash,
            height: Height(self.block_number.to()),
            gas_used: self.gas_used.to(),
            logs: self.logs.clone(),
        })
    }
}
