//! Votes of simplex, read from the bytes that commonware 2026.10 writes.
//!
//! ```text
//! vote     = 0 proposal attestation | 1 round attestation | 2 proposal attestation
//!            (notarize, nullify, finalize)
//! proposal = round, parent view, payload (32 bytes);  round = term, view
//! attestation = signer's place in the committee, signature (64 bytes)
//! ```
//!
//! Numbers are varints of protocol buffers in their one shortest form, of 64 bits, the signer's of 32. What
//! is signed is the proposal or the round as it stands, in the namespace of ledger and kind of vote.
//! Read here and not by commonware's types, so that the rules of the ledger are fixed in its own code; a
//! test holds both against one another. Bounded, and never a panic.

use alloy_primitives::B256;

/// Begins the namespace of all votes of a ledger; the hash of its genesis block follows.
const NAMESPACE: &[u8] = b"wayleave/ledger/1/";
const PAYLOAD_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// What a vote says of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Notarize,
    Nullify,
    Finalize,
}

/// A vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vote<'a> {
    pub(super) kind: Kind,
    pub(super) term: u64,
    pub(super) view: u64,
    /// What is signed: the proposal, or the round.
    pub(super) body: &'a [u8],
    /// The signer's place in the committee.
    pub(super) signer: u64,
    pub(super) signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> Vote<'a> {
    /// Reads a vote that fills `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (tag, start) = bytes.split_first()?;
        let kind = match tag {
            0 => Kind::Notarize,
            1 => Kind::Nullify,
            2 => Kind::Finalize,
            _ => return None,
        };
        let mut rest = start;
        let term = varint(&mut rest, u64::BITS)?;
        let view = varint(&mut rest, u64::BITS)?;
        if kind != Kind::Nullify {
            varint(&mut rest, u64::BITS)?;
            rest = rest.get(PAYLOAD_BYTES..)?;
        }
        let body = start.get(..start.len() - rest.len())?;
        let signer = varint(&mut rest, u32::BITS)?;
        let signature = rest.try_into().ok()?;
        Some(Self { kind, term, view, body, signer, signature })
    }

    /// Whether an honest validator casts at most one of the two.
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        let place = |vote: &Self| (vote.term, vote.view, vote.signer);
        if place(self) != place(other) {
            return false;
        }
        match (self.kind, other.kind) {
            (Kind::Notarize, Kind::Notarize) | (Kind::Finalize, Kind::Finalize) => {
                self.body != other.body
            }
            (Kind::Nullify, Kind::Finalize) | (Kind::Finalize, Kind::Nullify) => true,
            _ => false,
        }
    }

    /// The namespace in which it is signed, on the ledger with this genesis block.
    pub(super) fn namespace(&self, genesis: B256) -> Vec<u8> {
        let suffix: &[u8] = match self.kind {
            Kind::Notarize => b"_NOTARIZE",
            Kind::Nullify => b"_NULLIFY",
            Kind::Finalize => b"_FINALIZE",
        };
        [NAMESPACE, genesis.as_slice(), suffix].concat()
    }
}

/// Takes a number of at most `bits` bits from the front, in its shortest form.
fn varint(rest: &mut &[u8], bits: u32) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        let (digits, more) = (u64::from(byte & 0x7f), byte & 0x80 != 0);
        let room = bits.checked_sub(shift).filter(|room| *room > 0)?;
        let longer_than_needed = *byte == 0 && shift > 0;
        let too_large = room <= 7 && (more || digits >> room != 0);
        if longer_than_needed || too_large {
            return None;
        }
        value |= digits << shift;
        if !more {
            return Some(value);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests;
