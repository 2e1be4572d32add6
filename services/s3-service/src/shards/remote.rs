//! Agents over the wire: [`storage_kind::wire`] on the [`transport`].
//!
//! The service introduces itself to an agent when the agent asks for it, once a request, and asks
//! again. Every answer is checked for its form; what is in it is for the caller to check.

use super::{Ask, Noted, Shards, ShardsError};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::Eip712Domain;
use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::{Digest, RailId, net::Peer};
use std::{sync::Arc, time::Duration};
use storage_kind::{
    dataset::Shard,
    wire::{
        ALPN, Commit, Committed, Form, Get, Introduction, Put, Refusal, Request, Response, Stat,
        Terms,
    },
};
use transport::{Endpoint, RequestError};

/// How long an agent may take for an answer without bytes.
const SHORT: Duration = Duration::from_secs(10);
/// How long an agent may take for an answer with bytes.
const LONG: Duration = Duration::from_secs(60);

/// A way to agents: a request goes, an answer comes, a header and a body each.
pub trait Line: Send + Sync + 'static {
    /// Asks an agent, and waits for its answer no longer than this.
    ///
    /// # Errors
    /// [`ShardsError::Unreachable`] if it never saw the request, [`ShardsError::Silent`] if it may have.
    fn request(
        &self,
        to: Peer,
        header: Vec<u8>,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), ShardsError>>;

    /// Lets go of what it holds. Nothing is asked after this.
    fn close(&self) -> BoxFuture<'_, ()>;
}

impl Line for Endpoint {
    fn request(
        &self,
        to: Peer,
        header: Vec<u8>,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), ShardsError>> {
        Box::pin(async move {
            let connection = self.connection(to, ALPN);
            connection.request_within(&header, body, within).await.map_err(|error| match error {
                RequestError::Connect(error) => ShardsError::Unreachable(error.to_string()),
                error => ShardsError::Silent(error.to_string()),
            })
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(Self::close(self))
    }
}

/// Agents over the wire.
#[derive(Clone)]
pub struct RemoteShards {
    line: Arc<dyn Line>,
    introduction: Introduction,
}

impl std::fmt::Debug for RemoteShards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteShards").finish_non_exhaustive()
    }
}

impl RemoteShards {
    /// Speaks through `endpoint` for the signer of the rails.
    ///
    /// # Errors
    /// The signer's, if it cannot sign.
    pub fn new(
        endpoint: Endpoint,
        signer: &PrivateKeySigner,
        domain: &Eip712Domain,
    ) -> Result<Self, alloy_signer::Error> {
        let key = endpoint.id();
        Self::over(Arc::new(endpoint), key, signer, domain)
    }

    /// Speaks over `line`, on which it is known by `key`, for the signer of the rails.
    ///
    /// # Errors
    /// The signer's, if it cannot sign.
    pub fn over(
        line: Arc<dyn Line>,
        key: [u8; 32],
        signer: &PrivateKeySigner,
        domain: &Eip712Domain,
    ) -> Result<Self, alloy_signer::Error> {
        let hash = Introduction::signing_hash(domain, key);
        let signature = signer.sign_hash_sync(&hash)?.as_bytes();
        Ok(Self { line, introduction: Introduction { signature } })
    }

    async fn ask(
        &self,
        peer: Peer,
        request: Request,
        body: Bytes,
        within: Duration,
    ) -> Result<(Response, Bytes), ShardsError> {
        match self.once(peer, &request, body.clone(), within).await {
            Err(ShardsError::Refused(Refusal::NotIntroduced)) => {
                let introduce = Request::Introduce(self.introduction);
                self.once(peer, &introduce, Bytes::new(), SHORT).await?;
                self.once(peer, &request, body, within).await
            }
            answer => answer,
        }
    }

    async fn once(
        &self,
        peer: Peer,
        request: &Request,
        body: Bytes,
        within: Duration,
    ) -> Result<(Response, Bytes), ShardsError> {
        let (header, body) = self.line.request(peer, request.to_bytes(), body, within).await?;
        match Response::from_bytes(&header) {
            Ok(Response::Refused(refusal)) => Err(ShardsError::Refused(refusal)),
            Ok(response) => Ok((response, body)),
            Err(_) => Err(ShardsError::Wrong("a header that is none")),
        }
    }
}

const OTHER: ShardsError = ShardsError::Wrong("an answer to another question");

impl Shards for RemoteShards {
    fn put(
        &self,
        to: Peer,
        rail: RailId,
        shard: Shard,
        bytes: Bytes,
    ) -> BoxFuture<'_, Result<(), ShardsError>> {
        Box::pin(async move {
            match self.ask(to, Request::Put(Put { rail, shard }), bytes, LONG).await? {
                (Response::Stored, _) => Ok(()),
                _ => Err(OTHER),
            }
        })
    }

    fn get(&self, from: Peer, ask: Ask) -> BoxFuture<'_, Result<Bytes, ShardsError>> {
        Box::pin(async move {
            let get = Get {
                rail: ask.rail,
                shard: ask.shard,
                offset: ask.offset,
                length: ask.length,
                form: Form::Plain,
                voucher: ask.voucher,
            };
            match self.ask(from, Request::Get(get), Bytes::new(), LONG).await? {
                (Response::Data(_), bytes) => Ok(bytes),
                _ => Err(OTHER),
            }
        })
    }

    fn commit(&self, to: Peer, commit: Commit) -> BoxFuture<'_, Result<Committed, ShardsError>> {
        Box::pin(async move {
            match self.ask(to, Request::Commit(commit), Bytes::new(), LONG).await? {
                (Response::Committed(committed), _) => Ok(committed),
                _ => Err(OTHER),
            }
        })
    }

    fn holds(
        &self,
        of: Peer,
        rail: RailId,
        shards: Vec<Digest>,
    ) -> BoxFuture<'_, Result<Vec<bool>, ShardsError>> {
        Box::pin(async move {
            let count = shards.len();
            match self.ask(of, Request::Holds(rail, shards), Bytes::new(), LONG).await? {
                (Response::Holds(held), _) if held.len() == count => Ok(held),
                _ => Err(OTHER),
            }
        })
    }

    fn stat(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Stat, ShardsError>> {
        Box::pin(async move {
            match self.ask(of, Request::Stat(rail), Bytes::new(), SHORT).await? {
                (Response::Stat(stat), _) => Ok(stat),
                _ => Err(OTHER),
            }
        })
    }

    fn note(&self, to: Peer, rail: RailId, note: Bytes) -> BoxFuture<'_, Result<(), ShardsError>> {
        Box::pin(async move {
            match self.ask(to, Request::Note(rail), note, SHORT).await? {
                (Response::Stored, _) => Ok(()),
                _ => Err(OTHER),
            }
        })
    }

    fn noted(&self, of: Peer, rail: RailId) -> BoxFuture<'_, Result<Noted, ShardsError>> {
        Box::pin(async move {
            match self.ask(of, Request::Noted(rail), Bytes::new(), SHORT).await? {
                (Response::Noted(voucher), note) => Ok(Noted { note, voucher }),
                _ => Err(OTHER),
            }
        })
    }

    fn terms(&self, of: Peer) -> BoxFuture<'_, Result<Terms, ShardsError>> {
        Box::pin(async move {
            match self.ask(of, Request::Terms, Bytes::new(), SHORT).await? {
                (Response::Terms(terms), _) => Ok(terms),
                _ => Err(OTHER),
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.line.close()
    }
}
