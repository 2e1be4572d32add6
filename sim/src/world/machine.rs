//! A machine: what one validator takes for its computer.
//!
//! It offers the traits of commonware's runtime and leaves scheduling, timers and metrics to the
//! deterministic one below; between the two stand a clock that may be wrong, a disk that may fail
//! ([`crate::faults::disk`]) and a network that may be cut ([`crate::faults::wire`]). A machine lives from
//! one start to the next crash: what panics in it ends all of it, as it would end the process, and what
//! ran in it never touches disk or network again.

use crate::{
    adversaries::proxy::{self, Interposed},
    faults::{
        disk::{Disk, DiskBlob},
        wire::{Door, LineSink, LineStream, Wire},
    },
};
use commonware_runtime::{
    BlobVersion, Clock, Error, Handle, ListenerOf, Metrics, Name, Network, Resolver, SinkOf,
    Spawner, Storage, StreamOf, Supervisor,
    deterministic::Context,
    signal::Signal,
    telemetry::metrics::{Metric, Registered},
};
use futures::FutureExt as _;
use rand::{Rng as _, TryCryptoRng, TryRng};
use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// One life of a machine: from a start to a crash.
pub struct Life {
    /// Which machine.
    pub machine: usize,
    /// Where it is in the network.
    pub address: SocketAddr,
    /// How far its clock is ahead, in milliseconds; it outlives this life.
    pub skew: Arc<AtomicI64>,
    /// Its disk, which outlives this life.
    pub disk: Arc<Disk>,
    /// The network between all machines.
    pub wire: Arc<Wire>,
    /// Who alters what it says, if it lies.
    pub interposed: Option<Arc<Interposed>>,
    alive: AtomicBool,
    cause: Mutex<Option<String>>,
    timer: Context,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("machine", &self.machine).finish_non_exhaustive()
    }
}

/// What outlives a crash of a machine, or is shared by all.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// Which machine.
    pub machine: usize,
    /// Where it is in the network.
    pub address: SocketAddr,
    /// How far its clock is ahead, in milliseconds.
    pub skew: Arc<AtomicI64>,
    /// Its disk.
    pub disk: Arc<Disk>,
    /// The network.
    pub wire: Arc<Wire>,
}

impl Life {
    /// A new life of a machine; `timer` is a context that outlives it.
    pub fn new(hardware: Hardware, interposed: Option<Arc<Interposed>>, timer: Context) -> Self {
        let Hardware { machine, address, skew, disk, wire } = hardware;
        let (alive, cause) = (AtomicBool::new(true), Mutex::new(None));
        Self { machine, address, skew, disk, wire, interposed, alive, cause, timer }
    }

    /// Whether it has not ended.
    pub fn alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// Why it ended by itself, if it did.
    pub fn cause(&self) -> Option<String> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it: from now on nothing of it does anything.
    pub fn end(&self) {
        self.alive.store(false, Ordering::SeqCst);
    }

    fn panicked(&self, cause: String) {
        if self.alive.swap(false, Ordering::SeqCst) {
            *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
        }
    }

    /// Returns while the machine lives, and never after.
    pub async fn gate(&self) {
        if !self.alive() {
            std::future::pending::<()>().await;
        }
    }

    /// The true time, which no machine knows.
    pub fn now(&self) -> SystemTime {
        self.timer.current()
    }

    /// Waits until a true time.
    pub fn until(&self, time: SystemTime) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.timer.sleep_until(time)
    }

    /// A number below `bound`, or 0 if that is 0.
    pub fn draw(&self, bound: u64) -> u64 {
        let mut timer = self.timer.child("draw");
        if bound == 0 { 0 } else { timer.next_u64() % bound }
    }

    /// What the machine's clock shows at a true time.
    fn shown(&self, time: SystemTime) -> SystemTime {
        shift(time, self.skew.load(Ordering::SeqCst))
    }

    /// The true time at which the machine's clock shows `time`.
    fn truth(&self, time: SystemTime) -> SystemTime {
        shift(time, self.skew.load(Ordering::SeqCst).saturating_neg())
    }
}

/// The machine's clock, right or wrong.
impl protocol::clock::Clock for Life {
    fn now_ms(&self) -> u64 {
        let since = self.shown(self.now()).duration_since(SystemTime::UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    }
}

fn shift(time: SystemTime, by_ms: i64) -> SystemTime {
    let by = Duration::from_millis(by_ms.unsigned_abs());
    let shifted = if by_ms < 0 { time.checked_sub(by) } else { time.checked_add(by) };
    // A deadline at the end of time stays there.
    shifted.unwrap_or(time)
}

/// The runtime as one machine sees it.
#[expect(missing_debug_implementations, reason = "the runtime's context has none")]
pub struct Machine {
    inner: Context,
    life: Arc<Life>,
}

impl Machine {
    /// The runtime of a machine in one of its lives.
    pub const fn new(inner: Context, life: Arc<Life>) -> Self {
        Self { inner, life }
    }

    /// The life it belongs to.
    pub const fn life(&self) -> &Arc<Life> {
        &self.life
    }
}

impl Supervisor for Machine {
    fn name(&self) -> Name {
        self.inner.name()
    }

