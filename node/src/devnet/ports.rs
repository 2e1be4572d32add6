//! The listeners of `up`, opened before anything else starts, so that a busy port costs nothing.

use crate::{
    cli::Up,
    ports::{open, probe},
};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// All listeners of `up`.
#[derive(Debug)]
pub(crate) struct Ports {
    /// The ledger's JSON-RPC.
    pub(crate) rpc: SocketAddr,
    /// The validator's HTTP.
    pub(crate) http: TcpListener,
    /// S3.
    pub(crate) s3: SocketAddr,
    /// Metrics and controls.
    pub(crate) control: TcpListener,
}

impl Ports {
    /// Opens all listeners.
    pub(crate) async fn open(up: &Up) -> anyhow::Result<Self> {
        Ok(Self {
            rpc: probe(up.rpc, "--rpc").await?,
            http: open(up.http, "--http").await?,
            s3: probe(up.s3, "--s3").await?,
            control: open(up.control, "--control").await?,
        })
    }
}
