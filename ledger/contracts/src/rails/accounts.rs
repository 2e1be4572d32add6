//! Releasing ended rails: from their limits to what they can have cost.

use super::calls::{at_most, bounded};
use super::state::{Account, Purse, Rail, Rails};
use crate::abi::IRails::{
    AlreadyReleased, NotLate, RailOpen, Released, Unbacked, WrongLeaf, releaseCall, releaseLateCall,
};
use crate::address::RAILS;
use crate::context::{Checked as _, Context, narrow};
use crate::devices::Devices;
use crate::env::{Failure, ensure};
use crate::networks::Networks;
use crate::settlements::Settlements;
use alloy_primitives::{Address, U256};
use protocol::{Epoch, NetworkId};

/// What rails released late in one call can have cost, and can still cost.
#[derive(Default)]
struct Late {
    limits: u128,
    presented: u128,
    /// The newest epoch that may have charged one of them: the one after its last, for its vouchers.
    end: u64,
    /// Whether one of them counted in a final epoch.
    counted: bool,
}

impl Rails {
    pub(super) fn release(&self, cx: &mut Context<'_>, call: &releaseCall) -> Result<(), Failure> {
        at_most(call.rails.len())?;
        let (leaf, epoch) = (&call.leaf, call.epoch);
        let (payer, network) = (leaf.account, leaf.network);
        Settlements::new().verify(cx, Epoch(epoch), leaf, &call.proof)?;
        let account = self.accounts.get2(cx, payer, network)?;
        ensure!(epoch >= account.epoch, WrongLeaf { payer, network });
        let mut limits: u128 = 0;
        for &rail in &call.rails {
            let record = self.ended(cx, rail)?;
            // The epoch after its end pays what was presented in its last one.
            let fits = record.payer == payer && record.network == network && record.end < epoch;
            ensure!(fits, WrongLeaf { payer, network });
            if !record.late {
                limits = limits.plus(u128::from(record.limit))?;
                cx.emit(RAILS, &Released { rail, payer })?;
            }
            self.delist(cx, rail, record)?;
        }
        let spent: u128 = narrow(leaf.spent)?;
        let after = Account {
            open: account.open.minus(limits)?,
            closed: spent.min(account.closed.plus(limits)?),
            epoch,
        };
        self.settle(cx, (payer, network), &account, &after)
    }

    pub(super) fn release_late(
        &self,
        cx: &mut Context<'_>,
        call: &releaseLateCall,
    ) -> Result<(), Failure> {
        bounded(call.rails.len())?;
        let (payer, network) = (call.leaf.account, call.leaf.network);
        let last = Settlements::new().last_final(cx, NetworkId(network))?;
        let mut late = Late::default();
        for &rail in &call.rails {
            let record = self.ended(cx, rail)?;
            ensure!(!record.late, AlreadyReleased { rail });
            let fits = record.payer == payer && record.network == network;
            ensure!(fits, WrongLeaf { payer, network });
            if self.never_counted(cx, &record)? {
                self.release_unused(cx, rail, record)?;
            } else {
                self.count_late(cx, (rail, record), last, &mut late)?;
            }
        }
        let spent = if late.counted { self.newest_spent(cx, last, call)? } else { 0 };
        let before = self.accounts.get2(cx, payer, network)?;
        let cost = late.limits.min(spent.plus(late.presented)?);
        let after = Account {
            open: before.open.minus(late.limits)?,
            closed: before.closed.plus(cost)?,
            epoch: before.epoch.max(late.end),
        };
        self.settle(cx, (payer, network), &before, &after)
    }

    /// Marks a rail as released late and adds it up, or reverts if its last epochs are not void.
    fn count_late(
        &self,
        cx: &mut Context<'_>,
        (rail, record): (u64, Rail),
        last: Option<Epoch>,
        late: &mut Late,
    ) -> Result<(), Failure> {
        // The epoch after its end still pays vouchers.
        let ended = record.end.plus(1)?;
        let (settlements, network) = (Settlements::new(), NetworkId(record.network));
        let from = settlements.void_from(cx, network, Epoch(ended))?;
        let void = last.is_none_or(|last| last.0 < ended)
            && settlements.is_closed(cx, network, Epoch(ended))?;
        ensure!(void, NotLate { rail, from });
        // Its first epoch is the one after its opening.
        late.counted |= last.is_some_and(|last| last.0 > record.opened);
        late.limits = late.limits.plus(u128::from(record.limit))?;
        late.presented = late.presented.plus(u128::from(record.presented))?;
        late.end = late.end.max(ended);
        let payer = record.payer;
        self.rails.set(cx, rail, &Rail { late: true, ..record })?;
        cx.emit(RAILS, &Released { rail, payer })
    }

