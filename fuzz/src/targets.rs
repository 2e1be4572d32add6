//! The list of targets.

mod clients;
mod contracts;
mod disks;
mod economy;
mod evidence;
mod files;
mod ledger;
mod peers;
mod service;
mod settlement;
mod storage;

use crate::Target;

/// All targets.
pub const TARGETS: &[Target] = &[
    economy::CBOR,
    economy::ENVELOPE,
    economy::INPUTS,
    economy::MANIFEST,
    economy::STATEMENT,
    economy::VOUCHER,
    storage::EVIDENCE,
    storage::REQUEST,
    storage::RESPONSE,
    storage::SLICE,
    storage::OUTBOARD,
    evidence::BATCH,
    evidence::ACCEPTANCE,
    evidence::BLOCK_EVIDENCE,
    evidence::MESSAGES,
    ledger::TRANSACTION,
    ledger::HEADER,
    ledger::BLOCK,
    ledger::CERTIFICATE,
    ledger::STATE_PROOF,
    ledger::GENESIS,
    peers::JOIN,
    peers::GOSSIP,
    peers::RECEIPT,
    contracts::CONTRACTS,
    contracts::DEVNET,
    settlement::SETTLEMENT,
    clients::RPC,
    clients::KEPT,
    clients::RECEIPTS,
    clients::REVERT,
    service::ROWS,
    service::INDEX,
    service::NOTE,
    service::ENTRIES,
    service::KEYRING,
    disks::RAIL,
    disks::CHANGE,
    disks::TAB,
    disks::JOURNAL,
    disks::OUTBOX,
    files::KEYSTORE,
    files::CARD,
    files::RULES,
    files::FOUNDED,
    files::RUNNING,
];

/// A secret for inputs that carry signatures.
const SECRET: [u8; 32] = [7; 32];
/// The chain of signed inputs.
const CHAIN: u64 = 0xDE91;
