//! Four validators that tell one another what waits, in the deterministic runtime; some are no
//! validators but speak as ones.

use super::*;
use crate::{
    Config, Genesis, History, Ledger, MemoryFile, Peer, Retention,
    block::MAX_BLOBS_BYTES,
    network::{self, Net},
    recovery::Recovery,
    terms,
    testing::{COIN, dear, genesis, included, keys, launch, transfer},
    validator::Launch,
};
use commonware_codec::Encode as _;
use commonware_runtime::{
    Clock as _, Handle, Runner as _, Spawner as _, Supervisor as _, deterministic,
};
use std::{collections::BTreeSet, net::SocketAddr, num::NonZeroUsize};
use tokio::sync::oneshot;

type E = deterministic::Context;

/// Most blocks that anything here may take.
const BLOCKS: u64 = 40;

/// A validator that can be ended with all that it started.
struct Node {
    ledger: Ledger,
    task: Handle<()>,
}

fn history(genesis: &Genesis) -> Arc<History> {
    let opened = History::open_in(MemoryFile::new(), genesis.digest(), Retention::default());
    Arc::new(opened.unwrap())
}

async fn node(context: &E, n: u8, genesis: &Genesis) -> Node {
    let (tell, told) = oneshot::channel();
    let genesis = genesis.clone();
    let task = context.child("node").with_attribute("n", n).spawn(move |context| async move {
        let history = history(&genesis);
        tell.send(Box::pin(launch(&context, (n, genesis), history)).await).unwrap();
        std::future::pending().await
    });
    Node { ledger: told.await.unwrap(), task }
}

async fn nodes<const N: usize>(context: &E, genesis: &Genesis) -> [Node; N] {
    let mut nodes = Vec::new();
    for n in (0..).take(N) {
        nodes.push(node(context, n, genesis).await);
    }
    nodes.try_into().ok().unwrap()
}

fn peer_of(n: u8) -> Peer {
    let address = SocketAddr::from(([127, 0, 0, 1], 4000 + u16::from(n)));
    Peer { key: keys(n).network_key(), address }
}

/// The network of a node with these peers, without a ledger behind it.
fn network_of(context: &E, n: u8, peers: &[u8], genesis_hash: B256) -> Net<E> {
    let peers: Vec<_> = peers.iter().map(|peer| peer_of(*peer)).collect();
    let namespace = terms::namespace(genesis_hash);
    let listen = (peer_of(n).address, &peers[..]);
    let most = NonZeroUsize::MIN.saturating_add(8);
    network::start(context.child("impostor"), &keys(n), listen, most, &namespace)
}

/// The network of seat 3.
fn impostor(context: &E, genesis_hash: B256) -> Net<E> {
    network_of(context, 3, &[0, 1, 2], genesis_hash)
}

/// Says something to `n` nodes once it is connected to them.
async fn say(context: &E, to: &mut network::Sender<E>, n: usize, message: Bytes) {
    loop {
        if let Ok(peers) = to.check(Recipients::All)
            && peers.recipients().len() == n
        {
            let _: commonware_actor::Unreliable<_> = peers.send(message, false);
            return;
        }
        context.sleep(PACE).await;
    }
}

fn run<T>(seed: u64, scenario: impl AsyncFnOnce(&E) -> T) -> T {
    deterministic::Runner::seeded(seed).start(async |context: E| scenario(&context).await)
}

/// Waits, block by block, until something holds.
async fn until(ledger: &Ledger, mut holds: impl FnMut() -> bool) {
    let mut blocks = ledger.subscribe();
    for _ in 0..BLOCKS {
        if holds() {
            return;
        }
        blocks.next().await.unwrap().unwrap();
    }
    panic!("it does not become true");
}

fn waits(ledger: &Ledger, hash: B256) -> bool {
    ledger.waiting(hash).unwrap().is_some()
}

