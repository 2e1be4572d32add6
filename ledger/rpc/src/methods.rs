//! The list of methods: every name stands here once.
//!
//! A method that reads the history file may wait for the disk and is registered as blocking.

use crate::{
    blocks, calls, error::Error, fees, logs, server::Context, state, subscriptions, transactions,
    wayleave,
};
use jsonrpsee::{RpcModule, server::RegisterMethodError};

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
    m.register_blocking_method("eth_getBlockByNumber", |p, cx, _| blocks::by_number(&p, &cx))?;
    m.register_blocking_method("eth_getBlockByHash", |p, cx, _| blocks::by_hash(&p, &cx))?;
    m.register_blocking_method("eth_getBlockReceipts", |p, cx, _| blocks::receipts(&p, &cx))?;
    m.register_blocking_method("eth_getBlockTransactionCountByNumber", |p, cx, _| {
        blocks::count_by_number(&p, &cx)
    })?;
    m.register_blocking_method("eth_getBlockTransactionCountByHash", |p, cx, _| {
        blocks::count_by_hash(&p, &cx)
    })?;
    m.register_blocking_method("eth_getTransactionByHash", |p, cx, _| {
        transactions::by_hash(&p, &cx)
    })?;
    m.register_blocking_method("eth_getTransactionByBlockNumberAndIndex", |p, cx, _| {
        transactions::by_number_and_index(&p, &cx)
    })?;
    m.register_blocking_method("eth_getTransactionByBlockHashAndIndex", |p, cx, _| {
        transactions::by_hash_and_index(&p, &cx)
    })?;
    m.register_blocking_method("eth_getRawTransactionByHash", |p, cx, _| {
        transactions::raw_by_hash(&p, &cx)
    })?;
    m.register_blocking_method("eth_getTransactionReceipt", |p, cx, _| {
        transactions::receipt(&p, &cx)
    })?;
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
    m.register_blocking_method("wayleave_ledger", |_, cx, _| wayleave::ledger(&cx))?;
    m.register_blocking_method("wayleave_header", |p, cx, _| wayleave::header(&p, &cx))?;
    m.register_blocking_method("wayleave_committee", |p, cx, _| wayleave::committee(&p, &cx))?;
    m.register_async_method("wayleave_finalization", |p, cx, _| async move {
        wayleave::finalization(&p, &cx).await
    })?;
    m.register_async_method(
        "wayleave_proof",
        |p, cx, _| async move { wayleave::proof(&p, &cx).await },
    )?;
    Ok(())
}
