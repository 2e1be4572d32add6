//! The seed reveal: one unique BLS signature a block, mixed into a running value (design 5).
//!
//! A proposer signs (chain, epoch, height, previous mix) with the BLS key it registered with a proof
//! of possession. BLS12-381 signatures are unique: a proposer has exactly one value it can reveal, so
//! all it can choose is whether to propose at all. The new mix is
//! `protocol::seed::next_mix(previous, reveal)`, and the seed of epoch `e` is taken from the mix of
//! the last header before it.
//!
//! # Bias
//!
//! The numbers here are computed in the tests of this module (`seed/bias.rs`).
//!
//! **What can be chosen.** Mixes are chained over heights and a view without a block is filled by the next
//! leader, so whoever leads `k` views in a row with `m` heights left to the boundary can fill them in
//! `C(k, m)` ways, each another seed, or leave the last to an honest leader and take what comes: in all fewer
//! than `2^k` known seeds, for example 6 with `k = 4`, `m = 2`, and 35 with `k = 7`, `m = 3`. Each view left
//! empty costs its tips and a timeout. A nullified view skips a reveal whoever its leader is, so an honest
//! leader that is kept off the network before a boundary joins the runs on both sides of its slot.
//!
//! **Who has the last slots.** Simplex elects leaders by round robin: view `v` of term `t` is led by the
//! seat at place `(t + v) mod n` of an order that is fixed for the term, so all slots are known as soon as
//! it begins. In the order of keys, which is the default, an owner would choose its places, because keys
//! cost nothing to make: a third of the seats side by side, and `2^33` seeds with 100 seats. So the order is
//! shuffled by the mix of the block whose beginning elected the committee (`Validators.order`,
//! [`crate::committees`]), which is revealed after the last key of that election was registered.
//! In a random order the chance that `k` given slots in a row are held with 33 of 100 seats is 33.0 %,
//! 10.7 %, 3.4 %, 1.0 % and 0.3 % for `k` from 1 to 5 (a little less than `f^k`). But an adversary that knows
//! the order can leave slots empty early in an epoch and so move the boundary to the end of its longest run:
//! that is 4 in the median and 7 in one order of a hundred with 33 of 100 seats, 2 and 3 with 10, 1 and 2
//! with 5, 2 and 4 with 6 of 21, 1 and 2 with 2 of 7. So `k = 4`, less than 16 seeds, is what a third of the
//! seats has to be granted in every epoch, and `k = 7` is the rare case.
//!
//! **What that is worth.** An epoch draws at least 5 positions a rail, each with its window, and a miss
//! zeroes the rail's pay of the epoch. Who keeps all but the share `x` of a rail's bytes (or is away for the
//! share `x` of the time) passes with `(1-x)^5`; with the best of 1, 2, 16 and 128 seeds a single rail passes
//! with
//!
//! | missing | 1 | 2 | 16 | 128 |
//! |---|---|---|---|---|
//! | a tenth | 59.0 % | 83.2 % | 100.0 % | 100.0 % |
//! | a fifth | 32.8 % | 54.8 % | 99.8 % | 100.0 % |
//! | half | 3.1 % | 6.2 % | 39.8 % | 98.3 % |
//!
//! One seed serves all rails, so cheating on many gains nearly nothing: of 100 rails that lack a fifth,
//! 41.2 % pass instead of 32.8 %. It pays only while the pay that is lost stays below the bytes that are not
//! kept; with 16 seeds that holds for 6 rails that lack a tenth, for 3 that lack a fifth, for none that lacks
//! half, and with 128 seeds for 14, 6 and 2. So a third of all seats, acting as one, saves the disk of less
//! than one rail and a half in the whole network, and gives up tips for it in every epoch. Nothing else is
//! drawn from the seed, and who misses on two rails loses the epoch (design 10).
//!
//! **What a threshold signature would buy.** A seed that two thirds of the seats sign together (a BLS
//! threshold signature as a verifiable random function) is unique and leaves nothing to choose, not even
//! whether. It needs a distributed key generation that ends before every term, or the term cannot begin; its
//! certificates convict nobody, while the votes of ours do; and two thirds acting as one would know all seeds
//! of a term beforehand. For the disk of one rail that is not worth it.
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
mod bias;

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
