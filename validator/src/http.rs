//! Evidence, inputs and statements over HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/evidence` | [`evidence::wire::Answers`] to a [`Submit`], both canonical CBOR |
//! | `GET /v1/evidence/{digest}` | the height of the block that carries an envelope, as text; 404 while none does |
//! | `GET /v1/blocks/{height}` | a block's blobs, all while the ledger has them, else the archive's batches; 404 for none |
//! | `GET /v1/inputs/{network}/{epoch}` | the inputs file, byte for byte |
//! | `GET /v1/statement/{network}/{epoch}` | the statement, byte for byte |
//! | `GET /v1/statement/{network}/{epoch}.json` | the statement for people and scripts |
//! | `GET /v1/statement/{network}/newest`, `newest.json` | the newest statement that is the ledger's final one |
//! | `GET /v1/proof/{network}/{account}` | the account's newest claimable leaf with its Merkle proof |
//! | `GET /v1/status` | the node's key, its ledger, height, what waits, and what it refuses |
//!
//! A leaf can be claimed once its root's dispute window is over. Before any can, the newest decided one is given
//! with `"claimable": false`. The statement of a named epoch is the archive's and says nothing of finality; what
//! is newest, and what proofs are made from, is compared with the ledger first, each time, since what was
//! decided can be disputed.
//!
//! `refused` of the status lists decided epochs whose statement is not what this node's replay gives
//! ([`crate::settle::Refusal`]).
//!
//! A node that only watches takes no evidence in and answers everything else. Anyone may read; anyone may submit, since only a device's own signature counts. Pages of any origin
//! may read, none may submit. At most [`SUBMITS_MAX`] requests are taken in at once, others wait.
//! [`crate::door`] bounds connections and the time that each takes.

use crate::{
    files::{Files, FilesError},
    intake::Intake,
    settle::Refusals,
};
use alloy_primitives::B256;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use consensus::Ledger;
use evidence::{
    Archive, BlockEvidence,
    wire::{Answer, Answers, MEDIA_TYPE, SUBMIT_MAX, Submit},
};
use protocol::{
    Account, Digest, Epoch, Height, NetworkId, Reason, clock::Clock, leaf::Leaf,
    statement::Statement,
};
use serde_json::json;
use settlement::Settled;
use std::{collections::BTreeMap, fmt::Display, sync::Arc};
use tokio::sync::{Mutex, Semaphore, watch};
use tower_http::cors::{Any, CorsLayer};

/// How many requests that submit are taken in at once.
pub const SUBMITS_MAX: usize = 64;
/// How many statements are kept ready for proofs.
const PROVEN_MAX: usize = 8;

/// Why a node without a validator's keys takes nothing in.
const WATCHES: &str = "this node takes no evidence in: send it to a validator with a seat";

/// Settled epochs from which proofs are given.
type Kept = BTreeMap<(Epoch, NetworkId), Arc<Settled>>;

/// What requests are answered from.
#[derive(Clone)]
pub struct Api {
    files: Files,
    /// Whose blobs are given.
    ledger: Option<Ledger>,
    recorded: watch::Receiver<Height>,
    refusals: Refusals,
    /// The digest of the ledger's genesis file, if it is known.
    genesis: Option<B256>,
    /// None of a node that only watches.
    taking: Option<Taking>,
    proven: Arc<Mutex<Kept>>,
}

