//! A ledger in the same process, without HTTP between.

use client::{Client, transport::Direct};
use std::sync::Arc;

/// A client of a ledger in this process.
pub(crate) async fn client(ledger: consensus::Ledger, options: client::Options) -> Client {
    let local = Arc::new(rpc::Local::new(ledger, Default::default()).unwrap());
    let answer = move |method: String, params: Vec<_>| {
        let local = local.clone();
        async move { local.call(&method, &params).await }
    };
    let options = client::Options { chain_id: Some(crate::real::CHAIN_ID), ..options };
    Client::connect_over("here", Arc::new(Direct::new(answer)), options).await.unwrap()
}
