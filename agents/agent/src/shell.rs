//! The shell: gives the state machine its events and does what it says.
//!
//! One task holds the state and does effects in order; what takes time (the network, the hardware)
//! runs beside it and comes back as an event. The queue of events is bounded; who fills it waits.
//!
//! When the journal cannot be written (a full disk), nothing may go on that it does not cover: the
//! state is dropped as in a crash, and taken up from the journal again once that can be opened.

use crate::{
    hardware::Hardware,
    journal::{Journal, JournalError},
    ledger::{Ledger, LedgerError},
    metrics::{Metrics, short},
    state::{Agent, Effect, Event, Settings},
    validators::Validators,
};
use protocol::{
    DeviceId, Height, NetworkId,
    clock::{Clock, EpochClock},
    key::DeviceSecret,
    kind::Kind,
};
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};
use tracing::Instrument;

/// How long to wait before a journal that failed is opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(5);
/// How many inspections and proofs use the hardware at once.
const WORKING_MAX: usize = 8;
/// Events that wait for the state machine.
const EVENTS_MAX: usize = 256;

/// What an agent's runtime is made from.
pub struct Config {
    /// The network it serves.
    pub network: NetworkId,
    /// The device's key.
    pub secret: DeviceSecret,
    /// The journal's file.
    pub journal: PathBuf,
    /// After how many heights an accepted envelope must have been seen in a block.
    pub patience: u64,
    /// Whether losses are looked for and declared.
    pub declare_losses: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("network", &self.network)
            .field("device", &self.secret.id())
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

/// What the agent acts through.
#[derive(Clone)]
pub struct World {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The validators.
    pub validators: Arc<dyn Validators>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The kind of the device.
    pub kind: Arc<dyn Kind>,
    /// The hardware.
    pub hardware: Arc<dyn Hardware>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// An agent at work. Dropping it stops it at once, which is as safe as a crash.
pub struct Running {
    device: DeviceId,
    metrics: watch::Receiver<Metrics>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Running {
    /// The device.
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// What was done so far.
    pub fn metrics(&self) -> Metrics {
        self.metrics.borrow().clone()
    }

    /// Follows what is done.
    pub fn watch(&self) -> watch::Receiver<Metrics> {
        self.metrics.clone()
    }

    /// Stops and waits until nothing runs any more.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if (&mut self.task).await.is_err() {
            tracing::error!("the agent's task panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts an agent that goes on where its journal stopped.
///
/// # Errors
/// When the journal cannot be opened or the ledger's clock not be read.
pub async fn start(config: Config, world: World) -> Result<Running, StartError> {
    let clock = world.ledger.clock().await?;
    let device = config.secret.id();
    let settings = Settings {
        network: config.network,
        validators: world.validators.count(),
        patience: config.patience,
        declare_losses: config.declare_losses,
    };
    let birth = Birth { settings, secret: config.secret, journal: config.journal, clock };
    let (journal, agent) = birth.open(&world)?;
    let (metrics_sender, metrics) = watch::channel(agent.metrics());
    let (stop, stopped) = watch::channel(false);
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let shell = Shell {
        agent,
        journal: Arc::new(journal),
        network: settings.network,
        world,
        events,
        tasks: JoinSet::new(),
        metrics: metrics_sender,
        working: Arc::new(Semaphore::new(WORKING_MAX)),
    };
    let span = tracing::info_span!("agent.shell.run", device = short(device));
    let task = tokio::spawn(shell.run(birth, inbox, stopped).instrument(span));
    Ok(Running { device, metrics, stop, task })
}

/// What an agent is born from, at the start and after its journal failed.
struct Birth {
    settings: Settings,
    secret: DeviceSecret,
    journal: PathBuf,
    clock: EpochClock,
}

impl Birth {
    fn open(&self, world: &World) -> Result<(Journal, Agent), JournalError> {
        let (network, device) = (self.settings.network, self.secret.id());
        let (journal, recovered) = Journal::open(&self.journal, network, device)?;
        let (secret, kind) = (self.secret.clone(), Arc::clone(&world.kind));
        Ok((journal, Agent::new(self.settings, secret, kind, self.clock, recovered)))
    }
}

struct Shell {
    agent: Agent,
    journal: Arc<Journal>,
    network: NetworkId,
    world: World,
    events: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
    metrics: watch::Sender<Metrics>,
    working: Arc<Semaphore>,
}

impl Shell {
    async fn run(
        mut self,
        birth: Birth,
        mut inbox: mpsc::Receiver<Event>,
        mut stopped: watch::Receiver<bool>,
    ) {
        loop {
            let served = self.serve(&mut inbox, stopped.clone()).await;
            // Closed first, so that no task waits for a place in the queue.
            drop(inbox);
            self.tasks.shutdown().await;
            let Err(error) = served else { return };
            // Going on could use a sequence number that a restart would use again.
            tracing::error!(%error, "the journal cannot be written; the agent waits for it");
            // Released, so that it can be opened again.
            drop(self.journal);
            let (journal, agent) = loop {
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => return,
                    () = tokio::time::sleep(REOPEN_PAUSE) => {}
                }
                match birth.open(&self.world) {
                    Ok(opened) => break opened,
                    Err(error) => tracing::error!(%error, "the journal cannot be opened"),
                }
            };
            (self.events, inbox) = mpsc::channel(EVENTS_MAX);
            (self.journal, self.agent) = (Arc::new(journal), agent);
        }
    }

    async fn serve(
        &mut self,
        inbox: &mut mpsc::Receiver<Event>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), JournalError> {
        let mut head: Option<Height> = None;
        let ledger = Arc::clone(&self.world.ledger);
        let mut next = ledger.next(None);
        loop {
            let event = tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return Ok(()),
                height = &mut next => {
                    head = head.max(Some(height));
                    next = ledger.next(head);
                    Event::Head(height, self.world.hardware.figures())
                }
                Some(event) = inbox.recv() => event,
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        tracing::error!("a task of the agent panicked");
                    }
                    continue;
                }
            };
            let block = matches!(event, Event::Head(..));
            let effects = self.agent.handle(event, self.world.clock.now_ms());
            for effect in effects {
                self.perform(effect).await?;
            }
            let metrics = self.agent.metrics();
            if block {
                metrics.publish(self.agent.device());
            }
            self.metrics.send_replace(metrics);
        }
    }

