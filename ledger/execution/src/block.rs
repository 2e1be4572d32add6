//! A block of transactions: verified as it is, or chosen from candidates.
//!
//! The way of a block: it begins (`begin.rs`: the parent's hash, elections), each transaction runs in
//! order and its changes are committed, then the changes and their undoing are drawn up.
//!
//! A transaction that reads more of the state than one may (`TX_LOADS_MAX` values) stays in the
//! block, fails, and pays all its gas, like one that ran out of gas. What it read counts for the
//! block, so that no block makes its readers read more than `BLOCK_LOADS_MAX` values in all.

use crate::{
    admit::{InvalidTx, check_form},
    begin::begin,
    env::BlockEnv,
    key::{Key, Value},
    patience::Patience,
    state::{Changes, Fault, State},
    store::{Store, StoreError},
    suspend::{SuspendError, suspended},
    system::{self, Dispatch},
};
use alloy_consensus::{
    Eip658Value, ReceiptEnvelope, Transaction as _, TxEnvelope, transaction::Recovered,
};
use alloy_evm::{
    Evm as _, EvmEnv, eth::EthEvmBuilder, precompiles::PrecompilesMap, tx::FromRecoveredTx as _,
};
use alloy_primitives::{Address, Bytes, TxKind, U256, address};
use revm::{
    context::{
        TxEnv,
        result::{EVMError, ExecutionResult, Output, ResultAndState},
    },
    inspector::NoOpInspector,
};
use std::{borrow::Borrow, collections::BTreeMap, io};

/// Least gas of any transaction: with less left, a block is full.
pub const TX_GAS_MIN: u64 = 21_000;

/// Transactions whose accounts are read in one question, before the first of them runs.
const TOGETHER: usize = 256;

/// The BLAKE2 precompile: without input it fails and takes all gas (EIP-152).
const ALWAYS_FAILS: Address = address!("0x0000000000000000000000000000000000000009");

/// What became of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Type, success, gas used so far in the block, bloom and logs: what the receipts' root commits to.
    pub envelope: ReceiptEnvelope,
    /// Gas this transaction used.
    pub gas_used: u64,
    /// Price it paid, in the coin's smallest unit per gas.
    pub gas_price: u128,
    /// The contract it created, if it did.
    pub created: Option<Address>,
}

/// What a block does to the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockOutcome {
    /// One receipt a transaction, in order.
    pub receipts: Vec<Receipt>,
    /// New values of the keys that change; `None` removes one.
    pub writes: BTreeMap<Key, Option<Value>>,
    /// Values those same keys had before.
    pub undo: BTreeMap<Key, Option<Value>>,
    /// Gas used by all transactions.
    pub gas_used: u64,
    /// Base fees burned, in the coin's smallest unit.
    pub burned: U256,
    /// Values read from the store: each once, and those read for nothing.
    pub loads: u64,
}

/// A block chosen from candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// What the chosen transactions do.
    pub outcome: BlockOutcome,
    /// Positions of the chosen ones among the candidates, ascending.
    pub included: Vec<usize>,
    /// Candidates that cannot be in this block. Those neither here nor chosen were not reached.
    pub skipped: Vec<Skipped>,
}

/// A candidate left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Position among the candidates.
    pub index: usize,
    /// Why; [`InvalidTx::may_become_valid`] says whether to keep it.
    pub reason: InvalidTx,
}

/// Why a block could not be executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The block holds a transaction that no block may hold here: the block is invalid.
    #[error("transaction {index} is invalid: {reason}")]
    Invalid {
        /// Its position in the block.
        index: usize,
        /// The rule it breaks.
        reason: InvalidTx,
    },
    /// The store could not answer. Nothing is decided about the block.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread to run on. Nothing is decided about the block.
    #[error("failed to start the execution thread: {0}")]
    Thread(io::Error),
    /// A fault of this program. Nothing is decided about the block.
    #[error("execution failed: {0}")]
    Internal(String),
}

impl From<SuspendError> for ExecuteError {
    fn from(error: SuspendError) -> Self {
        match error {
            SuspendError::Store(error) => Self::Store(error),
            SuspendError::Spawn(error) => Self::Thread(error),
            SuspendError::Panic(text) => Self::Internal(text),
        }
    }
}

