//! PUT and GET of large and of small objects, ours and the rival's in turn.

use crate::report::{Figure, median, progress};
use bytes::Bytes;
use std::time::Instant;
use wayleave::s3::{Access, S3};

/// The large object, in bytes.
const LARGE: usize = 64 << 20;
/// How often it is put and got.
const LARGE_RUNS: usize = 7;
/// The small object, in bytes.
const SMALL: usize = 4 << 10;
/// How many small objects one run puts and gets in all: enough for a second or so, in which a block or two are
/// made and duties proven beside it, as always.
const SMALL_COUNT: usize = 1_600;
/// How often they are put and got.
const SMALL_RUNS: usize = 5;
/// How many clients put and get small objects at once.
const CLIENTS: usize = 16;

/// The rival's name.
const RIVAL: &str = "s3s-fs 0.14";

/// Measures both servers.
pub(crate) async fn compare(ours: &Access, rival: &Access) -> anyhow::Result<Vec<Figure>> {
    let servers = [S3::new(ours, "bench")?, S3::new(rival, "bench")?];
    servers[1].create().await?;
    let mut figures = large(&servers).await?;
    figures.extend(small(&servers, 1).await?);
    figures.extend(small(&servers, CLIENTS).await?);
    Ok(figures)
}

fn figure(what: String, values: [Vec<f64>; 2], unit: &'static str) -> Figure {
    let [ours, rival] = values.map(median);
    Figure { what, ours, rival: Some((RIVAL.to_owned(), rival)), unit }
}

pub(crate) fn noise(number: usize, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

async fn large(servers: &[S3; 2]) -> anyhow::Result<Vec<Figure>> {
    progress("64 MiB objects");
    let mut puts = [vec![], vec![]];
    let mut gets = [vec![], vec![]];
    let megabytes = 67.108_864;
    for run in 0..LARGE_RUNS {
        let body = noise(run, LARGE);
        for (at, server) in servers.iter().enumerate() {
            let key = format!("large/{run}");
            let began = Instant::now();
            server.put(&key, body.clone()).await?;
            puts[at].push(megabytes / began.elapsed().as_secs_f64());
            let began = Instant::now();
            let back = server.get(&key).await?;
            gets[at].push(megabytes / began.elapsed().as_secs_f64());
            anyhow::ensure!(back == body, "{key} came back with other bytes");
        }
    }
    Ok(vec![
        figure("PUT of 64 MiB, one client".into(), puts, "MB/s"),
        figure("GET of 64 MiB, one client".into(), gets, "MB/s"),
    ])
}

async fn small(servers: &[S3; 2], clients: usize) -> anyhow::Result<Vec<Figure>> {
    progress(&format!("4 KiB objects, {clients} clients"));
    let mut puts = [vec![], vec![]];
    let mut gets = [vec![], vec![]];
    for run in 0..SMALL_RUNS {
        for (at, server) in servers.iter().enumerate() {
            puts[at].push(rate(server, clients, run, true).await?);
            gets[at].push(rate(server, clients, run, false).await?);
        }
    }
    Ok(vec![
        figure(format!("PUT of 4 KiB, {clients} at once"), puts, "requests/s"),
        figure(format!("GET of 4 KiB, {clients} at once"), gets, "requests/s"),
    ])
}

/// Requests a second of `clients` that each put or get their share of objects.
async fn rate(server: &S3, clients: usize, run: usize, put: bool) -> anyhow::Result<f64> {
    let (began, each) = (Instant::now(), SMALL_COUNT / clients);
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let server = server.clone();
            tokio::spawn(async move {
                for number in 0..each {
                    let key = format!("small/{run}/{clients}/{client}/{number}");
                    let body = noise(number, SMALL);
                    if put {
                        server.put(&key, body).await?;
                    } else {
                        anyhow::ensure!(server.get(&key).await? == body, "{key} differs");
                    }
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let requests = u32::try_from(clients * each)?;
    Ok(f64::from(requests) / began.elapsed().as_secs_f64())
}
