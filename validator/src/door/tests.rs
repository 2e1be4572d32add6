//! Clients that are slow, and more of them than there are places.

use super::*;
use axum::{body::Bytes, routing::post};
use std::net::SocketAddr;

const ASKED: &str =
    "POST / HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 4\r\n\r\n";

async fn open(bounds: Bounds) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let router = Router::new().route("/", post(async |body: Bytes| body));
    tokio::spawn(serve(listener, router, bounds));
    at
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn hear(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn one_host_never_takes_all_places() {
    let places =
        Places::new(&Bounds { connections: 4, connections_per_host: 2, ..Bounds::default() });
    let enter = |addr: &str| places.enter(addr.parse().unwrap());
    let first = enter("203.0.113.1").unwrap();
    let _second = enter("203.0.113.1").unwrap();
    assert!(enter("203.0.113.1").is_none());
    let _other = enter("203.0.113.2").unwrap();
    drop(first);
    let _again = enter("203.0.113.1").unwrap();
    assert!(enter("203.0.113.1").is_none());
    let _last = enter("127.0.0.1").unwrap();
    assert!(enter("203.0.113.3").is_none(), "all places are taken");
}

#[test]
fn a_proxy_of_this_machine_speaks_for_many() {
    let places = Places::new(&Bounds { connections_per_host: 1, ..Bounds::default() });
    let held: Vec<_> = (0..3).map(|_| places.enter([127, 0, 0, 1].into()).unwrap()).collect();
    assert_eq!(places.hosts().len(), 1);
    drop(held);
    assert!(places.hosts().is_empty(), "what is free is forgotten");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let at = open(Bounds { request: Duration::from_millis(50), ..Bounds::default() }).await;
    let mut slow = TcpStream::connect(at).await.unwrap();
    say(&mut slow, ASKED).await;
    say(&mut slow, "ha").await;
    let answer = hear(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.ends_with("took too long to arrive or to answer"), "{answer}");
}

#[tokio::test]
async fn headers_that_do_not_come_are_not_waited_for() {
    let at = open(Bounds { headers: Duration::from_millis(50), ..Bounds::default() }).await;
    let mut slow = TcpStream::connect(at).await.unwrap();
    say(&mut slow, "POST / HTTP/1.1\r\nHo").await;
    // That the connection ends is all.
    hear(&mut slow).await;
}

#[tokio::test]
async fn a_connection_ends_however_often_it_asks() {
    let at = open(Bounds { connection: Duration::from_millis(50), ..Bounds::default() }).await;
    let mut stream = TcpStream::connect(at).await.unwrap();
    let asked = ASKED.replace("Connection: close\r\n", "");
    // A write fails, or nothing is read, once it has ended.
    let mut heard = [0; 1 << 10];
    while stream.write_all(format!("{asked}four").as_bytes()).await.is_ok()
        && stream.read(&mut heard).await.is_ok_and(|bytes| bytes > 0)
    {}
}

#[tokio::test]
async fn who_finds_no_place_is_told_and_finds_one_later() {
    let at = open(Bounds { connections: 1, ..Bounds::default() }).await;
    let mut first = TcpStream::connect(at).await.unwrap();
    say(&mut first, ASKED).await;
    let mut second = TcpStream::connect(at).await.unwrap();
    say(&mut second, ASKED).await;
    let answer = hear(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    say(&mut first, "four").await;
    let answer = hear(&mut first).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("four"), "{answer}");
    // The place is free once the server has seen the end of it.
    let found = async {
        loop {
            let mut third = TcpStream::connect(at).await.unwrap();
            say(&mut third, ASKED).await;
            say(&mut third, "four").await;
            let answer = hear(&mut third).await;
            if answer.starts_with("HTTP/1.1 200 ") {
                return;
            }
            assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        }
    };
    timeout(Duration::from_secs(300), found).await.unwrap();
}
