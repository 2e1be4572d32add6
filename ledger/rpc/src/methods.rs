//! The list of methods: every name stands here once.
//!
//! A method that reads the history file may wait for the disk and is registered with [`reading`].

use crate::{
    blocks, calls, error::Error, fees, logs, proven, server::Context, state, subscriptions,
    transactions, wayleave,
};
use jsonrpsee::{RpcModule, server::RegisterMethodError, types::Params};
use serde::Serialize;
use std::sync::Arc;

/// Registers all methods.
pub(crate) fn all(context: Context) -> Result<RpcModule<Context>, RegisterMethodError> {
    let mut module = RpcModule::new(context);
    node(&mut module)?;
    history(&mut module)?;
    present(&mut module)?;
    own(&mut module)?;
    subscriptions::register(&mut module)?;
    Ok(module)
}

/// Registers a method that may wait for the disk ([`Context::aside`]).
fn reading<T, F>(
    m: &mut RpcModule<Context>,
    name: &'static str,
    method: F,
) -> Result<(), RegisterMethodError>
where
    T: Serialize + Clone + Send + 'static,
    F: Fn(&Params<'_>, &Context) -> Result<T, Error> + Clone + Send + Sync + 'static,
{
    m.register_async_method(name, move |p, cx, _| {
        let method = method.clone();
        async move {
            let shared = Arc::clone(&cx);
            cx.aside(move || method(&p, &shared)).await?
        }
    })?;
    Ok(())
}

/// What the node says of itself.
fn node(m: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    m.register_method("web3_clientVersion", |_, _, _| state::client_version())?;
    m.register_method("web3_sha3", |p, _, _| state::keccak(&p))?;
    m.register_method("net_version", |_, cx, _| cx.ledger.chain_id().to_string())?;
    m.register_method("net_listening", |_, _, _| true)?;
    m.register_method("eth_chainId", |_, cx, _| Ok::<_, Error>(state::chain_id(cx)))?;
    m.register_method("eth_accounts", |_, _, _| state::accounts())?;
    m.register_method("eth_syncing", |_, _, _| false)?;
    m.register_method("eth_blockNumber", |_, cx, _| Ok::<_, Error>(state::block_number(cx)))?;
    Ok(())
}

/// Blocks, transactions, receipts and logs.
fn history(m: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    reading(m, "eth_getBlockByNumber", blocks::by_number)?;
    reading(m, "eth_getBlockByHash", blocks::by_hash)?;
    reading(m, "eth_getBlockReceipts", blocks::receipts)?;
    reading(m, "eth_getBlockTransactionCountByNumber", blocks::count_by_number)?;
    reading(m, "eth_getBlockTransactionCountByHash", blocks::count_by_hash)?;
    reading(m, "eth_getTransactionByHash", transactions::by_hash)?;
    reading(m, "eth_getTransactionByBlockNumberAndIndex", transactions::by_number_and_index)?;
    reading(m, "eth_getTransactionByBlockHashAndIndex", transactions::by_hash_and_index)?;
    reading(m, "eth_getRawTransactionByHash", transactions::raw_by_hash)?;
    reading(m, "eth_getTransactionReceipt", transactions::receipt)?;
    m.register_async_method("eth_getLogs", |p, cx, _| async move { logs::get(&p, cx).await })?;
    m.register_async_method(
        "eth_feeHistory",
        |p, cx, _| async move { fees::history(&p, cx).await },
    )?;
    m.register_async_method("eth_gasPrice", |_, cx, _| fees::in_turn(cx, fees::gas_price))?;
    m.register_async_method("eth_maxPriorityFeePerGas", |_, cx, _| fees::in_turn(cx, fees::tip))?;
    Ok(())
}

/// State, calls and sending.
fn present(m: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    m.register_async_method(
        "eth_getBalance",
        |p, cx, _| async move { state::balance(&p, &cx).await },
    )?;
    m.register_async_method("eth_getTransactionCount", |p, cx, _| async move {
        state::nonce(&p, &cx).await
    })?;
    m.register_async_method("eth_getCode", |p, cx, _| async move { state::code(&p, &cx).await })?;
    m.register_async_method(
        "eth_getStorageAt",
        |p, cx, _| async move { state::slot(&p, &cx).await },
    )?;
    m.register_async_method("eth_call", |p, cx, _| async move { calls::call(&p, &cx).await })?;
    m.register_async_method("eth_estimateGas", |p, cx, _| async move {
        calls::estimate(&p, &cx).await
    })?;
    m.register_async_method("eth_sendRawTransaction", |p, cx, _| async move {
        transactions::send(&p, &cx).await
    })?;
    Ok(())
}

/// The ledger's own.
fn own(m: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    reading(m, "wayleave_ledger", |_, cx| wayleave::ledger(cx))?;
    reading(m, "wayleave_header", wayleave::header)?;
    reading(m, "wayleave_committee", wayleave::committee)?;
    m.register_async_method("wayleave_finalization", |p, cx, _| async move {
        wayleave::finalization(&p, &cx).await
    })?;
    m.register_async_method(
        "wayleave_proof",
        |p, cx, _| async move { wayleave::proof(&p, &cx).await },
    )?;
    m.register_async_method("wayleave_certified", |p, cx, _| async move {
        proven::certified(&p, &cx).await
    })?;
    m.register_async_method(
        "wayleave_proven",
        |p, cx, _| async move { proven::proven(&p, &cx).await },
    )?;
    m.register_async_method("wayleave_receipt", |p, cx, _| async move {
        proven::receipt(&p, &cx).await
    })?;
    Ok(())
}
