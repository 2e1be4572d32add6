//! The client itself: an endpoint, the chain it serves, and what is remembered between requests.

use crate::{
    cache::Cache,
    nonce::Lanes,
    rpc::{Options, Rpc, RpcError},
};
use alloy_primitives::{Address, U64, U256};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{net::IpAddr, sync::Arc};

/// A client of one ledger through one endpoint. The endpoint is trusted with what is read by calls and
/// views; not with memory, fees, what is signed, nor with what [`crate::light`] proves. Clones share
/// everything.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rpc: Rpc,
    chain_id: u64,
    lanes: Lanes,
    cache: Cache,
}

impl Client {
    /// Connects to the ledger at `url` (`http://127.0.0.1:8545`) with the default [`Options`], waiting
    /// for it if it is only just starting.
    ///
    /// # Errors
    /// When the URL is wrong or nothing answers there.
    pub async fn connect(url: &str) -> Result<Self, RpcError> {
        Self::connect_with(url, Options::default()).await
    }

    /// Connects with `options`.
    ///
    /// # Errors
    /// As [`Client::connect`], and when the ledger is not the one of [`Options::chain_id`].
    pub async fn connect_with(url: &str, options: Options) -> Result<Self, RpcError> {
        let rpc = Rpc::new(url, options)?;
        let chain_id: U64 = rpc.request("eth_chainId", &[]).await?;
        let chain_id = chain_id.to();
        if let Some(expected) = options.chain_id.filter(|expected| *expected != chain_id) {
            return Err(RpcError::Chain { url: url.to_owned(), expected, found: chain_id });
        }
        let inner = Inner { rpc, chain_id, lanes: Lanes::default(), cache: Cache::default() };
        Ok(Self(Arc::new(inner)))
    }

    /// The chain's id, as the endpoint says it; [`Options::chain_id`] makes sure of it.
    pub fn chain_id(&self) -> u64 {
        self.0.chain_id
    }

    /// The chain's id for what is signed: the one of [`Options::chain_id`], or what a node on this machine
    /// says. A stranger's word is not enough.
    pub(crate) fn signing_chain_id(&self) -> Option<u64> {
        self.options().chain_id.or_else(|| is_loopback(self.url()).then_some(self.0.chain_id))
    }

    /// The endpoint.
    pub fn url(&self) -> &str {
        self.0.rpc.url()
    }

    /// How this client behaves.
    pub fn options(&self) -> &Options {
        self.0.rpc.options()
    }

    /// The coin that `account` has, in the coin's smallest unit.
    ///
    /// # Errors
    /// When the endpoint does not answer as it should.
    pub async fn balance(&self, account: Address) -> Result<U256, RpcError> {
        self.rpc().request("eth_getBalance", &[json!(account), json!("latest")]).await
    }

    /// Any other JSON-RPC method.
    ///
    /// # Errors
    /// When the endpoint refuses or does not answer as it should.
    pub async fn request<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<R, RpcError> {
        self.rpc().request(method, params).await
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.0.rpc
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.0.lanes
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let place = authority.rsplit('@').next().unwrap_or_default();
    let host = match place.strip_prefix('[') {
        Some(inner) => inner.split(']').next(),
        None => place.split(':').next(),
    };
    let host = host.unwrap_or_default();
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|host| host.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for url in ["http://127.0.0.1:8545", "http://localhost/", "http://[::1]:8545/rpc"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://ledger.example:8545",
            "http://203.0.113.1",
            "http://127.0.0.1@ledger.example/",
            "http://localhost.example",
            "",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
