//! Which transactions the ledger takes: decoding, the mempool's check, and why one is refused.
//!
//! Types: legacy (only with a chain id, EIP-155), 2930, 1559, 7702. Blob transactions (4844) are
//! not taken: evidence blobs are the ledger's own and need no fee market.

use crate::{
    env::{BASE_FEE_FLOOR, SPEC, TX_GAS_LIMIT},
    key::Account,
};
use alloy_consensus::{
    Transaction as _, TxEnvelope,
    transaction::{Recovered, SignerRecoverable as _},
};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_evm::tx::FromRecoveredTx as _;
use alloy_primitives::{Address, B256, U256};
use revm::{
    context::{TxEnv, result::InvalidTransaction},
    handler::validation::validate_initial_tx_gas,
    primitives::eip3860,
};

/// Longest encoded transaction, in bytes (128 KiB, as Ethereum's mempools).
pub const TX_BYTES_MAX: usize = 128 * 1024;

/// Why bytes are not a transaction.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`TX_BYTES_MAX`].
    #[error("transaction of {0} bytes is longer than the limit of {TX_BYTES_MAX}")]
    TooLong(usize),
    /// Not an encoded transaction (EIP-2718), or bytes follow it.
    #[error("not a transaction: {0}")]
    Encoding(#[from] alloy_eips::eip2718::Eip2718Error),
    /// The signature names no account (secp256k1 recovery, low s).
    #[error("invalid signature: {0}")]
    Signature(#[from] alloy_consensus::crypto::RecoveryError),
}

/// Why a transaction cannot be in a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTx {
    /// Encoded longer than [`TX_BYTES_MAX`].
    #[error("transaction of {0} bytes is longer than the limit of {TX_BYTES_MAX}")]
    TooLong(usize),
    /// A type the ledger does not take (blob transactions).
    #[error("transaction type not valid: type {0} is not supported")]
    Type(u8),
    /// Signed for another chain, or for any.
    #[error("transaction is for chain {}, this is chain {want}", .have.map_or("any".to_owned(), |id| id.to_string()))]
    ChainId {
        /// Chain the transaction names.
        have: Option<u64>,
        /// Chain of this ledger.
        want: u64,
    },
    /// The sender has already used this nonce.
    #[error("nonce too low: transaction has {tx}, account has {account}")]
    NonceTooLow {
        /// Nonce of the transaction.
        tx: u64,
        /// Nonce of the sender.
        account: u64,
    },
    /// Transactions before this one are missing.
    #[error("nonce too high: transaction has {tx}, account has {account}")]
    NonceTooHigh {
        /// Nonce of the transaction.
        tx: u64,
        /// Nonce of the sender.
        account: u64,
    },
    /// The sender cannot pay value and greatest fee.
    #[error("insufficient funds for gas * price + value: need {needed}, have {available}")]
    Funds {
        /// Gas limit times greatest price, plus value.
        needed: U256,
        /// The sender's balance.
        available: U256,
    },
    /// The gas limit does not pay for the transaction's bytes.
    #[error("intrinsic gas too low: limit is {limit}, needed are {needed}")]
    IntrinsicGas {
        /// Gas limit of the transaction.
        limit: u64,
        /// Gas its bytes cost.
        needed: u64,
    },
    /// More gas than one transaction may ask for (EIP-7825).
    #[error("intrinsic gas too high: gas limit {0} is above the cap of {TX_GAS_LIMIT}")]
    GasLimit(u64),
    /// The price is below the base fee, or the floor.
    #[error("max fee per gas less than block base fee: {max_fee} < {base_fee}")]
    BelowBaseFee {
        /// Greatest price the transaction offers.
        max_fee: u128,
        /// Least price the block asks for.
        base_fee: u64,
    },
    /// The tip is above the greatest price.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveMaxFee,
    /// The sender is a contract (EIP-3607).
    #[error("sender is a contract")]
    SenderHasCode,
    /// The block has too little gas left for it.
    #[error("gas limit of {limit} exceeds the {left} left in the block")]
    BlockGas {
        /// Gas limit of the transaction.
        limit: u64,
        /// Gas the block has left.
        left: u64,
    },
    /// The block has no more values left to read.
    #[error("the block reads too much state to hold it")]
    BlockLoads,
    /// The time for building the block is over.
    #[error("the block's time is over")]
    BlockTime,
    /// A system contract cannot go on: its storage holds what it never wrote, or it panicked.
    #[error("execution failed: {0}")]
    Fatal(String),
    /// Another rule of the machine.
    #[error("{0}")]
    Rule(String),
}

impl InvalidTx {
    /// Whether the same transaction may be valid in a later block. The mempool keeps such a one.
    pub fn may_become_valid(&self) -> bool {
        matches!(
            self,
            Self::NonceTooHigh { .. }
                | Self::BelowBaseFee { .. }
                | Self::BlockGas { .. }
                | Self::BlockLoads
                | Self::BlockTime
                | Self::Funds { .. }
        )
    }
}

