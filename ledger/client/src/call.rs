//! Reading contracts: calls that change nothing, now or at a past height.
//!
//! A client that trusts its endpoint with nothing runs the calls itself over proven values
//! ([`crate::light::state`]). Only the newest state has proofs, so for it "at a height" means the newest
//! state, which is that of the height or of one at most [`PAST_MAX`] later; what is longer past it refuses.

use crate::{
    Client, Revert,
    light::LightError,
    rpc::{self, BATCH_MAX, Request, RpcError},
};
use alloy_primitives::{Address, Bytes, U64};
use alloy_sol_types::SolCall;
use protocol::Height;
use serde_json::{Value, json};

/// How much newer than the height asked for a proven state may be, in blocks: what a caller that has just
/// seen the height may be late.
pub const PAST_MAX: u64 = 256;
/// Calls whose values are proven together.
pub(crate) const PROVEN_CALLS: usize = 64;

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
        if self.trusted().is_some() {
            return self.call_proven(to, &call, None).await;
        }
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
        if self.trusted().is_some() {
            return self.call_proven(to, &call, Some(height)).await;
        }
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
        if self.trusted().is_some() {
            for part in calls.chunks(PROVEN_CALLS) {
                results.extend(self.calls_proven(to, part, Some(height)).await?);
            }
            return Ok(results);
        }
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

    async fn call_proven<C: SolCall>(
        &self,
        to: Address,
        call: &C,
        height: Option<Height>,
    ) -> Result<C::Return, CallError> {
        let inputs = [(to, Bytes::from(call.abi_encode()))];
        let mut outputs = self.run_proven(&inputs, height).await?;
        returned::<C>(&outputs.pop().unwrap_or(Ok(Bytes::new()))?)
    }

    async fn calls_proven<C: SolCall>(
        &self,
        to: Address,
        calls: &[C],
        height: Option<Height>,
    ) -> Result<Vec<C::Return>, CallError> {
        let inputs: Vec<_> =
            calls.iter().map(|call| (to, Bytes::from(call.abi_encode()))).collect();
        let outputs = self.run_proven(&inputs, height).await?;
        outputs.into_iter().map(|output| returned::<C>(&output?)).collect()
    }

    /// Runs views (contract, input) over proven values of one state, at least that of `height`; each returns
    /// or reverts on its own.
    pub(crate) async fn run_proven(
        &self,
        views: &[(Address, Bytes)],
        height: Option<Height>,
    ) -> Result<Vec<Result<Bytes, CallError>>, CallError> {
        let untrue = |why| CallError::Rpc(self.untrue(why));
        let since = height.unwrap_or_default();
        let state = self.proven_state(views, &[], since).await.map_err(untrue)?;
        let newest = state.header().height;
        if let Some(asked) = height.filter(|asked| newest.0 - asked.0.min(newest.0) > PAST_MAX) {
            return Err(untrue(LightError::Past { asked, newest }));
        }
        let outputs = views.iter().map(|(to, input)| {
            let output = state.view(*to, input).map_err(untrue)?;
            Ok(output.map_err(|data| CallError::Reverted(Revert::decode(data))))
        });
        outputs.collect()
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
    returned::<C>(&bytes)
}

pub(crate) fn returned<C: SolCall>(bytes: &Bytes) -> Result<C::Return, CallError> {
    C::abi_decode_returns_validate(bytes)
        .map_err(|error| CallError::Decode(format!("{}: {error}", C::SIGNATURE)))
}
