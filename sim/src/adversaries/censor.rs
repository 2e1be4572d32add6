//! Who keeps one sender's transactions and one device's evidence out of the ledger, as far as one seat can.
//!
//! Its program never hears of them except in blocks, so it proposes none of them and tells nobody of them, and
//! it votes for no block that holds one. What the device itself brings it accepts with its signature, and
//! drops ([`crate::economy::desk`]). A batch is its author's as a whole: whatever else is in it stays out too.

use super::{
    Conduct,
    message::{Message, payload},
};
use crate::world::people::CHAIN;
use alloy_primitives::Address;
use bytes::Bytes;
use commonware_codec::{Copying, Decode as _, Encode as _, RangeCfg};
use commonware_cryptography::{Digestible as _, sha256};
use consensus::Block;
use evidence::Batch;
use protocol::{
    DeviceId,
    envelope::{Envelope, PROOF_MAX},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Gossip of transactions.
const TRANSACTIONS: u64 = 6;
/// Gossip of blobs.
const BLOBS: u64 = 7;
/// Blocks remembered.
const REMEMBERED: usize = 256;

/// What censors kept back of one device's evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// Envelopes that they accepted and dropped.
    pub envelopes: u64,
    /// Blobs of others that they did not hear of.
    pub blobs: u64,
    /// Votes for blocks that hold some of it, by the peers that did not get them.
    pub votes: u64,
}

/// Whom the censors of a world keep out, and what they kept back.
#[derive(Debug, Default)]
pub struct Outcasts {
    sender: Address,
    device: Option<DeviceId>,
    withheld: Mutex<Withheld>,
}

impl Outcasts {
    /// One sender, and one device where there are any.
    pub fn new(sender: Address, device: Option<DeviceId>) -> Self {
        Self { sender, device, withheld: Mutex::default() }
    }

    /// What was kept back so far.
    pub fn withheld(&self) -> Withheld {
        *self.tally()
    }

    /// An envelope of the device, which its taker drops; nothing if it is another's.
    pub fn discard(&self, envelope: &[u8]) -> Option<Envelope> {
        let envelope = self.read(envelope)?;
        self.tally().envelopes += 1;
        Some(envelope)
    }

    /// An envelope, if it is the device's.
    fn read(&self, envelope: &[u8]) -> Option<Envelope> {
        let device = self.device?;
        let envelope = Envelope::parse(envelope, PROOF_MAX).ok()?;
        (envelope.device() == device).then_some(envelope)
    }

    /// Whether the sender signed a transaction.
    fn sent(&self, raw: &Bytes) -> bool {
        execution::decode(raw).is_ok_and(|tx| tx.signer() == self.sender)
    }

    /// Whether a blob carries evidence of the device.
    fn proved(&self, blob: &Bytes) -> bool {
        self.device.is_some()
            && Batch::from_bytes(blob, CHAIN)
                .is_ok_and(|batch| batch.envelopes().any(|bytes| self.read(bytes).is_some()))
    }

    fn tally(&self) -> MutexGuard<'_, Withheld> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The conduct of a censor.
#[derive(Debug)]
pub struct Censor {
    outcasts: Arc<Outcasts>,
    /// The last blocks that held something of its victims, and whether that was evidence.
    disliked: Mutex<VecDeque<(sha256::Digest, bool)>>,
}

impl Censor {
    /// Censors those.
    pub const fn new(outcasts: Arc<Outcasts>) -> Self {
        Self { outcasts, disliked: Mutex::new(VecDeque::new()) }
    }

    fn disliked(&self) -> MutexGuard<'_, VecDeque<(sha256::Digest, bool)>> {
        self.disliked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a block that holds something of its victims.
    fn look(&self, block: &Block) {
        let evidence = block.blobs().iter().any(|blob| self.outcasts.proved(blob));
        if !evidence && !block.transactions().iter().any(|raw| self.outcasts.sent(raw)) {
            return;
        }
        let mut disliked = self.disliked();
        disliked.push_back((block.digest(), evidence));
        if disliked.len() > REMEMBERED {
            disliked.pop_front();
        }
    }

    /// Whether an item of gossip is kept from the program; evidence is counted.
    fn unwelcome(&self, channel: u64, item: &Bytes) -> bool {
        if channel == TRANSACTIONS {
            return self.outcasts.sent(item);
        }
        let unwelcome = self.outcasts.proved(item);
        self.outcasts.tally().blobs += u64::from(unwelcome);
        unwelcome
    }

    /// A message of gossip without what is unwelcome; nothing if none is left.
    fn without(&self, channel: u64, body: &Bytes) -> Option<Message> {
        let bounds = (RangeCfg::from(..), RangeCfg::from(..));
        let Ok(all) = Vec::<Bytes>::decode_cfg(Copying(&body[..]), &bounds) else {
            return Some(Message::Data(channel, body.clone()));
        };
        let kept: Vec<Bytes> =
            all.into_iter().filter(|item| !self.unwelcome(channel, item)).collect();
        if kept.is_empty() { None } else { Some(Message::Data(channel, kept.encode())) }
    }
}

impl Conduct for Censor {
    fn outbound(&self, _: usize, message: Message) -> Vec<Message> {
        let block = match &message {
            Message::Vote(vote) => payload(vote),
            _ => None,
        };
        let found = self.disliked().iter().find(|(digest, _)| Some(*digest) == block).copied();
        let Some((_, evidence)) = found else { return vec![message] };
        self.outcasts.tally().votes += u64::from(evidence);
        Vec::new()
    }

    fn inbound(&self, _: usize, message: Message) -> Vec<Message> {
        match &message {
            Message::Block(block) => self.look(block),
            Message::Data(channel @ (TRANSACTIONS | BLOBS), body) => {
                return self.without(*channel, body).into_iter().collect();
            }
            _ => {}
        }
        vec![message]
    }
}