/// What takes evidence in.
#[derive(Clone)]
struct Taking {
    intake: Arc<Intake>,
    clock: Arc<dyn Clock>,
    /// The key that signs acceptances.
    key: [u8; 32],
    submits: Arc<Semaphore>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Api {
    /// Answers from these.
    pub fn new(
        intake: Arc<Intake>,
        files: Files,
        clock: Arc<dyn Clock>,
        key: [u8; 32],
        recorded: watch::Receiver<Height>,
    ) -> Self {
        let submits = Arc::new(Semaphore::new(SUBMITS_MAX));
        let taking = Some(Taking { intake, clock, key, submits });
        Self { taking, ..Self::watching(files, recorded) }
    }

    /// The same without taking evidence in.
    pub fn watching(files: Files, recorded: watch::Receiver<Height>) -> Self {
        let (refusals, proven) = (Refusals::default(), Arc::default());
        Self { files, ledger: None, recorded, refusals, genesis: None, taking: None, proven }
    }

    /// Shows what the node refuses.
    #[must_use]
    pub fn refusing(self, refusals: Refusals) -> Self {
        Self { refusals, ..self }
    }

    /// Says which ledger it is: the digest of its genesis file.
    #[must_use]
    pub fn of(self, genesis: B256) -> Self {
        Self { genesis: Some(genesis), ..self }
    }

    /// Gives all blobs of a block while the ledger has them: the archive keeps batches alone, and whoever fetches
    /// evidence checks it by the header's hash over all blobs.
    #[must_use]
    pub fn serving(self, ledger: Ledger) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    /// The archive.
    pub const fn archive(&self) -> &Archive {
        &self.files.archive
    }

    /// Answers envelopes. The journal is synced where blocking is allowed.
    /// Nothing from a node that takes none in.
    pub async fn submit(&self, submit: Submit) -> Option<Vec<Answer>> {
        let Taking { intake, clock, submits, .. } = self.taking.clone()?;
        let (now_ms, count) = (clock.now_ms(), submit.envelopes().len());
        let Ok(_permit) = submits.acquire().await else {
            // The semaphore is never closed.
            return Some(vec![Answer::Refused(Reason::QueueFull); count]);
        };
        let span = tracing::debug_span!("evidence.submit", envelopes = count);
        let task =
            tokio::task::spawn_blocking(move || span.in_scope(|| intake.submit(&submit, now_ms)));
        let answers = task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the intake failed");
            vec![Answer::Refused(Reason::QueueFull); count]
        });
        for answer in &answers {
            let reason = answer.accepted().err().map_or("accepted", Reason::code);
            metrics::counter!("wayleave_evidence_total", "answer" => reason).increment(1);
        }
        Some(answers)
    }

    /// The routes.
    pub fn router(self) -> Router {
        let cors = CorsLayer::new().allow_origin(Any).allow_methods([Method::GET]);
        Router::new()
            .route("/v1/evidence", post(submit))
            .route("/v1/evidence/{digest}", get(carried))
            .route("/v1/blocks/{height}", get(block))
            .route("/v1/inputs/{network}/{epoch}", get(inputs))
            .route("/v1/statement/{network}/{epoch}", get(statement))
            .route("/v1/proof/{network}/{account}", get(proof))
            .route("/v1/status", get(status))
            .layer(DefaultBodyLimit::max(SUBMIT_MAX))
            .layer(cors)
            .with_state(self)
    }

    /// The decided statement of an epoch with the tree of its accounts.
    async fn settled(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Arc<Settled>>, FilesError> {
        let Some(outcome) = self.files.client.outcome(network, epoch).await? else {
            return Ok(None);
        };
        let mut proven = self.proven.lock().await;
        // What was decided once may have been overruled.
        let decided = |settled: &&Arc<Settled>| settled.tree.root() == outcome.root;
        if let Some(settled) = proven.get(&(epoch, network)).filter(decided) {
            return Ok(Some(settled.clone()));
        }
        let Some(statement) = self.files.agreed(network, epoch).await? else {
            return Ok(None);
        };
        let settled = Arc::new(Settled { tree: statement.tree(), statement });
        if proven.len() >= PROVEN_MAX {
            proven.pop_first();
        }
        proven.insert((epoch, network), settled.clone());
        Ok(Some(settled))
    }

    /// The account's leaf in the accounts of an epoch, with its proof.
    async fn proven(
        &self,
        network: NetworkId,
        epoch: Epoch,
        account: Account,
    ) -> Result<Option<Proven>, FilesError> {
        Ok(self.settled(network, epoch).await?.and_then(|settled| {
            let leaf = settled.statement.account(account)?.leaf(network, epoch);
            let proof = settled.tree.proof(leaf.hash())?;
            Some(Proven { epoch, root: settled.tree.root(), leaf, proof })
        }))
    }

    /// The account's newest leaf that can be claimed, or else the newest that is decided; and whether it can.
    async fn newest_leaf(
        &self,
        network: NetworkId,
        account: Account,
    ) -> Result<Option<(Proven, bool)>, FilesError> {
        let client = &self.files.client;
        let claimable = client.claimable_epoch(network).await?;
        if let Some(epoch) = claimable
            && let Some(proven) = self.proven(network, epoch, account).await?
        {
            return Ok(Some((proven, true)));
        }
        let Some(newest) = client.final_epoch(network).await? else { return Ok(None) };
        let proven = self.proven(network, newest, account).await?;
        Ok(proven.map(|proven| (proven, claimable == Some(newest))))
    }
}

