//! Transactions and blobs that wait for a block: pure state, no clock, no I/O.
//!
//! Transactions stand in one queue a sender, by nonce. What a block would carry is drawn by price
//! over the heads of the queues, so a sender's transactions always come in order of nonce.
//!
//! Rules:
//! * nothing leaves because it was proposed: only finality, a better-paying replacement, eviction or
//!   a check against final state removes a transaction, so a lost proposal loses nothing;
//! * a replacement pays at least 10 % more in both fee and tip ([`REPLACEMENT_PERCENT`]);
//! * a sender has at most [`Limits::per_sender`] transactions, within as many nonces of the next one
//!   and within its balance in all;
//! * when full, a newcomer evicts the lowest-paying *last* transaction of some other sender, never
//!   one from the middle of a queue, and only if it pays more;
//! * all order is by price, then by arrival: two pools with one history give one answer.

mod blobs;

pub use blobs::BlobRefused;
pub(crate) use blobs::Blobs;

use alloy_primitives::{Address, B256, U256};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

/// What a replacement pays of what it replaces, in per cent.
pub const REPLACEMENT_PERCENT: u128 = 110;

/// Bounds of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most transactions of one sender.
    pub per_sender: u64,
    /// Most transactions of all senders.
    pub transactions: usize,
    /// Most bytes of all transactions.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_sender: 1_024, transactions: 16_384, bytes: 16 * 1024 * 1024 }
    }
}

/// What the pool must know of a transaction, and the transaction itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pooled<T> {
    /// keccak256 of the EIP-2718 bytes.
    pub(crate) hash: B256,
    pub(crate) sender: Address,
    pub(crate) nonce: u64,
    /// Most wei a unit of gas.
    pub(crate) max_fee: u128,
    /// Most wei a unit of gas above the base fee.
    pub(crate) max_tip: u128,
    /// Most wei in all: gas limit times `max_fee`, plus the value sent.
    pub(crate) cost: U256,
    /// Length of the EIP-2718 bytes.
    pub(crate) bytes: usize,
    pub(crate) tx: T,
}

impl<T> Pooled<T> {
    /// The tip at `base_fee`, or nothing if the transaction does not pay the base fee.
    fn tip(&self, base_fee: u64) -> Option<u128> {
        self.max_fee.checked_sub(u128::from(base_fee)).map(|rest| rest.min(self.max_tip))
    }

    fn replaces(&self, old: &Self) -> bool {
        let more =
            |new: u128, old: u128| new >= old.saturating_mul(REPLACEMENT_PERCENT).div_ceil(100);
        more(self.max_fee, old.max_fee) && more(self.max_tip, old.max_tip)
    }
}

/// What final state says of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The height after which it was read.
    pub(crate) height: u64,
    /// The sender's next nonce.
    pub(crate) next: u64,
    /// The sender's coins in wei.
    pub(crate) balance: U256,
}

/// Why the pool did not take a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolRefused {
    /// The same transaction waits already.
    #[error("already known")]
    Known,
    /// The nonce was used by a final block.
    #[error("nonce too low: next nonce {next}, transaction nonce {nonce}")]
    NonceTooLow {
        /// The next nonce of the sender.
        next: u64,
        /// The nonce of the transaction.
        nonce: u64,
    },
    /// The nonce is too far ahead to wait for.
    #[error("nonce too high: next nonce {next}, transaction nonce {nonce}")]
    NonceTooHigh {
        /// The next nonce of the sender.
        next: u64,
        /// The nonce of the transaction.
        nonce: u64,
    },
    /// Another transaction with this nonce waits and pays too much to be replaced.
    #[error("replacement transaction underpriced: pay at least 10 % more in fee and tip")]
    Underpriced,
    /// The sender cannot pay for all its waiting transactions.
    #[error(
        "insufficient funds for gas * price + value over all waiting transactions: balance {balance}"
    )]
    Funds {
        /// The sender's balance in wei.
        balance: U256,
    },
    /// The pool is full of transactions that pay at least as much.
    #[error("transaction pool is full: pay more or send it again later")]
    Full,
}

#[derive(Debug)]
struct Sender<T> {
    /// Next nonce by final state.
    next: u64,
    /// What all waiting transactions may cost.
    cost: U256,
    queue: BTreeMap<u64, Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    arrival: u64,
    pooled: Pooled<T>,
}

