//! Releasing ended rails: from their limits to what they can have cost.

use super::calls::{LATE_EPOCHS, bounded};
use super::state::{Account, Purse, Rail, Rails};
use crate::abi::IRails::{
    AlreadyReleased, NotLate, RailOpen, Released, Unbacked, WrongLeaf, releaseCall,
};
use crate::address::RAILS;
use crate::context::{Checked as _, Context, narrow};
use crate::env::{Failure, ensure};
use crate::settlements::Settlements;
use alloy_primitives::{Address, U256};
use protocol::{Epoch, NetworkId};

impl Rails {
    pub(super) fn release(&self, cx: &mut Context<'_>, call: &releaseCall) -> Result<(), Failure> {
        bounded(call.rails.len())?;
        let (leaf, epoch) = (&call.leaf, call.epoch);
        let (payer, network) = (leaf.account, leaf.network);
        Settlements::new().verify(cx, Epoch(epoch), leaf, &call.proof)?;
        let account = self.accounts.get2(cx, payer, network)?;
        ensure!(epoch >= account.epoch, WrongLeaf { payer, network });
        let mut limits: u128 = 0;
        for &rail in &call.rails {
            let record = self.ended(cx, rail)?;
            let fits = record.payer == payer && record.network == network && record.end <= epoch;
            ensure!(fits, WrongLeaf { payer, network });
            limits = limits.plus(u128::from(record.limit))?;
            self.mark_released(cx, rail, record)?;
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
        rails: &[u64],
    ) -> Result<(), Failure> {
        bounded(rails.len())?;
        let now = cx.epoch()?.0;
        for &rail in rails {
            let record = self.ended(cx, rail)?;
            let (payer, network) = (record.payer, record.network);
            let from = record.end.plus(LATE_EPOCHS)?.plus(1)?;
            let settled = Settlements::new().last_final(cx, NetworkId(network))?;
            let open = settled.is_none_or(|last| last.0 < record.end);
            ensure!(open && now >= from, NotLate { rail, from });
            let before = self.accounts.get2(cx, payer, network)?;
            let after = Account {
                open: before.open.minus(u128::from(record.limit))?,
                closed: before.closed.plus(u128::from(record.presented))?,
                epoch: before.epoch.max(record.end),
            };
            self.mark_released(cx, rail, record)?;
            self.settle(cx, (payer, network), &before, &after)?;
        }
        Ok(())
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
        self.mark_released(cx, rail, record)?;
        self.settle(cx, (payer, network), &before, &Account { open, ..before.clone() })
    }

    /// The rail, or a revert if it still counts or was released.
    fn ended(&self, cx: &mut Context<'_>, rail: u64) -> Result<Rail, Failure> {
        let (record, epoch) = (self.find(cx, rail)?, cx.epoch()?.0);
        ensure!(!record.released, AlreadyReleased { rail });
        ensure!(record.end < epoch, RailOpen { rail, end: record.end });
        Ok(record)
    }

    fn mark_released(
        &self,
        cx: &mut Context<'_>,
        rail: u64,
        record: Rail,
    ) -> Result<(), Failure> {
        let list = self.live.at_key(cx, record.network)?;
        if let Some(moved) = list.swap_remove(cx, record.index)? {
            let other = Rail { index: record.index, ..self.rails.get(cx, moved)? };
            self.rails.set(cx, moved, &other)?;
        }
        let payer = record.payer;
        self.rails.set(cx, rail, &Rail { released: true, index: 0, ..record })?;
        cx.emit(RAILS, &Released { rail, payer })
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
