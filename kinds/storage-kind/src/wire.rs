//! What a service and a storage agent say to one another: one request, one response, each a small
//! header in canonical CBOR and, where said, a body of plain bytes.
//!
//! Rules:
//! * the transport proves the peer's key; [`Request::Introduce`] proves that a rail's signer lets
//!   that peer act for it, and all requests that name a rail need it. An agent may forget
//!   introductions; the service then introduces itself again;
//! * [`Response::Stored`] means durable: it survives a crash and a power cut;
//! * a commit names the version that it changes, so that a repeated or reordered one cannot harm:
//!   the same commit gives the same answer, any other is [`Refusal::StaleBase`]. A new dataset starts
//!   from version 0, which is empty;
//! * a shard that leaves the dataset must be kept while any epoch whose inputs freeze a version with
//!   it can still ask for it;
//! * every list and size below is bounded, and a message beyond a bound is refused unread.

use crate::dataset::Shard;
use alloy_primitives::B256;
use alloy_sol_types::{Eip712Domain, SolStruct};
use minicbor::{Decode, Encode};
use protocol::{
    Account, DeviceId, Digest, Micros, NetworkId, RailId, cbor,
    inputs::{self, account},
    voucher::{self, SignedVoucher},
};

/// The application protocol of these messages.
pub const ALPN: &[u8] = b"wayleave/storage/1";
/// The largest header, in bytes.
pub const HEADER_MAX: usize = 512 * 1024;
/// The largest shard, in bytes: a whole segment.
pub const SHARD_MAX: u64 = 64 * 1024 * 1024;
/// The largest body, in bytes: a Bao slice of a whole shard.
pub const BODY_MAX: usize = 69 * 1024 * 1024;
/// How many shards one commit may add, and how many it may remove.
pub const CHANGES_MAX: usize = 4096;
/// The largest note of a rail, in bytes.
pub const NOTE_MAX: usize = 512 * 1024;
/// How many shards one question may name.
pub const HOLDS_MAX: usize = 4096;

mod typed {
    alloy_sol_types::sol! {
        /// The typed data by which a rail's signer lets a peer act for it.
        struct Service {
            bytes32 peer;
        }
    }
}

