//! What stands for HTTP in a world: to a machine's own ledger, and to other desks.

use super::desk::Post;
use crate::{faults::wire::Wire, world::people::CHAIN};
use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use client::{Client, Options, transport::Direct};
use consensus::Ledger;
use rpc::{Limits, Local};
use std::{
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;
use validator::others::{FILE_MAX, Found, Source};

/// How long somebody waits for a machine that does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client of a machine's own ledger: its JSON-RPC without HTTP.
///
/// # Errors
/// When the ledger does not answer.
pub async fn own(ledger: Ledger) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let local = Arc::new(Local::new(ledger, Limits::default())?);
    let answer = move |method: String, params: Vec<_>| {
        let local = local.clone();
        async move { local.call(&method, &params).await }
    };
    let options = Options { chain_id: Some(CHAIN), ..Options::default() };
    let transport = Arc::new(Direct::new(answer));
    Ok(Client::connect_over("the machine's own ledger", transport, options).await?)
}

/// Another machine's desk, over the links between the two.
#[derive(Debug)]
pub struct Neighbour {
    /// Who asks.
    pub me: usize,
    /// Who is asked.
    pub them: usize,
    /// All links.
    pub wire: Arc<Wire>,
    /// Who stands there. Desks know one another: none may keep another alive.
    pub post: Weak<Post>,
}

impl Neighbour {
    async fn fetch(&self, path: &str) -> Found {
        let ways = [self.wire.link(self.me, self.them), self.wire.link(self.them, self.me)];
        sleep(Duration::from_millis(ways.iter().map(|way| way.delay_ms).sum())).await;
        let there = self.post.upgrade().and_then(|post| post.api());
        let there = there.filter(|_| ways.iter().all(|way| way.open));
        let Some(api) = there else {
            sleep(PATIENCE).await;
            return Err("it does not answer".into());
        };
        let answer = api.router().oneshot(Request::get(path).body(Body::empty())?);
        // Who ends meanwhile never answers.
        let answer = timeout(PATIENCE, answer).await??;
        let found = answer.status() == StatusCode::OK;
        let bytes = to_bytes(answer.into_body(), FILE_MAX).await?;
        Ok(found.then_some(bytes))
    }
}

impl Source for Neighbour {
    fn get<'a>(&'a self, path: &'a str) -> Pin<Box<dyn Future<Output = Found> + Send + 'a>> {
        Box::pin(self.fetch(path))
    }
}
