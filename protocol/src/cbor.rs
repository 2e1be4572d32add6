//! Deterministic CBOR (RFC 8949 section 4.2): the one encoding of everything that is signed or hashed.
//!
//! Our own structures encode through `minicbor` with definite lengths and shortest heads. Foreign
//! bytes are first walked by [`check`], which accepts exactly the deterministic subset: shortest
//! heads, definite lengths, map keys strictly ascending by their encoded bytes, no tags, no floats,
//! no simple values besides `false`, `true` and `null`, and at most [`DEPTH_MAX`] levels.

use minicbor::{Decode, Encode};

/// How deeply arrays and maps may nest. Evidence is flat; depth only serves attackers.
pub const DEPTH_MAX: usize = 16;

/// Bytes that are not one deterministic CBOR item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The item ends before its announced length.
    #[error("item is cut short")]
    Truncated,
    /// Bytes follow the item.
    #[error("{0} bytes follow the item")]
    Trailing(usize),
    /// An integer or length is not in its shortest form.
    #[error("head is not in its shortest form")]
    LongHead,
    /// An indefinite length.
    #[error("indefinite lengths are not deterministic")]
    Indefinite,
    /// Map keys out of order or repeated.
    #[error("map keys are not strictly ascending")]
    MapOrder,
    /// A tag, float, or unassigned simple value.
    #[error("tags, floats and other simple values are not allowed")]
    Forbidden,
    /// Text that is not UTF-8.
    #[error("text is not utf-8")]
    Text,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    Depth,
}

/// Bytes that are not the canonical encoding of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not decode.
    #[error("malformed: {0}")]
    Malformed(String),
    /// They are of a format of another time.
    #[error(
        "format {found} where this program knows {known}: another version of it made this. Use that one, or \
         begin anew with an empty data folder (`wayleave up --fresh`)"
    )]
    Version {
        /// The version that the bytes begin with.
        found: u16,
        /// The only one that is read.
        known: u16,
    },
    /// They decode, but another encoding of the same value is the canonical one.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// Encodes `value`.
pub fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("a vector takes all bytes and our types raise no errors")
}

/// Decodes `bytes` and refuses any encoding but the one [`to_vec`] makes.
pub fn from_slice<T>(bytes: &[u8]) -> Result<T, DecodeError>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let value: T =
        minicbor::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    if to_vec(&value) == bytes { Ok(value) } else { Err(DecodeError::NotCanonical) }
}

/// Decodes `bytes` of a structure that begins with its version, which has to be `known`. Of another version
/// nothing else is looked at.
///
/// # Errors
/// As [`from_slice`], and [`DecodeError::Version`].
pub fn from_version<T>(bytes: &[u8], known: u16) -> Result<T, DecodeError>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let mut decoder = minicbor::Decoder::new(bytes);
    let version = decoder.array().and_then(|_| decoder.u16());
    match version {
        Ok(found) if found != known => Err(DecodeError::Version { found, known }),
        _ => from_slice(bytes),
    }
}

/// Checks that `bytes` are exactly one deterministic CBOR item.
pub fn check(bytes: &[u8]) -> Result<(), CheckError> {
    let rest = walk(bytes, DEPTH_MAX)?;
    if rest.is_empty() { Ok(()) } else { Err(CheckError::Trailing(rest.len())) }
}

/// Walks one item and returns what follows it.
fn walk(bytes: &[u8], depth: usize) -> Result<&[u8], CheckError> {
    let (major, argument, rest) = head(bytes)?;
    match major {
        0 | 1 => Ok(rest),
        2 => split(rest, argument).map(|(_, rest)| rest),
        3 => {
            let (text, rest) = split(rest, argument)?;
            std::str::from_utf8(text).map_err(|_| CheckError::Text)?;
            Ok(rest)
        }
        4 => {
            let depth = depth.checked_sub(1).ok_or(CheckError::Depth)?;
            (0..argument).try_fold(rest, |rest, _| walk(rest, depth))
        }
        5 => map(rest, argument, depth.checked_sub(1).ok_or(CheckError::Depth)?),
        7 if (20..=22).contains(&argument) => Ok(rest),
        _ => Err(CheckError::Forbidden),
    }
}

fn map(mut rest: &[u8], entries: u64, depth: usize) -> Result<&[u8], CheckError> {
    let mut last: Option<&[u8]> = None;
    for _ in 0..entries {
        let after = walk(rest, depth)?;
        let key = &rest[..rest.len() - after.len()];
        if last.is_some_and(|last| last >= key) {
            return Err(CheckError::MapOrder);
        }
        last = Some(key);
        rest = walk(after, depth)?;
    }
    Ok(rest)
}

/// Reads a head: major type, argument, and what follows.
fn head(bytes: &[u8]) -> Result<(u8, u64, &[u8]), CheckError> {
    let (&first, rest) = bytes.split_first().ok_or(CheckError::Truncated)?;
    let (major, info) = (first >> 5, first & 0x1f);
    if major == 7 && info > 23 {
        return Err(CheckError::Forbidden);
    }
    let width = match info {
        0..=23 => return Ok((major, u64::from(info), rest)),
        24..=27 => 1usize << (info - 24),
        31 => return Err(CheckError::Indefinite),
        _ => return Err(CheckError::Forbidden),
    };
    let (argument, rest) = rest.split_at_checked(width).ok_or(CheckError::Truncated)?;
    let value = argument.iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let shortest = match width {
        1 => 24,
        2 => 1 << 8,
        4 => 1 << 16,
        _ => 1 << 32,
    };
    if value < shortest { Err(CheckError::LongHead) } else { Ok((major, value, rest)) }
}

fn split(bytes: &[u8], length: u64) -> Result<(&[u8], &[u8]), CheckError> {
    let length = usize::try_from(length).map_err(|_| CheckError::Truncated)?;
    bytes.split_at_checked(length).ok_or(CheckError::Truncated)
}

/// One CBOR item kept as the bytes it came in, for bodies that only their kind understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item(Vec<u8>);

impl Item {
    /// Encodes `value` as an item.
    pub fn of<T: Encode<()>>(value: &T) -> Self {
        Self(to_vec(value))
    }

    /// The item's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Decodes the item as `T`, canonically.
    pub fn to<T>(&self) -> Result<T, DecodeError>
    where
        T: Encode<()> + for<'b> Decode<'b, ()>,
    {
        from_slice(&self.0)
    }
}

impl<C> Encode<C> for Item {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.writer_mut().write_all(&self.0).map_err(minicbor::encode::Error::write)
    }
}

impl<'b, C> Decode<'b, C> for Item {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let start = d.position();
        d.skip()?;
        Ok(Self(d.input()[start..d.position()].to_vec()))
    }
}

#[cfg(test)]
mod tests;
