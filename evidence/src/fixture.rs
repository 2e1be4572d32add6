//! A small network for tests: two Ed25519 devices and one with ES256, all of kind 7.

use crate::{Batch, Sizes};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use protocol::{
    Account, DeviceId, Digest, Epoch, KindId, Micros, NetworkId, RailId, Tokens,
    body::{COMMON, Common, Report},
    cbor::Item,
    clock::EpochClock,
    envelope::{Body, Envelope, Payload},
    fixtures,
    inputs::{Device, Inputs, Rail},
    key::{DeviceKey, DeviceSecret},
    manifest::{EvidenceRules, KindTerms, Manifest},
};

pub(crate) const CHAIN: u64 = 0xDE91;
pub(crate) const NETWORK: NetworkId = NetworkId(1);
pub(crate) const KIND: KindId = KindId(7);
/// Heights 300 to 329, grace to 333.
pub(crate) const EPOCH: Epoch = Epoch(10);
pub(crate) const TIME: u64 = 1_700_000_000_000;
pub(crate) const QUOTA: usize = 4_000;
pub(crate) const SKEW: u64 = 10_000;

pub(crate) fn validator() -> DeviceSecret {
    DeviceSecret::from_seed([200; 32])
}

pub(crate) fn secret(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed([n; 32])
}

pub(crate) fn es256() -> SigningKey {
    SigningKey::from_slice(&[9; 32]).unwrap()
}

pub(crate) fn es256_key() -> DeviceKey {
    let point = es256().verifying_key().to_encoded_point(false);
    DeviceKey::P256((*point.x().unwrap()).into(), (*point.y().unwrap()).into())
}

pub(crate) fn sizes() -> Sizes {
    Sizes::new([(KIND, 8 * 1024), (KindId(8), 4 * 1024)])
}

pub(crate) fn manifest() -> Manifest {
    let rules = fixtures::free(KIND);
    let terms = KindTerms { positions: 1, window: 1, ..rules.kinds[0] };
    Manifest {
        evidence: EvidenceRules {
            quota_bytes: u32::try_from(QUOTA).unwrap(),
            skew_ms: u32::try_from(SKEW).unwrap(),
            slack: 6,
            absence_epochs: 3,
            unbonding_epochs: 10,
        },
        kinds: vec![terms],
        ..rules
    }
}

pub(crate) fn inputs_of(epoch: Epoch) -> Inputs {
    let keys = [secret(1).key(), secret(2).key(), es256_key()];
    let mut roster: Vec<_> = keys.into_iter().map(device).collect();
    roster.sort_unstable_by_key(|device| device.id);
    Inputs {
        version: 1,
        chain_id: CHAIN,
        network: NETWORK,
        epoch,
        clock: EpochClock { length: 30, grace: 4 },
        mix: [1; 32],
        latest_root: [0; 32],
        rails_contract: Account::repeat_byte(3),
        treasury: Account::repeat_byte(4),
        manifest: manifest(),
        roster,
        rails: Vec::new(),
        datasets: Vec::new(),
        by_device: Default::default(),
    }
}

/// The inputs of [`EPOCH`] in which device 1 serves a rail, so that its quota is twice [`QUOTA`].
pub(crate) fn serving() -> Inputs {
    let mut inputs = inputs();
    inputs.rails.push(Rail {
        id: RailId(1),
        payer: Account::repeat_byte(5),
        payee: Account::repeat_byte(1),
        signer: Account::repeat_byte(6),
        device: secret(1).id(),
        limit: Micros(1),
        rate: Micros::ZERO,
        nonce: 0,
        opened: Epoch(0),
        expiry: EPOCH,
        class: 0,
        presented: Micros::ZERO,
    });
    inputs
}

pub(crate) fn inputs() -> Inputs {
    inputs_of(EPOCH)
}

fn device(key: DeviceKey) -> Device {
    Device {
        id: key.id(),
        key,
        owner: Account::repeat_byte(1),
        maker: Account::ZERO,
        kind: KIND,
        tier: 2,
        cell: 0,
        capacity: 1,
        offer: Digest::default(),
        stake: Tokens::ZERO,
        netted: Tokens::ZERO,
    }
}

