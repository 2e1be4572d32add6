//! The native contracts as the machine sees them: precompiles with state, logs and exact gas.
//!
//! Gas is what the same reads and writes would cost a contract in bytecode: EIP-2929 for cold and warm
//! accounts and slots, EIP-2200 and EIP-3529 for writes and refunds, EIP-2's log prices; computation is
//! what the contracts charge. A value that is not paid for is never loaded.
//!
//! Rules:
//! * A call that reverts or halts leaves nothing: the machine undoes its frame, coin included.
//! * Coin that a contract pays costs what a call with value costs, and runs no code at the receiver.
//! * Out of gas, and a write in a static call, take all the gas of the call.
//! * A panic in a contract is the fault of the transaction that caused it and of nothing else: the
//!   machine stops that transaction, and no block may hold it.
//! * The contracts' accounts have nonce 1 and code `0xfe` (EIP-161 would clear them otherwise), so a
//!   delegation to one (EIP-7702) runs an invalid instruction and never its Rust code.

use crate::env::SPEC;
use alloy_evm::{
    EvmInternals,
    precompiles::{DynPrecompile, PrecompileInput, PrecompilesMap},
};
use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, Log, LogData, U256};
use contracts::{
    address::is_system,
    env::{Call, Env, Failure, Fault},
};
use revm::{
    bytecode::Bytecode,
    context::journaled_state::{JournalLoadError, account::JournaledAccountTr},
    context_interface::cfg::{GasParams, gas},
    interpreter::StateLoad,
    precompile::{
        PrecompileError, PrecompileHalt, PrecompileId, PrecompileOutput, PrecompileResult,
        PrecompileSpecId, Precompiles,
    },
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Code of every system contract: the invalid instruction.
pub(crate) const MARKER: &[u8] = &[0xfe];

/// What answers the calls of system contracts.
pub(crate) type Dispatch = fn(&mut dyn Env, &Call<'_>) -> Result<Vec<u8>, Failure>;

/// Ethereum's precompiles, and `dispatch` at the addresses of the system contracts.
pub(crate) fn precompiles(dispatch: Dispatch) -> PrecompilesMap {
    let mut map =
        PrecompilesMap::from_static(Precompiles::new(PrecompileSpecId::from_spec_id(SPEC)));
    map.set_precompile_lookup(move |address: &Address| {
        is_system(*address).then(|| {
            let id = PrecompileId::Custom("system contract".into());
            DynPrecompile::new_stateful(id, move |input: PrecompileInput<'_>| run(input, dispatch))
        })
    });
    map
}

/// One call of a system contract.
fn run(input: PrecompileInput<'_>, dispatch: Dispatch) -> PrecompileResult {
    let call = Call {
        contract: input.bytecode_address,
        caller: input.caller,
        value: input.value,
        input: input.data,
        is_static: input.is_static,
        is_direct: input.is_direct_call(),
    };
    let mut frame = Frame {
        internals: input.internals,
        params: GasParams::new_spec(SPEC),
        is_static: input.is_static,
        left: input.gas,
        refund: 0,
    };
    let ended = catch_unwind(AssertUnwindSafe(|| dispatch(&mut frame, &call)));
    let used = input.gas - frame.left;
    let reservoir = input.reservoir;
    match ended {
        Ok(Ok(output)) => {
            let mut done = PrecompileOutput::new(used, output.into(), reservoir);
            done.gas_refunded = frame.refund;
            Ok(done)
        }
        Ok(Err(Failure::Revert(data))) => Ok(PrecompileOutput::revert(used, data, reservoir)),
        Ok(Err(Failure::Fault(Fault::OutOfGas))) => {
            Ok(PrecompileOutput::halt(PrecompileHalt::OutOfGas, reservoir))
        }
        Ok(Err(Failure::Fault(Fault::Static))) => Ok(PrecompileOutput::halt(
            PrecompileHalt::other_static("write in a static call"),
            reservoir,
        )),
        Ok(Err(Failure::Fault(Fault::Storage(text)))) => Err(PrecompileError::Fatal(text)),
        Err(_) => Err(PrecompileError::Fatal(format!("the contract {} panicked", call.contract))),
    }
}

/// The state and the gas of one call.
struct Frame<'a> {
    internals: EvmInternals<'a>,
    params: GasParams,
    is_static: bool,
    left: u64,
    refund: i64,
}

impl Frame<'_> {
    fn take(&mut self, gas: u64) -> Result<(), Fault> {
        self.left = self.left.checked_sub(gas).ok_or(Fault::OutOfGas)?;
        Ok(())
    }

    /// Loads an account for its cold price (EIP-2929), or not at all. Gives the gas left after it too.
    fn account(
        &mut self,
        address: Address,
    ) -> Result<(Box<dyn JournaledAccountTr + '_>, u64), Fault> {
        let price = self.params.cold_account_additional_cost();
        let unpaid = self.left < price;
        let left = &mut self.left;
        let StateLoad { data, is_cold, .. } =
            self.internals.load_account_mut_skip_cold_load(address, unpaid).map_err(fault)?;
        if is_cold {
            *left = left.checked_sub(price).ok_or(Fault::OutOfGas)?;
        }
        Ok((data, *left))
    }

    fn writable(&self) -> Result<(), Fault> {
        if self.is_static { Err(Fault::Static) } else { Ok(()) }
    }
}

/// What a failed load is to the contract.
fn fault<E: std::fmt::Display>(error: JournalLoadError<E>) -> Fault {
    match error {
        JournalLoadError::ColdLoadSkipped => Fault::OutOfGas,
        JournalLoadError::DBError(error) => Fault::Storage(error.to_string()),
    }
}

impl Env for Frame<'_> {
    fn load(&mut self, contract: Address, slot: U256) -> Result<U256, Fault> {
        self.take(self.params.warm_storage_read_cost())?;
        let price = self.params.cold_storage_additional_cost();
        let (word, is_cold) = {
            let (mut account, left) = self.account(contract)?;
            let load = account.sload(slot, left < price).map_err(fault)?;
            (load.data.present_value(), load.is_cold)
        };
        if is_cold {
            self.take(price)?;
        }
        Ok(word)
    }

    fn store(&mut self, contract: Address, slot: U256, value: U256) -> Result<(), Fault> {
        self.writable()?;
        // EIP-2200: a call that has no more than the stipend may not write.
        if self.left <= self.params.call_stipend() {
            return Err(Fault::OutOfGas);
        }
        self.take(self.params.sstore_static_gas())?;
        let price = self.params.cold_storage_cost();
        let (mut account, left) = self.account(contract)?;
        let load = account.sstore(slot, value, left < price).map_err(fault)?;
        drop(account);
        self.take(self.params.sstore_dynamic_gas(true, &load.data, load.is_cold))?;
        self.refund += self.params.sstore_refund(true, &load.data);
        Ok(())
    }

    fn log(&mut self, contract: Address, data: LogData) -> Result<(), Fault> {
        self.writable()?;
        // LOG4 has the most topics, so the count fits.
        let topics = u8::try_from(data.topics().len()).unwrap_or(u8::MAX);
        let bytes = u64::try_from(data.data.len()).unwrap_or(u64::MAX);
        self.take(self.params.log_cost(topics, bytes).saturating_add(gas::LOG))?;
        self.internals.log(Log { address: contract, data });
        Ok(())
    }

    fn charge(&mut self, gas: u64) -> Result<(), Fault> {
        self.take(gas)
    }

    fn mark(&mut self, contract: Address) -> Result<(), Fault> {
        self.writable()?;
        self.take(self.params.create_cost())?;
        self.take(self.params.code_deposit_cost(MARKER.len()))?;
        let (mut account, _) = self.account(contract)?;
        if account.nonce() == 0 {
            account.bump_nonce();
        }
        account.set_code_and_hash_slow(Bytecode::new_raw(Bytes::from_static(MARKER)));
        Ok(())
    }

    fn has_code(&mut self, account: Address) -> Result<bool, Fault> {
        self.take(self.params.warm_storage_read_cost())?;
        let (account, _) = self.account(account)?;
        Ok(*account.code_hash() != KECCAK256_EMPTY && !account.code_hash().is_zero())
    }

    fn pay(&mut self, contract: Address, to: Address, amount: U256) -> Result<(), Fault> {
        self.writable()?;
        // What a CALL with value pays (EIP-2929), without the stipend: no code runs there.
        self.take(self.params.warm_storage_read_cost())?;
        self.take(self.params.transfer_value_cost())?;
        let absent = {
            let (account, _) = self.account(to)?;
            let code = *account.code_hash();
            let codeless = code == KECCAK256_EMPTY || code.is_zero();
            account.balance().is_zero() && account.nonce() == 0 && codeless
        };
        if absent {
            self.take(self.params.new_account_cost(true, true))?;
        }
        match self.internals.transfer(contract, to, amount) {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(Fault::Storage(format!("{contract} cannot pay: {error:?}"))),
            Err(error) => Err(Fault::Storage(error.to_string())),
        }
    }

    fn balance(&mut self, account: Address) -> Result<U256, Fault> {
        self.take(self.params.warm_storage_read_cost())?;
        let (account, _) = self.account(account)?;
        Ok(*account.balance())
    }

    fn height(&self) -> u64 {
        self.internals.block_number().saturating_to()
    }

    fn timestamp(&self) -> u64 {
        self.internals.block_timestamp().saturating_to()
    }

    fn chain_id(&self) -> u64 {
        self.internals.chain_id()
    }
}

#[cfg(test)]
mod tests;
