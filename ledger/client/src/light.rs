//! Light verification: genesis file → committees → header certificate → state, receipts (design 5).
//!
//! With the genesis file alone, whose digest names a ledger ([`Origin`]), [`Light`] checks what any
//! endpoint says of it:
//! * the **genesis header** names the file, and its hash is part of every vote: who signs for another
//!   genesis, or a forged one, signs nothing here;
//! * a **certificate** of more than two thirds of a committee's seats is over a header's hash; a header
//!   without one is reached from a later one by parent hashes ([`Light::chain`]);
//! * the last header of a **term** names the committee of the next one ([`Light::hand_over`]). While a
//!   committee stays, its certificates count in any later term, so that only changes cost requests;
//! * a **proof** leads from what an account or slot holds, or from its absence, to the header's state
//!   root ([`state`]), and one from a receipt to its receipts root ([`receipt`]).
//!
//! A client that has a [`Light`] ([`Client::trusting`]) takes nothing else for true: views, balances,
//! heads, receipts. What it cannot prove it refuses, with one of the errors of [`LightError`].
//!
//! The formats are those of `ledger/consensus` (header, state proof) and `ledger/execution` (keys and
//! values of the state), read here on their own, so that a client links neither and the two readings
//! check one another in tests.
//!
//! **What is trusted.** That two thirds of the committee in force are honest; with one seat it is the
//! founder who is trusted, and nobody else. And, over a long time: a committee that left office risks
//! nothing any more once its bonds are paid back, and whoever has two thirds of its keys then can sign
//! another history from its last term on, which a client that has not followed meanwhile cannot tell from
//! the true one. So a client keeps what it has seen ([`Light::to_bytes`]) and goes on from there; who comes
//! back after longer than bonds are held takes such a file, or a genesis file's successor, from somebody they
//! trust. Nothing is ever believed below a height that was seen.
//!
//! **What is not proven.** That a state is the newest there is: an old one is noticed by its header's time
//! against this machine's clock ([`crate::Options::age_max`]), so an endpoint can withhold that much.
//! What was so at a past height: only the newest state has proofs. That something is not in any block.
//! Fees, revert data, and numbers of transactions stay the endpoint's word, within [`crate::Options`].

mod committee;
mod header;
mod kept;
mod origin;
mod proof;
pub mod receipt;
pub mod state;
pub(crate) mod trust;
mod walk;

pub use committee::{Committee, CommitteeError, Seat};
pub use header::{HEADER_BYTES, Header};
pub use origin::{Origin, OriginError};
pub use proof::{Account, VALUE_BYTES, account_key, slot_key, verify_value};
pub use walk::Proven;

#[cfg(doc)]
use crate::Client;
use crate::rpc::RpcError;
use alloy_primitives::{Address, B256, U256};
use commonware_codec::{Copying, Decode as _};
use commonware_consensus::{
    Epochable as _,
    simplex::{scheme::ed25519::Scheme, types::Finalization},
};
use commonware_cryptography::{certificate::Verifier as _, sha256};
use commonware_parallel::Sequential;
use protocol::Height;
use std::{collections::BTreeMap, ops::Deref, sync::Arc, time::Duration};

/// How many later headers may lie between a header and the certificate that covers it.
pub const CERTIFICATE_DISTANCE_MAX: usize = 64;
/// How many changes of the committee are remembered, the newest ones.
pub const OFFICES_MAX: usize = 64;

