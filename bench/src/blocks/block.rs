//! A block of any size that says nothing, in the two shapes that consensus may name it by.

use bytes::Bytes;
use commonware_codec::{Buf, Encode as _, EncodeSize, Error, RangeCfg, Read, ReadExt as _, Write};
use commonware_coding::{Config, ReedSolomon};
use commonware_consensus::{
    Block as ConsensusBlock, BoundedBlock, CertifiableBlock, Heightable,
    simplex::types::Context,
    types::{Epoch, Height, Round, View, coding::Commitment},
};
use commonware_cryptography::{
    Digest, Digested, Digestible, Hasher as _, Sha256, ed25519::PublicKey, sha256,
};
use commonware_runtime::BufMut;
use commonware_utils::NZU16;

/// The most bytes that a block of this bench may have.
const MOST_BYTES: usize = 4 << 20;

/// What votes name a block by.
pub(crate) trait Shape: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// What they sign.
    type Name: Digest;
    /// The name of the parent of the first block.
    fn nothing() -> Self::Name;
}

/// Sent whole, named by its digest.
#[derive(Clone, Debug)]
pub(crate) struct Whole;

impl Shape for Whole {
    type Name = sha256::Digest;

    fn nothing() -> Self::Name {
        sha256::Digest([0; 32])
    }
}

/// Sent in pieces, named by its digest and the root of the pieces.
#[derive(Clone, Debug)]
pub(crate) struct Coded;

/// The name of a coded block.
pub(crate) type CodedName = Commitment<Block<Coded>, ReedSolomon<Sha256>, Sha256>;

/// The first block's pieces: nobody is ever sent them.
pub(crate) const FIRST: Config = Config { minimum_shards: NZU16!(1), extra_shards: NZU16!(1) };

impl Shape for Coded {
    type Name = CodedName;

    fn nothing() -> Self::Name {
        let zero = sha256::Digest([0; 32]);
        CodedName::from((zero, zero, zero, FIRST))
    }
}

/// A block.
#[derive(Clone, Debug)]
pub(crate) struct Block<S: Shape> {
    context: Context<S::Name, PublicKey>,
    parent: sha256::Digest,
    height: Height,
    body: Bytes,
}

impl<S: Shape> Block<S> {
    /// The block at height 0, which `leader` seems to have proposed.
    pub(crate) fn first(leader: PublicKey) -> Self {
        let round = Round::new(Epoch::zero(), View::zero());
        let context = Context { round, leader, parent: (View::zero(), S::nothing()) };
        Self {
            context,
            parent: sha256::Digest([0; 32]),
            height: Height::zero(),
            body: Bytes::new(),
        }
    }

    /// The next block, proposed in `context`.
    pub(crate) fn next(
        parent: &Digested<Self>,
        context: Context<S::Name, PublicKey>,
        body: Bytes,
    ) -> Self {
        Self { context, parent: parent.digest(), height: parent.height().next(), body }
    }
}

impl<S: Shape> Write for Block<S> {
    fn write(&self, bytes: &mut impl BufMut) {
        self.context.write(bytes);
        self.parent.write(bytes);
        self.height.write(bytes);
        self.body.write(bytes);
    }
}

impl<S: Shape> EncodeSize for Block<S> {
    fn encode_size(&self) -> usize {
        self.context.encode_size()
            + self.parent.encode_size()
            + self.height.encode_size()
            + self.body.encode_size()
    }
}

impl<S: Shape> Read for Block<S> {
    type Cfg = ();

    fn read_cfg(bytes: &mut impl Buf, (): &()) -> Result<Self, Error> {
        Ok(Self {
            context: Context::read(bytes)?,
            parent: sha256::Digest::read(bytes)?,
            height: Height::read(bytes)?,
            body: Bytes::read_cfg(bytes, &RangeCfg::from(0..=MOST_BYTES))?,
        })
    }
}

impl<S: Shape> Digestible for Block<S> {
    type Digest = sha256::Digest;

    fn digest(&self) -> sha256::Digest {
        Sha256::hash(&[&self.encode()])
    }
}

impl<S: Shape> Heightable for Block<S> {
    fn height(&self) -> Height {
        self.height
    }
}

impl<S: Shape> ConsensusBlock for Block<S> {
    fn parent(&self) -> sha256::Digest {
        self.parent
    }
}

impl<S: Shape> CertifiableBlock for Block<S> {
    type Context = Context<S::Name, PublicKey>;

    fn context(&self) -> Self::Context {
        self.context.clone()
    }
}

impl<S: Shape> BoundedBlock for Block<S> {
    fn max_encode_size((): &()) -> usize {
        MOST_BYTES + 1024
    }
}
