//! HTTP for strangers: how many may be connected, and how long each may take.
//!
//! One host, as [`transport::host`] has it, never takes all places; loopback is not counted, since a proxy of this
//! machine speaks for many. Whoever comes when all places are taken is told so at once, since waiting unseen in the system's queue looks
//! like a dead server. A request that takes too long, its body included, is answered with 408. Headers have
//! their own time, and so has a connection as a whole: it ends when its request is answered, or soon after,
//! so that nobody keeps a place by reading an answer slowly, or by one byte now and then.

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};

/// How long accepting pauses after it failed.
const PAUSE: Duration = Duration::from_millis(50);
/// How many are told at once that there is no place; more are cut off.
const REFUSALS_MAX: usize = 16;
/// How long one who is refused has to read that.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// What one who is refused reads.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Retry-After: 5\r\nConnection: close\r\nContent-Length: 38\r\n\r\n\
    too many connections: try again later\n";

/// What is not exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Of these, of one host.
    pub connections_per_host: usize,
    /// How long the headers of a request, and the pause before them, may take: longer than clients keep an idle
    /// connection (90 s by default in ours), so that it is not closed under their next request.
    pub headers: Duration,
    /// How long a request may take from its headers until it is answered, its body included.
    pub request: Duration,
    /// How long a connection lasts; one that is answered then has the time of a request more.
    pub connection: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_per_host: 32,
            headers: Duration::from_secs(120),
            request: Duration::from_secs(60),
            connection: Duration::from_secs(600),
        }
    }
}

/// Who has which places.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    per_host: usize,
    hosts: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One connection's place, free again when dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    host: IpAddr,
    _free: OwnedSemaphorePermit,
}

impl Places {
    fn new(bounds: &Bounds) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(bounds.connections));
        Arc::new(Self { free, per_host: bounds.connections_per_host, hosts: Mutex::default() })
    }

    /// A place for a connection from `addr`, unless all, or all of its host, are taken.
    fn enter(self: &Arc<Self>, addr: IpAddr) -> Option<Place> {
        let host = transport::host(addr);
        let mut hosts = self.hosts();
        let held = hosts.get(&host).copied().unwrap_or_default();
        if held >= self.per_host && !host.is_loopback() {
            return None;
        }
        let free = Arc::clone(&self.free).try_acquire_owned().ok()?;
        hosts.insert(host, held + 1);
        Some(Place { places: Arc::clone(self), host, _free: free })
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // Nothing in here can panic halfway.
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.places.hosts();
        if let Some(held) = hosts.get_mut(&self.host) {
            *held -= 1;
            if *held == 0 {
                hosts.remove(&self.host);
            }
        }
    }
}

/// Serves `router` over HTTP/1.1 until the task is dropped; connections end with it.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds) {
    let within = bounds.request;
    let router = router.layer(from_fn(move |request, next| in_time(within, request, next)));
    let places = Places::new(&bounds);
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, for example: others may end meanwhile.
                tracing::warn!(%error, "no connection was accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        if let Some(place) = places.enter(from.ip()) {
            connections.spawn(answer(stream, router.clone(), bounds, place));
        } else if let Ok(place) = refusals.clone().try_acquire_owned() {
            connections.spawn(refuse(stream, place));
        }
    }
}

async fn answer(stream: TcpStream, router: Router, bounds: Bounds, place: Place) {
    // Without it a small answer may wait for the client's delayed acknowledgement; it is right all the same.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.headers);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = match timeout(bounds.connection, connection.as_mut()).await {
        Ok(ended) => Ok(ended),
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(bounds.request, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
    drop(place);
}

/// Says that there is no place. What was asked is read and thrown away: a connection that is closed with
/// something unread is reset, and its answer is lost.
async fn refuse(mut stream: TcpStream, place: OwnedSemaphorePermit) {
    let said = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        let mut asked = [0; 1 << 10];
        while stream.read(&mut asked).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Who does not take it in time is cut off, which says the same.
    let _ = timeout(REFUSED_WITHIN, said).await;
    drop(place);
}

async fn in_time(within: Duration, request: Request, next: Next) -> Response {
    let late = (
        StatusCode::REQUEST_TIMEOUT,
        [(header::CONNECTION, "close")],
        "the request took too long to arrive or to answer",
    );
    timeout(within, next.run(request)).await.unwrap_or_else(|_| late.into_response())
}

#[cfg(test)]
mod tests;
