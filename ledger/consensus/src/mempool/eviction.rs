//! Who goes when the pool is full.
//!
//! Price decides, and at one price fairness between sources: each may fill an equal share of the pool,
//! and whoever holds more than its share makes room for one that holds less. So what one peer sends
//! in masses keeps nobody else out, and pushes out nothing that pays as much.

use super::{Limits, Mempool, PoolRefused, Pooled, Source};
use alloy_primitives::{Address, B256};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
};

/// How much of a pool is used, by all or by one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) transactions: usize,
    pub(super) bytes: usize,
    /// Transactions before which a nonce is missing.
    pub(super) gapped: usize,
}

impl Used {
    pub(super) const fn add(&mut self, bytes: usize) {
        self.transactions += 1;
        self.bytes += bytes;
    }

    pub(super) const fn remove(&mut self, bytes: usize) {
        self.transactions -= 1;
        self.bytes -= bytes;
    }

    const fn fits(&self, limits: &Limits) -> bool {
        self.transactions <= limits.transactions
            && self.bytes <= limits.bytes
            && self.gapped <= limits.gapped
    }

    /// Whether it is more than one of `sources` may fill; a transaction that can run does not answer
    /// for those of its source that cannot.
    const fn exceeds(&self, limits: &Limits, sources: usize, ready: bool) -> bool {
        self.transactions > limits.transactions / sources
            || self.bytes > limits.bytes / sources
            || (!ready && self.gapped > limits.gapped / sources)
    }
}

/// A sender's last transaction, in the order of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tail {
    /// Whether no nonce is missing before it.
    pub(super) ready: bool,
    max_fee: u128,
    max_tip: u128,
    hash: B256,
    pub(super) sender: Address,
    pub(super) nonce: u64,
    bytes: usize,
    pub(super) source: Source,
}

impl Tail {
    pub(super) fn new<T>(pooled: &Pooled<T>, free: u64, source: Source) -> Self {
        let Pooled { hash, sender, nonce, max_fee, max_tip, bytes, .. } = *pooled;
        Self { ready: nonce <= free, max_fee, max_tip, hash, sender, nonce, bytes, source }
    }

    const fn price(&self) -> (bool, u128) {
        (self.ready, self.max_fee)
    }
}

/// The last transactions of one source's senders, the first to go first.
struct Line<I: Iterator<Item = Tail>> {
    tails: Peekable<I>,
    /// What becomes a sender's last transaction when the one behind it goes.
    bared: BTreeSet<Tail>,
}

impl<I: Iterator<Item = Tail>> Line<I> {
    fn first(&mut self) -> Option<Tail> {
        let bared = self.bared.first().copied();
        self.tails.peek().copied().into_iter().chain(bared).min()
    }

    fn pop(&mut self) {
        let (tail, bared) = (self.tails.peek(), self.bared.first());
        if bared.is_none() || tail.is_some_and(|tail| Some(tail) < bared) {
            self.tails.next();
        } else {
            self.bared.pop_first();
        }
    }
}

impl<T: Clone> Mempool<T> {
    /// Whom `new` pushes out, if anybody; `old` is what it replaces, of a source.
    pub(super) fn victims(
        &self,
        new: &Tail,
        old: Option<(&Pooled<T>, Source)>,
    ) -> Result<Vec<Tail>, PoolRefused> {
        let mut total = self.used;
        total.add(new.bytes);
        total.gapped += usize::from(!new.ready && old.is_none());
        if let Some((old, _)) = old {
            total.remove(old.bytes);
        }
        if total.fits(&self.limits) {
            return Ok(Vec::new());
        }
        let mut held = self.held.clone();
        let mine = held.entry(new.source).or_default();
        mine.add(new.bytes);
        mine.gapped += usize::from(!new.ready);
        if let Some((old, source)) = old {
            held.entry(source).or_default().remove(old.bytes);
        }
        let of_others = |tails| {
            let tails: std::iter::Copied<std::collections::btree_set::Iter<'_, Tail>> = tails;
            let tails = tails.filter(|tail| tail.sender != new.sender).peekable();
            Line { tails, bared: BTreeSet::new() }
        };
        let lines = self.tails.iter();
        let mut lines: BTreeMap<Source, _> =
            lines.map(|(source, tails)| (*source, of_others(tails.iter().copied()))).collect();
        let mut victims = Vec::new();
        while !total.fits(&self.limits) {
            let over = |tail: &Tail| {
                let used = held.get(&tail.source).copied().unwrap_or_default();
                used.exceeds(&self.limits, held.len(), tail.ready)
            };
            let first = lines.values_mut().filter_map(Line::first);
            let victim = first.min_by_key(|tail| (tail.price(), !over(tail), *tail));
            let victim = victim.filter(|victim| {
                victim.price() < new.price()
                    || (victim.price() == new.price() && over(victim) && !over(new))
            });
            let victim = victim.ok_or(PoolRefused::Full)?;
            for used in held.get_mut(&victim.source).into_iter().chain([&mut total]) {
                used.remove(victim.bytes);
                used.gapped = used.gapped.saturating_sub(usize::from(!victim.ready));
            }
            if let Some(line) = lines.get_mut(&victim.source) {
                line.pop();
            }
            let state = self.senders.get(&victim.sender);
            if let Some(bare) = state.and_then(|state| state.tail_before(victim.nonce))
                && let Some(line) = lines.get_mut(&bare.source)
            {
                line.bared.insert(bare);
            }
            victims.push(victim);
        }
        Ok(victims)
    }
}
