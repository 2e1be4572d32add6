//! What a caller is told when a request fails.
//!
//! Codes: 3 a revert, with its data (as geth; viem and ethers decode custom errors from it) and, of a
//! system contract, with its name in the text;
//! 4444 state that is no longer kept; -32602 wrong parameters; -32001 no such block; -32005 a limit;
//! -32000 a call or transaction that cannot be; -32603 a fault of the node. The texts of -32000 hold
//! the phrases by which those tools know the cause; our own client goes by [`Kind`], in the error's data.

use alloy_primitives::Bytes;
use consensus::{HistoryError, PoolRefused, QueryError, Rejected};
use contracts::abi::errors::named;
use execution::{CallError, InvalidTx};
use jsonrpsee::types::{ErrorObjectOwned, error::INTERNAL_ERROR_CODE, error::INVALID_PARAMS_CODE};
use serde::Serialize;

/// Why a transaction was not taken, or nothing could be asked, as far as a sender must know: `kind` in the
/// data of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The same transaction waits already.
    Known,
    /// Its number is used up, or taken by another that waits.
    Stale,
    /// Not now: the pool is full, or a number before is missing.
    Later,
    /// The account cannot pay.
    Funds,
    /// The node is going down.
    Stopped,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Known, Self::Stale, Self::Later, Self::Funds, Self::Stopped];

    const fn of_pool(refused: &PoolRefused) -> Self {
        match refused {
            PoolRefused::Known => Self::Known,
            PoolRefused::NonceTooLow { .. } | PoolRefused::Underpriced => Self::Stale,
            PoolRefused::NonceTooHigh { .. } | PoolRefused::Full => Self::Later,
            PoolRefused::Funds { .. } => Self::Funds,
        }
    }

    const fn of_transaction(invalid: &InvalidTx) -> Option<Self> {
        match invalid {
            InvalidTx::NonceTooLow { .. } => Some(Self::Stale),
            InvalidTx::NonceTooHigh { .. } => Some(Self::Later),
            InvalidTx::Funds { .. } => Some(Self::Funds),
            _ => None,
        }
    }
}

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

fn told(code: i32, message: impl Into<String>, kind: Option<Kind>) -> ErrorObjectOwned {
    #[derive(Serialize)]
    struct Data {
        kind: Kind,
    }
    ErrorObjectOwned::owned(code, message.into(), kind.map(|kind| Data { kind }))
}

fn stopped(error: &dyn std::fmt::Display) -> ErrorObjectOwned {
    told(INTERNAL_ERROR_CODE, error.to_string(), Some(Kind::Stopped))
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
        CallError::Invalid(ref invalid) => {
            told(REFUSED, error.to_string(), Kind::of_transaction(invalid))
        }
        CallError::Halted(_) | CallError::Allowance(_) | CallError::Loads | CallError::Late => {
            object(REFUSED, error.to_string())
        }
        CallError::Store(_) | CallError::Thread(_) | CallError::Internal(_) => internal(&error),
    }
}

fn history_failed(error: &HistoryError) -> ErrorObjectOwned {
    match error {
        HistoryError::Pruned { .. } | HistoryError::Before { .. } => {
            object(PRUNED, error.to_string())
        }
        HistoryError::Closed => stopped(error),
        _ => internal(error),
    }
}

fn query_failed(error: QueryError) -> ErrorObjectOwned {
    match error {
        QueryError::Unknown { .. } => object(NOT_FOUND, error.to_string()),
        QueryError::Call(error) => call_failed(error),
        QueryError::History(error) => history_failed(&error),
        QueryError::Stopped => stopped(&error),
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
            Error::Rejected(rejected) => {
                let kind = match &rejected {
                    Rejected::Pool(refused) => Some(Kind::of_pool(refused)),
                    Rejected::Invalid(invalid) => Kind::of_transaction(invalid),
                    Rejected::Decode(_) | Rejected::State(_) => None,
                };
                told(REFUSED, rejected.to_string(), kind)
            }
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
    fn our_own_client_is_told_the_kind() {
        let kind = |error: Error| {
            let object = ErrorObjectOwned::from(error);
            object.data().map(|data| data.get().to_owned()).unwrap_or_default()
        };
        let pool = |refused: PoolRefused| kind(Error::Rejected(refused.into()));
        assert_eq!(pool(PoolRefused::Full), r#"{"kind":"later"}"#);
        assert_eq!(pool(PoolRefused::Known), r#"{"kind":"known"}"#);
        assert_eq!(pool(PoolRefused::Underpriced), r#"{"kind":"stale"}"#);
        assert_eq!(kind(Error::Query(QueryError::Stopped)), r#"{"kind":"stopped"}"#);
        assert_eq!(kind(Error::History(HistoryError::Closed)), r#"{"kind":"stopped"}"#);
        let (needed, available) = Default::default();
        let funds = CallError::Invalid(InvalidTx::Funds { needed, available });
        assert_eq!(kind(Error::Query(funds.into())), r#"{"kind":"funds"}"#);
        assert_eq!(kind(Error::Rejected(InvalidTx::Type(3).into())), "");
    }

    #[test]
    fn the_nodes_own_faults_stay_its_own() {
        let object = ErrorObjectOwned::from(Error::Damaged("at /home/me".to_owned()));
        assert_eq!((object.code(), object.message()), (-32603, "internal error"));
    }
}
