//! The way between services and depots: requests and answers as the wire has them, in the world's time.
//!
//! A service's own side of the wire ([`RemoteShards`]) encodes each request, introduces itself and reads the
//! answer; the depot's own desk decodes and answers. Between them is time, drawn from a seed, in which
//! a depot may crash, be cut off or be switched off: what it had not seen is unreachable, what it may have
//! seen is silent. Must run on a tokio whose clock stands still ([`crate::world::clockwork`]).

use super::depot::{Depot, Missed};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::Eip712Domain;
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use protocol::net::Peer;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use s3_service::shards::{
    ShardsError,
    remote::{Line, RemoteShards},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a request or an answer is on its way at most, milliseconds.
const WAY_MS: u64 = 8;

/// The way to depots.
pub struct Way {
    depots: BTreeMap<[u8; 32], Arc<Depot>>,
    rng: Mutex<StdRng>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("depots", &self.depots.len()).finish_non_exhaustive()
    }
}

impl Way {
    /// The way to these depots, whose delays are drawn from `seed`.
    pub fn new(depots: Vec<Arc<Depot>>, seed: u64) -> Arc<Self> {
        let depots = depots.into_iter().map(|depot| (depot.peer().key, depot)).collect();
        Arc::new(Self { depots, rng: Mutex::new(StdRng::seed_from_u64(seed)) })
    }

    /// The depots as a service sees them that is known by `key` and speaks for the signer of its rails in
    /// the domain of vouchers. A service that is started anew has a tokio of its own, and so a way of its own.
    ///
    /// # Errors
    /// The signer's, if it cannot sign.
    pub fn speak_for(
        self: &Arc<Self>,
        key: [u8; 32],
        signer: &PrivateKeySigner,
        domain: &Eip712Domain,
    ) -> Result<RemoteShards, alloy_signer::Error> {
        self.depots.values().for_each(|depot| depot.begin_time());
        let line = Speaker { key, way: Arc::clone(self) };
        RemoteShards::over(Arc::new(line), key, signer, domain)
    }

    /// A while on the way.
    async fn pass(&self) {
        let ms = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            rng.random_range(1..=WAY_MS)
        };
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn request(
        &self,
        from: [u8; 32],
        to: Peer,
        header: &[u8],
        body: Bytes,
    ) -> Result<(Vec<u8>, Bytes), ShardsError> {
        let silent = || ShardsError::Silent("the depot was there and is gone".into());
        self.pass().await;
        let depot = self.depots.get(&to.key);
        let depot = depot.ok_or_else(|| ShardsError::Unreachable("no such depot".into()))?;
        let answer = depot.answer(from, header, body).await.map_err(|missed| match missed {
            Missed::Unreachable => ShardsError::Unreachable("the depot is not there".into()),
            Missed::Silent => silent(),
        })?;
        let life = depot.life();
        self.pass().await;
        if depot.life() == life && depot.is_reachable() { Ok(answer) } else { Err(silent()) }
    }
}

/// A service on the way.
struct Speaker {
    key: [u8; 32],
    way: Arc<Way>,
}

impl Line for Speaker {
    fn request(
        &self,
        to: Peer,
        header: Vec<u8>,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), ShardsError>> {
        async move {
            let answer = self.way.request(self.key, to, &header, body);
            let late = || ShardsError::Silent("no answer in time".into());
            tokio::time::timeout(within, answer).await.unwrap_or_else(|_| Err(late()))
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
