//! A ledger in a few lines, which tests can make forgetful, slow or dishonest.

use alloy_consensus::{Transaction as _, TxEnvelope, transaction::SignerRecoverable as _};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U64, U128};
use client::{Client, Options};
use jsonrpsee::{
    RpcModule,
    server::{Server, ServerHandle},
    types::{ErrorObjectOwned, Params},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

pub(crate) const CHAIN_ID: u64 = 0xDE91;

/// Answers a call: (to, input, state) gives data, or the data of a revert.
pub(crate) type Contract = dyn Fn(Address, &[u8], &State) -> Result<Vec<u8>, Vec<u8>> + Send + Sync;

/// What the ledger knows.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) height: u64,
    pub(crate) nonces: BTreeMap<Address, u64>,
    pub(crate) pool: BTreeMap<(Address, u64), TxEnvelope>,
    pub(crate) receipts: BTreeMap<B256, Value>,
    /// Applied transactions in order: (sender, nonce, input).
    pub(crate) applied: Vec<(Address, u64, Bytes)>,
    /// How often each method was asked.
    pub(crate) asked: BTreeMap<&'static str, u32>,
    /// Make a block whenever someone looks for a receipt.
    pub(crate) eager: bool,
    /// Forget this many transactions right after taking them.
    pub(crate) forget: u32,
    /// Refuse this many transactions for a full pool.
    pub(crate) full: u32,
    /// Give receipts of reverted transactions their reason.
    pub(crate) reasons: bool,
    /// Applied transactions to this account revert with this data.
    pub(crate) poison: Option<(Address, Vec<u8>)>,
    /// Take this many transactions and lose the answer.
    pub(crate) lose: u32,
    /// Make a block as soon as a transaction is taken.
    pub(crate) mine_at_once: bool,
    /// Show no receipt for this many looks.
    pub(crate) late: u32,
    /// What is said of fees: price and tip of a unit of gas.
    pub(crate) fees: (u128, u128),
    /// The blocks that calls were made on.
    pub(crate) blocks: Vec<String>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("height", &self.height).finish_non_exhaustive()
    }
}

impl State {
    /// Makes a block of everything in the pool that is next in its sender's order.
    pub(crate) fn mine(&mut self) {
        self.height += 1;
        while let Some(key) = self.pool.keys().find(|(from, n)| self.nonce(*from) == *n).copied() {
            let transaction = self.pool.remove(&key).unwrap();
            self.nonces.insert(key.0, key.1 + 1);
            self.apply(key, &transaction);
        }
    }

    /// Another program with the same key uses up the next number.
    pub(crate) fn usurp(&mut self, account: Address) {
        *self.nonces.entry(account).or_default() += 1;
        self.pool.retain(|(from, nonce), _| *from != account || *nonce > 0);
    }

    pub(crate) fn asked(&self, method: &str) -> u32 {
        self.asked.get(method).copied().unwrap_or(0)
    }

    fn nonce(&self, account: Address) -> u64 {
        self.nonces.get(&account).copied().unwrap_or(0)
    }

    fn apply(&mut self, (from, nonce): (Address, u64), transaction: &TxEnvelope) {
        let hash = *transaction.tx_hash();
        let to = transaction.to().unwrap();
        let poison = self.poison.as_ref().filter(|(at, _)| *at == to).map(|(_, data)| data.clone());
        let input = transaction.input().clone();
        let log = json!({
            "address": to, "topics": [B256::repeat_byte(1)], "data": input,
            "blockHash": B256::ZERO, "blockNumber": U64::from(self.height),
            "transactionHash": hash, "transactionIndex": "0x0", "logIndex": "0x0", "removed": false,
        });
        let mut receipt = json!({
            "transactionHash": hash, "blockNumber": U64::from(self.height), "gasUsed": "0x5208",
            "status": if poison.is_some() { "0x0" } else { "0x1" }, "logs": [log],
        });
        if let (Some(data), true) = (&poison, self.reasons) {
            receipt["revertReason"] = json!(Bytes::from(data.clone()));
        }
        self.receipts.insert(hash, receipt);
        self.applied.push((from, nonce, input));
    }

    /// Takes a transaction as go-ethereum would.
    fn take(&mut self, raw: &Bytes) -> Result<Value, ErrorObjectOwned> {
        let transaction = TxEnvelope::decode_2718(&mut raw.as_ref()).unwrap();
        assert_eq!(transaction.chain_id(), Some(CHAIN_ID));
        let from = transaction.recover_signer().unwrap();
        let (nonce, hash) = (transaction.nonce(), *transaction.tx_hash());
        if self.full > 0 {
            self.full -= 1;
            return Err(told("later"));
        }
        if nonce < self.nonce(from) {
            return Err(told("stale"));
        }
        if let Some(known) = self.pool.get(&(from, nonce)) {
            let same = *known.tx_hash() == hash;
            return Err(told(if same { "known" } else { "stale" }));
        }
        if self.forget > 0 {
            self.forget -= 1;
        } else {
            self.pool.insert((from, nonce), transaction);
        }
        if self.mine_at_once {
            self.mine();
        }
        if self.lose > 0 {
            self.lose -= 1;
            return Err(told("stopped"));
        }
        Ok(json!(hash))
    }
}

