//! HTTP in front of the S3 side: connections, limits, an orderly stop.
//!
//! Answers leave at once: without `TCP_NODELAY` a small one waits for the client's delayed
//! acknowledgement, some 40 ms.

use crate::{config::Limits, keys::Credentials, s3::Face};
use hyper::{Request, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use s3s::{
    Body, HttpError, HttpResponse, S3Error, S3ErrorCode,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::{Semaphore, watch}, task::JoinHandle};

/// How long a client may take for its headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// How long accepting pauses after it failed.
const PAUSE: Duration = Duration::from_millis(50);

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
        builder.set_auth(SimpleAuth::from_single(
            credentials.access_key.clone(),
            credentials.secret_key.clone(),
        ));
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
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .http2()
            .timer(TokioTimer::new());
        let connection = builder.serve_connection(TokioIo::new(stream), handler).into_owned();
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

async fn answer(
    service: S3Service,
    request: Request<Incoming>,
) -> Result<HttpResponse, Infallible> {
    let answer = if is_signature_v2(&request) {
        let message = "use AWS4-HMAC-SHA256: signatures of version 2 are not accepted";
        S3Error::with_message(S3ErrorCode::InvalidRequest, message)
            .to_http_response()
            .map_err(|error| HttpError::new(Box::new(error)))
    } else {
        service.call(request.map(Body::from)).await
    };
    Ok(answer.unwrap_or_else(|error| {
        let error = s3s::StdError::from(error);
        tracing::error!(%error, "no answer could be made");
        let mut response = HttpResponse::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

/// Whether a request is signed by version 2, which hashes by SHA-1 and signs no body.
fn is_signature_v2(request: &Request<Incoming>) -> bool {
    let header = request.headers().get(hyper::header::AUTHORIZATION);
    let by_header = header.is_some_and(|value| value.as_bytes().starts_with(b"AWS "));
    let query = request.uri().query().unwrap_or_default();
    by_header || query.split('&').any(|pair| pair.starts_with("AWSAccessKeyId="))
}
