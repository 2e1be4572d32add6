//! Who this node is connected to: the seats of the ledger's committees, and who else it knows.
//!
//! * *Primary* are the seats of the running term and of the next, so that a committee is connected before
//!   it takes office.
//! * *Secondary* are the seats of the term before, whose votes and certificates may still be asked for, the
//!   other registered keys, and the peers of the configuration.
//!
//! Addresses are those of the configuration, or else the endpoints that validators wrote onto the ledger;
//! who has neither is left out. The set is made anew from the state whenever a term begins or a block
//! changes something in the contract `Validators`, and handed to the network if it differs. What has no room
//! ([`room`]) is left out too, from the end of the list above.

use crate::{
    application::Shared,
    committee::Committee,
    committees::{ReadError, view},
    engine::Runtime,
    history::HistoryError,
    network::{Peer, public_key},
    state::{Databases, PastStore},
};
use alloy_primitives::B256;
use commonware_cryptography::{Signer as _, ed25519::PublicKey};
use commonware_p2p::{
    Address, AddressableManager as _, AddressableTrackedPeers, authenticated::lookup::Oracle,
};
use commonware_utils::ordered::Map;
use contracts::abi::IValidators::{keyAtCall, keyCountCall, keyInfoCall};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

/// Places for keys that register while this node runs.
const HEADROOM: usize = 32;
/// Most registered keys that are looked at.
const KEYS_MAX: u64 = 1_024;

/// How many peers a set may hold besides those of the configuration, as things stand at the start: the
/// network's queues are made for as many, so a ledger of one validator asks for little.
pub(crate) fn room(shared: &Shared) -> usize {
    let term = shared.committees.term(shared.head.borrow().height());
    let terms = [term.saturating_sub(1), term, term.saturating_add(1)];
    let seats = |term| shared.committees.get(term).map_or(0, |seats| seats.validators().count());
    terms.into_iter().map(seats).sum::<usize>() + HEADROOM
}

/// What is known of the peers of one moment.
#[derive(Clone, Debug, Default)]
struct Known {
    running: Vec<PublicKey>,
    next: Vec<PublicKey>,
    before: Vec<PublicKey>,
    /// The registered keys and those of the committees, with their endpoints.
    endpoints: BTreeMap<PublicKey, Option<SocketAddr>>,
}

/// What the peer set is made from.
pub(crate) struct Directory<E: Runtime> {
    shared: Arc<Shared>,
    databases: Databases<E>,
    /// We ourselves and the peers of the configuration.
    configured: BTreeMap<PublicKey, SocketAddr>,
    most: usize,
}

impl<E: Runtime> Directory<E> {
    /// A directory over the applied state, with sets of at most `most` peers besides ourselves.
    pub(crate) fn new(
        shared: Arc<Shared>,
        databases: Databases<E>,
        (listen, peers): (SocketAddr, &[Peer]),
        most: usize,
    ) -> Self {
        let me = (shared.keys.signer().public_key(), listen);
        let configured = peers
            .iter()
            .filter_map(|peer| Some((public_key(&peer.key)?, peer.address)))
            .chain([me])
            .collect();
        Self { shared, databases, configured, most }
    }

    /// Follows the ledger for as long as it runs.
    pub(crate) async fn run(self, mut oracle: Oracle<PublicKey>) {
        let mut changes = self.shared.peers.subscribe();
        let mut tracked = Chosen::default();
        // The network itself began with set 0.
        for id in 1.. {
            let chosen = loop {
                let height = *changes.borrow_and_update();
                match self.read(height).await {
                    Ok(known) => {
                        let chosen = choose(&known, &self.configured, self.most);
                        if chosen != tracked {
                            break chosen;
                        }
                    }
                    // The set stays as it is until the next change; blocks do not wait for it.
                    Err(error) => {
                        tracing::warn!(height, %error, "cannot read the validators' endpoints")
                    }
                }
                if changes.changed().await.is_err() {
                    return;
                }
            };
            let (primary, secondary) = (chosen.primary.len(), chosen.secondary.len());
            tracing::info!(id, primary, secondary, "peers change");
            if chosen.left_out > 0 {
                tracing::warn!(
                    left_out = chosen.left_out,
                    "there is no room for all peers: a restart makes it"
                );
            }
            // A network that has stopped needs no peers.
            let _: commonware_actor::Feedback = oracle.track(id, chosen.peers());
            tracked = chosen;
        }
    }