/// Why something the endpoint said is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// The bytes are no header of version 1.
    #[error("the header is malformed")]
    Header,
    /// The header is of another chain, height or hash than it must be.
    #[error("the header is another one: {0}")]
    WrongHeader(&'static str),
    /// The committee is not the one that the trusted header names.
    #[error("the committee {given} is not {named}, which the header names")]
    WrongCommittee {
        /// The digest of the seats given.
        given: B256,
        /// The digest in the header.
        named: B256,
    },
    /// The seats are no committee.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    /// The certificate is malformed, of another header, or not by two thirds of the committee in office.
    #[error("the certificate does not hold")]
    Certificate,
    /// Only the last header of a term hands over to the next committee.
    #[error("the header of height {0} is not the last one of its term")]
    NotLast(Height),
    /// The term is before all committees that are remembered.
    #[error("the committee of term {0} is not remembered any more")]
    Forgotten(u64),
    /// Two headers of one height are certified: two thirds of the seats are dishonest.
    #[error("two different headers of height {0} are certified: trust nothing of this ledger")]
    Fork(Height),
    /// What the endpoint proves is older than what was seen or asked for.
    #[error("the endpoint proves height {height}, older than {since}; ask another")]
    Old {
        /// Of which height it is.
        height: Height,
        /// Of which it has to be at least.
        since: Height,
    },
    /// The newest header is too old by this machine's clock.
    #[error(
        "the endpoint's newest block {height} is {age:?} old: it lags or hides later ones, the ledger \
         stands still, or this machine's clock is wrong"
    )]
    Stale {
        /// The header's height.
        height: Height,
        /// How much older than now.
        age: Duration,
    },
    /// A past state was asked for.
    #[error("the state of height {asked} is past and has no proofs; the newest one is of {newest}")]
    Past {
        /// The height asked for.
        asked: Height,
        /// That of the state which was proven.
        newest: Height,
    },
    /// The proof is malformed or does not lead to the state root.
    #[error("the proof does not lead to the state root")]
    Proof,
    /// More is proven than can have been asked for.
    #[error("the answer has {0} proofs")]
    Excess(usize),
    /// A view reads a slot that was not proven.
    #[error("the endpoint withheld slot {slot:#x} of {contract}")]
    WithheldSlot {
        /// The contract.
        contract: Address,
        /// The slot.
        slot: U256,
    },
    /// An account was not proven.
    #[error("the endpoint withheld the account {0}")]
    WithheldAccount(Address),
    /// A view of something that is no system contract.
    #[error("{0} is no system contract: what it returns cannot be proven")]
    Foreign(Address),
    /// The view cannot be run over the proven state.
    #[error("the view fails on the proven state: {0}")]
    View(String),
    /// The receipt or its transaction does not lead to the roots of the header.
    #[error("the receipt is not proven: {0}")]
    Receipt(&'static str),
    /// The leaf is not in the tree with the proven root.
    #[error("the leaf does not lead to the root of the epoch")]
    Leaf,
    /// What was kept cannot be gone on with.
    #[error("what was kept is no trust in this ledger: {0}")]
    Kept(String),
    /// The client takes its endpoint's word and has nothing to prove by ([`Client::trusting`]).
    #[error("this client has no genesis file to prove anything by")]
    Untrusting,
    /// The endpoint does not answer as it should.
    #[error(transparent)]
    Rpc(RpcError),
}

impl From<RpcError> for LightError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Untrue { why, .. } => *why,
            error => Self::Rpc(error),
        }
    }
}

/// A header that is proven to be the ledger's: one that a committee certified, or the ancestor of one. Only
/// [`Light`] makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified(Header);

impl Deref for Certified {
    type Target = Header;

    fn deref(&self) -> &Header {
        &self.0
    }
}

/// The newest header seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) height: Height,
    pub(crate) hash: B256,
    pub(crate) time_ms: u64,
}

/// Checks what endpoints say of one ledger. Holds no connection; a clone costs little.
#[derive(Clone, Debug)]
pub struct Light {
    file: B256,
    chain_id: u64,
    term_length: u64,
    genesis: B256,
    /// Committees by the first term in which they are known to be in office; never empty.
    offices: BTreeMap<u64, Arc<Committee>>,
    newest: Option<Seen>,
}

impl Light {
    /// Begins with a genesis file and the encoded genesis header, which must name one another.
    ///
    /// The header is not proven by that: its state root is nobody's word until a committee signs for it, and
    /// is never proven against.
    ///
    /// # Errors
    /// When the header is not that of the file.
    pub fn new(origin: &Origin, header: &[u8]) -> Result<Self, LightError> {
        let header = Header::read(header)?;
        if header.parent != origin.digest {
            return Err(LightError::WrongHeader("it does not name the genesis file"));
        }
        if (header.chain_id, header.height, header.term) != (origin.chain_id, Height(0), 0) {
            return Err(LightError::WrongHeader("it is no genesis of that file"));
        }
        named(&header, &origin.committee)?;
        Ok(Self {
            file: origin.digest,
            chain_id: origin.chain_id,
            term_length: origin.term_length.max(1),
            genesis: header.hash,
            offices: BTreeMap::from([(0, Arc::new(origin.committee.clone()))]),
            newest: None,
        })
    }

    /// The ledger's EIP-155 id.
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The hash of the genesis header, which names the ledger.
    pub const fn genesis_hash(&self) -> B256 {
        self.genesis
    }

    /// The newest height that was proven: nothing older is believed to be the newest state.
    pub fn height(&self) -> Height {
        self.newest.map_or(Height(0), |seen| seen.height)
    }

    pub(crate) const fn newest(&self) -> Option<Seen> {
        self.newest
    }

    /// The newest committee known.
    pub fn committee(&self) -> &Committee {
        let (_, committee) = self.offices.last_key_value().expect("there always is an office");
        committee
    }

    /// The newest term in which [`Light::committee`] is known to be in office.
    pub fn term(&self) -> u64 {
        let since = self.offices.last_key_value().map_or(0, |(term, _)| *term);
        since.max(self.height().0 / self.term_length)
    }