/// How often each blob is in a final block, with the blocks' proposers.
fn carried(ledger: &Ledger) -> Vec<(Bytes, Address)> {
    let blocks = (1..=ledger.head().height()).map(|height| ledger.block(height).unwrap().unwrap());
    let of = |block: Arc<crate::Finalized>| {
        let proposer = block.header.beneficiary;
        block.blobs.clone().unwrap().into_iter().map(move |blob| (blob, proposer))
    };
    blocks.flat_map(of).collect()
}

#[test]
fn what_one_takes_the_others_carry() {
    let scenario = async |context: &E| {
        let genesis = genesis(4, 1_000);
        let nodes: [Node; 4] = nodes(context, &genesis).await;
        let mut proposers = BTreeSet::new();
        for nonce in 0..6 {
            let hash = nodes[0].ledger.submit(&transfer(1, nonce, COIN)).await.unwrap();
            let located = included(&nodes[1].ledger, hash).await;
            proposers
                .insert(nodes[1].ledger.header(located.place.height).unwrap().unwrap().proposer);
            until(&nodes[0].ledger, || nodes.iter().all(|node| !waits(&node.ledger, hash))).await;
        }
        assert!(proposers.len() > 2, "{proposers:?}");
        assert!(nodes.iter().all(|node| node.ledger.load() == (0, 0)));
        nodes[0].ledger.head().hash
    };
    assert_eq!(run(1, scenario), run(1, scenario));
}

#[test]
fn a_replacement_wins_everywhere() {
    run(2, async |context| {
        let nodes: [Node; 4] = nodes(context, &genesis(4, 1_000)).await;
        let ledger = &nodes[0].ledger;
        // A nonce is missing before both, so no block takes either yet.
        let old = ledger.submit(&dear(1, 1, 1)).await.unwrap();
        until(ledger, || nodes.iter().all(|node| waits(&node.ledger, old))).await;
        let new = nodes[2].ledger.submit(&dear(1, 1, 2)).await.unwrap();
        until(ledger, || {
            nodes.iter().all(|node| waits(&node.ledger, new) && !waits(&node.ledger, old))
        })
        .await;
        nodes[3].ledger.submit(&dear(1, 0, 1)).await.unwrap();
        included(ledger, new).await;
        assert!(ledger.transaction(old).unwrap().is_none());
    });
}

#[test]
fn a_proposer_that_dies_loses_nothing() {
    run(3, async |context| {
        let [first, second, third, fourth]: [Node; 4] = nodes(context, &genesis(4, 1_000)).await;
        let behind = first.ledger.submit(&transfer(1, 1, COIN)).await.unwrap();
        until(&second.ledger, || waits(&second.ledger, behind)).await;
        // It could go into a block from now on, and dies before any block is final.
        let hash = first.ledger.submit(&transfer(1, 0, COIN)).await.unwrap();
        context.sleep(2 * PACE).await;
        let head = first.ledger.head().height();
        first.task.abort();
        for hash in [hash, behind] {
            let located = included(&second.ledger, hash).await;
            assert!(located.place.height > head);
        }
        drop((third, fourth));
    });
}

#[test]
fn who_comes_later_is_told_what_waits() {
    run(4, async |context| {
        let genesis = genesis(4, 1_000);
        let nodes: [Node; 3] = nodes(context, &genesis).await;
        let hash = nodes[0].ledger.submit(&transfer(1, 1, COIN)).await.unwrap();
        until(&nodes[1].ledger, || waits(&nodes[1].ledger, hash)).await;
        let late = node(context, 3, &genesis).await;
        until(&nodes[0].ledger, || waits(&late.ledger, hash)).await;
    });
}

