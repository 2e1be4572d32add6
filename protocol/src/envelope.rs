//! The signed envelope: an untagged COSE_Sign1 (RFC 9052 section 4.2) around one report.
//!
//! ```text
//! [ protected: bstr {1: alg, 4: kid}, unprotected: {}, payload: bstr, signature: bstr .size 64 ]
//! payload = { 1: network, 2: epoch, 3: sequence, 4: time ms, 5: [kind, body] }
//! ```
//!
//! Rules (design 6): the protected header is exactly {alg, kid}, the unprotected one is empty, `kid`
//! is the device id; everything is deterministic CBOR; the identity of an envelope is (device,
//! network, sequence); two different *payloads* under one identity are a fault of the device, two
//! signatures over one payload are not. At most [`ENVELOPE_MAX`] bytes, except for storage proofs
//! ([`PROOF_MAX`]); what is larger is named by its BLAKE3 hash.

use crate::{
    DeviceId, Digest, Epoch, KindId, NetworkId,
    cbor::{self, Item},
    key::{DeviceKey, DeviceSecret, SIGNATURE_LENGTH, VerifyError},
};
use minicbor::{Decode, Encode};

/// The largest envelope of any kind that does not say otherwise, in bytes.
pub const ENVELOPE_MAX: usize = 4 * 1024;
/// The largest envelope that carries a storage proof, in bytes.
pub const PROOF_MAX: usize = 64 * 1024;

/// What a device says: the payload of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Payload {
    /// The network the report is for.
    #[n(1)]
    pub network: NetworkId,
    /// The epoch the report belongs to.
    #[n(2)]
    pub epoch: Epoch,
    /// A number that the device never uses twice in a network.
    #[n(3)]
    pub sequence: u64,
    /// The device's clock, in milliseconds since 1970.
    #[n(4)]
    pub time_ms: u64,
    /// What is reported.
    #[n(5)]
    pub body: Body,
}

/// The body of a report: its kind, and an item that only this kind understands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Body {
    /// The kind; 0 for the bodies that all kinds share ([`crate::body`]).
    #[n(0)]
    pub kind: KindId,
    /// The kind's own item.
    #[n(1)]
    pub item: Item,
}

/// A parsed envelope. Parsing checks the form; [`Envelope::verify`] checks the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    device: DeviceId,
    algorithm: i8,
    payload: Payload,
    payload_digest: Digest,
    bytes: Vec<u8>,
}

