//! Opening and closing rails, freezing datasets, presenting vouchers.

use super::state::{Account, Dataset, Rail, Rails};
use crate::abi::IRails::{
    self, Closed, Frozen, InvalidDevice, InvalidExpiry, InvalidSignature, InvalidVoucher,
    LimitLowered, NoSuchRail, NotParty, NotPayer, NotSigner, OpenRail, Opened, Presented,
    RailEnded, StaleDataset, ToppedUp,
};
use crate::abi::ISystem::{Empty, TooMany};
use crate::address::RAILS;
use crate::context::{Checked as _, Context};
use crate::devices::{Device, Devices};
use crate::env::{Failure, ensure};
use crate::networks::Networks;
use crate::signature::{charge_recover, device_signed};
use alloy_primitives::{Bytes, U256};
use protocol::voucher::{SignedVoucher, Voucher};
use protocol::{Digest, Micros, NetworkId, RailId, inputs, voucher};

/// The furthest expiry, in epochs from now.
const LIFE_EPOCHS_MAX: u64 = 10_000_000;
/// The most rails or datasets in one call.
pub(super) const ITEMS_MAX: usize = 256;

impl Rails {
    pub(super) fn open(&self, cx: &mut Context<'_>, wanted: &OpenRail) -> Result<u64, Failure> {
        let (payer, epoch) = (cx.caller(), cx.epoch()?.0);
        let OpenRail { network, payee, signer, device, limit, rate, expiry } = *wanted;
        Networks::new().record(cx, NetworkId(network))?;
        ensure!(limit != 0 && !payee.is_zero() && !signer.is_zero(), Empty {});
        let (earliest, latest) = (epoch.plus(1)?, epoch.plus(LIFE_EPOCHS_MAX)?);
        let in_range = earliest <= expiry && expiry <= latest;
        ensure!(in_range, InvalidExpiry { expiry, earliest, latest });
        if !device.is_zero() {
            let serves = |record: &Device| {
                record.is_in_service() && record.network == network && record.owner == payee
            };
            let found = Devices::new().get(cx, device)?;
            ensure!(found.is_some_and(|record| serves(&record)), InvalidDevice { device, payee });
        }
        self.reserve(cx, payer, network, limit)?;
        let account = self.accounts.get2(cx, payer, network)?;
        let open = account.open.plus(u128::from(limit))?;
        self.accounts.set2(cx, payer, network, &Account { open, ..account })?;
        let rail = self.count.get(cx)?.plus(1)?;
        self.count.set(cx, &rail)?;
        let index = self.live.at_key(cx, network)?.push(cx, &rail)?;
        self.rails.set(
            cx,
            rail,
            &Rail {
                payer,
                network,
                released: false,
                late: false,
                payee,
                end: expiry,
                signer,
                opened: epoch,
                device,
                limit,
                rate,
                // Vouchers of an earlier chain with the same keys and rails have lower nonces.
                nonce: cx.timestamp(),
                presented: 0,
                index,
            },
        )?;
        let event = Opened { rail, network, payer, payee, signer, device, limit, rate, expiry };
        cx.emit(RAILS, &event)?;
        Ok(rail)
    }

    pub(super) fn open_many(
        &self,
        cx: &mut Context<'_>,
        wanted: &[OpenRail],
    ) -> Result<Vec<u64>, Failure> {
        bounded(wanted.len())?;
        wanted.iter().map(|rail| self.open(cx, rail)).collect()
    }

    pub(super) fn top_up(
        &self,
        cx: &mut Context<'_>,
        rail: u64,
        limit: u64,
    ) -> Result<(), Failure> {
        let (record, payer) = (self.counting(cx, rail)?, cx.caller());
        ensure!(record.payer == payer, NotPayer { rail, caller: payer });
        ensure!(limit > record.limit, LimitLowered { rail, limit });
        let more = limit.minus(record.limit)?;
        self.reserve(cx, payer, record.network, more)?;
        let account = self.accounts.get2(cx, payer, record.network)?;
        let open = account.open.plus(u128::from(more))?;
        self.accounts.set2(cx, payer, record.network, &Account { open, ..account })?;
        self.rails.set(cx, rail, &Rail { limit, ..record })?;
        cx.emit(RAILS, &ToppedUp { rail, limit })
    }

