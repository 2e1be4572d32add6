//! The network between machines: connections as streams of bytes, over links that fail.
//!
//! Bytes of one connection arrive whole and in order, as TCP delivers them, so loss shows as delay (a
//! retransmission), a partition as silence until it heals, and reordering only across connections. A
//! machine that loses power says no goodbye: its peers learn of it when it is back, or when the link says
//! so. Every link is directed; a one-way cut is one link.

use crate::world::machine::Life;
use bytes::{Bytes, BytesMut};
use commonware_runtime::{Error, IoBufs, Sink, Stream};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};
use tokio::sync::{Notify, mpsc};

/// Connections that wait to be accepted.
const BACKLOG: usize = 64;
/// Bytes under way on one connection before a sender waits.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// How long a lost packet takes longer than one that was not.
const RETRANSMIT: Duration = Duration::from_millis(200);
/// How often a connection is tried again while the link is cut.
const SYN_AGAIN: Duration = Duration::from_millis(250);

/// One direction between two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether anything passes.
    pub open: bool,
    /// Least time from one end to the other, in milliseconds.
    pub delay_ms: u64,
    /// What may come on top, in milliseconds.
    pub jitter_ms: u64,
    /// How many packets of a hundred are lost once and sent again.
    pub loss_percent: u64,
}

impl Default for Link {
    fn default() -> Self {
        Self { open: true, delay_ms: 5, jitter_ms: 10, loss_percent: 0 }
    }
}