/// Why bytes are not an envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than the limit.
    #[error("envelope of {0} bytes is over the limit of {1}")]
    TooLarge(usize, usize),
    /// Not deterministic CBOR.
    #[error("not deterministic cbor: {0}")]
    Cbor(#[from] cbor::CheckError),
    /// Deterministic CBOR, but not a COSE_Sign1 of the form above.
    #[error("not a cose_sign1 envelope: {0}")]
    Form(&'static str),
    /// The payload is not one.
    #[error("payload: {0}")]
    Payload(#[from] cbor::DecodeError),
}

impl Envelope {
    /// Parses `bytes` of at most `limit`, and checks everything but the signature.
    ///
    /// # Errors
    /// [`ParseError`] names the first rule that the bytes break.
    pub fn parse(bytes: &[u8], limit: usize) -> Result<Self, ParseError> {
        if bytes.len() > limit {
            return Err(ParseError::TooLarge(bytes.len(), limit));
        }
        cbor::check(bytes)?;
        let (protected, payload_bytes, _) = parts(bytes)?;
        let (algorithm, device) = protected_header(protected)?;
        cbor::check(payload_bytes)?;
        let payload: Payload = cbor::from_slice(payload_bytes)?;
        Ok(Self {
            device,
            algorithm,
            payload,
            payload_digest: Digest::of(payload_bytes),
            bytes: bytes.to_vec(),
        })
    }

    /// Signs `payload` as an envelope of the secret's device.
    pub fn sign(secret: &DeviceSecret, payload: &Payload) -> Self {
        let (device, algorithm) = (secret.id(), secret.key().algorithm());
        let protected = encode_protected(algorithm, device);
        let payload_bytes = cbor::to_vec(payload);
        let signature = secret.sign(&to_be_signed(&protected, &payload_bytes));
        Self {
            device,
            algorithm,
            payload: payload.clone(),
            payload_digest: Digest::of(&payload_bytes),
            bytes: assemble(&protected, &payload_bytes, &signature),
        }
    }

    /// Checks the signature by `key`, which must be the key of [`Envelope::device`].
    ///
    /// # Errors
    /// [`VerifyError::Key`] if the key is not this device's, else as [`DeviceKey::verify`].
    pub fn verify(&self, key: &DeviceKey) -> Result<(), VerifyError> {
        if key.id() != self.device || key.algorithm() != self.algorithm {
            return Err(VerifyError::Key);
        }
        let (message, signature) = self.signed()?;
        key.verify(&message, &signature)
    }

    /// What the signature is over, and the signature, for checking many at once.
    ///
    /// # Errors
    /// [`VerifyError::Form`] never happens to a parsed envelope.
    pub fn signed(&self) -> Result<(Vec<u8>, [u8; SIGNATURE_LENGTH]), VerifyError> {
        let (protected, payload, signature) = parts(&self.bytes).map_err(|_| VerifyError::Form)?;
        let signature = signature.try_into().map_err(|_| VerifyError::Form)?;
        Ok((to_be_signed(protected, payload), signature))
    }

    /// The device that signed (its `kid`).
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// What it said.
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The COSE algorithm it names: -8 (EdDSA) or -7 (ES256).
    pub const fn algorithm(&self) -> i8 {
        self.algorithm
    }

    /// The digest of the payload's bytes: equal payloads under one identity are one report.
    pub const fn payload_digest(&self) -> Digest {
        self.payload_digest
    }

    /// The envelope's own bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the envelope's bytes, by which statements name evidence.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// Protected header, payload and signature.
type Parts<'b> = (&'b [u8], &'b [u8], &'b [u8]);

/// The three byte strings of a COSE_Sign1 with an empty unprotected header.
fn parts(bytes: &[u8]) -> Result<Parts<'_>, ParseError> {
    let form = |what| move |_| ParseError::Form(what);
    let mut d = minicbor::Decoder::new(bytes);
    if d.array().map_err(form("not an array"))? != Some(4) {
        return Err(ParseError::Form("not an array of four"));
    }
    let protected = d.bytes().map_err(form("protected header is not bytes"))?;
    if d.map().map_err(form("unprotected header is not a map"))? != Some(0) {
        return Err(ParseError::Form("unprotected header is not empty"));
    }
    let payload = d.bytes().map_err(form("payload is not bytes"))?;
    let signature = d.bytes().map_err(form("signature is not bytes"))?;
    if signature.len() != SIGNATURE_LENGTH {
        return Err(ParseError::Form("signature is not 64 bytes"));
    }
    Ok((protected, payload, signature))
}

/// The algorithm and device of a protected header that is exactly `{1: alg, 4: kid}`.
fn protected_header(bytes: &[u8]) -> Result<(i8, DeviceId), ParseError> {
    for algorithm in [-8, -7] {
        let head = encode_protected_head(algorithm);
        if let Some(kid) = bytes.strip_prefix(head.as_slice()) {
            let kid = kid.try_into().map_err(|_| ParseError::Form("kid is not 32 bytes"))?;
            return Ok((algorithm, DeviceId(kid)));
        }
    }
    Err(ParseError::Form("protected header is not exactly alg (-8 or -7) and a kid of 32 bytes"))
}

const fn encode_protected_head(algorithm: i8) -> [u8; 6] {
    // {1: alg, 4: h'…32 bytes'}; CBOR writes the negative number n as -1 - n under major type 1.
    let alg = 0x20 | algorithm.wrapping_neg().wrapping_sub(1).cast_unsigned();
    [0xa2, 0x01, alg, 0x04, 0x58, 0x20]
}

fn encode_protected(algorithm: i8, device: DeviceId) -> Vec<u8> {
    [&encode_protected_head(algorithm)[..], device.as_bytes()].concat()
}

/// The Sig_structure of RFC 9052 section 4.4 with empty external data.
fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    use minicbor::bytes::ByteSlice;
    let empty: &ByteSlice = [].as_slice().into();
    cbor::to_vec(&("Signature1", <&ByteSlice>::from(protected), empty, <&ByteSlice>::from(payload)))
}

fn assemble(protected: &[u8], payload: &[u8], signature: &[u8; SIGNATURE_LENGTH]) -> Vec<u8> {
    use minicbor::bytes::ByteSlice;
    let unprotected = std::collections::BTreeMap::<u8, u8>::new();
    cbor::to_vec(&(
        <&ByteSlice>::from(protected),
        unprotected,
        <&ByteSlice>::from(payload),
        <&ByteSlice>::from(signature.as_slice()),
    ))
}

#[cfg(test)]
mod tests;
