//! The ledger's own methods: what a light client needs to trust nobody's node (design 5).
//!
//! | method | answer |
//! |---|---|
//! | `wayleave_ledger()` | what the ledger is: chain id, genesis, lengths, last block, who is trusted |
//! | `wayleave_header(block)` | a header's 709 bytes, whose SHA-256 is the block's hash |
//! | `wayleave_finalization(block)` | the certificate of a header, if this node holds one |
//! | `wayleave_committee(term)` | the validators of a term by key, as in a genesis file, if this node knows them |
//! | `wayleave_proof(address, slots)` | what an account and its slots hold now, proven against a state root |

use crate::{error::Error, height, server::Context};
use alloy_eips::BlockId;
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use consensus::{KeyProof, Validator};
use execution::Key;
use jsonrpsee::types::Params;
use serde::Serialize;

/// Slots that one proof may cover.
const SLOTS: usize = 64;

/// What the ledger is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    chain_id: U64,
    genesis_hash: B256,
    /// Blocks of a settlement epoch.
    epoch_length: U64,
    /// Blocks of a committee's term.
    term_length: U64,
    /// Seats of the running committee.
    validators: U64,
    /// Who must be trusted: the founder alone, or two thirds of a committee.
    trust: &'static str,
    head: U64,
    /// The oldest block whose state can be asked for.
    oldest_state: U64,
    waiting_transactions: U64,
    waiting_blob_bytes: U64,
}

pub(crate) fn ledger(cx: &Context) -> Result<About, Error> {
    let genesis = cx.ledger.genesis();
    let number = |n: usize| U64::from(crate::format::count(n));
    let (transactions, blob_bytes) = cx.ledger.load();
    let head = cx.ledger.head().height();
    let running = cx.ledger.committee(cx.ledger.term(head))?;
    let seats = running.map_or(genesis.validators.len(), |seats| seats.len());
    Ok(About {
        chain_id: U64::from(genesis.chain_id),
        genesis_hash: cx.ledger.genesis_hash(),
        epoch_length: U64::from(genesis.epoch_length),
        term_length: U64::from(genesis.term_length),
        validators: number(seats),
        trust: if seats == 1 { "founder-trusted" } else { "committee" },
        head: U64::from(head),
        oldest_state: U64::from(cx.ledger.oldest_state()?),
        waiting_transactions: number(transactions),
        waiting_blob_bytes: number(blob_bytes),
    })
}

/// A header as it was certified.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeaderBytes {
    height: U64,
    hash: B256,
    /// The encoded header (version 1).
    header: Bytes,
}

pub(crate) fn header(params: &Params<'_>, cx: &Context) -> Result<HeaderBytes, Error> {
    let id: Option<BlockId> = params.sequence().optional_next()?;
    let height = height::of(cx, id)?;
    let header = cx.ledger.header(height)?.ok_or(Error::NoBlock)?;
    Ok(HeaderBytes {
        height: U64::from(height),
        hash: header.digest(),
        header: header.to_bytes().into(),
    })
}

/// A certificate, if there is one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finalization {
    height: U64,
    /// The encoded simplex finalization; null when a later block's certificate covers this height.
    finalization: Option<Bytes>,
}

pub(crate) async fn finalization(params: &Params<'_>, cx: &Context) -> Result<Finalization, Error> {
    let id: Option<BlockId> = params.sequence().optional_next()?;
    let height = height::find(cx, id).await?;
    let certificate = cx.ledger.certificate(height).await?;
    Ok(Finalization { height: U64::from(height), finalization: certificate.map(Bytes::from) })
}

/// The validators of a term. A header names them by the digest of [`consensus::Committee`], so nobody has
/// to be believed.
pub(crate) fn committee(
    params: &Params<'_>,
    cx: &Context,
) -> Result<Option<Vec<Validator>>, Error> {
    let term: U64 = params.sequence().next()?;
    Ok(cx.ledger.committee(term.to())?)
}

/// Proven values of the last applied state.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateProof {
    /// The block whose header names the root.
    height: U64,
    root: B256,
    account: Entry,
    slots: Vec<Entry>,
}

/// One key, what it holds, and why that is so.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// The 32 bytes under which the state keeps it.
    key: B256,
    /// 72 bytes, or null when it holds nothing.
    value: Option<Bytes>,
    /// One byte (1 holds, 0 does not), the value if it holds one, and the encoded proof.
    proof: Bytes,
}

fn entry(key: &Key, proof: &KeyProof) -> Entry {
    Entry {
        key: B256::from(key.hash()),
        value: proof.claim().map(|value| Bytes::copy_from_slice(value)),
        proof: proof.to_bytes().into(),
    }
}

pub(crate) async fn proof(params: &Params<'_>, cx: &Context) -> Result<StateProof, Error> {
    let mut params = params.sequence();
    let address: Address = params.next()?;
    let slots: Vec<U256> = params.optional_next()?.unwrap_or_default();
    if slots.len() > SLOTS {
        return Err(Error::Limit(format!("at most {SLOTS} slots can be proven at once")));
    }
    let account = Key::Account(address);
    let keys: Vec<Key> = slots.into_iter().map(|slot| Key::Slot(address, slot)).collect();
    let asked = std::iter::once(account).chain(keys.iter().copied()).collect();
    let proven = cx.ledger.prove(asked).await?;
    let missing = || Error::Damaged("a key was not proven".to_owned());
    let (first, rest) = proven.entries.split_first().ok_or_else(missing)?;
    Ok(StateProof {
        height: U64::from(proven.height),
        root: proven.root,
        account: entry(&account, first),
        slots: keys.iter().zip(rest).map(|(key, proof)| entry(key, proof)).collect(),
    })
}
