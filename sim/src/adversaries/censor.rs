//! Who keeps one sender's transactions out of the ledger, as far as one seat can.
//!
//! Its program never hears of them except in blocks, and it votes for no block that holds one.

use super::{
    Conduct,
    message::{Message, payload},
};
use alloy_primitives::Address;
use bytes::Bytes;
use commonware_codec::{Copying, Decode as _, Encode as _, RangeCfg};
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

    fn sent(&self, raw: &Bytes) -> bool {
        execution::decode(raw).is_ok_and(|tx| tx.signer() == self.victim)
    }

    fn holds(&self, block: &Block) -> bool {
        block.transactions().iter().any(|raw| self.sent(raw))
    }

    /// A message of gossip without the victim's transactions; nothing if none is left.
    fn without(&self, body: &Bytes) -> Option<Message> {
        let bounds = (RangeCfg::from(..), RangeCfg::from(..));
        let Ok(all) = Vec::<Bytes>::decode_cfg(Copying(&body[..]), &bounds) else {
            return Some(Message::Data(TRANSACTIONS, body.clone()));
        };
        let kept: Vec<Bytes> = all.into_iter().filter(|raw| !self.sent(raw)).collect();
        if kept.is_empty() { None } else { Some(Message::Data(TRANSACTIONS, kept.encode())) }
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
            Message::Data(TRANSACTIONS, body) => return self.without(body).into_iter().collect(),
            _ => {}
        }
        vec![message]
    }
}
