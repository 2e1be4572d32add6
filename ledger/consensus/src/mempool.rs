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
//!   and within its balance in all, which is checked again whenever a block wrote its account;
//! * a transaction that waits for a missing nonce costs its sender nothing, so there are few of them
//!   ([`Limits::gapped`]), they go first when the pool is full, and by themselves after
//!   [`GAP_BLOCKS`];
//! * when full, a newcomer evicts the lowest-paying *last* transaction of some other sender, never
//!   one from the middle of a queue, and only if it pays more or fills a block sooner, or pays as much
//!   and comes from a [`Source`] that fills less than its share (see [`eviction`]);
//! * what came from this node's own clients is due to be sent to peers again and again
//!   ([`AGAIN_BLOCKS`]) until it leaves: peers may have lost it, and some are new;
//! * one that used up a block's time alone is tried after all others, and goes after
//!   [`LATE_MAX`] times;
//! * all order is by price, then by arrival: two pools with one history give one answer.

mod blobs;
mod eviction;

pub use blobs::BlobRefused;
pub(crate) use blobs::Blobs;
use eviction::{Tail, Used};

use alloy_primitives::{Address, B256, U256};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

/// What a replacement pays of what it replaces, in per cent.
pub const REPLACEMENT_PERCENT: u128 = 110;

/// Blocks a transaction waits for those that are missing before it.
const GAP_BLOCKS: u64 = 600;

/// Blocks whose time a transaction may use up.
const LATE_MAX: u8 = 3;

/// Blocks after which what no final block holds is sent to peers again.
const AGAIN_BLOCKS: u64 = 8;

/// Who gave this node a transaction or a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Its own clients.
    Own,
    /// The peer with this network key.
    Peer([u8; 32]),
}

/// Bounds of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most transactions of one sender.
    pub per_sender: u64,
    /// Most transactions of all senders.
    pub transactions: usize,
    /// Most bytes of all transactions.
    pub bytes: usize,
    /// Most transactions of all senders before which a nonce is missing.
    pub gapped: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_sender: 1_024, transactions: 16_384, bytes: 16 * 1024 * 1024, gapped: 1_024 }
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
    /// Every nonce from `next` to before this one waits.
    free: u64,
    /// Transactions behind a nonce that is missing, by source.
    gapped: BTreeMap<Source, usize>,
    /// Where the last transaction stands in [`Mempool::tails`].
    tail: Option<Tail>,
    /// What all waiting transactions may cost.
    cost: U256,
    queue: BTreeMap<u64, Waiting<T>>,
}

impl<T> Sender<T> {
    /// The first nonce from `next` on that does not wait.
    fn free_from(&self, next: u64) -> u64 {
        let mut free = self.free.max(next);
        while self.queue.contains_key(&free) {
            free += 1;
        }
        free
    }

    /// The last transaction before `nonce`.
    fn tail_before(&self, nonce: u64) -> Option<Tail> {
        let (_, waiting) = self.queue.range(..nonce).next_back()?;
        Some(Tail::new(&waiting.pooled, self.free, waiting.source))
    }
}

#[derive(Debug)]
struct Waiting<T> {
    arrival: u64,
    /// The height at which it came.
    since: u64,
    /// Blocks whose time it used up.
    late: u8,
    source: Source,
    /// The height from which on it is due to be sent again, if that is for this node to do.
    again: Option<u64>,
    pooled: Pooled<T>,
}

/// The waiting transactions.
#[derive(Debug)]
pub(crate) struct Mempool<T> {
    limits: Limits,
    senders: BTreeMap<Address, Sender<T>>,
    hashes: BTreeMap<B256, (Address, u64)>,
    /// The last transaction of each sender, by source, the first to go first.
    tails: BTreeMap<Source, BTreeSet<Tail>>,
    /// Senders with transactions behind a missing nonce.
    gaps: BTreeSet<Address>,
    /// What of the limits is used, and by whom.
    used: Used,
    held: BTreeMap<Source, Used>,
    /// What is to be sent again, by the height from which on it is due.
    again: BTreeSet<(u64, B256)>,
    /// Senders whose standing was out of date when they came, or whose transactions an execution
    /// skipped: to be checked against final state.
    suspects: BTreeSet<Address>,
    /// The last final height that [`Mempool::finalized`] was told of.
    height: u64,
    arrivals: u64,
}