impl From<InvalidTransaction> for InvalidTx {
    fn from(error: InvalidTransaction) -> Self {
        match error {
            InvalidTransaction::PriorityFeeGreaterThanMaxFee => Self::TipAboveMaxFee,
            InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
                Self::IntrinsicGas { limit: gas_limit, needed: initial_gas }
            }
            InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
                Self::IntrinsicGas { limit: gas_limit, needed: gas_floor }
            }
            InvalidTransaction::RejectCallerWithCode => Self::SenderHasCode,
            InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
                Self::Funds { needed: *fee, available: *balance }
            }
            InvalidTransaction::NonceTooHigh { tx, state } => {
                Self::NonceTooHigh { tx, account: state }
            }
            InvalidTransaction::NonceTooLow { tx, state } => {
                Self::NonceTooLow { tx, account: state }
            }
            InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, .. } => {
                Self::GasLimit(gas_limit)
            }
            other => Self::Rule(other.to_string()),
        }
    }
}

/// Reads a signed transaction and recovers its sender.
///
/// # Errors
/// When the bytes are too many, are not exactly one transaction, or name no sender.
pub fn decode(bytes: &[u8]) -> Result<Recovered<TxEnvelope>, DecodeError> {
    decode_known(bytes, |_| None)
}

/// As [`decode`], with the sender that `known` gives for the transaction's hash, if it gives one. The
/// hash covers the signature, so whoever recovered a sender once need not do it again: it costs more
/// than all else here.
///
/// # Errors
/// The bytes are no transaction.
pub fn decode_known(
    bytes: &[u8],
    known: impl FnOnce(&B256) -> Option<Address>,
) -> Result<Recovered<TxEnvelope>, DecodeError> {
    if bytes.len() > TX_BYTES_MAX {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let tx = TxEnvelope::decode_2718_exact(bytes)?;
    match known(tx.tx_hash()) {
        Some(sender) => Ok(Recovered::new_unchecked(tx, sender)),
        None => Ok(tx.try_into_recovered()?),
    }
}

/// The rules that need nothing but the transaction and the chain.
pub(crate) fn check_form(tx: &TxEnvelope, chain_id: u64) -> Result<(), InvalidTx> {
    let bytes = tx.encode_2718_len();
    if bytes > TX_BYTES_MAX {
        return Err(InvalidTx::TooLong(bytes));
    }
    if tx.is_eip4844() {
        return Err(InvalidTx::Type(u8::from(tx.tx_type())));
    }
    if tx.chain_id() != Some(chain_id) {
        return Err(InvalidTx::ChainId { have: tx.chain_id(), want: chain_id });
    }
    Ok(())
}

/// The most a transaction can take from its sender. It cannot overflow before the last addition, and
/// nobody has 2^256 - 1 coins.
fn cost(tx: &TxEnvelope) -> U256 {
    (U256::from(tx.max_fee_per_gas()) * U256::from(tx.gas_limit())).saturating_add(tx.value())
}

/// Whether the mempool should take a transaction whose sender's account is `account`.
///
/// A nonce ahead of the account's is fine here, and so is a price that only a later block accepts,
/// as long as it is not below [`BASE_FEE_FLOOR`].
///
/// # Errors
/// The first rule it breaks.
pub fn validate(
    tx: &Recovered<TxEnvelope>,
    account: &Account,
    chain_id: u64,
) -> Result<(), InvalidTx> {
    let envelope = tx.inner();
    check_form(envelope, chain_id)?;
    if tx.gas_limit() > TX_GAS_LIMIT {
        return Err(InvalidTx::GasLimit(tx.gas_limit()));
    }
    if tx.kind().is_create() && tx.input().len() > eip3860::MAX_INITCODE_SIZE {
        return Err(InvalidTransaction::CreateInitCodeSizeLimit.into());
    }
    if tx.authorization_list().is_some_and(<[_]>::is_empty) {
        return Err(InvalidTransaction::EmptyAuthorizationList.into());
    }
    let machine = TxEnv::from_recovered_tx(envelope, tx.signer());
    validate_initial_tx_gas(&machine, SPEC, false, false, TX_GAS_LIMIT, None)?;
    if tx.max_fee_per_gas() < u128::from(BASE_FEE_FLOOR) {
        return Err(InvalidTx::BelowBaseFee {
            max_fee: tx.max_fee_per_gas(),
            base_fee: BASE_FEE_FLOOR,
        });
    }
    if tx.max_priority_fee_per_gas().is_some_and(|tip| tip > tx.max_fee_per_gas()) {
        return Err(InvalidTx::TipAboveMaxFee);
    }
    if tx.nonce() < account.nonce {
        return Err(InvalidTx::NonceTooLow { tx: tx.nonce(), account: account.nonce });
    }
    if tx.nonce() == u64::MAX {
        return Err(InvalidTransaction::NonceOverflowInTransaction.into());
    }
    let needed = cost(envelope);
    if needed > account.balance {
        return Err(InvalidTx::Funds { needed, available: account.balance });
    }
    Ok(())
}
