//! Committees that rotate by real transactions, while nodes come, go, crash and cheat.

use super::*;
use crate::{
    Config, FirstValidator, Founding, Genesis, History, Ledger, MemoryFile, Peer, Retention,
    recovery::Recovery,
    testing::{CHAIN, COIN, block_at, keys, signer},
    validator::Launch,
};
use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, TxKind, U256};
use alloy_signer::SignerSync as _;
use alloy_sol_types::SolCall;
use commonware_consensus::{
    simplex::types::{Notarize, Proposal, Vote},
    types::{Round, View},
};
use commonware_p2p::{Recipients, Sender as _};
use commonware_runtime::{Clock as _, Runner as _, Spawner as _, Supervisor as _, deterministic};
use contracts::{
    GenesisConfig, SeatRules,
    abi::IValidators::{
        accuseCall, bondCall, keyInfoCall, registerCall, replaceCall, retireCall, unbondCall,
        withdrawCall,
    },
    address::VALIDATORS,
};
use execution::{Call, CallOutcome};
use protocol::{Micros, Ppm, clock::EpochClock};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    num::NonZeroUsize,
};
use tokio::sync::oneshot;

const RICH: u128 = 100_000 * COIN;
const BOND: u128 = 100 * COIN;

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4000 + u16::from(n)))
}

/// The account of validator `n`.
fn account(n: u8) -> Address {
    signer(n).address()
}

fn key(n: u8) -> B256 {
    B256::from(keys(n).network_key())
}

/// A ledger of `seats` validators, numbered from 1, whose addresses stand on the ledger; accounts 1 to 30
/// have coins.
fn genesis(seats: u8, term_length: u64, unbonding_terms: u64) -> Genesis {
    let first = |n: u8| FirstValidator {
        seat: keys(n).validator(account(n)),
        endpoint: address(n).to_string(),
        bond: BOND,
    };
    Genesis::found(Founding {
        chain_id: CHAIN,
        timestamp_ms: 0,
        term_length,
        validators: (1..=seats).map(first).collect(),
        allocations: (1..=30).map(|n| (account(n), U256::from(RICH))).collect(),
        contracts: GenesisConfig {
            clock: EpochClock { length: 4, grace: 1 },
            dispute_epochs: 2,
            validators: Vec::new(),
            seats: SeatRules { term_length, seats_max: 16, bond_min: COIN, unbonding_terms },
            guardian: Address::repeat_byte(0xB0),
            pause_blocks_max: 10,
            breaker_window: 20,
            breaker_share: Ppm::ONE,
            breaker_floor: Micros(0),
            stablecoin: Vec::new(),
            networks: Vec::new(),
        },
    })
    .unwrap()
}

/// A node's disk and, while it runs, its tasks and its handle.
struct Node {
    disk: MemoryFile,
    /// Where it listens: the runtime gives no address twice, so one that comes back takes another.
    address: SocketAddr,
    run: Option<(Handle<()>, Ledger, Arc<History>)>,
}

/// The disks of all nodes, across power cuts.
type Disks = BTreeMap<u8, MemoryFile>;

/// The nodes of one ledger in one runtime.
struct Nodes<'a> {
    context: &'a deterministic::Context,
    genesis: Genesis,
    nodes: BTreeMap<u8, Node>,
    starts: u32,
}

impl<'a> Nodes<'a> {
    fn new(context: &'a deterministic::Context, genesis: &Genesis, disks: Disks) -> Self {
        let node = |(n, disk)| (n, Node { disk, address: address(n), run: None });
        let nodes = disks.into_iter().map(node).collect();
        Self { context, genesis: genesis.clone(), nodes, starts: 0 }
    }

    /// Starts node `n`, which knows node 1 and whom the ledger knows; one that comes back knows all.
    async fn start(&mut self, n: u8) -> Ledger {
        self.start_with(n, |_| ()).await
    }