    async fn perform(&mut self, effect: Effect) -> Result<(), JournalError> {
        match effect {
            Effect::Record(records) => {
                let journal = Arc::clone(&self.journal);
                let written = tokio::task::spawn_blocking(move || journal.write(&records)).await;
                written.unwrap_or_else(|_| Err(JournalError::Interrupted))?;
            }
            Effect::Fetch(epoch) => {
                let (world, network) = (self.world.clone(), self.network);
                self.spawn(async move { fetch(&world, network, epoch).await });
            }
            // Told one after the other, so that the hardware never sees epochs out of order.
            Effect::Open(inputs) => self.tell(move |hardware| hardware.open(&inputs)).await,
            Effect::Close(epoch) => self.tell(move |hardware| hardware.close(epoch)).await,
            Effect::Inspect(inputs, duty) => self.work(move |hardware| {
                let loss = hardware.inspect(&inputs, &duty);
                Event::Inspected(inputs.epoch, duty.rail, duty.index, loss)
            }),
            Effect::Prove(inputs, duty) => self.work(move |hardware| {
                let outcome = hardware.prove(&inputs, &duty);
                Event::Proven(inputs.epoch, duty.rail, duty.index, outcome)
            }),
            Effect::Collect(epoch) => {
                self.work(move |hardware| Event::Vouchers(epoch, hardware.vouchers()));
            }
            Effect::Submit { sequence, validator, bytes } => {
                let validators = Arc::clone(&self.world.validators);
                self.spawn(async move {
                    Event::Submitted(sequence, validators.submit(validator, bytes).await)
                });
            }
            Effect::Look { sequence, validator, digest } => {
                let validators = Arc::clone(&self.world.validators);
                self.spawn(async move {
                    Event::Looked(sequence, validators.carried(validator, digest).await)
                });
            }
        }
        Ok(())
    }

    fn spawn(&mut self, work: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        self.tasks.spawn(async move {
            let event = work.await;
            // The receiver is gone only when the agent stops.
            let _ = events.send(event).await;
        });
    }

    /// Works with the hardware, a few at a time: who waits for a place in the queue of events holds no
    /// thread.
    fn work(&mut self, work: impl FnOnce(&dyn Hardware) -> Event + Send + 'static) {
        let (working, hardware) = (Arc::clone(&self.working), Arc::clone(&self.world.hardware));
        let events = self.events.clone();
        self.tasks.spawn(async move {
            // The semaphore is never closed.
            let Ok(_turn) = working.acquire().await else { return };
            let work = tokio::task::spawn_blocking(move || work(hardware.as_ref()));
            match work.await {
                // The receiver is gone only when the agent stops.
                Ok(event) => drop(events.send(event).await),
                Err(_) => tracing::error!("the hardware panicked"),
            }
        });
    }

    async fn tell(&self, word: impl FnOnce(&dyn Hardware) + Send + 'static) {
        let hardware = Arc::clone(&self.world.hardware);
        if tokio::task::spawn_blocking(move || word(hardware.as_ref())).await.is_err() {
            tracing::error!("the hardware panicked");
        }
    }
}

/// The inputs of an epoch, checked against the ledger.
async fn fetch(world: &World, network: NetworkId, epoch: protocol::Epoch) -> Event {
    let hash = match world.ledger.inputs_hash(network, epoch).await {
        Ok(Some(hash)) => hash,
        Ok(None) => return Event::NoInputs(epoch),
        Err(error) => {
            tracing::warn!(%error, %epoch, "cannot read the hash of the epoch's inputs");
            return Event::NoInputs(epoch);
        }
    };
    match world.validators.inputs(network, epoch, hash).await {
        Ok(inputs) if (inputs.network, inputs.epoch) == (network, epoch) => {
            Event::Inputs(Arc::new(inputs))
        }
        Ok(_) => Event::NoInputs(epoch),
        Err(error) => {
            tracing::warn!(%error, %epoch, "cannot fetch the epoch's inputs");
            Event::NoInputs(epoch)
        }
    }
}
