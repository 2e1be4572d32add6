//! The transport on loopback: what works, what is refused, and what happens when a peer dies.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should panic where it stands")]

mod hostile;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Semaphore;
use transport::{
    BindConfig, BoxFuture, ConnectError, Endpoint, Handler, Limits, Peer, Refusal, RequestError,
    ServeError, code,
};

const ECHO: &[u8] = b"wayleave/test-echo/1";
const OTHER: &[u8] = b"wayleave/test-other/1";

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn config(seed: u8) -> BindConfig {
    BindConfig::new([seed; 32], local()).alpn(ECHO)
}

/// Answers with the asker's key and the header, and the body as it came.
struct Echo;

impl Handler for Echo {
    fn handle(
        &self,
        peer: [u8; 32],
        header: Vec<u8>,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), Refusal>> {
        Box::pin(async move {
            match header.as_slice() {
                b"refuse" => Err(Refusal::new(code::PROTOCOL + 7, "not today")),
                b"long refusal" => Err(Refusal::new(code::PROTOCOL, "é".repeat(2_000))),
                b"huge answer" => Ok((Vec::new(), vec![0; 1 << 20].into())),
                _ => Ok(([&peer[..], &header].concat(), body)),
            }
        })
    }
}

async fn server(config: BindConfig) -> Endpoint {
    let server = Endpoint::bind(config).await.unwrap();
    server.serve(ECHO, Arc::new(Echo)).unwrap();
    server
}

#[tokio::test]
async fn a_request_is_answered_and_the_asker_is_known_by_its_key() {
    let server = server(config(1)).await;
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();
    let (header, body) = connection.request(b"hello", Bytes::from_static(b"body")).await.unwrap();
    assert_eq!(header, [&client.id()[..], b"hello"].concat());
    assert_eq!(&body[..], b"body");
    let (_, empty) = connection.request(b"", Bytes::new()).await.unwrap();
    assert!(empty.is_empty());
    client.close().await;
    server.close().await;
    assert_eq!(client.connect(server.peer(), ECHO).await.unwrap_err(), ConnectError::Closed);
}

#[tokio::test]
async fn refusals_carry_their_code_and_are_cut_at_their_limit() {
    let server = server(config(1)).await;
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();
    let refused = connection.request(b"refuse", Bytes::new()).await.unwrap_err();
    assert_eq!(refused, RequestError::Refused(Refusal::new(code::PROTOCOL + 7, "not today")));
    let RequestError::Refused(long) =
        connection.request(b"long refusal", Bytes::new()).await.unwrap_err()
    else {
        panic!("expected a refusal");
    };
    assert_eq!(long.message, "é".repeat(512));
}

#[tokio::test]
async fn frames_over_a_limit_are_refused_on_either_side() {
    let mut small = config(1);
    small.max_frame = 64 << 10;
    let server = server(small).await;
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();

    // Under the client's limit, over the server's: refused before it is read.
    let RequestError::Refused(refusal) =
        connection.request(b"", vec![7; 8 << 20].into()).await.unwrap_err()
    else {
        panic!("expected a refusal");
    };
    assert_eq!(refusal.code, code::TOO_LARGE);
    // An answer over the server's own limit.
    let RequestError::Refused(refusal) =
        connection.request(b"huge answer", Bytes::new()).await.unwrap_err()
    else {
        panic!("expected a refusal");
    };
    assert_eq!(refusal.code, code::TOO_LARGE);
    // Over the client's own limits: never sent.
    let body = connection.request(b"", vec![7; (24 << 20) + 1].into()).await.unwrap_err();
    assert!(matches!(body, RequestError::TooLarge { part: "body", .. }), "{body}");
    let header = connection.request(&vec![7; (1 << 20) + 1], Bytes::new()).await.unwrap_err();
    assert!(matches!(header, RequestError::TooLarge { part: "header", .. }), "{header}");
    // The connection is as good as before.
    let (_, body) = connection.request(b"", vec![9; 64 << 10].into()).await.unwrap();
    assert_eq!(body.len(), 64 << 10);
}

