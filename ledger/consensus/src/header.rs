//! Header v1: what a certificate signs and what a light client trusts.
//!
//! The digest of a block is the SHA-256 of its header alone; the header commits to the body by two
//! roots, and [`crate::block::Block`] never exists with a body that does not match them. All
//! integers are big-endian and every field has a fixed size, so that each stands at a fixed offset.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | `version`: 1 |
//! | 1 | 8 | `chain_id`: EIP-155 id of the ledger |
//! | 9 | 8 | `height`: number of the block, genesis is 0 |
//! | 17 | 8 | `term`: the committee's time in office (a simplex epoch) |
//! | 25 | 8 | `view`: the simplex view in which the block was proposed |
//! | 33 | 8 | `parent_view`: the view of the parent, 0 for the first block of a term |
//! | 41 | 32 | `parent`: digest of the parent; for genesis the SHA-256 of the genesis file |
//! | 73 | 8 | `timestamp_ms`: milliseconds since 1970, greater than the parent's |
//! | 81 | 32 | `proposer`: Ed25519 key of the validator who built the block |
//! | 113 | 20 | `beneficiary`: the proposer's account, which receives the tips |
//! | 133 | 32 | `state_root`: canonical QMDB root after the block, for proofs of accounts and slots |
//! | 165 | 32 | `ops_root`: root over the state's operations, for state sync |
//! | 197 | 8 | `ops_start`: first operation a syncing node needs |
//! | 205 | 8 | `ops_end`: one past the last operation, above `ops_start` |
//! | 213 | 32 | `transactions_root`: Ethereum ordered trie of the EIP-2718 transactions |
//! | 245 | 32 | `receipts_root`: Ethereum ordered trie of the EIP-2718 receipts |
//! | 277 | 256 | `logs_bloom`: union of the receipts' blooms (Yellow Paper 4.3.1) |
//! | 533 | 32 | `blobs_root`: Merkle root over the evidence blobs ([`crate::block::blobs_root`]) |
//! | 565 | 32 | `committee`: digest of the committee that certifies the next height |
//! | 597 | 48 | `reveal`: the proposer's BLS signature ([`crate::seed`]) |
//! | 645 | 32 | `mix`: the seed mix after the reveal |
//! | 677 | 8 | `epoch`: the settlement epoch of the height (design 9) |
//! | 685 | 8 | `gas_limit` |
//! | 693 | 8 | `gas_used` |
//! | 701 | 8 | `base_fee`: wei a unit of gas (EIP-1559) |
//!
//! 709 bytes in all.

use alloy_primitives::{Address, B256, Bloom};
use commonware_codec::{Buf, Encode as _, Error, FixedSize, Read, ReadExt as _, Write};
use commonware_consensus::{
    simplex::types::Context,
    types::{Epoch as Term, Round, View},
};
use commonware_cryptography::{Hasher as _, Sha256, ed25519, sha256};
use commonware_runtime::BufMut;
use commonware_storage::mmr::Location;
use commonware_utils::range::NonEmptyRange;

/// The version this module writes and the only one it reads.
pub const VERSION: u8 = 1;

/// Length of an encoded reveal: a compressed point of BLS12-381's first group.
pub const REVEAL_BYTES: usize = 48;

/// What simplex says of a proposal: round, leader and parent.
pub(crate) type ConsensusContext = Context<sha256::Digest, ed25519::PublicKey>;

/// The header of a block. See the module for the encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// EIP-155 id of the ledger.
    pub chain_id: u64,
    /// Number of the block, genesis is 0.
    pub height: u64,
    /// The committee's time in office, a simplex epoch.
    pub term: u64,
    /// The simplex view in which the block was proposed.
    pub view: u64,
    /// The view of the parent, 0 for the first block of a term.
    pub parent_view: u64,
    /// Digest of the parent; for genesis the SHA-256 of the genesis file.
    pub parent: B256,
    /// Milliseconds since 1970, greater than the parent's.
    pub timestamp_ms: u64,
    /// Ed25519 key of the validator who built the block.
    pub proposer: ed25519::PublicKey,
    /// The proposer's account, which receives the tips.
    pub beneficiary: Address,
    /// The state after the block.
    pub state: StateCommitment,
    /// Ethereum ordered trie root of the transactions.
    pub transactions_root: B256,
    /// Ethereum ordered trie root of the receipts.
    pub receipts_root: B256,
    /// Union of the receipts' blooms.
    pub logs_bloom: Bloom,
    /// Merkle root over the evidence blobs.
    pub blobs_root: B256,
    /// Digest of the committee that certifies the next height.
    pub committee: B256,
    /// The proposer's BLS signature, checked by [`crate::seed::verify`].
    pub reveal: [u8; REVEAL_BYTES],
    /// The seed mix after the reveal.
    pub mix: B256,
    /// The settlement epoch of the height.
    pub epoch: u64,
    /// Most gas the block may use.
    pub gas_limit: u64,
    /// Gas the block used.
    pub gas_used: u64,
    /// Wei a unit of gas, burned.
    pub base_fee: u64,
}