    /// Starts node `n` with another configuration.
    async fn start_with(&mut self, n: u8, change: impl FnOnce(&mut Config)) -> Ledger {
        self.starts += 1;
        let known = |(other, node): (&u8, &Node)| {
            let peer = Peer { key: keys(*other).network_key(), address: node.address };
            (node.run.is_some() && (*other == 1 || self.nodes.contains_key(&n))).then_some(peer)
        };
        let peers: Vec<_> = self.nodes.iter().filter_map(known).collect();
        let fresh = || Node { disk: MemoryFile::new(), address: address(n), run: None };
        let node = self.nodes.entry(n).or_insert_with(fresh);
        let history =
            History::open_in(node.disk.clone(), self.genesis.digest(), Retention::default());
        let history = Arc::new(history.unwrap());
        let mut config = Config::new("unused".into(), node.address, keys(n), self.genesis.clone());
        config.peers = peers;
        change(&mut config);
        let launch = Launch {
            prefix: format!("validator-{n}"),
            committee: Arc::new(config.genesis.check().unwrap()),
            history: Arc::clone(&history),
            listen: config.listen,
            recovery: Recovery::sequential(),
            served: crate::engine::Served::LITTLE,
            config,
        };
        let (ready, started) = oneshot::channel();
        let context = self.context.child("node").with_attribute("start", self.starts);
        let tasks = context.spawn(move |context| async move {
            let ledger = Box::pin(launch.start(&context)).await.unwrap();
            drop(ready.send(ledger));
            std::future::pending::<()>().await;
        });
        let ledger = started.await.unwrap();
        node.run = Some((tasks, ledger.clone(), history));
        ledger
    }

    async fn start_all(&mut self, nodes: impl IntoIterator<Item = u8>) {
        for n in nodes {
            self.start(n).await;
        }
    }

    /// Kills node `n`: what is not on its disk is lost.
    async fn kill(&mut self, n: u8) {
        let node = self.nodes.get_mut(&n).unwrap();
        let (tasks, _, history) = node.run.take().unwrap();
        tasks.abort();
        assert!(tasks.await.is_err());
        // All tasks below have ended when time goes on.
        self.context.sleep(Duration::from_millis(1)).await;
        history.close();
        node.disk = node.disk.crash();
        node.address.set_port(node.address.port() + 100);
    }

    /// The handles of all nodes that run.
    fn ledgers(&self) -> impl Iterator<Item = (u8, &Ledger)> {
        self.nodes.iter().filter_map(|(n, node)| Some((*n, &node.run.as_ref()?.1)))
    }

    fn ledger(&self, n: u8) -> &Ledger {
        &self.nodes[&n].run.as_ref().unwrap().1
    }

    /// Any node that runs.
    fn any(&self) -> &Ledger {
        self.ledgers().next().unwrap().1
    }

    /// Waits until every node has the block at `height`.
    async fn reach(&self, height: u64) {
        for (_, ledger) in self.ledgers() {
            block_at(ledger, height).await;
        }
    }

    /// Signs a transaction of account `n` to the validators' contract, gives it to every node, and waits
    /// until it has succeeded in a block of node `at`.
    async fn send<C: SolCall>(&self, at: u8, n: u8, value: u128, call: C) -> u64 {
        let ledger = self.ledger(at);
        let nonce = ledger.account(account(n), ledger.head().height()).await.unwrap().nonce;
        let tx = TxEip1559 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 5_000_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: TxKind::Call(VALIDATORS),
            value: U256::from(value),
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        let signature = signer(n).sign_hash_sync(&tx.signature_hash()).unwrap();
        let raw = tx.into_signed(signature).encoded_2718();
        let hash = alloy_primitives::keccak256(&raw);
        let from = ledger.head().height();
        for (_, ledger) in self.ledgers() {
            // It may have come another way, and lead to nothing on nodes that lag.
            drop(ledger.submit(&raw).await);
        }
        let mut blocks = ledger.subscribe_from(from.max(1));
        loop {
            let block = blocks.next().await.unwrap().unwrap();
            if let Some(located) = ledger.transaction(hash).unwrap() {
                assert!(located.receipt.envelope.status(), "account {n}: {located:?}");
                return located.place.height;
            }
            assert!(block.height() < from + 200, "not carried");
        }
    }