#[tokio::test]
async fn a_protocol_nobody_serves_is_refused_in_the_handshake() {
    let server = Endpoint::bind(config(1).alpn(OTHER)).await.unwrap();
    let client = Endpoint::bind(config(2)).await.unwrap();
    server.serve(ECHO, Arc::new(Echo)).unwrap();
    let refused = client.connect(server.peer(), OTHER).await.unwrap_err();
    assert_eq!(refused, ConnectError::Protocol("wayleave/test-other/1".into()));
    server.serve(OTHER, Arc::new(Echo)).unwrap();
    client.connect(server.peer(), OTHER).await.unwrap();
    let unbound = client.serve(OTHER, Arc::new(Echo)).unwrap_err();
    assert_eq!(unbound, ServeError::NotBound("wayleave/test-other/1".into()));
}

#[tokio::test]
async fn an_impostor_at_the_address_is_refused() {
    let impostor = server(config(1)).await;
    let client = Endpoint::bind(config(2)).await.unwrap();
    let wanted = Endpoint::bind(config(3)).await.unwrap();
    let peer = Peer { key: wanted.id(), address: impostor.addr() };
    assert!(client.connect(peer, ECHO).await.is_err());
    // The real owner of the address is still reachable.
    client.connect(impostor.peer(), ECHO).await.unwrap();
}

#[tokio::test]
async fn a_dead_peer_is_an_error_in_time_and_waiters_share_it() {
    let gone = server(config(1)).await;
    let peer = gone.peer();
    gone.close().await;
    drop(gone);
    let mut config = config(2);
    config.limits.connect_timeout = Duration::from_millis(400);
    let client = Endpoint::bind(config).await.unwrap();
    let connection = client.connection(peer, ECHO);
    let attempts = (0..20).map(|_| connection.request(b"", Bytes::new()));
    for outcome in futures::future::join_all(attempts).await {
        let error = outcome.unwrap_err();
        assert!(matches!(error, RequestError::Connect(ConnectError::TimedOut { .. })), "{error}");
    }
}

#[tokio::test]
async fn the_pool_dials_again_after_a_restart() {
    let first = server(config(1)).await;
    let peer = first.peer();
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(peer, ECHO).await.unwrap();
    connection.request(b"one", Bytes::new()).await.unwrap();
    first.close().await;
    drop(first);
    let second = server(BindConfig::new([1; 32], peer.address).alpn(ECHO)).await;
    assert_eq!(second.peer(), peer);
    let (header, _) = connection.request(b"two", Bytes::new()).await.unwrap();
    assert_eq!(&header[32..], b"two");
}

#[tokio::test]
async fn a_peer_that_vanishes_without_a_word_is_noticed() {
    let limits = Limits { idle_timeout: Duration::from_millis(900), ..Limits::default() };
    let mut quick = config(1);
    quick.limits = limits;
    let first = server(quick.clone()).await;
    let peer = first.peer();
    let mut own = config(2);
    own.limits = limits;
    let client = Endpoint::bind(own).await.unwrap();
    let connection = client.connect(peer, ECHO).await.unwrap();
    // Dropped, not closed: no packet tells the client.
    drop(first);
    let mut again = quick;
    again.addr = peer.address;
    let _second = server(again).await;
    let answered = loop {
        match connection.request(b"again", Bytes::new()).await {
            Ok((header, _)) => break header,
            Err(RequestError::Lost(_) | RequestError::Connect(_)) => {}
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(&answered[32..], b"again");
}

/// Holds every request until it is let go, and counts how many are held.
#[derive(Clone, Default)]
struct Held(Arc<Holding>);

struct Holding {
    begun: AtomicUsize,
    most: AtomicUsize,
    arrived: Semaphore,
    go: Semaphore,
}

impl Default for Holding {
    fn default() -> Self {
        Self {
            begun: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            arrived: Semaphore::new(0),
            go: Semaphore::new(0),
        }
    }
}

impl Held {
    async fn arrival(&self) {
        self.0.arrived.acquire().await.unwrap().forget();
    }

    fn most(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }

    fn let_one_go(&self) {
        self.0.go.add_permits(1);
    }
}

impl Handler for Held {
    fn handle(
        &self,
        _: [u8; 32],
        _: Vec<u8>,
        _: Bytes,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), Refusal>> {
        Box::pin(async move {
            let now = self.0.begun.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.most.fetch_max(now, Ordering::SeqCst);
            self.0.arrived.add_permits(1);
            self.0.go.acquire().await.unwrap().forget();
            self.0.begun.fetch_sub(1, Ordering::SeqCst);
            Ok((b"done".to_vec(), Bytes::new()))
        })
    }
}

#[tokio::test]
async fn requests_beyond_the_limit_wait_and_none_is_lost() {
    let held = Held::default();
    let mut bounded = config(1);
    bounded.limits.requests_per_connection_max = 3;
    let server = Endpoint::bind(bounded).await.unwrap();
    server.serve(ECHO, Arc::new(held.clone())).unwrap();
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();
    let asked: Vec<_> = (0..12)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.request(b"", Bytes::new()).await })
        })
        .collect();
    let release = tokio::spawn({
        let held = held.clone();
        async move {
            loop {
                held.arrival().await;
                held.let_one_go();
            }
        }
    });
    for answer in asked {
        assert_eq!(answer.await.unwrap().unwrap().0, b"done");
    }
    release.abort();
    assert!(held.most() <= 3);
}

