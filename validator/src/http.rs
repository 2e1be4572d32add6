//! Evidence, inputs and statements over HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/evidence` | [`evidence::wire::Answers`] to a [`Submit`], both canonical CBOR |
//! | `GET /v1/inputs/{network}/{epoch}` | the inputs file, byte for byte |
//! | `GET /v1/statement/{network}/{epoch}` | the statement, byte for byte |
//! | `GET /v1/statement/{network}/{epoch}/json` | the statement for people and scripts |
//! | `GET /v1/proof/{network}/{account}` | the account's newest final leaf with its Merkle proof |
//! | `GET /v1/status` | the validator's key, height, and what waits |
//!
//! Anyone may read; anyone may submit, since only a device's own signature counts.

use crate::intake::Intake;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use client::Client;
use evidence::{
    Archive,
    wire::{Answer, Answers, MEDIA_TYPE, SUBMIT_MAX, Submit},
};
use protocol::{
    Account, Digest, Epoch, Height, NetworkId, Reason, clock::Clock, statement::Statement,
};
use serde_json::json;
use std::{fmt::Display, sync::Arc};
use tokio::sync::watch;
use tower_http::cors::{Any, CorsLayer};

/// What requests are answered from.
#[derive(Clone)]
pub struct Api {
    intake: Arc<Intake>,
    archive: Archive,
    client: Client,
    clock: Arc<dyn Clock>,
    key: [u8; 32],
    recorded: watch::Receiver<Height>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("archive", &self.archive).finish_non_exhaustive()
    }
}

impl Api {
    /// Answers from these.
    pub fn new(
        (intake, archive): (Arc<Intake>, Archive),
        client: Client,
        clock: Arc<dyn Clock>,
        key: [u8; 32],
        recorded: watch::Receiver<Height>,
    ) -> Self {
        Self { intake, archive, client, clock, key, recorded }
    }

    /// The archive.
    pub const fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Answers envelopes. The journal is synced where blocking is allowed.
    pub async fn submit(&self, submit: Submit) -> Vec<Answer> {
        let (intake, now_ms) = (self.intake.clone(), self.clock.now_ms());
        let count = submit.envelopes().len();
        let task = tokio::task::spawn_blocking(move || intake.submit(&submit, now_ms));
        let answers = task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the intake failed");
            vec![Answer::Refused(Reason::QueueFull); count]
        });
        for answer in &answers {
            let reason = answer.accepted().err().map_or("accepted", Reason::code);
            metrics::counter!("wayleave_evidence_total", "answer" => reason).increment(1);
        }
        answers
    }

    /// The routes.
    pub fn router(self) -> Router {
        let cors = CorsLayer::new().allow_origin(Any).allow_methods([Method::GET]);
        Router::new()
            .route("/v1/evidence", post(submit))
            .route("/v1/inputs/{network}/{epoch}", get(inputs))
            .route("/v1/statement/{network}/{epoch}", get(statement))
            .route("/v1/statement/{network}/{epoch}/json", get(statement_json))
            .route("/v1/proof/{network}/{account}", get(proof))
            .route("/v1/status", get(status))
            .layer(DefaultBodyLimit::max(SUBMIT_MAX))
            .layer(cors)
            .with_state(self)
    }
}

fn failed(error: impl Display) -> Response {
    tracing::warn!(%error, "a request could not be answered");
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response()
}

fn missing(what: &str) -> Response {
    (StatusCode::NOT_FOUND, what.to_owned()).into_response()
}

fn cbor(bytes: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], bytes.into()).into_response()
}

async fn submit(State(api): State<Api>, body: Bytes) -> Response {
    match Submit::from_bytes(&body) {
        Ok(submit) => cbor(Answers { answers: api.submit(submit).await }.to_bytes()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn inputs(State(api): State<Api>, Path((network, epoch)): Path<(u64, u64)>) -> Response {
    match api.archive.inputs_bytes(NetworkId(network), Epoch(epoch)).await {
        Ok(Some(bytes)) => cbor(bytes),
        Ok(None) => missing("no inputs file of this network and epoch, or not yet"),
        Err(error) => failed(error),
    }
}

async fn statement(State(api): State<Api>, Path((network, epoch)): Path<(u64, u64)>) -> Response {
    match api.archive.statement_bytes(NetworkId(network), Epoch(epoch)).await {
        Ok(Some(bytes)) => cbor(bytes),
        Ok(None) => missing("no statement of this network and epoch, or not yet"),
        Err(error) => failed(error),
    }
}

async fn statement_json(
    State(api): State<Api>,
    Path((network, epoch)): Path<(u64, u64)>,
) -> Response {
    match api.archive.statement(NetworkId(network), Epoch(epoch)).await {
        Ok(Some(statement)) => Json(statement).into_response(),
        Ok(None) => missing("no statement of this network and epoch, or not yet"),
        Err(error) => failed(error),
    }
}

async fn proof(
    State(api): State<Api>,
    Path((network, account)): Path<(u64, Account)>,
) -> Response {
    let network = NetworkId(network);
    let epoch = match api.client.final_epoch(network).await {
        Ok(Some(epoch)) => epoch,
        Ok(None) => return missing("no epoch of this network is final yet"),
        Err(error) => return failed(error),
    };
    let statement: Statement = match api.archive.statement(network, epoch).await {
        Ok(Some(statement)) => statement,
        Ok(None) => return missing("the statement of the latest final epoch is not here"),
        Err(error) => return failed(error),
    };
    let Some(state) = statement.account(account) else {
        return missing("the account neither earned nor spent in this network");
    };
    let leaf = state.leaf(network, epoch);
    let tree = statement.tree();
    let proof = tree.proof(leaf.hash()).unwrap_or_default();
    Json(json!({ "epoch": epoch, "root": tree.root(), "leaf": leaf, "proof": proof }))
        .into_response()
}

async fn status(State(api): State<Api>) -> Response {
    Json(json!({
        "validator": Digest(api.key),
        "recorded": *api.recorded.borrow(),
        "waiting_bytes": api.intake.waiting_bytes(),
    }))
    .into_response()
}