#[test]
fn stale_transactions_are_dropped_and_malformed_ones_get_their_sender_blocked() {
    let garbage: [(Topic, Bytes); 3] = [
        (Topic::Transactions, vec![Bytes::from_static(b"no transaction")].encode()),
        (Topic::Transactions, Bytes::from(vec![0xFF; 100_000])),
        (Topic::Blobs, vec![Bytes::from(vec![1; MAX_BLOBS_BYTES]); 2].encode()),
    ];
    for (seed, (topic, garbage)) in (10..).zip(garbage) {
        run(seed, async |context| {
            let nodes: [Node; 3] = nodes(context, &genesis(4, 1_000)).await;
            let ledger = &nodes[0].ledger;
            let mut net = impostor(context, ledger.genesis_hash());
            let mut tell = async |topic, message| {
                let channel = match topic {
                    Topic::Transactions => &mut net.gossip.0.0,
                    Topic::Blobs => &mut net.gossip.1.0,
                };
                say(context, channel, 3, message).await;
            };
            let done = ledger.submit(&transfer(1, 0, COIN)).await.unwrap();
            included(ledger, done).await;
            // Used, unpayable, of another ledger's making: all of that can happen to an honest peer.
            let dull: Vec<Bytes> = vec![
                transfer(1, 0, COIN).into(),
                transfer(9, 0, COIN).into(),
                transfer(2, 9_999, 1).into(),
            ];
            tell(Topic::Transactions, dull.encode()).await;
            let good = transfer(2, 0, COIN);
            tell(Topic::Transactions, vec![Bytes::from(good.clone())].encode()).await;
            included(ledger, keccak256(&good)).await;
            tell(topic, garbage.clone()).await;
            context.sleep(2 * PACE).await;
            let message = vec![Bytes::from(transfer(2, 1, COIN))].encode();
            let _: commonware_actor::Unreliable<_> =
                net.gossip.0.0.check(Recipients::All).unwrap().send(message, false);
            let next = nodes[1].ledger.submit(&transfer(3, 0, COIN)).await.unwrap();
            included(ledger, next).await;
            let unheard = keccak256(transfer(2, 1, COIN));
            assert!(nodes.iter().all(|node| {
                !waits(&node.ledger, unheard) && node.ledger.transaction(unheard).unwrap().is_none()
            }));
        });
    }
}

#[test]
fn a_flood_of_one_peer_keeps_nobody_else_out() {
    run(5, async |context| {
        let nodes: [Node; 3] = nodes(context, &genesis(4, 1_000)).await;
        let ledger = &nodes[0].ledger;
        let mut net = impostor(context, ledger.genesis_hash());
        // More than a peer may fail between two blocks, without recovering each of them here.
        let junk: Vec<Bytes> = (0..200).map(|nonce| transfer(9, nonce, 1).into()).collect();
        for _ in 0..40 {
            say(context, &mut net.gossip.0.0, 3, junk.encode()).await;
            context.sleep(PACE).await;
        }
        assert!(nodes.iter().all(|node| node.ledger.load().0 == 0));
        let hash = nodes[1].ledger.submit(&transfer(1, 0, COIN)).await.unwrap();
        included(ledger, hash).await;
    });
}

#[test]
fn blobs_of_each_author_are_carried_though_one_floods() {
    run(6, async |context| {
        let nodes: [Node; 3] = nodes(context, &genesis(4, 1_000)).await;
        let ledger = &nodes[0].ledger;
        let mut net = impostor(context, ledger.genesis_hash());
        // Four blobs fill a block.
        for n in 0..8 {
            let junk = vec![Bytes::from(vec![200 + n; MAX_BLOBS_BYTES / 4])];
            say(context, &mut net.gossip.1.0, 3, junk.encode()).await;
            context.sleep(PACE).await;
        }
        let before = ledger.head().height();
        for (n, node) in (0u8..).zip(&nodes) {
            node.ledger.submit_blob(Bytes::from(vec![n; 1_000])).unwrap();
        }
        let ours = |blob: &Bytes| blob.len() == 1_000;
        until(ledger, || carried(ledger).iter().filter(|(blob, _)| ours(blob)).count() == 3).await;
        assert!(ledger.head().height() <= before + 4, "each block has room for all authors");
        until(ledger, || carried(ledger).len() >= 7).await;
        until(ledger, || nodes.iter().all(|node| node.ledger.load() == (0, 0))).await;
        let all = carried(ledger);
        let distinct: BTreeSet<_> = all.iter().map(|(blob, _)| blob).collect();
        assert_eq!(distinct.len(), all.len(), "each once");
        let seat = |n: u8| Address::repeat_byte(0xA0 + n);
        let by_others = all.iter().filter(|(blob, by)| ours(blob) && *by != seat(blob[0]));
        assert!(by_others.count() > 0);
    });
}

