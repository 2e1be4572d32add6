//! Merkle trees over keccak256 that OpenZeppelin's `MerkleProof` and `StandardMerkleTree` verify.
//!
//! Leaves are hashed twice (so that no inner node can pass as a leaf), sorted by hash, and placed
//! from the end of an array of `2n - 1` nodes in which node `i` has the children `2i + 1` and
//! `2i + 2`; a pair is hashed in ascending order, so that a proof needs no directions.

use alloy_primitives::{B256, keccak256};

/// The largest number of nodes in a proof: a tree of 2^64 leaves.
pub const PROOF_MAX: usize = 64;

/// A tree that answers with proofs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Node 0 is the root; the leaves stand at the end, in descending order of their hashes.
    nodes: Vec<B256>,
}

/// The hash of a leaf: keccak256 of keccak256 of its ABI encoding.
pub fn leaf_hash(encoded: &[u8]) -> B256 {
    keccak256(keccak256(encoded))
}

/// The hash of a pair in ascending order.
pub fn pair_hash(a: B256, b: B256) -> B256 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(low.as_slice());
    bytes[32..].copy_from_slice(high.as_slice());
    keccak256(bytes)
}

/// The root that `proof` leads to from `leaf`.
pub fn fold(leaf: B256, proof: &[B256]) -> B256 {
    proof.iter().fold(leaf, |node, &sibling| pair_hash(node, sibling))
}

impl Tree {
    /// Builds the tree over leaf hashes in any order. No leaves give the zero root.
    pub fn new(mut leaves: Vec<B256>) -> Self {
        leaves.sort_unstable();
        let count = leaves.len();
        let inner = count.saturating_sub(1);
        let mut nodes = vec![B256::ZERO; inner];
        nodes.extend(leaves.into_iter().rev());
        for i in (0..inner).rev() {
            nodes[i] = pair_hash(nodes[2 * i + 1], nodes[2 * i + 2]);
        }
        Self { nodes }
    }

    /// The root; zero for an empty tree.
    pub fn root(&self) -> B256 {
        self.nodes.first().copied().unwrap_or(B256::ZERO)
    }

    /// The proof of a leaf by its hash, if it is in the tree.
    pub fn proof(&self, leaf: B256) -> Option<Vec<B256>> {
        let inner = self.nodes.len() / 2;
        let leaves = self.nodes.get(inner..)?;
        let at = leaves.binary_search_by(|node| leaf.cmp(node)).ok()?;
        let mut index = inner + at;
        let mut proof = Vec::new();
        while index > 0 {
            let sibling = if index % 2 == 1 { index + 1 } else { index - 1 };
            proof.push(self.nodes[sibling]);
            index = (index - 1) / 2;
        }
        Some(proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn root_matches_openzeppelin() {
        // The example in the README of @openzeppelin/merkle-tree: (address, uint256) leaves.
        use alloy_sol_types::SolValue as _;
        let leaves = [
            ("0x1111111111111111111111111111111111111111", 5_000_000_000_000_000_000u64),
            ("0x2222222222222222222222222222222222222222", 2_500_000_000_000_000_000),
        ]
        .map(|(account, amount)| {
            let account: crate::Account = account.parse().unwrap();
            leaf_hash(&(account, alloy_primitives::U256::from(amount)).abi_encode())
        });
        let tree = Tree::new(leaves.to_vec());
        let expected: B256 =
            "0xd4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77".parse().unwrap();
        assert_eq!(tree.root(), expected);
    }

    proptest! {
        #[test]
        fn every_leaf_is_proven_and_no_other(
            leaves in proptest::collection::btree_set(any::<[u8; 32]>(), 1..70),
            stranger: [u8; 32],
        ) {
            let leaves: Vec<_> = leaves.into_iter().map(B256::from).collect();
            let tree = Tree::new(leaves.clone());
            for leaf in &leaves {
                let proof = tree.proof(*leaf).unwrap();
                prop_assert_eq!(fold(*leaf, &proof), tree.root());
                prop_assert!(fold(keccak256(leaf), &proof) != tree.root());
            }
            let stranger = B256::from(stranger);
            prop_assert_eq!(tree.proof(stranger).is_some(), leaves.contains(&stranger));
        }
    }
}
