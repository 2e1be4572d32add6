//! What anybody asks of a node, and what a node's answers are read from.

use super::{CHAIN, contracts::config};
use crate::{Target, corpus::named};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{Revert as Text, SolError as _};
use client::{
    Revert,
    light::{Light, Origin, receipt::Evidence},
};
use consensus::{Config, Founding, Genesis, Running, ValidatorKeys, trie};
use rpc::{Limits, Local};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::LazyLock, time::Duration};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Methods whose answers wait for the next block, which does not come.
const WAITING: [&str; 3] = ["wayleave_certified", "wayleave_proven", "wayleave_receipt"];
/// How long these are given: they have read their parameters by then.
const SHORT: Duration = Duration::from_millis(20);

/// A ledger of one validator that makes its next block in an hour, and its methods.
struct Node {
    runtime: Runtime,
    local: Local,
    _running: Running,
    _folder: TempDir,
}

static NODE: LazyLock<Node> = LazyLock::new(|| {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let keys = ValidatorKeys::derive(&super::SECRET);
    let genesis = founded(&keys);
    let mut config = Config::new(folder.path().to_owned(), anywhere, keys, genesis);
    config.pace = Duration::from_secs(3_600);
    let running = runtime.block_on(consensus::start(config)).expect("a ledger");
    let local = Local::new(running.ledger.clone(), Limits::default()).expect("methods");
    Node { runtime, local, _running: running, _folder: folder }
});

fn founded(keys: &ValidatorKeys) -> Genesis {
    let account = Address::repeat_byte(0x7a);
    let founding = Founding {
        chain_id: CHAIN,
        timestamp_ms: 1_790_000_000_000,
        term_length: 1_000_000,
        validators: vec![keys.validator(account).into()],
        allocations: [(account, U256::from(u128::MAX))].into(),
        contracts: config(),
    };
    Genesis::found(founding).expect("a genesis")
}

pub(super) const RPC: Target = Target {
    name: "rpc",
    about: "a JSON-RPC request, answered by a ledger that stands at its genesis",
    run: |bytes| {
        let Ok(request) = std::str::from_utf8(bytes) else { return false };
        let node = &*NODE;
        let waits = WAITING.iter().any(|method| request.contains(method));
        let patience = if waits { SHORT } else { PATIENCE };
        let asked = async { tokio::time::timeout(patience, node.local.answer(request)).await };
        let answer = node.runtime.block_on(asked);
        let Ok(Some(answer)) = answer else { return false };
        let answer: Value = serde_json::from_str(&answer).expect("an answer is JSON");
        let error = &answer["error"];
        assert_ne!(error["code"], -32603, "a request is no fault of the node's: {error}");
        error.is_null()
    },
    seeds: || {
        let (token, someone) = (contracts::address::STABLECOIN, Address::repeat_byte(0x7a));
        let supply = "0x18160ddd";
        let call = json!({"to": token, "data": supply, "from": someone, "gas": "0x100000"});
        [
            ("eth_chainId", json!([])),
            ("web3_sha3", json!(["0x0102"])),
            ("eth_getBalance", json!([someone, "latest"])),
            ("eth_getTransactionCount", json!([someone, "pending"])),
            ("eth_getCode", json!([token, {"blockNumber": "0x0"}])),
            ("eth_getStorageAt", json!([token, "0x2", "latest"])),
            ("eth_call", json!([call, "latest"])),
            ("eth_estimateGas", json!([call])),
            ("eth_getBlockByNumber", json!(["earliest", true])),
            ("eth_getBlockReceipts", json!(["0x0"])),
            ("eth_getTransactionReceipt", json!([B256::ZERO])),
            ("eth_getTransactionByBlockNumberAndIndex", json!(["0x0", "0x0"])),
            ("eth_getRawTransactionByHash", json!([B256::ZERO])),
            (
                "eth_getLogs",
                json!([{"fromBlock": "0x0", "address": [token], "topics": [null, [B256::ZERO]]}]),
            ),
            ("eth_feeHistory", json!(["0x4", "latest", [10.0, 50.0]])),
            ("eth_gasPrice", json!([])),
            ("wayleave_ledger", json!([])),
            ("wayleave_header", json!(["latest"])),
            ("wayleave_committee", json!(["0x0"])),
            ("wayleave_proof", json!([token, ["0x2", "0x3"]])),
        ]
        .iter()
        .map(|(method, params)| {
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
                .to_string()
                .into_bytes()
        })
        .collect()
    },
};

