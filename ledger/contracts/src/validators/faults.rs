//! Authors' faults: what the batches of a key carried that no honest author carries costs its owner.
//!
//! Settlement finds the faults of an epoch and puts one leaf for each author into its tree
//! (`protocol::author`; what is a fault stands with evidence's replay). Anybody presents the leaf once the
//! epoch's root is claimable.
//!
//! **How much.** A block's worth of faults ([`BLOCK_BYTES`]) costs the least bond of a key, fewer bytes their
//! part of it, and more cost no more: in one epoch of one network a key loses the least bond at most. So a
//! forged report of 200 bytes costs a ten-thousandth of it, a machine that fails for an epoch loses its seat
//! and not what its owner bonded for others, and no leaf costs more than a key has to have. An author that
//! checks what it signs has no fault, so none of this is the price of a mistake that it could not see.
//!
//! **Who pays.** The owner of the key, at once: first of what it asked back, which would leave first, then of
//! its bond. What is held for a conviction is not touched. What the owner lacks stays due, and is paid by the
//! next who presents the leaf when there is coin again. An owner that has taken out everything by the time
//! that a leaf can be used pays nothing; the wait of withdrawals is meant to be longer than an epoch, its
//! grace and its dispute.
//!
//! **Who gets it.** A tenth ([`REWARD`]) goes to who presents it, which pays for the gas of all but the
//! smallest leaves, and is little enough that who presents its own leaf is far from whole. The rest is
//! destroyed as for convictions. A presentation can be copied before it is in a block; the offender pays the
//! same.

use super::state::Validators;
use crate::abi::AuthorLeaf;
use crate::abi::IValidators::{Charged, InvalidLeaf, NoSuchKey, NothingBonded, NothingDue};
use crate::address::VALIDATORS;
use crate::context::{Checked as _, Context};
use crate::env::{Failure, ensure};
use crate::settlements::Settlements;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolValue as _;
use protocol::units::mul_div;
use protocol::{Epoch, NetworkId, author::DOMAIN};

/// So many bytes of faults cost the least bond: what a block carries of evidence (design 5).
pub(super) const BLOCK_BYTES: u64 = 2 * 1024 * 1024;
/// The part of what is taken that is the presenter's: one in 10.
pub(super) const REWARD: u128 = 10;

impl Validators {
    /// Takes what a proven leaf still costs, and returns it.
    pub(super) fn charge(
        &self,
        cx: &mut Context<'_>,
        leaf: &AuthorLeaf,
        proof: &[B256],
    ) -> Result<u128, Failure> {
        let (key, network, epoch) = (leaf.author, leaf.network, leaf.epoch);
        let owner = self.keys.get(cx, key)?.owner;
        ensure!(!owner.is_zero(), NoSuchKey { key });
        let due = self.due(cx, leaf)?;
        ensure!(due != 0, NothingDue { key });
        // A leaf is static words, so encoding the struct encodes its fields one after another.
        let encoded = [DOMAIN.to_vec(), leaf.abi_encode()].concat();
        let of = (NetworkId(network), Epoch(epoch));
        let held = Settlements::new().holds_leaf(cx, of, &encoded, proof)?;
        ensure!(held, InvalidLeaf { key });

        let taken = self.seize(cx, owner, due)?;
        ensure!(taken != 0, NothingBonded { owner });
        let charged = self.charged.at_key(cx, key)?.at_key(cx, network)?;
        let before = charged.get(cx, epoch)?;
        charged.set(cx, epoch, &before.plus(taken)?)?;
        let (presenter, reward) = (cx.caller(), taken / REWARD);
        let lost = U256::from(taken.minus(reward)?);
        let (paid, reward) = (U256::from(taken), U256::from(reward));
        for (to, amount) in [(Address::ZERO, lost), (presenter, reward)] {
            if !amount.is_zero() {
                cx.pay(VALIDATORS, to, amount)?;
            }
        }
        let event = Charged { key, owner, presenter, network, epoch, taken: paid, reward };
        cx.emit(VALIDATORS, &event)?;
        Ok(taken)
    }

    /// What a leaf still costs; nothing if nobody ever registered its key.
    pub(super) fn due(&self, cx: &mut Context<'_>, leaf: &AuthorLeaf) -> Result<u128, Failure> {
        if self.keys.get(cx, leaf.author)?.owner.is_zero() {
            return Ok(0);
        }
        let size = u128::from(leaf.size.min(BLOCK_BYTES));
        let whole = mul_div(self.bond_min.get(cx)?, size, u128::from(BLOCK_BYTES));
        let charged = self.charged.at_key(cx, leaf.author)?.at_key(cx, leaf.network)?;
        Ok(whole.saturating_sub(charged.get(cx, leaf.epoch)?))
    }
}

#[cfg(test)]
mod tests;
