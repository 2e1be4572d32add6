//! Accounts, storage, and what the node says of itself.

use crate::{error::Error, height, server::Context};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use jsonrpsee::types::Params;

pub(crate) fn client_version() -> String {
    format!("wayleave/{}", env!("CARGO_PKG_VERSION"))
}

pub(crate) fn keccak(params: &Params<'_>) -> Result<B256, Error> {
    let bytes: Bytes = params.sequence().next()?;
    Ok(keccak256(bytes))
}

pub(crate) fn chain_id(cx: &Context) -> U64 {
    U64::from(cx.ledger.chain_id())
}

/// None: the node holds no keys.
pub(crate) const fn accounts() -> Vec<Address> {
    Vec::new()
}

pub(crate) fn block_number(cx: &Context) -> U64 {
    U64::from(cx.ledger.head().height())
}

pub(crate) async fn balance(params: &Params<'_>, cx: &Context) -> Result<U256, Error> {
    let mut params = params.sequence();
    let address: Address = params.next()?;
    let height = height::find(cx, params.optional_next()?).await?;
    Ok(cx.ledger.account(address, height).await?.balance)
}

pub(crate) async fn nonce(params: &Params<'_>, cx: &Context) -> Result<U64, Error> {
    let mut params = params.sequence();
    let address: Address = params.next()?;
    let id: Option<BlockId> = params.optional_next()?;
    if id == Some(BlockId::Number(BlockNumberOrTag::Pending)) {
        return Ok(U64::from(cx.ledger.pending_nonce(address).await?));
    }
    let height = height::find(cx, id).await?;
    Ok(U64::from(cx.ledger.account(address, height).await?.nonce))
}

pub(crate) async fn code(params: &Params<'_>, cx: &Context) -> Result<Bytes, Error> {
    let mut params = params.sequence();
    let address: Address = params.next()?;
    let height = height::find(cx, params.optional_next()?).await?;
    Ok(cx.ledger.code(address, height).await?.into())
}

pub(crate) async fn slot(params: &Params<'_>, cx: &Context) -> Result<B256, Error> {
    let mut params = params.sequence();
    let (address, index): (Address, U256) = (params.next()?, params.next()?);
    let height = height::find(cx, params.optional_next()?).await?;
    Ok(cx.ledger.slot(address, index, height).await?.into())
}