#[tokio::test]
async fn closing_lets_a_request_under_way_finish() {
    let held = Held::default();
    let server = Endpoint::bind(config(1)).await.unwrap();
    server.serve(ECHO, Arc::new(held.clone())).unwrap();
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();
    let asked = tokio::spawn(async move { connection.request(b"", Bytes::new()).await });
    held.arrival().await;
    let closing = tokio::spawn({
        let server = server.clone();
        async move { server.close().await }
    });
    held.let_one_go();
    assert_eq!(asked.await.unwrap().unwrap().0, b"done");
    closing.await.unwrap();
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_a_named_refusal() {
    let held = Held::default();
    let mut hasty = config(1);
    hasty.limits.request_timeout = Duration::from_millis(200);
    let server = Endpoint::bind(hasty).await.unwrap();
    server.serve(ECHO, Arc::new(held.clone())).unwrap();
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();
    let RequestError::Refused(refusal) = connection.request(b"", Bytes::new()).await.unwrap_err()
    else {
        panic!("expected a refusal");
    };
    assert_eq!(refusal.code, code::TIMED_OUT);
}

#[tokio::test]
async fn the_pool_is_bounded() {
    let mut narrow = config(9);
    narrow.limits.pool_connections_max = 2;
    let client = Endpoint::bind(narrow).await.unwrap();
    let mut servers = Vec::new();
    for seed in 1..=4 {
        let server = server(config(seed)).await;
        let connection = client.connect(server.peer(), ECHO).await.unwrap();
        connection.request(b"", Bytes::new()).await.unwrap();
        servers.push((server, connection));
    }
    // Those pushed out of the pool still work for who holds them.
    for (_, connection) in &servers {
        connection.request(b"", Bytes::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let first = server(config(1)).await;
    let error = Endpoint::bind(BindConfig::new([2; 32], first.addr())).await.unwrap_err();
    assert!(error.to_string().contains(&first.addr().to_string()), "{error}");
}

#[tokio::test]
async fn secrets_are_not_in_debug_output() {
    let shown = format!("{:?}", config(0xAB));
    assert!(!shown.contains("171, 171") && !shown.contains("secret"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_move_whole_and_the_pace_is_printed() {
    let server = server(config(1)).await;
    let client = Endpoint::bind(config(2)).await.unwrap();
    let connection = client.connect(server.peer(), ECHO).await.unwrap();
    let shard: Bytes = (0..16u32 << 20)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect::<Vec<_>>()
        .into();
    let begun = Instant::now();
    let rounds = 4;
    for _ in 0..rounds {
        let (_, back) = connection.request(b"", shard.clone()).await.unwrap();
        assert_eq!(back, shard);
    }
    let one = begun.elapsed();
    let begun = Instant::now();
    let together = (0..rounds).map(|_| connection.request(b"", shard.clone()));
    for outcome in futures::future::join_all(together).await {
        assert_eq!(outcome.unwrap().1, shard);
    }
    let many = begun.elapsed();
    let mebibytes = f64::from(rounds * 2 * 16);
    println!(
        "loopback, 16 MiB there and back: {:.0} MiB/s one at a time, {:.0} MiB/s four together",
        mebibytes / one.as_secs_f64(),
        mebibytes / many.as_secs_f64()
    );
}
