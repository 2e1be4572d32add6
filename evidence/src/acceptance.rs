//! The acceptance: a validator's signed word that it holds an envelope and will have it carried.
//!
//! It is signed over the chain too, so that a word given on one ledger means nothing on another. An
//! agent that does not find its envelope in a block within a few heights sends it to another
//! validator, and the acceptance shows who failed it.

use minicbor::{Decode, Encode};
use protocol::{
    Digest, Epoch, Height, NetworkId,
    cbor::{self, DecodeError},
    key::{DeviceKey, DeviceSecret, SIGNATURE_LENGTH, VerifyError},
};

/// A validator's signed word for one envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Acceptance {
    /// The BLAKE3 hash of the envelope's bytes.
    #[n(0)]
    pub digest: Digest,
    /// The network it is for.
    #[n(1)]
    pub network: NetworkId,
    /// The epoch it names.
    #[n(2)]
    pub epoch: Epoch,
    /// The validator's Ed25519 key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub validator: [u8; 32],
    /// The height of the validator's newest final block at that moment.
    #[n(4)]
    pub height: Height,
    /// The validator's signature.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub signature: [u8; SIGNATURE_LENGTH],
}

impl Acceptance {
    /// Signs for an envelope with `digest` that names `(network, epoch)`, at `height`.
    pub fn sign(
        secret: &DeviceSecret,
        chain_id: u64,
        digest: Digest,
        (network, epoch): (NetworkId, Epoch),
        height: Height,
    ) -> Self {
        let validator = secret.key().x();
        let mut acceptance =
            Self { digest, network, epoch, validator, height, signature: [0; SIGNATURE_LENGTH] };
        acceptance.signature = secret.sign(&acceptance.message(chain_id));
        acceptance
    }

    /// Checks that [`Acceptance::validator`] signed this on the chain `chain_id`.
    ///
    /// # Errors
    /// As [`DeviceKey::verify`].
    pub fn verify(&self, chain_id: u64) -> Result<(), VerifyError> {
        DeviceKey::Ed25519(self.validator).verify(&self.message(chain_id), &self.signature)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes; the signature is not checked.
    ///
    /// # Errors
    /// When the bytes are not the canonical encoding of an acceptance.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::from_slice(bytes)
    }

    fn message(&self, chain_id: u64) -> Vec<u8> {
        [
            b"wayleave/acceptance/1".as_slice(),
            &chain_id.to_be_bytes(),
            self.digest.as_bytes(),
            &self.network.0.to_be_bytes(),
            &self.epoch.0.to_be_bytes(),
            &self.validator,
            &self.height.0.to_be_bytes(),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_field_and_the_chain_are_signed() {
        let secret = DeviceSecret::from_seed([1; 32]);
        let named = (NetworkId(3), Epoch(4));
        let good = Acceptance::sign(&secret, 7, Digest([2; 32]), named, Height(5));
        assert_eq!(good.verify(7), Ok(()));
        assert_eq!(good.verify(8), Err(VerifyError::Mismatch));
        let other = DeviceSecret::from_seed([2; 32]).key().x();
        for bad in [
            Acceptance { digest: Digest([3; 32]), ..good.clone() },
            Acceptance { network: NetworkId(4), ..good.clone() },
            Acceptance { epoch: Epoch(5), ..good.clone() },
            Acceptance { validator: other, ..good.clone() },
            Acceptance { height: Height(6), ..good.clone() },
        ] {
            assert_eq!(bad.verify(7), Err(VerifyError::Mismatch));
        }
        assert_eq!(Acceptance::from_bytes(&good.to_bytes()), Ok(good));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..250)) {
            if let Ok(acceptance) = Acceptance::from_bytes(&bytes) {
                prop_assert_eq!(acceptance.to_bytes(), bytes);
            }
        }
    }
}
