//! The bare protocol: CORS, batches, sizes, ports.

use crate::support::*;
use consensus::Retention;
use rpc::{Limits, ServeError, serve};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Sends one HTTP request and gives head and body of the answer.
async fn http(addr: SocketAddr, method: &str, headers: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!(
        "{method} / HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // The server may answer and close before it has read all of a request that is too long.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_lowercase(), body.to_owned())
}

fn batch(count: usize) -> String {
    let one = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] });
    Value::from(vec![one; count]).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_batches_and_limits() {
    let limits = Limits { request_bytes: 10_000, batch: 5, ..Limits::default() };
    let node = Node::start(limits, Retention::default()).await;
    let addr = node.server.addr();

    let origin = "Origin: https://wallet.example\r\n";
    let preflight = format!(
        "{origin}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n"
    );
    let (head, _) = http(addr, "OPTIONS", &preflight, "").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    assert!(head.contains("access-control-allow-headers: *"), "{head}");

    let (head, body) = http(addr, "POST", origin, &batch(5)).await;
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    assert_eq!(body.matches("0xde91").count(), 5, "{body}");
    let (_, body) = http(addr, "POST", "", &batch(6)).await;
    assert!(body.contains("error") && !body.contains("0xde91"), "{body}");

    let long = json!({ "jsonrpc": "2.0", "id": 1, "method": "web3_sha3", "params": ["0x".to_owned() + &"0".repeat(20_000)] });
    let (head, body) = http(addr, "POST", "", &long.to_string()).await;
    assert!(head.contains("413") || body.contains("-32007"), "{head} {body}");
    let (_, body) = http(addr, "POST", "", "{").await;
    assert!(body.contains("-32700"), "{body}");

    let busy = serve(node.running.ledger.clone(), addr, Limits::default()).await;
    let Err(ServeError::Listen { addr: named, .. }) = busy else { panic!("the port is in use") };
    assert_eq!(named, addr);
    node.stop().await;
}