    /// Registers the keys `n` for the account `n` with a bond. Gives the first term with the seat.
    async fn join(&self, at: u8, n: u8) -> u64 {
        self.send(at, n, BOND, bondCall {}).await;
        let ledger = self.ledger(at);
        ledger.term(self.send(at, n, 0, registration(n, n)).await) + 2
    }

    /// Everything that all nodes must agree on, up to the least head.
    fn agree(&self) -> Vec<B256> {
        let head = self.ledgers().map(|(_, ledger)| ledger.head().height()).min().unwrap();
        let hashes = |ledger: &Ledger| {
            let hash = |height| ledger.header(height).unwrap().map(|header| header.digest());
            (0..=head).map(hash).collect::<Vec<_>>()
        };
        let expected = hashes(self.any());
        for (n, ledger) in self.ledgers() {
            assert_eq!(hashes(ledger), expected, "node {n}");
            self.check(ledger);
        }
        expected.into_iter().map(Option::unwrap).collect()
    }

    /// Holds headers against the recorded committees.
    fn check(&self, ledger: &Ledger) {
        let length = self.genesis.term_length;
        for height in 1..=ledger.head().height() {
            let header = ledger.header(height).unwrap().unwrap();
            let term = height / length;
            let seats = |term| ledger.committee(term).unwrap().unwrap();
            assert_eq!(header.term, term);
            let proposer = B256::from_slice(header.proposer.as_ref());
            let seat = seats(term).into_iter().find(|seat| seat.key == proposer).unwrap();
            assert_eq!(header.beneficiary, seat.account);
            let named = if height % length == length - 1 { term + 1 } else { term };
            let committee = Committee::new(&seats(named)).unwrap();
            assert_eq!(header.committee, committee.digest(), "at {height}");
        }
    }

    /// Takes the disks out of a world that ends.
    fn disks(self) -> Disks {
        let cut = |node: Node| {
            if let Some((tasks, _, history)) = node.run {
                tasks.abort();
                history.close();
            }
            node.disk.crash()
        };
        self.nodes.into_iter().map(|(n, node)| (n, cut(node))).collect()
    }
}

/// Registers the keys `n` for `owner`.
fn registration(n: u8, owner: u8) -> registerCall {
    let seat = keys(n).validator(account(owner));
    registerCall {
        key: seat.key,
        seedKey: seat.seed_key.to_vec().into(),
        possession: seat.possession.to_vec().into(),
        proof: keys(n).proof(CHAIN, account(owner), seat.account).to_vec().into(),
        account: seat.account,
        endpoint: address(n).to_string(),
    }
}

/// Puts the keys `n` in the place of `old` of `owner`.
fn replacement(old: u8, n: u8, owner: u8) -> replaceCall {
    let registerCall { key: new, seedKey, possession, proof, account, endpoint } =
        registration(n, owner);
    replaceCall { old: key(old), key: new, seedKey, possession, proof, account, endpoint }
}

/// The keys of a term's committee.
fn seats(ledger: &Ledger, term: u64) -> BTreeSet<B256> {
    ledger.committee(term).unwrap().unwrap().iter().map(|seat| seat.key).collect()
}

/// The validators who proposed a block of a term.
fn proposers(ledger: &Ledger, term: u64) -> BTreeSet<B256> {
    let length = ledger.genesis().term_length;
    (term * length..(term + 1) * length)
        .filter_map(|height| ledger.header(height).unwrap())
        .map(|header| B256::from_slice(header.proposer.as_ref()))
        .collect()
}

/// The first height of a term.
fn begin(ledger: &Ledger, term: u64) -> u64 {
    term * ledger.genesis().term_length
}

