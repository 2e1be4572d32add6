//! The client: sends signed transactions over JSON-RPC and watches blocks for them.

use super::{
    BATCH, IN_FLIGHT,
    transactions::{Load, Workload, batch},
};
use agent::http::Base;
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Connections that send at once.
const CONNECTIONS: usize = 4;
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long until it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(4);

/// Deploys the token and gives every sender some.
pub(super) async fn set_up(port: u16, workload: &Workload) -> anyhow::Result<()> {
    let before = height(port).await?;
    post(port, batch(workload.setup.iter().map(Vec::as_slice))).await?;
    watch(port, before, workload.setup.len(), &AtomicUsize::new(0)).await?;
    Ok(())
}

/// Sends all transactions of a load; how many a second were put into blocks.
pub(super) async fn send(port: u16, workload: &Workload, load: Load) -> anyhow::Result<f64> {
    let (requests, count) = (workload.requests(load, CONNECTIONS), workload.count(load));
    let before = height(port).await?;
    let (sent, included) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let mut senders = JoinSet::new();
    for requests in requests {
        let (sent, included) = (Arc::clone(&sent), Arc::clone(&included));
        senders.spawn(async move {
            for body in requests {
                let before = sent.fetch_add(BATCH, Ordering::Relaxed);
                while before.saturating_sub(included.load(Ordering::Relaxed)) > IN_FLIGHT {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                post(port, body).await?;
            }
            anyhow::Ok(())
        });
    }
    let watched = watch(port, before, count, &included);
    let sending = async {
        while let Some(done) = senders.join_next().await {
            done??;
        }
        anyhow::Ok(())
    };
    tokio::try_join!(watched, sending)?;
    Ok(f64::from(u32::try_from(count)?) / began.elapsed().as_secs_f64())
}

/// Counts the transactions of the blocks after `height` until there are `count`.
async fn watch(
    port: u16,
    mut height: u64,
    count: usize,
    included: &AtomicUsize,
) -> anyhow::Result<()> {
    let mut last = Instant::now();
    while included.load(Ordering::Relaxed) < count {
        let number = format!("{:#x}", height + 1);
        let block = ask(port, "eth_getBlockByNumber", json!([number, false])).await?;
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

async fn height(port: u16) -> anyhow::Result<u64> {
    let answer = ask(port, "eth_blockNumber", json!([])).await?;
    let text = answer.as_str().context("a height is text")?;
    Ok(u64::from_str_radix(text.trim_start_matches("0x"), 16)?)
}

async fn ask(port: u16, method: &str, params: Value) -> anyhow::Result<Value> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let mut answer = request(port, body.to_string().into_bytes()).await?;
    Ok(answer["result"].take())
}

/// Sends a batch, of which all have to be taken.
async fn post(port: u16, body: Vec<u8>) -> anyhow::Result<()> {
    let answers = request(port, body).await?;
    let answers = answers.as_array().context("a batch is answered by a list")?;
    if let Some(refused) = answers.iter().find(|answer| answer["result"].is_null()) {
        bail!("a transaction was refused: {refused}");
    }
    Ok(())
}

async fn request(port: u16, body: Vec<u8>) -> anyhow::Result<Value> {
    let base = Base::new(&format!("http://127.0.0.1:{port}"))?;
    let (status, bytes) = base.post("/", "application/json", body, 32 << 20).await?;
    ensure!(status.is_success(), "HTTP {status}: {}", String::from_utf8_lossy(&bytes));
    Ok(serde_json::from_slice(&bytes)?)
}
