//! Other validators' archives, for what our own lacks.
//!
//! Nobody is believed: a file is taken only if it is the one that the ledger has the hash of. Over HTTP
//! there is one request a connection, bounded in bytes and time, no redirects and no TLS, for the same
//! reason. Who does not answer is left in peace for [`REST`].

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, header::HOST};
use hyper_util::rt::TokioIo;
use protocol::Digest;
use std::{
    fmt::Debug,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// The largest file that is fetched, in bytes.
pub const FILE_MAX: usize = 256 * 1024 * 1024;
/// How many other validators are asked at most; further ones are not configured.
pub const OTHERS_MAX: usize = 64;
/// How long a validator that did not answer is not asked again.
const REST: Duration = Duration::from_secs(10);
/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Time for one file, from the request to the last byte.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why the list of other validators is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OthersError {
    /// Not the URL of a validator.
    #[error("{0} is not of the form http://host:port")]
    Url(String),
    /// Too many.
    #[error("{0} other validators are more than {OTHERS_MAX}")]
    TooMany(usize),
}

/// The other validators, in the order in which they are asked.
#[derive(Debug, Default)]
pub struct Others(Vec<Other>);

/// What another validator answered: the file, or nothing if it does not have it.
pub type Found = Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>>;

/// Where another validator's files come from: HTTP, or what a simulator puts in its place.
pub trait Source: Debug + Send + Sync {
    /// The file at `path` (with its leading slash), of [`FILE_MAX`] bytes at most.
    fn get<'a>(&'a self, path: &'a str) -> Pin<Box<dyn Future<Output = Found> + Send + 'a>>;
}

#[derive(Debug)]
struct Other {
    name: String,
    source: Box<dyn Source>,
    /// When it last failed to answer.
    failed: Mutex<Option<Instant>>,
}

/// A validator's HTTP, by `host:port`.
#[derive(Debug)]
struct Http(String);

impl Others {
    /// The validators at these URLs, each `http://host:port`.
    ///
    /// # Errors
    /// When one is of another form, or there are too many.
    pub fn new(urls: &[String]) -> Result<Self, OthersError> {
        if urls.len() > OTHERS_MAX {
            return Err(OthersError::TooMany(urls.len()));
        }
        let others = urls.iter().map(|url| {
            let http = Http::new(url)?;
            Ok(Other::new(http.0.clone(), Box::new(http)))
        });
        others.collect::<Result<_, _>>().map(Self)
    }

    /// Validators by name, and where their files come from. The first [`OTHERS_MAX`] of them count.
    pub fn from_sources(sources: impl IntoIterator<Item = (String, Box<dyn Source>)>) -> Self {
        let others = sources.into_iter().map(|(name, source)| Other::new(name, source));
        Self(others.take(OTHERS_MAX).collect())
    }

    /// The file at `path` (with its leading slash) whose hash is `digest`, from the first who has it.
    pub async fn file(&self, path: &str, digest: Digest) -> Option<Bytes> {
        self.find(path, |bytes| (Digest::of(&bytes) == digest).then_some(bytes)).await
    }

    /// What `accept` makes of the first file at `path` that it takes.
    pub async fn find<T>(&self, path: &str, accept: impl Fn(Bytes) -> Option<T>) -> Option<T> {
        for other in &self.0 {
            if other.rests() {
                continue;
            }
            match other.source.get(path).await {
                Ok(Some(bytes)) => {
                    if let Some(found) = accept(bytes) {
                        return Some(found);
                    }
                    tracing::warn!(from = %other.name, path, "a file is not the ledger's");
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(from = %other.name, path, %error, "no answer");
                    other.fail();
                }
            }
        }
        None
    }
}

impl Other {
    fn new(name: String, source: Box<dyn Source>) -> Self {
        Self { name, source, failed: Mutex::new(None) }
    }

    fn rests(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < REST)
    }

    fn fail(&self) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Http {
    fn new(url: &str) -> Result<Self, OthersError> {
        let bad = || OthersError::Url(url.to_owned());
        let rest = url.strip_prefix("http://").ok_or_else(bad)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(bad)?;
        if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
            return Err(bad());
        }
        Ok(Self(authority.to_owned()))
    }

    async fn fetch(&self, path: &str) -> Found {
        let stream = timeout(CONNECT, TcpStream::connect(&self.0)).await??;
        timeout(TIMEOUT, async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let driver = tokio::spawn(connection);
            let request = Request::get(path).header(HOST, &self.0);
            let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
            let found = answer.status() == StatusCode::OK;
            let bytes = Limited::new(answer.into_body(), FILE_MAX).collect().await?.to_bytes();
            driver.abort();
            Ok(found.then_some(bytes))
        })
        .await?
    }
}

impl Source for Http {
    fn get<'a>(&'a self, path: &'a str) -> Pin<Box<dyn Future<Output = Found> + Send + 'a>> {
        Box::pin(self.fetch(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_urls_and_not_too_many_are_taken() {
        let urls = |url: &str, count| vec![url.to_owned(); count];
        for good in ["http://127.0.0.1:8545", "http://localhost:1/", "http://[::1]:80"] {
            assert!(Others::new(&urls(good, OTHERS_MAX)).is_ok(), "{good}");
        }
        for bad in
            ["https://a:1", "127.0.0.1:1", "http://a", "http://:1", "http://a:1/b", "http://a:x"]
        {
            let error = Others::new(&urls(bad, 1)).unwrap_err();
            assert_eq!(error, OthersError::Url(bad.to_owned()));
        }
        let many = Others::new(&urls("http://a:1", OTHERS_MAX + 1)).unwrap_err();
        assert_eq!(many, OthersError::TooMany(OTHERS_MAX + 1));
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_asked_again_at_once() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", closed.local_addr().unwrap());
        drop(closed);
        let others = Others::new(&[url]).unwrap();
        assert!(!others.0[0].rests());
        assert_eq!(others.file("/v1/inputs/1/1", Digest::default()).await, None);
        assert!(others.0[0].rests());
    }
}