    /// What the state after the block at `height` says of peers.
    async fn read(&self, height: u64) -> Result<Known, ReadError> {
        let Shared { committees, history, .. } = &*self.shared;
        let header = history.header(height)?.ok_or(HistoryError::Corrupt("header"))?;
        let store =
            PastStore { databases: self.databases.clone(), history: Arc::clone(history), height };
        let term = committees.term(height);
        let seats = |committee: Arc<Committee>| committee.participants().into_iter().collect();
        let before = term.checked_sub(1).and_then(|before| committees.get(before));
        let mut known = Known {
            running: seats(committees.read(&store, &header, term).await?),
            next: seats(committees.read(&store, &header, term.saturating_add(1)).await?),
            before: before.map_or_else(Vec::new, seats),
            endpoints: BTreeMap::new(),
        };
        let Some(count) = view(&store, &header, keyCountCall {}).await? else { return Ok(known) };
        // Seats whose keys are retired are not among those in use, but keep their endpoints.
        let seated = [&known.running, &known.next, &known.before].into_iter().flatten();
        let mut keys: BTreeSet<_> = seated.map(|key| B256::from_slice(key.as_ref())).collect();
        for index in 0..count.min(KEYS_MAX) {
            keys.extend(view(&store, &header, keyAtCall { index }).await?);
        }
        for key in keys {
            let info = view(&store, &header, keyInfoCall { key }).await?;
            if let (Some(key), Some(info)) = (public_key(&key.0), info) {
                // Anything else than an address is nobody's but its owner's loss.
                known.endpoints.insert(key, info.endpoint.parse().ok());
            }
        }
        Ok(known)
    }
}

/// A peer set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Chosen {
    primary: BTreeMap<PublicKey, SocketAddr>,
    secondary: BTreeMap<PublicKey, SocketAddr>,
    /// Peers without room.
    left_out: usize,
}

impl Chosen {
    fn peers(&self) -> AddressableTrackedPeers<PublicKey> {
        let map = |peers: &BTreeMap<PublicKey, SocketAddr>| {
            Map::from_iter_dedup(
                peers.iter().map(|(key, address)| (key.clone(), Address::from(*address))),
            )
        };
        AddressableTrackedPeers::new(map(&self.primary), map(&self.secondary))
    }
}

/// The set for what is known, with at most `most` peers.
///
/// Keys cost little to look for until they sort well, so it is not their order that says who has no room: who
/// had a seat before, and whom the operator configured, goes before those who come new.
fn choose(known: &Known, configured: &BTreeMap<PublicKey, SocketAddr>, most: usize) -> Chosen {
    let primary: BTreeSet<_> = known.running.iter().chain(&known.next).collect();
    let old = |key: &PublicKey| configured.contains_key(key) || known.before.contains(key);
    let (stay, come): (Vec<_>, Vec<_>) = primary.iter().copied().partition(|key| old(key));
    // In the order in which room is given.
    let all = stay
        .into_iter()
        .chain(come)
        .chain(&known.before)
        .chain(configured.keys())
        .chain(known.endpoints.keys());
    let mut chosen = Chosen::default();
    let mut seen = BTreeSet::new();
    for key in all.filter(|key| seen.insert(*key)) {
        let endpoint = || known.endpoints.get(key).copied().flatten();
        let Some(address) = configured.get(key).copied().or_else(endpoint) else { continue };
        if chosen.primary.len() + chosen.secondary.len() >= most {
            chosen.left_out += 1;
        } else if primary.contains(key) {
            chosen.primary.insert(key.clone(), address);
        } else {
            chosen.secondary.insert(key.clone(), address);
        }
    }
    chosen
}

#[cfg(test)]
mod tests;
