//! Calls that are not transactions: `eth_call` and `eth_estimateGas` over any snapshot.
//!
//! They follow the block's rules, except that the nonce does not matter, gas costs nothing unless
//! the caller names a price, and a contract may be the sender. Nothing is committed. They end when the
//! caller's [`Patience`] does: it is asked before every read and every run, and a run without reads is
//! bounded by its gas.

use crate::{
    admit::InvalidTx,
    block::{Machine, Stop},
    env::{BLOCK_GAS_LIMIT, BlockEnv, TX_GAS_LIMIT},
    patience::Patience,
    state::{Fault, State},
    store::{Store, StoreError},
    suspend::{SuspendError, suspended},
};
use alloy_eips::{eip2930::AccessList, eip7702::SignedAuthorization};
use alloy_primitives::{Address, Bytes, Log, TxKind, U256};
use revm::context::{
    TxEnv,
    result::{ExecutionResult, HaltReason, Output},
};
use std::io;

/// A call. All but `data` and `to` may be left at their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Sender.
    pub from: Address,
    /// Whom it calls; `None` runs `data` as the code of a new contract.
    pub to: Option<Address>,
    /// Coins sent along, in the smallest unit.
    pub value: U256,
    /// Calldata or creation code.
    pub data: Bytes,
    /// Most gas it may use. Default and limit: [`BLOCK_GAS_LIMIT`] for a call, [`TX_GAS_LIMIT`] for an
    /// estimate.
    pub gas: Option<u64>,
    /// Greatest price per gas; when named, the sender must be able to pay it.
    pub gas_price: Option<u128>,
    /// Tip per gas.
    pub tip: Option<u128>,
    /// Keys declared beforehand (EIP-2930).
    pub access_list: AccessList,
    /// Delegations (EIP-7702).
    pub authorizations: Vec<SignedAuthorization>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// With this output, or the code of the contract it would create.
    Returned(Bytes),
    /// It reverted with this data.
    Reverted(Bytes),
    /// It failed and took all its gas.
    Halted(String),
}

/// A call that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallResult {
    /// How it ended.
    pub outcome: CallOutcome,
    /// Gas it used, after refunds.
    pub gas_used: u64,
    /// Logs it would have left.
    pub logs: Vec<Log>,
}

/// Why a call gave no result, or an estimate no number.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No transaction could be like this.
    #[error(transparent)]
    Invalid(#[from] InvalidTx),
    /// Estimate only: it reverts with any gas.
    #[error("execution reverted")]
    Reverted(Bytes),
    /// Estimate only: it fails with any gas.
    #[error("execution failed: {0}")]
    Halted(String),
    /// Estimate only: it needs more than it may use.
    #[error("gas required exceeds the allowance of {0}")]
    Allowance(u64),
    /// It reads more of the state than a block may.
    #[error("the call reads too much state")]
    Loads,
    /// It takes longer than it may.
    #[error("the call takes too long")]
    Late,
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread to run on.
    #[error("failed to start the execution thread: {0}")]
    Thread(io::Error),
    /// A fault of this program.
    #[error("execution failed: {0}")]
    Internal(String),
}

impl From<SuspendError> for CallError {
    fn from(error: SuspendError) -> Self {
        match error {
            SuspendError::Store(error) => Self::Store(error),
            SuspendError::Spawn(error) => Self::Thread(error),
            SuspendError::Panic(text) => Self::Internal(text),
        }
    }
}

impl From<Stop> for CallError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Invalid(InvalidTx::BlockLoads) | Stop::TxLoads => Self::Loads,
            Stop::Invalid(InvalidTx::BlockTime) => Self::Late,
            Stop::Invalid(reason) => Self::Invalid(reason),
            Stop::Fatal(text) | Stop::Internal(text) => Self::Internal(text),
        }
    }
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        Stop::from(fault).into()
    }
}

/// Runs a call on the state as `store` shows it, in the block `env`.
///
/// # Errors
/// When the call cannot begin, or cannot be answered. A revert is an outcome, not an error.
pub async fn call<S: Store>(
    store: &S,
    env: &BlockEnv,
    call: &Call,
    patience: Patience,
) -> Result<CallResult, CallError> {
    let (env, call) = (*env, call.clone());
    suspended(store, move |loader| {
        let mut machine = Machine::new(State::new(loader, patience), env.machine_for_calls());
        let gas = call.gas.unwrap_or(BLOCK_GAS_LIMIT).min(BLOCK_GAS_LIMIT);
        let (result, _) = attempt(&mut machine, &call, env.chain_id, gas)?;
        Ok(result)
    })
    .await?
}

