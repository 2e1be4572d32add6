//! HTTP in front of the S3 side: connections, limits, an orderly stop.
//!
//! HTTP/1.1 alone, as S3's tools speak it where there is no TLS. Form posts are refused: their forms and
//! files are collected in memory before it is known who sends them.
//!
//! A refusal that comes before the body was read waits until a bounded part of the rest has come: a
//! client that is still sending would see a broken connection in the place of the answer.
//!
//! Answers leave at once: without `TCP_NODELAY` a small one waits for the client's delayed
//! acknowledgement, some 40 ms.

use crate::{config::Limits, keys::Credentials, s3::Face};
use bytes::Bytes;
use hyper::{
    Request, StatusCode,
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use s3s::{
    Body, HttpError, HttpResponse, S3Error, S3ErrorCode, S3Result,
    auth::{S3Auth, SecretKey},
    service::{S3Service, S3ServiceBuilder},
};
use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot, watch},
    task::JoinHandle,
};
use transport::Patient;

/// How long accepting pauses after it failed.
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a refused request's body that are still read, and for how long.
const DRAINED_BYTES_MAX: usize = 16 << 20;
const DRAINED_WITHIN: Duration = Duration::from_secs(5);

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// Knows the one customer.
struct Auth(Credentials);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.0.access_key {
            return Ok(SecretKey::from(self.0.secret_key.clone()));
        }
        Err(S3Error::with_message(S3ErrorCode::InvalidAccessKeyId, "no such access key"))
    }
}

impl Server {
    /// Listens on `address`, and serves `face` to whoever signs with `credentials`.
    ///
    /// # Errors
    /// [`ListenError`], for example when the port is taken.
    pub async fn start(
        address: SocketAddr,
        face: Face,
        credentials: &Credentials,
        limits: Limits,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut builder = S3ServiceBuilder::new(face);
        builder.set_auth(Auth(credentials.clone()));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, builder.build(), limits, stopped));
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and waits for requests under way, but not for ever.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // The task ends by itself within its limit.
        let _ = self.task.await;
    }
}

async fn accept(
    listener: TcpListener,
    service: S3Service,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = next(&listener, &places) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection went before it was served");
            continue;
        }
        let service = service.clone();
        let handler = service_fn(move |request| answer(service.clone(), request));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.headers);
        let stream = Patient::new(stream, limits.client_patience);
        let connection = builder.serve_connection(TokioIo::new(stream), handler);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way at the stop");
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, Place)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            // Too many open files, for example: the others may end meanwhile.
            tracing::warn!(%error, "no connection was accepted");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

/// A request's body, lent to whoever answers it; what is left of it comes back.
struct Lent {
    body: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), hyper::body::Body::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !hyper::body::Body::is_end_stream(&body)
        {
            // Nobody waits for it when the connection is gone.
            let _ = back.send(body);
        }
    }
}

/// Reads on, within the limits.
async fn drain(mut body: Incoming) {
    let mut read = 0;
    let all = async {
        while read < DRAINED_BYTES_MAX {
            let frame =
                std::future::poll_fn(|cx| hyper::body::Body::poll_frame(Pin::new(&mut body), cx));
            match frame.await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) | None => return,
            }
        }
    };
    // What has not come by then is not waited for.
    let _ = tokio::time::timeout(DRAINED_WITHIN, all).await;
}

async fn answer(
    service: S3Service,
    request: Request<Incoming>,
) -> Result<HttpResponse, Infallible> {
    let refused = refusal(&request);
    let (back, mut left) = oneshot::channel();
    let request = request.map(|body| Lent { body: Some(body), back: Some(back) });
    let answer = if let Some(refused) = refused {
        drop(request);
        refused.to_http_response().map_err(|error| HttpError::new(Box::new(error)))
    } else {
        service.call(request.map(Body::http_body_unsync)).await
    };
    let answer = answer.unwrap_or_else(|error| {
        let error = s3s::StdError::from(error);
        tracing::error!(%error, "no answer could be made");
        let mut response = HttpResponse::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    if !answer.status().is_success()
        && let Ok(body) = left.try_recv()
    {
        drain(body).await;
    }
    Ok(answer)
}

/// Why a request is not looked at.
fn refusal(request: &Request<Incoming>) -> Option<S3Error> {
    if is_form(request) {
        let message = "forms are not accepted: sign the request and put the object";
        return Some(S3Error::with_message(S3ErrorCode::NotImplemented, message));
    }
    is_signature_v2(request).then(|| {
        let message = "use AWS4-HMAC-SHA256: signatures of version 2 are not accepted";
        S3Error::with_message(S3ErrorCode::InvalidRequest, message)
    })
}

/// Whether a request is a form with a file, as a page in anybody's browser can post one.
fn is_form(request: &Request<Incoming>) -> bool {
    let form = b"multipart/form-data";
    let mut types = request.headers().get_all(hyper::header::CONTENT_TYPE).iter();
    request.method() == hyper::Method::POST
        && types.any(|value| {
            let value = value.as_bytes().trim_ascii_start();
            value.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form))
        })
}

/// Whether a request is signed by version 2, which hashes by SHA-1 and signs no body.
fn is_signature_v2(request: &Request<Incoming>) -> bool {
    let header = request.headers().get(hyper::header::AUTHORIZATION);
    let by_header = header.is_some_and(|value| value.as_bytes().starts_with(b"AWS "));
    let query = request.uri().query().unwrap_or_default();
    by_header || query.split('&').any(|pair| pair.starts_with("AWSAccessKeyId="))
}