fn refuse(code: i32, message: &str, data: Option<&[u8]>) -> ErrorObjectOwned {
    let data = data.map(Bytes::copy_from_slice);
    ErrorObjectOwned::owned(code, message, data)
}

/// Refuses as the ledger does: the text is for people.
fn told(kind: &str) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(-32000, "refused", Some(json!({ "kind": kind })))
}

/// A running ledger.
pub(crate) struct Ledger {
    state: Arc<Mutex<State>>,
    contract: Arc<Contract>,
    address: SocketAddr,
    server: Option<ServerHandle>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Starts a ledger whose contracts answer nothing.
    pub(crate) async fn start() -> Self {
        Self::with(|_, _, _| Ok(Vec::new())).await
    }

    /// Starts a ledger with these contracts.
    pub(crate) async fn with(
        contract: impl Fn(Address, &[u8], &State) -> Result<Vec<u8>, Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let mut ledger = Self {
            state: Arc::default(),
            contract: Arc::new(contract),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            server: None,
        };
        ledger.resume().await;
        ledger
    }

    /// Goes away; connections are refused from now on.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().unwrap();
            server.stopped().await;
        }
    }

    /// Comes back at the same address.
    pub(crate) async fn resume(&mut self) {
        let server = Server::builder().build(self.address).await.unwrap();
        self.address = server.local_addr().unwrap();
        self.server = Some(server.start(module(self.state.clone(), self.contract.clone())));
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect_with(&self.url(), options()).await.unwrap()
    }

    /// Waits until `condition` holds.
    pub(crate) async fn until(&self, condition: impl Fn(&State) -> bool) {
        while !condition(&self.state()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Quick polling, long patience.
pub(crate) fn options() -> Options {
    Options { poll: Duration::from_millis(2), ..Options::default() }
}

type Shared = (Arc<Mutex<State>>, Arc<Contract>);

fn module(state: Arc<Mutex<State>>, contract: Arc<Contract>) -> RpcModule<Shared> {
    let mut module = RpcModule::new((state, contract));
    let methods: [(&'static str, Method); 9] = [
        ("eth_chainId", |_, _, _| Ok(json!(U64::from(CHAIN_ID)))),
        ("eth_blockNumber", |_, state, _| Ok(json!(U64::from(state.height)))),
        ("eth_gasPrice", |_, state, _| Ok(json!(U128::from(state.fees.0.max(1_000_000_000))))),
        ("eth_maxPriorityFeePerGas", |_, state, _| Ok(json!(U128::from(state.fees.1.max(1))))),
        ("eth_getTransactionCount", transaction_count),
        ("eth_getTransactionReceipt", receipt),
        ("eth_sendRawTransaction", |params, state, _| {
            state.take(&params.sequence().next().unwrap())
        }),
        ("eth_call", |params, state, contract| call(params, state, contract)),
        ("eth_estimateGas", |params, state, contract| {
            call(params, state, contract).map(|_| json!("0x5208"))
        }),
    ];
    for (name, method) in methods {
        module
            .register_method(name, move |params, (state, contract): &Shared, _| {
                let mut state = state.lock().unwrap();
                *state.asked.entry(name).or_default() += 1;
                method(params, &mut state, contract.as_ref())
            })
            .unwrap();
    }
    module
}

type Method = fn(Params<'_>, &mut State, &Contract) -> Result<Value, ErrorObjectOwned>;

fn transaction_count(
    params: Params<'_>,
    state: &mut State,
    _: &Contract,
) -> Result<Value, ErrorObjectOwned> {
    let mut params = params.sequence();
    let (account, block): (Address, String) = (params.next().unwrap(), params.next().unwrap());
    let mut nonce = state.nonce(account);
    while block == "pending" && state.pool.contains_key(&(account, nonce)) {
        nonce += 1;
    }
    Ok(json!(U64::from(nonce)))
}

fn receipt(params: Params<'_>, state: &mut State, _: &Contract) -> Result<Value, ErrorObjectOwned> {
    if state.eager {
        state.mine();
    }
    let hash: B256 = params.sequence().next().unwrap();
    if state.late > 0 {
        state.late -= 1;
        return Ok(Value::Null);
    }
    Ok(state.receipts.get(&hash).cloned().unwrap_or(Value::Null))
}

fn call(
    params: Params<'_>,
    state: &mut State,
    contract: &Contract,
) -> Result<Value, ErrorObjectOwned> {
    let mut params = params.sequence();
    let call: Value = params.next().unwrap();
    state.blocks.extend(params.optional_next::<String>().unwrap());
    let to: Address = serde_json::from_value(call["to"].clone()).unwrap();
    let input: Bytes = serde_json::from_value(call["input"].clone()).unwrap();
    match contract(to, &input, state) {
        Ok(output) => Ok(json!(Bytes::from(output))),
        Err(data) => Err(refuse(3, "execution reverted", Some(&data))),
    }
}