/// The genesis file of a devnet.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| named("genesis", "devnet"));
static ORIGIN: LazyLock<Origin> =
    LazyLock::new(|| Origin::read(&FILE).expect("the devnet's genesis file"));

pub(super) const KEPT: Target = Target {
    name: "light-kept",
    about: "what a light client keeps for its next start",
    run: |bytes| {
        let Ok(light) = Light::resume(&ORIGIN, bytes) else { return false };
        let again = light.to_bytes();
        let back = Light::resume(&ORIGIN, &again).expect("what it writes it reads");
        assert_eq!(back.to_bytes(), again);
        true
    },
    seeds: || {
        let file: Value = serde_json::from_slice(&FILE).expect("JSON");
        let hash = B256::repeat_byte(3);
        let kept = json!({
            "version": 1,
            "file": ORIGIN.digest,
            "genesis": hash,
            "committees": [{"term": 0, "seats": file["validators"]}],
            "newest": {"height": 7, "hash": hash, "timeMs": 1_795_000_000_000_u64},
        });
        vec![kept.to_string().into_bytes()]
    },
};

/// The transactions of a block, longer than a node of the trie can hold within its parent.
static ITEMS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| (1..=20).map(|n| vec![n; 40]).collect());

pub(super) const RECEIPTS: Target = Target {
    name: "receipt-proof",
    about: "the proof of a receipt, as endpoints give it to light clients",
    run: |bytes| {
        let Ok(evidence) = serde_json::from_slice::<Evidence>(bytes) else { return false };
        let root = trie::root(&ITEMS);
        let mut holds = false;
        for (index, item) in (0..).zip(&*ITEMS) {
            for given in
                [&evidence.transaction, &evidence.receipt].into_iter().chain(&evidence.before)
            {
                if given.verify(root, index).is_ok() {
                    assert_eq!(given.bytes, *item, "another item is proven");
                    holds = true;
                }
            }
        }
        holds
    },
    seeds: || {
        let item = |index: usize| {
            let proof = trie::prove(&ITEMS, index).expect("it is there");
            json!({"bytes": Bytes::from(ITEMS[index].clone()), "proof": proof})
        };
        let first = json!({"transaction": item(0), "receipt": item(0), "before": null});
        let later = json!({"transaction": item(17), "receipt": item(17), "before": item(16)});
        [first, later].map(|seed| seed.to_string().into_bytes()).to_vec()
    },
};

pub(super) const REVERT: Target = Target {
    name: "revert",
    about: "why a contract refused, by name",
    run: |bytes| {
        let revert = Revert::decode(Bytes::copy_from_slice(bytes));
        assert_eq!(revert.to_string(), revert.detail());
        revert.name() != "Unknown"
    },
    seeds: || {
        use contracts::abi::{
            INetworks::InvalidManifest, IRails::RailEnded, IStakes::InsufficientStake,
        };
        let (stake, needed) = (U256::from(3), U256::from(5));
        vec![
            Vec::new(),
            Text::from("no").abi_encode(),
            RailEnded { rail: 1, end: 2 }.abi_encode(),
            InsufficientStake { device: B256::ZERO, stake, needed }.abi_encode(),
            InvalidManifest { reason: "a split above one".to_owned() }.abi_encode(),
        ]
    },
};
