//! A plain HTTP/1.1 client for a validator's few paths: one request a connection, bounded in bytes
//! and time. No redirects, no TLS: what is fetched is checked against the ledger, what is sent is
//! signed.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// Time for one request, from dialling to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The base URL is not `http://host:port`.
    #[error("{0} is not of the form http://host:port")]
    Url(String),
    /// Nobody answered, or not as HTTP says, or with too many bytes.
    #[error("{url}: {reason}")]
    Failed {
        /// What was asked for.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// No answer in time.
    #[error("{url}: no answer within {TIMEOUT:?}")]
    TimedOut {
        /// What was asked for.
        url: String,
    },
}

/// A server at `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    authority: String,
}

impl Base {
    /// The server at `url`.
    ///
    /// # Errors
    /// When `url` is not of the form `http://host:port`, with or without a slash at its end.
    pub fn new(url: &str) -> Result<Self, HttpError> {
        let bad = || HttpError::Url(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(bad)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(Self { authority: authority.to_owned() })
    }

    /// Fetches `path` (with its leading slash), at most `limit` bytes.
    ///
    /// # Errors
    /// When there is no answer. A status other than 200 is an answer.
    pub async fn get(&self, path: &str, limit: usize) -> Result<(StatusCode, Bytes), HttpError> {
        self.ask(Method::GET, path, None, limit).await
    }

    /// Sends `body` of `media_type` to `path`, and reads at most `limit` bytes of the answer.
    ///
    /// # Errors
    /// As [`Base::get`].
    pub async fn post(
        &self,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        self.ask(Method::POST, path, Some((media_type, body)), limit).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Vec<u8>)>,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), HttpError> {
        let url = || format!("http://{}{path}", self.authority);
        match tokio::time::timeout(TIMEOUT, self.exchange(method, path, body, limit)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(reason)) => Err(HttpError::Failed { url: url(), reason: reason.to_string() }),
            Err(_) => Err(HttpError::TimedOut { url: url() }),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Vec<u8>)>,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.authority);
        if let Some((media_type, _)) = &body {
            request = request.header(CONTENT_TYPE, *media_type);
        }
        let body = Full::new(Bytes::from(body.map(|(_, body)| body).unwrap_or_default()));
        let answer = sender.send_request(request.body(body)?).await?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), limit).collect().await?.to_bytes();
        driver.abort();
        Ok((status, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_bases_are_taken() {
        for good in ["http://127.0.0.1:8545", "http://localhost:1/", "http://[::1]:80"] {
            assert!(Base::new(good).is_ok(), "{good}");
        }
        for bad in
            ["https://a:1", "127.0.0.1:1", "http://a", "http://:1", "http://a:1/b", "http://a:x"]
        {
            assert_eq!(Base::new(bad), Err(HttpError::Url(bad.to_owned())));
        }
    }
}