/// Executes a block as it stands.
///
/// # Errors
/// [`ExecuteError::Invalid`] when the block may not hold one of its transactions; the others say
/// nothing about the block.
pub async fn execute_block<S: Store>(
    store: &S,
    env: &BlockEnv,
    txs: &[Recovered<TxEnvelope>],
) -> Result<BlockOutcome, ExecuteError> {
    let (env, txs) = (*env, txs.to_vec());
    suspended(store, move |loader| {
        let mut block = Block::new(State::new(loader, Patience::ENDLESS), env)?;
        for (index, tx) in txs.iter().enumerate() {
            if index.is_multiple_of(TOGETHER) {
                block.expect(&txs[index..]).map_err(|stop| stop.verdict(index))?;
            }
            block.run(tx).map_err(|stop| stop.verdict(index))?;
        }
        block.finish()
    })
    .await?
}

/// Chooses the candidates that can be executed, in their order, until the block is full or the
/// patience is over. The candidate during which it was is the last one skipped, with
/// [`InvalidTx::BlockTime`].
///
/// # Errors
/// Never because of a candidate: only when the store, the thread or the program fails.
pub async fn propose_block<S, T>(
    store: &S,
    env: &BlockEnv,
    candidates: &[T],
    patience: Patience,
) -> Result<Proposal, ExecuteError>
where
    S: Store,
    T: Borrow<Recovered<TxEnvelope>> + Clone + Send + 'static,
{
    let (env, candidates) = (*env, candidates.to_vec());
    suspended(store, move |loader| {
        let mut block = Block::new(State::new(loader, Patience::ENDLESS), env)?;
        block.machine.state().set_patience(patience);
        let mut proposal = Proposal::default();
        for (index, tx) in candidates.iter().enumerate() {
            if block.gas_left() < TX_GAS_MIN || block.machine.state().is_late() {
                break;
            }
            if index.is_multiple_of(TOGETHER) {
                block.expect(&candidates[index..]).map_err(|stop| stop.verdict(index))?;
            }
            match block.run(tx.borrow()) {
                Ok(()) => proposal.included.push(index),
                Err(Stop::Invalid(reason)) => {
                    let full = matches!(reason, InvalidTx::BlockLoads | InvalidTx::BlockTime);
                    proposal.skipped.push(Skipped { index, reason });
                    if full {
                        break;
                    }
                }
                Err(Stop::Fatal(text)) => {
                    proposal.skipped.push(Skipped { index, reason: InvalidTx::Fatal(text) });
                }
                Err(stop) => return Err(stop.verdict(index)),
            }
        }
        proposal.outcome = block.finish()?;
        Ok(proposal)
    })
    .await?
}

/// Why the machine gave no result.
pub(crate) enum Stop {
    /// The transaction's fault.
    Invalid(InvalidTx),
    /// The transaction brings a contract to a state that it cannot be in.
    Fatal(String),
    /// The transaction reads too much.
    TxLoads,
    /// Nobody waits for the result, or the program is at fault.
    Internal(String),
}

impl Stop {
    fn verdict(self, index: usize) -> ExecuteError {
        match self {
            Self::Invalid(reason) => ExecuteError::Invalid { index, reason },
            Self::Fatal(text) => ExecuteError::Invalid { index, reason: InvalidTx::Fatal(text) },
            Self::TxLoads => ExecuteError::Internal(Fault::TxLoads.to_string()),
            Self::Internal(text) => ExecuteError::Internal(text),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TxLoads => Self::TxLoads,
            Fault::BlockLoads => Self::Invalid(InvalidTx::BlockLoads),
            Fault::Late => Self::Invalid(InvalidTx::BlockTime),
            Fault::Closed(_) | Fault::Code(_) => Self::Internal(fault.to_string()),
        }
    }
}

/// The machine over one execution's state.
pub(crate) struct Machine {
    evm: alloy_evm::EthEvm<State, NoOpInspector, PrecompilesMap>,
}

impl Machine {
    pub(crate) fn new(state: State, env: EvmEnv) -> Self {
        Self::with(state, env, contracts::call)
    }

    /// A machine whose system contracts are answered by `dispatch`.
    pub(crate) fn with(state: State, env: EvmEnv, dispatch: Dispatch) -> Self {
        let precompiles = system::precompiles(dispatch);
        Self { evm: EthEvmBuilder::new(state, env).precompiles(precompiles).build() }
    }

    pub(crate) fn state(&mut self) -> &mut State {
        self.evm.db_mut()
    }

    /// Gives the state back.
    pub(crate) fn into_state(self) -> State {
        self.evm.finish().0
    }

    /// Runs a transaction. What it changes is in the result and not yet in the state.
    pub(crate) fn transact(&mut self, tx: TxEnv) -> Result<ResultAndState, Stop> {
        let result = self.evm.transact_raw(tx);
        // A fault inside a native contract arrives as text: the state remembers what it was.
        if let Some(fault) = self.state().fault() {
            return Err(fault.into());
        }
        result.map_err(|error| match error {
            EVMError::Transaction(reason) => Stop::Invalid(reason.into()),
            other => Stop::Fatal(other.to_string()),
        })
    }
}

