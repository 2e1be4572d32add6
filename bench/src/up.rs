//! The devnet under measurement: how fast it starts, and what it needs at rest.

use crate::{
    memory,
    report::{Figure, progress},
};
use anyhow::{Context as _, bail};
use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};
use wayleave::s3::{Access, S3};

/// How long anything may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the devnet rests before its memory is read: one epoch and its settlement.
const REST: Duration = Duration::from_secs(25);

/// A port that is free now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until something listens.
pub(crate) async fn wait_for_port(port: u16) -> anyhow::Result<()> {
    let began = Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if began.elapsed() > PATIENCE {
            bail!("nothing listens on port {port} after {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// A running devnet.
#[derive(Debug)]
pub(crate) struct Devnet {
    home: PathBuf,
    child: Child,
    first_request: Duration,
}

impl Devnet {
    /// Starts `program up --fresh` and measures the time to the first accepted S3 request.
    pub(crate) async fn start(program: &Path, disk: &Path) -> anyhow::Result<Self> {
        progress("starting the devnet");
        let home = disk.join("home");
        let ports = [free_port()?, free_port()?, free_port()?, free_port()?];
        let [rpc, http, s3, control] = ports.map(|port| format!("127.0.0.1:{port}"));
        let began = Instant::now();
        let child = Command::new(program)
            .args(["up", "--fresh", "--rpc", &rpc, "--http", &http, "--s3", &s3])
            .args(["--control", &control])
            .arg("--home")
            .arg(&home)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut devnet = Self { home, child, first_request: Duration::ZERO };
        loop {
            if let Ok(access) = devnet.access()
                && S3::new(&access, "bench")?.create().await.is_ok()
            {
                break;
            }
            if began.elapsed() > PATIENCE {
                bail!("S3 did not answer within {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        devnet.first_request = began.elapsed();
        Ok(devnet)
    }

    /// Where S3 answers.
    pub(crate) fn access(&self) -> anyhow::Result<Access> {
        let bytes = fs::read(self.home.join("devnet/running.json"))?;
        let file: serde_json::Value = serde_json::from_slice(&bytes)?;
        Ok(serde_json::from_value(file["s3"].clone())?)
    }

    /// Start-up time, and memory at rest.
    pub(crate) async fn figures(&self) -> anyhow::Result<Vec<Figure>> {
        progress("letting it rest");
        tokio::time::sleep(REST).await;
        let id = self.child.id().context("the devnet ended")?;
        let resident = memory::resident(id)?;
        Ok(vec![
            Figure {
                what: "`up --fresh` to the first accepted S3 request".into(),
                ours: self.first_request.as_secs_f64(),
                rival: None,
                unit: "s",
            },
            Figure {
                what: "resident memory at rest: ledger, 8 agents, S3 service".into(),
                ours: resident,
                rival: None,
                unit: "MiB",
            },
        ])
    }
}
