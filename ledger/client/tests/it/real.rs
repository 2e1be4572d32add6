//! The client against the ledger itself: one validator behind its own JSON-RPC.

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use client::{
    Client, Intent, Options, RpcError, SendError, Signer,
    abi::{IDollars, IToken, IValidators},
    address,
    light::{
        Account, Committee, CommitteeError, HEADER_BYTES, Light, LightError, Origin, Seat,
        account_key, slot_key, verify_value,
    },
};
use consensus::{Config, Founding, Genesis, Running, ValidatorKeys};
use contracts::{GenesisConfig, GenesisNetwork, SeatRules};
use protocol::{Epoch, Height, Micros, NetworkId, Ppm, Tokens, clock::EpochClock};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(crate) const CHAIN_ID: u64 = 0xDE91;
const COIN: u128 = 1_000_000_000_000_000_000;
pub(crate) const LOCALHOST: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub(crate) fn signer(n: u8) -> Signer {
    Signer::from_slice(&[n; 32]).unwrap()
}

fn keys(n: u8) -> ValidatorKeys {
    ValidatorKeys::derive(&[n; 32])
}

/// A ledger that began now, whose validator is signer 1 too.
pub(crate) fn genesis(chain_id: u64) -> Genesis {
    genesis_of(chain_id, 1, EpochClock { length: 4, grace: 1 })
}

/// A ledger of several validators, all for signer 1.
pub(crate) fn genesis_of(chain_id: u64, seats: u8, clock: EpochClock) -> Genesis {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let people = || (1..=3).map(|n| signer(n).address());
    Genesis::found(Founding {
        chain_id,
        timestamp_ms: u64::try_from(now).unwrap(),
        term_length: 5,
        validators: (1..=seats).map(|n| keys(n).validator(signer(1).address()).into()).collect(),
        allocations: people().map(|account| (account, U256::from(COIN))).collect(),
        contracts: GenesisConfig {
            clock,
            dispute_epochs: 2,
            validators: Vec::new(),
            seats: SeatRules { bond_min: COIN / 4, ..SeatRules::default() },
            guardian: Address::repeat_byte(0xB0),
            pause_blocks_max: 10,
            breaker_window: 20,
            breaker_share: Ppm::ONE,
            breaker_floor: Micros(0),
            stablecoin: people().map(|account| (account, Micros(5_000_000))).collect(),
            networks: vec![GenesisNetwork {
                founder: signer(1).address(),
                manifest: crate::views::manifest(),
                name: "Test".to_owned(),
                symbol: "TST".to_owned(),
                supply: Tokens::whole(1_000),
            }],
        },
    })
    .unwrap()
}

/// A running ledger and a client of it.
pub(crate) struct World {
    pub(crate) running: Running,
    server: rpc::Server,
    pub(crate) client: Client,
    genesis: Genesis,
}

impl World {
    async fn start(folder: &Path, at: SocketAddr) -> Self {
        Self::begin(folder, at, genesis(CHAIN_ID)).await
    }

    pub(crate) async fn begin(folder: &Path, at: SocketAddr, genesis: Genesis) -> Self {
        let mut config = Config::new(folder.to_owned(), LOCALHOST, keys(1), genesis.clone());
        config.pace = Duration::from_millis(50);
        let running = consensus::start(config).await.unwrap();
        let server = rpc::serve(running.ledger.clone(), at, Default::default()).await.unwrap();
        let client = Client::connect_with(&url(&server), options()).await.unwrap();
        Self { running, server, client, genesis }
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
        self.running.stop().await.unwrap();
    }

    pub(crate) fn url(&self) -> String {
        url(&self.server)
    }

    /// What the genesis file says.
    pub(crate) fn origin(&self) -> Origin {
        Origin::read(&serde_json::to_vec_pretty(&self.genesis).unwrap()).unwrap()
    }

    /// A client that trusts the genesis file and nothing else.
    pub(crate) async fn trusting(&self) -> Client {
        let trust = (&self.origin(), None);
        Client::connect_trusting(&self.url(), options(), trust).await.unwrap()
    }

    async fn light(&self) -> Light {
        self.client.light(&self.origin()).await.unwrap()
    }
}

