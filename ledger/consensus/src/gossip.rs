//! What waits for a block, told to peers: transactions on one channel, evidence blobs on another.
//!
//! Every node sends what its own clients gave it directly to all its peers, in batches at a pace.
//! Between seats, which know one another, nothing is passed on; what comes from a peer without a seat
//! (an observer) is, once. Delivery is not guaranteed by anything but repetition: what no final block
//! holds after a few blocks is sent again by the node whose client gave it, for as long as it waits. So
//! does a validator that joins later get it.
//!
//! * A transaction is checked as one from a client is, against final state. What fails is dropped;
//!   it may be merely stale. A peer whose transactions fail is not listened to any more, until the
//!   next block, once [`FAILED_MAX`] of them did. What a peer may fill of the pool see there; what a
//!   seat passes on counts as its own.
//! * A blob's author is the peer that sends it, which the network proves. Only a seat of the running
//!   term or the next is one: its share of each block is its own (see [`crate::mempool`]). Whoever lost
//!   its seat is refused and not blocked.
//! * What an honest node never sends (no message, no transaction, no signature) gets its sender
//!   blocked.

mod wire;

pub(crate) use wire::Topic;

use crate::{
    application::Shared,
    engine::Runtime,
    mempool::{PoolRefused, Source},
    network::Channel,
    queues::{Queues, Transaction},
    state::{Databases, PastStore},
};
use alloy_primitives::{Address, B256, keccak256};
use bytes::Bytes;
use commonware_cryptography::{Signer as _, ed25519::PublicKey};
use commonware_p2p::{
    Blocker as _, CheckedSender as _, LimitedSender as _, Receiver as _, Recipients,
    authenticated::lookup::Oracle,
};
use commonware_runtime::IoBuf;
use execution::{Account, StoreError, account_at, validate};
use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// Least time between two messages of a channel: less often than a peer allows ([`crate::network`]).
const PACE: Duration = Duration::from_millis(50);
/// Most items that wait to be sent; what does not fit is sent later, as what got lost is.
const OUTBOX: usize = 16_384;
/// Most items sent again at a height.
const AGAIN_MAX: usize = 1_024;
/// Failed transactions of a peer between two blocks, after which it is not listened to.
const FAILED_MAX: usize = 4_096;

/// What peers are to be told of: hashes of what waits in the queues.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<VecDeque<B256>>,
    pushed: Notify,
}

impl Outbox {
    pub(crate) fn push(&self, hash: B256) {
        let mut waiting = self.lock();
        if waiting.len() < OUTBOX {
            waiting.push_back(hash);
        }
        drop(waiting);
        self.pushed.notify_one();
    }

    fn take(&self) -> VecDeque<B256> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<B256>> {
        // A list of hashes is whole at every point where it could panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gossip of one node.
pub(crate) struct Gossip<E: Runtime> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) databases: Databases<E>,
    pub(crate) blocker: Oracle<PublicKey>,
}

