//! What stands for HTTP in a world: to a machine's own ledger, and to other desks.

use super::desk::Post;
use crate::faults::wire::Wire;
use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use client::{
    Transport,
    transport::{Answers, Question, Refusal},
};
use consensus::Ledger;
use rpc::{Limits, Local, ServeError};
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

/// A ledger's JSON-RPC without HTTP.
#[derive(Debug)]
pub struct InProcess(Local);

impl InProcess {
    /// The methods of a ledger.
    ///
    /// # Errors
    /// Never, unless two methods have one name.
    pub fn new(ledger: Ledger) -> Result<Self, ServeError> {
        Local::new(ledger, Limits::default()).map(Self)
    }
}

impl Transport for InProcess {
    fn ask<'a>(
        &'a self,
        questions: &'a [Question<'a>],
    ) -> Pin<Box<dyn Future<Output = Answers> + Send + 'a>> {
        Box::pin(async move {
            let mut answers = Vec::new();
            for Question { method, params } in questions {
                let answer = self.0.call(method, params).await;
                answers.push(answer.map_err(|object| Refusal {
                    code: object.code(),
                    message: object.message().to_owned(),
                    data: object.data().and_then(|raw| serde_json::from_str(raw.get()).ok()),
                }));
            }
            Ok(answers)
        })
    }
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