/// The waiting transactions.
#[derive(Debug)]
pub(crate) struct Mempool<T> {
    limits: Limits,
    senders: BTreeMap<Address, Sender<T>>,
    hashes: BTreeMap<B256, (Address, u64)>,
    /// Senders whose transactions an execution skipped: to be checked against final state.
    suspects: BTreeSet<Address>,
    /// The last final height that [`Mempool::finalized`] was told of.
    height: u64,
    bytes: usize,
    arrivals: u64,
}

impl<T: Clone> Mempool<T> {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            senders: BTreeMap::new(),
            hashes: BTreeMap::new(),
            suspects: BTreeSet::new(),
            height: 0,
            bytes: 0,
            arrivals: 0,
        }
    }

    /// Number of waiting transactions.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// A waiting transaction.
    pub(crate) fn get(&self, hash: &B256) -> Option<&T> {
        let (sender, nonce) = self.hashes.get(hash)?;
        Some(&self.senders.get(sender)?.queue.get(nonce)?.pooled.tx)
    }

    /// The first nonce of `sender` that is free after its final ones and the waiting ones without a
    /// gap; `next` is the next nonce by final state.
    pub(crate) fn pending_nonce(&self, sender: Address, next: u64) -> u64 {
        self.senders.get(&sender).map_or(next, |state| {
            let mut free = state.next.max(next);
            while state.queue.contains_key(&free) {
                free += 1;
            }
            free
        })
    }

    /// Takes a transaction of a sender with this standing.
    ///
    /// A standing read before the last final block may lack what that block used, and the sender may
    /// have left the pool with it; then the sender is checked again after the next block.
    ///
    /// # Errors
    /// Why it was not taken; the pool is unchanged then.
    pub(crate) fn insert(&mut self, new: Pooled<T>, seen: Standing) -> Result<(), PoolRefused> {
        let Standing { height, next, balance } = seen;
        if self.hashes.contains_key(&new.hash) {
            return Err(PoolRefused::Known);
        }
        let state = self.senders.get(&new.sender);
        let next = state.map_or(next, |state| state.next.max(next));
        if new.nonce < next {
            return Err(PoolRefused::NonceTooLow { next, nonce: new.nonce });
        }
        if new.nonce - next >= self.limits.per_sender {
            return Err(PoolRefused::NonceTooHigh { next, nonce: new.nonce });
        }
        let old = state.and_then(|state| state.queue.get(&new.nonce)).map(|old| &old.pooled);
        if old.is_some_and(|old| !new.replaces(old)) {
            return Err(PoolRefused::Underpriced);
        }
        let others =
            state.map_or(U256::ZERO, |state| state.cost) - old.map_or(U256::ZERO, |old| old.cost);
        if others.saturating_add(new.cost) > balance {
            return Err(PoolRefused::Funds { balance });
        }
        for (sender, nonce) in self.victims(&new, old)? {
            self.remove(sender, nonce);
        }
        self.remove(new.sender, new.nonce);
        if height < self.height {
            self.suspects.insert(new.sender);
        }
        self.add(new, next);
        Ok(())
    }

    /// Whom `new` pushes out, if anybody.
    fn victims(
        &self,
        new: &Pooled<T>,
        old: Option<&Pooled<T>>,
    ) -> Result<Vec<(Address, u64)>, PoolRefused> {
        let mut count = self.len() + 1 - old.map_or(0, |_| 1);
        let mut bytes = self.bytes + new.bytes - old.map_or(0, |old| old.bytes);
        let mut victims = Vec::new();
        let mut gone: BTreeMap<Address, usize> = BTreeMap::new();
        while count > self.limits.transactions || bytes > self.limits.bytes {
            let cheapest = self
                .senders
                .iter()
                .filter(|(sender, _)| **sender != new.sender)
                .filter_map(|(sender, state)| {
                    let skip = gone.get(sender).copied().unwrap_or(0);
                    state.queue.values().rev().nth(skip).map(|last| &last.pooled)
                })
                .min_by_key(|last| (last.max_fee, last.max_tip, last.hash))
                .filter(|last| last.max_fee < new.max_fee)
                .ok_or(PoolRefused::Full)?;
            count -= 1;
            bytes -= cheapest.bytes;
            *gone.entry(cheapest.sender).or_default() += 1;
            victims.push((cheapest.sender, cheapest.nonce));
        }
        Ok(victims)
    }

    fn add(&mut self, pooled: Pooled<T>, next: u64) {
        self.bytes += pooled.bytes;
        self.hashes.insert(pooled.hash, (pooled.sender, pooled.nonce));
        let arrival = self.arrivals;
        self.arrivals += 1;
        let sender = self.senders.entry(pooled.sender).or_insert_with(|| Sender {
            next,
            cost: U256::ZERO,
            queue: BTreeMap::new(),
        });
        sender.next = next;
        sender.cost += pooled.cost;
        sender.queue.insert(pooled.nonce, Waiting { arrival, pooled });
    }

    fn remove(&mut self, sender: Address, nonce: u64) {
        let Some(state) = self.senders.get_mut(&sender) else { return };
        if let Some(Waiting { pooled, .. }) = state.queue.remove(&nonce) {
            state.cost -= pooled.cost;
            self.bytes -= pooled.bytes;
            self.hashes.remove(&pooled.hash);
        }
        if state.queue.is_empty() {
            self.senders.remove(&sender);
        }
    }

    /// What a block at `base_fee` should try, best tip first: at most `bytes` bytes and `count`
    /// transactions. `used` says which nonces blocks before it, not yet final, have used up to.
    pub(crate) fn candidates(
        &self,
        base_fee: u64,
        used: &BTreeMap<Address, u64>,
        (count, bytes): (usize, usize),
    ) -> Vec<T> {
        let mut heads = BinaryHeap::new();
        let push = |heads: &mut BinaryHeap<_>, sender: Address, nonce: u64| {
            let waiting = self.senders.get(&sender).and_then(|state| state.queue.get(&nonce));
            if let Some((waiting, tip)) =
                waiting.and_then(|waiting| Some((waiting, waiting.pooled.tip(base_fee)?)))
            {
                heads.push((tip, Reverse(waiting.arrival), sender, nonce));
            }
        };
        for (sender, state) in &self.senders {
            let next = used.get(sender).map_or(state.next, |used| state.next.max(*used));
            push(&mut heads, *sender, next);
        }
        let (mut chosen, mut left) = (Vec::new(), bytes);
        while let Some((_, _, sender, nonce)) = heads.pop() {
            let Some(waiting) = self.senders[&sender].queue.get(&nonce) else { continue };
            if chosen.len() == count || waiting.pooled.bytes > left {
                break;
            }
            left -= waiting.pooled.bytes;
            chosen.push(waiting.pooled.tx.clone());
            push(&mut heads, sender, nonce + 1);
        }
        chosen
    }

    /// Removes what the final block at `height` made obsolete: everything of each sender up to the
    /// nonce used.
    pub(crate) fn finalized(
        &mut self,
        height: u64,
        used: impl IntoIterator<Item = (Address, u64)>,
    ) {
        self.height = self.height.max(height);
        for (sender, nonce) in used {
            self.advance(sender, nonce.saturating_add(1));
        }
    }

    /// Removes a transaction that no state makes valid.
    pub(crate) fn discard(&mut self, hash: &B256) {
        if let Some((sender, nonce)) = self.hashes.get(hash).copied() {
            self.remove(sender, nonce);
        }
    }

    /// Notes a sender whose transaction an execution skipped.
    pub(crate) fn suspect(&mut self, sender: Address) {
        if self.senders.contains_key(&sender) {
            self.suspects.insert(sender);
        }
    }

    /// Takes the senders to check against final state.
    pub(crate) fn take_suspects(&mut self) -> BTreeSet<Address> {
        std::mem::take(&mut self.suspects)
    }

    /// Removes what cannot run by final state: used nonces, and whatever costs more than the balance.
    pub(crate) fn check(&mut self, sender: Address, next: u64, balance: U256) {
        self.advance(sender, next);
        let unpayable: Vec<u64> = self
            .senders
            .get(&sender)
            .into_iter()
            .flat_map(|state| state.queue.iter())
            .filter(|(_, waiting)| waiting.pooled.cost > balance)
            .map(|(nonce, _)| *nonce)
            .collect();
        for nonce in unpayable {
            self.remove(sender, nonce);
        }
    }

    fn advance(&mut self, sender: Address, next: u64) {
        let Some(state) = self.senders.get_mut(&sender) else { return };
        state.next = state.next.max(next);
        let used: Vec<u64> = state.queue.range(..state.next).map(|(nonce, _)| *nonce).collect();
        for nonce in used {
            self.remove(sender, nonce);
        }
    }
}

#[cfg(test)]
mod tests;
