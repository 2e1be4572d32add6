//! JSON-RPC: one place that knows what may be asked again.
//!
//! A ledger restarts, a laptop sleeps, a proxy hiccups. So every request is repeated with growing
//! pauses until the endpoint answers or [`Options::patience`] is over; what the endpoint *says*, be it
//! an error, is never asked twice. All requests made here are idempotent: reading, or handing over a
//! transaction whose hash is already fixed by its signature.

use crate::{
    light::LightError,
    transport::{Failure, Http, Question, Refusal, Transport},
};
use alloy_primitives::Bytes;
use jsonrpsee::http_client::HttpClientBuilder;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// The largest answer that is accepted, in bytes: an endpoint is not trusted.
pub const RESPONSE_MAX: u32 = 32 * 1024 * 1024;
/// How many requests travel in one batch.
pub const BATCH_MAX: usize = 100;
/// The first pause between two attempts.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A billion of the coin's smallest unit.
const GWEI: u128 = 1_000_000_000;

/// How a client behaves towards its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often to look for a new block or a receipt.
    pub poll: Duration,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long to ask an endpoint that does not answer before giving up.
    pub patience: Duration,
    /// How long a transaction may take from signing until it is applied.
    pub confirm: Duration,
    /// The EIP-155 id that the ledger must have. Without one, nothing is signed for an endpoint on another
    /// machine: system contracts have the same addresses on every ledger, so an endpoint that claims
    /// another ledger's id would get transactions that are valid there.
    pub chain_id: Option<u64>,
    /// How much older than this machine's clock the newest block may be for a client that trusts its endpoint
    /// with nothing ([`crate::Client::trusting`]): clocks differ, and a ledger may pause.
    pub age_max: Duration,
    /// The highest tip for a unit of gas that is offered, in the coin's smallest unit. What an endpoint
    /// suggests beyond it is refused.
    pub tip_max: u128,
    /// The highest price for a unit of gas that is offered, in the coin's smallest unit. What an endpoint
    /// names beyond it is refused.
    pub fee_max: u128,
}

impl Default for Options {
    /// Polls every 100 ms, gives one request 10 s, an endpoint 30 s, a transaction 120 s; believes in a head
    /// that is 60 s old; offers a tip of 10 gwei and a price of 1,000 gwei at most.
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            timeout: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            confirm: Duration::from_secs(120),
            chain_id: None,
            age_max: Duration::from_secs(60),
            tip_max: 10 * GWEI,
            fee_max: 1_000 * GWEI,
        }
    }
}

/// What the ledger says of a transaction that it did not take, or of itself: `kind` in the data of an
/// error, the same words as in `ledger/rpc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The same transaction waits already.
    Known,
    /// Its number is used up, or taken by another that waits.
    Stale,
    /// Not now: the pool is full, or a number before is missing.
    Later,
    /// The account cannot pay.
    Funds,
    /// The node is going down; it may come back.
    Stopped,
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// The URL is not one.
    #[error("invalid url {url}: {message}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// No answer within [`Options::patience`].
    #[error("the ledger at {url} does not answer: {message}")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// What the last attempt met.
        message: String,
    },
    /// The endpoint answered with an error.
    #[error("{method}: {message} (code {code})")]
    Refused {
        /// The method.
        method: String,
        /// The JSON-RPC code; 3 is a revert.
        code: i32,
        /// What the endpoint says.
        message: String,
        /// The data of a revert.
        data: Option<Bytes>,
        /// What kind of refusal it is, if the ledger says so.
        kind: Option<Kind>,
    },
    /// The endpoint serves another ledger.
    #[error("the ledger at {url} has the chain id {found}, not {expected}")]
    Chain {
        /// The endpoint.
        url: String,
        /// [`Options::chain_id`].
        expected: u64,
        /// What the endpoint says.
        found: u64,
    },
    /// The endpoint said something that it did not prove, to a client that trusts it with nothing.
    #[error("the ledger at {url} is not believed: {why}")]
    Untrue {
        /// The endpoint.
        url: String,
        /// What does not hold.
        why: Box<LightError>,
    },
    /// The endpoint answered something that the method cannot answer.
    #[error("{method}: the answer has not the expected form: {message}")]
    Malformed {
        /// The method.
        method: String,
        /// What is wrong with it.
        message: String,
    },
}

/// A connection to one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    url: String,
    transport: Arc<dyn Transport>,
    options: Options,
}

/// One request of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) params: Vec<Value>,
}

impl Request {
    pub(crate) const fn new(method: &'static str, params: Vec<Value>) -> Self {
        Self { method, params }
    }

    fn question(&self) -> Question<'_> {
        Question { method: self.method, params: &self.params }
    }
}

