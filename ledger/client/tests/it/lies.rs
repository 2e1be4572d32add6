//! A stranger's endpoint in front of a real ledger, which lies in one way at a time. Each lie is caught, and
//! by its name.

use crate::real::{CHAIN_ID, LOCALHOST, World, genesis, genesis_of, options, signer};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use client::{
    CallError, Client, Intent, Options, RpcError, SendError,
    abi::{IDevices, ISettlements, IToken, Outcome},
    address,
    light::LightError,
};
use contracts::abi::Totals;
use jsonrpsee::{
    RpcModule,
    server::{Server, ServerHandle},
    types::ErrorObjectOwned,
};
use protocol::{
    DeviceId, Epoch, Height, Micros, NetworkId, Tokens,
    clock::EpochClock,
    key::{DeviceSecret, registration_message},
    leaf::Leaf,
    merkle::Tree,
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const NETWORK: NetworkId = NetworkId(1);
/// A round of votes lasts twice the grace, and a slow machine has to keep up with it.
const CLOCK: EpochClock = EpochClock { length: 16, grace: 16 };

const METHODS: [&str; 17] = [
    "eth_blockNumber",
    "eth_call",
    "eth_chainId",
    "eth_estimateGas",
    "eth_gasPrice",
    "eth_getBalance",
    "eth_getBlockByNumber",
    "eth_getTransactionCount",
    "eth_getTransactionReceipt",
    "eth_maxPriorityFeePerGas",
    "eth_sendRawTransaction",
    "wayleave_certified",
    "wayleave_committee",
    "wayleave_header",
    "wayleave_proof",
    "wayleave_proven",
    "wayleave_receipt",
];

/// Bends an answer of a method, or refuses instead.
type Lie = Box<dyn FnMut(&'static str, &mut Value) -> Result<(), ErrorObjectOwned> + Send>;

/// An endpoint that asks an honest one and lies.
struct Liar {
    url: String,
    lie: Arc<Mutex<Lie>>,
    _server: ServerHandle,
}

impl Liar {
    async fn before(honest: &Client) -> Self {
        let lie: Arc<Mutex<Lie>> = Arc::new(Mutex::new(Box::new(|_, _| Ok(()))));
        let mut module = RpcModule::new((honest.clone(), lie.clone()));
        for name in METHODS {
            module
                .register_async_method(name, move |params, context, _| async move {
                    let (honest, lie) = &*context;
                    let params: Vec<Value> = params.parse().unwrap_or_default();
                    let answer = honest.request::<Value>(name, &params).await;
                    let mut answer = answer.map_err(refusal)?;
                    lie.lock().unwrap()(name, &mut answer)?;
                    Ok::<_, ErrorObjectOwned>(answer)
                })
                .unwrap();
        }
        let server = Server::builder()
            .set_config(
                jsonrpsee::server::ServerConfig::builder().max_response_body_size(1 << 25).build(),
            )
            .build("127.0.0.1:0")
            .await
            .unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        Self { url, lie, _server: server.start(module) }
    }

    /// From now on `lie` bends what `method` answers.
    fn about(&self, method: &'static str, mut lie: impl FnMut(&mut Value) + Send + 'static) {
        *self.lie.lock().unwrap() = Box::new(move |name, answer| {
            if name == method {
                lie(answer);
            }
            Ok(())
        });
    }

    /// From now on `method` does what it is asked to and claims the contrary.
    fn denying(&self, method: &'static str, kind: &'static str) {
        *self.lie.lock().unwrap() = Box::new(move |name, _| {
            let data = Some(json!({ "kind": kind }));
            let refusal = ErrorObjectOwned::owned(-32000, "nonce too low", data);
            if name == method { Err(refusal) } else { Ok(()) }
        });
    }

    fn honest(&self) {
        *self.lie.lock().unwrap() = Box::new(|_, _| Ok(()));
    }

    /// A client that trusts a ledger's genesis, and not this endpoint.
    async fn client(&self, world: &World, options: Options) -> Client {
        self.honest();
        let trust = (&world.origin(), None);
        Client::connect_trusting(&self.url, options, trust).await.unwrap()
    }
}

fn refusal(error: RpcError) -> ErrorObjectOwned {
    match error {
        RpcError::Refused { code, message, data, .. } => {
            ErrorObjectOwned::owned(code, message, data)
        }
        error => ErrorObjectOwned::owned(-32603, error.to_string(), None::<()>),
    }
}

/// Flips a bit of a text of hexadecimal digits; counted from the end if negative.
fn flip(text: &mut Value, at: isize) {
    let mut bytes: Vec<u8> = serde_json::from_value::<Bytes>(text.clone()).unwrap().to_vec();
    let length = isize::try_from(bytes.len()).unwrap();
    let at = usize::try_from(at.rem_euclid(length)).unwrap();
    bytes[at] ^= 1;
    *text = json!(Bytes::from(bytes));
}

/// Why an endpoint was not believed.
fn doubt<T: std::fmt::Debug>(result: Result<T, CallError>) -> LightError {
    match result {
        Err(CallError::Rpc(RpcError::Untrue { why, .. })) => *why,
        other => panic!("believed, or refused for another reason: {other:?}"),
    }
}

/// Fails at the first answer that cannot be believed. A transaction still has minutes to come into a block:
/// the machine may be slow.
fn no_patience() -> Options {
    Options { patience: Duration::ZERO, confirm: Duration::from_secs(600), ..options() }
}

/// A ledger with a device and a final epoch.
struct Scene {
    world: World,
    liar: Liar,
    client: Client,
    device: DeviceId,
    leaves: [Leaf; 2],
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::begin(folder.path(), LOCALHOST, genesis_of(CHAIN_ID, 1, CLOCK)).await;
        let device = register(&world.client, 0).await;
        let leaf = |n| Leaf { account: signer(n).address(), network: NETWORK, ..Leaf::default() };
        let leaves = [leaf(1), leaf(2)];
        settle(&world.client, &leaves).await;
        let liar = Liar::before(&world.client).await;
        let client = liar.client(&world, no_patience()).await;
        Self { world, liar, client, device, leaves, _folder: folder }
    }

    async fn close(self) {
        self.world.stop().await;
    }

    async fn owner(&self) -> Result<Address, CallError> {
        self.client.device(self.device).await.map(|record| record.owner)
    }
}

fn secret(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed([n + 1; 32])
}

async fn register(client: &Client, n: u8) -> DeviceId {
    let (owner, key) = (signer(1), secret(n).key());
    let message = registration_message(client.chain_id(), NETWORK, owner.address());
    let call = IDevices::registerCall {
        network: NETWORK.0,
        kind: 1,
        alg: key.algorithm(),
        x: key.x().into(),
        y: key.y().into(),
        capacity: 1 << 30,
        cell: 0,
        offer: Vec::new().into(),
        proof: secret(n).sign(&message).to_vec().into(),
    };
    client.send(&owner, address::DEVICES, &call).await.unwrap();
    key.id()
}

/// Makes epoch 0 final with these leaves, of which none is worth anything.
async fn settle(client: &Client, leaves: &[Leaf]) {
    let (network, epoch) = (NETWORK.0, 0);
    let inputs = B256::repeat_byte(5);
    let announce = ISettlements::announceCall { network, epoch, inputs };
    client.send(&signer(1), address::SETTLEMENTS, &announce).await.unwrap();
    let end = client.clock().await.unwrap().grace_end(Epoch(0));
    client.wait_for(Height(end.0 + 2)).await;
    let root = Tree::new(leaves.iter().map(Leaf::hash).collect()).root();
    let outcome =
        Outcome { inputs, statement: B256::repeat_byte(6), root, totals: Totals::default() };
    let (salt, validator) = (B256::repeat_byte(7), signer(1).address());
    while client.root(NETWORK, Epoch(0)).await.unwrap().is_none() {
        let ask = ISettlements::roundOfCall { network, epoch };
        let round = client.call(address::SETTLEMENTS, ask).await.unwrap().number;
        let (outcome, of) = (outcome.clone(), outcome.clone());
        let ask =
            ISettlements::ballotHashCall { network, epoch, round, validator, outcome: of, salt };
        let ballot = client.call(address::SETTLEMENTS, ask).await.unwrap();
        let commit = ISettlements::commitCall { network, epoch, round, ballot };
        let committed = client.send(&signer(1), address::SETTLEMENTS, &commit).await.unwrap();
        client.wait_for(Height(committed.height.0 + 1)).await;
        let reveal = ISettlements::revealCall { network, epoch, outcome, salt };
        match client.send(&signer(1), address::SETTLEMENTS, &reveal).await {
            Ok(revealed) => {
                client.wait_for(revealed.height).await;
            }
            // The round was over before: another one begins.
            Err(error) => assert_eq!(error.revert().unwrap().name(), "NotRevealing"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_true_is_believed() {
    let scene = Scene::open().await;
    let (client, honest) = (&scene.client, &scene.world.client);
    let account = signer(1).address();
    assert_eq!(scene.owner().await.unwrap(), account);
    let purse = honest.purse(NETWORK, account).await.unwrap();
    assert_eq!(client.purse(NETWORK, account).await.unwrap(), purse);
    assert_eq!(client.clock().await.unwrap(), honest.clock().await.unwrap());
    let manifest = client.manifest(NETWORK, Epoch(0)).await.unwrap();
    assert_eq!(manifest, honest.manifest(NETWORK, Epoch(0)).await.unwrap());
    let root = honest.root(NETWORK, Epoch(0)).await.unwrap();
    assert!(root.is_some());
    assert_eq!(client.root(NETWORK, Epoch(0)).await.unwrap(), root);
    assert_eq!(client.root(NETWORK, Epoch(1)).await.unwrap(), None);
    assert_eq!(client.final_epoch(NETWORK).await.unwrap(), Some(Epoch(0)));
    assert_eq!(
        client.inputs_hash(NETWORK, Epoch(0)).await.unwrap(),
        Some(B256::repeat_byte(5).into())
    );
    let height = client.head().await.unwrap();
    let roster = client.roster(NETWORK, height).await.unwrap();
    assert_eq!(roster, honest.roster(NETWORK, height).await.unwrap());
    assert_eq!(roster.len(), 1);
    assert!(client.rails(NETWORK, height).await.unwrap().is_empty());
    // A revert is proven as well.
    let error = client.network(NetworkId(9)).await.unwrap_err();
    assert_eq!(error.revert().unwrap().name(), "NoSuchNetwork");
    let code = Address::repeat_byte(0xC0);
    let foreign = client.call(code, IToken::nameCall {}).await.unwrap_err();
    assert!(matches!(foreign, CallError::Rpc(RpcError::Refused { .. })), "{foreign}");

    let tree = Tree::new(scene.leaves.iter().map(Leaf::hash).collect());
    let leaf = scene.leaves[0];
    let proof = tree.proof(leaf.hash()).unwrap();
    let at = (NETWORK, Epoch(0));
    client.proven_leaf(at, &leaf, &proof).await.unwrap();
    let richer = Leaf { spent: Micros(1), ..leaf };
    assert_eq!(client.proven_leaf(at, &richer, &proof).await, Err(LightError::Leaf));
    let other = (NETWORK, Epoch(1));
    assert_eq!(client.proven_leaf(other, &leaf, &proof).await, Err(LightError::Leaf));
    let untrusting = honest.proven_leaf(at, &leaf, &proof).await;
    assert_eq!(untrusting, Err(LightError::Untrusting));
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_balance() {
    let scene = Scene::open().await;
    // What the old method says no longer matters.
    scene.liar.about("eth_getBalance", |answer| *answer = json!(U256::MAX));
    let honest = scene.world.client.balance(signer(2).address()).await.unwrap();
    assert_eq!(scene.client.balance(signer(2).address()).await.unwrap(), honest);
    // First byte of the value: a balance in 32 bytes, big-endian.
    scene.liar.about("wayleave_proven", |answer| flip(&mut answer["accounts"][0]["proof"], 1));
    let error = scene.client.balance(signer(2).address()).await.map_err(CallError::from);
    assert_eq!(doubt(error), LightError::Proof);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_owner_of_a_device() {
    let scene = Scene::open().await;
    let slots = Arc::new(Mutex::new(0));
    let count = slots.clone();
    scene.liar.about("wayleave_proven", move |answer| {
        *count.lock().unwrap() = answer["slots"].as_array().unwrap().len();
    });
    scene.owner().await.unwrap();
    let slots = *slots.lock().unwrap();
    assert!(slots > 3);
    for slot in 0..slots {
        // The low byte of whatever the slot holds, the owner in one of them.
        scene.liar.about("wayleave_proven", move |answer| {
            let proof = &mut answer["slots"][slot]["proof"];
            let at = if proof.as_str().unwrap().starts_with("0x01") { 32 } else { -1 };
            flip(proof, at);
        });
        assert_eq!(doubt(scene.owner().await), LightError::Proof, "slot {slot}");
    }
    scene.liar.about("eth_call", |answer| *answer = json!("0x00"));
    assert_eq!(scene.owner().await.unwrap(), signer(1).address());
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_root_of_an_epoch() {
    let scene = Scene::open().await;
    scene.liar.about("wayleave_proven", |answer| {
        for slot in answer["slots"].as_array_mut().unwrap() {
            if slot["proof"].as_str().unwrap().starts_with("0x01") {
                flip(&mut slot["proof"], 5);
            }
        }
    });
    assert_eq!(doubt(scene.client.root(NETWORK, Epoch(0)).await), LightError::Proof);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_of_another_key() {
    let scene = Scene::open().await;
    scene.liar.about("wayleave_proven", |answer| {
        let other = answer["slots"][1]["proof"].clone();
        answer["slots"][0]["proof"] = other;
    });
    assert_eq!(doubt(scene.owner().await), LightError::Proof);
    // And keys exchanged with their proofs, so that every proof holds for some other contract.
    scene.liar.about("wayleave_proven", |answer| {
        for slot in answer["slots"].as_array_mut().unwrap() {
            slot["contract"] = json!(address::RAILS);
        }
    });
    assert_eq!(doubt(scene.owner().await), LightError::Proof);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_omitted_slot_or_account() {
    let scene = Scene::open().await;
    scene.liar.about("wayleave_proven", |answer| {
        answer["slots"].as_array_mut().unwrap().pop();
    });
    let error = doubt(scene.owner().await);
    assert!(matches!(error, LightError::WithheldSlot { .. }), "{error}");
    scene.liar.about("wayleave_proven", |answer| answer["accounts"] = json!([]));
    let account = signer(1).address();
    let error = doubt(scene.client.balance(account).await.map_err(CallError::from));
    assert_eq!(error, LightError::WithheldAccount(account));
    // More than anybody can have asked for.
    scene.liar.about("wayleave_proven", |answer| {
        answer["slots"] = json!(vec![answer["slots"][0].clone(); 9_000]);
    });
    assert_eq!(doubt(scene.owner().await), LightError::Excess(9_000));
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_absent_claimed_present_and_the_present_absent() {
    let scene = Scene::open().await;
    // A proof of presence, and one of absence, from two true answers.
    let kept: Arc<Mutex<[Value; 2]>> = Arc::default();
    let keep = kept.clone();
    scene.liar.about("wayleave_proven", move |answer| {
        for slot in answer["slots"].as_array().unwrap() {
            let present = slot["proof"].as_str().unwrap().starts_with("0x01");
            keep.lock().unwrap()[usize::from(present)] = slot["proof"].clone();
        }
    });
    scene.owner().await.unwrap();
    let nobody = Address::repeat_byte(0xEE);
    assert_eq!(scene.client.purse(NETWORK, nobody).await.unwrap().tokens, Tokens(0));
    let [absent, present] = kept.lock().unwrap().clone();
    assert!(absent.is_string() && present.is_string());
    for of_present in [false, true] {
        let other = if of_present { absent.clone() } else { present.clone() };
        scene.liar.about("wayleave_proven", move |answer| {
            for slot in answer["slots"].as_array_mut().unwrap() {
                if slot["proof"].as_str().unwrap().starts_with("0x01") == of_present {
                    slot["proof"] = other.clone();
                }
            }
        });
        let error = match of_present {
            true => doubt(scene.owner().await),
            false => doubt(scene.client.purse(NETWORK, nobody).await),
        };
        assert_eq!(error, LightError::Proof);
    }
    // The first byte alone says which of the two a proof is.
    scene.liar.about("wayleave_proven", |answer| flip(&mut answer["slots"][0]["proof"], 0));
    assert_eq!(doubt(scene.owner().await), LightError::Proof);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_head() {
    let scene = Scene::open().await;
    let client = &scene.client;
    // The answer of one moment for ever.
    let first: Arc<Mutex<Option<Value>>> = Arc::default();
    let frozen = first.clone();
    scene.liar.about("wayleave_proven", move |answer| {
        *answer = frozen.lock().unwrap().get_or_insert_with(|| answer.clone()).clone();
    });
    scene.owner().await.unwrap();
    let seen = client.trust().unwrap().height();
    let later = client.wait_for(Height(seen.0 + 3)).await;
    let error = doubt(scene.owner().await);
    assert_eq!(error, LightError::Old { height: seen, since: later });
    // A head that goes back is not followed.
    scene.liar.about("eth_blockNumber", |answer| *answer = json!(U64::from(2)));
    assert!(client.head().await.unwrap() >= later);
    // A client that has seen nothing yet notices by the clock.
    let strict = Options { age_max: Duration::ZERO, ..no_patience() };
    let newcomer = scene.liar.client(&scene.world, strict).await;
    let error = doubt(newcomer.device(scene.device).await);
    assert!(matches!(error, LightError::Stale { .. }), "{error}");
    let error = doubt(newcomer.head().await.map_err(CallError::from));
    assert!(matches!(error, LightError::Stale { .. }), "{error}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_of_another_chain() {
    let scene = Scene::open().await;
    let folder = tempfile::tempdir().unwrap();
    // The same validator's other ledgers: one of another id, one of the same that began at another time.
    for (chain_id, name) in [(CHAIN_ID + 1, "another chain"), (CHAIN_ID, "another genesis")] {
        let at = folder.path().join(name);
        std::fs::create_dir(&at).unwrap();
        let other = World::begin(&at, LOCALHOST, genesis(chain_id)).await;
        let height = scene.client.head().await.unwrap();
        other.client.wait_for(height).await;
        let params = [json!([]), json!([])];
        let theirs: Value = other.client.request("wayleave_proven", &params).await.unwrap();
        scene.liar.about("wayleave_proven", move |answer| {
            answer["headers"] = theirs["headers"].clone();
            answer["certificate"] = theirs["certificate"].clone();
        });
        let error = doubt(scene.owner().await);
        match chain_id == CHAIN_ID {
            true => assert_eq!(error, LightError::Certificate, "{name}"),
            false => assert!(matches!(error, LightError::WrongHeader(_)), "{name}: {error}"),
        }
        scene.liar.honest();
        other.stop().await;
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_certificate() {
    let scene = Scene::open().await;
    for at in [-1, -40, 0, 20] {
        scene.liar.about("wayleave_proven", move |answer| flip(&mut answer["certificate"], at));
        assert_eq!(doubt(scene.owner().await), LightError::Certificate, "byte {at}");
    }
    // A true certificate of another header, and none.
    scene.liar.about("wayleave_proven", |answer| flip(&mut answer["headers"][0], 140));
    assert_eq!(doubt(scene.owner().await), LightError::Certificate);
    scene.liar.about("wayleave_proven", |answer| answer["headers"] = json!([]));
    assert!(matches!(doubt(scene.owner().await), LightError::WrongHeader(_)));
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_receipt() {
    let scene = Scene::open().await;
    let client = &scene.client;
    let transfer = || Intent::transfer(Address::repeat_byte(0xEE), U256::from(1));
    let call = IToken::approveCall { spender: signer(2).address(), value: U256::from(7) };
    let token = address::token(NETWORK);
    let receipt = client.send(&signer(1), token, &call).await.unwrap();
    let honest = scene.world.client.proven_receipt(receipt.transaction).await;
    assert_eq!(honest, Err(LightError::Untrusting));
    let proven = client.proven_receipt(receipt.transaction).await.unwrap().unwrap();
    assert!(proven.succeeded);
    assert_eq!(proven.receipt, receipt);
    let event: IToken::Approval =
        client.proven_event(receipt.transaction, token).await.unwrap().unwrap();
    assert_eq!((event.spender, event.value), (signer(2).address(), U256::from(7)));
    let other = client.send_intent(&signer(1), transfer()).await.unwrap().transaction;

    let refused = async |hash: B256| match client.proven_receipt(hash).await {
        Err(LightError::Receipt(why)) => why,
        other => panic!("{other:?}"),
    };
    // Its status, and its log: the amount is at the end of the receipt.
    for at in [5, 6, -1] {
        scene
            .liar
            .about("wayleave_receipt", move |answer| flip(&mut answer["receipt"]["bytes"], at));
        assert_eq!(refused(receipt.transaction).await, "it does not lead to the root");
    }
    // That of another transaction.
    let theirs: Value =
        scene.world.client.request("wayleave_receipt", &[json!(other)]).await.unwrap();
    let kept = theirs.clone();
    scene.liar.about("wayleave_receipt", move |answer| *answer = kept.clone());
    assert_eq!(refused(receipt.transaction).await, "it is of another transaction");
    scene.liar.about("wayleave_receipt", move |answer| {
        answer["receipt"] = theirs["receipt"].clone();
    });
    assert_eq!(refused(receipt.transaction).await, "it does not lead to the root");
    scene.liar.about("wayleave_receipt", |answer| answer["index"] = json!("0x1"));
    assert_eq!(refused(receipt.transaction).await, "it does not lead to the root");

    // Sending believes no receipt either: a transaction shown as reverted, or applied and not proven.
    scene.liar.about("eth_getTransactionReceipt", |answer| {
        if answer.is_object() {
            answer["status"] = json!("0x0");
        }
    });
    client.send_intent(&signer(1), transfer()).await.unwrap();
    scene.liar.about("wayleave_receipt", |answer| *answer = Value::Null);
    let error = client.send_intent(&signer(1), transfer()).await.unwrap_err();
    assert!(
        matches!(&error, SendError::Unconfirmed { why, .. } if why.contains("not prove")),
        "{error}"
    );
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_claimed_to_be_used_up() {
    let scene = Scene::open().await;
    // The same endpoint by a name that does not say it is on this machine.
    let url = scene.liar.url.replace("127.0.0.1", "0.0.0.0");
    let trust = (&scene.world.origin(), None);
    let client = Client::connect_trusting(&url, no_patience(), trust).await.unwrap();
    let nobody = Address::repeat_byte(0xEE);
    scene.liar.denying("eth_sendRawTransaction", "stale");
    let intent = Intent::transfer(nobody, U256::from(1));
    let SendError::Unconfirmed { raw, .. } =
        client.send_intent(&signer(3), intent.clone()).await.unwrap_err()
    else {
        panic!("it was signed again, or believed to be lost")
    };
    scene.liar.honest();
    client.resume(&raw).await.unwrap();
    assert_eq!(client.balance(nobody).await.unwrap(), U256::from(1), "it was applied once");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_flipped_bit_is_refused_or_changes_nothing() {
    let scene = Scene::open().await;
    let frozen: Arc<Mutex<Option<Value>>> = Arc::default();
    let keep = frozen.clone();
    scene.liar.about("wayleave_proven", move |answer| *keep.lock().unwrap() = Some(answer.clone()));
    let truth = scene.owner().await.unwrap();
    let answer = frozen.lock().unwrap().clone().unwrap();
    let texts = texts(&answer, &mut Vec::new());
    let mut refused = 0;
    for path in &texts {
        let digits = answer.pointer(path).unwrap().as_str().unwrap().len() - 2;
        for at in (0..digits * 4).step_by(97) {
            let (mut bent, path) = (answer.clone(), path.clone());
            let text = bent.pointer_mut(&path).unwrap();
            *text = json!(flipped(text.as_str().unwrap(), at));
            scene.liar.about("wayleave_proven", move |answer| *answer = bent.clone());
            // One that has seen nothing, so that an old answer is no reason.
            let trust = (&scene.world.origin(), None);
            let client =
                Client::connect_trusting(&scene.liar.url, no_patience(), trust).await.unwrap();
            match client.device(scene.device).await {
                Ok(record) => assert_eq!(record.owner, truth, "{path} bit {at}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100, "{refused}");
    scene.close().await;
}

/// The paths of all texts in an answer.
fn texts(value: &Value, path: &mut Vec<String>) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::String(_) => return vec![format!("/{}", path.join("/"))],
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect()
        }
        Value::Object(members) => members.iter().map(|(name, item)| (name.clone(), item)).collect(),
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for (name, child) in children {
        path.push(name);
        found.extend(texts(child, path));
        path.pop();
    }
    found
}

/// A text of hexadecimal digits with one bit of its digits flipped.
fn flipped(text: &str, bit: usize) -> String {
    let mut digits: Vec<char> = text.chars().collect();
    let at = 2 + bit / 4;
    let digit = digits[at].to_digit(16).unwrap() ^ (1 << (bit % 4));
    digits[at] = char::from_digit(digit, 16).unwrap();
    digits.into_iter().collect()
}

/// Prints what proven views cost: `cargo test -p client measured -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn measured() {
    let scene = Scene::open().await;
    for n in 1..100 {
        let client = scene.world.client.clone();
        register(&client, n).await;
    }
    let bytes = Arc::new(Mutex::new((0, 0, 0)));
    let sum = bytes.clone();
    scene.liar.about("wayleave_proven", move |answer| {
        let mut sum = sum.lock().unwrap();
        sum.0 += 1;
        sum.1 += answer["slots"].as_array().unwrap().len();
        sum.2 += answer.to_string().len();
    });
    let report = |what: &str, took: Duration| {
        let (answers, slots, text) = std::mem::take(&mut *bytes.lock().unwrap());
        println!("{what}: {answers} answers, {slots} slots, {text} bytes of JSON, {took:?}");
        slots
    };
    let start = std::time::Instant::now();
    scene.owner().await.unwrap();
    assert!(report("a device", start.elapsed()) > 0);
    let start = std::time::Instant::now();
    scene.client.purse(NETWORK, signer(1).address()).await.unwrap();
    report("a purse", start.elapsed());
    let start = std::time::Instant::now();
    let height = scene.client.head().await.unwrap();
    let roster = scene.client.roster(NETWORK, height).await.unwrap();
    report("a roster of 100", start.elapsed());
    assert_eq!(roster.len(), 100);
    scene.close().await;
}
