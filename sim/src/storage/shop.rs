//! A shop: one customer's S3 service, from its first start through its crashes.
//!
//! What runs is [`s3_service::Engine`]: store, index, rails, upkeep, repair and backup; all of the service but
//! HTTP. Its tokio is driven by hand ([`crate::world::clockwork`]), its index is a file on a disk that fails
//! ([`crate::faults::file`]), its random bytes are drawn from the seed. It ends by being killed or by its power
//! going, perhaps in the midst of a transaction; a shop whose disk was lost is made anew from its keys, the
//! ledger and the depots.

use super::yard::{Line, RAILS, Yard};
use crate::{
    checkers::Broken,
    economy::NETWORK,
    faults::{
        disk::{Crash, Disk, Trouble},
        file::HistoryFile,
    },
    world::{clockwork, people::CHAIN},
};
use alloy_signer_local::PrivateKeySigner;
use futures::FutureExt as _;
use protocol::clock::Clock;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use s3_service::{
    Config, Credentials, Engine, Keyring, Limits, RailPlan, World,
    backup::recover_into,
    codec::{ContentKeys, MaskKey, Secret, Shape},
    index::Index,
    keys::{KeyringError, Random},
    rails::memory::MemoryLedger,
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Runtime, task::JoinHandle};

/// How often its tokio is let run, milliseconds.
const TICK_MS: u64 = 5;
/// Shards needed of a segment, and shards in all.
const K: u8 = 2;
const N: u8 = 4;
/// Shards that have to be durable before anything is acknowledged: k + 1.
pub const ACKNOWLEDGED: usize = 3;
/// Who signs its vouchers.
const SIGNER: [u8; 32] = [7; 32];

/// The time as the shop sees it.
#[derive(Debug, Default)]
pub struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Random bytes from the seed.
struct Dice(Mutex<StdRng>);

impl Random for Dice {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), KeyringError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
        Ok(())
    }
}

enum Stage {
    Off,
    Starts(JoinHandle<Result<Engine, String>>),
    On(Arc<Engine>),
}

/// What happened to it of its own accord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It serves.
    Serves,
    /// Its power went in the midst of something.
    PowerWent,
    /// It did not start.
    Refused(String),
}

/// A shop.
pub struct Shop {
    config: Config,
    keyring: Keyring,
    ledger: Arc<MemoryLedger>,
    yard: Arc<Yard>,
    clock: Arc<Hand>,
    disk: Arc<Disk>,
    file: HistoryFile,
    /// Whether its disk was lost and nothing was made anew yet.
    is_lost: bool,
    stage: Stage,
    runtime: Option<Runtime>,
}

impl fmt::Debug for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shop").field("is_lost", &self.is_lost).finish_non_exhaustive()
    }
}

/// Who signs the shop's vouchers.
///
/// # Errors
/// Never.
pub fn signer() -> Result<PrivateKeySigner, Broken> {
    PrivateKeySigner::from_slice(&SIGNER).map_err(Broken::new)
}

/// Small segments and short times, so that much happens in a world.
fn limits() -> Limits {
    Limits {
        small_bytes_max: 8 << 10,
        segment_bytes_easy: 16 << 10,
        group_bytes_max: 32 << 10,
        write_bytes_max: 4 << 20,
        read_bytes_max: 4 << 20,
        part_bytes_min: 1 << 10,
        hedge: Duration::from_millis(100),
        stall: Duration::from_millis(300),
        request_timeout: Duration::from_secs(1),
        upkeep: Duration::from_millis(200),
        loose_min: 4,
        freeze_lead: 3,
        refresh: Duration::from_millis(500),
        audit: Duration::from_secs(2),
        silent: Duration::from_secs(4),
        survey: Duration::from_secs(2),
        backup: Duration::from_millis(300),
        ..Limits::default()
    }
}