/// What a service asks of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Proves for which signer this peer acts. Answer: [`Response::Welcome`].
    #[n(0)]
    Introduce(#[n(0)] Introduction),
    /// Asks who the agent is and what it takes. Answer: [`Response::Terms`].
    #[n(1)]
    Terms,
    /// Stores a shard, which is the body. Answer: [`Response::Stored`], when it is durable.
    #[n(2)]
    Put(#[n(0)] Put),
    /// Reads from a shard. Answer: [`Response::Data`] with the body.
    #[n(3)]
    Get(#[n(0)] Get),
    /// Asks which shards the agent holds for a rail, committed or not. At most [`HOLDS_MAX`].
    /// Answer: [`Response::Holds`].
    #[n(4)]
    Holds(#[n(0)] RailId, #[n(1)] Vec<Digest>),
    /// Asks for the newest committed version. Answer: [`Response::Stat`].
    #[n(5)]
    Stat(#[n(0)] RailId),
    /// Changes a rail's dataset. Answer: [`Response::Committed`], when it is durable.
    #[n(6)]
    Commit(#[n(0)] Commit),
    /// Keeps the body, of at most [`NOTE_MAX`] bytes, as the rail's note, in the place of the one before.
    /// A service that lost everything finds in it where to begin. Answer: [`Response::Stored`], when it is
    /// durable. It goes with the rail.
    #[n(7)]
    Note(#[n(0)] RailId),
    /// Reads the rail's note. Answer: [`Response::Noted`] with the body, which is empty if there is none.
    #[n(8)]
    Noted(#[n(0)] RailId),
}

/// The signature of a rail's signer over the peer's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Introduction {
    /// The signature (r, s, v) over [`Introduction::signing_hash`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub signature: [u8; 65],
}

impl Introduction {
    /// What the signer signs: EIP-712 `Service(bytes32 peer)` in the domain of vouchers
    /// ([`voucher::domain`]).
    pub fn signing_hash(domain: &Eip712Domain, peer: [u8; 32]) -> B256 {
        typed::Service { peer: B256::from(peer) }.eip712_signing_hash(domain)
    }

    /// The account that lets `peer` act for it, or nothing if the signature is malformed.
    pub fn signer(&self, domain: &Eip712Domain, peer: [u8; 32]) -> Option<Account> {
        voucher::recover(&self.signature, Self::signing_hash(domain, peer))
    }
}

/// Stores a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Put {
    /// The rail it is stored for.
    #[n(0)]
    pub rail: RailId,
    /// The shard; the body must hash to it.
    #[n(1)]
    pub shard: Shard,
}

/// In which form bytes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Form {
    /// The bytes alone; only a whole shard can be checked against its hash.
    #[n(0)]
    Plain,
    /// A Bao slice ([`crate::bao::decode`]): any range can be checked, at 6 % more bytes.
    #[n(1)]
    Slice,
}

/// Reads a range of a shard. The delivery is paid by voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Get {
    /// The rail that pays.
    #[n(0)]
    pub rail: RailId,
    /// The shard's hash.
    #[n(1)]
    pub shard: Digest,
    /// The first byte.
    #[n(2)]
    pub offset: u64,
    /// How many bytes; at least 1 and not beyond the shard's end.
    #[n(3)]
    pub length: u64,
    /// In which form.
    #[n(4)]
    pub form: Form,
    /// A voucher for all that was delivered on the rail so far, this range included.
    #[n(5)]
    pub voucher: Option<SignedVoucher>,
}

/// Changes a rail's dataset from one version to the next.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Commit {
    /// The rail.
    #[n(0)]
    pub rail: RailId,
    /// The version that is changed; 0 is the empty dataset.
    #[n(1)]
    pub base: u64,
    /// The version that results; above `base` and above every version committed before.
    #[n(2)]
    pub version: u64,
    /// Shards that come in, ascending by hash. At most [`CHANGES_MAX`]; each was stored before.
    #[n(3)]
    pub added: Vec<Shard>,
    /// Shards that go, ascending. At most [`CHANGES_MAX`].
    #[n(4)]
    pub removed: Vec<Digest>,
}

/// What an agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Response {
    /// To [`Request::Introduce`]: the signer for which the peer now acts.
    #[n(0)]
    Welcome(#[cbor(n(0), with = "account")] Account),
    /// To [`Request::Terms`].
    #[n(1)]
    Terms(#[n(0)] Terms),
    /// To [`Request::Put`]: the shard is durable. It is kept as long as a dataset has it, and until one
    /// does, unless the customer commits in several epochs without it, or not at all for long.
    #[n(2)]
    Stored,
    /// To [`Request::Get`], with the body: the size of the whole shard, in bytes.
    #[n(3)]
    Data(#[n(0)] u64),
    /// To [`Request::Holds`]: one answer a shard, in the order of the question.
    #[n(4)]
    Holds(#[n(0)] Vec<bool>),
    /// To [`Request::Stat`].
    #[n(5)]
    Stat(#[n(0)] Stat),
    /// To [`Request::Commit`]: the dataset is durable and signed.
    #[n(6)]
    Committed(#[n(0)] Committed),
    /// No, and why.
    #[n(7)]
    Refused(#[n(0)] Refusal),
    /// To [`Request::Noted`], with the body: the best voucher of the rail. Who signed it and lost everything
    /// knows by it what was promised, and need not believe anybody.
    #[n(8)]
    Noted(#[n(0)] Option<SignedVoucher>),
}

/// Who an agent is and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Terms {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// Its network.
    #[n(1)]
    pub network: NetworkId,
    /// Its owner, the payee of its rails.
    #[cbor(n(2), with = "account")]
    pub owner: Account,
    /// What it asks for an epoch of storing 2^30 bytes.
    #[n(3)]
    pub price: Micros,
    /// What it asks for delivering 2^30 bytes.
    #[n(4)]
    pub delivery_price: Micros,
    /// How many bytes it still takes.
    #[n(5)]
    pub free: u64,
    /// Whether the device leaves: it takes nothing new, and what it keeps is to be fetched and stored
    /// elsewhere. Until then it keeps and proves it.
    #[n(6)]
    pub leaving: bool,
}

/// The newest committed version of a rail's dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Stat {
    /// Its version; 0 before the first commit.
    #[n(0)]
    pub version: u64,
    /// Its root.
    #[n(1)]
    pub root: Digest,
    /// Its size in bytes.
    #[n(2)]
    pub bytes: u64,
    /// The number of its shards.
    #[n(3)]
    pub shards: u64,
}

/// A dataset that the device agrees to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Committed {
    /// The dataset, as `Rails.freeze` takes it.
    #[n(0)]
    pub dataset: inputs::Dataset,
    /// The device's signature over [`inputs::Dataset::signing_bytes`].
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// Why an agent says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// The request is not one, or breaks a bound.
    #[n(0)]
    #[error("the request is malformed or beyond a limit")]
    Malformed,
    /// The peer has not said for whom it acts, or the agent forgot.
    #[n(1)]
    #[error("introduce yourself first")]
    NotIntroduced,
    /// The introduction's signature is malformed.
    #[n(2)]
    #[error("the introduction's signature does not hold")]
    BadIntroduction,
    /// No such rail is open towards this device.
    #[n(3)]
    #[error("no such rail is open towards this device")]
    UnknownRail,
    /// The rail's signer is another than the one the peer acts for.
    #[n(4)]
    #[error("another signer answers for this rail")]
    NotYourRail,
    /// No room is left.
    #[n(5)]
    #[error("no room is left")]
    Full,
    /// The body is not the shard that the request names.
    #[n(6)]
    #[error("the body's hash or size is not the shard's")]
    BadShard,
    /// The shard is not held for this rail.
    #[n(7)]
    #[error("the shard {0} is not held for this rail")]
    NotHeld(#[n(0)] Digest),
    /// The range is empty or goes beyond the shard's end.
    #[n(8)]
    #[error("the range is empty or goes beyond the shard's end")]
    OutOfRange,
    /// A voucher of at least this cumulative amount is needed.
    #[n(9)]
    #[error("a voucher of at least {0} is needed")]
    VoucherNeeded(#[n(0)] Micros),
    /// The voucher is not one of this rail, or its signature does not hold.
    #[n(10)]
    #[error("the voucher does not hold")]
    BadVoucher,
    /// The commit does not start from a version that the agent keeps; this is its newest.
    #[n(11)]
    #[error("the newest version here is {0}")]
    StaleBase(#[n(0)] u64),
    /// The commit adds what is there or removes what is not.
    #[n(12)]
    #[error("the commit does not fit the dataset at {0}")]
    BadCommit(#[n(0)] Digest),
    /// Too many requests are under way; try again.
    #[n(13)]
    #[error("too many requests are under way; try again")]
    Busy,
    /// The disk failed.
    #[n(14)]
    #[error("the disk failed")]
    Disk,
    /// The device leaves and takes nothing new.
    #[n(15)]
    #[error("the device leaves the network and takes nothing new")]
    Leaving,
    /// The rail's rate does not pay for so many bytes an epoch. A rate stays as it was opened, so that
    /// more needs another rail.
    #[n(16)]
    #[error("the rail's rate does not pay for {0} bytes an epoch")]
    RateTooLow(#[n(0)] u64),
    /// What is left of the rail's limit does not cover what is asked; a limit of at least this would.
    #[n(17)]
    #[error("the rail's limit is used up: it must be raised to {0} at least")]
    LimitTooLow(#[n(0)] Micros),
}

/// Why a header is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than [`HEADER_MAX`].
    #[error("header of {0} bytes is over the limit of {HEADER_MAX}")]
    TooLarge(usize),
    /// Not the canonical encoding of a message.
    #[error("header: {0}")]
    Decode(#[from] cbor::DecodeError),
    /// A list that is too long or out of order, or a size beyond its bound.
    #[error("{0} is beyond its limit or out of order")]
    Bound(&'static str),
}

impl Request {
    /// The header's canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads a header and checks every bound.
    ///
    /// # Errors
    /// [`WireError`] names the rule that is broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let request: Self = read(bytes)?;
        match &request {
            Self::Put(put) if !(1..=SHARD_MAX).contains(&put.shard.bytes) => {
                Err(WireError::Bound("the shard's size"))
            }
            Self::Get(get) if !(1..=SHARD_MAX).contains(&get.length) => {
                Err(WireError::Bound("the range"))
            }
            Self::Holds(_, shards) if shards.len() > HOLDS_MAX => {
                Err(WireError::Bound("the list of shards"))
            }
            Self::Commit(commit) => commit.check().map(|()| request),
            _ => Ok(request),
        }
    }

    /// The rail that the request is about.
    pub const fn rail(&self) -> Option<RailId> {
        match self {
            Self::Introduce(_) | Self::Terms => None,
            Self::Put(put) => Some(put.rail),
            Self::Get(get) => Some(get.rail),
            Self::Holds(rail, _) | Self::Stat(rail) | Self::Note(rail) | Self::Noted(rail) => {
                Some(*rail)
            }
            Self::Commit(commit) => Some(commit.rail),
        }
    }
}

impl Commit {
    fn check(&self) -> Result<(), WireError> {
        let bound = |holds: bool, what| if holds { Ok(()) } else { Err(WireError::Bound(what)) };
        bound(self.version > self.base, "the version")?;
        bound(
            self.added.len() <= CHANGES_MAX && self.added.is_sorted_by(|a, b| a.hash < b.hash),
            "the list of added shards",
        )?;
        let sizes = self.added.iter().all(|shard| (1..=SHARD_MAX).contains(&shard.bytes));
        bound(sizes, "an added shard's size")?;
        bound(
            self.removed.len() <= CHANGES_MAX && self.removed.is_sorted_by(|a, b| a < b),
            "the list of removed shards",
        )
    }
}

impl Response {
    /// The header's canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads a header and checks every bound.
    ///
    /// # Errors
    /// [`WireError`] names the rule that is broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        match read(bytes)? {
            Self::Holds(answers) if answers.len() > HOLDS_MAX => {
                Err(WireError::Bound("the list of answers"))
            }
            response => Ok(response),
        }
    }
}

fn read<T>(bytes: &[u8]) -> Result<T, WireError>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    if bytes.len() > HEADER_MAX {
        return Err(WireError::TooLarge(bytes.len()));
    }
    Ok(cbor::from_slice(bytes)?)
}

#[cfg(test)]
mod tests;
