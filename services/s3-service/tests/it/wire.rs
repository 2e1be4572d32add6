//! Agents over real connections: the wire's messages, introductions, lost peers.

use crate::world::{CHAIN, World, bytes, get, limits, put};
use bytes::Bytes;
use futures::future::BoxFuture;
use protocol::net::Peer;
use s3_service::shards::{
    Ask, Shards as _, ShardsError, memory::MemoryShards, remote::RemoteShards,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use storage_kind::wire::{ALPN, Refusal, Request, Response};
use transport::{BindConfig, Endpoint, Handler, Refusal as No};

/// An agent that speaks the wire in front of one in memory.
struct Agent {
    shards: Arc<MemoryShards>,
    peer: Peer,
    domain: alloy_sol_types::Eip712Domain,
    signer: protocol::Account,
    known: Mutex<BTreeSet<[u8; 32]>>,
}

impl Agent {
    async fn answer(&self, from: [u8; 32], request: Request, body: Bytes) -> (Response, Bytes) {
        if let Request::Introduce(introduction) = &request {
            let named = introduction.signer(&self.domain, from);
            if named != Some(self.signer) {
                return (Response::Refused(Refusal::BadIntroduction), Bytes::new());
            }
            self.known.lock().unwrap().insert(from);
            return (Response::Welcome(self.signer), Bytes::new());
        }
        if request.rail().is_some() && !self.known.lock().unwrap().contains(&from) {
            return (Response::Refused(Refusal::NotIntroduced), Bytes::new());
        }
        let mut data = Bytes::new();
        let done = match request {
            Request::Terms => self.shards.terms(self.peer).await.map(Response::Terms),
            Request::Put(put) => {
                let put = self.shards.put(self.peer, put.rail, put.shard, body).await;
                put.map(|()| Response::Stored)
            }
            Request::Get(get) => {
                let ask = Ask {
                    rail: get.rail,
                    shard: get.shard,
                    offset: get.offset,
                    length: get.length,
                    voucher: get.voucher,
                };
                self.shards.get(self.peer, ask).await.map(|bytes| {
                    data = bytes;
                    Response::Data(get.length)
                })
            }
            Request::Stat(rail) => self.shards.stat(self.peer, rail).await.map(Response::Stat),
            Request::Commit(commit) => {
                self.shards.commit(self.peer, commit).await.map(Response::Committed)
            }
            Request::Holds(rail, shards) => {
                self.shards.holds(self.peer, rail, shards).await.map(Response::Holds)
            }
            Request::Note(rail) => {
                self.shards.note(self.peer, rail, body).await.map(|()| Response::Stored)
            }
            Request::Noted(rail) => self.shards.noted(self.peer, rail).await.map(|kept| {
                data = kept.note;
                Response::Noted(kept.voucher)
            }),
            Request::Introduce(_) => Err(ShardsError::Wrong("answered above")),
        };
        match done {
            Ok(response) => (response, data),
            Err(ShardsError::Refused(refusal)) => (Response::Refused(refusal), Bytes::new()),
            Err(_) => (Response::Refused(Refusal::Disk), Bytes::new()),
        }
    }
}

struct Door(Arc<Agent>);

impl Handler for Door {
    fn handle(
        &self,
        peer: [u8; 32],
        header: Vec<u8>,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), No>> {
        let agent = Arc::clone(&self.0);
        Box::pin(async move {
            let request = Request::from_bytes(&header)
                .map_err(|error| No::new(transport::code::MALFORMED, error.to_string()))?;
            let (response, body) = agent.answer(peer, request, body).await;
            Ok((response.to_bytes(), body))
        })
    }
}

fn loopback() -> std::net::SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_travel_over_real_connections() {
    let mut world = World::with(0, limits()).await;
    world.stop().await;
    let domain = protocol::voucher::domain(CHAIN, world.config.rails_contract);
    let signer = world.config.signer.clone();
    let mut endpoints = Vec::new();
    for seed in 1u8..=8 {
        let owner = protocol::Account::repeat_byte(seed);
        let (peer, device) = world.shards.add(seed, owner, 8 << 30);
        let config = BindConfig::new([seed; 32], loopback()).alpn(ALPN);
        let endpoint = Endpoint::bind(config).await.unwrap();
        assert_eq!(endpoint.id(), peer.key, "an agent's endpoint key is its device key");
        let agent = Agent {
            shards: Arc::clone(&world.shards),
            peer,
            domain: domain.clone(),
            signer: signer.address(),
            known: Mutex::default(),
        };
        endpoint.serve(ALPN, Arc::new(Door(Arc::new(agent)))).unwrap();
        let dialled = Peer { key: peer.key, address: endpoint.addr() };
        assert_eq!(world.ledger.register(dialled, owner), device);
        world.agents.push((peer, device));
        endpoints.push(endpoint);
    }
    let own = Endpoint::bind(BindConfig::new([99; 32], loopback())).await.unwrap();
    let remote = RemoteShards::new(own, &signer, &domain).unwrap();
    world.start_over(Arc::new(remote)).await;

    let client = world.bucket("bucket").await;
    let (small, large) = (bytes(1, 5_000), bytes(2, 9 << 20));
    put(&client, "bucket", "small", small.clone()).await;
    put(&client, "bucket", "large", large.clone()).await;
    assert!(get(&client, "bucket", "small").await == small);
    assert!(get(&client, "bucket", "large").await == large);
    world.running().flush().await.unwrap();
    let snapshot = world.running().snapshot().await.unwrap();
    assert_eq!(snapshot.frozen_bytes, snapshot.shard_bytes);
    // Two agents go without a word.
    for gone in endpoints.drain(..2) {
        gone.close().await;
    }
    assert!(get(&client, "bucket", "small").await == small);
    assert!(get(&client, "bucket", "large").await == large);
    put(&client, "bucket", "later", large.clone()).await;
    assert!(get(&client, "bucket", "later").await == large);
    world.stop().await;
}
