//! Many signatures checked at once.
//!
//! Ed25519 signatures are checked in groups by one equation; only when a group fails is each of its
//! signatures checked alone. Under the ZIP-215 rules both ways agree on every input. The coefficients
//! of the equation are drawn by BLAKE3 from everything that is checked, so the result needs no
//! randomness and nobody can choose signatures that cancel out. ES256 signatures are checked one by one.

use ed25519_zebra::batch::{Item, Verifier};
use protocol::{
    envelope::Envelope,
    key::{DeviceKey, SIGNATURE_LENGTH},
};
use std::convert::Infallible;

/// How many signatures share one equation: more gains little, and less is done again after a failure.
const GROUP: usize = 256;

/// One signature to check.
struct Claim {
    key: [u8; 32],
    signature: [u8; SIGNATURE_LENGTH],
    message: Vec<u8>,
    /// Its place among the envelopes given.
    at: usize,
}

/// For each envelope whether its signature by its key holds.
pub fn check(envelopes: &[(&Envelope, &DeviceKey)]) -> Vec<bool> {
    let mut valid = vec![false; envelopes.len()];
    let mut claims = Vec::new();
    for (at, (envelope, key)) in envelopes.iter().enumerate() {
        if let DeviceKey::Ed25519(bytes) = key {
            let named = envelope.algorithm() == key.algorithm() && envelope.device() == key.id();
            if let (true, Ok((message, signature))) = (named, envelope.signed()) {
                claims.push(Claim { key: *bytes, signature, message, at });
            }
        } else {
            valid[at] = envelope.verify(key).is_ok();
        }
    }
    for group in claims.chunks(GROUP) {
        check_group(group, &mut valid);
    }
    valid
}

fn check_group(group: &[Claim], valid: &mut [bool]) {
    let mut verifier = Verifier::new();
    let mut transcript = blake3::Hasher::new_derive_key("wayleave 2026-11 batch verification");
    for claim in group {
        transcript.update(&claim.key);
        transcript.update(&claim.signature);
        transcript.update(blake3::hash(&claim.message).as_bytes());
        verifier.queue(claim.item());
    }
    let all = verifier.verify(Coefficients(transcript.finalize_xof())).is_ok();
    for claim in group {
        valid[claim.at] = all || claim.item().verify_single().is_ok();
    }
}

impl Claim {
    fn item(&self) -> Item {
        Item::from((
            ed25519_zebra::VerificationKeyBytes::from(self.key),
            ed25519_zebra::Signature::from(self.signature),
            &self.message,
        ))
    }
}

/// The coefficients of the equation, as the generator that the library asks for.
struct Coefficients(blake3::OutputReader);

impl rand::TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rand::TryCryptoRng for Coefficients {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::{
        Epoch, NetworkId,
        body::{Common, Report},
        envelope::{ENVELOPE_MAX, Payload},
        key::DeviceSecret,
    };

    fn envelope(secret: &DeviceSecret, sequence: u64) -> Envelope {
        let body = Common::Report(Report { used: 1, free: 2, at: protocol::Height(0) }).to_body();
        let payload =
            Payload { network: NetworkId(1), epoch: Epoch(1), sequence, time_ms: 5, body };
        Envelope::sign(secret, &payload)
    }

    /// The envelope with one byte of its signature changed.
    fn forged(envelope: &Envelope, at: usize) -> Envelope {
        let mut bytes = envelope.bytes().to_vec();
        let from = bytes.len() - SIGNATURE_LENGTH;
        bytes[from + at % SIGNATURE_LENGTH] ^= 1;
        Envelope::parse(&bytes, ENVELOPE_MAX).unwrap()
    }

    #[test]
    fn another_device_s_key_and_another_algorithm_fail() {
        let (a, b) = (DeviceSecret::from_seed([1; 32]), DeviceSecret::from_seed([2; 32]));
        let es256 = DeviceKey::P256([1; 32], [2; 32]);
        let envelope = envelope(&a, 1);
        assert_eq!(
            check(&[(&envelope, &a.key()), (&envelope, &b.key()), (&envelope, &es256)]),
            [true, false, false]
        );
        assert!(check(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn together_and_alone_agree(
            items in proptest::collection::vec((0u8..4, any::<u64>(), proptest::option::of(0usize..64)), 1..40),
        ) {
            let secrets: Vec<_> = (0..4).map(|n| DeviceSecret::from_seed([n; 32])).collect();
            let keys: Vec<_> = secrets.iter().map(DeviceSecret::key).collect();
            let envelopes: Vec<_> = items
                .iter()
                .map(|(n, sequence, broken)| {
                    let good = envelope(&secrets[usize::from(*n)], *sequence);
                    broken.map_or(good.clone(), |at| forged(&good, at))
                })
                .collect();
            let pairs: Vec<_> = envelopes
                .iter()
                .zip(&items)
                .map(|(envelope, (n, ..))| (envelope, &keys[usize::from(*n)]))
                .collect();
            let alone: Vec<_> = pairs.iter().map(|(e, key)| e.verify(key).is_ok()).collect();
            prop_assert_eq!(check(&pairs), alone.clone());
            prop_assert_eq!(alone, items.iter().map(|item| item.2.is_none()).collect::<Vec<_>>());
        }
    }
}
