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

use crate::{home::Home, trust::Trust};
use client::{Client, Options};

/// Connects to the devnet's ledger at `rpc`, and believes what its genesis file in `home` proves.
pub(crate) async fn client(home: &Home, rpc: &str) -> anyhow::Result<Client> {
    let trust = Trust::read(&home.genesis(), home.path())?;
    Ok(trust.connect(rpc, Options::default()).await?)
}