impl<T: Clone> Mempool<T> {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            senders: BTreeMap::new(),
            hashes: BTreeMap::new(),
            tails: BTreeMap::new(),
            gaps: BTreeSet::new(),
            used: Used { transactions: 0, bytes: 0, gapped: 0 },
            held: BTreeMap::new(),
            again: BTreeSet::new(),
            suspects: BTreeSet::new(),
            height: 0,
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
        self.senders.get(&sender).map_or(next, |state| state.free_from(state.next.max(next)))
    }

    /// Takes a transaction of a sender with this standing, from a source. One that a peer gave is
    /// this node's own to send as soon as its own clients give it as well.
    ///
    /// A standing read before the last final block may lack what that block used, and the sender may
    /// have left the pool with it; then the sender is checked again after the next block.
    ///
    /// # Errors
    /// Why it was not taken; the pool is unchanged then.
    pub(crate) fn insert(
        &mut self,
        new: Pooled<T>,
        seen: Standing,
        source: Source,
    ) -> Result<(), PoolRefused> {
        let Standing { height, next, balance } = seen;
        if self.hashes.contains_key(&new.hash) {
            if source == Source::Own {
                self.claim(&new.hash);
            }
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
        let old = state.and_then(|state| state.queue.get(&new.nonce));
        let old = old.map(|old| (&old.pooled, old.source));
        if old.is_some_and(|(old, _)| !new.replaces(old)) {
            return Err(PoolRefused::Underpriced);
        }
        let others = state.map_or(U256::ZERO, |state| state.cost)
            - old.map_or(U256::ZERO, |(old, _)| old.cost);
        if others.saturating_add(new.cost) > balance {
            return Err(PoolRefused::Funds { balance });
        }
        let free = state.map_or(next, |state| state.free_from(next));
        for Tail { sender, nonce, .. } in self.victims(&Tail::new(&new, free, source), old)? {
            self.remove(sender, nonce);
            self.refresh(sender);
        }
        self.advance(new.sender, next);
        self.remove(new.sender, new.nonce);
        if height < self.height {
            self.suspects.insert(new.sender);
        }
        self.add(new, next, height, source);
        Ok(())
    }

    fn add(&mut self, pooled: Pooled<T>, next: u64, height: u64, source: Source) {
        self.used.add(pooled.bytes);
        self.held.entry(source).or_default().add(pooled.bytes);
        self.hashes.insert(pooled.hash, (pooled.sender, pooled.nonce));
        let arrival = self.arrivals;
        self.arrivals += 1;
        let address = pooled.sender;
        let sender = self.senders.entry(address).or_insert_with(|| Sender {
            next,
            free: next,
            gapped: BTreeMap::new(),
            tail: None,
            cost: U256::ZERO,
            queue: BTreeMap::new(),
        });
        sender.cost += pooled.cost;
        let since = self.height.max(height);
        let again = (source == Source::Own).then(|| since.saturating_add(AGAIN_BLOCKS));
        self.again.extend(again.map(|at| (at, pooled.hash)));
        let waiting = Waiting { arrival, since, late: 0, source, again, pooled };
        sender.queue.insert(waiting.pooled.nonce, waiting);
        self.refresh(address);
    }

    /// Takes a transaction out; [`Mempool::refresh`] follows.
    fn remove(&mut self, sender: Address, nonce: u64) {
        let Some(state) = self.senders.get_mut(&sender) else { return };
        if let Some(Waiting { pooled, source, again, .. }) = state.queue.remove(&nonce) {
            state.cost -= pooled.cost;
            state.free = state.free.min(nonce);
            self.used.remove(pooled.bytes);
            if let Some(held) = self.held.get_mut(&source) {
                held.remove(pooled.bytes);
            }
            self.hashes.remove(&pooled.hash);
            again.map(|at| self.again.remove(&(at, pooled.hash)));
        }
    }

    /// Brings what is known about a sender's queue up to date, after it changed.
    fn refresh(&mut self, sender: Address) {
        let Some(state) = self.senders.get_mut(&sender) else { return };
        state.free = state.free_from(state.next);
        let mut gapped = BTreeMap::new();
        for waiting in state.queue.range(state.free..).map(|(_, waiting)| waiting) {
            *gapped.entry(waiting.source).or_default() += 1;
        }
        if gapped.is_empty() {
            self.gaps.remove(&sender);
        } else {
            self.gaps.insert(sender);
        }
        for (source, count) in &gapped {
            self.used.gapped += count;
            self.held.entry(*source).or_default().gapped += count;
        }
        for (source, count) in std::mem::replace(&mut state.gapped, gapped) {
            self.used.gapped -= count;
            self.held.entry(source).or_default().gapped -= count;
        }
        self.held.retain(|_, held| *held != Used::default());
        if let Some(tail) = state.tail.take()
            && let Some(tails) = self.tails.get_mut(&tail.source)
        {
            tails.remove(&tail);
        }
        state.tail = state.tail_before(u64::MAX);
        if let Some(tail) = state.tail {
            self.tails.entry(tail.source).or_default().insert(tail);
        }
        self.tails.retain(|_, tails| !tails.is_empty());
        if state.queue.is_empty() {
            self.senders.remove(&sender);
        }
    }

    /// Makes a waiting transaction this node's own.
    fn claim(&mut self, hash: &B256) {
        let Some((sender, nonce)) = self.hashes.get(hash).copied() else { return };
        let waiting = self.senders.get_mut(&sender).and_then(|state| state.queue.get_mut(&nonce));
        let Some(waiting) = waiting.filter(|waiting| waiting.source != Source::Own) else { return };
        let before = std::mem::replace(&mut waiting.source, Source::Own);
        let at = self.height.saturating_add(AGAIN_BLOCKS);
        waiting.again = Some(at);
        let bytes = waiting.pooled.bytes;
        self.again.insert((at, *hash));
        self.held.entry(Source::Own).or_default().add(bytes);
        if let Some(held) = self.held.get_mut(&before) {
            held.remove(bytes);
        }
        self.refresh(sender);
    }

    /// What of this node's own is due at `height` to be sent to peers again, at most `count`, the
    /// longest due first.
    pub(crate) fn due(&mut self, height: u64, count: usize) -> Vec<B256> {
        let later = (height.saturating_add(1), B256::ZERO);
        let due: Vec<_> = self.again.range(..later).take(count).copied().collect();
        let at = height.saturating_add(AGAIN_BLOCKS);
        for (old, hash) in &due {
            self.again.remove(&(*old, *hash));
            let place = self.hashes.get(hash);
            let waiting = place.and_then(|(sender, nonce)| {
                self.senders.get_mut(sender).and_then(|state| state.queue.get_mut(nonce))
            });
            if let Some(waiting) = waiting {
                waiting.again = Some(at);
                self.again.insert((at, *hash));
            }
        }
        due.into_iter().map(|(_, hash)| hash).collect()
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
                heads.push((Reverse(waiting.late), tip, Reverse(waiting.arrival), sender, nonce));
            }
        };
        for (sender, state) in &self.senders {
            let next = used.get(sender).map_or(state.next, |used| state.next.max(*used));
            push(&mut heads, *sender, next);
        }
        let (mut chosen, mut left) = (Vec::new(), bytes);
        while let Some((.., sender, nonce)) = heads.pop() {
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
    /// nonce used, and what has waited too long for a missing nonce.
    pub(crate) fn finalized(
        &mut self,
        height: u64,
        used: impl IntoIterator<Item = (Address, u64)>,
    ) {
        self.height = self.height.max(height);
        let mut next = BTreeMap::<Address, u64>::new();
        for (sender, nonce) in used {
            let next = next.entry(sender).or_default();
            *next = nonce.saturating_add(1).max(*next);
        }
        for (sender, next) in next {
            self.advance(sender, next);
        }
        for sender in self.gaps.clone() {
            let Some(state) = self.senders.get(&sender) else { continue };
            let gapped = state.queue.range(state.free..);
            let old = |waiting: &Waiting<T>| waiting.since.saturating_add(GAP_BLOCKS) <= height;
            let expired = gapped.filter(|(_, waiting)| old(waiting)).map(|(nonce, _)| *nonce);
            self.remove_all(sender, expired.collect());
        }
    }

    /// Removes a transaction that no state makes valid.
    pub(crate) fn discard(&mut self, hash: &B256) {
        if let Some((sender, nonce)) = self.hashes.get(hash).copied() {
            self.remove_all(sender, vec![nonce]);
        }
    }

    /// Notes that a transaction used up a block's time alone.
    pub(crate) fn late(&mut self, hash: &B256) {
        let Some((sender, nonce)) = self.hashes.get(hash).copied() else { return };
        let waiting = self.senders.get_mut(&sender).and_then(|state| state.queue.get_mut(&nonce));
        if let Some(waiting) = waiting {
            waiting.late += 1;
            if waiting.late >= LATE_MAX {
                self.remove_all(sender, vec![nonce]);
            }
        }
    }

    fn remove_all(&mut self, sender: Address, nonces: Vec<u64>) {
        for nonce in nonces {
            self.remove(sender, nonce);
        }
        self.refresh(sender);
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

    /// Removes what cannot run by final state: used nonces, and whatever the balance does not pay for
    /// beside the transactions before it.
    pub(crate) fn check(&mut self, sender: Address, next: u64, balance: U256) {
        self.advance(sender, next);
        let unpaid = |state: &&Sender<T>| state.cost > balance;
        let Some(state) = self.senders.get(&sender).filter(unpaid) else { return };
        let (mut left, mut unpayable) = (balance, Vec::new());
        for (nonce, waiting) in &state.queue {
            match left.checked_sub(waiting.pooled.cost) {
                Some(rest) => left = rest,
                None => unpayable.push(*nonce),
            }
        }
        self.remove_all(sender, unpayable);
    }

    fn advance(&mut self, sender: Address, next: u64) {
        // What waits is never below the sender's next nonce, so this one tells nothing new.
        let newer = |state: &&mut Sender<T>| state.next < next;
        let Some(state) = self.senders.get_mut(&sender).filter(newer) else { return };
        state.next = next;
        let used = state.queue.range(..state.next).map(|(nonce, _)| *nonce).collect();
        self.remove_all(sender, used);
    }
}

#[cfg(test)]
mod tests;
