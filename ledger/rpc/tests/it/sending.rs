//! The way of a transaction through all the methods that show it.

use crate::support::*;
use alloy_consensus::Transaction as _;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U64, U256};
use alloy_rpc_types_eth::{Block, Transaction, TransactionReceipt};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_the_same_wherever_it_is_shown() {
    let node = Node::new().await;
    let (mut a, b) = (User::new(1), User::new(2));
    let tx = a.pay(b.address(), coins(3));
    let hash = *tx.tx_hash();
    let receipt = node.land(&tx).await;
    assert!(receipt.status());
    assert_eq!((receipt.from, receipt.to), (a.address(), Some(b.address())));
    assert_eq!((receipt.gas_used, receipt.contract_address), (21_000, None));
    let height = receipt.block_number.unwrap();
    let tag = U64::from(height);

    let shown: Transaction = node.ask("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(shown.inner.inner(), &tx);
    assert_eq!(shown.inner.signer(), a.address());
    assert_eq!((shown.block_number, shown.block_hash), (Some(height), receipt.block_hash));
    assert_eq!(shown.effective_gas_price, Some(receipt.effective_gas_price));

    let block: Block = node.ask("eth_getBlockByNumber", json!([tag, true])).await;
    assert_eq!(block.transactions.as_transactions().unwrap(), std::slice::from_ref(&shown));
    assert_eq!(Some(block.header.hash), receipt.block_hash);
    assert_eq!(block.header.inner.gas_used, 21_000);
    let again: Block = node.ask("eth_getBlockByHash", json!([block.header.hash, false])).await;
    assert_eq!(again.transactions.as_hashes().unwrap(), [hash]);
    assert_eq!(again.header, block.header);
    let parent: Block = node.ask("eth_getBlockByNumber", json!([U64::from(height - 1)])).await;
    assert_eq!(block.header.inner.parent_hash, parent.header.hash);

    let receipts: Vec<TransactionReceipt> = node.ask("eth_getBlockReceipts", json!([tag])).await;
    assert_eq!(receipts, [receipt]);
    for (method, block) in [
        ("eth_getTransactionByBlockNumberAndIndex", json!(tag)),
        ("eth_getTransactionByBlockHashAndIndex", json!(block.header.hash)),
    ] {
        let found: Option<Transaction> = node.ask(method, json!([block, "0x0"])).await;
        assert_eq!(found.as_ref(), Some(&shown));
        let none: Option<Transaction> = node.ask(method, json!([block, "0x1"])).await;
        assert_eq!(none, None);
    }
    let count: U64 = node.ask("eth_getBlockTransactionCountByNumber", json!([tag])).await;
    assert_eq!(count, U64::from(1));
    let raw: Bytes = node.ask("eth_getRawTransactionByHash", json!([hash])).await;
    assert_eq!(raw, Bytes::from(tx.encoded_2718()));

    let balance: U256 = node.ask("eth_getBalance", json!([b.address(), "latest"])).await;
    assert_eq!(balance, coins(1_003));
    let before: U256 =
        node.ask("eth_getBalance", json!([b.address(), U64::from(height - 1)])).await;
    assert_eq!(before, coins(1_000));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_is_created_called_and_read() {
    let node = Node::new().await;
    let mut a = User::new(1);
    // Stores 42 in slot 7 on creation; its code returns slot 7, or reverts with it if called with data.
    let runtime = [
        0x60, 0x07, 0x54, 0x5f, 0x52, 0x36, 0x60, 0x0e, 0x57, 0x60, 0x20, 0x5f, 0xf3, 0x00, 0x5b,
        0x60, 0x20, 0x5f, 0xfd,
    ];
    let init = [
        &[
            0x60, 0x2a, 0x60, 0x07, 0x55, 0x60, 0x13, 0x60, 0x10, 0x5f, 0x39, 0x60, 0x13, 0x5f,
            0xf3, 0x00,
        ][..],
        &runtime,
    ]
    .concat();
    let address = a.address().create(0);
    let receipt = node.land(&a.send(TxKind::Create, U256::ZERO, init)).await;
    assert!(receipt.status());
    assert_eq!((receipt.contract_address, receipt.to), (Some(address), None));
    let code: Bytes = node.ask("eth_getCode", json!([address, "latest"])).await;
    assert_eq!(code, Bytes::from(runtime.to_vec()));
    let slot: B256 = node.ask("eth_getStorageAt", json!([address, "0x7", "latest"])).await;
    assert_eq!(slot, B256::left_padding_from(&[42]));
    let answer: Bytes = node.ask("eth_call", json!([{ "to": address }, "latest"])).await;
    assert_eq!(answer, Bytes::from(slot.to_vec()));
    let call = json!([{ "to": address, "input": "0x01" }, "latest"]);
    for method in ["eth_call", "eth_estimateGas"] {
        let error = node.try_ask::<Value>(method, call.clone()).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (3, "execution reverted"), "{method}");
        assert_eq!(error.data().unwrap().get(), format!("\"{slot}\""), "{method}");
    }
    let gas: U64 = node.ask("eth_estimateGas", json!([{ "to": address }])).await;
    assert!(gas > U64::from(21_000) && gas < U64::from(25_000), "{gas}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_transactions_say_why() {
    let node = Node::new().await;
    let mut a = User::new(1);
    let send = async |tx: &alloy_consensus::TxEnvelope| {
        let raw = Bytes::from(tx.encoded_2718());
        node.try_ask::<B256>("eth_sendRawTransaction", json!([raw])).await
    };
    let first = a.pay(Address::ZERO, coins(1));
    node.land(&first).await;
    let error = send(&first).await.unwrap_err();
    assert_eq!(error.code(), -32000);
    assert!(error.message().contains("nonce too low"), "{}", error.message());
    let error = send(&a.pay(Address::ZERO, coins(5_000))).await.unwrap_err();
    assert!(error.message().contains("insufficient funds"), "{}", error.message());
    a.nonce = 1;
    let error =
        node.try_ask::<B256>("eth_sendRawTransaction", json!(["0x1234"])).await.unwrap_err();
    assert_eq!(error.code(), -32000);
    let error = node.try_ask::<B256>("eth_sendRawTransaction", json!(["0xzz"])).await.unwrap_err();
    assert_eq!(error.code(), -32602);

    // One that waits for its predecessor is shown as waiting, and counts only as pending.
    a.nonce = 2;
    let second = a.pay(Address::ZERO, coins(1));
    send(&second).await.unwrap();
    let waiting: Transaction =
        node.ask("eth_getTransactionByHash", json!([second.tx_hash()])).await;
    assert_eq!((waiting.block_number, waiting.block_hash), (None, None));
    assert_eq!(waiting.nonce(), 2);
    let none: Option<TransactionReceipt> =
        node.ask("eth_getTransactionReceipt", json!([second.tx_hash()])).await;
    assert_eq!(none, None);
    let nonce: U64 = node.ask("eth_getTransactionCount", json!([a.address(), "pending"])).await;
    assert_eq!(nonce, U64::from(1), "the gap is not filled");
    a.nonce = 1;
    node.land(&a.pay(Address::ZERO, coins(1))).await;
    let hash = *second.tx_hash();
    node.until(|block| block.transaction_hashes().any(|held| held == hash)).await;
    let nonce: U64 = node.ask("eth_getTransactionCount", json!([a.address(), "latest"])).await;
    assert_eq!(nonce, U64::from(3));
    node.stop().await;
}
