//! Signatures that contracts check: secp256k1 by recovery, and those of device keys.

use crate::context::Context;
use crate::env::Failure;
use alloy_primitives::{Address, B256, Bytes, Signature, U256};
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