/// What a header says of the state after its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateCommitment {
    /// Canonical QMDB root, against which accounts and slots are proven.
    pub root: B256,
    /// Root over the operations that made the state, against which state sync checks.
    pub ops_root: B256,
    /// First operation a syncing node needs.
    pub ops_start: u64,
    /// One past the last operation; above `ops_start`.
    pub ops_end: u64,
}

impl StateCommitment {
    /// The operations as QMDB's own type, or nothing if there are none or they cannot exist.
    pub(crate) fn range(&self) -> Option<NonEmptyRange<Location>> {
        let (start, end) = (Location::new(self.ops_start), Location::new(self.ops_end));
        (start.is_valid() && end.is_valid()).then(|| NonEmptyRange::new(start..end).ok()).flatten()
    }
}

impl Header {
    /// The digest of the block: SHA-256 of the encoded header.
    pub fn digest(&self) -> B256 {
        B256::from(self.sha256().0)
    }

    pub(crate) fn sha256(&self) -> sha256::Digest {
        Sha256::hash(&[&self.encode()])
    }

    /// The bytes of the header, always [`Header::SIZE`] of them.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode().to_vec()
    }

    /// Reads a header from exactly [`Header::SIZE`] bytes.
    ///
    /// # Errors
    /// Another length or version, a key that is no point, an empty range of operations.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        use commonware_codec::{Copying, Decode as _};
        Self::decode_cfg(Copying(bytes), &())
    }

    /// Seconds since 1970, rounded down: the time the EVM sees.
    pub const fn timestamp(&self) -> u64 {
        self.timestamp_ms / 1000
    }

    /// What simplex said of the proposal.
    pub(crate) fn context(&self) -> ConsensusContext {
        Context {
            round: Round::new(Term::new(self.term), View::new(self.view)),
            leader: self.proposer.clone(),
            parent: (View::new(self.parent_view), sha256::Digest(self.parent.0)),
        }
    }
}

impl FixedSize for Header {
    const SIZE: usize = 1
        + 8 * 5
        + 32
        + 8
        + 32
        + 20
        + StateCommitment::SIZE
        + 32 * 2
        + 256
        + 32 * 2
        + REVEAL_BYTES
        + 32
        + 8 * 4;
}

impl FixedSize for StateCommitment {
    const SIZE: usize = 32 * 2 + 8 * 2;
}

impl Write for StateCommitment {
    fn write(&self, buf: &mut impl BufMut) {
        self.root.0.write(buf);
        self.ops_root.0.write(buf);
        self.ops_start.write(buf);
        self.ops_end.write(buf);
    }
}

impl Read for StateCommitment {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        let commitment = Self {
            root: word(buf)?,
            ops_root: word(buf)?,
            ops_start: u64::read(buf)?,
            ops_end: u64::read(buf)?,
        };
        match commitment.range() {
            Some(_) => Ok(commitment),
            None => Err(Error::Invalid("header", "empty or impossible range of operations")),
        }
    }
}

impl Write for Header {
    fn write(&self, buf: &mut impl BufMut) {
        VERSION.write(buf);
        self.chain_id.write(buf);
        self.height.write(buf);
        self.term.write(buf);
        self.view.write(buf);
        self.parent_view.write(buf);
        self.parent.0.write(buf);
        self.timestamp_ms.write(buf);
        self.proposer.write(buf);
        self.beneficiary.0.0.write(buf);
        self.state.write(buf);
        self.transactions_root.0.write(buf);
        self.receipts_root.0.write(buf);
        self.logs_bloom.0.0.write(buf);
        self.blobs_root.0.write(buf);
        self.committee.0.write(buf);
        self.reveal.write(buf);
        self.mix.0.write(buf);
        self.epoch.write(buf);
        self.gas_limit.write(buf);
        self.gas_used.write(buf);
        self.base_fee.write(buf);
    }
}