/// A block under execution.
struct Block {
    machine: Machine,
    env: BlockEnv,
    receipts: Vec<Receipt>,
    gas_used: u64,
}

impl Block {
    fn new(mut state: State, env: BlockEnv) -> Result<Self, ExecuteError> {
        begin(&mut state, &env).map_err(|stop| stop.verdict(0))?;
        let machine = Machine::new(state, env.machine());
        Ok(Self { machine, env, receipts: Vec::new(), gas_used: 0 })
    }

    fn gas_left(&self) -> u64 {
        self.env.gas_limit.saturating_sub(self.gas_used)
    }

    /// Reads the accounts that the first [`TOGETHER`] of `txs` begin with: senders and callees.
    fn expect(&mut self, txs: &[impl Borrow<Recovered<TxEnvelope>>]) -> Result<(), Stop> {
        let txs = txs.iter().take(TOGETHER).map(Borrow::borrow);
        let accounts = txs.flat_map(|tx| [Some(tx.signer()), tx.kind().into_to()]).flatten();
        Ok(self.machine.state().expect(accounts.map(Key::Account).collect())?)
    }

    /// Runs a transaction and keeps what it did; leaves no trace when it is not valid.
    fn run(&mut self, tx: &Recovered<TxEnvelope>) -> Result<(), Stop> {
        let stop = match self.attempt(tx) {
            Ok(()) => return Ok(()),
            Err(stop) => stop,
        };
        self.machine.state().discard();
        Err(stop)
    }

    fn attempt(&mut self, tx: &Recovered<TxEnvelope>) -> Result<(), Stop> {
        check_form(tx.inner(), self.env.chain_id).map_err(Stop::Invalid)?;
        let (limit, left) = (tx.gas_limit(), self.gas_left());
        if limit > left {
            return Err(Stop::Invalid(InvalidTx::BlockGas { limit, left }));
        }
        let machine_tx = TxEnv::from_recovered_tx(tx.inner(), tx.signer());
        let done = match self.machine.transact(machine_tx.clone()) {
            Err(Stop::TxLoads) => {
                let before = self.machine.state().waste();
                let failed = self.machine.transact(failing(machine_tx));
                failed.inspect_err(|_| self.machine.state().unwaste(before))
            }
            other => other,
        };
        let done = done.map_err(|stop| self.explain(stop, tx))?;
        self.machine.state().commit(done.state)?;
        self.keep(tx, done.result);
        Ok(())
    }

    /// Adds to the machine's verdict what only the block knows.
    fn explain(&self, stop: Stop, tx: &Recovered<TxEnvelope>) -> Stop {
        let max_fee = tx.max_fee_per_gas();
        match stop {
            Stop::Invalid(InvalidTx::Rule(_)) if max_fee < u128::from(self.env.base_fee) => {
                Stop::Invalid(InvalidTx::BelowBaseFee { max_fee, base_fee: self.env.base_fee })
            }
            other => other,
        }
    }

    fn keep(&mut self, tx: &Recovered<TxEnvelope>, result: ExecutionResult) {
        let gas_used = result.tx_gas_used();
        self.gas_used += gas_used;
        let created = match &result {
            ExecutionResult::Success { output: Output::Create(_, address), .. } => *address,
            _ => None,
        };
        let receipt = alloy_consensus::Receipt {
            status: Eip658Value::Eip658(result.is_success()),
            cumulative_gas_used: self.gas_used,
            logs: result.into_logs(),
        };
        self.receipts.push(Receipt {
            envelope: ReceiptEnvelope::from_typed(tx.tx_type(), receipt),
            gas_used,
            gas_price: tx.effective_gas_price(Some(self.env.base_fee)),
            created,
        });
    }

    fn finish(self) -> Result<BlockOutcome, ExecuteError> {
        let changes = self.machine.into_state().finish();
        let Changes { writes, undo, loads } =
            changes.map_err(|fault| ExecuteError::Internal(fault.to_string()))?;
        Ok(BlockOutcome {
            receipts: self.receipts,
            writes,
            undo,
            gas_used: self.gas_used,
            burned: U256::from(self.gas_used) * U256::from(self.env.base_fee),
            loads,
        })
    }
}

/// The same sender, nonce, gas and price, but a call that fails and takes all gas.
fn failing(tx: TxEnv) -> TxEnv {
    TxEnv { kind: TxKind::Call(ALWAYS_FAILS), value: U256::ZERO, data: Bytes::new(), ..tx }
}
