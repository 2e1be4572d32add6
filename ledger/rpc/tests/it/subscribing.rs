//! Subscriptions over WebSocket.

use crate::support::*;
use alloy_rpc_types_eth::{Header, Log};
use alloy_sol_types::SolEvent;
use contracts::abi::IToken;
use jsonrpsee::{
    core::client::{ClientT, SubscriptionClientT},
    rpc_params,
    ws_client::WsClientBuilder,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_logs_are_told_in_order() {
    let node = Node::new().await;
    let client =
        WsClientBuilder::default().build(format!("ws://{}", node.server.addr())).await.unwrap();
    let mut heads = client
        .subscribe::<Header, _>("eth_subscribe", rpc_params!["newHeads"], "eth_unsubscribe")
        .await
        .unwrap();
    let filter = json!({ "address": TOKEN, "topics": [IToken::Transfer::SIGNATURE_HASH] });
    let mut logs = client
        .subscribe::<Log, _>("eth_subscribe", rpc_params!["logs", filter], "eth_unsubscribe")
        .await
        .unwrap();
    let mut previous = heads.next().await.unwrap().unwrap();
    for _ in 0..3 {
        let head = heads.next().await.unwrap().unwrap();
        assert_eq!(head.inner.number, previous.inner.number + 1);
        assert_eq!(head.inner.parent_hash, previous.hash);
        previous = head;
    }
    let mut a = User::new(1);
    node.land(&a.pay(User::new(2).address(), coins(1))).await;
    for value in [7, 8] {
        let receipt = node.land(&a.transfer(User::new(2).address(), value)).await;
        assert_eq!(logs.next().await.unwrap().unwrap(), receipt.inner.logs()[0]);
    }
    heads.unsubscribe().await.unwrap();
    let refused = client
        .subscribe::<Value, _>("eth_subscribe", rpc_params!["syncing"], "eth_unsubscribe")
        .await;
    assert!(refused.is_err());
    // The same connection answers ordinary requests.
    let number: String = client.request("eth_blockNumber", rpc_params![]).await.unwrap();
    assert!(number.starts_with("0x"));
    node.stop().await;
}

/// More at once than a connection is let ask and run: the rest waits for its turn, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn many_requests_over_one_connection_are_all_answered() {
    let node = Node::new().await;
    let client =
        WsClientBuilder::default().build(format!("ws://{}", node.server.addr())).await.unwrap();
    let client = std::sync::Arc::new(client);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let client = client.clone();
        asked.spawn(async move {
            let params = rpc_params!["latest", true];
            client.request::<Value, _>("eth_getBlockByNumber", params).await.unwrap()
        });
    }
    let answers = asked.join_all().await;
    assert_eq!(answers.len(), 200);
    assert!(answers.iter().all(|block| block["number"].is_string()));
    node.stop().await;
}
