//! What a caller is told when a request fails.
//!
//! Codes: 3 a revert, with its data (as geth; viem and ethers decode custom errors from it) and, of a
//! system contract, with its name in the text;
//! 4444 state that is no longer kept; -32602 wrong parameters; -32001 no such block; -32005 a limit;
//! -32000 a call or transaction that cannot be; -32603 a fault of the node. The texts of -32000 hold
//! the phrases by which those tools know the cause.

use alloy_primitives::Bytes;
use consensus::{HistoryError, QueryError, Rejected};
use contracts::abi::errors::named;
use execution::CallError;
use jsonrpsee::types::{ErrorObjectOwned, error::INTERNAL_ERROR_CODE, error::INVALID_PARAMS_CODE};

const REVERTED: i32 = 3;
const PRUNED: i32 = 4444;
const REFUSED: i32 = -32000;
const NOT_FOUND: i32 = -32001;
const LIMIT: i32 = -32005;

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The parameters do not parse.
    #[error("{0}")]
    Params(#[from] ErrorObjectOwned),
    /// The parameters parse but make no sense.
    #[error("{0}")]
    Invalid(String),
    /// There is no such block.
    #[error("block not found")]
    NoBlock,
    /// More than is allowed at once.
    #[error("{0}")]
    Limit(String),
    /// The call reverted.
    #[error("execution reverted")]
    Reverted(Bytes),
    /// The call failed.
    #[error("execution failed: {0}")]
    Halted(String),
    /// The transaction was not taken.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The state could not be asked.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The history could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// What the ledger recorded does not decode.
    #[error("recorded data is damaged: {0}")]
    Damaged(String),
}

fn object(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message.into(), None::<()>)
}

/// A fault of the node: its cause is for its owner.
fn internal(error: &dyn std::fmt::Display) -> ErrorObjectOwned {
    tracing::error!(%error, "a request failed");
    object(INTERNAL_ERROR_CODE, "internal error")
}

fn reverted(data: Bytes) -> ErrorObjectOwned {
    // Tools without a contract's interface, as cast is, show the message alone.
    let message = match named(&data) {
        Some(error) => format!("execution reverted: {}", error.detail),
        None => "execution reverted".to_owned(),
    };
    ErrorObjectOwned::owned(REVERTED, message, Some(data))
}

fn call_failed(error: CallError) -> ErrorObjectOwned {
    match error {
        CallError::Reverted(data) => reverted(data),
        CallError::Invalid(_)
        | CallError::Halted(_)
        | CallError::Allowance(_)
        | CallError::Loads => object(REFUSED, error.to_string()),
        CallError::Store(_) | CallError::Thread(_) | CallError::Internal(_) => internal(&error),
    }
}

fn history_failed(error: &HistoryError) -> ErrorObjectOwned {
    match error {
        HistoryError::Pruned { .. } => object(PRUNED, error.to_string()),
        _ => internal(error),
    }
}

fn query_failed(error: QueryError) -> ErrorObjectOwned {
    match error {
        QueryError::Unknown { .. } => object(NOT_FOUND, error.to_string()),
        QueryError::Call(error) => call_failed(error),
        QueryError::History(error) => history_failed(&error),
        QueryError::Stopped => object(INTERNAL_ERROR_CODE, error.to_string()),
        QueryError::State(_) => internal(&error),
    }
}

impl From<Error> for ErrorObjectOwned {
    fn from(error: Error) -> Self {
        match error {
            Error::Params(object) => object,
            Error::Invalid(message) => object(INVALID_PARAMS_CODE, message),
            Error::NoBlock => object(NOT_FOUND, error.to_string()),
            Error::Limit(message) => object(LIMIT, message),
            Error::Reverted(data) => reverted(data),
            Error::Halted(_) => object(REFUSED, error.to_string()),
            Error::Rejected(Rejected::State(error)) | Error::Query(error) => query_failed(error),
            Error::Rejected(rejected) => object(REFUSED, rejected.to_string()),
            Error::History(error) => history_failed(&error),
            Error::Damaged(_) => internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{Address, U256};
    use alloy_sol_types::{Panic, PanicKind, Revert, SolError as _};
    use contracts::abi::IToken::ERC20InsufficientBalance;
    use execution::InvalidTx;

    #[test]
    fn a_revert_has_code_3_its_data_and_its_reason() {
        let data = Bytes::from(Revert::from("no more").abi_encode());
        let object = ErrorObjectOwned::from(Error::Reverted(data.clone()));
        assert_eq!((object.code(), object.message()), (3, "execution reverted: no more"));
        assert_eq!(object.data().unwrap().get(), format!("\"{data}\""));
        let data = Bytes::from(Panic::from(PanicKind::UnderOverflow).abi_encode());
        let object = ErrorObjectOwned::from(Error::Reverted(data));
        assert!(object.message().starts_with("execution reverted: panic"), "{}", object.message());
        let object = ErrorObjectOwned::from(Error::Reverted(Bytes::from_static(&[1, 2, 3, 4])));
        assert_eq!(object.message(), "execution reverted");
        let (sender, balance, needed) = (Address::ZERO, U256::from(1), U256::from(2));
        let poor = ERC20InsufficientBalance { sender, balance, needed };
        let object = ErrorObjectOwned::from(Error::Reverted(poor.abi_encode().into()));
        let text = object.message();
        assert!(text.starts_with("execution reverted: ERC20InsufficientBalance"), "{text}");
    }

    /// viem decides by these phrases (`errors/node.ts`).
    #[test]
    fn the_phrases_that_tools_look_for_are_there() {
        let text = |reason: InvalidTx| {
            ErrorObjectOwned::from(Error::Rejected(reason.into())).message().to_lowercase()
        };
        let (tx, account) = (1, 2);
        assert!(text(InvalidTx::NonceTooLow { tx, account }).contains("nonce too low"));
        assert!(text(InvalidTx::NonceTooHigh { tx, account }).contains("nonce too high"));
        let (needed, available) = Default::default();
        assert!(text(InvalidTx::Funds { needed, available }).contains("insufficient funds"));
        let fee = InvalidTx::BelowBaseFee { max_fee: 1, base_fee: 2 };
        assert!(text(fee).contains("max fee per gas less than block base fee"));
        let tip = text(InvalidTx::TipAboveMaxFee);
        assert!(tip.contains("max priority fee per gas higher than max fee per gas"));
        let gas = InvalidTx::IntrinsicGas { limit: 1, needed: 2 };
        assert!(text(gas).contains("intrinsic gas too low"));
        assert!(text(InvalidTx::GasLimit(1)).contains("intrinsic gas too high"));
        assert!(text(InvalidTx::Type(3)).contains("transaction type not valid"));
    }

    #[test]
    fn the_nodes_own_faults_stay_its_own() {
        let object = ErrorObjectOwned::from(Error::Damaged("at /home/me".to_owned()));
        assert_eq!((object.code(), object.message()), (-32603, "internal error"));
    }
}
