//! Ethereum's ordered tries over transactions and receipts, and proofs in them.
//!
//! The trie maps the RLP of an index to an item's EIP-2718 bytes (Yellow Paper 4.3.2), so that a
//! light client proves an event by: header, proof of the receipt's index in `receipts_root`, log.
//!
//! Items have at least 32 bytes, as every transaction and receipt has (a receipt's bloom alone has
//! 256): proofs of shorter ones are not checked by the library below.

use alloy_primitives::{B256, Bytes};
use alloy_trie::{
    HashBuilder, Nibbles,
    proof::{ProofRetainer, ProofVerificationError, verify_proof},
    root::adjust_index_for_rlp,
};

/// The root of the trie over `items`.
pub fn root<T: AsRef<[u8]>>(items: &[T]) -> B256 {
    alloy_trie::root::ordered_trie_root_encoded(items)
}

/// The nodes from the root to item `index`, or nothing if there is no such item.
pub fn prove<T: AsRef<[u8]>>(items: &[T], index: usize) -> Option<Vec<Bytes>> {
    items.get(index)?;
    let retainer = ProofRetainer::new(vec![path(index)]);
    let mut builder = HashBuilder::default().with_proof_retainer(retainer);
    for position in 0..items.len() {
        let index = adjust_index_for_rlp(position, items.len());
        builder.add_leaf(path(index), items[index].as_ref());
    }
    builder.root();
    let nodes = builder.take_proof_nodes().into_nodes_sorted();
    Some(nodes.into_iter().map(|(_, node)| node).collect())
}

/// Checks that item `index` under `root` is `item`.
///
/// # Errors
/// The nodes do not lead from the root to the item.
pub fn verify(
    root: B256,
    index: usize,
    item: &[u8],
    nodes: &[Bytes],
) -> Result<(), ProofVerificationError> {
    verify_proof(root, path(index), Some(item.to_vec()), nodes)
}

fn path(index: usize) -> Nibbles {
    Nibbles::unpack(alloy_rlp::encode_fixed_size(&index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_item_is_proven_and_no_other(
            items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 40..90), 1..200),
            at: prop::sample::Index,
        ) {
            let index = at.index(items.len());
            let root = root(&items);
            let proof = prove(&items, index).unwrap();
            verify(root, index, &items[index], &proof).unwrap();
            let mut other = items[index].clone();
            other[0] ^= 1;
            prop_assert!(verify(root, index, &other, &proof).is_err());
            prop_assert!(verify(B256::ZERO, index, &items[index], &proof).is_err());
            prop_assert!(prove(&items, items.len()).is_none());
        }
    }

    #[test]
    fn the_empty_root_is_ethereums() {
        assert_eq!(root::<Vec<u8>>(&[]), alloy_trie::EMPTY_ROOT_HASH);
    }
}
