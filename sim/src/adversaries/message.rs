//! What validators say to each other, as bytes on a connection and as types.
//!
//! A frame is `0, channel, length, message` for data and `1` for a sign of life (commonware's `lookup`);
//! votes carry their term in front (its `mux`). Whatever is not a vote or a block stays bytes.

use bytes::{Bytes, BytesMut};
use commonware_codec::{
    Copying, DecodeExt as _, Encode as _, ReadExt as _, Write as _, varint::UInt,
};
use commonware_consensus::{
    Epochable as _, Viewable as _,
    simplex::{
        elector::{Config as _, Elector, RoundRobin},
        scheme::ed25519::Scheme,
        types::{Finalize, Notarize, Proposal, Vote as SimplexVote},
    },
    types::Round,
};
use commonware_cryptography::{Sha256, ed25519, sha256};
use commonware_utils::ordered::Set;
use consensus::Block;

/// A vote as validators exchange it.
pub type Vote = SimplexVote<Scheme, sha256::Digest>;

const DATA: u8 = 0;
const VOTES: u64 = 0;
const BLOCKS: u64 = 4;

/// A message between two validators.
#[derive(Clone, Debug)]
pub enum Message {
    /// A vote.
    Vote(Vote),
    /// A block that is proposed or passed on.
    Block(Box<Block>),
    /// Anything else on a channel.
    Data(u64, Bytes),
    /// What is no data.
    Raw(Bytes),
}

impl Message {
    /// Reads a frame; what cannot be read stays as it is.
    pub fn read(frame: Bytes) -> Self {
        Self::data(&frame).unwrap_or(Self::Raw(frame))
    }

    fn data(frame: &Bytes) -> Option<Self> {
        let mut rest = Copying(&frame[..]);
        if u8::read(&mut rest).ok()? != DATA {
            return None;
        }
        let channel: u64 = UInt::read(&mut rest).ok()?.into();
        let length: u64 = UInt::<u32>::read(&mut rest).map(|length| u64::from(length.0)).ok()?;
        let length = usize::try_from(length).ok()?;
        let begin = frame.len().checked_sub(length)?;
        let body = frame.slice(begin..);
        Some(match channel {
            VOTES => Self::vote(&body).unwrap_or(Self::Data(channel, body)),
            BLOCKS => match Block::decode(Copying(&body[..])) {
                Ok(block) => Self::Block(Box::new(block)),
                Err(_) => Self::Data(channel, body),
            },
            _ => Self::Data(channel, body),
        })
    }

    fn vote(body: &Bytes) -> Option<Self> {
        let mut rest = Copying(&body[..]);
        let _term: u64 = UInt::read(&mut rest).ok()?.into();
        Vote::read(&mut rest).ok().map(Self::Vote)
    }

    /// The frame.
    pub fn write(self) -> Bytes {
        let (channel, body) = match self {
            Self::Raw(frame) => return frame,
            Self::Data(channel, body) => (channel, body),
            Self::Block(block) => (BLOCKS, block.encode()),
            Self::Vote(vote) => {
                let mut body = BytesMut::new();
                UInt(vote.epoch().get()).write(&mut body);
                vote.write(&mut body);
                (VOTES, body.freeze())
            }
        };
        let mut frame = BytesMut::new();
        DATA.write(&mut frame);
        UInt(channel).write(&mut frame);
        body.write(&mut frame);
        frame.freeze()
    }

    /// A message of arbitrary bytes where blocks are expected.
    pub const fn no_block(body: Bytes) -> Self {
        Self::Data(BLOCKS, body)
    }
}

/// The key of a liar, and the committee it sits in.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Its network key.
    pub key: ed25519::PublicKey,
    scheme: Scheme,
    seats: Set<ed25519::PublicKey>,
}

impl Signature {
    /// Signs as the holder of `key` among `seats`; nothing if it has no seat.
    pub fn new(
        namespace: &[u8],
        seats: Set<ed25519::PublicKey>,
        key: &ed25519::PrivateKey,
    ) -> Option<Self> {
        use commonware_cryptography::Signer as _;
        let scheme = Scheme::signer(namespace, seats.clone(), key.clone())?;
        Some(Self { key: key.public_key(), scheme, seats })
    }

    /// Whether the holder leads in a round.
    pub fn leads(&self, round: Round) -> bool {
        let elector = RoundRobin::<Sha256>::default().build(&self.seats);
        let leader = Elector::<Scheme>::elect(&elector, round, ());
        usize::try_from(leader.get()).ok().and_then(|index| self.seats.get(index))
            == Some(&self.key)
    }

    /// The same vote for another block; a vote against a view names none and stays.
    pub fn instead(&self, vote: &Vote, payload: sha256::Digest) -> Option<Vote> {
        let other = |proposal: &Proposal<sha256::Digest>| {
            Proposal::new(proposal.round, proposal.parent, payload)
        };
        match vote {
            SimplexVote::Notarize(vote) => {
                Notarize::sign(&self.scheme, other(&vote.proposal)).map(SimplexVote::Notarize)
            }
            SimplexVote::Finalize(vote) => {
                Finalize::sign(&self.scheme, other(&vote.proposal)).map(SimplexVote::Finalize)
            }
            SimplexVote::Nullify(_) => Some(vote.clone()),
        }
    }
}

/// The block that a vote is for.
pub const fn payload(vote: &Vote) -> Option<sha256::Digest> {
    match vote {
        SimplexVote::Notarize(vote) => Some(vote.proposal.payload),
        SimplexVote::Finalize(vote) => Some(vote.proposal.payload),
        SimplexVote::Nullify(_) => None,
    }
}

/// The round of a vote.
pub fn round(vote: &Vote) -> Round {
    Round::new(vote.epoch(), vote.view())
}
