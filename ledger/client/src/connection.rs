//! The client itself: an endpoint, the chain it serves, and what is remembered between requests.

use crate::{
    cache::Cache,
    light::{Account, Light, Origin, trust::Trust},
    nonce::Lanes,
    rpc::{Options, Rpc, RpcError},
    transport::Transport,
};
use alloy_primitives::{Address, U64, U256};
use protocol::Height;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{net::IpAddr, sync::Arc};

/// A client of one ledger through one endpoint. Memory, fees and what is signed are never the endpoint's to
/// decide; what is read is its word, unless the client has something better to trust
/// ([`Client::trusting`]). Clones share everything.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rpc: Rpc,
    chain_id: u64,
    lanes: Lanes,
    cache: Cache,
    trust: Option<Arc<Trust>>,
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
        Self::begin(Rpc::new(url, options)?).await
    }

    /// Connects with `options` over another transport than HTTP; `url` names the endpoint in errors, and
    /// whether it is on this machine.
    ///
    /// # Errors
    /// As [`Client::connect_with`].
    pub async fn connect_over(
        url: &str,
        transport: Arc<dyn Transport>,
        options: Options,
    ) -> Result<Self, RpcError> {
        Self::begin(Rpc::over(url, transport, options)).await
    }

    async fn begin(rpc: Rpc) -> Result<Self, RpcError> {
        let chain_id: U64 = rpc.request("eth_chainId", &[]).await?;
        let found = chain_id.to();
        if let Some(expected) = rpc.options().chain_id.filter(|expected| *expected != found) {
            return Err(RpcError::Chain { url: rpc.url().to_owned(), expected, found });
        }
        Ok(Self::of(rpc, found, None))
    }

    /// Connects with `options` to the ledger that a genesis file names, and believes only what is proven to be
    /// that ledger's. `kept` is what an earlier client kept ([`Light::to_bytes`]), if anything.
    ///
    /// # Errors
    /// As [`Client::connect_with`], and when the ledger there is another one or `kept` is of another.
    pub async fn connect_trusting(
        url: &str,
        options: Options,
        (origin, kept): (&Origin, Option<&[u8]>),
    ) -> Result<Self, RpcError> {
        let options = Options { chain_id: Some(origin.chain_id), ..options };
        let client = Self::connect_with(url, options).await?;
        let light = match kept {
            Some(kept) => Light::resume(origin, kept),
            None => client.light(origin).await,
        };
        client.trusting(light.map_err(|why| client.untrue(why))?)
    }

    /// The same endpoint, trusted with nothing: from now on calls, views, balances, heads and receipts are
    /// proven or refused ([`crate::light`]). They are those of the newest state; nothing else changes for
    /// callers.
    ///
    /// # Errors
    /// When the endpoint serves a ledger of another chain id.
    pub fn trusting(&self, light: Light) -> Result<Self, RpcError> {
        let (expected, found) = (light.chain_id(), self.chain_id());
        if expected != found {
            return Err(RpcError::Chain { url: self.url().to_owned(), expected, found });
        }
        Ok(Self::of(self.rpc().clone(), found, Some(Arc::new(Trust::new(light)))))
    }

    fn of(rpc: Rpc, chain_id: u64, trust: Option<Arc<Trust>>) -> Self {
        let (lanes, cache) = (Lanes::default(), Cache::default());
        Self(Arc::new(Inner { rpc, chain_id, lanes, cache, trust }))
    }

    /// The chain's id, as the endpoint says it; [`Options::chain_id`] and [`Client::trusting`] make sure of
    /// it.
    pub fn chain_id(&self) -> u64 {
        self.0.chain_id
    }

    /// The chain's id for what is signed: that of the genesis file, the one of [`Options::chain_id`], or what
    /// a node on this machine says. A stranger's word is not enough.
    pub(crate) fn signing_chain_id(&self) -> Option<u64> {
        let trusted = self.trusted().map(|trust| trust.chain_id());
        trusted.or(self.options().chain_id).or_else(|| self.is_local().then_some(self.0.chain_id))
    }

    /// Whether the endpoint is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        is_loopback(self.url())
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
        if self.trusted().is_some() {
            return Ok(self.proven_account(account).await?.balance);
        }
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

    /// An account in the newest state, proven.
    pub(crate) async fn proven_account(&self, account: Address) -> Result<Account, RpcError> {
        let state = Box::pin(self.proven_state(&[], &[account], Height(0))).await;
        state.and_then(|state| state.account(account)).map_err(|why| self.untrue(why))
    }

    /// What is trusted instead of the endpoint, if anything.
    pub(crate) fn trusted(&self) -> Option<&Arc<Trust>> {
        self.0.trust.as_ref()
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
