//! `eth_call` and `eth_estimateGas`.

use crate::{error::Error, height, server::Context};
use alloy_eips::BlockId;
use alloy_primitives::{Bytes, TxKind, U64};
use alloy_rpc_types_eth::TransactionRequest;
use execution::{Call, CallOutcome};
use jsonrpsee::types::{Params, params::ParamsSequence};
use serde_json::Value;

/// The call and the block that the parameters name.
fn parse(cx: &Context, mut params: ParamsSequence<'_>) -> Result<(Call, Option<BlockId>), Error> {
    let request: TransactionRequest = params.next()?;
    let block: Option<BlockId> = params.optional_next()?;
    // State and block overrides of other nodes: silently to answer without them would be wrong.
    for overrides in
        [params.optional_next()?, params.optional_next::<Value>()?].into_iter().flatten()
    {
        if overrides.as_object().is_none_or(|object| !object.is_empty()) {
            return Err(Error::Invalid("state and block overrides are not supported".to_owned()));
        }
    }
    Ok((convert(request, cx.ledger.chain_id())?, block))
}

fn convert(request: TransactionRequest, chain_id: u64) -> Result<Call, Error> {
    if request.chain_id.is_some_and(|id| id != chain_id) {
        return Err(Error::Invalid(format!("the chain id of this ledger is {chain_id}")));
    }
    if request.blob_versioned_hashes.is_some() || request.sidecar.is_some() {
        return Err(Error::Invalid("blob transactions are not supported".to_owned()));
    }
    if request.gas_price.is_some() && request.max_fee_per_gas.is_some() {
        let text = "both gasPrice and maxFeePerGas are given";
        return Err(Error::Invalid(text.to_owned()));
    }
    let data = request.input.try_into_unique_input();
    let data =
        data.map_err(|_| Error::Invalid("input and data are given and differ".to_owned()))?;
    let gas_price = request.gas_price.or(request.max_fee_per_gas);
    Ok(Call {
        from: request.from.unwrap_or_default(),
        to: request.to.and_then(|to: TxKind| to.to().copied()),
        value: request.value.unwrap_or_default(),
        data: data.unwrap_or_default(),
        gas: request.gas,
        gas_price,
        // A tip without a price would be above it.
        tip: request.max_priority_fee_per_gas.filter(|_| gas_price.is_some()),
        access_list: request.access_list.unwrap_or_default(),
        authorizations: request.authorization_list.unwrap_or_default(),
    })
}

pub(crate) async fn call(params: &Params<'_>, cx: &Context) -> Result<Bytes, Error> {
    let (call, block) = parse(cx, params.sequence())?;
    let height = height::find(cx, block).await?;
    match cx.ledger.call(call, height).await?.outcome {
        CallOutcome::Returned(data) => Ok(data),
        CallOutcome::Reverted(data) => Err(Error::Reverted(data)),
        CallOutcome::Halted(reason) => Err(Error::Halted(reason)),
    }
}

pub(crate) async fn estimate(params: &Params<'_>, cx: &Context) -> Result<U64, Error> {
    let (call, block) = parse(cx, params.sequence())?;
    let height = height::find(cx, block).await?;
    Ok(U64::from(cx.ledger.estimate(call, height).await?))
}
