//! Who proposes two blocks and votes for both.
//!
//! The second block is the first with one blob more, valid in every respect. Peers with an even number get
//! the one and votes for it, the others the other. Whoever compares two votes of one round holds the proof.

use super::{
    Conduct,
    message::{Message, Signature, payload},
};
use bytes::Bytes;
use commonware_cryptography::{Digestible as _, sha256};
use consensus::{Block, Body};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Proposals remembered.
const REMEMBERED: usize = 256;

/// The conduct of a validator with two faces.
#[derive(Debug)]
pub struct Equivocator {
    signature: Signature,
    /// The second block for each first.
    seconds: Mutex<BTreeMap<sha256::Digest, (u64, Block)>>,
}

impl Equivocator {
    /// Two faces of this key's holder.
    pub const fn new(signature: Signature) -> Self {
        Self { signature, seconds: Mutex::new(BTreeMap::new()) }
    }

    /// The second block for a first.
    fn second(&self, first: &Block) -> Option<Block> {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, second)) = seconds.get(&first.digest()) {
            return Some(second.clone());
        }
        let mut body: Body = first.body().clone();
        body.blobs.push(Bytes::from_static(b"the other face"));
        let second = Block::build(first.header().clone(), body).ok()?;
        if seconds.len() >= REMEMBERED {
            let oldest = seconds.iter().min_by_key(|(_, (view, _))| *view).map(|(first, _)| *first);
            oldest.and_then(|first| seconds.remove(&first));
        }
        seconds.insert(first.digest(), (first.header().height, second.clone()));
        Some(second)
    }

    fn known(&self, first: sha256::Digest) -> Option<sha256::Digest> {
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        seconds.get(&first).map(|(_, second)| second.digest())
    }
}

impl Conduct for Equivocator {
    fn outbound(&self, to: usize, message: Message) -> Vec<Message> {
        match message {
            Message::Block(block) if block.header().proposer == self.signature.key => {
                let second = self.second(&block);
                let told = if to.is_multiple_of(2) { None } else { second };
                vec![Message::Block(told.map_or(block, Box::new))]
            }
            Message::Vote(vote) if !to.is_multiple_of(2) => {
                let other = payload(&vote).and_then(|first| self.known(first));
                let told = other.and_then(|other| self.signature.instead(&vote, other));
                vec![Message::Vote(told.unwrap_or(vote))]
            }
            message => vec![message],
        }
    }
}
