//! Following the ledger: heights in order, none left out.

use crate::{
    Client,
    rpc::{self, RpcError},
};
use alloy_primitives::{B256, U64};
use protocol::Height;
use serde::Deserialize;
use serde_json::json;

/// What a reader needs to know of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub height: Height,
    /// Its hash.
    pub hash: B256,
    /// Its time, in seconds since 1970 as Ethereum has it.
    pub time_s: u64,
}

#[derive(Deserialize)]
struct WireHead {
    number: U64,
    hash: B256,
    timestamp: U64,
}

/// Every height from a given one on, each once it is final. Made by [`Client::follow`].
#[derive(Debug)]
pub struct Heights {
    client: Client,
    next: Height,
    head: Option<Height>,
}

impl Heights {
    /// Waits for the next height. Never ends: while the endpoint is away it goes on asking, with
    /// `warn` events in the log.
    pub async fn next(&mut self) -> Height {
        while self.head.is_none_or(|head| head < self.next) {
            match self.client.head().await {
                Ok(head) => {
                    self.head = Some(head);
                    if head >= self.next {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, next = self.next.0, "cannot follow the ledger")
                }
            }
            tokio::time::sleep(self.client.options().poll).await;
        }
        let height = self.next;
        self.next = Height(height.0.saturating_add(1));
        height
    }

    /// The newest height known to exist, if any: how far behind the reader is.
    pub const fn head(&self) -> Option<Height> {
        self.head
    }

    /// Goes on with `height` instead, for readers that only want the newest.
    pub fn skip_to(&mut self, height: Height) {
        self.next = self.next.max(height);
    }
}

impl Client {
    /// The newest height. Blocks are final as soon as they are seen. A client that trusts its endpoint with
    /// nothing never goes back below a height it has seen, and refuses one whose block is too old.
    ///
    /// # Errors
    /// When the endpoint does not answer as it should.
    pub async fn head(&self) -> Result<Height, RpcError> {
        if self.trusted().is_some() {
            return self.proven_head().await.map_err(|why| self.untrue(why));
        }
        self.said_head().await
    }

    /// The newest height, as the endpoint says it.
    pub(crate) async fn said_head(&self) -> Result<Height, RpcError> {
        let height: U64 = self.rpc().request("eth_blockNumber", &[]).await?;
        Ok(Height(height.to()))
    }

    /// The block at `height`, if it exists.
    ///
    /// # Errors
    /// When the endpoint does not answer as it should.
    pub async fn block(&self, height: Height) -> Result<Option<Head>, RpcError> {
        let method = "eth_getBlockByNumber";
        let params = [json!(U64::from(height.0)), json!(false)];
        let Some(wire) = self.rpc().request::<Option<WireHead>>(method, &params).await? else {
            return Ok(None);
        };
        let head =
            Head { height: Height(wire.number.to()), hash: wire.hash, time_s: wire.timestamp.to() };
        if head.height != height {
            return Err(rpc::malformed(method, "the block is of another height"));
        }
        if self.trusted().is_some() {
            let proven = self.certified_header(height).await.map_err(|why| self.untrue(why))?;
            let (hash, time_s) = (proven.hash, proven.time_ms / 1000);
            return Ok(Some(Head { height, hash, time_s }));
        }
        Ok(Some(head))
    }

    /// Every height from `from` on.
    pub fn follow(&self, from: Height) -> Heights {
        Heights { client: self.clone(), next: from, head: None }
    }

    /// Waits until `height` exists.
    pub async fn wait_for(&self, height: Height) -> Height {
        self.follow(height).next().await
    }
}
