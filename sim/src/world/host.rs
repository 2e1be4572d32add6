//! One machine with a seat, from its first start through its crashes: what it keeps, what runs on it, and
//! what it has said is final.

use super::machine::{Hardware, Life, Machine};
use crate::{
    adversaries::{Kind, proxy::Interposed},
    checkers::{Broken, chronicle::Chronicle},
    faults::{disk::Crash, file::HistoryFile},
};
use commonware_runtime::{
    Clock as _, Error, Handle, Spawner as _, Supervisor as _, deterministic::Context,
};
use consensus::{
    Config, Finalized, Genesis, History, Ledger, Peer, Retention, Role, ValidatorKeys,
    simulation::{self, Served},
};
use rand::{RngExt as _, rngs::StdRng};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// Most blocks that a machine replays that joins late, unless a plan says otherwise.
const REPLAY_BLOCKS: u64 = 1_024;
/// Least time between two blocks where few are kept, so that they are soon too old to be had.
const QUICK: Duration = Duration::from_millis(200);
/// How often a start is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// How long such a start may take, in looks.
const LOOKS: u32 = 2_000;
/// How long what ran on a machine takes to end.
const SETTLE: Duration = Duration::from_millis(20);
/// How often that is waited for.
const SETTLES: u32 = 50;

/// What runs on a machine.
struct Runs {
    life: Arc<Life>,
    task: Handle<()>,
    stage: Stage,
}

/// What a start gives: the ledger, or why there is none, and a place below the program.
type Started = (Result<Ledger, String>, Machine);

/// How far a machine has come since it got power.
enum Stage {
    Starting(oneshot::Receiver<Started>),
    Up(Ledger, Machine),
    Failed,
}

/// A machine with a seat.
#[expect(missing_debug_implementations, reason = "the runtime's handle has none")]
pub struct Host {
    /// What outlives a crash.
    pub hardware: Hardware,
    /// How it lies, if it does.
    pub kind: Option<Kind>,
    /// Who stands between it and the network.
    pub interposed: Option<Arc<Interposed>>,
    /// What it does for the ledger.
    pub role: Role,
    /// Most blocks that it replays when it is started with an empty disk.
    pub replay_blocks: u64,
    /// Final blocks that it keeps for others, if not as many as usual; then it keeps little else for them.
    pub blocks_served: Option<usize>,
    keys: ValidatorKeys,
    peers: Vec<Peer>,
    history: HistoryFile,
    runs: Option<Runs>,
    /// The last height it said was final.
    seen: u64,
}

impl Host {
    /// A machine that was never started.
    pub fn new(hardware: Hardware, keys: ValidatorKeys, peers: Vec<Peer>) -> Self {
        let history = HistoryFile::new(Arc::clone(&hardware.disk));
        let (kind, interposed, runs, seen) = (None, None, None, 0);
        Self {
            hardware,
            kind,
            interposed,
            role: Role::default(),
            replay_blocks: REPLAY_BLOCKS,
            blocks_served: None,
            keys,
            peers,
            history,
            runs,
            seen,
        }
    }

    /// Whether what it says has to be true.
    pub fn honest(&self) -> bool {
        !self.kind.is_some_and(Kind::lies)
    }

    /// The last height it said was final.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Its ledger, while it runs.
    pub fn ledger(&self) -> Option<&Ledger> {
        match self.runs.as_ref().filter(|runs| runs.life.alive()).map(|runs| &runs.stage) {
            Some(Stage::Up(ledger, _)) => Some(ledger),
            _ => None,
        }
    }

    /// A place below its program for something else that runs on it, and ends with it.
    pub fn below(&self, label: &'static str) -> Option<Machine> {
        match self.runs.as_ref().map(|runs| &runs.stage) {
            Some(Stage::Up(_, machine)) => Some(machine.child(label)),
            _ => None,
        }
    }

