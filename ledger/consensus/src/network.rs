//! The validators' own network: commonware's authenticated p2p with known addresses (`lookup`).
//!
//! Nobody is discovered: peers and their addresses are given, by the configuration and by the ledger
//! ([`crate::peers`]). Mailboxes are sized by commonware as peers times tracked sets times quota, and take
//! their memory at once, so all three are kept small.

use crate::{
    block::Block,
    committee::{MAX_COMMITTEE, ValidatorKeys},
    gossip::Topic,
    state::StateOperation,
};
use commonware_codec::{Copying, DecodeExt as _, FixedSize as _};
use commonware_consensus::{
    marshal::{self, standard::Standard},
    simplex::{self, scheme::ed25519::Scheme},
};
use commonware_cryptography::{ChaCha20Poly1305, Signer as _, ed25519, sha256};
use commonware_glue::stateful::db::p2p as state_sync;
use commonware_p2p::{
    Address, AddressableManager as _,
    authenticated::lookup::{self, Network, Oracle},
    max_message_size,
};
use commonware_runtime::{Clock, Metrics, Network as RuntimeNetwork, Quota, Resolver, Spawner};
use commonware_storage::mmr;
use commonware_stream::{
    Upgrader,
    cups::{self, Cups},
    sake::{self, Sake},
};
use commonware_utils::{NZU32, NZU64, NZUsize, ordered::Map};
use rand::CryptoRng;
use std::{net::SocketAddr, num::NonZeroU64, num::NonZeroUsize, time::Duration};

/// Operations of the state sent in one answer to a syncing node: some 280 KB. With fewer, a million accounts
/// would wait for [`MESSAGES_PER_SECOND`] longer than for anything else.
pub(crate) const SYNC_OPERATIONS: NonZeroU64 = NZU64!(2_048);
/// Messages waiting in an actor's mailbox.
pub(crate) const MAILBOX: NonZeroUsize = NZUsize!(256);
/// Messages a peer may send a second, on each channel.
const MESSAGES_PER_SECOND: Quota = Quota::per_second(NZU32!(128));

/// Messages of gossip a peer may send a second, on each of its channels: more than an honest one does
/// ([`crate::gossip`]).
const GOSSIP_PER_SECOND: Quota = Quota::per_second(NZU32!(32));

/// How long after an attempt at a connection with a peer, its or ours, the next is refused, off loopback.
///
/// Whoever attempts while the other still refuses has used its own attempt up, and refuses in turn. Two nodes
/// that are out of step meet again only when what chance adds to a wait (half of this at most) brings them
/// into step. With the 60 seconds that commonware recommends that took more than four minutes in a world of
/// the simulator (`lan`, seed 96), while one validator of four stood still.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(10);
/// Handshakes from one address, off loopback: several nodes may share one.
const HANDSHAKES_PER_ADDRESS: Quota = Quota::per_second(NZU32!(1));

pub(crate) type Sender<E> = lookup::Sender<ed25519::PublicKey, E>;
pub(crate) type Receiver = lookup::Receiver<ed25519::PublicKey>;
/// Both ends of a channel.
pub(crate) type Channel<E> = (Sender<E>, Receiver);

/// Another node and where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its Ed25519 key.
    pub key: [u8; 32],
    /// Where it listens.
    pub address: SocketAddr,
}

/// The running network: the channels stand in the order of their numbers on the wire.
pub(crate) struct Net<E: Clock> {
    /// Votes, certificates and their resolver, of whichever term runs.
    pub(crate) terms: (Channel<E>, Channel<E>, Channel<E>),
    /// Requests for final blocks.
    pub(crate) backfill: Channel<E>,
    /// New blocks.
    pub(crate) blocks: Channel<E>,
    /// Requests for state.
    pub(crate) state: Channel<E>,
    /// Waiting transactions, and evidence blobs.
    pub(crate) gossip: (Channel<E>, Channel<E>),
    /// Questions of nodes that join.
    pub(crate) join: Channel<E>,
    pub(crate) oracle: Oracle<ed25519::PublicKey>,
}

/// The key of these bytes, if they are one.
pub(crate) fn public_key(bytes: &[u8; 32]) -> Option<ed25519::PublicKey> {
    ed25519::PublicKey::decode(Copying(&bytes[..])).ok()
}

