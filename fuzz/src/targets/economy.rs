//! What the economy signs and hashes: canonical CBOR of `protocol`.

use super::SECRET;
use crate::{Target, corpus::named};
use protocol::{
    Account, Epoch, KindId, Micros, NetworkId, RailId, cbor,
    cbor::Item,
    envelope::{Body, Envelope, PROOF_MAX, Payload},
    inputs::Inputs,
    key::DeviceSecret,
    manifest::Manifest,
    statement::Statement,
    voucher::{SignedVoucher, Voucher, domain},
};

pub(super) const CBOR: Target = Target {
    name: "cbor",
    about: "deterministic CBOR",
    run: |bytes| {
        // What is well-formed is exactly one item: nothing may follow it.
        let good = cbor::check(bytes).is_ok();
        assert!(!good || cbor::check(&[bytes, &[0]].concat()).is_err());
        good
    },
    seeds: || vec![vec![0x84, 0x18, 0x20, 0x41, 7, 0xa1, 1, 0x61, b'a', 0xf6], statement()],
};

pub(super) const ENVELOPE: Target = Target {
    name: "envelope",
    about: "an envelope (COSE_Sign1), and its signature",
    run: |bytes| {
        let Ok(envelope) = Envelope::parse(bytes, PROOF_MAX) else { return false };
        assert_eq!(envelope.bytes(), bytes);
        envelope.verify(&DeviceSecret::from_seed(SECRET).key()).is_ok()
    },
    seeds: || vec![envelope(1), envelope(u64::MAX)],
};

/// A valid envelope.
pub(super) fn envelope(sequence: u64) -> Vec<u8> {
    let payload = Payload {
        network: NetworkId(1),
        epoch: Epoch(7),
        sequence,
        time_ms: 1_795_000_000_000,
        body: Body { kind: KindId(1), item: Item::of(&(1u64, 2u64)) },
    };
    Envelope::sign(&DeviceSecret::from_seed(SECRET), &payload).bytes().to_vec()
}

/// The inputs of an epoch of the devnet.
fn devnet() -> Vec<u8> {
    named("inputs", "devnet")
}

pub(super) const INPUTS: Target = Target {
    name: "inputs",
    about: "the inputs file of an epoch",
    run: |bytes| {
        let Ok(inputs) = Inputs::from_bytes(bytes) else { return false };
        assert_eq!(inputs.to_bytes(), bytes);
        assert_eq!(inputs.validate(), Ok(()), "what is read is valid");
        for device in &inputs.roster {
            assert_eq!(inputs.device(device.id), Some(device));
            let _ = inputs.quota(device.id);
        }
        true
    },
    seeds: || vec![devnet()],
};

pub(super) const MANIFEST: Target = Target {
    name: "manifest",
    about: "a network's manifest, and the rules it must keep",
    run: |bytes| {
        let Ok(manifest) = cbor::from_slice::<Manifest>(bytes) else { return false };
        assert_eq!(cbor::to_vec(&manifest), bytes);
        if manifest.validate().is_err() {
            return false;
        }
        for terms in &manifest.kinds {
            let _ = (terms.dollars(u64::MAX, Micros(u64::MAX)), terms.stake(u64::MAX));
        }
        true
    },
    seeds: || {
        let inputs = Inputs::from_bytes(&devnet()).expect("the devnet's inputs");
        vec![cbor::to_vec(&inputs.manifest)]
    },
};

pub(super) const STATEMENT: Target = Target {
    name: "statement",
    about: "an epoch's statement, its leaves and its tree",
    run: |bytes| {
        let Ok(statement) = Statement::from_bytes(bytes) else { return false };
        assert_eq!(statement.to_bytes(), bytes);
        for account in &statement.accounts {
            let _ = (account.vested(statement.epoch), account.granted());
        }
        let _ = statement.tree().root();
        true
    },
    seeds: || vec![statement()],
};

fn statement() -> Vec<u8> {
    Statement::genesis(super::CHAIN, NetworkId(1)).to_bytes()
}

pub(super) const VOUCHER: Target = Target {
    name: "voucher",
    about: "a signed voucher, and who signed it",
    run: |bytes| {
        let Ok(signed) = cbor::from_slice::<SignedVoucher>(bytes) else { return false };
        assert_eq!(cbor::to_vec(&signed), bytes);
        signed.signer(&domain(super::CHAIN, Account::ZERO)).is_some()
    },
    seeds: || {
        let (network, rail) = (NetworkId(1), RailId(9));
        let voucher = Voucher { network, rail, nonce: 3, amount: Micros(1_000_000) };
        vec![cbor::to_vec(&SignedVoucher { voucher, signature: [0x1b; 65] })]
    },
};
