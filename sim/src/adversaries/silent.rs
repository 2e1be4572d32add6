//! Who proposes nothing when it leads: neither its block nor its vote for it leaves the machine.
//!
//! Others wait for the leader's time to run out and go on with the next view.

use super::{
    Conduct,
    message::{Message, Signature, Vote, round},
};

/// The conduct of a leader that says nothing.
#[derive(Debug)]
pub struct Silent(Signature);

impl Silent {
    /// Silent in the rounds that the holder of this key leads.
    pub const fn new(signature: Signature) -> Self {
        Self(signature)
    }
}

impl Conduct for Silent {
    fn outbound(&self, _: usize, message: Message) -> Vec<Message> {
        let said = match &message {
            Message::Block(block) => block.header().proposer == self.0.key,
            Message::Vote(vote @ Vote::Notarize(_)) => self.0.leads(round(vote)),
            _ => false,
        };
        if said { Vec::new() } else { vec![message] }
    }
}