impl Link {
    /// A link that lets nothing pass.
    pub const CUT: Self = Self { open: false, delay_ms: 5, jitter_ms: 10, loss_percent: 0 };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves the wires as they are.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Arrival = (SocketAddr, LineSink, LineStream);
/// A door's machine, and where its arrivals are put.
type Bell = (Weak<Life>, mpsc::Sender<Arrival>);

/// All doors, links and connections.
#[derive(Debug, Default)]
pub struct Wire(Mutex<Wiring>);

#[derive(Debug, Default)]
struct Wiring {
    doors: BTreeMap<SocketAddr, Bell>,
    links: BTreeMap<(usize, usize), Link>,
    lines: Vec<Weak<Line>>,
    dialled: u16,
}

impl Wire {
    /// The link from one machine to another.
    pub fn link(&self, from: usize, to: usize) -> Link {
        if from == to {
            return Link { delay_ms: 0, jitter_ms: 0, ..Link::default() };
        }
        lock(&self.0).links.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Sets the link from one machine to another.
    pub fn set(&self, from: usize, to: usize, link: Link) {
        let mut wiring = lock(&self.0);
        wiring.links.insert((from, to), link);
        wiring.each(|line| line.changed.notify_one());
    }

    /// Makes all links as they should be.
    pub fn heal(&self) {
        let mut wiring = lock(&self.0);
        wiring.links.clear();
        wiring.each(|line| line.changed.notify_one());
    }

    /// Breaks all connections of a machine.
    pub fn cut(&self, machine: usize) {
        lock(&self.0).each(|line| {
            if line.from == machine || line.to == machine {
                lock(&line.state).broken = true;
                line.changed.notify_one();
                line.drained.notify_one();
            }
        });
    }

    /// Both ends of a connection that stays on one machine.
    pub fn within(life: &Arc<Life>) -> ((LineSink, LineStream), (LineSink, LineStream)) {
        Self::connect((life, life.machine), (life, life.machine))
    }

    fn connect(
        (here, from): (&Arc<Life>, usize),
        (there, to): (&Arc<Life>, usize),
    ) -> ((LineSink, LineStream), (LineSink, LineStream)) {
        let (out, back) = (Arc::new(Line::new(from, to)), Arc::new(Line::new(to, from)));
        let mut wiring = lock(&here.wire.0);
        wiring.lines.retain(|line| line.strong_count() > 0);
        wiring.lines.extend([Arc::downgrade(&out), Arc::downgrade(&back)]);
        let end = |life: &Arc<Life>, sends: &Arc<Line>, hears: &Arc<Line>| {
            let stream = LineStream {
                life: Arc::clone(life),
                line: Arc::clone(hears),
                buffer: BytesMut::new(),
            };
            (LineSink { life: Arc::clone(life), line: Arc::clone(sends) }, stream)
        };
        (end(here, &out, &back), end(there, &back, &out))
    }

    /// Opens a door at an address.
    ///
    /// # Errors
    /// Somebody listens there.
    pub fn listen(&self, life: &Arc<Life>, at: SocketAddr) -> Result<Door, Error> {
        let mut wiring = lock(&self.0);
        if wiring.doors.get(&at).is_some_and(|(_, bell)| !bell.is_closed()) {
            return Err(Error::BindFailed);
        }
        let (bell, arrivals) = mpsc::channel(BACKLOG);
        wiring.doors.insert(at, (Arc::downgrade(life), bell));
        Ok(Door(arrivals))
    }

    /// Connects `life` with the machine at an address.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn dial(life: &Arc<Life>, at: SocketAddr) -> Result<(LineSink, LineStream), Error> {
        life.gate().await;
        let (there, bell) = {
            let wiring = lock(&life.wire.0);
            wiring.doors.get(&at).cloned().ok_or(Error::ConnectionFailed)?
        };
        let there = there.upgrade().ok_or(Error::ConnectionFailed)?;
        let (from, to) = (life.machine, there.machine);
        while !(life.wire.link(from, to).open && life.wire.link(to, from).open) {
            life.until(life.now() + SYN_AGAIN).await;
        }
        let trip = life.wire.link(from, to).delay_ms + life.wire.link(to, from).delay_ms;
        life.until(life.now() + Duration::from_millis(trip)).await;
        life.gate().await;
        if !there.alive() {
            return Err(Error::ConnectionFailed);
        }
        let (ours, theirs) = Self::connect((life, from), (&there, to));
        let port = {
            let mut wiring = lock(&life.wire.0);
            wiring.dialled = wiring.dialled.wrapping_add(1);
            wiring.dialled | 0x8000
        };
        let source = SocketAddr::new(life.address.ip(), port);
        bell.try_send((source, theirs.0, theirs.1)).map_err(|_| Error::ConnectionFailed)?;
        Ok(ours)
    }
}

impl Wiring {
    fn each(&mut self, act: impl Fn(&Line)) {
        self.lines.retain(|line| line.upgrade().inspect(|line| act(line)).is_some());
    }
}

/// Where a machine takes connections.
#[derive(Debug)]
pub struct Door(mpsc::Receiver<Arrival>);

impl Door {
    /// The next connection.
    ///
    /// # Errors
    /// There will be none.
    pub async fn accept(&mut self, life: &Life) -> Result<Arrival, Error> {
        life.gate().await;
        self.0.recv().await.ok_or(Error::Closed)
    }
}

/// One direction of a connection.
#[derive(Debug)]
struct Line {
    from: usize,
    to: usize,
    state: Mutex<Flow>,
    /// Something arrived, or the link changed.
    changed: Notify,
    /// Something was taken.
    drained: Notify,
}

#[derive(Debug, Default)]
struct Flow {
    under_way: VecDeque<(SystemTime, Bytes)>,
    bytes: usize,
    closed: bool,
    deaf: bool,
    broken: bool,
}

impl Line {
    fn new(from: usize, to: usize) -> Self {
        let (changed, drained) = (Notify::new(), Notify::new());
        Self { from, to, state: Mutex::default(), changed, drained }
    }
}

/// The end that sends.
#[derive(Debug)]
pub struct LineSink {
    life: Arc<Life>,
    line: Arc<Line>,
}

impl Sink for LineSink {
    async fn send(&mut self, bufs: impl Into<IoBufs> + Send) -> Result<(), Error> {
        let bytes = Bytes::from(bufs.into().coalesce());
        loop {
            self.life.gate().await;
            let link = self.life.wire.link(self.line.from, self.line.to);
            let lost = self.life.draw(100) < link.loss_percent;
            let jitter = self.life.draw(link.jitter_ms + 1);
            {
                let mut flow = lock(&self.line.state);
                if flow.broken || flow.deaf {
                    return Err(Error::SendFailed);
                }
                if flow.bytes <= WINDOW_BYTES {
                    let delay = Duration::from_millis(link.delay_ms + jitter);
                    let again = if lost { RETRANSMIT } else { Duration::ZERO };
                    let arrives = self.life.now() + delay + again;
                    let last = flow.under_way.back().map_or(arrives, |(last, _)| *last);
                    flow.bytes += bytes.len();
                    flow.under_way.push_back((arrives.max(last), bytes));
                    self.line.changed.notify_one();
                    return Ok(());
                }
            }
            self.line.drained.notified().await;
        }
    }
}

impl Drop for LineSink {
    fn drop(&mut self) {
        // Without power nobody hangs up.
        if self.life.alive() {
            lock(&self.line.state).closed = true;
            self.line.changed.notify_one();
        }
    }
}

/// The end that hears.
#[derive(Debug)]
pub struct LineStream {
    life: Arc<Life>,
    line: Arc<Line>,
    buffer: BytesMut,
}

impl LineStream {
    /// Takes what has arrived; says when the next will, if anything is under way.
    fn take(&mut self) -> Result<Option<SystemTime>, Error> {
        let open = self.life.wire.link(self.line.from, self.line.to).open;
        let now = self.life.now();
        let mut flow = lock(&self.line.state);
        if flow.broken {
            return Err(Error::RecvFailed);
        }
        while open && flow.under_way.front().is_some_and(|(arrives, _)| *arrives <= now) {
            let Some((_, bytes)) = flow.under_way.pop_front() else { break };
            flow.bytes -= bytes.len();
            self.buffer.extend_from_slice(&bytes);
            self.line.drained.notify_one();
        }
        let next = flow.under_way.front().map(|(arrives, _)| *arrives);
        match next {
            None if flow.closed && open => Err(Error::RecvFailed),
            _ => Ok(next.filter(|_| open)),
        }
    }
}

impl Stream for LineStream {
    async fn recv(&mut self, len: usize) -> Result<IoBufs, Error> {
        loop {
            self.life.gate().await;
            if self.buffer.len() >= len {
                return Ok(IoBufs::from(self.buffer.split_to(len).freeze()));
            }
            let next = self.take();
            if self.buffer.len() >= len {
                continue;
            }
            match next? {
                Some(arrives) => {
                    let arrival = self.life.until(arrives);
                    tokio::select! {
                        biased;
                        () = self.line.changed.notified() => {}
                        () = arrival => {}
                    }
                }
                None => self.line.changed.notified().await,
            }
        }
    }

    fn peek(&self, max_len: usize) -> &[u8] {
        &self.buffer[..max_len.min(self.buffer.len())]
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        if self.life.alive() {
            lock(&self.line.state).deaf = true;
            self.line.drained.notify_one();
        }
    }
}
