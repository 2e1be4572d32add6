//! What can be read, and what is refused.

use crate::support::*;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U64, U256, keccak256};
use alloy_rpc_types_eth::{FeeHistory, Log};
use alloy_sol_types::{SolCall, SolEvent};
use consensus::Retention;
use contracts::abi::IToken;
use rpc::Limits;
use serde_json::{Value, json};

/// Every method that cast and viem use, with parameters that work on any ledger.
fn calls() -> Vec<(&'static str, Value)> {
    let address = User::new(1).address();
    vec![
        ("web3_clientVersion", json!([])),
        ("web3_sha3", json!(["0x00"])),
        ("net_version", json!([])),
        ("net_listening", json!([])),
        ("eth_chainId", json!([])),
        ("eth_accounts", json!([])),
        ("eth_syncing", json!([])),
        ("eth_blockNumber", json!([])),
        ("eth_gasPrice", json!([])),
        ("eth_maxPriorityFeePerGas", json!([])),
        ("eth_feeHistory", json!(["0x4", "latest", [10, 50]])),
        ("eth_getBalance", json!([address, "latest"])),
        ("eth_getTransactionCount", json!([address, "pending"])),
        ("eth_getCode", json!([address, "latest"])),
        ("eth_getStorageAt", json!([address, "0x0", "latest"])),
        ("eth_call", json!([{ "to": address }, "latest"])),
        ("eth_estimateGas", json!([{ "to": address }])),
        ("eth_getTransactionByHash", json!([B256::ZERO])),
        ("eth_getTransactionReceipt", json!([B256::ZERO])),
        ("eth_getBlockByNumber", json!(["latest", false])),
        ("eth_getBlockByHash", json!([B256::ZERO, false])),
        ("eth_getLogs", json!([{}])),
        ("wayleave_ledger", json!([])),
        ("wayleave_header", json!(["latest"])),
        ("wayleave_committee", json!(["0x0"])),
        ("wayleave_finalization", json!(["latest"])),
        ("wayleave_proof", json!([address, ["0x0"]])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_answers_and_refuses_nonsense() {
    let node = Node::new().await;
    for (method, params) in calls() {
        let answer = node.try_ask::<Value>(method, params.clone()).await;
        assert!(answer.is_ok(), "{method}: {answer:?}");
        if let [_, ..] = params.as_array().unwrap().as_slice() {
            let error = node.try_ask::<Value>(method, json!([{ "to": 5 }])).await.unwrap_err();
            assert_eq!(error.code(), -32602, "{method}: {error}");
        }
    }
    let error = node.try_ask::<Value>("eth_sign", json!([])).await.unwrap_err();
    assert_eq!(error.code(), -32601);
    assert_eq!(node.ask::<U64>("eth_chainId", json!([])).await, U64::from(CHAIN));
    assert_eq!(node.ask::<String>("net_version", json!([])).await, CHAIN.to_string());
    assert_eq!(node.ask::<B256>("web3_sha3", json!(["0x00"])).await, keccak256([0]));
    let tags = ["latest", "safe", "finalized", "pending", "earliest"];
    for tag in tags {
        let block: Value = node.ask("eth_getBlockByNumber", json!([tag, false])).await;
        assert!(block["hash"].is_string(), "{tag}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_are_not_there_are_null_and_states_of_them_errors() {
    let retention = Retention { undo: 4, ..Retention::default() };
    let node = Node::start(Limits::default(), retention).await;
    let height = node.until(|block| block.height() >= 12).await;
    let address = User::new(1).address();
    let far = U64::from(height + 1_000_000);
    let none: Option<Value> = node.ask("eth_getBlockByNumber", json!([far, true])).await;
    assert_eq!(none, None);
    let none: Option<Value> =
        node.ask("eth_getBlockByHash", json!([B256::repeat_byte(1), true])).await;
    assert_eq!(none, None);
    let error = node.try_ask::<U256>("eth_getBalance", json!([address, far])).await.unwrap_err();
    assert_eq!(error.code(), -32001);
    let hash = json!({ "blockHash": B256::repeat_byte(1) });
    let error = node.try_ask::<U256>("eth_getBalance", json!([address, hash])).await.unwrap_err();
    assert_eq!(error.code(), -32001);
    for method in ["eth_getBalance", "eth_getTransactionCount", "eth_getCode"] {
        let error = node.try_ask::<Value>(method, json!([address, "0x1"])).await.unwrap_err();
        assert_eq!(error.code(), 4444, "{method}: {error}");
        assert!(error.message().contains("no longer kept"), "{}", error.message());
    }
    let call = json!([{ "to": TOKEN }, "0x1"]);
    assert_eq!(node.try_ask::<Value>("eth_call", call).await.unwrap_err().code(), 4444);
    // The block itself is kept.
    let block: Value = node.ask("eth_getBlockByNumber", json!(["0x1", true])).await;
    assert_eq!(block["number"], "0x1");
    // And a block named by its hash is the same as by its number.
    let latest: Value = node.ask("eth_getBlockByNumber", json!(["latest", false])).await;
    let id = json!({ "blockHash": latest["hash"], "requireCanonical": true });
    let balance: U256 = node.ask("eth_getBalance", json!([address, id])).await;
    assert_eq!(balance, coins(1_000));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_look_into_the_past() {
    let node = Node::new().await;
    let (mut a, b) = (User::new(1), User::new(2));
    let receipt = node.land(&a.transfer(b.address(), 5)).await;
    let height = receipt.block_number.unwrap();
    let data = IToken::balanceOfCall { account: b.address() }.abi_encode();
    let call = json!({ "to": TOKEN, "data": Bytes::from(data) });
    let at =
        async |height: u64| node.ask::<U256>("eth_call", json!([call, U64::from(height)])).await;
    assert_eq!((at(height - 1).await, at(height).await), (U256::ZERO, U256::from(5)));
    for (extra, word) in [
        (json!([call, "latest", { TOKEN.to_string(): { "balance": "0x1" } }]), "overrides"),
        (json!([{ "to": TOKEN, "chainId": "0x1" }]), "chain id"),
        (json!([{ "to": TOKEN, "input": "0x01", "data": "0x02" }]), "differ"),
    ] {
        let error = node.try_ask::<Value>("eth_call", extra).await.unwrap_err();
        assert_eq!(error.code(), -32602, "{error}");
        assert!(error.message().contains(word), "{}", error.message());
    }
    // viem sends an empty override.
    assert_eq!(node.ask::<U256>("eth_call", json!([call, "latest", {}])).await, U256::from(5));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_found_by_address_topic_range_and_block() {
    let limits = Limits { log_blocks: 20, logs: 3, ..Limits::default() };
    let node = Node::start(limits, Retention::default()).await;
    let (mut a, b, c) = (User::new(1), User::new(2), User::new(3));
    let first = node.land(&a.transfer(b.address(), 1)).await;
    let last = node.land(&a.transfer(c.address(), 2)).await;
    let (from, to) = (first.block_number.unwrap(), last.block_number.unwrap());
    let range = |more: Value| {
        let mut filter = json!({ "fromBlock": U64::from(from), "toBlock": U64::from(to) });
        filter.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([filter])
    };
    let found = async |filter: Value| node.ask::<Vec<Log>>("eth_getLogs", filter).await;
    let all = found(range(json!({}))).await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], first.inner.logs()[0]);
    assert_eq!(all[1].transaction_hash, Some(last.transaction_hash));
    assert_eq!((all[1].log_index, all[1].removed), (Some(0), false));
    let topic = IToken::Transfer::SIGNATURE_HASH;
    let to_b = json!([topic, null, b.address().into_word()]);
    assert_eq!(found(range(json!({ "address": TOKEN, "topics": to_b }))).await, all[..1]);
    let to_both = json!([[topic], null, [b.address().into_word(), c.address().into_word()]]);
    assert_eq!(found(range(json!({ "topics": to_both }))).await, all);
    assert_eq!(found(range(json!({ "address": b.address() }))).await, []);
    assert_eq!(found(json!([{ "blockHash": last.block_hash }])).await, all[1..]);

    let error =
        async |filter: Value| node.try_ask::<Vec<Log>>("eth_getLogs", filter).await.unwrap_err();
    let backwards = json!([{ "fromBlock": U64::from(to), "toBlock": U64::from(to - 1) }]);
    assert_eq!(error(backwards).await.code(), -32602);
    assert_eq!(error(json!([{ "blockHash": B256::repeat_byte(1) }])).await.code(), -32001);
    node.until(|block| block.height() >= 30).await;
    let wide = error(json!([{ "fromBlock": "0x0", "toBlock": "latest" }])).await;
    assert_eq!(wide.code(), -32005);
    assert!(wide.message().contains("ask for blocks 0 to 19"), "{}", wide.message());
    // Four within a few blocks, not all in one.
    let start = node.running.ledger.head().height();
    let txs: Vec<_> = (0..4).map(|_| a.transfer(b.address(), 1)).collect();
    node.land(&txs[0]).await;
    for tx in &txs[1..3] {
        let raw = Bytes::from(tx.encoded_2718());
        node.ask::<B256>("eth_sendRawTransaction", json!([raw])).await;
    }
    let end = node.land(&txs[3]).await.block_number.unwrap();
    let four = json!([{ "fromBlock": U64::from(start), "toBlock": U64::from(end) }]);
    let many = error(four).await;
    assert_eq!(many.code(), -32005);
    assert!(many.message().contains("more than 3 logs"), "{}", many.message());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_for_logs_is_bounded_and_a_single_block_is_always_answered() {
    let limits = Limits { logs: 0, ..Limits::default() };
    let node = Node::start(limits, Retention::default()).await;
    let (mut a, b) = (User::new(1), User::new(2));
    let first = node.land(&a.transfer(b.address(), 1)).await;
    let last = node.land(&a.transfer(b.address(), 2)).await;
    let ask = async |filter: Value| node.try_ask::<Vec<Log>>("eth_getLogs", json!([filter])).await;
    let block = json!({ "blockHash": last.block_hash });
    assert_eq!(ask(block).await.unwrap(), last.inner.logs());
    let number = U64::from(last.block_number.unwrap());
    let block = json!({ "fromBlock": number, "toBlock": number });
    assert_eq!(ask(block).await.unwrap(), last.inner.logs());
    let both = json!({ "fromBlock": U64::from(first.block_number.unwrap()), "toBlock": number });
    assert_eq!(ask(both).await.unwrap_err().code(), -32005);
    let many: Vec<_> = (0..1_001_u64).map(|i| B256::from(U256::from(i))).collect();
    let error = ask(json!({ "topics": [null, many] })).await.unwrap_err();
    assert_eq!(error.code(), -32005, "{error}");
    let many: Vec<_> = many.iter().map(|word| Address::from_word(*word)).collect();
    let error = ask(json!({ "address": many })).await.unwrap_err();
    assert_eq!(error.code(), -32005, "{error}");
    assert_eq!(ask(json!({ "address": many[1..] })).await.unwrap(), []);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_for_logs_ends_by_bytes_and_time() {
    for limits in [
        Limits { log_bytes: 0, ..Limits::default() },
        Limits { log_time: std::time::Duration::ZERO, ..Limits::default() },
    ] {
        let node = Node::start(limits, Retention::default()).await;
        let (mut a, b) = (User::new(1), User::new(2));
        node.land(&a.transfer(b.address(), 1)).await;
        node.land(&a.transfer(b.address(), 2)).await;
        let all = json!([{ "fromBlock": "0x0" }]);
        let error = node.try_ask::<Vec<Log>>("eth_getLogs", all).await.unwrap_err();
        assert_eq!(error.code(), -32005, "{error}");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fees_follow_what_was_paid() {
    let node = Node::new().await;
    let mut a = User::new(1);
    let receipt = node.land(&a.pay(User::new(2).address(), coins(1))).await;
    let height = receipt.block_number.unwrap();
    let params = json!(["0x2", U64::from(height), [0, 50, 100]]);
    let history: FeeHistory = node.ask("eth_feeHistory", params).await;
    assert_eq!(history.oldest_block, height - 1);
    assert_eq!(history.base_fee_per_gas, [1_000_000_000; 3]);
    assert!((history.gas_used_ratio[1] - 0.0007).abs() < 1e-9, "{:?}", history.gas_used_ratio);
    assert_eq!(history.reward.unwrap(), [vec![0; 3], vec![2_000_000_000; 3]]);
    let tip: U256 = node.ask("eth_maxPriorityFeePerGas", json!([])).await;
    let price: U256 = node.ask("eth_gasPrice", json!([])).await;
    assert_eq!(price, tip + U256::from(1_000_000_000));
    let bad = json!(["0x2", "latest", [50, 10]]);
    assert_eq!(node.try_ask::<Value>("eth_feeHistory", bad).await.unwrap_err().code(), -32602);
    let many: FeeHistory = node.ask("eth_feeHistory", json!(["0xffff", "latest", null])).await;
    assert_eq!(many.oldest_block, 0, "bounded by what there is");
    node.stop().await;
}
