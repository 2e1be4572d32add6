//! The devnet's controls and metrics over HTTP on loopback: stop, start and tempt an agent.
//!
//! Trust: whoever reads the home folder's token may stop agents. The token keeps web pages out, which
//! can send requests to loopback but cannot read files.

use super::agents::Agents;
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The header that carries the token.
pub(crate) const TOKEN: &str = "x-wayleave-token";

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    agents: Arc<Agents>,
    token: Arc<str>,
    metrics: PrometheusHandle,
}

/// Serves until the task is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    agents: Arc<Agents>,
    token: String,
    metrics: PrometheusHandle,
) {
    let shared = Shared { agents, token: token.into(), metrics };
    let router = Router::new()
        .route(
            "/metrics",
            get(|State(shared): State<Shared>| async move { shared.metrics.render() }),
        )
        .route("/devnet/agents/{number}/{action}", post(act))
        .with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the devnet's controls stopped");
    }
}

async fn act(
    State(shared): State<Shared>,
    Path((number, action)): Path<(u8, String)>,
    headers: HeaderMap,
) -> Response {
    let given = headers.get(TOKEN).map_or(&[][..], |value| value.as_bytes());
    if !same(given, shared.token.as_bytes()) {
        return (StatusCode::FORBIDDEN, "the devnet's token is missing or wrong").into_response();
    }
    let result = match action.as_str() {
        "stop" => shared.agents.stop(number).await,
        "start" => shared.agents.restart(number, true).await,
        "start-silent-about-losses" => shared.agents.restart(number, false).await,
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

/// Compares without telling by time how much of it matched.
fn same(a: &[u8], b: &[u8]) -> bool {
    blake3::hash(a) == blake3::hash(b)
}
