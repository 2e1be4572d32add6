//! The note that agents keep: what a lost index is made anew from. Pure but for the nonce.
//!
//! Sealed: version 1, 12 random bytes, then the canonical CBOR of a [`Note`] under AES-256-GCM. The key is
//! BLAKE3's derivation from the content key, under a name of its own.

use crate::{
    codec::{Secret, SegmentId},
    index::Entry,
    keys::{self, Random},
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use minicbor::{Decode, Encode};
use protocol::{Digest, cbor};
use storage_kind::wire::NOTE_MAX;

const VERSION: u8 = 1;
const KEY: &str = "wayleave s3 2026 note of the index";
/// The length before a frame.
const PREFIX: usize = 4;

/// A segment of a dump or of a log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Piece {
    /// The segment.
    #[n(0)]
    pub segment: SegmentId,
    /// Its plain bytes.
    #[n(1)]
    pub plain: u32,
    /// Shards needed.
    #[n(2)]
    pub needed: u8,
    /// Its shards, data first.
    #[n(3)]
    pub shards: Vec<Digest>,
}

/// What a lost index is made anew from.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Note {
    /// The last transaction that it has.
    #[n(0)]
    pub sequence: u64,
    /// The last transaction that the pieces have.
    #[n(1)]
    pub logged: u64,
    /// The dump and the logs after it, in order; none for a young index.
    #[n(2)]
    pub pieces: Vec<Piece>,
    /// The entries after these.
    #[n(3)]
    pub tail: Vec<Entry>,
}

/// Why a note is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Too large for an agent.
    #[error(
        "the index is too large to be backed up: its note has {0} bytes, {NOTE_MAX} are the limit"
    )]
    Large(usize),
    /// These keys do not open it.
    #[error("these keys do not open the note")]
    Keys,
    /// Of another version, or not a note.
    #[error("the note is of another version, or damaged")]
    Format,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Seals and opens notes.
pub(crate) struct Sealer {
    secret: Secret,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// Seals for those who have the content key.
    pub(crate) fn new(content: &Secret) -> Self {
        Self { secret: Secret::new(blake3::derive_key(KEY, content.expose())) }
    }

    fn key(&self) -> Result<LessSafeKey, NoteError> {
        let key = UnboundKey::new(&AES_256_GCM, self.secret.expose());
        key.map(LessSafeKey::new).map_err(|_| NoteError::Keys)
    }

    /// The note's bytes for agents.
    pub(crate) fn seal(&self, note: &Note, random: &dyn Random) -> Result<Vec<u8>, NoteError> {
        let nonce: [u8; NONCE_LEN] = keys::draw(random).map_err(|_| NoteError::Random)?;
        let mut text = cbor::to_vec(note);
        self.key()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from([VERSION]),
                &mut text,
            )
            .map_err(|_| NoteError::Keys)?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut text);
        if sealed.len() > NOTE_MAX { Err(NoteError::Large(sealed.len())) } else { Ok(sealed) }
    }

    /// The note in an agent's bytes.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Note, NoteError> {
        let (version, rest) = sealed.split_first().ok_or(NoteError::Format)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(NoteError::Format)?;
        if *version != VERSION {
            return Err(NoteError::Format);
        }
        let mut text = text.to_vec();
        let plain = self
            .key()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from([VERSION]), &mut text)
            .map_err(|_| NoteError::Keys)?;
        cbor::from_slice(plain).map_err(|_| NoteError::Format)
    }
}

/// Entries as bytes, each after its length.
pub(crate) fn frames(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let entry = cbor::to_vec(entry);
        // Entries are parts of segments, whose lengths fit.
        let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&entry);
    }
    bytes
}

/// The entries in such bytes.
///
/// # Errors
/// [`NoteError::Format`].
pub(crate) fn entries(mut bytes: &[u8]) -> Result<Vec<Entry>, NoteError> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<PREFIX>().ok_or(NoteError::Format)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (entry, rest) = rest.split_at_checked(length).ok_or(NoteError::Format)?;
        entries.push(minicbor::decode(entry).map_err(|_| NoteError::Format)?);
        bytes = rest;
    }
    Ok(entries)
}
