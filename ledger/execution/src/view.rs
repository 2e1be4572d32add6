//! Which values views of system contracts read: what a proof of their results has to cover (design 5).
//!
//! The contracts run as a light client runs them over the proven values ([`contracts::view`]): natively,
//! without the machine, and so without anybody's code.

use crate::{
    call::CallError,
    env::BlockEnv,
    key::{Account, Key, Value, slot},
    patience::Patience,
    store::Store,
    suspend::{Loader, suspended},
};
use alloy_primitives::{Address, Bytes, U256};
use contracts::{
    Failure, Fault,
    view::{At, Held, Lookup, VIEW_GAS, view},
};
use std::collections::{BTreeMap, BTreeSet};

/// The keys that views (contract, input) read on the state as `store` shows it, after the block `env`. What
/// they return, or why they revert, is not told.
///
/// # Errors
/// [`CallError::Loads`] when they read more than `most` values, [`CallError::Halted`] when all together use
/// more than [`VIEW_GAS`], [`CallError::Late`] when the patience is over, and when the store cannot answer.
pub async fn view_reads<S: Store>(
    store: &S,
    env: &BlockEnv,
    views: Vec<(Address, Bytes)>,
    most: usize,
    patience: Patience,
) -> Result<BTreeSet<Key>, CallError> {
    let at = At { chain_id: env.chain_id, height: env.number, timestamp: env.timestamp };
    suspended(store, move |loader| {
        let mut reads = Reads { loader, patience, most, known: BTreeMap::new(), stopped: None };
        let mut gas = VIEW_GAS;
        for (contract, input) in &views {
            let result = view(&mut reads, (at, &mut gas), *contract, input);
            if let Some(stopped) = reads.stopped.take() {
                return Err(stopped);
            }
            match result {
                Ok(_) | Err(Failure::Revert(_)) => {}
                Err(Failure::Fault(Fault::Storage(text))) => return Err(CallError::Internal(text)),
                Err(Failure::Fault(fault)) => return Err(CallError::Halted(fault.to_string())),
            }
        }
        Ok(reads.known.into_keys().collect())
    })
    .await?
}

/// Loads and remembers.
struct Reads {
    loader: Loader,
    patience: Patience,
    most: usize,
    known: BTreeMap<Key, Option<Value>>,
    stopped: Option<CallError>,
}

impl Reads {
    fn value(&mut self, key: Key) -> Result<Option<Value>, Fault> {
        if let Some(value) = self.known.get(&key) {
            return Ok(*value);
        }
        if self.known.len() >= self.most {
            return Err(self.stop(CallError::Loads));
        }
        if self.patience.is_over() {
            return Err(self.stop(CallError::Late));
        }
        let Ok(values) = self.loader.load(vec![key]) else {
            return Err(self.stop(CallError::Internal("the store has gone".to_owned())));
        };
        let value = values.first().copied().flatten();
        self.known.insert(key, value);
        Ok(value)
    }

    fn stop(&mut self, why: CallError) -> Fault {
        let fault = Fault::Storage(why.to_string());
        self.stopped.get_or_insert(why);
        fault
    }
}

impl Lookup for Reads {
    fn slot(&mut self, contract: Address, index: U256) -> Result<U256, Fault> {
        Ok(self.value(Key::Slot(contract, index))?.map_or(U256::ZERO, |value| slot(&value)))
    }

    fn account(&mut self, account: Address) -> Result<Held, Fault> {
        let value = self.value(Key::Account(account))?;
        let account = value.map_or_else(Account::default, |value| Account::decode(&value));
        Ok(Held { coin: account.balance, has_code: account.has_code() })
    }
}
