//! The devnet's controls over HTTP on loopback, beside its metrics: stop, start and tempt an agent, and
//! see what the S3 service still has to do.
//!
//! Trust: whoever reads the home folder's token may stop agents. The token keeps web pages out, which
//! can send requests to loopback but cannot read files.

use super::agents::Agents;
use crate::{
    metrics::{self, Sources},
    storefront::Open,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::net::TcpListener;
use validator::door::{self, Bounds};

/// The header that carries the token.
pub(crate) const TOKEN: &str = "x-wayleave-token";

/// The answer to a request without it.
const FORBIDDEN: (StatusCode, &str) =
    (StatusCode::FORBIDDEN, "the devnet's token is missing or wrong");

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Controls {
    /// The agents to stop and start.
    pub(crate) agents: Arc<Agents>,
    /// The S3 service.
    pub(crate) s3: Open,
    /// What requests must carry.
    pub(crate) token: Arc<str>,
}

/// What the S3 service still has to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Backlog {
    /// Shards that wait for a home.
    pub(crate) queued: u64,
}

/// Serves until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, controls: Controls, sources: Sources) {
    let router = Router::new()
        .route("/devnet/agents/{number}/{action}", post(act))
        .route("/devnet/s3", get(backlog))
        .with_state(controls)
        .merge(metrics::router(sources));
    door::serve(listener, router, Bounds::default()).await;
}

async fn act(
    State(controls): State<Controls>,
    Path((number, action)): Path<(u8, String)>,
    headers: HeaderMap,
) -> Response {
    if !controls.admit(&headers) {
        return FORBIDDEN.into_response();
    }
    let result = match action.as_str() {
        "stop" => controls.agents.stop(number).await,
        "start" => controls.agents.restart(number, true).await,
        "start-silent-about-losses" => controls.agents.restart(number, false).await,
        _ => {
            return (StatusCode::NOT_FOUND, "stop, start, or start-silent-about-losses")
                .into_response();
        }
    };
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::CONFLICT, format!("{error:#}")).into_response(),
    }
}

async fn backlog(State(controls): State<Controls>, headers: HeaderMap) -> Response {
    if !controls.admit(&headers) {
        return FORBIDDEN.into_response();
    }
    match controls.s3.snapshot().await {
        Some(snapshot) => Json(Backlog { queued: snapshot.queued }).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the S3 service does not say").into_response(),
    }
}

impl Controls {
    fn admit(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(TOKEN).map_or(&[][..], |value| value.as_bytes());
        same(given, self.token.as_bytes())
    }
}

/// Compares without telling by time how much of it matched.
fn same(a: &[u8], b: &[u8]) -> bool {
    blake3::hash(a) == blake3::hash(b)
}
