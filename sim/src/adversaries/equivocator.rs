//! Who proposes two blocks and votes for both.
//!
//! The second block is the first with one blob more, valid in every respect. Peers with an even number get
//! the one and votes for it, the others the other. Equivocators of one world conspire: each votes for both
//! faces of a block whoever of them proposed it, so with enough of them both become final. Whoever compares
//! two votes of one round holds the proof; in every third view the liar is careless and sends both votes to all,
//! unless it is a careful one. Then whoever saw the one face has to find the other in a certificate.

use super::{
    Conduct,
    held::Held,
    message::{Message, Signature, Vote, payload, round},
};
use bytes::Bytes;
use commonware_cryptography::{Digestible as _, sha256};
use consensus::{Block, Body};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Pairs remembered.
const REMEMBERED: usize = 256;

/// The two faces of proposals, known to all conspirators.
#[derive(Debug, Default)]
pub struct Faces(Mutex<VecDeque<(sha256::Digest, Block)>>);

impl Faces {
    /// The second block for a first.
    fn second(&self, first: &Block) -> Option<Block> {
        let mut faces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = faces.iter().find(|(digest, _)| *digest == first.digest());
        if let Some((_, second)) = known {
            return Some(second.clone());
        }
        let mut body: Body = first.body().clone();
        body.blobs.push(Bytes::from_static(b"the other face"));
        let second = Block::build(first.header().clone(), body).ok()?;
        if faces.len() >= REMEMBERED {
            faces.pop_front();
        }
        faces.push_back((first.digest(), second.clone()));
        Some(second)
    }

    /// Both faces of a block, whichever it is.
    fn of(&self, face: sha256::Digest) -> Option<[sha256::Digest; 2]> {
        let faces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pairs = faces.iter().map(|(first, second)| [*first, second.digest()]);
        pairs.find(|pair| pair.contains(&face))
    }
}

/// The conduct of a validator with two faces.
#[derive(Debug)]
pub struct Equivocator {
    signature: Signature,
    faces: Arc<Faces>,
    /// Whether it never shows two faces to one peer.
    careful: bool,
    held: Held,
}

impl Equivocator {
    /// Two faces of this key's holder.
    pub fn new(signature: Signature, faces: Arc<Faces>, careful: bool) -> Self {
        Self { signature, faces, careful, held: Held::default() }
    }

    /// The votes that a peer gets.
    fn told(&self, to: usize, vote: Vote) -> Vec<Message> {
        let careless = !self.careful && round(&vote).view().get().is_multiple_of(3);
        let first = self.turned(to, vote.clone());
        let other = careless
            .then(|| self.turned(to + 1, vote))
            .filter(|other| payload(other) != payload(&first));
        std::iter::once(first).chain(other).map(Message::Vote).collect()
    }

    /// The vote for the face that a peer sees.
    fn turned(&self, to: usize, vote: Vote) -> Vote {
        let faces = payload(&vote).and_then(|face| self.faces.of(face));
        let face = faces.map(|faces| faces[to % 2]);
        face.and_then(|face| self.signature.instead(&vote, face)).unwrap_or(vote)
    }
}

impl Conduct for Equivocator {
    fn outbound(&self, to: usize, message: Message) -> Vec<Message> {
        match message {
            Message::Block(block) if block.header().proposer == self.signature.key => {
                let second = self.faces.second(&block).filter(|_| !to.is_multiple_of(2));
                let told = Message::Block(second.map_or(block, Box::new));
                let votes = self.held.release(to).into_iter();
                let votes = votes.flat_map(|vote| self.told(to, vote));
                std::iter::once(told).chain(votes).collect()
            }
            Message::Vote(vote @ Vote::Notarize(_))
                if self.signature.leads(round(&vote))
                    && payload(&vote).is_some_and(|face| self.faces.of(face).is_none()) =>
            {
                self.held.hold(to, vote);
                Vec::new()
            }
            Message::Vote(vote) => self.told(to, vote),
            message => vec![message],
        }
    }
}
