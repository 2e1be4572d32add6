//! One load on the devnet alone, for as long as a profiler wants to look at it.

use crate::{report::progress, s3::noise};
use clap::ValueEnum;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use wayleave::s3::{Access, S3};

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    /// Objects of 64 MiB are put.
    PutLarge,
    /// An object of 64 MiB is got.
    GetLarge,
    /// Objects of 4 KiB are put.
    PutSmall,
    /// Objects of 4 KiB are got.
    GetSmall,
}

impl Load {
    const fn bytes(self) -> usize {
        match self {
            Self::PutLarge | Self::GetLarge => 64 << 20,
            Self::PutSmall | Self::GetSmall => 4 << 10,
        }
    }

    const fn puts(self) -> bool {
        matches!(self, Self::PutLarge | Self::PutSmall)
    }
}

/// Keeps `clients` busy with `load` for `time`, and says how much they did.
pub(crate) async fn run(
    access: &Access,
    load: Load,
    clients: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let server = S3::new(access, "bench")?;
    let body = noise(0, load.bytes());
    server.put("load/first", body.clone()).await?;
    let done = Arc::new(AtomicU32::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (server, body, done) = (server.clone(), body.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                while began.elapsed() < time {
                    let number = done.fetch_add(1, Ordering::Relaxed);
                    if load.puts() {
                        server.put(&format!("load/{client}/{number}"), body.clone()).await?;
                    } else {
                        server.get("load/first").await?;
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let rate = f64::from(done.load(Ordering::Relaxed)) / began.elapsed().as_secs_f64();
    progress(&format!("{load:?}, {clients} at once: {rate:.1} requests/s"));
    Ok(())
}