/// A ledger that stands still fails the test after 200 seconds of its own time.
fn config(seed: u64) -> deterministic::Config {
    deterministic::Config::new().with_seed(seed).with_timeout(Some(Duration::from_secs(200)))
}

/// Runs a scenario in a runtime of its own.
fn run<T>(seed: u64, genesis: &Genesis, scenario: impl AsyncFnOnce(Nodes<'_>) -> T) -> T {
    deterministic::Runner::new(config(seed)).start(async |context: deterministic::Context| {
        scenario(Nodes::new(&context, genesis, Disks::new())).await
    })
}

#[test]
fn a_validator_joins_by_transaction_votes_a_term_later_and_leaves_again() {
    let genesis = genesis(4, 6, 2);
    run(1, &genesis, async |mut nodes| {
        nodes.start_all(1..=4).await;
        let first = nodes.join(1, 5).await;
        // Known to the others by its registration alone, it follows until it has its seat.
        nodes.start(5).await;
        nodes.reach(begin(nodes.ledger(1), first + 2)).await;
        let ledger = nodes.ledger(1);
        assert!(!seats(ledger, first - 1).contains(&key(5)));
        for term in [first, first + 1] {
            assert!(seats(ledger, term).contains(&key(5)));
        }
        let led: BTreeSet<_> = [first, first + 1].map(|term| proposers(ledger, term)).concat_all();
        assert!(led.contains(&key(5)), "it leads and votes");

        // Another leaves: its key retires, and after its last term nobody misses it.
        let retired = nodes.send(1, 2, 0, retireCall { key: key(2) }).await;
        let without = nodes.ledger(1).term(retired) + 2;
        nodes.reach(begin(nodes.ledger(1), without)).await;
        assert!(!seats(nodes.ledger(1), without).contains(&key(2)));
        // It follows for a term without a seat.
        nodes.reach(begin(nodes.ledger(1), without) + 3).await;
        nodes.kill(2).await;
        nodes.reach(begin(nodes.ledger(1), without + 2)).await;
        nodes.agree();
    });
}

#[test]
fn a_fresh_node_fetches_the_state_through_changed_committees() {
    let genesis = genesis(4, 6, 2);
    run(9, &genesis, async |mut nodes| {
        nodes.start_all(1..=4).await;
        nodes.join(1, 5).await;
        nodes.start(5).await;
        let retired = nodes.send(1, 2, 0, retireCall { key: key(2) }).await;
        let without = nodes.ledger(1).term(retired) + 2;
        nodes.reach(begin(nodes.ledger(1), without) + 2).await;
        nodes.kill(2).await;
        let first = nodes.join(1, 6).await;

        let fresh = nodes.start_with(6, |config| config.replay_blocks = 0).await;
        let began = fresh.first().unwrap();
        assert!(began > begin(&fresh, without), "began at {began}");
        for term in 1..=fresh.term(began) {
            assert_eq!(seats(&fresh, term), seats(nodes.ledger(1), term));
        }
        nodes.reach(begin(&fresh, first + 2)).await;
        let led = [first, first + 1].map(|term| proposers(nodes.ledger(1), term));
        assert!(led.concat_all().contains(&key(6)), "it leads and votes");
        for height in began..begin(&fresh, first + 2) {
            assert_eq!(fresh.block(height).unwrap(), nodes.ledger(1).block(height).unwrap());
        }
    });
}

#[test]
fn keys_rotate_and_bonds_return() {
    let genesis = genesis(4, 5, 1);
    run(2, &genesis, async |mut nodes| {
        nodes.start_all(1..=4).await;
        // The owner of 3 goes on with the keys 13 on another machine.
        let replaced = nodes.send(1, 3, 0, replacement(3, 13, 3)).await;
        nodes.start(13).await;
        let term = nodes.ledger(1).term(replaced) + 2;
        nodes.reach(begin(nodes.ledger(1), term)).await;
        assert_eq!(seats(nodes.ledger(1), term), [1, 2, 13, 4].map(key).into());
        nodes.kill(3).await;
        // The owner of 4 asks back nearly all of its bond, and has it after its time.
        nodes.send(1, 4, 0, unbondCall { amount: U256::from(BOND - COIN) }).await;
        let paid = nodes.ledger(1).term(nodes.ledger(1).head().height()) + 3;
        nodes.reach(begin(nodes.ledger(1), paid)).await;
        let before = nodes.ledger(1).head().height();
        let height = nodes.send(1, 4, 0, withdrawCall {}).await;
        let balance =
            async |height| nodes.ledger(1).account(account(4), height).await.unwrap().balance;
        let gained = balance(height).await - balance(before).await;
        assert!(gained > U256::from(BOND - 2 * COIN), "{gained}");
        nodes.reach(begin(nodes.ledger(1), paid + 2)).await;
        let terms = [term, term + 1, term + 2].map(|term| proposers(nodes.ledger(1), term));
        assert!(terms.concat_all().contains(&key(13)), "the new keys vote");
        nodes.agree();
    });
}

/// Sets joined.
trait ConcatAll {
    fn concat_all(self) -> BTreeSet<B256>;
}

impl<const N: usize> ConcatAll for [BTreeSet<B256>; N] {
    fn concat_all(self) -> BTreeSet<B256> {
        self.into_iter().flatten().collect()
    }
}

/// Churn, and nodes that crash and come back one by one. Gives all hashes and what the runtime saw.
fn churn(seed: u64) -> (Vec<B256>, String) {
    let genesis = genesis(4, 7, 1);
    run(seed, &genesis, async |mut nodes| {
        nodes.start_all(1..=4).await;
        nodes.join(1, 5).await;
        nodes.start(5).await;
        let mut crashed: Option<u8> = None;
        for (round, victim) in [2, 3, 5, 4, 2, 3].into_iter().enumerate() {
            let head = nodes.ledger(1).head().height();
            block_at(nodes.ledger(1), head + 2 + u64::try_from(round).unwrap()).await;
            if let Some(back) = crashed.take() {
                nodes.start(back).await;
            }
            nodes.kill(victim).await;
            crashed = Some(victim);
            match round {
                1 => drop(nodes.join(1, 6).await),
                2 => drop(nodes.start(6).await),
                3 => drop(nodes.send(1, 1, COIN, bondCall {}).await),
                _ => {}
            }
        }
        nodes.start(3).await;
        let head = nodes.ledger(1).head().height();
        nodes.reach(head + 15).await;
        assert_eq!(seats(nodes.ledger(1), (head + 15) / 7).len(), 6);
        (nodes.agree(), nodes.context.auditor().state())
    })
}

#[test]
fn committees_rotate_while_nodes_crash_and_return() {
    assert_eq!(churn(3), churn(3), "one seed, one trace");
}

#[test]
fn power_cuts_at_any_point_and_exactly_at_boundaries() {
    let genesis = genesis(3, 5, 1);
    let mut disks = Disks::new();
    let mut power: Option<deterministic::Checkpoint> = None;
    let mut known: Vec<B256> = Vec::new();
    // How far beyond the last head each session goes: 4, 9 and 14 are last blocks of their terms, which
    // every node or only the first has when the power fails, 5 is the first block of one.
    for (session, height) in [4, 5, 9, 12, 14, 15, 21, 29].into_iter().enumerate() {
        let runner = power
            .take()
            .map_or_else(|| deterministic::Runner::new(config(4)), deterministic::Runner::from);
        let (genesis, before) = (&genesis, std::mem::take(&mut disks));
        let ((hashes, after), checkpoint) =
            runner.start_and_recover(async move |context: deterministic::Context| {
                let mut nodes = Nodes::new(&context, genesis, before);
                let joined = session > 1;
                nodes.start_all(1..=3 + u8::from(joined)).await;
                if session == 1 {
                    nodes.join(1, 4).await;
                }
                if session % 2 == 0 {
                    nodes.reach(height).await;
                } else {
                    block_at(nodes.ledger(1), height).await;
                }
                (nodes.agree(), nodes.disks())
            });
        let common = known.len().min(hashes.len());
        assert_eq!(hashes[..common], known[..common], "session {session}");
        (known, disks, power) = (hashes, after, Some(checkpoint));
    }
    assert!(known.len() > 25);
}

#[test]
fn two_of_seven_gone_at_a_boundary_stop_nothing() {
    let genesis = genesis(7, 5, 1);
    run(5, &genesis, async |mut nodes| {
        nodes.start_all(1..=7).await;
        nodes.reach(9).await;
        nodes.kill(6).await;
        nodes.kill(7).await;
        nodes.reach(22).await;
        // Two terms later they find the way back, one boundary after the other.
        nodes.start_all([6, 7]).await;
        let head = nodes.ledger(1).head().height();
        nodes.reach(head + 6).await;
        nodes.agree();
    });
}

/// Votes twice in every view of a term with the keys `n`, and says nothing else.
async fn vote_twice(context: &deterministic::Context, n: u8, ledger: &Ledger, others: &[u8]) {
    let namespace = namespace(ledger.genesis_hash());
    let peers: Vec<_> =
        others.iter().map(|n| Peer { key: keys(*n).network_key(), address: address(*n) }).collect();
    let net = crate::network::start(
        context.child("cheat"),
        &keys(n),
        (address(n), &peers),
        NonZeroUsize::new(16).unwrap(),
        &namespace,
    );
    let (mux, mut votes) = Muxer::new(context.child("cheat_mux"), net.terms.0.0, net.terms.0.1);
    mux.start();
    let term = ledger.term(ledger.head().height() + 1);
    let committee = Committee::new(&ledger.committee(term).unwrap().unwrap()).unwrap();
    let scheme =
        Scheme::signer(&namespace, committee.participants(), keys(n).signer().clone()).unwrap();
    let (mut sender, _receiver) = votes.register(term).await.unwrap();
    while ledger.double_votes().borrow().is_empty() {
        let head = ledger.head();
        for view in head.header.view..head.header.view + 20 {
            for payload in [1, 2] {
                let round = Round::new(Term::new(term), View::new(view));
                let proposal = Proposal::new(round, View::zero(), sha256::Digest([payload; 32]));
                let vote: Vote<Scheme, sha256::Digest> =
                    Vote::Notarize(Notarize::sign(&scheme, proposal).unwrap());
                sender.send(Recipients::All, commonware_codec::Encode::encode(&vote), true);
            }
        }
        context.sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn a_double_vote_ends_as_a_conviction() {
    let genesis = genesis(4, 40, 2);
    run(6, &genesis, async |mut nodes| {
        nodes.start_all(1..=3).await;
        nodes.reach(2).await;
        let context = nodes.context;
        vote_twice(context, 4, nodes.ledger(1), &[1, 2, 3]).await;
        let seen = nodes.ledger(1).double_votes().borrow().clone();
        assert_eq!((seen.len(), seen[0].term, seen[0].key), (1, 0, key(4)));
        let accusation = accuseCall {
            first: seen[0].first.clone().into(),
            second: seen[0].second.clone().into(),
        };
        let height = nodes.send(1, 9, 0, accusation).await;
        let call = Call {
            to: Some(VALIDATORS),
            data: keyInfoCall { key: key(4) }.abi_encode().into(),
            ..Call::default()
        };
        let CallOutcome::Returned(data) = nodes.ledger(1).call(call, height).await.unwrap().outcome
        else {
            panic!("no answer")
        };
        let info = keyInfoCall::abi_decode_returns(&data).unwrap();
        assert!(info.convicted && info.retired);
        // It has no seat in the first term that is elected after its conviction.
        nodes.reach(81).await;
        assert_eq!(seats(nodes.ledger(1), 2), [1, 2, 3].map(key).into());
        nodes.agree();
    });
}
