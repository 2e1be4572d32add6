//! The client: sends signed transactions over JSON-RPC and watches blocks for them.

use super::{
    BATCH, CONNECTIONS,
    transactions::{Load, Workload, batch},
};
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request,
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, task::JoinSet};

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long until it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(4);

/// What a load came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Transactions put into blocks a second.
    pub(super) rate: f64,
    /// Time that the servers computed for each, microseconds.
    pub(super) cpu: f64,
}

/// Deploys the token and gives every sender some.
pub(super) async fn set_up(port: u16, workload: &Workload) -> anyhow::Result<()> {
    all_in_blocks(port, &workload.setup).await
}

/// Sends transactions in one batch, and waits until blocks hold them.
pub(super) async fn all_in_blocks(port: u16, txs: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut connection = Connection::open(port).await?;
    let before = connection.height().await?;
    connection.post(batch(txs.iter().map(Vec::as_slice))).await?;
    watch(connection, before, txs.len(), &AtomicUsize::new(0)).await
}

/// Sends all transactions of a load, at most `window` before blocks hold them. `cpu` says how many seconds the
/// servers have computed.
pub(super) async fn send(
    port: u16,
    (workload, load): (&Workload, Load),
    window: usize,
    cpu: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<Sent> {
    let (requests, count) = (workload.requests(load, CONNECTIONS), workload.count(load));
    let requests = requests.into_iter().map(futures::stream::iter).collect();
    let (computed, began) = (cpu()?, Instant::now());
    flow(port, requests, (count, window), &Arc::default()).await?;
    let (seconds, count) = (began.elapsed().as_secs_f64(), f64::from(u32::try_from(count)?));
    Ok(Sent { rate: count / seconds, cpu: (cpu()? - computed) * 1e6 / count })
}

/// Sends requests of [`BATCH`] transactions, each stream of them on a connection of its own, until blocks hold
/// `count`, and at most `window` before that. `included` says how many they hold.
pub(super) async fn flow<S: Stream<Item = Bytes> + Send + Unpin + 'static>(
    port: u16,
    requests: Vec<S>,
    (count, window): (usize, usize),
    included: &Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    let mut watching = Connection::open(port).await?;
    let before = watching.height().await?;
    let sent = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    for mut requests in requests {
        let (sent, included) = (Arc::clone(&sent), Arc::clone(included));
        let mut connection = Connection::open(port).await?;
        senders.spawn(async move {
            while let Some(body) = requests.next().await {
                let before = sent.fetch_add(BATCH, Ordering::Relaxed);
                while before.saturating_sub(included.load(Ordering::Relaxed)) > window {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                connection.post(body).await?;
            }
            anyhow::Ok(())
        });
    }
    let sending = async {
        while let Some(done) = senders.join_next().await {
            done??;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(watch(watching, before, count, included), sending)?;
    Ok(())
}

/// Counts the transactions of the blocks after `height` until there are `count`.
async fn watch(
    mut connection: Connection,
    mut height: u64,
    count: usize,
    included: &AtomicUsize,
) -> anyhow::Result<()> {
    let mut last = Instant::now();
    while included.load(Ordering::Relaxed) < count {
        let number = format!("{:#x}", height + 1);
        let block = connection.ask("eth_getBlockByNumber", json!([number, false])).await?;
        let Some(transactions) = block["transactions"].as_array() else {
            ensure!(last.elapsed() < PATIENCE, "no block after {height} for {PATIENCE:?}");
            tokio::time::sleep(ASK_AGAIN).await;
            continue;
        };
        height += 1;
        if !transactions.is_empty() {
            included.fetch_add(transactions.len(), Ordering::Relaxed);
            last = Instant::now();
        }
        let missing = count.saturating_sub(included.load(Ordering::Relaxed));
        ensure!(last.elapsed() < PATIENCE, "{missing} of {count} transactions are in no block");
    }
    Ok(())
}

/// A connection that is kept, as clients that send much do.
pub(super) struct Connection {
    host: String,
    requests: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(super) async fn open(port: u16) -> anyhow::Result<Self> {
        let host = format!("127.0.0.1:{port}");
        let stream = TcpStream::connect(&host).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with its requests.
        tokio::spawn(connection);
        Ok(Self { host, requests })
    }

    pub(super) async fn height(&mut self) -> anyhow::Result<u64> {
        let answer = self.ask("eth_blockNumber", json!([])).await?;
        let text = answer.as_str().context("a height is text")?;
        Ok(u64::from_str_radix(text.trim_start_matches("0x"), 16)?)
    }

    pub(super) async fn ask(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut answer = self.request(body.to_string().into()).await?;
        Ok(answer["result"].take())
    }

    /// Sends a batch, of which all have to be taken.
    async fn post(&mut self, body: Bytes) -> anyhow::Result<()> {
        let answers = self.request(body).await?;
        let answers = answers.as_array().context("a batch is answered by a list")?;
        if let Some(refused) = answers.iter().find(|answer| answer["result"].is_null()) {
            bail!("a transaction was refused: {refused}");
        }
        Ok(())
    }

    async fn request(&mut self, body: Bytes) -> anyhow::Result<Value> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/")
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let exchange = async {
            self.requests.ready().await?;
            let answer = self.requests.send_request(request).await?;
            let status = answer.status();
            anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
        };
        let (status, bytes) = tokio::time::timeout(PATIENCE, exchange).await??;
        ensure!(status.is_success(), "HTTP {status}: {}", String::from_utf8_lossy(&bytes));
        Ok(serde_json::from_slice(&bytes)?)
    }
}
