use super::*;
use crate::body::{Common, Report};
use alloy_primitives::hex;
use proptest::prelude::*;

/// The published vectors, made by libraries that share no code with ours.
fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../vectors/envelope/envelopes.json")).unwrap()
}

fn bytes32(value: &serde_json::Value) -> [u8; 32] {
    value.as_str().map_or([0; 32], |text| hex::decode(text).unwrap().try_into().unwrap())
}

fn payload() -> Payload {
    let report = Common::Report(Report { used: 1_048_576, free: 4096, at: crate::Height(215) });
    Payload {
        network: NetworkId(1),
        epoch: Epoch(7),
        sequence: 42,
        time_ms: 1_795_000_000_000,
        body: report.to_body(),
    }
}

#[test]
fn published_vectors() {
    let file = vectors();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 10);
    for vector in vectors {
        let (name, key) = (&vector["name"], &vector["key"]);
        let algorithm = i8::try_from(key["alg"].as_i64().unwrap()).unwrap();
        let public =
            DeviceKey::from_parts(algorithm, bytes32(&key["x"]), bytes32(&key["y"])).unwrap();
        assert_eq!(public.id().0, bytes32(&key["kid"]), "{name}");
        let bytes = hex::decode(vector["envelope"].as_str().unwrap()).unwrap();
        let parsed = Envelope::parse(&bytes, ENVELOPE_MAX);
        let seen = match &parsed {
            Err(_) => "form",
            Ok(envelope) if envelope.verify(&public).is_err() => "signature",
            Ok(_) => "valid",
        };
        assert_eq!(seen, vector["expected"], "{name}: {parsed:?}");
        if seen == "valid" {
            assert_eq!(parsed.unwrap().payload(), &payload(), "{name}");
        }
    }
}

#[test]
fn our_envelope_is_the_published_one() {
    let secret = DeviceSecret::from_seed(std::array::from_fn(|i| u8::try_from(i).unwrap()));
    let ours = Envelope::sign(&secret, &payload());
    let published = vectors()["vectors"][0]["envelope"].as_str().unwrap().to_owned();
    assert_eq!(hex::encode(ours.bytes()), published);
}

#[test]
fn any_cose_library_reads_ours() {
    use coset::{CborSerializable as _, CoseSign1, iana};
    let secret = DeviceSecret::from_seed([3; 32]);
    let ours = Envelope::sign(&secret, &payload());
    let theirs = CoseSign1::from_slice(ours.bytes()).unwrap();
    let algorithm = coset::Algorithm::Assigned(iana::Algorithm::EdDSA);
    assert_eq!(theirs.protected.header.alg, Some(algorithm));
    assert_eq!(theirs.protected.header.key_id, secret.id().0);
    theirs
        .verify_signature(b"", |signature, data| {
            secret.key().verify(data, signature.try_into().unwrap())
        })
        .unwrap();
}

#[test]
fn limits_and_strangers_are_refused() {
    let secret = DeviceSecret::from_seed([3; 32]);
    let envelope = Envelope::sign(&secret, &payload());
    let length = envelope.bytes().len();
    assert_eq!(
        Envelope::parse(envelope.bytes(), length - 1),
        Err(ParseError::TooLarge(length, length - 1))
    );
    let stranger = DeviceSecret::from_seed([4; 32]);
    assert_eq!(envelope.verify(&stranger.key()), Err(VerifyError::Key));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Envelope::parse(&bytes, ENVELOPE_MAX);
    }

    #[test]
    fn every_mutation_is_refused_or_detected(at in 0usize..150, bit in 0u8..8) {
        let secret = DeviceSecret::from_seed([3; 32]);
        let mut bytes = Envelope::sign(&secret, &payload()).bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(envelope) = Envelope::parse(&bytes, ENVELOPE_MAX) {
            prop_assert!(envelope.verify(&secret.key()).is_err());
        }
    }

    #[test]
    fn what_is_signed_parses_back(network: u64, epoch: u64, sequence: u64, time_ms: u64, item: u32) {
        let secret = DeviceSecret::from_seed([5; 32]);
        let payload = Payload {
            network: NetworkId(network),
            epoch: Epoch(epoch),
            sequence,
            time_ms,
            body: Body { kind: KindId(9), item: Item::of(&item) },
        };
        let signed = Envelope::sign(&secret, &payload);
        let parsed = Envelope::parse(signed.bytes(), ENVELOPE_MAX).unwrap();
        prop_assert_eq!(&parsed, &signed);
        prop_assert_eq!(parsed.payload(), &payload);
        prop_assert_eq!(parsed.verify(&secret.key()), Ok(()));
        prop_assert_eq!(parsed.payload().body.item.to::<u32>(), Ok(item));
    }
}