    fn child(&self, label: &'static str) -> Self {
        Self { inner: self.inner.child(label), life: Arc::clone(&self.life) }
    }

    fn with_attribute(self, key: &'static str, value: impl std::fmt::Display) -> Self {
        Self { inner: self.inner.with_attribute(key, value), life: self.life }
    }
}

/// What a panic said.
fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

impl Spawner for Machine {
    fn shared(self, blocking: bool) -> Self {
        Self { inner: self.inner.shared(blocking), life: self.life }
    }

    fn dedicated(self) -> Self {
        Self { inner: self.inner.dedicated(), life: self.life }
    }

    fn spawn<F, Fut, T>(self, f: F) -> Handle<T>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let life = self.life;
        self.inner.spawn(move |inner| async move {
            let machine = Self { inner, life: Arc::clone(&life) };
            let task = AssertUnwindSafe(async move { f(machine).await });
            match task.catch_unwind().await {
                Ok(value) => value,
                Err(panic) => {
                    life.panicked(text(&*panic));
                    std::future::pending().await
                }
            }
        })
    }

    async fn stop(self, value: i32, timeout: Option<Duration>) -> Result<(), Error> {
        self.inner.stop(value, timeout).await
    }

    fn stopped(&self) -> Signal {
        self.inner.stopped()
    }
}

impl Metrics for Machine {
    fn register<N: Into<String>, H: Into<String>, M: Metric>(
        &self,
        name: N,
        help: H,
        metric: M,
    ) -> Registered<M> {
        self.inner.register(name, help, metric)
    }

    fn encode(&self) -> String {
        self.inner.encode()
    }
}

impl governor::clock::Clock for Machine {
    type Instant = SystemTime;

    fn now(&self) -> SystemTime {
        self.current()
    }
}

impl governor::clock::ReasonablyRealtime for Machine {}

impl Clock for Machine {
    fn current(&self) -> SystemTime {
        self.life.shown(self.inner.current())
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.inner.sleep(duration)
    }

    fn sleep_until(
        &self,
        deadline: SystemTime,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.inner.sleep_until(self.life.truth(deadline))
    }
}

impl TryRng for Machine {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.inner.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.inner.try_next_u64()
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Infallible> {
        self.inner.try_fill_bytes(dest)
    }
}

impl TryCryptoRng for Machine {}

impl Resolver for Machine {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        self.inner.resolve(host).await
    }
}

impl Storage for Machine {
    type Blob = DiskBlob;

    async fn open_versioned(
        &self,
        partition: &str,
        name: &[u8],
        versions: RangeInclusive<BlobVersion>,
    ) -> Result<(DiskBlob, u64, BlobVersion), Error> {
        self.life.gate().await;
        let (blob, size, version) = self.inner.open_versioned(partition, name, versions).await?;
        Ok((DiskBlob::new(Arc::clone(&self.life), (partition, name), blob), size, version))
    }

    async fn remove(&self, partition: &str, name: Option<&[u8]>) -> Result<(), Error> {
        self.life.gate().await;
        self.inner.remove(partition, name).await?;
        self.life.disk.removed(partition, name);
        Ok(())
    }

    async fn scan(&self, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
        self.life.gate().await;
        self.inner.scan(partition).await
    }
}

/// Where a machine listens.
#[expect(missing_debug_implementations, reason = "the runtime's context has none")]
pub struct Listener {
    machine: Machine,
    door: Door,
}

impl commonware_runtime::Listener for Listener {
    type Sink = LineSink;
    type Stream = LineStream;

    async fn accept(&mut self) -> Result<(SocketAddr, LineSink, LineStream), Error> {
        let (from, sink, stream) = self.door.accept(&self.machine.life).await?;
        let Some(interposed) = &self.machine.life.interposed else {
            return Ok((from, sink, stream));
        };
        let (ours, theirs) = Wire::within(&self.machine.life);
        let task = proxy::answer(Arc::clone(interposed), (sink, stream), theirs);
        self.machine.child("proxy").spawn(task);
        Ok((from, ours.0, ours.1))
    }

    fn local_addr(&self) -> Result<SocketAddr, std::io::Error> {
        Ok(self.machine.life.address)
    }
}

impl Network for Machine {
    type Listener = Listener;

    async fn bind(&self, socket: SocketAddr) -> Result<ListenerOf<Self>, Error> {
        self.life.gate().await;
        let door = self.life.wire.listen(&self.life, socket)?;
        Ok(Listener { machine: self.child("listener"), door })
    }

    async fn dial(&self, socket: SocketAddr) -> Result<(SinkOf<Self>, StreamOf<Self>), Error> {
        let (sink, stream) = Wire::dial(&self.life, socket).await?;
        let Some(interposed) = &self.life.interposed else { return Ok((sink, stream)) };
        let (ours, theirs) = Wire::within(&self.life);
        let task = proxy::call(Arc::clone(interposed), socket, (sink, stream), theirs);
        self.child("proxy").spawn(task);
        Ok(ours)
    }
}
