//! Transfers of coins, each to an account of its own, signed while others are sent.

use crate::{
    ledger::{
        BATCH, CONNECTIONS,
        sender::flow,
        transactions::{Call, SENDERS, batch, signed},
    },
    report::progress,
};
use alloy_primitives::{Address, TxKind, keccak256};
use alloy_signer_local::PrivateKeySigner;
use anyhow::Context as _;
use bytes::Bytes;
use futures::Stream;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{self, Poll},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Most transactions on their way: less than the pool of a node holds, and enough for the fullest blocks.
const WINDOW: usize = 12_000;
/// Requests that are signed ahead for a connection.
const AHEAD: usize = 8;
/// How often it is said how far the load is.
const SAY: Duration = Duration::from_secs(5);

/// Signed requests of one connection.
struct Requests(mpsc::Receiver<Bytes>);

impl Stream for Requests {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_recv(cx)
    }
}

/// Who sends: accounts of their own, as a genesis refuses those of development chains.
pub(super) fn senders() -> anyhow::Result<Vec<PrivateKeySigner>> {
    (0..SENDERS)
        .map(|number| Ok(PrivateKeySigner::from_bytes(&keccak256(format!("sender {number}")))?))
        .collect()
}

/// Makes at least `count` accounts through the JSON-RPC at `port`; gives how many, and the seconds.
pub(super) async fn run(port: u16, count: u32) -> anyhow::Result<(u32, f64)> {
    let senders = senders()?;
    let each = each(count, &senders)?;
    let count = each * u32::try_from(senders.len())?;
    let requests = (0..CONNECTIONS)
        .map(|first| {
            let mine: Vec<_> = senders.iter().skip(first).step_by(CONNECTIONS).cloned().collect();
            let (to, from) = mpsc::channel(AHEAD);
            thread::Builder::new().name("client".into()).spawn(move || sign(&mine, each, &to))?;
            anyhow::Ok(Requests(from))
        })
        .collect::<anyhow::Result<_>>()?;
    let (began, included) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let load = flow(port, requests, (usize::try_from(count)?, WINDOW), &included);
    tokio::pin!(load);
    loop {
        tokio::select! {
            done = &mut load => return done.map(|()| (count, began.elapsed().as_secs_f64())),
            () = tokio::time::sleep(SAY) => {
                progress(&format!("{} of {count} accounts", included.load(Ordering::Relaxed)));
            }
        }
    }
}

/// An account that is made last.
pub(super) fn last(count: u32) -> anyhow::Result<Address> {
    let senders = senders()?;
    let nonce = each(count, &senders)?.checked_sub(1).context("there are accounts to make")?;
    let sender = senders.last().context("there are senders")?;
    Ok(made(sender, nonce.into()))
}

/// How many accounts each sender makes.
fn each(count: u32, senders: &[PrivateKeySigner]) -> anyhow::Result<u32> {
    Ok(count.div_ceil(u32::try_from(senders.len())?))
}

/// The account that a sender makes with a nonce: nobody else's.
fn made(sender: &PrivateKeySigner, nonce: u64) -> Address {
    sender.address().create(nonce)
}

/// Signs what `senders` send, in turn, as long as somebody takes it.
fn sign(senders: &[PrivateKeySigner], each: u32, to: &mpsc::Sender<Bytes>) {
    let all = (0..u64::from(each)).flat_map(|nonce| senders.iter().map(move |one| (one, nonce)));
    let mut txs = all.map(|(sender, nonce)| {
        let to = TxKind::Call(made(sender, nonce));
        signed(sender, Call { nonce, to, value: 1, gas_limit: 21_000, input: Vec::new() })
    });
    loop {
        // A signature that fails ends the stream, and the load says how many are missing.
        let part: Vec<_> = txs.by_ref().take(BATCH).map_while(Result::ok).collect();
        let request = batch(part.iter().map(Vec::as_slice));
        if part.is_empty() || to.blocking_send(request).is_err() {
            return;
        }
    }
}