impl Rpc {
    pub(crate) fn new(url: &str, options: Options) -> Result<Self, RpcError> {
        let http = HttpClientBuilder::default()
            .request_timeout(options.timeout)
            .connect_timeout(options.timeout)
            .max_response_size(RESPONSE_MAX)
            .build(url)
            .map_err(|error| RpcError::Url { url: url.to_owned(), message: error.to_string() })?;
        Ok(Self::over(url, Arc::new(Http(http)), options))
    }

    /// Asks through `transport`; `url` names the endpoint in errors.
    pub(crate) fn over(url: &str, transport: Arc<dyn Transport>, options: Options) -> Self {
        Self { url: url.to_owned(), transport, options }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    /// Asks until there is an answer or patience is over.
    pub(crate) async fn request<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<R, RpcError> {
        let mut patience = self.patience();
        loop {
            match self.attempt(method, params).await {
                Ok(answer) => return Ok(answer),
                Err(error) => patience.bear(error).await?,
            }
        }
    }

    /// Asks once.
    pub(crate) async fn attempt<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &[Value],
    ) -> Result<R, RpcError> {
        let asked = self.transport.ask(&[Question { method, params }]).await;
        let answers = asked.map_err(|failure| self.failure(method, failure))?;
        match answers.into_iter().next() {
            Some(answer) => parse(method, answer.map_err(|refusal| self.refused(method, refusal))?),
            None => Err(malformed(method, "it was not answered")),
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.options.patience)
    }

    /// Asks all of `requests` in batches of [`BATCH_MAX`], each answered or refused on its own.
    pub(crate) async fn batch(
        &self,
        requests: &[Request],
    ) -> Result<Vec<Result<Value, RpcError>>, RpcError> {
        let mut answers = Vec::with_capacity(requests.len());
        for part in requests.chunks(BATCH_MAX) {
            let mut patience = self.patience();
            answers.extend(loop {
                match self.batch_once(part).await {
                    Ok(part) => break part,
                    Err(error) => patience.bear(error).await?,
                }
            });
        }
        Ok(answers)
    }

    async fn batch_once(&self, part: &[Request]) -> Result<Vec<Result<Value, RpcError>>, RpcError> {
        let questions: Vec<_> = part.iter().map(Request::question).collect();
        let answers = self.transport.ask(&questions).await;
        let answers = answers.map_err(|failure| self.failure("batch", failure))?;
        if answers.len() != part.len() {
            return Err(malformed("batch", "not every request was answered"));
        }
        let named = answers.into_iter().zip(part);
        named
            .map(|(answer, asked)| match answer.map_err(|e| self.refused(asked.method, e)) {
                // All of it can be asked again.
                Err(error @ RpcError::Unreachable { .. }) => Err(error),
                answer => Ok(answer),
            })
            .collect()
    }

    fn failure(&self, method: &str, failure: Failure) -> RpcError {
        match failure {
            Failure::Refused(refusal) => self.refused(method, refusal),
            Failure::Malformed(message) => malformed(method, message),
            Failure::Silent(message) => RpcError::Unreachable { url: self.url.clone(), message },
        }
    }

    fn refused(&self, method: &str, refusal: Refusal) -> RpcError {
        #[derive(Deserialize)]
        struct Told {
            kind: Kind,
        }
        let Refusal { code, message, data } = refusal;
        let data = data.unwrap_or_default();
        let kind = Told::deserialize(&data).ok().map(|Told { kind }| kind);
        if kind == Some(Kind::Stopped) {
            return RpcError::Unreachable { url: self.url.clone(), message };
        }
        let data = Bytes::deserialize(&data).ok();
        RpcError::Refused { method: method.to_owned(), code, message, data, kind }
    }
}

/// How much longer one request is repeated.
pub(crate) struct Patience {
    start: tokio::time::Instant,
    most: Duration,
    pause: Duration,
}

impl Patience {
    fn new(most: Duration) -> Self {
        Self { start: tokio::time::Instant::now(), most, pause: PAUSE_MIN }
    }

    /// Pauses if nothing answered, twice as long every time; gives the error back if patience is over
    /// or another attempt cannot help.
    pub(crate) async fn bear(&mut self, error: RpcError) -> Result<(), RpcError> {
        match error {
            RpcError::Unreachable { .. } => self.outlast(error).await,
            error => Err(error),
        }
    }

    /// Pauses, twice as long every time; gives the error back if patience is over.
    pub(crate) async fn outlast<E: std::fmt::Display>(&mut self, error: E) -> Result<(), E> {
        if self.start.elapsed() + self.pause > self.most {
            return Err(error);
        }
        tracing::debug!(%error, "trying again");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

/// Reads an answer as `R`.
pub(crate) fn parse<R: DeserializeOwned>(method: &str, answer: Value) -> Result<R, RpcError> {
    serde_json::from_value(answer).map_err(|error| malformed(method, error))
}

pub(crate) fn malformed(method: &str, message: impl ToString) -> RpcError {
    RpcError::Malformed { method: method.to_owned(), message: message.to_string() }
}
