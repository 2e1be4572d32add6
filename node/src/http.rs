//! A small HTTP client for the program's own endpoints on this machine.

use crate::exit::Failure;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, header::HeaderName};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// The largest answer that is read, in bytes: a statement of a large network.
const ANSWER_MAX: usize = 256 * 1024 * 1024;

/// A client that keeps its connections.
#[derive(Clone, Debug)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Http {
    /// A client.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).build(connector))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] if nothing answers; any status is an answer.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body)).with_context(|| format!("bad url {url}"))?;
        let answer = self.0.request(request).await.map_err(|error| {
            tracing::debug!(%error, url, "request failed");
            Failure::Unreachable(format!(
                "nothing answers at {}; is `wayleave up` running?",
                url.split('/').take(3).collect::<Vec<_>>().join("/")
            ))
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("answer of {url} broke off: {error}"))?;
        Ok((status, body.to_bytes()))
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`Failure::NotFound`] for a 404, else what the server said.
    pub async fn get(&self, url: &str) -> anyhow::Result<Bytes> {
        let (status, body) = self.send(Method::GET, url, &[], Bytes::new()).await?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::NOT_FOUND => {
                Err(Failure::NotFound(String::from_utf8_lossy(&body).trim().to_owned()).into())
            }
            status => bail!("{url} answered {status}: {}", String::from_utf8_lossy(&body).trim()),
        }
    }
}
