//! The devnet: a whole network in one process on one machine, from fixed keys, for trying and testing.

pub(crate) mod accounts;
pub(crate) mod agents;
pub(crate) mod control;
pub(crate) mod demo;
pub(crate) mod genesis;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod running;
pub(crate) mod up;

use client::{Client, Options, RpcError};

/// Connects to the devnet's ledger at `rpc`, and to no other.
pub(crate) async fn client(rpc: &str) -> Result<Client, RpcError> {
    let options = Options { chain_id: Some(accounts::CHAIN_ID), ..Options::default() };
    Client::connect_with(rpc, options).await
}
