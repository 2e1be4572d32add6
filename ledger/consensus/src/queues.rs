//! The waiting transactions and blobs behind their locks, and a block's way out of them.
//!
//! No lock is held across an await, and none while another is taken.

use crate::mempool::{BlobRefused, Blobs, Limits, Mempool, PoolRefused, Pooled, Standing};
use alloy_consensus::Transaction as _;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use execution::{Account, InvalidTx, Recovered, TxEnvelope};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A transaction with its sender.
pub type Transaction = Recovered<TxEnvelope>;

/// What waits for a block.
#[derive(Debug)]
pub(crate) struct Queues {
    transactions: Mutex<Mempool<Transaction>>,
    blobs: Mutex<Blobs>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The queues keep their invariants at every point where they could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queues {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { transactions: Mutex::new(Mempool::new(limits)), blobs: Mutex::new(Blobs::default()) }
    }

    /// Takes a valid transaction whose sender's account is `account` after the final block `height`.
    pub(crate) fn insert(
        &self,
        tx: Transaction,
        account: &Account,
        height: u64,
    ) -> Result<B256, PoolRefused> {
        let hash = *tx.tx_hash();
        let pooled = Pooled {
            hash,
            sender: tx.signer(),
            nonce: tx.nonce(),
            max_fee: tx.max_fee_per_gas(),
            max_tip: tx.max_priority_fee_per_gas().unwrap_or_else(|| tx.max_fee_per_gas()),
            cost: U256::from(tx.gas_limit())
                .saturating_mul(U256::from(tx.max_fee_per_gas()))
                .saturating_add(tx.value()),
            bytes: tx.encode_2718_len(),
            tx,
        };
        let seen = Standing { height, next: account.nonce, balance: account.balance };
        lock(&self.transactions).insert(pooled, seen)?;
        Ok(hash)
    }

    pub(crate) fn insert_blob(&self, blob: Bytes) -> Result<B256, BlobRefused> {
        lock(&self.blobs).insert(blob)
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<Transaction> {
        lock(&self.transactions).get(hash).cloned()
    }

    pub(crate) fn pending_nonce(&self, sender: Address, next: u64) -> u64 {
        lock(&self.transactions).pending_nonce(sender, next)
    }

    /// Waiting transactions, and bytes of waiting blobs.
    pub(crate) fn load(&self) -> (usize, usize) {
        let transactions = lock(&self.transactions).len();
        (transactions, lock(&self.blobs).bytes())
    }

    /// What a block should try. `used` and `carried` are what blocks before it, not yet final, took.
    pub(crate) fn candidates(
        &self,
        base_fee: u64,
        used: &BTreeMap<Address, u64>,
        limits: (usize, usize),
    ) -> Vec<Transaction> {
        lock(&self.transactions).candidates(base_fee, used, limits)
    }

    pub(crate) fn blob_candidates(&self, carried: &BTreeSet<B256>) -> Vec<Bytes> {
        lock(&self.blobs).candidates(carried)
    }

    /// Deals with a candidate that could not run: one that never can goes at once, one that state may
    /// refuse is checked against final state after the next block, and one that used up a block's time
    /// though it was the `first` has to wait for others.
    pub(crate) fn skipped(&self, tx: &Transaction, reason: &InvalidTx, first: bool) {
        let mut transactions = lock(&self.transactions);
        match reason {
            InvalidTx::BlockTime if first => {
                tracing::warn!(hash = %tx.tx_hash(), "a transaction takes longer than a block may");
                transactions.late(tx.tx_hash());
            }
            InvalidTx::NonceTooLow { .. } | InvalidTx::Funds { .. } | InvalidTx::SenderHasCode => {
                transactions.suspect(tx.signer());
            }
            reason if reason.may_become_valid() => {}
            _ => transactions.discard(tx.tx_hash()),
        }
    }

    /// Removes what the final block at `height` used and carries; gives the senders to [`Queues::check`].
    /// Those whose account the block wrote are among them: delegated code and authorizations
    /// (EIP-7702) use nonces and coins without a transaction of their owner.
    pub(crate) fn finalized(
        &self,
        height: u64,
        (used, touched): (&[(Address, u64)], &[Address]),
        carried: impl IntoIterator<Item = B256>,
    ) -> BTreeSet<Address> {
        lock(&self.blobs).finalized(carried);
        let mut transactions = lock(&self.transactions);
        transactions.finalized(height, used.iter().copied());
        for account in touched {
            transactions.suspect(*account);
        }
        transactions.take_suspects()
    }

    /// Removes what the sender cannot run by final state.
    pub(crate) fn check(&self, sender: Address, account: &Account) {
        lock(&self.transactions).check(sender, account.nonce, account.balance);
    }
}
