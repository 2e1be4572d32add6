//! Whether a leaf, of whatever shape, belongs to a root that can be used.

use super::state::Settlements;
use crate::abi::ISettlements::NotClaimable;
use crate::abi::ISystem::TooMany;
use crate::context::Context;
use crate::env::{Failure, ensure};
use alloy_primitives::{B256, U256};
use protocol::{Epoch, NetworkId, merkle};

impl Settlements {
    /// Whether the leaf with this ABI encoding is in the tree of `network` and `epoch`. Reverts unless the
    /// root of the epoch is claimable.
    pub(crate) fn holds_leaf(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        encoded: &[u8],
        proof: &[B256],
    ) -> Result<bool, Failure> {
        let count = U256::from(proof.len());
        let limit = U256::from(merkle::PROOF_MAX);
        ensure!(proof.len() <= merkle::PROOF_MAX, TooMany { count, limit });
        let error = NotClaimable { network: network.0, epoch: epoch.0 };
        let outcome = self.standing(cx, network, epoch)?.ok_or(error.clone())?;
        ensure!(self.is_claimable(cx, network, &outcome)?, error);
        let inner = cx.keccak(encoded)?;
        let mut node = cx.keccak(inner.as_slice())?;
        for &sibling in proof {
            let (low, high) = if node <= sibling { (node, sibling) } else { (sibling, node) };
            node = cx.keccak(&[low.0, high.0].concat())?;
        }
        Ok(node == outcome.root)
    }
}
