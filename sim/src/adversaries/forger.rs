//! Who proposes invalid blocks, each kind in its turn, and votes for them.
//!
//! A wrong state root; bytes that are no transaction; a transaction that was carried before; wrong receipts;
//! a time before the parent's; a time far ahead; a body over the limit; a block that does not decode. The
//! last two break the form of a message, so a peer may also hang up on whoever sends them.

use super::{
    Conduct,
    held::Held,
    message::{Message, Signature, Vote, payload, round},
};
use alloy_primitives::B256;
use bytes::{Bytes, BytesMut};
use commonware_codec::{Encode as _, Write as _};
use commonware_cryptography::{Digestible as _, sha256};
use consensus::{Block, Body, Header, MAX_TRANSACTION_BYTES};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Proposals remembered.
const REMEMBERED: usize = 256;
/// Kinds of forgery.
const KINDS: u64 = 8;
/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

#[derive(Clone, Debug)]
enum Forgery {
    Block(Box<Block>),
    /// A header that names a body which is sent as bytes, over the limit or cut short.
    Bytes(sha256::Digest, Bytes),
}

impl Forgery {
    fn digest(&self) -> sha256::Digest {
        match self {
            Self::Block(block) => block.digest(),
            Self::Bytes(digest, _) => *digest,
        }
    }
}

/// The conduct of a proposer of invalid blocks.
#[derive(Debug)]
pub struct Forger {
    signature: Signature,
    forged: Mutex<Forged>,
    held: Held,
}

#[derive(Debug, Default)]
struct Forged {
    by_block: BTreeMap<sha256::Digest, (u64, Forgery)>,
    carried: Option<Bytes>,
    count: u64,
}

impl Forger {
    /// Forges what this key's holder proposes.
    pub fn new(signature: Signature) -> Self {
        Self { signature, forged: Mutex::default(), held: Held::default() }
    }

    fn forge(&self, block: &Block) -> Option<Forgery> {
        let mut forged = self.forged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, forgery)) = forged.by_block.get(&block.digest()) {
            return Some(forgery.clone());
        }
        let kind = forged.count % KINDS;
        forged.count += 1;
        let forgery = make(kind, block, forged.carried.as_ref())?;
        if let Some(raw) = block.transactions().first() {
            forged.carried = Some(raw.clone());
        }
        if forged.by_block.len() >= REMEMBERED {
            let of = |(block, (height, _)): (&sha256::Digest, &(u64, Forgery))| (*height, *block);
            let oldest = forged.by_block.iter().map(of).min();
            oldest.and_then(|(_, block)| forged.by_block.remove(&block));
        }
        forged.by_block.insert(block.digest(), (block.header().height, forgery.clone()));
        Some(forgery)
    }

    fn known(&self, block: sha256::Digest) -> Option<sha256::Digest> {
        let forged = self.forged.lock().unwrap_or_else(PoisonError::into_inner);
        forged.by_block.get(&block).map(|(_, forgery)| forgery.digest())
    }
}

/// A forgery of a kind.
fn make(kind: u64, block: &Block, carried: Option<&Bytes>) -> Option<Forgery> {
    let (mut header, mut body): (Header, Body) = (block.header().clone(), block.body().clone());
    match kind {
        0 => header.state.root = B256::repeat_byte(0xBA),
        1 => body.transactions.push(Bytes::from_static(b"no transaction")),
        2 => body.transactions.extend(carried.cloned().or(Some(Bytes::from_static(&[2, 0xC0])))),
        3 => header.receipts_root = B256::repeat_byte(0xBB),
        4 => header.timestamp_ms = header.timestamp_ms.saturating_sub(HOUR_MS),
        5 => header.timestamp_ms = header.timestamp_ms.saturating_add(HOUR_MS),
        6 => {
            // A body that no constructor takes, written by hand below its header.
            let large = vec![Bytes::from(vec![0; MAX_TRANSACTION_BYTES + 1])];
            let mut bytes = BytesMut::from(&header.encode()[..]);
            large.write(&mut bytes);
            body.blobs.write(&mut bytes);
            return Some(Forgery::Bytes(sha256::Digest(header.digest().0), bytes.freeze()));
        }
        _ => {
            let bytes = block.encode();
            return Some(Forgery::Bytes(
                sha256::Digest(header.digest().0),
                bytes.slice(..bytes.len() / 2),
            ));
        }
    }
    Block::build(header, body).ok().map(|block| Forgery::Block(Box::new(block)))
}

impl Forger {
    fn turned(&self, vote: Vote) -> Vote {
        let other = payload(&vote).and_then(|block| self.known(block));
        other.and_then(|other| self.signature.instead(&vote, other)).unwrap_or(vote)
    }
}

impl Conduct for Forger {
    fn outbound(&self, to: usize, message: Message) -> Vec<Message> {
        match message {
            Message::Block(block) if block.header().proposer == self.signature.key => {
                let told = match self.forge(&block) {
                    Some(Forgery::Block(block)) => Message::Block(block),
                    Some(Forgery::Bytes(_, bytes)) => Message::no_block(bytes),
                    None => Message::Block(block),
                };
                let votes = self.held.release(to).into_iter();
                let votes = votes.map(|vote| Message::Vote(self.turned(vote)));
                std::iter::once(told).chain(votes).collect()
            }
            Message::Vote(vote @ Vote::Notarize(_))
                if self.signature.leads(round(&vote))
                    && payload(&vote).is_some_and(|block| self.known(block).is_none()) =>
            {
                self.held.hold(to, vote);
                Vec::new()
            }
            Message::Vote(vote) => vec![Message::Vote(self.turned(vote))],
            message => vec![message],
        }
    }
}
