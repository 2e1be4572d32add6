//! Reading contracts: calls that change nothing, now or at a past height.

use crate::{
    Client, Revert,
    rpc::{self, BATCH_MAX, Request, RpcError},
};
use alloy_primitives::{Address, Bytes, U64};
use alloy_sol_types::SolCall;
use protocol::Height;
use serde_json::{Value, json};

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The contract refused.
    #[error("{0}")]
    Reverted(Revert),
    /// The endpoint does not answer as it should.
    #[error(transparent)]
    Rpc(RpcError),
    /// The answer is not what the function returns, or not what it may return.
    #[error("unexpected answer: {0}")]
    Decode(String),
}

impl CallError {
    /// The revert, if one is the reason.
    pub const fn revert(&self) -> Option<&Revert> {
        match self {
            Self::Reverted(revert) => Some(revert),
            _ => None,
        }
    }
}

impl From<RpcError> for CallError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Refused { data: Some(data), .. } => Self::Reverted(Revert::decode(data)),
            RpcError::Refused { code: 3, .. } => Self::Reverted(Revert::decode(Bytes::new())),
            error => Self::Rpc(error),
        }
    }
}

impl Client {
    /// Calls a contract on the newest state.
    ///
    /// # Errors
    /// [`CallError`]; a revert names the contract's error.
    pub async fn call<C: SolCall>(&self, to: Address, call: C) -> Result<C::Return, CallError> {
        self.call_tagged(to, &call, json!("latest")).await
    }

    /// Calls a contract on the state after the block at `height`, as far back as the endpoint keeps it.
    ///
    /// # Errors
    /// As [`Client::call`], and when the state of `height` is not kept.
    pub async fn call_at<C: SolCall>(
        &self,
        to: Address,
        call: C,
        height: Height,
    ) -> Result<C::Return, CallError> {
        self.call_tagged(to, &call, json!(U64::from(height.0))).await
    }

    /// Calls one function many times on the state of one height, [`BATCH_MAX`] in a round trip.
    ///
    /// # Errors
    /// The first call that fails; later batches are not asked for then.
    pub async fn call_each<C: SolCall>(
        &self,
        to: Address,
        calls: &[C],
        height: Height,
    ) -> Result<Vec<C::Return>, CallError> {
        let mut results = Vec::new();
        for part in calls.chunks(BATCH_MAX) {
            let at = || json!(U64::from(height.0));
            let requests: Vec<_> =
                part.iter().map(|call| Request::new("eth_call", params(to, call, at()))).collect();
            for answer in self.rpc().batch(&requests).await? {
                results.push(decode::<C>(answer?)?);
            }
        }
        Ok(results)
    }

    async fn call_tagged<C: SolCall>(
        &self,
        to: Address,
        call: &C,
        block: Value,
    ) -> Result<C::Return, CallError> {
        let answer: Value = self.rpc().request("eth_call", &params(to, call, block)).await?;
        decode::<C>(answer)
    }
}

fn params<C: SolCall>(to: Address, call: &C, block: Value) -> Vec<Value> {
    vec![json!({ "to": to, "input": Bytes::from(call.abi_encode()) }), block]
}

fn decode<C: SolCall>(answer: Value) -> Result<C::Return, CallError> {
    let bytes: Bytes = rpc::parse("eth_call", answer)?;
    C::abi_decode_returns_validate(&bytes)
        .map_err(|error| CallError::Decode(format!("{}: {error}", C::SIGNATURE)))
}