#[test]
fn an_observers_transactions_reach_all_and_its_blobs_nobody() {
    run(7, async |context| {
        let genesis = genesis(4, 1_000);
        let start = async |n: u8, peers: &[u8]| {
            let mut config =
                Config::new("unused".into(), peer_of(n).address, keys(n), genesis.clone());
            config.peers = peers.iter().map(|peer| peer_of(*peer)).collect();
            let launch = Launch {
                prefix: format!("node-{n}"),
                committee: Arc::new(genesis.check().unwrap()),
                history: history(&genesis),
                listen: config.listen,
                recovery: Recovery::sequential(),
                served: crate::engine::Served::LITTLE,
                config,
            };
            let context = context.child("node").with_attribute("n", n);
            Box::pin(launch.start(&context)).await.unwrap()
        };
        // Only the first knows the observer and another node, and they know only the first.
        let seats = [
            start(0, &[1, 2, 3, 4, 5]).await,
            start(1, &[0, 2, 3]).await,
            start(2, &[0, 1, 3]).await,
            start(3, &[0, 1, 2]).await,
        ];
        let observer = start(4, &[0]).await;
        let hash = observer.submit(&transfer(1, 1, COIN)).await.unwrap();
        until(&seats[0], || seats.iter().all(|seat| waits(seat, hash))).await;
        observer.submit_blob(Bytes::from_static(b"of nobody")).unwrap();
        let mut net = network_of(context, 5, &[0], observer.genesis_hash());
        let blobs = vec![Bytes::from_static(b"of nobody else")];
        say(context, &mut net.gossip.1.0, 1, blobs.encode()).await;
        let first = observer.submit(&transfer(1, 0, COIN)).await.unwrap();
        included(&seats[3], first).await;
        included(&seats[3], hash).await;
        // The first has all blocks; who came later may have begun with a state.
        let height = seats[0].head().height();
        until(&seats[0], || seats[0].head().height() > height + AGAIN).await;
        assert!(carried(&seats[0]).is_empty());
    });
}

/// Blocks after which what was lost has been sent again.
const AGAIN: u64 = 10;

#[test]
fn a_message_takes_what_fits_and_leaves_out_what_is_gone() {
    let bounds = Topic::Blobs.bounds();
    let hash = |n: u8| B256::repeat_byte(n);
    let mut waiting: VecDeque<_> = (0..5).map(hash).collect();
    let bytes = |hash: &B256| (hash[0] != 1).then(|| Bytes::from(vec![hash[0]; bounds.total / 3]));
    let sizes = |batch: Vec<Bytes>| batch.iter().map(|item| item[0]).collect::<Vec<_>>();
    assert_eq!(sizes(batch(&mut waiting, Topic::Blobs, bytes)), [0, 2, 3]);
    assert_eq!(sizes(batch(&mut waiting, Topic::Blobs, bytes)), [4]);
    assert!(waiting.is_empty());
    waiting = (0..=u8::MAX).cycle().take(bounds.count + 7).map(hash).collect();
    let one = batch(&mut waiting, Topic::Blobs, |_| Some(Bytes::from_static(b"x")));
    assert_eq!((one.len(), waiting.len()), (bounds.count, 7));
}

#[test]
fn an_outbox_is_bounded() {
    let outbox = Outbox::default();
    for n in 0..=OUTBOX {
        outbox.push(B256::left_padding_from(&n.to_be_bytes()));
    }
    assert_eq!((outbox.take().len(), outbox.take().len()), (OUTBOX, 0));
}
