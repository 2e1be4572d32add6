//! Who keeps one sender's transactions out of the ledger, as far as one seat can.
//!
//! Its program never hears of them except in blocks, and it votes for no block that holds one.

use super::{
    Conduct,
    message::{Message, payload},
};
use alloy_primitives::Address;
use commonware_cryptography::{Digestible as _, sha256};
use consensus::Block;
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// Gossip of transactions.
const TRANSACTIONS: u64 = 6;
/// Blocks remembered.
const REMEMBERED: usize = 256;

/// The conduct of a censor.
#[derive(Debug)]
pub struct Censor {
    victim: Address,
    /// The last blocks that held a transaction of its victim.
    disliked: Mutex<VecDeque<sha256::Digest>>,
}

impl Censor {
    /// Censors one sender.
    pub const fn new(victim: Address) -> Self {
        Self { victim, disliked: Mutex::new(VecDeque::new()) }
    }

    fn holds(&self, block: &Block) -> bool {
        let sent =
            |raw: &bytes::Bytes| execution::decode(raw).is_ok_and(|tx| tx.signer() == self.victim);
        block.transactions().iter().any(sent)
    }

    /// Whether a gossiped message carries a transaction of the victim: its bytes end the message, behind
    /// lengths of at most a few bytes.
    fn carries(&self, body: &[u8]) -> bool {
        (0..body.len().min(16))
            .any(|skip| execution::decode(&body[skip..]).is_ok_and(|tx| tx.signer() == self.victim))
    }
}

impl Conduct for Censor {
    fn outbound(&self, _: usize, message: Message) -> Vec<Message> {
        let disliked = match &message {
            Message::Vote(vote) => payload(vote).is_some_and(|block| {
                self.disliked.lock().unwrap_or_else(PoisonError::into_inner).contains(&block)
            }),
            _ => false,
        };
        if disliked { Vec::new() } else { vec![message] }
    }

    fn inbound(&self, _: usize, message: Message) -> Vec<Message> {
        match &message {
            Message::Block(block) if self.holds(block) => {
                let mut disliked = self.disliked.lock().unwrap_or_else(PoisonError::into_inner);
                disliked.push_back(block.digest());
                if disliked.len() > REMEMBERED {
                    disliked.pop_front();
                }
            }
            Message::Data(TRANSACTIONS, body) if self.carries(body) => return Vec::new(),
            _ => {}
        }
        vec![message]
    }
}