impl Read for Header {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        if u8::read(buf)? != VERSION {
            return Err(Error::Invalid("header", "unknown version"));
        }
        // Fields are read in the order in which they are written here.
        Ok(Self {
            chain_id: u64::read(buf)?,
            height: u64::read(buf)?,
            term: u64::read(buf)?,
            view: u64::read(buf)?,
            parent_view: u64::read(buf)?,
            parent: word(buf)?,
            timestamp_ms: u64::read(buf)?,
            proposer: ed25519::PublicKey::read(buf)?,
            beneficiary: Address::from(<[u8; 20]>::read(buf)?),
            state: StateCommitment::read(buf)?,
            transactions_root: word(buf)?,
            receipts_root: word(buf)?,
            logs_bloom: Bloom::from(<[u8; 256]>::read(buf)?),
            blobs_root: word(buf)?,
            committee: word(buf)?,
            reveal: <[u8; REVEAL_BYTES]>::read(buf)?,
            mix: word(buf)?,
            epoch: u64::read(buf)?,
            gas_limit: u64::read(buf)?,
            gas_used: u64::read(buf)?,
            base_fee: u64::read(buf)?,
        })
    }
}

fn word(buf: &mut impl Buf) -> Result<B256, Error> {
    <[u8; 32]>::read(buf).map(B256::from)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use commonware_cryptography::Signer as _;
    use proptest::prelude::*;

    prop_compose! {
        /// Any header that can be encoded.
        pub(crate) fn header()(
            numbers in any::<[u64; 10]>(),
            words in any::<[[u8; 32]; 8]>(),
            seed: u64,
            account: [u8; 20],
            start in 0u64..1 << 40,
            length in 1u64..1 << 40,
            bloom in proptest::collection::vec(any::<u8>(), 256),
            reveal in proptest::collection::vec(any::<u8>(), REVEAL_BYTES),
        ) -> Header {
            let [chain_id, height, term, view, parent_view, timestamp_ms, epoch, gas_limit, gas_used, base_fee]
                = numbers;
            let words = words.map(B256::from);
            Header {
                chain_id, height, term, view, parent_view, timestamp_ms, epoch, gas_limit, gas_used, base_fee,
                parent: words[0],
                proposer: ed25519::PrivateKey::from_seed(seed).public_key(),
                beneficiary: Address::from(account),
                state: StateCommitment {
                    root: words[1], ops_root: words[2], ops_start: start, ops_end: start + length,
                },
                transactions_root: words[3],
                receipts_root: words[4],
                logs_bloom: Bloom::from_slice(&bloom),
                blobs_root: words[5],
                committee: words[6],
                reveal: reveal.try_into().unwrap(),
                mix: words[7],
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(header in header()) {
            let bytes = header.to_bytes();
            prop_assert_eq!(bytes.len(), Header::SIZE);
            prop_assert_eq!(Header::SIZE, 709);
            prop_assert_eq!(Header::from_bytes(&bytes).unwrap(), header.clone());
            // The offsets that the module's table promises.
            prop_assert_eq!(&bytes[9..17], header.height.to_be_bytes());
            prop_assert_eq!(&bytes[133..165], header.state.root.as_slice());
            prop_assert_eq!(&bytes[245..277], header.receipts_root.as_slice());
            prop_assert_eq!(&bytes[645..677], header.mix.as_slice());
            prop_assert_eq!(&bytes[701..709], header.base_fee.to_be_bytes());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..800)) {
            if let Ok(header) = Header::from_bytes(&bytes) {
                prop_assert_eq!(header.to_bytes(), bytes);
            }
        }

        #[test]
        fn every_bit_is_in_the_digest(header in header(), at in 8usize..8 * 709) {
            let mut bytes = header.to_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            if let Ok(other) = Header::from_bytes(&bytes) {
                prop_assert_ne!(other.digest(), header.digest());
            }
        }
    }

    #[test]
    fn other_versions_lengths_and_empty_ranges_are_refused() {
        use proptest::strategy::ValueTree as _;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let header = header().new_tree(&mut runner).unwrap().current();
        let bytes = header.to_bytes();
        for change in [
            [&[2][..], &bytes[1..]].concat(),
            bytes[..708].to_vec(),
            [&bytes[..], &[0][..]].concat(),
            [&bytes[..205], &bytes[197..205], &bytes[213..]].concat(),
            [&bytes[..205], &[255; 8][..], &bytes[213..]].concat(),
        ] {
            assert!(Header::from_bytes(&change).is_err());
        }
    }
}