impl Shop {
    /// A shop that was never started.
    ///
    /// # Errors
    /// Never.
    pub fn new(yard: Arc<Yard>, ledger: Arc<MemoryLedger>, plan: RailPlan) -> Result<Self, Broken> {
        let config = Config {
            data: "nowhere".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            passphrase: String::new(),
            credentials: None,
            signer: signer()?,
            chain_id: CHAIN,
            network: NETWORK,
            rails_contract: RAILS,
            shape: Shape::new(K, N).map_err(Broken::new)?,
            plan,
            limits: limits(),
        };
        let keyring = Keyring {
            content: ContentKeys {
                content: Secret::new([1; 32]),
                mask: MaskKey::new(Secret::new([2; 32])),
            },
            credentials: Credentials { access_key: "a".into(), secret_key: "s".into() },
            endpoint: Secret::new([3; 32]),
        };
        let disk = Arc::new(Disk::default());
        let file = HistoryFile::new(Arc::clone(&disk));
        let clock = Arc::default();
        let (stage, runtime, is_lost) = (Stage::Off, None, false);
        Ok(Self { config, keyring, ledger, yard, clock, disk, file, is_lost, stage, runtime })
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Whether it runs, or is about to.
    pub const fn on(&self) -> bool {
        self.runtime.is_some()
    }

    /// The service, while it serves.
    pub const fn engine(&self) -> Option<&Arc<Engine>> {
        match &self.stage {
            Stage::On(engine) => Some(engine),
            Stage::Off | Stage::Starts(_) => None,
        }
    }

    /// Gives it power. One whose disk was lost makes its index anew first.
    ///
    /// # Errors
    /// The system refuses.
    pub fn boot(&mut self, rng: &mut StdRng) -> Result<(), Broken> {
        let runtime = clockwork::runtime().map_err(Broken::new)?;
        let line = Line::new(&self.yard, &self.disk, &self.config.signer)?;
        let world = World {
            shards: Arc::new(line),
            ledger: Arc::clone(&self.ledger) as _,
            clock: Arc::clone(&self.clock) as _,
            random: Arc::new(Dice(Mutex::new(StdRng::seed_from_u64(rng.next_u64())))),
        };
        if self.is_lost {
            // What a recovery that was broken off left there is no index.
            self.file = HistoryFile::new(Arc::clone(&self.disk));
        }
        let (config, keyring) = (self.config.clone(), self.keyring.clone());
        let (file, is_lost) = (self.file.clone(), self.is_lost);
        let starts = async move {
            let open = || {
                let file = file.clone();
                Index::over(move || file.clone())
            };
            if is_lost {
                let fresh = || open().map_err(Into::into);
                let made = recover_into(&config, &keyring, &world, None, fresh).await;
                made.map_err(|error| error.to_string())?;
            }
            let index = open().map_err(|error| error.to_string())?;
            let started = Engine::start(config, &keyring, index, world).await;
            started.map_err(|error| error.to_string())
        };
        self.stage = Stage::Starts(runtime.spawn(starts));
        self.runtime = Some(runtime);
        Ok(())
    }

    /// Starts something in it. It ends with the shop.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        self.runtime.as_ref().map(|runtime| runtime.spawn(work))
    }

    /// What is ready at once, of what needs its tokio.
    pub fn at_once<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let _entered = self.runtime.as_ref()?.enter();
        work.now_or_never()
    }

    /// Lets it run until a moment, and says what happened to it.
    pub fn run(&mut self, until_ms: u64) -> Option<News> {
        while self.clock.now_ms() < until_ms {
            self.clock.0.fetch_add(TICK_MS, Ordering::Relaxed);
            let Some(runtime) = &self.runtime else { continue };
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(TICK_MS)).await });
            if self.disk.is_dead() {
                return Some(News::PowerWent);
            }
        }
        let Stage::Starts(handle) = &mut self.stage else { return None };
        let done = handle.now_or_never()?;
        match done.map_err(|error| error.to_string()).and_then(|done| done) {
            Ok(engine) => {
                self.is_lost = false;
                self.stage = Stage::On(Arc::new(engine));
                Some(News::Serves)
            }
            Err(error) => Some(News::Refused(error)),
        }
    }

    /// Ends it. What it had not synced is as the crash leaves it.
    ///
    /// # Errors
    /// Its file is larger than memory can be.
    pub fn kill(&mut self, crash: Crash, rng: &mut StdRng) -> Result<(), Broken> {
        // Nothing of it writes any more while it is taken down.
        self.disk.cut_after(Some(0));
        self.stage = Stage::Off;
        drop(self.runtime.take());
        self.file = self.file.crash(crash, rng).map_err(Broken::new)?;
        self.disk.cut_after(None);
        Ok(())
    }

    /// Its disk is gone; it has been ended before.
    pub fn lose(&mut self) {
        self.is_lost = true;
        self.disk.set(Trouble::None);
    }
}
