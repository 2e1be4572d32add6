//! The rival: s3s-fs, which serves a folder over S3, in a process of its own on the same disk.

use crate::up::{free_port, wait_for_port};
use anyhow::Context as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use std::path::Path;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
};
use wayleave::s3::Access;

/// The rival's credentials.
const CREDENTIALS: (&str, &str) = ("bench", "bench-secret");
/// The variable that tells the child its port.
const PORT: &str = "WAYLEAVE_BENCH_FS_PORT";

/// Serves `folder` until the process is killed.
pub(crate) async fn serve(folder: &Path) -> anyhow::Result<()> {
    let port: u16 = std::env::var(PORT)?.parse()?;
    let files = s3s_fs::FileSystem::new(folder)
        .map_err(|error| anyhow::anyhow!("s3s-fs refused {}: {error:?}", folder.display()))?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(CREDENTIALS.0, CREDENTIALS.1));
    let service = builder.build();
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // The published server leaves Nagle's algorithm on and waits 40 ms on small answers; the
        // comparison is with what it could do.
        stream.set_nodelay(true)?;
        let service = service.clone();
        tokio::spawn(async move {
            let _ = Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// The rival, running.
#[derive(Debug)]
pub(crate) struct Rival {
    access: Access,
    _child: Child,
}

impl Rival {
    /// Starts it on a folder below `disk`.
    pub(crate) async fn start(disk: &Path) -> anyhow::Result<Self> {
        let (folder, port) = (disk.join("s3s-fs"), free_port()?);
        std::fs::create_dir_all(&folder)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("--serve-fs")
            .arg(&folder)
            .env(PORT, port.to_string())
            .kill_on_drop(true)
            .spawn()
            .context("starting s3s-fs")?;
        wait_for_port(port).await?;
        let access = Access {
            url: format!("http://127.0.0.1:{port}"),
            key: CREDENTIALS.0.into(),
            secret: CREDENTIALS.1.into(),
        };
        Ok(Self { access, _child: child })
    }

    /// Where it answers.
    pub(crate) const fn access(&self) -> &Access {
        &self.access
    }
}
