//! `eth_subscribe` over WebSocket: new heads and logs.
//!
//! A subscriber that reads slowly misses nothing and costs nothing: its blocks are read from the
//! history when its connection takes them. A block costs a subscriber of logs one look at its bloom, unless
//! that may match.

use crate::{error::Error, format, logs::Matcher, server::Context};
use alloy_rpc_types_eth::{
    Filter,
    pubsub::{Params as Asked, SubscriptionKind},
};
use consensus::Finalized;
use jsonrpsee::{
    PendingSubscriptionSink, RpcModule, SubscriptionMessage, SubscriptionSink,
    server::RegisterMethodError,
    types::{ErrorObjectOwned, Params},
};
use serde::Serialize;
use std::sync::Arc;

pub(crate) fn register(m: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    m.register_subscription(
        "eth_subscribe",
        "eth_subscription",
        "eth_unsubscribe",
        |params, pending, cx, _| async move { run(&params, pending, &cx).await },
    )?;
    Ok(())
}

/// What a subscriber wants.
enum Wanted {
    Heads,
    Logs(Box<Matcher>),
}

fn parse(params: &Params<'_>) -> Result<Wanted, Error> {
    let mut params = params.sequence();
    let kind: SubscriptionKind = params.next()?;
    let asked: Option<Asked> = params.optional_next()?;
    match (kind, asked) {
        (SubscriptionKind::NewHeads, None | Some(Asked::None)) => Ok(Wanted::Heads),
        (SubscriptionKind::Logs, Some(Asked::Logs(filter))) => logs(*filter),
        (SubscriptionKind::Logs, None | Some(Asked::None)) => logs(Filter::default()),
        _ => Err(Error::Invalid("only newHeads and logs can be subscribed to".to_owned())),
    }
}

fn logs(filter: Filter) -> Result<Wanted, Error> {
    Ok(Wanted::Logs(Box::new(Matcher::new(filter)?)))
}

async fn run(params: &Params<'_>, pending: PendingSubscriptionSink, cx: &Context) {
    let wanted = match parse(params) {
        Ok(wanted) => wanted,
        Err(error) => return pending.reject(ErrorObjectOwned::from(error)).await,
    };
    let mut blocks = cx.ledger.subscribe();
    // An error says that the subscriber has gone.
    let Ok(sink) = pending.accept().await else { return };
    loop {
        let ready = tokio::select! {
            () = sink.closed() => return,
            ready = blocks.ready() => ready,
        };
        if !ready {
            return;
        }
        // A block that was missed comes from the disk.
        let read = tokio::task::spawn_blocking(move || (blocks.read(), blocks));
        let Ok((block, rest)) = read.await else { return };
        blocks = rest;
        let sent = match block {
            Ok(block) => send_block(&sink, &wanted, &block).await,
            Err(error) => {
                tracing::error!(%error, "a subscription ended");
                return;
            }
        };
        if sent.is_none() {
            return;
        }
    }
}

/// Sends what a block holds for a subscriber; nothing once it has gone.
async fn send_block(
    sink: &SubscriptionSink,
    wanted: &Wanted,
    block: &Arc<Finalized>,
) -> Option<()> {
    match wanted {
        Wanted::Heads => send(sink, &format::header(block)).await,
        Wanted::Logs(matcher) => {
            if matcher.may_match(&block.header.logs_bloom) {
                for log in format::block_logs(block, |log| matcher.matches(log)) {
                    send(sink, &log).await?;
                }
            }
            Some(())
        }
    }
}

async fn send(sink: &SubscriptionSink, item: &impl Serialize) -> Option<()> {
    let message =
        SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), item).ok()?;
    sink.send(message).await.ok()
}
