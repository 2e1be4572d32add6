//! Identifiers: who, which network, which rail, which height and epoch.
//!
//! Each is its own type, so that a height can never stand where an epoch is meant. All encode as
//! the integer or byte string they wrap.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            Encode, Decode, Serialize, Deserialize,
        )]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] pub $inner);

        impl $name {
            /// The number itself.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number!(
    /// A network: one token, one manifest, its kinds and rules. Numbered from 1.
    NetworkId(u64)
);
number!(
    /// A rail: one payer's reserved money towards one payee. Numbered from 1, over all networks.
    RailId(u64)
);
number!(
    /// A resource kind. 0 is kept for the bodies that every kind shares ([`crate::body`]).
    KindId(u16)
);
number!(
    /// A settlement period: a fixed range of heights, see [`crate::clock::EpochClock`].
    Epoch(u64)
);
number!(
    /// The number of a block; genesis is 0.
    Height(u64)
);

impl Epoch {
    /// The epoch after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The epoch before this one, if there is one.
    pub const fn previous(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(epoch) => Some(Self(epoch)),
            None => None,
        }
    }
}

macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes themselves.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseBytesError;

            fn from_str(text: &str) -> Result<Self, ParseBytesError> {
                parse32(text).map(Self)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                <[u8; 32]>::try_from(d.bytes()?)
                    .map(Self)
                    .map_err(|_| minicbor::decode::Error::message("expected 32 bytes"))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl From<alloy_primitives::B256> for $name {
            fn from(word: alloy_primitives::B256) -> Self {
                Self(word.0)
            }
        }

        impl From<$name> for alloy_primitives::B256 {
            fn from(id: $name) -> Self {
                Self(id.0)
            }
        }
    };
}

bytes32!(
    /// A device: the SHA-256 thumbprint of its COSE key (RFC 9679), see [`crate::key`].
    DeviceId
);
bytes32!(
    /// The Ed25519 key that signed a batch of evidence: a validator's network key, unless nobody answers for it.
    AuthorKey
);
bytes32!(
    /// The BLAKE3 hash of some canonical bytes: an envelope, a batch, an inputs file, a statement.
    Digest
);

impl Digest {
    /// Hashes `bytes` with BLAKE3.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

/// Text that is not 32 bytes of hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits, with or without 0x before them")]
pub struct ParseBytesError;

fn parse32(text: &str) -> Result<[u8; 32], ParseBytesError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() != 64 || !digits.is_ascii() {
        return Err(ParseBytesError);
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| ParseBytesError)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| ParseBytesError)?;
    }
    Ok(bytes)
}