pub(crate) fn report(used: u64) -> Body {
    Common::Report(Report { used, free: 0, at: protocol::Height(0) }).to_body()
}

pub(crate) fn payload(sequence: u64, used: u64) -> Payload {
    Payload { network: NETWORK, epoch: EPOCH, sequence, time_ms: TIME, body: report(used) }
}

/// An envelope of the Ed25519 device `n`.
pub(crate) fn envelope(n: u8, sequence: u64, used: u64) -> Vec<u8> {
    sign(n, &payload(sequence, used))
}

pub(crate) fn sign(n: u8, payload: &Payload) -> Vec<u8> {
    Envelope::sign(&secret(n), payload).bytes().to_vec()
}

/// An envelope of about `bytes` bytes with a body of `kind`.
pub(crate) fn sized(n: u8, sequence: u64, bytes: usize, kind: KindId) -> Vec<u8> {
    let item = Item::of(&minicbor::bytes::ByteVec::from(vec![7; bytes.saturating_sub(160)]));
    sign(n, &Payload { body: Body { kind, item }, ..payload(sequence, 0) })
}

/// The envelope with one bit of its signature changed.
pub(crate) fn forged(envelope: &[u8]) -> Vec<u8> {
    let mut bytes = envelope.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

/// An envelope of the ES256 device: the form is made by the Ed25519 signer and both header and
/// signature are exchanged. `salt` gives other signatures of the same payload.
pub(crate) fn es256_envelope(sequence: u64, salt: u8) -> Vec<u8> {
    use minicbor::bytes::ByteSlice;
    let key = es256_key();
    let protected = [&[0xa2, 0x01, 0x26, 0x04, 0x58, 0x20][..], key.id().as_bytes()].concat();
    let payload = protocol::cbor::to_vec(&payload(sequence, 1));
    let empty: &ByteSlice = [].as_slice().into();
    let message = protocol::cbor::to_vec(&(
        "Signature1",
        <&ByteSlice>::from(protected.as_slice()),
        empty,
        <&ByteSlice>::from(payload.as_slice()),
    ));
    let signature = es256_signature(&message, salt);
    protocol::cbor::to_vec(&(
        <&ByteSlice>::from(protected.as_slice()),
        std::collections::BTreeMap::<u8, u8>::new(),
        <&ByteSlice>::from(payload.as_slice()),
        <&ByteSlice>::from(signature.as_slice()),
    ))
}

fn es256_signature(message: &[u8], salt: u8) -> [u8; 64] {
    let signature: Signature = if salt == 0 {
        es256().sign(message)
    } else {
        // ECDSA with a nonce of our own: r = (kG).x, s = (z + r d) / k.
        use p256::{
            ProjectivePoint, Scalar, U256,
            elliptic_curve::{ops::Reduce, point::AffineCoordinates as _},
        };
        use sha2::{Digest as _, Sha256};
        let nonce = Scalar::from(u64::from(salt) + 1_000);
        let point = (ProjectivePoint::GENERATOR * nonce).to_affine();
        let r = <Scalar as Reduce<U256>>::reduce_bytes(&point.x());
        let z = <Scalar as Reduce<U256>>::reduce_bytes(&Sha256::digest(message));
        let s = nonce.invert().unwrap() * (z + r * **es256().as_nonzero_scalar());
        Signature::from_scalars(r, s).unwrap()
    };
    signature.normalize_s().unwrap_or(signature).to_bytes().into()
}

pub(crate) fn batch(envelopes: Vec<Vec<u8>>) -> Batch {
    Batch::sign(&validator(), CHAIN, NETWORK, envelopes)
}

pub(crate) fn blob(envelopes: Vec<Vec<u8>>) -> Vec<u8> {
    batch(envelopes).to_bytes()
}

pub(crate) fn id(n: u8) -> DeviceId {
    secret(n).id()
}

pub(crate) fn common_garbage(n: u8, sequence: u64) -> Vec<u8> {
    let body = Body { kind: COMMON, item: Item::of(&99u8) };
    sign(n, &Payload { body, ..payload(sequence, 0) })
}
