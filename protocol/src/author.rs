//! Authors' faults: what who signed a batch of evidence answers for, in the statement and in its tree.
//!
//! A *fault* is an envelope that its author could not honestly have put into a batch (`evidence`'s replay
//! says which those are). An epoch's faults become one row an author ([`rows`]), and each row a leaf of the
//! tree whose root is voted on, beside the accounts' leaves; who presents it to the contract `Validators`
//! makes the author's bond pay.
//!
//! Rules:
//! * rows are of one epoch: a fault counts in the epoch that its envelope names and in no other, and an epoch
//!   that becomes void costs nobody;
//! * bytes are what counts, since they are what a fault takes away from others: room in blocks and archives;
//! * anybody can sign a batch with a key of their own making, which answers for nothing. So that such keys
//!   cannot make a statement grow, at most [`AUTHORS_MAX`] rows stand in it: those with the most bytes, of
//!   equal ones the lowest keys. To crowd out one author's row takes more faults by as many keys, and so more
//!   than that many times its bytes out of the crowd's own share of blocks, and hides what could have been
//!   signed with such a key in the first place;
//! * a leaf is five words long and begins with [`DOMAIN`], where an account's leaf is eight words long and
//!   begins with an address, so neither can pass for the other.

use crate::{AuthorKey, Digest, Epoch, Height, NetworkId, Reason, merkle, statement::Cause};
use alloy_primitives::{B256, U256};
use alloy_sol_types::SolValue as _;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::{cmp::Reverse, collections::BTreeMap};

/// The most authors in a statement: as many as validators' keys can be in use.
pub const AUTHORS_MAX: usize = 1_024;
/// The most envelopes that a row names for one reason; the archive has them all.
pub const EVIDENCE_MAX: usize = 16;
/// The first word of an author's leaf: `bytes32("wayleave/author/1")` in Solidity.
pub const DOMAIN: B256 = B256::new(*b"wayleave/author/1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

/// An envelope that the author of its batch could not honestly have put there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuthorFault {
    /// Who signed the batch.
    pub author: AuthorKey,
    /// The BLAKE3 hash of the envelope's bytes.
    pub envelope: Digest,
    /// The first block that carries it in a batch of this author.
    pub height: Height,
    /// The BLAKE3 hash of that batch's bytes; the lowest, if the block has several.
    pub batch: Digest,
    /// What is wrong with it.
    pub reason: Reason,
    /// How many bytes it has.
    pub bytes: u64,
}

/// An author's faults in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct AuthorRow {
    /// Who signed the batches.
    #[n(0)]
    pub author: AuthorKey,
    /// How many envelopes are at fault.
    #[n(1)]
    pub envelopes: u64,
    /// How many bytes they have together.
    #[n(2)]
    pub bytes: u64,
    /// Why, ascending by reason, each with at most [`EVIDENCE_MAX`] of the envelopes, the lowest digests.
    #[n(3)]
    pub causes: Vec<Cause>,
}

/// What the ledger is shown of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorLeaf {
    /// The network.
    pub network: NetworkId,
    /// The epoch.
    pub epoch: Epoch,
    /// Who signed the batches.
    pub author: AuthorKey,
    /// How many bytes of envelopes are at fault.
    pub bytes: u64,
}

impl AuthorRow {
    /// The leaf.
    pub const fn leaf(&self, network: NetworkId, epoch: Epoch) -> AuthorLeaf {
        AuthorLeaf { network, epoch, author: self.author, bytes: self.bytes }
    }
}

impl AuthorLeaf {
    /// The ABI encoding: `(bytes32 domain, uint64 network, uint64 epoch, bytes32 author, uint64 bytes)`.
    pub fn abi_encode(&self) -> Vec<u8> {
        let author = B256::from(self.author);
        (DOMAIN, self.network.0, self.epoch.0, author, U256::from(self.bytes)).abi_encode()
    }

    /// The leaf's hash in the tree.
    pub fn hash(&self) -> B256 {
        merkle::leaf_hash(&self.abi_encode())
    }
}

/// The rows of an epoch, ascending by author, from its faults in any order. An envelope counts once for
/// each author.
pub fn rows(mut faults: Vec<AuthorFault>) -> Vec<AuthorRow> {
    faults.sort_unstable();
    faults.dedup_by_key(|fault| (fault.author, fault.envelope));
    let mut rows: Vec<AuthorRow> = faults
        .chunk_by(|one, other| one.author == other.author)
        .map(|of_author| row(of_author[0].author, of_author))
        .collect();
    if rows.len() > AUTHORS_MAX {
        rows.sort_unstable_by_key(|row| (Reverse(row.bytes), row.author));
        rows.truncate(AUTHORS_MAX);
        rows.sort_unstable_by_key(|row| row.author);
    }
    rows
}

fn row(author: AuthorKey, faults: &[AuthorFault]) -> AuthorRow {
    let mut causes: BTreeMap<Reason, Vec<Digest>> = BTreeMap::new();
    let (mut envelopes, mut bytes) = (0u64, 0u64);
    for fault in faults {
        envelopes = envelopes.saturating_add(1);
        bytes = bytes.saturating_add(fault.bytes);
        let named = causes.entry(fault.reason).or_default();
        if named.len() < EVIDENCE_MAX {
            named.push(fault.envelope);
        }
    }
    let cause = |(reason, evidence)| Cause { evidence, ..Cause::of(reason) };
    AuthorRow { author, envelopes, bytes, causes: causes.into_iter().map(cause).collect() }
}

#[cfg(test)]
mod tests;
