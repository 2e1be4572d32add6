//! Ethereum transactions over an asynchronous store of fixed-size values.
//!
//! The ledger's state is a map from 32-byte keys to 72-byte values ([`Key`], [`Value`]), so that
//! state sync and proofs need one format only. This crate runs transactions (revm) and the native
//! system contracts over any such map, and says what changed; who stores, proves or orders is not
//! its business.
//!
//! Rules:
//! * A transaction is never run again because a value was missing: the machine runs on a thread of
//!   its own, suspends on the missing key, and the asynchronous caller loads it (design 5). Only
//!   one of the two runs at a time, so a deterministic runtime stays deterministic.
//! * A block is a pure function of (state, [`BlockEnv`], transactions): [`execute_block`] verifies,
//!   [`propose_block`] chooses from candidates; the second's outcome equals the first's on what it
//!   chose.
//! * [`BlockOutcome::writes`] holds only keys whose value changes, [`BlockOutcome::undo`] the values
//!   they had: applying `undo` after `writes` restores the state to the bit.
//! * Before its transactions a block does what is due at its height: the committee of the next term is
//!   elected at the beginning of each term.
//! * The hash of every parent block is kept in state (EIP-2935), and `BLOCKHASH` reads it there: no
//!   list of ancestors is an input of execution.
//!
//! Never here: files, sockets, clocks, an asynchronous runtime, consensus, the mempool.

mod admit;
mod begin;
mod block;
mod call;
mod env;
mod genesis;
mod key;
mod patience;
mod recover;
mod state;
mod store;
mod suspend;
mod system;
mod view;

pub use admit::{DecodeError, InvalidTx, TX_BYTES_MAX, decode, decode_known, validate};
pub use block::{
    BlockOutcome, ExecuteError, Proposal, Receipt, Skipped, TX_GAS_MIN, execute_block,
    propose_block,
};
pub use call::{Call, CallError, CallOutcome, CallResult, call, estimate};
pub use env::{
    BASE_FEE_CEILING, BASE_FEE_FLOOR, BLOCK_GAS_LIMIT, BLOCK_LOADS_MAX, BlockEnv, TX_GAS_LIMIT,
    next_base_fee,
};
pub use genesis::{Genesis, Slots, call_at_genesis, contracts_at_genesis, genesis};
pub use key::{
    Account, CODE_BYTES_MAX, Key, VALUE_BYTES, Value, ValueError, code_chunks, code_writes,
    join_code, slot, slot_value,
};
pub use patience::Patience;
pub use store::{MemoryStore, Store, StoreError, account_at, code_at, slot_at};
pub use view::view_reads;

pub use alloy_consensus::{ReceiptEnvelope, TxEnvelope, transaction::Recovered};