    /// The block with which its ledger begins, of which it has the header alone: 0, unless it fetched its
    /// state from others.
    ///
    /// # Errors
    /// Its history cannot be read.
    pub fn begins(&self) -> Result<u64, Broken> {
        let n = self.hardware.machine;
        let first = self.ledger().map_or(Ok(0), Ledger::first);
        let first = first.map_err(|error| Broken(format!("machine {n}: {error}")))?;
        Ok(first.saturating_sub(1))
    }

    /// Whether it has power: it starts or runs, or did until it ended by itself.
    pub const fn on(&self) -> bool {
        self.runs.is_some()
    }

    /// Whether it has power and has not come so far that its state can be read.
    pub fn starting(&self) -> bool {
        self.runs.as_ref().is_some_and(|runs| matches!(runs.stage, Stage::Starting(_)))
    }

    /// Why its program ended by itself, if it did.
    pub fn cause(&self) -> Option<String> {
        self.runs.as_ref().and_then(|runs| runs.life.cause())
    }

    /// Gives it power and waits until its validator runs.
    ///
    /// # Errors
    /// It does not start, or takes too long.
    pub async fn boot(
        &mut self,
        context: &Context,
        genesis: &Genesis,
        chain: &Chronicle,
    ) -> Result<(), Broken> {
        let n = self.hardware.machine;
        self.power(context, genesis)?;
        for _ in 0..LOOKS {
            context.sleep(LOOK).await;
            if let Some(started) = self.started(chain) {
                return started;
            }
            if let Some(cause) = self.cause() {
                return Err(Broken(format!("machine {n} does not start: {cause}")));
            }
        }
        Err(Broken(format!("machine {n} takes too long to start")))
    }

    /// Gives it power: its validator starts while the world goes on.
    ///
    /// # Errors
    /// Its history cannot be opened.
    pub fn power(&mut self, context: &Context, genesis: &Genesis) -> Result<(), Broken> {
        let n = self.hardware.machine;
        let timer = context.child("timer").with_attribute("machine", n);
        let life = Arc::new(Life::new(self.hardware.clone(), self.interposed.clone(), timer));
        self.hardware.wire.cut(n);
        let history = self.open(genesis);
        let history =
            history.map_err(|error| Broken(format!("machine {n} does not start: {error}")))?;
        let config = self.config(genesis);
        let served = self.blocks_served.map_or(Served::USUAL, |_| Served::LITTLE);
        let (give, take) = oneshot::channel();
        let root = context.child("machine").with_attribute("machine", n);
        // All that runs on the machine runs below this task, and ends with it.
        let task = Machine::new(root, Arc::clone(&life)).spawn(async move |machine| {
            let below = machine.child("validator");
            let prefix = format!("machine-{n}");
            let start = simulation::launch(&below, prefix, Arc::new(history), config, served);
            let ledger = Box::pin(start).await.map_err(|error| error.to_string());
            drop(give.send((ledger, below)));
            std::future::pending().await
        });
        self.runs = Some(Runs { life, task, stage: Stage::Starting(take) });
        Ok(())
    }

    /// How its start ended, once it has and was not asked before. What it said was final in an earlier life
    /// has to be so now.
    pub fn started(&mut self, chain: &Chronicle) -> Option<Result<(), Broken>> {
        let n = self.hardware.machine;
        let runs = self.runs.as_mut()?;
        let Stage::Starting(start) = &mut runs.stage else { return None };
        // What panicked gives nothing, and is its life's cause of death.
        let (ledger, machine) = start.try_recv().ok()?;
        match ledger {
            Ok(ledger) => {
                runs.stage = Stage::Up(ledger, machine);
                Some(if self.honest() { self.remembers(chain) } else { Ok(()) })
            }
            Err(error) => {
                runs.stage = Stage::Failed;
                Some(Err(Broken(format!("machine {n} does not start: {error}"))))
            }
        }
    }