/// The longest message any part sends.
fn message_limit() -> u32 {
    let seats = u32::try_from(MAX_COMMITTEE).unwrap_or(u32::MAX);
    max_message_size(&[
        simplex::max_payload_size::<Scheme, sha256::Digest>(seats),
        marshal::max_payload_size::<Standard<Block>, Scheme>(seats, &()),
        state_sync::max_payload_size::<mmr::Family, sha256::Digest>(
            SYNC_OPERATIONS,
            StateOperation::SIZE,
        ),
        Topic::Transactions.message_bytes(),
        Topic::Blobs.message_bytes(),
    ])
}

/// Encrypted connections between known keys.
fn handshake(keys: &ValidatorKeys) -> impl Upgrader<PublicKey = ed25519::PublicKey> {
    Cups::<_, ChaCha20Poly1305>::new(
        Sake {
            signer: keys.signer().clone(),
            synchrony_bound: Duration::from_secs(5),
            max_handshake_age: Duration::from_secs(10),
            version: sake::Version::V1,
        },
        cups::Version::V1,
    )
}

/// commonware's recommendation with quicker attempts ([`BETWEEN_ATTEMPTS`]), or on a loopback address its
/// settings for one machine, which let peers connect more often than a network should. Nobody is discovered,
/// so addresses may be private.
fn config<H: Upgrader>(
    handshake: H,
    namespace: &[u8],
    listen: SocketAddr,
    most_peers: NonZeroUsize,
) -> lookup::Config<H> {
    let limit = message_limit();
    let config = if listen.ip().is_loopback() {
        lookup::Config::local(handshake, namespace, listen, most_peers, limit, MAILBOX)
    } else {
        lookup::Config {
            peer_connection_cooldown: BETWEEN_ATTEMPTS,
            allowed_handshake_rate_per_ip: HANDSHAKES_PER_ADDRESS,
            ..lookup::Config::recommended(handshake, namespace, listen, most_peers, limit, MAILBOX)
        }
    };
    lookup::Config {
        allow_private_ips: true,
        allow_dns: false,
        // A set names the seats of the term before it too (see `peers`), so older sets are of no use.
        tracked_peer_sets: NZUsize!(1),
        ..config
    }
}

/// Listens on `listen` and connects to `peers`, of whom there may be `most_peers` later, ourselves included;
/// `namespace` names the ledger.
pub(crate) fn start<E>(
    context: E,
    keys: &ValidatorKeys,
    (listen, peers): (SocketAddr, &[Peer]),
    most_peers: NonZeroUsize,
    namespace: &[u8],
) -> Net<E>
where
    E: Spawner + Clock + CryptoRng + RuntimeNetwork + Resolver + Metrics,
{
    let handshake = handshake(keys);
    let config = config(handshake, namespace, listen, most_peers);
    let (mut network, mut oracle) = Network::new(context, config);
    let addresses = std::iter::once((keys.signer().public_key(), Address::from(listen))).chain(
        peers.iter().filter_map(|peer| Some((public_key(&peer.key)?, Address::from(peer.address)))),
    );
    // The network cannot have stopped before it starts.
    let _: commonware_actor::Feedback = oracle.track(0, Map::from_iter_dedup(addresses));
    let mut channel = |number| network.register(number, MESSAGES_PER_SECOND);
    let net = Net {
        terms: (channel(0), channel(1), channel(2)),
        backfill: channel(3),
        blocks: channel(4),
        state: channel(5),
        join: channel(8),
        gossip: (network.register(6, GOSSIP_PER_SECOND), network.register(7, GOSSIP_PER_SECOND)),
        oracle,
    };
    network.start();
    net
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_machine_runs_with_the_settings_for_one_machine() {
        let cooldown = |ip: [u8; 4]| {
            let handshake = handshake(&ValidatorKeys::derive(&[1; 32]));
            let config = config(handshake, b"test", SocketAddr::from((ip, 1)), NonZeroUsize::MIN);
            assert!(config.allow_private_ips && !config.allow_dns);
            config.peer_connection_cooldown
        };
        assert!(cooldown([127, 0, 0, 1]) < cooldown([10, 0, 0, 1]));
        assert_eq!(cooldown([0, 0, 0, 0]), cooldown([10, 0, 0, 1]));
        assert_eq!(cooldown([10, 0, 0, 1]), BETWEEN_ATTEMPTS);
    }
}
