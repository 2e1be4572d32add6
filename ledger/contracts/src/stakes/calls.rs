//! Staking, asking back, and paying out.

use super::state::{Request, Stakes, Sums};
use crate::abi::IStakes::{
    DeviceRetired, InsufficientStake, NotOwner, NothingUnbonding, Stake, StillBound, Unbonding,
    Withdrawn, WrongLeaf, withdrawCall,
};
use crate::abi::ISystem::Empty;
use crate::address::{self, STAKES};
use crate::context::{Checked as _, Context, narrow};
use crate::devices::{Device, Devices};
use crate::env::{Failure, ensure};
use crate::networks::Networks;
use crate::settlements::Settlements;
use crate::tokens::Token;
use alloy_primitives::{B256, U256};
use protocol::{Epoch, NetworkId};

impl Stakes {
    pub(super) fn stake(
        &self,
        cx: &mut Context<'_>,
        device: B256,
        amount: U256,
    ) -> Result<(), Failure> {
        ensure!(!amount.is_zero(), Empty {});
        let record = owned_by_caller(cx, device)?;
        ensure!(record.is_in_service(), DeviceRetired { device });
        let token = Token::at(address::token(NetworkId(record.network)));
        let owner = record.owner;
        token.spend_allowance(cx, owner, STAKES, amount)?;
        token.transfer(cx, owner, STAKES, amount)?;
        let more: u128 = narrow(amount)?;
        let bound = self.bound.get(cx, device)?.plus(more)?;
        self.bound.set(cx, device, &bound)?;
        let sums = self.totals.get(cx, record.network)?;
        let held = sums.held.plus(more)?;
        self.totals.set(cx, record.network, &Sums { held, ..sums })?;
        cx.emit(STAKES, &Stake { device, owner, amount, total: U256::from(bound) })
    }

    pub(super) fn unbond(
        &self,
        cx: &mut Context<'_>,
        device: B256,
        amount: U256,
    ) -> Result<(), Failure> {
        ensure!(!amount.is_zero(), Empty {});
        let record = owned_by_caller(cx, device)?;
        let owner = record.owner;
        let bound = self.bound.get(cx, device)?;
        let error = InsufficientStake { device, stake: U256::from(bound), needed: amount };
        ensure!(amount <= U256::from(bound), error);
        let less: u128 = narrow(amount)?;
        self.bound.set(cx, device, &bound.minus(less)?)?;
        let epoch = cx.epoch()?.0;
        if never_counted(cx, &record, epoch)? {
            return self.pay_unused(cx, device, &record, less);
        }
        let asked = self.requests.get(cx, device)?.amount.plus(less)?;
        self.requests.set(cx, device, &Request { amount: asked, epoch })?;
        cx.emit(STAKES, &Unbonding { device, owner, amount, epoch })
    }

    pub(super) fn withdraw(
        &self,
        cx: &mut Context<'_>,
        call: &withdrawCall,
    ) -> Result<u128, Failure> {
        let device = call.device;
        let record = owned_by_caller(cx, device)?;
        let (owner, network) = (record.owner, NetworkId(record.network));
        let request = self.requests.get(cx, device)?;
        ensure!(request.amount != 0, NothingUnbonding { device });
        // Of the epoch of the request: no later version holds back what was asked for under it.
        let start = Networks::new().record(cx, network)?.start;
        let asked = Epoch(request.epoch.max(start));
        let manifest = Networks::new().manifest(cx, network, asked)?;
        let until = request.epoch.plus(u64::from(manifest.evidence.unbonding_epochs))?;
        ensure!(cx.epoch()?.0 >= until, StillBound { device, until });
        let netted = self.netted.get2(cx, network.0, owner)?;
        let lost = self.lost(cx, call, &record, request.epoch)?;
        let open = lost.saturating_sub(netted);
        let slashed = open.min(request.amount);
        let paid = request.amount.minus(slashed)?;
        self.requests.set(cx, device, &Request { amount: 0, epoch: 0 })?;
        self.netted.set2(cx, network.0, owner, &netted.plus(slashed)?)?;
        let sums = self.totals.get(cx, network.0)?;
        let held = sums.held.minus(request.amount)?;
        self.totals.set(cx, network.0, &Sums { held, netted: sums.netted.plus(slashed)? })?;
        let token = Token::at(address::token(network));
        if slashed != 0 {
            token.burn(cx, STAKES, U256::from(slashed))?;
        }
        if paid != 0 {
            token.transfer(cx, STAKES, owner, U256::from(paid))?;
        }
        let (out, lost) = (U256::from(paid), U256::from(slashed));
        cx.emit(STAKES, &Withdrawn { device, owner, paid: out, slashed: lost })?;
        Ok(paid)
    }
}

impl Stakes {
    /// All that the owner lost to slashes, as far as it can concern what was asked back in epoch `asked`.
    fn lost(
        &self,
        cx: &mut Context<'_>,
        call: &withdrawCall,
        record: &Device,
        asked: u64,
    ) -> Result<u128, Failure> {
        let (leaf, network, epoch) = (&call.leaf, NetworkId(record.network), Epoch(call.epoch));
        let settlements = Settlements::new();
        let last = settlements.last_final(cx, network)?;
        // Until then an epoch in which the stake was bound can be decided, or again, and after it none.
        let void = settlements.is_closed(cx, network, Epoch(asked))?;
        if void && last.is_none_or(|last| last.0 <= record.registered) {
            return Ok(0);
        }
        let newest = epoch.0 >= asked || void && last == Some(epoch);
        let fits = leaf.account == record.owner && leaf.network == network.0 && newest;
        ensure!(fits, WrongLeaf { device: call.device });
        settlements.verify(cx, epoch, leaf, &call.proof)?;
        narrow(leaf.slashed)
    }

    /// Pays back stake that was never in an epoch's inputs.
    fn pay_unused(
        &self,
        cx: &mut Context<'_>,
        device: B256,
        record: &Device,
        amount: u128,
    ) -> Result<(), Failure> {
        let (owner, network) = (record.owner, record.network);
        let sums = self.totals.get(cx, network)?;
        let held = sums.held.minus(amount)?;
        self.totals.set(cx, network, &Sums { held, ..sums })?;
        let (paid, slashed) = (U256::from(amount), U256::ZERO);
        Token::at(address::token(NetworkId(network))).transfer(cx, STAKES, owner, paid)?;
        cx.emit(STAKES, &Withdrawn { device, owner, paid, slashed })
    }
}

/// Whether no inputs up to those of `epoch` name the device.
fn never_counted(cx: &mut Context<'_>, record: &Device, epoch: u64) -> Result<bool, Failure> {
    let start = Networks::new().record(cx, NetworkId(record.network))?.start;
    let first = record.registered.plus(1)?.max(start);
    Ok(record.retired.min(epoch) < first)
}

fn owned_by_caller(cx: &mut Context<'_>, device: B256) -> Result<Device, Failure> {
    let (record, caller) = (Devices::new().find(cx, device)?, cx.caller());
    ensure!(record.owner == caller, NotOwner { device, caller });
    Ok(record)
}