fn url(server: &rpc::Server) -> String {
    format!("http://{}", server.addr())
}

pub(crate) fn options() -> Options {
    Options { poll: Duration::from_millis(10), ..Options::default() }
}

fn seats() -> Vec<Seat> {
    let validators = serde_json::to_value(genesis(CHAIN_ID).validators).unwrap();
    serde_json::from_value(validators).unwrap()
}

fn quantity(number: u64) -> Value {
    json!(U64::from(number))
}

fn spend(amount: u64) -> (IToken::approveCall, IDollars::depositCall) {
    let amount = U256::from(amount);
    let approve = IToken::approveCall { spender: address::DOLLARS, value: amount };
    (approve, IDollars::depositCall { stable: amount })
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_applied_read_back_and_named_when_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    apply_and_read(&world.client).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_in_this_process_answers_as_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    let client = crate::local::client(world.running.ledger.clone(), options()).await;
    apply_and_read(&client).await;
    world.stop().await;
}

async fn apply_and_read(client: &Client) {
    assert_eq!(client.chain_id(), 0xDE91);
    assert_eq!(client.clock().await.unwrap(), EpochClock { length: 4, grace: 1 });
    assert_eq!(client.networks().await.unwrap(), 1);
    let manifest = client.manifest(NetworkId(1), Epoch(0)).await.unwrap();
    assert_eq!(*manifest, crate::views::manifest());

    let (approve, deposit) = spend(2_000_000);
    let error = client.send(&signer(1), address::DOLLARS, &deposit).await.unwrap_err();
    let revert = error.revert().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(revert.name(), "ERC20InsufficientAllowance");
    let intents =
        vec![Intent::call(address::STABLECOIN, &approve), Intent::call(address::DOLLARS, &deposit)];
    let results = client.send_many(&signer(1), intents).await;
    let receipt = results.into_iter().last().unwrap().unwrap();
    let event: IDollars::Deposited = receipt.event(address::DOLLARS).unwrap();
    assert_eq!((event.account, event.amount), (signer(1).address(), U256::from(2_000_000)));
    let purse = client.purse(NetworkId(1), signer(1).address()).await.unwrap();
    assert_eq!((purse.dollars, purse.tokens), (Micros(2_000_000), Tokens::whole(1_000)));

    let before = Height(receipt.height.0 - 1);
    let balance = IToken::balanceOfCall { account: signer(1).address() };
    let past = client.call_at(address::DOLLARS, balance, before).await.unwrap();
    assert_eq!(past, U256::ZERO);
    assert!(client.roster(NetworkId(1), receipt.height).await.unwrap().is_empty());
    assert!(client.rails(NetworkId(1), receipt.height).await.unwrap().is_empty());
    let error = client.network(NetworkId(9)).await.unwrap_err();
    assert_eq!(error.revert().unwrap().name(), "NoSuchNetwork");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_senders_and_a_restart_in_between_apply_everything_once() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    let at = world.server.addr();
    let client = world.client.clone();
    let target = Address::repeat_byte(0x77);
    let sending: Vec<_> = (1..=3u8)
        .flat_map(|n| (0..8).map(move |_| n))
        .map(|n| {
            let client = client.clone();
            let intent = Intent::transfer(target, U256::from(1));
            tokio::spawn(async move { client.send_intent(&signer(n), intent).await })
        })
        .collect();
    // The first is applied: the others are anywhere between estimate and receipt.
    while client.balance(target).await.unwrap().is_zero() {
        tokio::task::yield_now().await;
    }
    let began = world.genesis.clone();
    world.stop().await;
    let world = World::begin(folder.path(), at, began).await;
    for task in sending {
        task.await.unwrap().unwrap();
    }
    assert_eq!(client.balance(target).await.unwrap(), U256::from(24));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_coin_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    let intent = Intent::transfer(Address::repeat_byte(1), U256::from(1));
    let error = world.client.send_intent(&signer(9), intent).await.unwrap_err();
    assert!(
        matches!(&error, SendError::Funds { account, .. } if *account == signer(9).address()),
        "{error}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_slots_are_proven_from_the_genesis_file_on() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    let client = world.trusting().await;
    assert_eq!(client.trust().unwrap().committee().seats().len(), 1);
    assert_eq!(client.trust().unwrap().genesis_hash(), world.running.ledger.genesis_hash());
    let nobody = Address::repeat_byte(0xEE);
    let intent = Intent::transfer(nobody, U256::from(5));
    let since = client.send_intent(&signer(1), intent).await.unwrap().height;

    let slot = [U256::from(3)];
    let proven = client.proven((nobody, &slot), since).await.unwrap();
    assert!(proven.header.height >= since);
    assert_eq!((proven.account.balance, proven.account.nonce), (U256::from(5), 0));
    assert_eq!(proven.slots, [U256::ZERO], "a slot is proven to be absent");
    assert_eq!(client.balance(nobody).await.unwrap(), U256::from(5));
    let absent = client.proven((Address::repeat_byte(0xEF), &[]), since).await.unwrap();
    assert_eq!(absent.account, Account::default());
    // The slots of a contract prove what `eth_getStorageAt` merely says.
    let slots: Vec<_> = (0..8).map(U256::from).collect();
    let old = client.proven((nobody, &[]), Height(1_000_000)).await.unwrap_err();
    assert!(matches!(old, LightError::Old { since: Height(1_000_000), .. }), "{old}");
    let proven = client.proven((address::NETWORKS, &slots), since).await.unwrap();
    let mut present = 0;
    for (slot, value) in slots.iter().zip(&proven.slots) {
        let params = [json!(address::NETWORKS), json!(slot), quantity(proven.header.height.0)];
        let said: B256 = client.request("eth_getStorageAt", &params).await.unwrap();
        assert_eq!(U256::from_be_bytes(said.0), *value);
        present += u32::from(!value.is_zero());
    }
    assert!(present > 0, "at least one slot holds something");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_certified_across_terms_and_what_is_bent_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    let (client, mut light) = (world.trusting().await, world.light().await);
    client.wait_for(Height(12)).await;
    let header = client.certified_header(Height(12)).await.unwrap();
    assert_eq!((header.height, header.term, header.epoch), (Height(12), 2, Epoch(3)));
    assert_eq!(client.block(Height(12)).await.unwrap().unwrap().hash, header.hash);

    let ask = async |method: &str, field: &str, height: u64| {
        let params = [quantity(height)];
        let answer: Value = client.request(method, &params).await.unwrap();
        serde_json::from_value::<Bytes>(answer[field].clone()).unwrap().to_vec()
    };
    let bytes = ask("wayleave_header", "header", 12).await;
    let certificate = ask("wayleave_finalization", "finalization", 12).await;
    let other = ask("wayleave_finalization", "finalization", 11).await;
    light.certified(&bytes, &certificate).unwrap();
    assert!(matches!(light.certified(&bytes, &other), Err(LightError::Certificate)));
    for at in [9, 140, 600, HEADER_BYTES - 1] {
        let mut bent = bytes.clone();
        bent[at] ^= 1;
        assert!(light.certified(&bent, &certificate).is_err(), "byte {at}");
    }
    for at in 0..certificate.len() {
        let mut bent = certificate.clone();
        bent[at] ^= 1;
        assert!(light.certified(&bytes, &bent).is_err(), "byte {at}");
    }
    let parent = ask("wayleave_header", "header", 11).await;
    assert_eq!(light.parent(&header, &parent).unwrap().hash, header.parent);
    assert!(light.parent(&header, &bytes).is_err());
    // A certificate of 12 covers 10 by way of 11.
    let grand = ask("wayleave_header", "header", 10).await;
    let (first, last) = light.chain(&[&grand, &parent, &bytes], &certificate).unwrap();
    assert_eq!((first.height, last.height), (Height(10), Height(12)));
    assert!(light.chain(&[&grand, &bytes], &certificate).is_err(), "one is left out");

    // Height 12 is in the middle of its term, height 14 at the end.
    let same = || Committee::new(&seats()).unwrap();
    assert_eq!(light.hand_over(&header, same()), Err(LightError::NotLast(Height(12))));
    client.wait_for(Height(14)).await;
    let last = client.certified_header(Height(14)).await.unwrap();
    let mut stranger = seats();
    stranger[0].account = Address::ZERO;
    let stranger = Committee::new(&stranger).unwrap();
    assert!(matches!(light.hand_over(&last, stranger), Err(LightError::WrongCommittee { .. })));
    light.hand_over(&last, same()).unwrap();
    assert_eq!((light.term(), light.height()), (3, Height(14)));
    let older = client.certified_header(Height(9)).await.unwrap();
    assert!(matches!(light.hand_over(&older, same()), Err(LightError::Old { .. })));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genesis_file_names_its_ledger_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    let origin = world.origin();
    assert_eq!(origin.digest, world.genesis.digest());
    let compact = serde_json::to_vec(&world.genesis).unwrap();
    assert_eq!(Origin::read(&compact).unwrap().digest, world.genesis.digest());
    let later = Origin::read(&serde_json::to_vec(&genesis(CHAIN_ID)).unwrap()).unwrap();
    let error = world.client.light(&later).await.unwrap_err();
    assert!(matches!(error, LightError::WrongHeader(_)), "{error}");
    let error = Client::connect_trusting(&world.url(), options(), (&later, None)).await;
    assert!(matches!(error.unwrap_err(), RpcError::Untrue { .. }));
    let other = Origin::read(&serde_json::to_vec(&genesis(7)).unwrap()).unwrap();
    let error = Client::connect_trusting(&world.url(), options(), (&other, None)).await;
    assert!(matches!(error.unwrap_err(), RpcError::Chain { expected: 7, .. }));

    // What was seen is gone on with.
    let client = world.trusting().await;
    client.wait_for(Height(3)).await;
    let seen = client.trust().unwrap();
    assert!(seen.height() >= Height(3));
    let kept = seen.to_bytes();
    let again = Light::resume(&origin, &kept).unwrap();
    assert_eq!((again.height(), again.to_bytes()), (seen.height(), kept.clone()));
    let trust = (&origin, Some(kept.as_slice()));
    let client = Client::connect_trusting(&world.url(), options(), trust).await.unwrap();
    let height = client.wait_for(Height(4)).await;
    client.certified_header(height).await.unwrap();
    assert!(matches!(Light::resume(&later, &kept), Err(LightError::Kept(_))));
    assert!(matches!(Light::resume(&origin, b"{}"), Err(LightError::Kept(_))));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bent_proof_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    let client = world.trusting().await;
    let account = signer(1).address();
    for (key, params) in [
        (account_key(account), vec![json!(account)]),
        (slot_key(account, U256::ZERO), vec![json!(account), json!([U256::ZERO])]),
    ] {
        let answer: Value = client.request("wayleave_proof", &params).await.unwrap();
        let entry = if params.len() == 1 { &answer["account"] } else { &answer["slots"][0] };
        let proof: Bytes = serde_json::from_value(entry["proof"].clone()).unwrap();
        let height: U64 = serde_json::from_value(answer["height"].clone()).unwrap();
        let height = Height(height.to());
        client.wait_for(height).await;
        let header = client.certified_header(height).await.unwrap();
        let root = header.state_root;
        verify_value(root, key, &proof).unwrap();
        assert!(verify_value(B256::ZERO, key, &proof).is_err());
        assert!(verify_value(root, account_key(Address::repeat_byte(0x55)), &proof).is_err());
        for at in 0..proof.len() {
            let mut bent = proof.to_vec();
            bent[at] ^= 1;
            assert!(verify_value(root, key, &bent).is_err(), "byte {at}");
            assert!(verify_value(root, key, &proof[..at]).is_err(), "cut at {at}");
        }
    }
    world.stop().await;
}

/// Four ports that are free now.
fn ports() -> Vec<SocketAddr> {
    let open: Vec<_> = (0..4).map(|_| std::net::TcpListener::bind(LOCALHOST).unwrap()).collect();
    open.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_three_of_four_validators_certify_is_proven_in_any_term() {
    let folder = tempfile::tempdir().unwrap();
    let (genesis, ports) = (genesis_of(CHAIN_ID, 4, EpochClock { length: 4, grace: 1 }), ports());
    let peer = |n: usize| consensus::Peer {
        key: keys(u8::try_from(n).unwrap() + 1).network_key(),
        address: ports[n],
    };
    // The fourth is away, so that every certificate is by three and some terms change their leaders.
    let mut validators = Vec::new();
    for (n, listen) in ports.iter().copied().enumerate().take(3) {
        let (data, own) = (folder.path().join(n.to_string()), keys(u8::try_from(n).unwrap() + 1));
        let mut config = Config::new(data, listen, own, genesis.clone());
        config.pace = Duration::from_millis(50);
        config.peers = (0..4).filter(|other| *other != n).map(peer).collect();
        validators.push(consensus::start(config).await.unwrap());
    }
    let ledger = validators[0].ledger.clone();
    let server = rpc::serve(ledger, LOCALHOST, Default::default()).await.unwrap();
    let origin = Origin::read(&serde_json::to_vec(&genesis).unwrap()).unwrap();
    let trust = (&origin, None);
    let client = Client::connect_trusting(&url(&server), options(), trust).await.unwrap();
    client.wait_for(Height(6)).await;
    assert_eq!(client.certified_header(Height(6)).await.unwrap().term, 1);
    let coin = client.balance(signer(2).address()).await.unwrap();
    assert_eq!(coin, U256::from(COIN));
    let light = client.trust().unwrap();
    assert_eq!((light.committee().seats().len(), light.term() > 0), (4, true));
    server.stop().await;
    for validator in validators {
        validator.stop().await.unwrap();
    }
}

/// The intents with which an owner bonds coin and registers the keys of a seat, reached at `address`.
fn joining(n: u8, address: SocketAddr) -> Vec<Intent> {
    let (owner, seat) = (signer(n).address(), keys(n).validator(signer(n).address()));
    let register = IValidators::registerCall {
        key: seat.key,
        seedKey: seat.seed_key.to_vec().into(),
        possession: seat.possession.to_vec().into(),
        proof: keys(n).proof(CHAIN_ID, owner, owner).to_vec().into(),
        account: owner,
        endpoint: address.to_string(),
    };
    let bond = Intent::call(address::VALIDATORS, &IValidators::bondCall {});
    vec![
        Intent { value: U256::from(COIN / 2), ..bond },
        Intent::call(address::VALIDATORS, &register),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committee_that_the_ledger_elects_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (genesis, ports) = (genesis(CHAIN_ID), ports());
    let mut nodes = Vec::new();
    for n in 0..2u8 {
        let (here, there) = (usize::from(n), usize::from(1 - n));
        let data = folder.path().join(n.to_string());
        let mut config = Config::new(data, ports[here], keys(n + 1), genesis.clone());
        config.pace = Duration::from_millis(50);
        config.peers =
            vec![consensus::Peer { key: keys(2 - n).network_key(), address: ports[there] }];
        nodes.push(consensus::start(config).await.unwrap());
    }
    let server = rpc::serve(nodes[0].ledger.clone(), LOCALHOST, Default::default()).await.unwrap();
    let origin = Origin::read(&serde_json::to_vec(&genesis).unwrap()).unwrap();
    let trust = (&origin, None);
    let client = Client::connect_trusting(&url(&server), options(), trust).await.unwrap();
    let mut joined = Height(0);
    for result in client.send_many(&signer(2), joining(2, ports[1])).await {
        joined = result.unwrap().height;
    }
    // The term after next is the first that the new validator has a seat in.
    let late = Height(joined.0 + 20);
    client.wait_for(late).await;
    client.certified_header(late).await.unwrap();
    let light = client.trust().unwrap();
    assert_eq!(light.committee().seats().len(), 2, "it was handed over to");
    // One that comes now goes the same way.
    let trust = (&origin, None);
    let newcomer = Client::connect_trusting(&url(&server), options(), trust).await.unwrap();
    assert!(newcomer.head().await.unwrap() >= late);
    let digest = newcomer.trust().unwrap().committee().digest();
    assert_eq!(digest, light.committee().digest());
    server.stop().await;
    for node in nodes {
        node.stop().await.unwrap();
    }
}

/// Nodes with keys 1 to 4 that know where all are; the first has a seat.
struct Nodes<'a> {
    folder: &'a Path,
    genesis: Genesis,
    ports: Vec<SocketAddr>,
    running: Vec<(Running, rpc::Server)>,
}

impl<'a> Nodes<'a> {
    fn new(folder: &'a Path) -> Self {
        Self { folder, genesis: genesis(CHAIN_ID), ports: ports(), running: Vec::new() }
    }

    /// Starts the next node and gives where its JSON-RPC is.
    async fn start(&mut self, change: impl FnOnce(&mut Config)) -> String {
        let n = self.running.len();
        let own = |n: usize| keys(u8::try_from(n).unwrap() + 1);
        let data = self.folder.join(n.to_string());
        let mut config = Config::new(data, self.ports[n], own(n), self.genesis.clone());
        config.pace = Duration::from_millis(50);
        let peer = |n| consensus::Peer { key: own(n).network_key(), address: self.ports[n] };
        config.peers = (0..self.ports.len()).filter(|other| *other != n).map(peer).collect();
        change(&mut config);
        let running = consensus::start(config).await.unwrap();
        let ledger = running.ledger.clone();
        let server = rpc::serve(ledger, LOCALHOST, Default::default()).await.unwrap();
        let at = url(&server);
        self.running.push((running, server));
        at
    }

    /// A client that knows nothing but the genesis file.
    async fn client(&self, url: &str) -> Client {
        let most = Duration::from_secs(600);
        let patient = Options { patience: most, confirm: most, age_max: most, ..options() };
        let origin = Origin::read(&serde_json::to_vec(&self.genesis).unwrap()).unwrap();
        Client::connect_trusting(url, patient, (&origin, None)).await.unwrap()
    }

    async fn stop(self) {
        for (node, server) in self.running {
            server.stop().await;
            node.stop().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fetched_its_state_proves_the_committees_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = Nodes::new(folder.path());
    let old = nodes.start(|_| ()).await;
    nodes.start(|_| ()).await;
    let client = nodes.client(&old).await;
    let mut joined = Height(0);
    for result in client.send_many(&signer(2), joining(2, nodes.ports[1])).await {
        joined = result.unwrap().height;
    }
    let late = client.wait_for(Height(joined.0 + 20)).await;
    assert_eq!(client.certified_header(late).await.unwrap().height, late);
    let committee = client.trust().unwrap().committee().digest();

    // Its history begins long after the committee changed, and yet a newcomer walks there over it alone.
    let fetch = |config: &mut Config| {
        config.role = consensus::Role::Observer;
        config.replay_blocks = 0;
    };
    let young = nodes.start(fetch).await;
    let first = nodes.running[2].0.ledger.first().unwrap();
    assert!(first > late.0, "it replayed from {first} on");
    let newcomer = nodes.client(&young).await;
    let head = newcomer.wait_for(Height(first + 2)).await;
    newcomer.certified_header(head).await.unwrap();
    assert_eq!(newcomer.trust().unwrap().committee().digest(), committee);
    assert_eq!(newcomer.certified_header(Height(4)).await.unwrap().term, 0, "the end of a term");
    let coin = newcomer.balance(signer(3).address()).await.unwrap();
    assert_eq!(coin, U256::from(COIN));
    // Other blocks from before it are for those to show who have them.
    let error = newcomer.certified_header(Height(6)).await.unwrap_err().to_string();
    assert!(error.contains("before this node's first height"), "{error}");
    assert!(error.contains("ask an archive"), "{error}");

    // One that was told where to begin knows no committee before.
    let hash = nodes.running[0].0.ledger.header(late.0).unwrap().unwrap().digest();
    let trust = Some(consensus::Trusted { height: late.0, hash });
    let told = nodes
        .start(|config| {
            fetch(config);
            config.trust = trust;
        })
        .await;
    let error = nodes.client(&told).await.head().await.unwrap_err().to_string();
    assert!(error.contains("ask an archive"), "{error}");
    nodes.stop().await;
}

#[test]
fn bad_committees_are_refused() {
    assert_eq!(Committee::new(&[]).unwrap_err(), CommitteeError::Size(0));
    let seat = seats()[0];
    assert_eq!(Committee::new(&[seat, seat]).unwrap_err(), CommitteeError::Key(seat.key));
}
