//! Signatures that contracts check: secp256k1 by recovery, those of device keys, those of validators.

use crate::context::Context;
use crate::env::Failure;
use alloy_primitives::{Address, B256, Bytes, Signature, U256};
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::{
    Verifier as _,
    bls12381::primitives::{
        group::{G1, G2},
        ops,
        variant::MinSig,
    },
    ed25519,
};
use protocol::key::{DeviceKey, SIGNATURE_LENGTH};

/// Gas of recovering a secp256k1 signer: Ethereum's price of ECRECOVER.
const RECOVER_GAS: u64 = 3_000;
/// Gas of checking a device's signature: Ethereum's price of P256VERIFY (EIP-7951).
const DEVICE_GAS: u64 = 6_900;
/// Gas of hashing each word that a device signed.
const DEVICE_WORD_GAS: u64 = 12;
/// Half the order of secp256k1; EIP-2 forbids s above it.
const HALF_ORDER: U256 = U256::from_limbs([
    0xdfe9_2f46_681b_20a0,
    0x5d57_6e73_57a4_501d,
    0xffff_ffff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
]);

/// Who signed `digest`: nobody if the signature is malformed or in the high-s form.
pub(crate) fn recover(
    cx: &mut Context<'_>,
    digest: B256,
    v: u8,
    r: B256,
    s: B256,
) -> Result<Option<Address>, Failure> {
    cx.charge(RECOVER_GAS)?;
    let (r, s): (U256, U256) = (r.into(), s.into());
    let odd = match v {
        27 => false,
        28 => true,
        _ => return Ok(None),
    };
    if s > HALF_ORDER {
        return Ok(None);
    }
    let signer = Signature::new(r, s, odd).recover_address_from_prehash(&digest).ok();
    Ok(signer.filter(|signer| !signer.is_zero()))
}

/// Charges for recovering the signer of a voucher, which `protocol` does.
pub(crate) fn charge_recover(cx: &mut Context<'_>) -> Result<(), Failure> {
    cx.charge(RECOVER_GAS)
}

/// Whether a device signed `message`.
pub(crate) fn device_signed(
    cx: &mut Context<'_>,
    key: &DeviceKey,
    message: &[u8],
    signature: &Bytes,
) -> Result<bool, Failure> {
    cx.charge_words(DEVICE_GAS, DEVICE_WORD_GAS, message.len())?;
    let signature: Option<&[u8; SIGNATURE_LENGTH]> = signature.as_ref().try_into().ok();
    Ok(signature.is_some_and(|signature| key.verify(message, signature).is_ok()))
}

/// Gas of checking a validator's signature: as that of a device.
const VALIDATOR_GAS: u64 = DEVICE_GAS;
/// Gas of checking the possession of a seed key: two pairings (EIP-2537: 37,700 and 32,600 each), hashing
/// to the curve, and reading both points with their subgroups.
const POSSESSION_GAS: u64 = 150_000;
/// Separates proofs of possession of seed keys from reveals (`consensus::seed`).
pub(crate) const POSSESSION_DOMAIN: &[u8] = b"wayleave/seed/possession/1";

/// Whether a validator signed a message in a namespace. The key and the signature are read and checked as
/// consensus does it, so that no key is accepted here with which no engine could be run.
pub(crate) fn validator_signed(
    cx: &mut Context<'_>,
    key: B256,
    (namespace, message): (&[u8], &[u8]),
    signature: &[u8],
) -> Result<bool, Failure> {
    cx.charge_words(VALIDATOR_GAS, DEVICE_WORD_GAS, namespace.len() + message.len())?;
    let key = ed25519::PublicKey::decode(Copying(key.as_slice()));
    let signature = ed25519::Signature::decode(Copying(signature));
    let (Ok(key), Ok(signature)) = (key, signature) else { return Ok(false) };
    Ok(key.verify(namespace, message, &signature))
}

/// Whether `possession` shows that somebody holds the secret of a seed key.
pub(crate) fn seed_key_possessed(
    cx: &mut Context<'_>,
    key: &[u8],
    possession: &[u8],
) -> Result<bool, Failure> {
    cx.charge(POSSESSION_GAS)?;
    let (key, proof) = (G2::decode(Copying(key)), G1::decode(Copying(possession)));
    let (Ok(key), Ok(proof)) = (key, proof) else { return Ok(false) };
    Ok(ops::verify_proof_of_possession::<MinSig>(&key, POSSESSION_DOMAIN, &proof).is_ok())
}
