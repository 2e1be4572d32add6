//! Answers that prove themselves, for light clients: state and receipts with their way to a certificate.
//!
//! | method | answer |
//! |---|---|
//! | `wayleave_certified(height)` | the header at a height and what certifies it |
//! | `wayleave_proven(views, accounts)` | all that views of system contracts read in the newest state, and accounts, proven |
//! | `wayleave_receipt(hash)` | a transaction and its receipt, proven by the roots of their block's header |
//!
//! A view is `{"to": contract, "input": data}`. What certifies a header is a chain: the header, each next
//! one its child, and a certificate of the last; a block may be final through a later one alone.

use crate::{error::Error, server::Context};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use consensus::{Finalized, VIEW_KEYS_MAX, Views, trie};
use contracts::is_system;
use execution::{Key, Receipt};
use jsonrpsee::types::Params;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Views of one question.
const VIEWS: usize = VIEW_KEYS_MAX;
/// Accounts of one question.
const ACCOUNTS: usize = 64;
/// Later headers looked at for a certificate.
const DISTANCE: u64 = 64;
/// How long a next block is waited for, if only that one's certificate can certify.
const NEXT_BLOCK: Duration = Duration::from_secs(5);

/// What certifies a header.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Chain {
    height: U64,
    /// The encoded header of that height, and its descendants up to the one certified.
    headers: Vec<Bytes>,
    /// The encoded simplex finalization of the last of them.
    certificate: Bytes,
}

/// The way from the header at `height` to a certificate.
async fn chain(cx: &Context, height: u64) -> Result<Chain, Error> {
    let mut headers = Vec::new();
    for at in height..=height.saturating_add(DISTANCE) {
        let mut blocks = cx.ledger.subscribe_from(at);
        if !matches!(tokio::time::timeout(NEXT_BLOCK, blocks.ready()).await, Ok(true)) {
            break;
        }
        let ledger = cx.ledger.clone();
        let header = cx.aside(move || ledger.header(at)).await??;
        headers.push(header.ok_or(Error::NoBlock)?.to_bytes().into());
        if let Some(certificate) = cx.ledger.certificate(at).await? {
            let certificate = certificate.into();
            return Ok(Chain { height: U64::from(height), headers, certificate });
        }
    }
    Err(Error::Limit(format!("no certificate for height {height} here")))
}

pub(crate) async fn certified(params: &Params<'_>, cx: &Context) -> Result<Chain, Error> {
    let height: U64 = params.sequence().next()?;
    let height = height.to();
    // The state that was just proven may be that of a block which is announced in a moment.
    if height > cx.ledger.head().height().saturating_add(1) {
        return Err(Error::NoBlock);
    }
    chain(cx, height).await
}

/// A view of a system contract.
#[derive(Debug, Deserialize)]
struct View {
    to: Address,
    input: Bytes,
}

/// All that views read, proven against the state root of the chain's first header.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proven {
    #[serde(flatten)]
    chain: Chain,
    accounts: Vec<Account>,
    slots: Vec<Slot>,
}

/// An account, with its proof as `wayleave_proof` has it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Account {
    account: Address,
    proof: Bytes,
}

/// A slot, with its proof as `wayleave_proof` has it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Slot {
    contract: Address,
    slot: U256,
    proof: Bytes,
}

pub(crate) async fn proven(params: &Params<'_>, cx: &Context) -> Result<Proven, Error> {
    let mut params = params.sequence();
    let views: Vec<View> = params.next()?;
    let accounts: Vec<Address> = params.optional_next()?.unwrap_or_default();
    if views.len() > VIEWS || accounts.len() > ACCOUNTS {
        let text = format!("at most {VIEWS} views and {ACCOUNTS} accounts can be proven at once");
        return Err(Error::Limit(text));
    }
    if let Some(view) = views.iter().find(|view| !is_system(view.to)) {
        let text = format!("{} is no system contract: its views cannot be proven", view.to);
        return Err(Error::Invalid(text));
    }
    let calls = views.into_iter().map(|view| (view.to, view.input)).collect();
    let (keys, proof) = cx.ledger.prove_views(Views { calls, accounts }).await?;
    let chain = chain(cx, proof.height).await?;
    let (mut accounts, mut slots) = (Vec::new(), Vec::new());
    for (key, proof) in keys.into_iter().zip(&proof.entries) {
        let proof = Bytes::from(proof.to_bytes());
        match key {
            Key::Account(account) => accounts.push(Account { account, proof }),
            Key::Slot(contract, slot) => slots.push(Slot { contract, slot, proof }),
            // Native contracts run no code.
            Key::Code(..) => {}
        }
    }
    Ok(Proven { chain, accounts, slots })
}

/// A transaction and its receipt, proven by the roots of the chain's first header.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProvenReceipt {
    #[serde(flatten)]
    chain: Chain,
    /// Its index in the block.
    index: U64,
    transaction: Item,
    receipt: Item,
    /// The receipt before it, which tells the gas used before.
    before: Option<Item>,
}

/// An item of an ordered trie.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Item {
    /// EIP-2718 bytes.
    bytes: Bytes,
    /// The nodes from the root to the item.
    proof: Vec<Bytes>,
}

fn item<T: AsRef<[u8]>>(items: &[T], index: usize) -> Result<Item, Error> {
    let missing = || Error::Damaged("a block lacks an item that it is known to hold".to_owned());
    let proof = trie::prove(items, index).ok_or_else(missing)?;
    let bytes = Bytes::copy_from_slice(items.get(index).ok_or_else(missing)?.as_ref());
    Ok(Item { bytes, proof })
}

/// The items that prove the receipt of transaction `index`: it, its receipt and the one before.
fn items(block: &Finalized, index: usize) -> Result<(Item, Item, Option<Item>), Error> {
    let encoded = |receipt: &Receipt| receipt.envelope.encoded_2718();
    let receipts: Vec<_> = block.receipts.iter().map(encoded).collect();
    let before = index.checked_sub(1).map(|before| item(&receipts, before)).transpose()?;
    Ok((item(&block.transactions, index)?, item(&receipts, index)?, before))
}

pub(crate) async fn receipt(
    params: &Params<'_>,
    cx: &Context,
) -> Result<Option<ProvenReceipt>, Error> {
    let hash: B256 = params.sequence().next()?;
    let ledger = cx.ledger.clone();
    let found = cx.aside(move || -> Result<_, Error> {
        let Some(located) = ledger.transaction(hash)? else { return Ok(None) };
        let block = ledger.block(located.place.height)?.ok_or(Error::NoBlock)?;
        let index = usize::try_from(located.place.index).unwrap_or(usize::MAX);
        Ok(Some((located.place, items(&block, index)?)))
    });
    let Some((place, (transaction, receipt, before))) = found.await?? else { return Ok(None) };
    let chain = chain(cx, place.height).await?;
    let index = U64::from(u64::from(place.index));
    Ok(Some(ProvenReceipt { chain, index, transaction, receipt, before }))
}
