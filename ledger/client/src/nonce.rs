//! Nonces: one lane an account, in which transactions are numbered and handed over one at a time.
//!
//! Rules: a number is used up when the ledger took the transaction, not before, so that a refused one
//! leaves no gap; the lane is held while a transaction is handed over, so that two tasks never use one
//! number; a lane that met a surprise forgets what it knew and asks the ledger.

use alloy_primitives::Address;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

/// The next number of one account, if known.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) next: Option<u64>,
}

/// The lanes of all accounts this client sends for. Grows with the number of own accounts.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Mutex<BTreeMap<Address, Arc<Lock<Lane>>>>);

impl Lanes {
    /// Waits until the lane of `account` is free and takes it.
    pub(crate) async fn take(&self, account: Address) -> OwnedMutexGuard<Lane> {
        let lane = {
            let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.entry(account).or_default().clone()
        };
        lane.lock_owned().await
    }
}