/// The gas limit with which a call succeeds: exact for nearly all, never below what is needed, and
/// at most 1.5 % above for calls whose path depends on the gas they have left.
///
/// # Errors
/// When it does not succeed with all the gas it may use, or as [`call`].
pub async fn estimate<S: Store>(
    store: &S,
    env: &BlockEnv,
    call: &Call,
    patience: Patience,
) -> Result<u64, CallError> {
    let (env, call) = (*env, call.clone());
    suspended(store, move |loader| {
        let mut machine = Machine::new(State::new(loader, patience), env.machine_for_calls());
        search(&mut machine, &call, env.chain_id)
    })
    .await?
}

/// The call as the machine takes it.
fn machine_tx(call: &Call, chain_id: u64, gas: u64) -> Result<TxEnv, CallError> {
    let mut tx = TxEnv {
        caller: call.from,
        gas_limit: gas,
        gas_price: call.gas_price.unwrap_or(0),
        gas_priority_fee: call.tip,
        kind: call.to.map_or(TxKind::Create, TxKind::Call),
        value: call.value,
        data: call.data.clone(),
        chain_id: Some(chain_id),
        access_list: call.access_list.clone(),
        ..TxEnv::default()
    };
    tx.set_signed_authorization(call.authorizations.clone());
    tx.derive_tx_type().map_err(|error| InvalidTx::Rule(error.to_string()))?;
    Ok(tx)
}

/// Runs the call with `gas`. Also gives the least gas limit such a run can have had.
fn attempt(
    machine: &mut Machine,
    call: &Call,
    chain_id: u64,
    gas: u64,
) -> Result<(CallResult, u64), CallError> {
    if machine.state().is_late() {
        return Err(CallError::Late);
    }
    let done = machine.transact(machine_tx(call, chain_id, gas)?)?;
    let spent = done.result.gas();
    let needed = spent.total_gas_spent().max(spent.floor_gas());
    let gas_used = spent.tx_gas_used();
    let (outcome, logs) = match done.result {
        ExecutionResult::Success { output, logs, .. } => {
            let data = match output {
                Output::Call(data) | Output::Create(data, _) => data,
            };
            (CallOutcome::Returned(data), logs)
        }
        ExecutionResult::Revert { output, .. } => (CallOutcome::Reverted(output), Vec::new()),
        ExecutionResult::Halt { reason, .. } => (CallOutcome::Halted(halt(&reason)), Vec::new()),
    };
    Ok((CallResult { outcome, gas_used, logs }, needed))
}

/// What a halt is called.
fn halt(reason: &HaltReason) -> String {
    match reason {
        HaltReason::OutOfGas(_) => OUT_OF_GAS.to_owned(),
        HaltReason::InvalidFEOpcode | HaltReason::OpcodeNotFound => "invalid opcode".to_owned(),
        other => format!("{other:?}"),
    }
}

const OUT_OF_GAS: &str = "out of gas";

/// Finds the least gas limit with which the call succeeds.
fn search(machine: &mut Machine, call: &Call, chain_id: u64) -> Result<u64, CallError> {
    let allowance = allowance(machine, call)?;
    let (first, spent) = attempt(machine, call, chain_id, allowance)?;
    match first.outcome {
        CallOutcome::Returned(_) => {}
        CallOutcome::Reverted(data) => return Err(CallError::Reverted(data)),
        CallOutcome::Halted(reason) if reason == OUT_OF_GAS => {
            return Err(CallError::Allowance(allowance));
        }
        CallOutcome::Halted(reason) => return Err(CallError::Halted(reason)),
    }
    let mut succeeds = |gas: u64| match attempt(machine, call, chain_id, gas) {
        Ok((result, _)) => Ok(matches!(result.outcome, CallOutcome::Returned(_))),
        Err(CallError::Invalid(InvalidTx::IntrinsicGas { .. })) => Ok(false),
        Err(error) => Err(error),
    };
    // Less than it spent cannot suffice; usually that much does.
    if succeeds(spent)? {
        return Ok(spent);
    }
    // What it kept back for calls (1/64 of the rest, EIP-150) decides in the other cases.
    let (mut low, mut high) = (spent, allowance);
    let guess = spent.saturating_add(spent / 63).saturating_add(2_300).min(allowance);
    if succeeds(guess)? {
        high = guess;
    } else {
        low = guess;
    }
    while high.saturating_sub(low) > (high / 1_000 * 15).max(1) {
        let middle = low + (high - low) / 2;
        if succeeds(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

/// The most gas the call may use: by its own limit, the ledger's, and its sender's coins.
fn allowance(machine: &mut Machine, call: &Call) -> Result<u64, CallError> {
    let limit = call.gas.unwrap_or(TX_GAS_LIMIT).min(TX_GAS_LIMIT);
    let price = U256::from(call.gas_price.unwrap_or(0));
    if price.is_zero() {
        return Ok(limit);
    }
    let balance = machine.state().account(call.from)?.balance;
    let payable = balance.saturating_sub(call.value) / price;
    Ok(payable.try_into().unwrap_or(limit).min(limit))
}
