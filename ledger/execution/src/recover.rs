//! The sender of a transaction, which its signature names (secp256k1 recovery, low s by EIP-2).
//!
//! This is most of what a transfer costs, so it is done by libsecp256k1 (Bitcoin's library in C), in about
//! half the time of the implementation that comes with the Ethereum types. What counts as a signature is a
//! matter of consensus: a test holds the two against one another.

use alloy_consensus::{
    TxEnvelope,
    crypto::{InvalidSignatureS, RecoveryError, SECP256K1N_HALF},
};
use alloy_primitives::{Address, B256, Signature, keccak256};
use secp256k1::{
    Error, Message, Secp256k1, VerifyOnly,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use std::sync::LazyLock;

static LIBRARY: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

/// The account that signed a transaction.
///
/// # Errors
/// The signature is none, or not the canonical one of two.
pub(crate) fn sender(tx: &TxEnvelope) -> Result<Address, RecoveryError> {
    recover(tx.signature(), tx.signature_hash())
}

fn recover(signature: &Signature, hash: B256) -> Result<Address, RecoveryError> {
    if signature.s() > SECP256K1N_HALF {
        return Err(RecoveryError::from_source(InvalidSignatureS));
    }
    key_hash(signature, hash).map(Address::from_word).map_err(RecoveryError::from_source)
}

/// keccak256 of the key that made the signature.
fn key_hash(signature: &Signature, hash: B256) -> Result<B256, Error> {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&signature.r().to_be_bytes::<32>());
    bytes[32..].copy_from_slice(&signature.s().to_be_bytes::<32>());
    let parity = RecoveryId::try_from(i32::from(signature.v()))?;
    let signature = RecoverableSignature::from_compact(&bytes, parity)?;
    let key = LIBRARY.recover_ecdsa(&Message::from_digest(hash.0), &signature)?;
    // The first byte says that the key is not compressed.
    Ok(keccak256(&key.serialize_uncompressed()[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::crypto::secp256k1::recover_signer;
    use alloy_primitives::U256;
    use alloy_signer::SignerSync as _;
    use alloy_signer_local::PrivateKeySigner;
    use proptest::prelude::*;

    /// The order of the curve.
    const ORDER: U256 =
        SECP256K1N_HALF.wrapping_mul(U256::from_limbs([2, 0, 0, 0])).wrapping_add(U256::ONE);

    fn agree(signature: &Signature, hash: B256) -> Option<Address> {
        let (ours, theirs) = (recover(signature, hash).ok(), recover_signer(signature, hash).ok());
        assert_eq!(ours, theirs, "{signature:?} {hash}");
        ours
    }

    proptest! {
        #[test]
        fn both_libraries_take_and_refuse_the_same(
            secret in 1u8..=254,
            hash in any::<[u8; 32]>(),
            other in any::<[u8; 32]>(),
            parity in any::<bool>(),
        ) {
            let (hash, signer) = (B256::from(hash), PrivateKeySigner::from_slice(&[secret; 32]).unwrap());
            let good = signer.sign_hash_sync(&hash).unwrap();
            prop_assert_eq!(agree(&good, hash), Some(signer.address()));
            let high = Signature::new(good.r(), ORDER - good.s(), !good.v());
            prop_assert_eq!(agree(&high, hash), None);
            let other = U256::from_be_bytes(other);
            for (r, s) in [(other, good.s()), (good.r(), other), (good.r(), other >> 1), (other, other >> 2)] {
                agree(&Signature::new(r, s, parity), hash);
            }
        }
    }

    #[test]
    fn they_agree_at_the_edges() {
        let edges = [
            U256::ZERO,
            U256::ONE,
            SECP256K1N_HALF,
            SECP256K1N_HALF + U256::ONE,
            ORDER - U256::ONE,
            ORDER,
            ORDER + U256::ONE,
            U256::MAX,
        ];
        for (r, s) in edges.iter().flat_map(|r| edges.iter().map(move |s| (*r, *s))) {
            for (parity, hash) in [(false, B256::ZERO), (true, B256::repeat_byte(0xFF))] {
                agree(&Signature::new(r, s, parity), hash);
            }
        }
    }
}
