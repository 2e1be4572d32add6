//! The S3 client of the tour and of `up`'s demo data: puts and gets by presigned URL.

use crate::http::Http;
use anyhow::{Context as _, bail};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a presigned URL holds.
const VALID: Duration = Duration::from_secs(600);
/// How often a read is tried while the service says that it is unavailable, as S3 tools do.
const TRIES: u32 = 10;
/// How long it rests in between.
const PAUSE: Duration = Duration::from_millis(500);
/// The region that the service answers to.
pub const REGION: &str = "us-east-1";

/// Where S3 tools connect and with which credentials.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Access {
    /// The URL of the endpoint.
    pub url: String,
    /// The access key id.
    pub key: String,
    /// The secret access key.
    pub secret: String,
}

impl Access {
    /// The lines to copy with which S3 tools find the service.
    pub(crate) fn exports(&self) -> [String; 4] {
        [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", &self.key),
            ("AWS_SECRET_ACCESS_KEY", &self.secret),
        ]
        .map(|(name, value)| format!("  export {name}={value}"))
    }
}

/// One bucket.
#[derive(Clone, Debug)]
pub struct S3 {
    http: Http,
    bucket: Bucket,
    credentials: Credentials,
}

impl S3 {
    /// A client of `bucket`.
    pub fn new(access: &Access, bucket: &str) -> anyhow::Result<Self> {
        let url = access.url.parse().with_context(|| format!("bad S3 URL {}", access.url))?;
        Ok(Self {
            http: Http::new(),
            bucket: Bucket::new(url, UrlStyle::Path, bucket.to_owned(), REGION)?,
            credentials: Credentials::new(&access.key, &access.secret),
        })
    }

    /// Makes the bucket; one that is there already is no error.
    pub async fn create(&self) -> anyhow::Result<()> {
        let url = self.bucket.create_bucket(&self.credentials).sign(VALID);
        let (status, body) = self.http.send(Method::PUT, url.as_str(), &[], Bytes::new()).await?;
        match status {
            StatusCode::OK | StatusCode::CONFLICT => Ok(()),
            status => refuse("making the bucket", status, &body),
        }
    }

    /// Stores an object.
    pub async fn put(&self, key: &str, body: Bytes) -> anyhow::Result<()> {
        let url = self.bucket.put_object(Some(&self.credentials), key).sign(VALID);
        let (status, body) = self.http.send(Method::PUT, url.as_str(), &[], body).await?;
        match status {
            StatusCode::OK => Ok(()),
            status => refuse(&format!("storing {key}"), status, &body),
        }
    }

    /// Whether there is an object of that name.
    pub async fn has(&self, key: &str) -> anyhow::Result<bool> {
        let url = self.bucket.head_object(Some(&self.credentials), key).sign(VALID);
        let (status, body) = self.http.send(Method::HEAD, url.as_str(), &[], Bytes::new()).await?;
        match status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => refuse(&format!("looking for {key}"), status, &body),
        }
    }

    /// Reads an object; while the service is unavailable, again, as S3 tools do.
    pub async fn get(&self, key: &str) -> anyhow::Result<Bytes> {
        let url = self.bucket.get_object(Some(&self.credentials), key).sign(VALID);
        for _ in 0..TRIES {
            let (status, body) =
                self.http.send(Method::GET, url.as_str(), &[], Bytes::new()).await?;
            match status {
                StatusCode::OK => return Ok(body),
                StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(PAUSE).await,
                status => return refuse(&format!("reading {key}"), status, &body),
            }
        }
        bail!("reading {key}: the S3 service was unavailable {TRIES} times")
    }
}

fn refuse<T>(what: &str, status: StatusCode, body: &Bytes) -> anyhow::Result<T> {
    bail!("{what}: the S3 service answered {status}: {}", String::from_utf8_lossy(body))
}