/// A message that no honest node sends.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error(transparent)]
    Message(#[from] commonware_codec::Error),
    #[error(transparent)]
    Transaction(#[from] execution::DecodeError),
}

impl<E: Runtime> Gossip<E> {
    /// Speaks and listens below `context`, on the channels of transactions and of blobs.
    pub(crate) fn start(self, context: &E, (transactions, blobs): (Channel<E>, Channel<E>)) {
        let this = Arc::new(self);
        for (topic, (sender, receiver)) in
            [(Topic::Transactions, transactions), (Topic::Blobs, blobs)]
        {
            let (speaker, listener) = (Arc::clone(&this), Arc::clone(&this));
            context.child("gossip").spawn(move |runtime| async move {
                speaker.speak(&runtime, topic, sender).await;
            });
            context
                .child("gossip")
                .spawn(move |_| async move { listener.listen(topic, receiver).await });
        }
    }

    /// Sends what is new at once, what comes meanwhile one pace later, and what is due again at each
    /// height, until the ledger ends.
    async fn speak(
        self: Arc<Self>,
        runtime: &E,
        topic: Topic,
        mut sender: crate::network::Sender<E>,
    ) {
        let queues = &self.shared.queues;
        let (outbox, me) = (queues.outbox(topic), self.shared.keys.signer().public_key());
        let mut head = self.shared.head.subscribe();
        let (mut waiting, mut told) = (VecDeque::new(), 0);
        loop {
            if waiting.is_empty() {
                tokio::select! {
                    // In this order, so that a seeded run repeats itself.
                    biased;
                    () = outbox.pushed.notified() => {}
                    changed = head.changed() => if changed.is_err() { return },
                }
            }
            waiting.append(&mut outbox.take());
            let height = head.borrow_and_update().height();
            if height > told && waiting.len() < OUTBOX {
                told = height;
                waiting.extend(queues.due(topic, height, AGAIN_MAX));
            }
            if topic == Topic::Blobs && !self.has_seat(&me) {
                // Peers would refuse them; what still waits once we have a seat is sent then.
                waiting.clear();
            }
            if waiting.is_empty() {
                continue;
            }
            match sender.check(Recipients::All) {
                Ok(peers) if !peers.recipients().is_empty() => {
                    let batch = batch(&mut waiting, topic, |hash| queues.bytes(topic, hash));
                    if !batch.is_empty() {
                        let sent = peers.send(topic.encode(&batch), false);
                        let _: commonware_actor::Unreliable<_> = sent;
                    }
                }
                // Whoever is not here, or may not be sent more now, gets it when it is sent again.
                _ => waiting.clear(),
            }
            runtime.sleep(PACE).await;
        }
    }

    /// Takes what peers send, until the ledger ends.
    async fn listen(self: Arc<Self>, topic: Topic, mut receiver: crate::network::Receiver) {
        let mut blocker = self.blocker.clone();
        let mut failed = Failed::default();
        while let Ok((peer, message)) = receiver.recv().await {
            let taken = match topic {
                Topic::Transactions => self.transactions(&peer, message, &mut failed).await,
                Topic::Blobs => self.blobs(&peer, message),
            };
            if let Err(error) = taken {
                tracing::warn!(?peer, ?topic, %error, "a peer sends what no honest node does: blocked");
                let _: commonware_actor::Feedback = blocker.block(peer);
            }
        }
    }

    /// Whether a key has a seat in the term of the next block, or in the one after it.
    fn has_seat(&self, key: &PublicKey) -> bool {
        let committees = &self.shared.committees;
        let term = committees.term(self.shared.head.borrow().height().saturating_add(1));
        [term, term.saturating_add(1)]
            .into_iter()
            .any(|term| committees.get(term).is_some_and(|committee| committee.seat(key).is_some()))
    }

    async fn transactions(
        &self,
        peer: &PublicKey,
        message: IoBuf,
        failed: &mut Failed,
    ) -> Result<(), Malformed> {
        let queues = &self.shared.queues;
        let mut raw = Topic::Transactions.decode(message)?;
        let height = self.shared.head.borrow().height();
        if failed.of(peer, height) >= FAILED_MAX {
            return Ok(());
        }
        raw.retain(|raw| queues.get(&keccak256(raw)).is_none());
        let transactions = queues.recovery.decode(raw).await?;
        let store = PastStore {
            databases: self.databases.clone(),
            history: Arc::clone(&self.shared.history),
            height,
        };
        let accounts = match accounts(&store, &transactions, queues).await {
            Ok(accounts) => accounts,
            Err(error) => {
                tracing::error!(%error, "transactions of a peer cannot be checked");
                return Ok(());
            }
        };
        let tell = !self.has_seat(peer);
        for tx in transactions {
            let (account, height) = accounts.get(&tx.signer()).copied().unwrap_or_default();
            let valid = validate(&tx, &account, self.shared.chain.chain_id).is_ok();
            let taken = valid.then(|| queues.insert(tx, (&account, height), (source(peer), tell)));
            if !matches!(taken, Some(Ok(_) | Err(PoolRefused::Known))) {
                failed.note(peer);
            }
        }
        Ok(())
    }

    fn blobs(&self, peer: &PublicKey, message: IoBuf) -> Result<(), Malformed> {
        let blobs = Topic::Blobs.decode(message)?;
        if !self.has_seat(peer) {
            tracing::debug!(?peer, "blobs of an author without a seat");
            return Ok(());
        }
        for blob in blobs {
            if let Err(error) = self.shared.queues.insert_blob(blob, source(peer)) {
                tracing::debug!(?peer, %error, "a peer's blob is not taken");
            }
        }
        Ok(())
    }
}

/// What of `waiting` one message holds, in order. What is gone meanwhile is left out.
fn batch(
    waiting: &mut VecDeque<B256>,
    topic: Topic,
    bytes: impl Fn(&B256) -> Option<Bytes>,
) -> Vec<Bytes> {
    let bounds = topic.bounds();
    let (mut items, mut left) = (Vec::new(), bounds.total);
    while items.len() < bounds.count
        && let Some(hash) = waiting.front()
    {
        if let Some(item) = bytes(hash) {
            let Some(rest) = left.checked_sub(item.len()) else { break };
            left = rest;
            items.push(item);
        }
        waiting.pop_front();
    }
    items
}

fn source(peer: &PublicKey) -> Source {
    let mut key = [0; 32];
    key.copy_from_slice(peer.as_ref());
    Source::Peer(key)
}

/// The accounts of the senders, and the heights after which they are so.
async fn accounts<E: Runtime>(
    store: &PastStore<E>,
    transactions: &[Transaction],
    queues: &Queues,
) -> Result<BTreeMap<Address, (Account, u64)>, StoreError> {
    let mut accounts = BTreeMap::new();
    for tx in transactions {
        let sender = tx.signer();
        let Entry::Vacant(place) = accounts.entry(sender) else { continue };
        if let Some(known) = queues.account(&sender) {
            place.insert(known);
            continue;
        }
        let account = account_at(store, sender).await?;
        queues.remember(sender, account, store.height);
        place.insert((account, store.height));
    }
    Ok(accounts)
}

/// Failed transactions by peer since the block at a height.
#[derive(Debug, Default)]
struct Failed {
    height: u64,
    peers: BTreeMap<PublicKey, usize>,
}

impl Failed {
    fn of(&mut self, peer: &PublicKey, height: u64) -> usize {
        if self.height != height {
            self.height = height;
            self.peers.clear();
        }
        self.peers.get(peer).copied().unwrap_or(0)
    }

    fn note(&mut self, peer: &PublicKey) {
        *self.peers.entry(peer.clone()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests;