    fn open(&self, genesis: &Genesis) -> Result<History, String> {
        let (file, digest) = (self.history.clone(), genesis.digest());
        let kept = match self.role {
            Role::Archive => Retention { blobs: None, ..Retention::default() },
            Role::Validator | Role::Observer => Retention::default(),
        };
        let open = || History::open_in(file, digest, kept);
        let opened = std::panic::catch_unwind(AssertUnwindSafe(open));
        let opened = opened.map_err(|_| "its history panicked".to_owned())?;
        opened.map_err(|error| error.to_string())
    }

    fn config(&self, genesis: &Genesis) -> Config {
        let (address, keys) = (self.hardware.address, self.keys.clone());
        let mut config = Config::new("unused".into(), address, keys, genesis.clone());
        config.peers = self.peers.clone();
        config.role = self.role;
        config.replay_blocks = self.replay_blocks;
        if let Some(few) = self.blocks_served {
            config.blocks_served = few;
            config.pace = QUICK;
        }
        config
    }

    fn remembers(&self, chain: &Chronicle) -> Result<(), Broken> {
        let n = self.hardware.machine;
        let Some(ledger) = self.ledger() else { return Ok(()) };
        for height in self.begins()?..=self.seen {
            let header = ledger.header(height);
            let header = header.map_err(|error| Broken(format!("machine {n}: {error}")))?;
            chain
                .same(height, header.as_ref())
                .map_err(|broken| Broken(format!("machine {n} after a restart: {broken}")))?;
        }
        let head = ledger.head().header.height;
        if head < self.seen {
            let seen = self.seen;
            return Err(Broken(format!("machine {n} said {seen} was final and is at {head} now")));
        }
        Ok(())
    }

    /// Ends it: kills its program, or takes its power, and then what it had not synced is kept, lost or torn.
    ///
    /// # Errors
    /// Something of it runs on.
    pub async fn kill(&mut self, context: &Context, rng: &mut StdRng) -> Result<usize, Broken> {
        let n = self.hardware.machine;
        if let Some(Runs { life, task, stage }) = self.runs.take() {
            life.end();
            task.abort();
            drop(stage);
        }
        let crash = if rng.random_bool(0.3) { Crash::Program } else { Crash::Power };
        let disk_full = |error: std::io::Error| Broken(format!("history of {n}: {error}"));
        self.history = self.history.crash(crash, rng).map_err(disk_full)?;
        for _ in 0..SETTLES {
            context.sleep(SETTLE).await;
            match self.hardware.disk.crash(context, crash, rng).await {
                Ok(kept) => return Ok(kept),
                Err(Error::BlobAlreadyOpen(..)) => {}
                Err(error) => return Err(Broken(format!("disk of machine {n}: {error}"))),
            }
        }
        Err(Broken(format!("files of machine {n} stay open after its end")))
    }

    /// Takes what it newly says is final.
    ///
    /// # Errors
    /// A promise is broken.
    pub async fn observe(&mut self, chain: &mut Chronicle) -> Result<Vec<Arc<Finalized>>, Broken> {
        let n = self.hardware.machine;
        let Some(ledger) = self.ledger().cloned() else { return Ok(Vec::new()) };
        let mut blocks = Vec::new();
        let first = self.begins()?;
        if self.seen < first {
            // It joined by fetching the state after this block. Others have said already that it is final.
            if chain.height() < first {
                return Ok(blocks);
            }
            let header = ledger.header(first).map_err(|error| Broken(format!("{n}: {error}")))?;
            let same = chain.same(first, header.as_ref());
            same.map_err(|broken| Broken(format!("machine {n} joined: {broken}")))?;
            self.seen = first;
        }
        while self.seen < ledger.head().header.height {
            let height = self.seen + 1;
            let block = ledger.block(height).map_err(|error| Broken(format!("{n}: {error}")))?;
            let block =
                block.ok_or_else(|| Broken(format!("machine {n} lacks final block {height}")))?;
            chain
                .observe(&block)
                .await
                .map_err(|broken| Broken(format!("machine {n}: {broken}")))?;
            self.seen = height;
            blocks.push(block);
        }
        Ok(blocks)
    }
}
