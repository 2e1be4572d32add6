//! What validators, wallets and endpoints send: transactions, blocks, certificates, proofs, calls.

use super::CHAIN;
use crate::{Target, corpus::named};
use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip7702};
use alloy_eips::{eip2718::Encodable2718 as _, eip7702::Authorization};
use alloy_primitives::{Address, B256, Signature, U256, hex};
use bytes::Bytes;
use client::light;
use commonware_codec::{Copying, Decode as _, DecodeExt as _, Encode as _};
use commonware_consensus::{
    simplex::{
        scheme::ed25519::Scheme,
        types::{Finalization, Finalize, Proposal},
    },
    types::{Epoch as Term, Round, View},
};
use commonware_cryptography::{Signer as _, certificate::Verifier as _, ed25519, sha256};
use commonware_utils::{non_empty, ordered::Set};
use consensus::{Block, Genesis, Header, KeyProof, ValidatorKeys, verify_state};
use execution::Key;
use std::sync::LazyLock;

pub(super) const TRANSACTION: Target = Target {
    name: "transaction",
    about: "a signed Ethereum transaction, and what the mempool asks of it",
    run: |bytes| {
        let Ok(tx) = execution::decode(bytes) else { return false };
        assert_eq!(tx.inner().encoded_2718(), bytes);
        let account = execution::Account { balance: U256::MAX, ..Default::default() };
        let _ = execution::validate(&tx, &account, CHAIN);
        true
    },
    // EIP-155's example, and later types with a signature that recovers somebody.
    seeds: || {
        let old = concat!(
            "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025",
            "a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276",
            "a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
        );
        let signature = Signature::test_signature();
        let dynamic = TxEip1559 { chain_id: CHAIN, gas_limit: 21_000, ..Default::default() };
        let authorization =
            Authorization { chain_id: U256::ZERO, address: Address::ZERO, nonce: 0 };
        let delegating = TxEip7702 {
            chain_id: CHAIN,
            gas_limit: 100_000,
            authorization_list: vec![authorization.into_signed(signature)],
            ..Default::default()
        };
        vec![
            hex::decode(old).expect("hexadecimal digits"),
            dynamic.into_signed(signature).encoded_2718(),
            delegating.into_signed(signature).encoded_2718(),
        ]
    },
};

pub(super) const HEADER: Target = Target {
    name: "header",
    about: "a header, as the ledger and as a light client read it",
    run: |bytes| {
        let Ok(header) = Header::from_bytes(bytes) else { return false };
        assert_eq!(header.to_bytes(), bytes);
        let seen = light::Header::read(bytes).expect("a light client reads what the ledger reads");
        assert_eq!(seen.hash, header.digest());
        assert_eq!((seen.height.0, seen.term), (header.height, header.term));
        assert_eq!((seen.parent, seen.time_ms), (header.parent, header.timestamp_ms));
        assert_eq!((seen.state_root, seen.committee), (header.state.root, header.committee));
        assert_eq!((seen.receipts_root, seen.epoch.0), (header.receipts_root, header.epoch));
        true
    },
    seeds: || vec![header()],
};

/// The encoded header of an empty ledger's genesis; offsets as `consensus::Header` documents them.
pub(super) fn header() -> Vec<u8> {
    let mut bytes = vec![0; 709];
    bytes[0] = consensus::VERSION;
    bytes[1..9].copy_from_slice(&CHAIN.to_be_bytes());
    bytes[81..113].copy_from_slice(&ValidatorKeys::derive(&[0; 32]).network_key());
    bytes[205..213].copy_from_slice(&1u64.to_be_bytes());
    let body = consensus::Body::default();
    bytes[213..245].copy_from_slice(body.transactions_root().as_slice());
    bytes[533..565].copy_from_slice(body.blobs_root().as_slice());
    bytes
}

