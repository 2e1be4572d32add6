//! The waiting transactions and blobs behind their locks, their way in from clients and peers, and
//! their ways out: into a block, and to peers (see [`crate::gossip`]).
//!
//! No lock is held across an await, and none while another is taken.

use crate::{
    accounts::Accounts,
    gossip::{Outbox, Topic},
    mempool::{BlobRefused, Blobs, Limits, Mempool, PoolRefused, Pooled, Source, Standing},
    recovery::Recovery,
};
use alloy_consensus::Transaction as _;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;
use execution::{Account, InvalidTx, Recovered, TxEnvelope};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A transaction with its sender.
pub type Transaction = Recovered<TxEnvelope>;

/// What waits for a block.
#[derive(Debug)]
pub(crate) struct Queues {
    transactions: Mutex<Mempool<Arc<Transaction>>>,
    blobs: Mutex<Blobs>,
    accounts: Mutex<Accounts>,
    /// Senders of what waits and of what blocks hold.
    pub(crate) recovery: Recovery,
    /// What peers are to be told of.
    told: [Outbox; 2],
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The queues keep their invariants at every point where they could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queues {
    pub(crate) fn new(limits: Limits, recovery: Recovery) -> Self {
        Self {
            transactions: Mutex::new(Mempool::new(limits)),
            blobs: Mutex::default(),
            accounts: Mutex::default(),
            recovery,
            told: Default::default(),
        }
    }

    /// What peers are to be told of.
    pub(crate) const fn outbox(&self, topic: Topic) -> &Outbox {
        let [transactions, blobs] = &self.told;
        match topic {
            Topic::Transactions => transactions,
            Topic::Blobs => blobs,
        }
    }

    /// A sender's account, if it is known, and the final height after which it is so.
    pub(crate) fn account(&self, sender: &Address) -> Option<(Account, u64)> {
        lock(&self.accounts).get(sender)
    }

    /// Remembers a sender's account as it was read after the final block `height`.
    pub(crate) fn remember(&self, sender: Address, account: Account, height: u64) {
        lock(&self.accounts).insert(sender, account, height);
    }

    /// Takes a valid transaction whose sender's account is `account` after the final block `height`.
    /// Peers are told of it, unless they will have been told by `source`.
    pub(crate) fn insert(
        &self,
        tx: Transaction,
        (account, height): (&Account, u64),
        (source, tell): (Source, bool),
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
            tx: Arc::new(tx),
        };
        let seen = Standing { height, next: account.nonce, balance: account.balance };
        let sender = pooled.sender;
        lock(&self.transactions).insert(pooled, seen, source)?;
        self.recovery.remember([(hash, sender)]);
        if tell {
            self.outbox(Topic::Transactions).push(hash);
        }
        Ok(hash)
    }

    /// Takes a blob of an author. Peers are told of our own.
    pub(crate) fn insert_blob(&self, blob: Bytes, author: Source) -> Result<B256, BlobRefused> {
        let hash = lock(&self.blobs).insert(blob, author)?;
        if author == Source::Own {
            self.outbox(Topic::Blobs).push(hash);
        }
        Ok(hash)
    }

    /// The bytes of something that waits, as peers are sent them.
    pub(crate) fn bytes(&self, topic: Topic, hash: &B256) -> Option<Bytes> {
        match topic {
            Topic::Transactions => self.get(hash).map(|tx| tx.encoded_2718().into()),
            Topic::Blobs => lock(&self.blobs).get(hash).cloned(),
        }
    }

    /// What peers are to be told of again at `height`, at most `count`.
    pub(crate) fn due(&self, topic: Topic, height: u64, count: usize) -> Vec<B256> {
        match topic {
            Topic::Transactions => lock(&self.transactions).due(height, count),
            Topic::Blobs => lock(&self.blobs).due(height, count),
        }
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<Arc<Transaction>> {
        lock(&self.transactions).get(hash).cloned()
    }

    pub(crate) fn pending_nonce(&self, sender: Address, next: u64) -> u64 {
        lock(&self.transactions).pending_nonce(sender, next)
    }

    /// Waiting transactions, and bytes of our own waiting blobs.
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
    ) -> Vec<Arc<Transaction>> {
        lock(&self.transactions).candidates(base_fee, used, limits)
    }

    pub(crate) fn blob_candidates(&self, carried: &BTreeSet<B256>, height: u64) -> Vec<Bytes> {
        lock(&self.blobs).candidates(carried, height)
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

    /// Removes what the final block at `height` used and carries, and what the accounts that it wrote
    /// cannot run any more: delegated code and authorizations (EIP-7702) use nonces and coins without a
    /// transaction of their owner. Gives other senders that are to be checked ([`Queues::check`]).
    pub(crate) fn finalized(
        &self,
        height: u64,
        used: &[(Address, u64)],
        written: &[(Address, Account)],
        carried: impl IntoIterator<Item = B256>,
    ) -> BTreeSet<Address> {
        lock(&self.accounts).finalized(height, written);
        lock(&self.blobs).finalized(height, carried);
        let mut transactions = lock(&self.transactions);
        transactions.finalized(height, used.iter().copied());
        let mut suspects = transactions.take_suspects();
        for (sender, account) in written {
            transactions.check(*sender, account.nonce, account.balance);
            suspects.remove(sender);
        }
        suspects
    }

    /// Removes what the sender cannot run by final state.
    pub(crate) fn check(&self, sender: Address, account: &Account) {
        lock(&self.transactions).check(sender, account.nonce, account.balance);
    }
}