    /// The last height of a term.
    pub const fn last_height(&self, term: u64) -> Height {
        Height(term.saturating_add(1).saturating_mul(self.term_length).saturating_sub(1))
    }

    /// Checks that the committee in office in the header's term certified it, as far as changes are known.
    ///
    /// # Errors
    /// When header or certificate are malformed, of another chain, or do not belong together.
    pub fn certified(&self, header: &[u8], certificate: &[u8]) -> Result<Certified, LightError> {
        let header = self.read(header)?;
        if header.height.0 == 0 {
            return Err(LightError::WrongHeader("a genesis has no certificate"));
        }
        let office = self.offices.range(..=header.term).next_back();
        let (_, committee) = office.ok_or(LightError::Forgotten(header.term))?;
        let namespace = [b"wayleave/ledger/1/", self.genesis.as_slice()].concat();
        let scheme = Scheme::verifier(&namespace, committee.keys());
        let finalization = Finalization::<Scheme, sha256::Digest>::decode_cfg(
            Copying(certificate),
            &scheme.certificate_codec_config(),
        )
        .map_err(|_| LightError::Certificate)?;
        // A block may be proposed again in a later view of its term, so the view proves nothing.
        let same = finalization.proposal.payload.0 == header.hash.0
            && finalization.epoch().get() == header.term;
        if same && finalization.verify(&mut rand::rng(), &scheme, &Sequential) {
            Ok(Certified(header))
        } else {
            Err(LightError::Certificate)
        }
    }

    /// Checks that a header is the parent of one that is proven already.
    ///
    /// # Errors
    /// When it is not, or malformed.
    pub fn parent(&self, child: &Certified, header: &[u8]) -> Result<Certified, LightError> {
        let header = self.read(header)?;
        if header.hash == child.parent {
            Ok(Certified(header))
        } else {
            Err(LightError::WrongHeader("not the parent"))
        }
    }

    /// Checks headers of which each is the parent of the next and the last is certified; gives the first and
    /// the last.
    ///
    /// # Errors
    /// As [`Light::certified`] and [`Light::parent`], and when there are none, or more than
    /// [`CERTIFICATE_DISTANCE_MAX`] besides the first.
    pub fn chain<H: AsRef<[u8]>>(
        &self,
        headers: &[H],
        certificate: &[u8],
    ) -> Result<(Certified, Certified), LightError> {
        let Some((last, before)) = headers.split_last() else {
            return Err(LightError::WrongHeader("there is none"));
        };
        if before.len() > CERTIFICATE_DISTANCE_MAX {
            return Err(LightError::Excess(headers.len()));
        }
        let last = self.certified(last.as_ref(), certificate)?;
        let mut first = last.clone();
        for header in before.iter().rev() {
            first = self.parent(&first, header.as_ref())?;
        }
        Ok((first, last))
    }

    /// Remembers that a header was seen: from now on older ones are not the newest.
    ///
    /// # Errors
    /// [`LightError::Fork`] when another one of its height was.
    pub fn advance(&mut self, header: &Certified) -> Result<(), LightError> {
        let seen = Seen { height: header.height, hash: header.hash, time_ms: header.time_ms };
        match self.newest {
            Some(newest) if newest.height == seen.height && newest.hash != seen.hash => {
                Err(LightError::Fork(seen.height))
            }
            Some(newest) if newest.height >= seen.height => Ok(()),
            _ => {
                self.newest = Some(seen);
                Ok(())
            }
        }
    }

    /// Goes over to the committee that `last`, the last header of a term, names for the next one.
    ///
    /// # Errors
    /// When it is not the last of its term, names another committee, or is older than what was seen.
    pub fn hand_over(&mut self, last: &Certified, next: Committee) -> Result<(), LightError> {
        if last.height != self.last_height(last.term) {
            return Err(LightError::NotLast(last.height));
        }
        let since = self.last_height(self.term().saturating_sub(1)).max(self.height());
        if last.height < since {
            return Err(LightError::Old { height: last.height, since });
        }
        named(last, &next)?;
        self.advance(last)?;
        self.offices.insert(last.term.saturating_add(1), Arc::new(next));
        while self.offices.len() > OFFICES_MAX {
            self.offices.pop_first();
        }
        Ok(())
    }

    fn read(&self, bytes: &[u8]) -> Result<Header, LightError> {
        let header = Header::read(bytes)?;
        if header.chain_id != self.chain_id {
            return Err(LightError::WrongHeader("it is of another chain"));
        }
        if header.term != header.height.0 / self.term_length {
            return Err(LightError::WrongHeader("it is of another term than its height"));
        }
        Ok(header)
    }
}

fn named(header: &Header, committee: &Committee) -> Result<(), LightError> {
    let (given, named) = (committee.digest(), header.committee);
    if given == named { Ok(()) } else { Err(LightError::WrongCommittee { given, named }) }
}
