//! The rules of a header that need nothing but the header, its parent and the committees of its term and
//! of the next ([`crate::committees`]).
//!
//! A header made by [`draft`] keeps every rule that [`check`] checks; the fields that only execution
//! knows (state, receipts, gas used, blooms) are compared by the application afterwards.
//!
//! **Time**: greater than the parent's, and at most [`MAX_STEP_MS`] after it. The second bound is
//! permanent and so may reject; a time ahead of this node's clock only delays the verdict (by
//! [`SKEW_MS`] less). A ledger that stood still catches up with the first block, at whose height
//! nobody was away: if the hours of a stop became blocks, they would pass as epochs in which no device
//! could report. A stop longer than the bound takes a few blocks more, at their pace.
//!
//! Many validators keep time together: a block ahead of more than a third of their clocks has no quorum
//! until those have caught up, and its view is over long before. So as long as that many are right, the
//! ledger is ahead of none of them by more than [`SKEW_MS`], whatever a proposer's clock says, which
//! costs that proposer its turn. Where more are wrong, or there is one validator, a wrong clock takes the
//! ledger's time along, by at most [`MAX_STEP_MS`] a block. A proposer whose clock is behind makes one
//! small step; the next makes up for it.

use crate::{
    committee::ValidatorKeys,
    committees::Seats,
    header::{Header, REVEAL_BYTES, StateCommitment},
    seed::Message,
};
use alloy_primitives::{B256, Bloom};
use commonware_consensus::types::View;
use commonware_cryptography::Signer as _;
use execution::{BLOCK_GAS_LIMIT, BlockEnv, next_base_fee};
use std::num::NonZeroU64;

/// Most milliseconds between a block's time and its parent's: 30 days.
pub(crate) const MAX_STEP_MS: u64 = 30 * 86_400_000;
/// How far ahead of the local clock a block's time may be without delaying the verdict.
pub(crate) const SKEW_MS: u64 = 500;

/// The facts of a ledger that never change.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) chain_id: u64,
    pub(crate) epoch_length: u64,
    pub(crate) term_length: NonZeroU64,
}

/// A rule that a header breaks. The block and all built on it are invalid for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    #[error("it is of another ledger")]
    ChainId,
    #[error("it does not follow its parent")]
    Parent,
    #[error("its term is not its height's")]
    Term,
    #[error("its time is not after its parent's, or too far after it")]
    Time,
    #[error("its proposer has no seat")]
    Proposer,
    #[error("its beneficiary is not its proposer's account")]
    Beneficiary,
    #[error("its epoch is not its height's")]
    Epoch,
    #[error("its gas limit or base fee is not what its parent determines")]
    Gas,
    #[error("it names another committee")]
    Committee,
    #[error("its reveal is not its proposer's signature")]
    Reveal,
    #[error("its mix does not follow from its reveal")]
    Mix,
}

impl Chain {
    /// The settlement epoch of a height.
    pub(crate) const fn epoch(&self, height: u64) -> u64 {
        height / self.epoch_length
    }

    fn message(&self, height: u64, previous: B256) -> Message {
        Message { chain_id: self.chain_id, epoch: self.epoch(height), height, previous }
    }

    /// Checks `header` against its parent; `seats` are those of the state after the parent.
    pub(crate) fn check(
        &self,
        header: &Header,
        parent: &Header,
        seats: &Seats,
    ) -> Result<(), RuleError> {
        let holds = |holds: bool, error| if holds { Ok(()) } else { Err(error) };
        let height = header.height;
        holds(header.chain_id == self.chain_id, RuleError::ChainId)?;
        holds(
            parent.height.checked_add(1) == Some(height) && header.parent == parent.digest(),
            RuleError::Parent,
        )?;
        holds(header.term == height / self.term_length, RuleError::Term)?;
        let step = header.timestamp_ms.checked_sub(parent.timestamp_ms);
        holds(step.is_some_and(|step| (1..=MAX_STEP_MS).contains(&step)), RuleError::Time)?;
        let (account, seed_key) =
            seats.running.seat(&header.proposer).ok_or(RuleError::Proposer)?;
        holds(header.beneficiary == account, RuleError::Beneficiary)?;
        holds(header.epoch == self.epoch(height), RuleError::Epoch)?;
        let base_fee = next_base_fee(parent.base_fee, parent.gas_used, parent.gas_limit);
        holds(header.gas_limit == BLOCK_GAS_LIMIT && header.base_fee == base_fee, RuleError::Gas)?;
        holds(header.committee == seats.named, RuleError::Committee)?;
        let message = self.message(height, parent.mix);
        holds(seed_key.verify(&message, &header.reveal), RuleError::Reveal)?;
        holds(header.mix == message.mix(&header.reveal), RuleError::Mix)
    }

    /// The header of the next block as far as it is known before execution; nothing if `keys` have no
    /// seat at that height. `view` and `term` are simplex's, `now_ms` is this node's clock.
    pub(crate) fn draft(
        &self,
        (parent, seats): (&Header, &Seats),
        keys: &ValidatorKeys,
        (term, view, parent_view): (u64, View, View),
        now_ms: u64,
    ) -> Option<Header> {
        let height = parent.height.checked_add(1)?;
        let proposer = keys.signer().public_key();
        let (beneficiary, _) = seats.running.seat(&proposer)?;
        let message = self.message(height, parent.mix);
        let reveal: [u8; REVEAL_BYTES] = keys.seed().reveal(&message);
        let latest = parent.timestamp_ms.saturating_add(MAX_STEP_MS);
        Some(Header {
            chain_id: self.chain_id,
            height,
            term,
            view: view.get(),
            parent_view: parent_view.get(),
            parent: parent.digest(),
            timestamp_ms: now_ms.clamp(earliest(parent), latest),
            proposer,
            beneficiary,
            state: StateCommitment {
                root: B256::ZERO,
                ops_root: B256::ZERO,
                ops_start: 0,
                ops_end: 1,
            },
            transactions_root: B256::ZERO,
            receipts_root: B256::ZERO,
            logs_bloom: Bloom::ZERO,
            blobs_root: B256::ZERO,
            committee: seats.named,
            reveal,
            mix: message.mix(&reveal),
            epoch: self.epoch(height),
            gas_limit: BLOCK_GAS_LIMIT,
            gas_used: 0,
            base_fee: next_base_fee(parent.base_fee, parent.gas_used, parent.gas_limit),
        })
    }
}

/// The least time of a child of `parent`, milliseconds since 1970.
pub(crate) const fn earliest(parent: &Header) -> u64 {
    parent.timestamp_ms.saturating_add(1)
}

/// What a header tells the transactions of its block.
pub(crate) const fn environment(header: &Header) -> BlockEnv {
    BlockEnv {
        chain_id: header.chain_id,
        number: header.height,
        timestamp: header.timestamp(),
        parent_hash: header.parent,
        gas_limit: header.gas_limit,
        base_fee: header.base_fee,
        beneficiary: header.beneficiary,
        mix: header.mix,
    }
}

#[cfg(test)]
mod tests;
