//! What the process measures, as Prometheus reads it (text exposition format 0.0.4).
//!
//! Three sources make one document: the figures that every part gives to the process's recorder, what
//! the ledger and the S3 service answer when they are asked, and the ledger engine's own, translated
//! from OpenMetrics ([`engine`]). [`families`] says what each of ours means.

mod engine;
mod families;

pub(crate) use engine::{Glance, glance};

use crate::storefront::Open;
use axum::{Router, extract::State, http::header::CONTENT_TYPE, routing::get};
use consensus::Ledger;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{net::SocketAddr, sync::OnceLock};
use tokio::net::TcpListener;
use validator::door::{self, Bounds};

/// The version of the format, for who asks.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Upper bounds of the buckets of times, in seconds.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

/// A process has one recorder.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the process's recorder, once, and gives what renders it.
pub(crate) fn recorder() -> anyhow::Result<PrometheusHandle> {
    if let Some(handle) = RECORDER.get() {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .build_recorder();
    let handle = RECORDER.get_or_init(|| recorder.handle()).clone();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::debug!("another recorder is installed already");
    }
    families::describe();
    Ok(handle)
}

/// Where the figures of a process come from.
#[derive(Clone)]
pub(crate) struct Sources {
    /// The process's recorder.
    pub(crate) recorder: PrometheusHandle,
    /// The ledger, if the process runs one.
    pub(crate) ledger: Option<Ledger>,
    /// The S3 service, if the process runs one.
    pub(crate) s3: Option<Open>,
}

impl Sources {
    /// The whole document.
    async fn render(&self) -> String {
        if let Some(s3) = &self.s3 {
            families::s3(s3).await;
        }
        let Some(ledger) = &self.ledger else { return self.recorder.render() };
        families::ledger(ledger);
        let engine = match ledger.metrics().await {
            Ok(engine) => engine,
            Err(error) => {
                tracing::warn!(%error, "the engine gave no metrics");
                return self.recorder.render();
            }
        };
        families::engine(glance(&engine));
        let mut text = self.recorder.render();
        text.push_str(&engine::translate(&engine));
        text
    }
}

/// `GET /metrics`.
pub(crate) fn router(sources: Sources) -> Router {
    let answer =
        async |State(sources): State<Sources>| ([(CONTENT_TYPE, FORMAT)], sources.render().await);
    Router::new().route("/metrics", get(answer)).with_state(sources)
}

/// Serves `/metrics` until the task is dropped, and says where.
pub(crate) async fn serve(address: SocketAddr, sources: Sources) -> anyhow::Result<()> {
    let listener = crate::ports::open(address, "--metrics").await?;
    crate::out::line(format!("metrics at http://{}/metrics", listener.local_addr()?));
    serve_on(listener, sources);
    Ok(())
}

/// Serves `/metrics` on a listener until the program ends.
pub(crate) fn serve_on(listener: TcpListener, sources: Sources) {
    tokio::spawn(door::serve(listener, router(sources), Bounds::default()));
}

/// Where `--metrics` listens: an address, or a port of this machine alone.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| format!("{text:?} is no address: write 9100 or 127.0.0.1:9100"))
}