    /// Ends a rail with this epoch, whose inputs name it already. One that no inputs name is released at
    /// once.
    pub(super) fn close(&self, cx: &mut Context<'_>, rail: u64) -> Result<(), Failure> {
        let (record, caller) = (self.counting(cx, rail)?, cx.caller());
        let party = record.payer == caller || record.payee == caller;
        ensure!(party, NotParty { rail, caller });
        let end = cx.epoch()?.0;
        let record = Rail { end, ..record };
        self.rails.set(cx, rail, &record)?;
        cx.emit(RAILS, &Closed { rail, end })?;
        let unused = end == record.opened || self.never_counted(cx, &record)?;
        if unused { self.release_unused(cx, rail, record) } else { Ok(()) }
    }

    pub(super) fn freeze(
        &self,
        cx: &mut Context<'_>,
        datasets: &[IRails::Dataset],
    ) -> Result<(), Failure> {
        bounded(datasets.len())?;
        datasets.iter().try_for_each(|dataset| self.freeze_one(cx, dataset))
    }

    fn freeze_one(&self, cx: &mut Context<'_>, dataset: &IRails::Dataset) -> Result<(), Failure> {
        let IRails::Dataset { rail, version, root, size, .. } = *dataset;
        let (record, caller) = (self.counting(cx, rail)?, cx.caller());
        ensure!(record.signer == caller, NotSigner { rail, caller });
        let stale = version <= self.datasets.get(cx, rail)?.version;
        ensure!(!stale, StaleDataset { rail, version });
        let (device, payee) = (record.device, record.payee);
        let Some(key) = Devices::new().get(cx, device)?.and_then(|device| device.key()) else {
            return Err(InvalidDevice { device, payee }.into());
        };
        let signed =
            inputs::Dataset { rail: RailId(rail), version, root: Digest(root.0), bytes: size };
        let message = signed.signing_bytes(cx.chain_id());
        let holds = device_signed(cx, &key, &message, &dataset.signature)?;
        ensure!(holds, InvalidSignature { rail });
        let frozen = cx.epoch()?.0;
        self.datasets.set(cx, rail, &Dataset { version, size, frozen, root })?;
        cx.emit(RAILS, &Frozen { rail, version, root, size })
    }

    pub(super) fn present(
        &self,
        cx: &mut Context<'_>,
        claim: &IRails::Voucher,
        signature: &Bytes,
    ) -> Result<(), Failure> {
        let IRails::Voucher { network, rail, nonce, amount } = *claim;
        let record = self.find(cx, rail)?;
        let within = network == record.network
            && nonce >= record.nonce
            && amount > record.presented
            && amount <= record.limit
            && !(record.released || record.late);
        ensure!(within, InvalidVoucher { rail });
        let promise = Voucher {
            network: NetworkId(network),
            rail: RailId(rail),
            nonce,
            amount: Micros(amount),
        };
        charge_recover(cx)?;
        let domain = voucher::domain(cx.chain_id(), RAILS);
        let signature = signature.as_ref().try_into().ok();
        let signer = signature
            .and_then(|signature| SignedVoucher { voucher: promise, signature }.signer(&domain));
        ensure!(signer == Some(record.signer), InvalidVoucher { rail });
        self.rails.set(cx, rail, &Rail { presented: amount, ..record })?;
        cx.emit(RAILS, &Presented { rail, nonce, amount })
    }

    /// The rail, or a revert if there is none.
    pub(super) fn find(&self, cx: &mut Context<'_>, rail: u64) -> Result<Rail, Failure> {
        let record = self.rails.get(cx, rail)?;
        ensure!(!record.payer.is_zero(), NoSuchRail { rail });
        Ok(record)
    }

    /// The rail, or a revert if it does not count any more.
    fn counting(&self, cx: &mut Context<'_>, rail: u64) -> Result<Rail, Failure> {
        let (record, epoch) = (self.find(cx, rail)?, cx.epoch()?.0);
        let counts = !(record.released || record.late) && epoch <= record.end;
        ensure!(counts, RailEnded { rail, end: record.end });
        Ok(record)
    }

    pub(super) fn live_at(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        index: u64,
    ) -> Result<u64, Failure> {
        let list = self.live.at_key(cx, network.0)?;
        list.get(cx, index)?.ok_or_else(|| NoSuchRail { rail: 0 }.into())
    }
}

/// Refuses empty and oversized lists.
pub(super) fn bounded(count: usize) -> Result<(), Failure> {
    ensure!(count != 0, Empty {});
    at_most(count)
}

/// Refuses oversized lists.
pub(super) fn at_most(count: usize) -> Result<(), Failure> {
    let error = TooMany { count: U256::from(count), limit: U256::from(ITEMS_MAX) };
    ensure!(count <= ITEMS_MAX, error);
    Ok(())
}