pub(super) const BLOCK: Target = Target {
    name: "block",
    about: "a block as validators send it",
    run: |bytes| {
        let Ok(block) = Block::decode(Copying(bytes)) else { return false };
        assert_eq!(&block.encode()[..], bytes);
        let header = block.header().clone();
        assert_eq!(Block::new(header, block.body().clone()), Ok(block));
        true
    },
    seeds: || {
        let header = Header::from_bytes(&header()).expect("a header");
        let body = consensus::Body {
            transactions: (TRANSACTION.seeds)().into_iter().map(Bytes::from).collect(),
            blobs: vec![Bytes::from_static(b"a blob"), Bytes::from(vec![7; 300])],
        };
        let full = Block::build(header.clone(), body).expect("a small body");
        let empty = Block::build(header, consensus::Body::default()).expect("an empty body");
        vec![full.encode().to_vec(), empty.encode().to_vec()]
    },
};

/// What the four seats below sign for.
const NAMESPACE: &[u8] = b"fuzz";
/// Four seats that certify together.
static SEATS: LazyLock<Scheme> = LazyLock::new(|| Scheme::verifier(NAMESPACE, seats()));

fn secret(seat: u8) -> ed25519::PrivateKey {
    ed25519::PrivateKey::decode(Copying(&[seat; 32][..])).expect("32 bytes are a secret")
}

fn seats() -> Set<ed25519::PublicKey> {
    Set::from_iter_dedup((0..4).map(|seat| secret(seat).public_key()))
}

pub(super) const CERTIFICATE: Target = Target {
    name: "certificate",
    about: "a simplex finalization",
    run: |bytes| {
        let config = SEATS.certificate_codec_config();
        let Ok(certificate) =
            Finalization::<Scheme, sha256::Digest>::decode_cfg(Copying(bytes), &config)
        else {
            return false;
        };
        assert_eq!(&certificate.encode()[..], bytes);
        let mut random = commonware_utils::test_rng();
        certificate.verify(&mut random, &*SEATS, &commonware_parallel::Sequential)
    },
    seeds: || {
        let (term, view, parent) = (Term::new(0), View::new(2), View::new(1));
        let payload = sha256::Digest([9; 32]);
        let proposal = Proposal::new(Round::new(term, view), parent, payload);
        let votes = (0..3).map(|n| {
            let signer = Scheme::signer(NAMESPACE, seats(), secret(n)).expect("it has a seat");
            Finalize::sign(&signer, proposal.clone()).expect("a signer signs")
        });
        let strategy = commonware_parallel::Sequential;
        let made = Finalization::from_owned_finalizes(&*SEATS, non_empty![@votes], &strategy);
        vec![made.expect("three of four are enough").encode().to_vec()]
    },
};

/// Root and address stand before the proof.
pub(super) const STATE_PROOF: Target = Target {
    name: "state-proof",
    about: "a proof of an account, as the ledger and as a light client check it",
    run: |bytes| {
        let Some((root, rest)) = bytes.split_first_chunk::<32>() else { return false };
        let Some((account, proof)) = rest.split_first_chunk::<20>() else { return false };
        let (root, account) = (B256::from(root), Address::from(account));
        let seen = light::verify_value(root, light::account_key(account), proof);
        let held = KeyProof::from_bytes(proof)
            .and_then(|proof| verify_state(root, &Key::Account(account), &proof));
        let (seen, held) = (seen.ok(), held.ok());
        assert_eq!(seen, held, "two readings of one proof");
        seen.is_some()
    },
    seeds: || ["present", "absent"].map(|name| named("state-proof", name)).to_vec(),
};

pub(super) const GENESIS: Target = Target {
    name: "genesis",
    about: "a genesis file",
    run: |bytes| {
        let Ok(genesis) = serde_json::from_slice::<Genesis>(bytes) else { return false };
        let again = serde_json::to_vec(&genesis).expect("a genesis has a JSON form");
        assert_eq!(serde_json::from_slice::<Genesis>(&again).ok(), Some(genesis.clone()));
        let seen = light::Origin::read(bytes);
        if genesis.check().is_err() {
            return false;
        }
        let seen = seen.expect("a light client reads what the ledger begins with");
        assert_eq!((seen.chain_id, seen.term_length), (genesis.chain_id, genesis.term_length));
        // One whose members stand in another order names no ledger, and is refused when it is met.
        if bytes == again {
            assert_eq!(seen.digest, genesis.digest());
        }
        true
    },
    seeds: || vec![named("genesis", "devnet")],
};
