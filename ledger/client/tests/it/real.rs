//! The client against the ledger itself: one validator behind its own JSON-RPC.

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use client::{
    Client, Intent, Options, SendError, Signer,
    abi::{IDollars, IToken},
    address,
    light::{
        Account, Committee, CommitteeError, HEADER_BYTES, Light, LightError, Seat, account_key,
        slot_key, verify_value,
    },
};
use consensus::{Config, Founding, Genesis, Running, ValidatorKeys};
use contracts::{GenesisConfig, GenesisNetwork, SeatRules};
use protocol::{Epoch, Height, Micros, NetworkId, Ppm, Tokens, clock::EpochClock};
use serde_json::{Value, json};
use std::{net::SocketAddr, path::Path, time::Duration};

const COIN: u128 = 1_000_000_000_000_000_000;
const LOCALHOST: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn signer(n: u8) -> Signer {
    Signer::from_slice(&[n; 32]).unwrap()
}

fn keys() -> ValidatorKeys {
    ValidatorKeys::derive(&[1; 32])
}

fn genesis() -> Genesis {
    let people = || (1..=3).map(|n| signer(n).address());
    Genesis::found(Founding {
        chain_id: 0xDE91,
        timestamp_ms: 0,
        term_length: 5,
        validators: vec![keys().validator(Address::repeat_byte(0xA0)).into()],
        allocations: people().map(|account| (account, U256::from(COIN))).collect(),
        contracts: GenesisConfig {
            clock: EpochClock { length: 4, grace: 1 },
            dispute_epochs: 2,
            validators: Vec::new(),
            seats: SeatRules::default(),
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
struct World {
    running: Running,
    server: rpc::Server,
    client: Client,
}

impl World {
    async fn start(folder: &Path, at: SocketAddr) -> Self {
        let mut config = Config::new(folder.to_owned(), LOCALHOST, keys(), genesis());
        config.pace = Duration::from_millis(50);
        let running = consensus::start(config).await.unwrap();
        let server = rpc::serve(running.ledger.clone(), at, Default::default()).await.unwrap();
        let options = Options { poll: Duration::from_millis(10), ..Options::default() };
        let url = format!("http://{}", server.addr());
        let client = Client::connect_with(&url, options).await.unwrap();
        Self { running, server, client }
    }

    async fn stop(self) {
        self.server.stop().await;
        self.running.stop().await.unwrap();
    }

    async fn light(&self) -> Light {
        self.client.light(self.running.ledger.genesis_hash(), &seats()).await.unwrap()
    }
}

fn seats() -> Vec<Seat> {
    let validators = serde_json::to_value(genesis().validators).unwrap();
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
    let client = &world.client;
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
    world.stop().await;
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
    world.stop().await;
    let world = World::start(folder.path(), at).await;
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
async fn accounts_and_slots_are_proven_from_the_genesis_hash_on() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    let (client, light) = (&world.client, world.light().await);
    assert_eq!(light.committee().seats(), 1);
    let nobody = Address::repeat_byte(0xEE);
    let intent = Intent::transfer(nobody, U256::from(5));
    let since = client.send_intent(&signer(1), intent).await.unwrap().height;

    let slot = [U256::from(3)];
    let proven = client.proven(&light, (nobody, &slot), since).await.unwrap();
    assert!(proven.header.height >= since);
    assert_eq!((proven.account.balance, proven.account.nonce), (U256::from(5), 0));
    assert_eq!(proven.slots, [U256::ZERO], "a slot is proven to be absent");
    let absent = client.proven(&light, (Address::repeat_byte(0xEF), &[]), since).await.unwrap();
    assert_eq!(absent.account, Account::default());
    // The slots of a contract prove what `eth_getStorageAt` merely says.
    let slots: Vec<_> = (0..8).map(U256::from).collect();
    let old = client.proven(&light, (nobody, &[]), Height(1_000_000)).await.unwrap_err();
    assert!(matches!(old, LightError::Old { since: Height(1_000_000), .. }), "{old}");
    let proven = client.proven(&light, (address::NETWORKS, &slots), since).await.unwrap();
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
    let (client, mut light) = (&world.client, world.light().await);
    let header = client.certified_header(&light, Height(12)).await.unwrap();
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

    let mut stranger = seats();
    stranger[0].account = Address::ZERO;
    let stranger = Committee::new(&stranger).unwrap();
    assert!(matches!(light.hand_over(&header, stranger), Err(LightError::WrongCommittee { .. })));
    light.hand_over(&header, Committee::new(&seats()).unwrap()).unwrap();
    assert!(client.light(B256::ZERO, &seats()).await.is_err(), "another ledger");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bent_proof_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path(), LOCALHOST).await;
    let (client, light) = (&world.client, world.light().await);
    let account = signer(1).address();
    for (key, params) in [
        (account_key(account), vec![json!(account)]),
        (slot_key(account, U256::ZERO), vec![json!(account), json!([U256::ZERO])]),
    ] {
        let answer: Value = client.request("wayleave_proof", &params).await.unwrap();
        let entry = if params.len() == 1 { &answer["account"] } else { &answer["slots"][0] };
        let proof: Bytes = serde_json::from_value(entry["proof"].clone()).unwrap();
        let height: U64 = serde_json::from_value(answer["height"].clone()).unwrap();
        let header = client.certified_header(&light, Height(height.to())).await.unwrap();
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

#[test]
fn bad_committees_are_refused() {
    assert_eq!(Committee::new(&[]).unwrap_err(), CommitteeError::Size(0));
    let seat = seats()[0];
    assert_eq!(Committee::new(&[seat, seat]).unwrap_err(), CommitteeError::Key(seat.key));
}
