//! `eth_subscribe` over WebSocket: new heads and logs.
//!
//! A subscriber that reads slowly misses nothing and costs nothing: its blocks are read from the
//! history when its connection takes them.

use crate::{error::Error, format, logs, server::Context};
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
    Logs(Box<Filter>),
}

fn parse(params: &Params<'_>) -> Result<Wanted, Error> {
    let mut params = params.sequence();
    let kind: SubscriptionKind = params.next()?;
    let asked: Option<Asked> = params.optional_next()?;
    match (kind, asked) {
        (SubscriptionKind::NewHeads, None | Some(Asked::None)) => Ok(Wanted::Heads),
        (SubscriptionKind::Logs, Some(Asked::Logs(filter))) => Ok(Wanted::Logs(filter)),
        (SubscriptionKind::Logs, None | Some(Asked::None)) => Ok(Wanted::Logs(Box::default())),
        _ => Err(Error::Invalid("only newHeads and logs can be subscribed to".to_owned())),
    }
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
        let block = tokio::select! {
            () = sink.closed() => return,
            block = blocks.next() => block,
        };
        let sent = match block {
            Ok(Some(block)) => send_block(&sink, &wanted, &block).await,
            Ok(None) => return,
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
        Wanted::Logs(filter) => {
            for log in format::block_logs(block) {
                if logs::matches(filter, &log.inner) {
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
