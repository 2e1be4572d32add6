//! The seed reveal: one unique BLS signature a block, mixed into a running value (design 5).
//!
//! A proposer signs (chain, epoch, height, previous mix) with the BLS key it registered with a proof
//! of possession. BLS12-381 signatures are unique: a proposer has exactly one value it can reveal, so
//! all it can choose is whether to propose at all. The new mix is
//! `protocol::seed::next_mix(previous, reveal)`, and the seed of epoch `e` is taken from the mix of
//! the last header before it.
//!
//! What a run of adversarial proposers can do: whoever holds the last `k` slots before the boundary
//! can leave each out or not and so choose among `2^k` seeds. Duties are sized for that.
//!
//! Signatures are of the first group (48 bytes), keys of the second (96 bytes), with the
//! proof-of-possession ciphersuite of draft-irtf-cfrg-bls-signature-05.

use crate::header::REVEAL_BYTES;
use alloy_primitives::B256;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::bls12381::primitives::{
    group::{G1, G2, Private},
    ops,
    variant::MinSig,
};

/// Separates reveals from every other use of the key.
const REVEAL_DOMAIN: &[u8] = b"wayleave/seed/reveal/1";
/// Separates proofs of possession from reveals.
const POSSESSION_DOMAIN: &[u8] = b"wayleave/seed/possession/1";

/// Length of an encoded public key.
pub const KEY_BYTES: usize = 96;

/// What a reveal signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// EIP-155 id of the ledger.
    pub chain_id: u64,
    /// Settlement epoch of the block that carries the reveal.
    pub epoch: u64,
    /// Height of the block that carries the reveal.
    pub height: u64,
    /// The mix of the parent.
    pub previous: B256,
}

impl Message {
    fn bytes(&self) -> [u8; 56] {
        let mut bytes = [0; 56];
        bytes[..8].copy_from_slice(&self.chain_id.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.height.to_be_bytes());
        bytes[24..].copy_from_slice(self.previous.as_slice());
        bytes
    }

    /// The mix after `reveal`.
    pub fn mix(&self, reveal: &[u8; REVEAL_BYTES]) -> B256 {
        B256::from(protocol::seed::next_mix(self.previous.0, reveal))
    }
}

/// A BLS public key, decoded and known to be in the right subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedKey(G2);

impl SeedKey {
    /// Reads 96 compressed bytes; nothing if they are no point of the subgroup.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Option<Self> {
        G2::decode(Copying(&bytes[..])).ok().map(Self)
    }

    /// Whether `reveal` is this key's signature over `message`.
    pub fn verify(&self, message: &Message, reveal: &[u8; REVEAL_BYTES]) -> bool {
        G1::decode(Copying(&reveal[..])).is_ok_and(|signature| {
            ops::verify_message::<MinSig>(&self.0, REVEAL_DOMAIN, &message.bytes(), &signature)
                .is_ok()
        })
    }

    /// Whether `proof` shows that somebody holds this key's secret.
    pub fn possessed(&self, proof: &[u8; REVEAL_BYTES]) -> bool {
        G1::decode(Copying(&proof[..])).is_ok_and(|signature| {
            ops::verify_proof_of_possession::<MinSig>(&self.0, POSSESSION_DOMAIN, &signature)
                .is_ok()
        })
    }
}

/// A BLS secret key.
#[derive(Clone)]
pub(crate) struct SeedSecret(Private);

impl SeedSecret {
    /// Reads 32 big-endian bytes; nothing for zero or a number outside the field.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        Private::decode(Copying(&bytes[..])).ok().map(Self)
    }

    /// The public key.
    pub(crate) fn public(&self) -> [u8; KEY_BYTES] {
        fixed(&ops::compute_public::<MinSig>(&self.0).encode())
    }

    /// The one reveal of this key for `message`.
    pub(crate) fn reveal(&self, message: &Message) -> [u8; REVEAL_BYTES] {
        fixed(&ops::sign_message::<MinSig>(&self.0, REVEAL_DOMAIN, &message.bytes()).encode())
    }

    /// The proof that this key's secret is held.
    pub(crate) fn possession(&self) -> [u8; REVEAL_BYTES] {
        fixed(&ops::sign_proof_of_possession::<MinSig>(&self.0, POSSESSION_DOMAIN).encode())
    }
}

/// Copies an encoding whose length is fixed by its type.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message { chain_id: 0xDE91, epoch: 3, height: 95, previous: B256::repeat_byte(7) }
    }

    #[test]
    fn a_reveal_is_unique_and_bound_to_everything_it_signs() {
        let secret = SeedSecret::from_bytes(&[5; 32]).unwrap();
        let key = SeedKey::from_bytes(&secret.public()).unwrap();
        let reveal = secret.reveal(&message());
        assert_eq!(reveal, secret.reveal(&message()));
        assert!(key.verify(&message(), &reveal));
        for other in [
            Message { chain_id: 1, ..message() },
            Message { epoch: 4, ..message() },
            Message { height: 96, ..message() },
            Message { previous: B256::ZERO, ..message() },
        ] {
            assert!(!key.verify(&other, &reveal));
        }
        let stranger = SeedSecret::from_bytes(&[6; 32]).unwrap();
        assert!(!SeedKey::from_bytes(&stranger.public()).unwrap().verify(&message(), &reveal));
        assert_ne!(message().mix(&reveal), message().previous);
    }

    #[test]
    fn malformed_reveals_are_refused() {
        let secret = SeedSecret::from_bytes(&[5; 32]).unwrap();
        let key = SeedKey::from_bytes(&secret.public()).unwrap();
        let mut infinity = [0; REVEAL_BYTES];
        infinity[0] = 0xc0;
        for bad in [[0; REVEAL_BYTES], [255; REVEAL_BYTES], infinity] {
            assert!(!key.verify(&message(), &bad));
            assert!(!key.possessed(&bad));
        }
    }

    #[test]
    fn possession_is_not_a_reveal() {
        let secret = SeedSecret::from_bytes(&[5; 32]).unwrap();
        let key = SeedKey::from_bytes(&secret.public()).unwrap();
        assert!(key.possessed(&secret.possession()));
        assert!(!key.possessed(&secret.reveal(&message())));
        assert!(!key.verify(&message(), &secret.possession()));
    }

    #[test]
    fn bad_keys_are_refused() {
        assert!(SeedSecret::from_bytes(&[0; 32]).is_none());
        assert!(SeedSecret::from_bytes(&[255; 32]).is_none());
        assert!(SeedKey::from_bytes(&[0; KEY_BYTES]).is_none());
        assert!(SeedKey::from_bytes(&[255; KEY_BYTES]).is_none());
    }
}
