//! Nothing that an endpoint can send makes a decoder panic.

use crate::chain::Chain;
use alloy_primitives::{Address, B256, Bytes, U256};
use client::light::{
    HEADER_BYTES, Header, Light, Origin,
    receipt::{Evidence, Item},
    state::State,
    verify_value,
};
use proptest::prelude::*;

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

fn item() -> impl Strategy<Value = Item> {
    let nodes = proptest::collection::vec(bytes(200), 0..4);
    (bytes(600), nodes).prop_map(|(bytes, nodes)| Item {
        bytes: bytes.into(),
        proof: nodes.into_iter().map(Bytes::from).collect(),
    })
}

fn light() -> (Chain, Light) {
    let chain = Chain::new([(0, vec![1, 2, 3])], 20);
    let light = Light::new(&chain.origin(), &chain.header(0)).unwrap();
    (chain, light)
}

proptest! {
    #[test]
    fn headers_and_certificates(garbage in bytes(900), at in 0..HEADER_BYTES, tail in bytes(300)) {
        let (chain, light) = light();
        prop_assert_eq!(Header::read(&garbage).is_ok(), garbage.len() == HEADER_BYTES && garbage[0] == 1);
        prop_assert!(Light::new(&chain.origin(), &garbage).is_err());
        let header = chain.header(7);
        prop_assert!(light.certified(&header, &garbage).is_err());
        let certificate = chain.certificate(7, &header);
        let (certified, _) = light.chain(&[&header], &certificate).unwrap();
        prop_assert!(light.chain(&[&garbage, &header], &certificate).is_err());
        prop_assert!(light.parent(&certified, &garbage).is_err());
        let mut bent = header.clone();
        bent[at] ^= 0x80;
        prop_assert!(light.certified(&bent, &certificate).is_err());
        let long = [certificate, tail.clone()].concat();
        prop_assert_eq!(light.certified(&header, &long).is_ok(), tail.is_empty());
    }

    #[test]
    fn files(garbage in bytes(400)) {
        let (chain, light) = light();
        prop_assert!(Origin::read(&garbage).is_err());
        prop_assert!(Light::resume(&chain.origin(), &garbage).is_err());
        let mut kept = light.to_bytes();
        for (at, byte) in garbage.iter().enumerate().take(3) {
            let place = (usize::from(*byte) * 7 + at) % kept.len();
            kept[place] = *byte;
        }
        // Whatever comes of it, it is no panic.
        drop(Light::resume(&chain.origin(), &kept));
    }

    #[test]
    fn proofs(garbage in bytes(900), present in any::<bool>(), slot in any::<u64>()) {
        let proof = [&[u8::from(present)], &garbage[..]].concat();
        prop_assert!(verify_value(B256::ZERO, B256::ZERO, &garbage).is_err());
        prop_assert!(verify_value(B256::ZERO, B256::ZERO, &proof).is_err());
        let (chain, light) = light();
        let header = chain.header(7);
        let certificate = chain.certificate(7, &header);
        let mut state = State::new(light.certified(&header, &certificate).unwrap());
        prop_assert!(state.prove_slot(Address::ZERO, U256::from(slot), &proof).is_err());
        prop_assert!(state.prove_account(Address::ZERO, &proof).is_err());
        prop_assert!(state.view(client::address::RAILS, &garbage).is_ok_and(|result| result.is_err()));
    }

    #[test]
    fn receipts(transaction in item(), receipt in item(), index in any::<u64>()) {
        let (chain, light) = light();
        let header = chain.header(7);
        let certified = light.certified(&header, &chain.certificate(7, &header)).unwrap();
        let hash = alloy_primitives::keccak256(&transaction.bytes);
        let root = alloy_primitives::keccak256(receipt.proof.first().cloned().unwrap_or_default());
        prop_assert!(receipt.verify(root, index).is_err());
        let evidence = Evidence { transaction, receipt: receipt.clone(), before: Some(receipt) };
        prop_assert!(evidence.verify(&certified, hash, index).is_err());
        prop_assert!(evidence.verify(&certified, B256::ZERO, index).is_err());
    }
}
