//! The client itself: an endpoint, the chain it serves, and what is remembered between requests.

use crate::{
    cache::Cache,
    nonce::Lanes,
    rpc::{Options, Rpc, RpcError},
};
use alloy_primitives::{Address, U64, U256};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// A client of one ledger through one endpoint, which need not be trusted with anything but being
/// there. Clones share everything.
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
    /// As [`Client::connect`].
    pub async fn connect_with(url: &str, options: Options) -> Result<Self, RpcError> {
        let rpc = Rpc::new(url, options)?;
        let chain_id: U64 = rpc.request("eth_chainId", &[]).await?;
        let inner = Inner {
            rpc,
            chain_id: chain_id.to(),
            lanes: Lanes::default(),
            cache: Cache::default(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The chain's id. It is asked for once: an endpoint that changes it makes signatures worthless,
    /// not dangerous.
    pub fn chain_id(&self) -> u64 {
        self.0.chain_id
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
