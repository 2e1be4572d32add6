//! What a block does before its transactions, on the state as it found it.
//!
//! The parent's hash is kept (EIP-2935), and the system contracts do what is due at this height
//! ([`contracts::begin_block`]): the first block of a term elects the committee of the next. It pays no
//! gas, leaves no logs and is not asked for patience, as no block goes without it. What it reads counts
//! among the block's loads: one value, and at an election at most a few thousand (`validators/election.rs`
//! in the contracts counts them).

use crate::{
    block::Stop,
    env::BlockEnv,
    state::{self, State},
};
use alloy_primitives::{Address, LogData, U256};
use contracts::{Env, Failure, Fault};

/// Begins the block `env`.
pub(crate) fn begin(state: &mut State, env: &BlockEnv) -> Result<(), Stop> {
    state.record_parent(env.number, env.parent_hash);
    let begun = contracts::begin_block(&mut Beginning { state, env }, env.parent_hash);
    // A fault of the state passes the contracts as text: the state remembers what it was.
    if let Some(fault) = state.fault() {
        return Err(Stop::Internal(fault.to_string()));
    }
    begun
        .map_err(|failure: Failure| Stop::Internal(format!("the block cannot begin: {failure}")))?;
    state.keep_loads();
    Ok(())
}

/// The state without a machine: no gas, no frames, no coin.
struct Beginning<'a> {
    state: &'a mut State,
    env: &'a BlockEnv,
}

fn fault(fault: state::Fault) -> Fault {
    Fault::Storage(fault.to_string())
}

impl Env for Beginning<'_> {
    fn load(&mut self, contract: Address, slot: U256) -> Result<U256, Fault> {
        self.state.slot(contract, slot).map_err(fault)
    }

    fn store(&mut self, contract: Address, slot: U256, value: U256) -> Result<(), Fault> {
        self.state.set_slot(contract, slot, value);
        Ok(())
    }

    fn log(&mut self, _: Address, _: LogData) -> Result<(), Fault> {
        Ok(())
    }

    fn charge(&mut self, _: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn mark(&mut self, contract: Address) -> Result<(), Fault> {
        Err(Fault::Storage(format!("no account is made at a block's beginning: {contract}")))
    }

    fn has_code(&mut self, account: Address) -> Result<bool, Fault> {
        Ok(self.state.account(account).map_err(fault)?.has_code())
    }

    fn pay(&mut self, contract: Address, _: Address, _: U256) -> Result<(), Fault> {
        Err(Fault::Storage(format!("no coin moves at a block's beginning: {contract}")))
    }

    fn balance(&mut self, account: Address) -> Result<U256, Fault> {
        Ok(self.state.account(account).map_err(fault)?.balance)
    }

    fn height(&self) -> u64 {
        self.env.number
    }

    fn timestamp(&self) -> u64 {
        self.env.timestamp
    }

    fn chain_id(&self) -> u64 {
        self.env.chain_id
    }
}