/// A leaf and what proves it.
struct Proven {
    epoch: Epoch,
    root: B256,
    leaf: Leaf,
    proof: Vec<B256>,
}

impl Proven {
    fn answer(&self, claimable: bool) -> Response {
        let Self { epoch, root, leaf, proof } = self;
        let leaf = json!({
            "epoch": epoch, "claimable": claimable, "root": root, "leaf": leaf, "proof": proof,
        });
        Json(leaf).into_response()
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
        Ok(submit) => match api.submit(submit).await {
            Some(answers) => cbor(Answers { answers }.to_bytes()),
            None => missing(WATCHES),
        },
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

async fn inputs(State(api): State<Api>, Path((network, epoch)): Path<(u64, u64)>) -> Response {
    match api.files.archive.inputs_bytes(NetworkId(network), Epoch(epoch)).await {
        Ok(Some(bytes)) => cbor(bytes),
        Ok(None) => missing("no inputs file of this network and epoch, or not yet"),
        Err(error) => failed(error),
    }
}

async fn block(State(api): State<Api>, Path(height): Path<u64>) -> Response {
    let final_block = api.ledger.as_ref().and_then(|ledger| ledger.block(height).ok().flatten());
    if let Some(block) = final_block
        && let Some(blobs) = block.blobs.as_ref().filter(|blobs| !blobs.is_empty())
    {
        let time_ms = block.header.timestamp_ms;
        return cbor(BlockEvidence::new(Height(height), time_ms, blobs).to_bytes());
    }
    match api.files.archive.block(Height(height)).await {
        Ok(Some(evidence)) => cbor(evidence.to_bytes()),
        Ok(None) => missing(
            "the block carries no evidence, is not recorded, or is pruned here: an archive node has it",
        ),
        Err(error) => failed(error),
    }
}

async fn carried(State(api): State<Api>, Path(digest): Path<String>) -> Response {
    let Ok(digest) = digest.parse::<Digest>() else {
        return (StatusCode::BAD_REQUEST, "a digest is 64 hexadecimal digits").into_response();
    };
    let Some(taking) = &api.taking else { return missing(WATCHES) };
    match taking.intake.carried(digest) {
        Some(height) => height.to_string().into_response(),
        None => missing("no block of the last epochs carries this envelope"),
    }
}

async fn statement(State(api): State<Api>, Path((network, name)): Path<(u64, String)>) -> Response {
    const NONE: &str = "no statement of this network and epoch, or not yet";
    let network = NetworkId(network);
    let (number, is_json) = match name.strip_suffix(".json") {
        Some(number) => (number, true),
        None => (name.as_str(), false),
    };
    let given = |statement: Option<Statement>| match statement {
        Some(statement) if is_json => Json(statement).into_response(),
        Some(statement) => cbor(statement.to_bytes()),
        None => missing(NONE),
    };
    if number == "newest" {
        return api.files.newest(network).await.map_or_else(failed, given);
    }
    let Ok(epoch) = number.parse().map(Epoch) else {
        return (StatusCode::BAD_REQUEST, "an epoch is a number, or `newest`").into_response();
    };
    if is_json {
        return api.files.archive.statement(network, epoch).await.map_or_else(failed, given);
    }
    match api.files.archive.statement_bytes(network, epoch).await {
        Ok(Some(bytes)) => cbor(bytes),
        Ok(None) => missing(NONE),
        Err(error) => failed(error),
    }
}

async fn proof(State(api): State<Api>, Path((network, account)): Path<(u64, Account)>) -> Response {
    match api.newest_leaf(NetworkId(network), account).await {
        Ok(Some((proven, claimable))) => proven.answer(claimable),
        Ok(None) => missing(
            "nothing is decided yet, or the account neither earned nor spent in this network, or its statement is not here",
        ),
        Err(error) => failed(error),
    }
}

async fn status(State(api): State<Api>) -> Response {
    let taking = api.taking.as_ref();
    Json(json!({
        "validator": taking.map(|taking| Digest(taking.key)),
        "chain_id": api.files.client.chain_id(),
        "genesis": api.genesis,
        "recorded": *api.recorded.borrow(),
        "waiting_bytes": taking.map_or(0, |taking| taking.intake.waiting_bytes()),
        "refused": api.refusals.all(),
    }))
    .into_response()
}