    /// Whether a rail is in the inputs of no epoch: its device was retired before the first one.
    pub(super) fn never_counted(
        &self,
        cx: &mut Context<'_>,
        record: &Rail,
    ) -> Result<bool, Failure> {
        let Some(device) = Devices::new().get(cx, record.device)? else { return Ok(false) };
        let start = Networks::new().record(cx, NetworkId(record.network))?.start;
        Ok(device.retired < record.opened.plus(1)?.max(start))
    }

    /// What the payer spent by the newest final epoch, as its leaf proves.
    fn newest_spent(
        &self,
        cx: &mut Context<'_>,
        last: Option<Epoch>,
        call: &releaseLateCall,
    ) -> Result<u128, Failure> {
        let (leaf, epoch) = (&call.leaf, Epoch(call.epoch));
        let error = WrongLeaf { payer: leaf.account, network: leaf.network };
        ensure!(Some(epoch) == last, error);
        Settlements::new().verify(cx, epoch, leaf, &call.proof)?;
        narrow(leaf.spent)
    }

    /// Releases a rail that was never in an epoch's inputs.
    pub(super) fn release_unused(
        &self,
        cx: &mut Context<'_>,
        rail: u64,
        record: Rail,
    ) -> Result<(), Failure> {
        let (payer, network) = (record.payer, record.network);
        let before = self.accounts.get2(cx, payer, network)?;
        let open = before.open.minus(u128::from(record.limit))?;
        cx.emit(RAILS, &Released { rail, payer })?;
        self.delist(cx, rail, record)?;
        self.settle(cx, (payer, network), &before, &Account { open, ..before.clone() })
    }

    /// The rail, or a revert if it still counts or was released for good.
    fn ended(&self, cx: &mut Context<'_>, rail: u64) -> Result<Rail, Failure> {
        let (record, epoch) = (self.find(cx, rail)?, cx.epoch()?.0);
        ensure!(!record.released, AlreadyReleased { rail });
        ensure!(record.end < epoch, RailOpen { rail, end: record.end });
        Ok(record)
    }

    /// Takes a rail from the list that inputs are made from.
    fn delist(&self, cx: &mut Context<'_>, rail: u64, record: Rail) -> Result<(), Failure> {
        let list = self.live.at_key(cx, record.network)?;
        if let Some(moved) = list.swap_remove(cx, record.index)? {
            let other = Rail { index: record.index, ..self.rails.get(cx, moved)? };
            self.rails.set(cx, moved, &other)?;
        }
        self.rails.set(cx, rail, &Rail { released: true, index: 0, ..record })
    }

    /// Stores an account and frees what it is charged with less than before.
    fn settle(
        &self,
        cx: &mut Context<'_>,
        (payer, network): (Address, u64),
        before: &Account,
        after: &Account,
    ) -> Result<(), Failure> {
        let freed = before.charge()?.minus(after.charge()?)?;
        self.accounts.set2(cx, payer, network, after)?;
        let purse = self.purses.get(cx, payer)?;
        let reserved = purse.reserved.minus(freed)?;
        self.purses.set(cx, payer, &Purse { reserved, ..purse })?;
        let backing = self.backing.get(cx, network)?.minus(freed)?;
        let spent = Settlements::new().spent(cx, NetworkId(network))?;
        ensure!(U256::from(backing) >= U256::from(spent), Unbacked { network });
        self.backing.set(cx, network, &backing)
    }
}

impl Account {
    /// The most that the payer can be charged with in the network.
    pub(super) fn charge(&self) -> Result<u128, Failure> {
        self.open.plus(self.closed)
    }
}
