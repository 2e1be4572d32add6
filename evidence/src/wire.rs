//! How agents speak to a validator: submit envelopes, fetch what duties are drawn from.
//!
//! The same bytes travel two ways. Over iroh (ALPN [`ALPN`]) a request is a header, the canonical CBOR
//! of a [`Request`], and a body; the answer is a header, the canonical CBOR of a [`Response`], and a
//! body. Over HTTP `POST /v1/evidence` takes the body of [`Request::Submit`] and returns that of
//! [`Response::Answers`], both as `application/cbor`.
//!
//! Limits: [`SUBMIT_MAX`] bytes and [`ENVELOPES_MAX`] envelopes a request. One answer for each envelope,
//! in the order they were sent. Sending again is harmless: the answer is then [`Answer::Replayed`].

use crate::Acceptance;
use minicbor::{Decode, Encode, bytes::ByteVec};
use protocol::{
    Epoch, NetworkId, Reason,
    cbor::{self, DecodeError},
};

/// The protocol's name on iroh connections.
pub const ALPN: &[u8] = b"wayleave/evidence/1";
/// The most envelopes of one request.
pub const ENVELOPES_MAX: usize = 256;
/// The largest body of a request that submits, in bytes.
pub const SUBMIT_MAX: usize = 1024 * 1024;
/// The media type of bodies over HTTP.
pub const MEDIA_TYPE: &str = "application/cbor";

/// What an agent asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Take the envelopes of the body, a [`Submit`].
    #[n(0)]
    Submit,
    /// The inputs file of an epoch.
    #[n(1)]
    Inputs(#[n(0)] NetworkId, #[n(1)] Epoch),
    /// The statement of an epoch.
    #[n(2)]
    Statement(#[n(0)] NetworkId, #[n(1)] Epoch),
}

/// What a validator answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Response {
    /// The body is [`Answers`].
    #[n(0)]
    Answers,
    /// The body is the file that was asked for, byte for byte.
    #[n(1)]
    File,
    /// There is no such file here, or not yet.
    #[n(2)]
    Missing,
}

/// Envelopes to take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Submit {
    #[n(0)]
    envelopes: Vec<ByteVec>,
}

/// One answer for each envelope, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Answers {
    /// The answers.
    #[n(0)]
    pub answers: Vec<Answer>,
}

/// What became of one envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// It was taken.
    #[n(0)]
    Accepted(#[n(0)] Acceptance),
    /// This very report was taken before, with this acceptance.
    #[n(1)]
    Replayed(#[n(0)] Acceptance),
    /// It was not taken.
    #[n(2)]
    Refused(#[n(0)] Reason),
}

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Over a limit above.
    #[error("at most {ENVELOPES_MAX} envelopes and {SUBMIT_MAX} bytes fit one request")]
    TooLarge,
    /// Not the canonical encoding.
    #[error("message: {0}")]
    Decode(#[from] DecodeError),
}

impl Answer {
    /// The acceptance, of now or of before.
    pub const fn acceptance(&self) -> Option<&Acceptance> {
        match self {
            Self::Accepted(acceptance) | Self::Replayed(acceptance) => Some(acceptance),
            Self::Refused(_) => None,
        }
    }

    /// The acceptance, or why there is none. [`Answer::Replayed`] counts as accepted.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub const fn accepted(&self) -> Result<&Acceptance, Reason> {
        match self {
            Self::Accepted(acceptance) | Self::Replayed(acceptance) => Ok(acceptance),
            Self::Refused(reason) => Err(*reason),
        }
    }
}

impl Submit {
    /// A request for `envelopes`.
    pub fn new(envelopes: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { envelopes: envelopes.into_iter().map(ByteVec::from).collect() }
    }

    /// The envelopes' bytes.
    pub fn envelopes(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.envelopes.iter().map(|envelope| envelope.as_slice())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes within the limits.
    ///
    /// # Errors
    /// [`WireError`]; nothing of the request is taken then.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > SUBMIT_MAX {
            return Err(WireError::TooLarge);
        }
        let submit: Self = cbor::from_slice(bytes)?;
        if submit.envelopes.len() > ENVELOPES_MAX {
            return Err(WireError::TooLarge);
        }
        Ok(submit)
    }
}

impl Answers {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes. The acceptances' signatures are the reader's to check.
    ///
    /// # Errors
    /// When the bytes are not canonical or more than a request can ask.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let answers: Self = cbor::from_slice(bytes)?;
        if answers.answers.len() > ENVELOPES_MAX {
            return Err(WireError::TooLarge);
        }
        Ok(answers)
    }
}

impl Request {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// When the bytes are not a canonical request.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::from_slice(bytes)
    }
}

impl Response {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// When the bytes are not a canonical response.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::from_slice(bytes)
    }
}

#[cfg(test)]
mod tests;
