//! Device keys: COSE keys (RFC 9052 section 7), their thumbprint (RFC 9679) and their signatures.
//!
//! Two algorithms: Ed25519 under the ZIP-215 rules, where a single check and a batch agree, and
//! ES256 (P-256 with SHA-256) for secure elements, where only the low-s form is accepted so that no
//! third party can make a second valid signature.

use crate::{Account, DeviceId, NetworkId};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The length of a signature of either algorithm, in bytes.
pub const SIGNATURE_LENGTH: usize = 64;

/// A device's public key.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
pub enum DeviceKey {
    /// Ed25519: the 32 bytes of the compressed point.
    #[n(0)]
    Ed25519(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]),
    /// P-256: the coordinates x and y, big-endian.
    #[n(1)]
    P256(
        #[cbor(n(0), with = "minicbor::bytes")] [u8; 32],
        #[cbor(n(1), with = "minicbor::bytes")] [u8; 32],
    ),
}

/// A signature that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The key is no point of its curve.
    #[error("key is not a point of its curve")]
    Key,
    /// The signature is malformed, or in the high-s form that anyone could derive.
    #[error("signature is malformed or not in low-s form")]
    Form,
    /// The signature is by another key or over other bytes.
    #[error("signature does not match key and message")]
    Mismatch,
}

impl DeviceKey {
    /// The COSE algorithm number: -8 (EdDSA) or -7 (ES256).
    pub const fn algorithm(&self) -> i8 {
        match self {
            Self::Ed25519(_) => -8,
            Self::P256(..) => -7,
        }
    }

    /// The key from its COSE algorithm number and coordinates (`y` is ignored for Ed25519).
    pub const fn from_parts(algorithm: i8, x: [u8; 32], y: [u8; 32]) -> Option<Self> {
        match algorithm {
            -8 => Some(Self::Ed25519(x)),
            -7 => Some(Self::P256(x, y)),
            _ => None,
        }
    }

    /// The x coordinate, or the whole Ed25519 key.
    pub const fn x(&self) -> [u8; 32] {
        match *self {
            Self::Ed25519(x) | Self::P256(x, _) => x,
        }
    }

    /// The y coordinate; zero for Ed25519.
    pub const fn y(&self) -> [u8; 32] {
        match *self {
            Self::Ed25519(_) => [0; 32],
            Self::P256(_, y) => y,
        }
    }

    /// The COSE_Key with its required members only, in deterministic CBOR (RFC 9679 section 4).
    pub fn to_cose(&self) -> Vec<u8> {
        match self {
            // {1: 1 (OKP), -1: 6 (Ed25519), -2: x}
            Self::Ed25519(x) => [&[0xa3, 0x01, 0x01, 0x20, 0x06, 0x21, 0x58, 0x20][..], x].concat(),
            // {1: 2 (EC2), -1: 1 (P-256), -2: x, -3: y}
            Self::P256(x, y) => {
                let head = &[0xa4, 0x01, 0x02, 0x20, 0x01, 0x21, 0x58, 0x20][..];
                [head, x, &[0x22, 0x58, 0x20], y].concat()
            }
        }
    }

    /// The device id: the SHA-256 thumbprint of the key (RFC 9679).
    pub fn id(&self) -> DeviceId {
        DeviceId(Sha256::digest(self.to_cose()).into())
    }

    /// Checks `signature` over `message`.
    ///
    /// # Errors
    /// [`VerifyError`] says whether the key, the form or the match is at fault.
    pub fn verify(
        &self,
        message: &[u8],
        signature: &[u8; SIGNATURE_LENGTH],
    ) -> Result<(), VerifyError> {
        match self {
            Self::Ed25519(bytes) => ed25519_zebra::VerificationKey::try_from(*bytes)
                .map_err(|_| VerifyError::Key)?
                .verify(&ed25519_zebra::Signature::from(*signature), message)
                .map_err(|_| VerifyError::Mismatch),
            Self::P256(x, y) => verify_es256(x, y, message, signature),
        }
    }
}

fn verify_es256(
    x: &[u8; 32],
    y: &[u8; 32],
    message: &[u8],
    signature: &[u8; SIGNATURE_LENGTH],
) -> Result<(), VerifyError> {
    use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier as _};
    let point = p256::EncodedPoint::from_affine_coordinates(x.into(), y.into(), false);
    let key = VerifyingKey::from_encoded_point(&point).map_err(|_| VerifyError::Key)?;
    let signature = Signature::from_slice(signature).map_err(|_| VerifyError::Form)?;
    if signature.normalize_s().is_some() {
        return Err(VerifyError::Form);
    }
    key.verify(message, &signature).map_err(|_| VerifyError::Mismatch)
}

/// A device's Ed25519 secret. It never appears in logs: `Debug` shows the device id alone.
#[derive(Clone)]
pub struct DeviceSecret(ed25519_zebra::SigningKey);

impl DeviceSecret {
    /// The secret with this 32-byte seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_zebra::SigningKey::from(seed))
    }

    /// The seed, for sealing in a keystore and nothing else.
    pub fn seed(&self) -> [u8; 32] {
        self.0.into()
    }

    /// The public key.
    pub fn key(&self) -> DeviceKey {
        DeviceKey::Ed25519(ed25519_zebra::VerificationKey::from(&self.0).into())
    }

    /// The device id.
    pub fn id(&self) -> DeviceId {
        self.key().id()
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LENGTH] {
        self.0.sign(message).into()
    }
}

impl std::fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceSecret({})", self.id())
    }
}

/// What a device signs to be registered, so that nobody registers a key that they do not hold.
pub fn registration_message(chain_id: u64, network: NetworkId, owner: Account) -> Vec<u8> {
    [
        b"wayleave/register/1".as_slice(),
        &chain_id.to_be_bytes(),
        &network.0.to_be_bytes(),
        owner.as_slice(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;

    #[test]
    fn thumbprint_matches_rfc_9679() {
        // The example of RFC 9679 section 6: an EC2 key on P-256.
        let key = DeviceKey::P256(
            hex!("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d"),
            hex!("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c"),
        );
        assert_eq!(
            key.id().0,
            hex!("496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec")
        );
    }

    #[test]
    fn ed25519_signs_and_refuses() {
        let secret = DeviceSecret::from_seed([7; 32]);
        let signature = secret.sign(b"report");
        assert_eq!(secret.key().verify(b"report", &signature), Ok(()));
        assert_eq!(secret.key().verify(b"repart", &signature), Err(VerifyError::Mismatch));
        let other = DeviceSecret::from_seed([8; 32]);
        assert_eq!(other.key().verify(b"report", &signature), Err(VerifyError::Mismatch));
        assert!(!format!("{secret:?}").contains("0707"));
    }

    #[test]
    fn es256_accepts_low_s_only() {
        use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
        let secret = SigningKey::from_slice(&[9; 32]).unwrap();
        let point = secret.verifying_key().to_encoded_point(false);
        let key = DeviceKey::P256((*point.x().unwrap()).into(), (*point.y().unwrap()).into());
        let signature: Signature = secret.sign(b"report");
        let low = signature.normalize_s().unwrap_or(signature);
        let high = Signature::from_scalars(low.r(), -*low.s()).unwrap();
        assert_eq!(key.verify(b"report", &low.to_bytes().into()), Ok(()));
        assert_eq!(key.verify(b"report", &high.to_bytes().into()), Err(VerifyError::Form));
    }
}
