//! Claims by Merkle proof.

use super::state::{Settlements, Taken};
use crate::abi::ISettlements::{ClaimExceedsApproved, Claimed, InvalidMerkleProof, NothingToClaim};
use crate::abi::Leaf;
use crate::address::{self, SETTLEMENTS};
use crate::context::{Checked as _, Context, narrow};
use crate::env::{Failure, ensure};
use crate::rails::Rails;
use crate::tokens::Token;
use alloy_primitives::{B256, U256};
use alloy_sol_types::SolValue as _;
use protocol::{Epoch, NetworkId};

impl Settlements {
    /// Checks that `leaf` belongs to the root of its network and `epoch`, and that this root is claimable.
    /// A claimable epoch is never opened again, so what a leaf of it says is for good.
    pub(crate) fn verify(
        &self,
        cx: &mut Context<'_>,
        epoch: Epoch,
        leaf: &Leaf,
        proof: &[B256],
    ) -> Result<(), Failure> {
        // A leaf is eight static words, so encoding the struct encodes its fields one after another.
        let of = (NetworkId(leaf.network), epoch);
        let held = self.holds_leaf(cx, of, &leaf.abi_encode(), proof)?;
        ensure!(held, InvalidMerkleProof { account: leaf.account });
        Ok(())
    }

    pub(super) fn claim(
        &self,
        cx: &mut Context<'_>,
        epoch: Epoch,
        leaf: &Leaf,
        proof: &[B256],
    ) -> Result<Taken, Failure> {
        self.verify(cx, epoch, leaf, proof)?;
        let (network, account) = (NetworkId(leaf.network), leaf.account);
        let before = self.taken.get2(cx, network.0, account)?;
        let token = Token::at(address::token(network));
        // What the largest supply leaves no room for stays due, and does not hold back the dollars.
        let room: u128 = narrow(token.room(cx)?)?;
        // An older leaf than one already used has nothing new.
        let due = Taken {
            vested: narrow::<u128>(leaf.vested)?.saturating_sub(before.vested).min(room),
            cash: narrow::<u128>(leaf.cash)?.saturating_sub(before.cash),
        };
        ensure!(due.vested != 0 || due.cash != 0, NothingToClaim { account });
        let after = before.plus(&due)?;
        self.taken.set2(cx, network.0, account, &after)?;
        let total = self.claimed(cx, network)?.plus(&due)?;
        // The newest root that paid anything bounds all claims: what may still be dropped approves nothing.
        let newest = self.approved.get(cx, network.0)?.max(epoch.0);
        self.approved.set(cx, network.0, &newest)?;
        let approved = self.outcomes.get2(cx, network.0, newest)?;
        for (claimed, approved) in [(total.vested, approved.vested), (total.cash, approved.cash)] {
            let error = ClaimExceedsApproved {
                network: network.0,
                claimed: U256::from(claimed),
                approved: U256::from(approved),
            };
            ensure!(claimed <= approved, error);
        }
        self.taken_total.set(cx, network.0, &total)?;
        let (vested, cash) = (U256::from(due.vested), U256::from(due.cash));
        if due.vested != 0 {
            token.mint(cx, account, vested)?;
        }
        if due.cash != 0 {
            Rails::new().pay(cx, account, cash)?;
        }
        let event = Claimed { network: network.0, account, epoch: epoch.0, vested, cash };
        cx.emit(SETTLEMENTS, &event)?;
        Ok(due)
    }
}

impl Taken {
    fn plus(&self, other: &Self) -> Result<Self, Failure> {
        let vested = self.vested.plus(other.vested)?;
        Ok(Self { vested, cash: self.cash.plus(other.cash)? })
    }
}
