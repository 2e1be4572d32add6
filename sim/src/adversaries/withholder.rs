//! Who proposes a block and shows its body to few or to nobody, and answers no request for a block.
//!
//! Whom it shows a body depends on the view alone, in turn: nobody, one peer, all but one. What too few can
//! check is passed over; what enough have checked becomes final, and the others get it from them.

use super::{
    Conduct,
    message::{Message, Signature},
};

/// Requests for blocks, and answers to them.
const BACKFILL: u64 = 3;

/// The conduct of a validator that keeps bodies to itself.
#[derive(Debug)]
pub struct Withholder(Signature);

impl Withholder {
    /// Withholds the blocks of this key's holder.
    pub const fn new(signature: Signature) -> Self {
        Self(signature)
    }
}

/// Whether a peer is shown the body of a view.
pub fn shown(view: u64, to: usize) -> bool {
    let to = u64::try_from(to).unwrap_or(u64::MAX);
    match view % 3 {
        0 => false,
        1 => to == view / 3 % 4,
        _ => to != view / 3 % 4,
    }
}

impl Conduct for Withholder {
    fn outbound(&self, to: usize, message: Message) -> Vec<Message> {
        let passes = match &message {
            Message::Block(block) => {
                block.header().proposer != self.0.key || shown(block.header().view, to)
            }
            Message::Data(channel, _) => *channel != BACKFILL,
            _ => true,
        };
        if passes { vec![message] } else { Vec::new() }
    }
}
