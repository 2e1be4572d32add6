//! A relay between two nodes that counts the bytes on their way.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What is read at once, bytes.
const BUFFER: usize = 64 << 10;

/// A relay, until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    port: u16,
    forth: Arc<AtomicU64>,
    back: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Relays to a port of this machine.
    pub(super) async fn start(to: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (forth, back) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let counters = (Arc::clone(&forth), Arc::clone(&back));
        let task = tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let counters = counters.clone();
                tokio::spawn(async move {
                    // Who is not there yet is dialled again by whoever came.
                    let Ok(to) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    // Without delay, as the nodes' own connections are.
                    let _ = (from.set_nodelay(true), to.set_nodelay(true));
                    let ((from_read, from_write), (to_read, to_write)) =
                        (from.into_split(), to.into_split());
                    tokio::join!(
                        copy(from_read, to_write, &counters.0),
                        copy(to_read, from_write, &counters.1)
                    );
                });
            }
        });
        Ok(Self { port, forth, back, task })
    }

    /// Where it listens.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Bytes that went to the node behind it.
    pub(super) fn forth(&self) -> u64 {
        self.forth.load(Ordering::Relaxed)
    }

    /// Bytes that came from the node behind it.
    pub(super) fn back(&self) -> u64 {
        self.back.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes on what comes until one end goes, and tells the other so.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counter: &AtomicU64,
) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
        counter.fetch_add(u64::try_from(read).unwrap_or(0), Ordering::Relaxed);
    }
    // Who has gone needs not be told.
    let _ = to.shutdown().await;
}
