//! JSON-RPC over HTTP: one place that knows what may be asked again.
//!
//! A ledger restarts, a laptop sleeps, a proxy hiccups. So every request is repeated with growing
//! pauses until the endpoint answers or [`Options::patience`] is over; what the endpoint *says*, be it
//! an error, is never asked twice. All requests made here are idempotent: reading, or handing over a
//! transaction whose hash is already fixed by its signature.

use alloy_primitives::Bytes;
use jsonrpsee::{
    core::{
        client::{ClientT, Error},
        params::{ArrayParams, BatchRequestBuilder},
    },
    http_client::{HttpClient, HttpClientBuilder},
    types::ErrorObject,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// The largest answer that is accepted, in bytes: an endpoint is not trusted.
pub const RESPONSE_MAX: u32 = 32 * 1024 * 1024;
/// How many requests travel in one batch.
pub const BATCH_MAX: usize = 100;
/// The first pause between two attempts.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);

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
}

impl Default for Options {
    /// Polls every 100 ms, gives one request 10 s, an endpoint 30 s, a transaction 120 s.
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            timeout: Duration::from_secs(10),
            patience: Duration::from_secs(30),
            confirm: Duration::from_secs(120),
        }
    }
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
#[derive(Debug)]
pub(crate) struct Rpc {
    url: String,
    http: HttpClient,
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
}

impl Rpc {
    pub(crate) fn new(url: &str, options: Options) -> Result<Self, RpcError> {
        let http = HttpClientBuilder::default()
            .request_timeout(options.timeout)
            .connect_timeout(options.timeout)
            .max_response_size(RESPONSE_MAX)
            .build(url)
            .map_err(|error| RpcError::Url { url: url.to_owned(), message: error.to_string() })?;
        Ok(Self { url: url.to_owned(), http, options })
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
        let mut patience = Patience::new(self.options.patience);
        loop {
            let arguments = arguments(method, params)?;
            match self.http.request::<Value, _>(method, arguments).await {
                Ok(answer) => return parse(method, answer),
                Err(error) => patience.bear(self.failure(method, error)).await?,
            }
        }
    }

    /// Asks all of `requests` in batches of [`BATCH_MAX`], each answered or refused on its own.
    pub(crate) async fn batch(
        &self,
        requests: &[Request],
    ) -> Result<Vec<Result<Value, RpcError>>, RpcError> {
        let mut answers = Vec::with_capacity(requests.len());
        for part in requests.chunks(BATCH_MAX) {
            let mut patience = Patience::new(self.options.patience);
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
        let mut builder = BatchRequestBuilder::new();
        for request in part {
            builder
                .insert(request.method, arguments(request.method, &request.params)?)
                .map_err(|error| malformed(request.method, error))?;
        }
        let answers = self
            .http
            .batch_request::<Value>(builder)
            .await
            .map_err(|error| self.failure("batch", error))?;
        if answers.len() != part.len() {
            return Err(malformed("batch", "not every request was answered"));
        }
        let named = answers.into_iter().zip(part);
        Ok(named.map(|(answer, asked)| answer.map_err(|e| refused(asked.method, &e))).collect())
    }

    fn failure(&self, method: &str, error: Error) -> RpcError {
        match error {
            // A node that is going down; it may come back.
            Error::Call(object) if object.message().contains("has stopped") => {
                let message = object.message().to_owned();
                RpcError::Unreachable { url: self.url.clone(), message }
            }
            Error::Call(object) => refused(method, &object),
            Error::ParseError(error) => malformed(method, error),
            error => RpcError::Unreachable { url: self.url.clone(), message: reasons(&error) },
        }
    }
}

/// How much longer one request is repeated.
struct Patience {
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
    async fn bear(&mut self, error: RpcError) -> Result<(), RpcError> {
        let hopeless = !matches!(error, RpcError::Unreachable { .. });
        if hopeless || self.start.elapsed() + self.pause > self.most {
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

fn arguments(method: &str, params: &[Value]) -> Result<ArrayParams, RpcError> {
    let mut arguments = ArrayParams::new();
    for param in params {
        arguments.insert(param).map_err(|error| malformed(method, error))?;
    }
    Ok(arguments)
}

fn refused(method: &str, object: &ErrorObject<'_>) -> RpcError {
    let data = object.data().and_then(|raw| serde_json::from_str(raw.get()).ok());
    RpcError::Refused {
        method: method.to_owned(),
        code: object.code(),
        message: object.message().to_owned(),
        data,
    }
}

/// An error and its causes in one line: HTTP clients hide "connection refused" three levels down.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
