//! Peers that take what is not theirs: others are served all the same.

use super::{ECHO, Held, config, server};
use bytes::Bytes;
use iroh::{
    EndpointAddr, PublicKey, RelayMode, SecretKey, TransportAddr,
    endpoint::{RecvStream, SendStream, presets},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use transport::{BindConfig, BoxFuture, Endpoint, Handler, Limits, Peer, Refusal, RequestError};

/// Long enough for an honest request, short of every limit by which a hostile one ends.
const SOON: Duration = Duration::from_secs(15);

/// A peer of another host that writes what it likes.
struct Hostile {
    _endpoint: iroh::Endpoint,
    connection: iroh::endpoint::Connection,
    streams: Vec<(SendStream, RecvStream)>,
}

impl Hostile {
    async fn connect(peer: Peer) -> Self {
        let endpoint = iroh::Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(&[66; 32]))
            .relay_mode(RelayMode::Disabled)
            .clear_ip_transports()
            .bind_addr("127.0.0.2:0")
            .unwrap()
            .bind()
            .await
            .unwrap();
        let key = PublicKey::from_bytes(&peer.key).unwrap();
        let addr = EndpointAddr::from_parts(key, [TransportAddr::Ip(peer.address)]);
        let connection = endpoint.connect(addr, ECHO).await.unwrap();
        Self { _endpoint: endpoint, connection, streams: Vec::new() }
    }

    /// Begins a request with these bytes and lets it lie.
    async fn begin(&mut self, bytes: &[u8]) {
        let (mut send, receive) = self.connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        self.streams.push((send, receive));
    }

    /// A request without header and body, answered after those before it were begun.
    async fn ask(&mut self) {
        self.begin(&[0; 8]).await;
        let (_, receive) = self.streams.last_mut().unwrap();
        receive.read_exact(&mut [0; 9]).await.unwrap();
    }
}

fn small(limits: Limits) -> BindConfig {
    let mut config = config(1);
    config.max_frame = 1 << 20;
    config.limits = limits;
    config
}

#[tokio::test]
async fn bodies_that_are_announced_and_never_sent_stop_nobody_else() {
    let limits = Limits { inbound_bytes_max: 4 << 20, ..Limits::default() };
    let server = server(small(limits)).await;
    let mut hostile = Hostile::connect(server.peer()).await;
    for _ in 0..8 {
        hostile.begin(&[&[0, 0, 0, 0, 0, 16, 0, 0][..], b"x"].concat()).await;
    }
    hostile.ask().await;
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();
    let asked = connection.request_within(b"", vec![7; 512 << 10].into(), SOON);
    assert_eq!(asked.await.unwrap().1.len(), 512 << 10);
}

#[tokio::test]
async fn requests_that_each_have_half_of_their_bytes_do_not_wait_for_one_another() {
    let limits = Limits { inbound_bytes_max: 2 << 20, ..Limits::default() };
    let server = server(small(limits)).await;
    let mut askers = Vec::new();
    for seed in 2..8 {
        askers.push(Endpoint::bind(config(seed)).await.unwrap());
    }
    let asked = askers.iter().map(|asker| async {
        let connection = asker.connect(server.peer(), ECHO).await.unwrap();
        connection.request_within(b"", vec![7; 1 << 20].into(), SOON).await
    });
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer.unwrap().1.len(), 1 << 20);
    }
}

#[tokio::test]
async fn headers_are_within_the_memory_of_requests() {
    let held = Held::default();
    let mut bounded = config(1);
    bounded.max_frame = 64 << 10;
    bounded.limits.inbound_bytes_max = 2 << 20;
    let server = Endpoint::bind(bounded).await.unwrap();
    server.serve(ECHO, Arc::new(held.clone())).unwrap();
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();
    let header = vec![7; 900 << 10];
    let asked = (0..8).map(|_| connection.request(&header, Bytes::new()));
    let release = async {
        for _ in 0..8 {
            held.arrival().await;
            held.let_one_go();
        }
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(asked), release);
    assert!(answers.iter().all(Result::is_ok));
    assert!(held.most() <= 3, "{} requests were held at once", held.most());
}

/// Answers with 1 MiB, and says so or not; counts how many are not taken yet.
#[derive(Clone)]
struct Generous(Arc<AtomicUsize>);

impl Handler for Generous {
    fn handle(
        &self,
        _: [u8; 32],
        _: Vec<u8>,
        _: Bytes,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), Refusal>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok((Vec::new(), vec![7; 1 << 20].into())) })
    }

    fn answer_max(&self, header: &[u8]) -> usize {
        if header.is_empty() { 1 << 20 } else { 0 }
    }
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_and_stop_nobody_else() {
    let generous = Generous(Arc::default());
    let limits = Limits { outbound_bytes_max: 4 << 20, ..Limits::default() };
    let server = Endpoint::bind(small(limits)).await.unwrap();
    server.serve(ECHO, Arc::new(generous.clone())).unwrap();
    let mut hostile = Hostile::connect(server.peer()).await;
    for _ in 0..16 {
        hostile.begin(&[0; 8]).await;
    }
    // One that needs no room is handled after those before it were begun.
    hostile.begin(&[0, 0, 0, 1, 0, 0, 0, 0, 1]).await;
    let (_, receive) = hostile.streams.last_mut().unwrap();
    receive.read_exact(&mut [0; 9]).await.unwrap();
    let begun = generous.0.load(Ordering::SeqCst);
    assert!(begun <= 3, "{begun} answers are held at once");
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();
    let asked = connection.request_within(b"", Bytes::new(), SOON);
    assert_eq!(asked.await.unwrap().1.len(), 1 << 20);
}

#[tokio::test]
async fn one_key_holds_a_few_connections_and_others_get_theirs() {
    let server = server(config(1)).await;
    let mut same = Vec::new();
    for _ in 0..Limits::default().connections_per_key_max {
        let client = Endpoint::bind(config(2)).await.unwrap();
        let connection = client.connect(server.peer(), ECHO).await.unwrap();
        connection.request(b"", Bytes::new()).await.unwrap();
        same.push((client, connection));
    }
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connection(server.peer(), ECHO);
    let refused = connection.request(b"", Bytes::new()).await.unwrap_err();
    assert!(matches!(refused, RequestError::Lost(_) | RequestError::Connect(_)), "{refused}");
    let other = Endpoint::bind(config(3)).await.unwrap();
    let connection = other.connect(server.peer(), ECHO).await.unwrap();
    connection.request(b"", Bytes::new()).await.unwrap();
}

#[tokio::test]
async fn quiet_connections_make_room_when_half_of_the_places_are_taken() {
    let mut narrow = config(1);
    narrow.limits.inbound_connections_max = 2;
    narrow.limits.quiet_timeout = Duration::from_millis(50);
    let server = server(narrow).await;
    let mut quiet = Vec::new();
    for seed in 2..6 {
        let client = Endpoint::bind(config(seed)).await.unwrap();
        let connection = client.connection(server.peer(), ECHO);
        // Refused until the one that is quiet for longest is gone.
        while connection.request(b"", Bytes::new()).await.is_err() {
            tokio::task::yield_now().await;
        }
        quiet.push((client, connection));
    }
}
