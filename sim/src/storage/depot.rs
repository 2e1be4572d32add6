//! A depot: one operator's storage agent on a disk that fails.
//!
//! What runs is [`storage_agent::Core`]: the program's own store with its index, journal and tabs, its desk
//! and its hardware. Below it are the files of one disk: the index and the journal ([`HistoryFile`]) and the
//! shards ([`Drive`]). The power of that disk may go at any operation, in the midst of whatever the agent
//! does; then nothing of the depot answers until [`Depot::crash`] gives it power again, with what a crash
//! leaves. The world does for it what the program's shell does: it starts it, hands it requests and inputs,
//! and tends it every second.
//!
//! A sync that failed makes nothing durable, and a later one that succeeds makes all durable: redb cannot
//! live with a system that forgets what it failed to write, and no program can that reads it back.

use super::drive::Drive;
use crate::{
    checkers::Broken,
    faults::{
        disk::{Crash, Disk, Trouble},
        file::HistoryFile,
    },
};
use bytes::Bytes;
use protocol::{Digest, Epoch, RailId, inputs::Inputs, key::DeviceSecret, net::Peer};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::Ipv4Addr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use storage_agent::{Core, Ground, Settings, Store, StoreError, chain::Chain};
use storage_kind::{
    dataset::Shard,
    wire::{Form, Get, Request},
};
use tokio::time::Instant;

/// How often a depot is tended.
const TENDED: Duration = Duration::from_secs(1);
/// For how many epochs inputs are kept open beside the newest.
const OPEN_EPOCHS: usize = 1;

/// What a depot offers, and how it serves.
#[derive(Clone, Debug)]
pub struct Offer {
    /// How its desk serves.
    pub settings: Settings,
    /// Bytes that it offers.
    pub capacity: u64,
    /// The largest shard that is not a file, bytes.
    pub small_max: u64,
    /// Bytes of files that its disk has room for.
    pub room: u64,
}

/// How a depot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// As it should be.
    #[default]
    Well,
    /// Every answer takes this long.
    Slow(Duration),
    /// It runs, and nobody reaches it.
    Cut,
    /// The program does not run.
    Off,
}

/// Why a depot gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// It never saw the request.
    Unreachable,
    /// It may have seen it.
    Silent,
}

/// All that is on the disk of a depot.
#[derive(Clone, Debug)]
struct Files {
    index: HistoryFile,
    journal: HistoryFile,
    drive: Drive,
}

impl Files {
    fn new(disk: &Arc<Disk>, room: u64) -> Self {
        let file = || HistoryFile::new(Arc::clone(disk));
        Self { index: file(), journal: file(), drive: Drive::new(Arc::clone(disk), room) }
    }

    fn crash(&self, crash: Crash, rng: &mut StdRng) -> io::Result<Self> {
        Ok(Self {
            index: self.index.crash(crash, rng)?,
            journal: self.journal.crash(crash, rng)?,
            drive: self.drive.crash(crash, rng),
        })
    }

    fn durable(&self) -> Self {
        Self {
            index: self.index.durable(),
            journal: self.journal.durable(),
            drive: self.drive.durable(),
        }
    }

    fn open(&self, offer: &Offer, seed: [u8; 32]) -> Result<Store, StoreError> {
        let index = self.index.clone();
        let random = Mutex::new(StdRng::from_seed(seed));
        let ground = Ground {
            path: "index".into(),
            index: Box::new(move |builder| builder.create_with_backend(index.clone())),
            journal: Box::new(self.journal.clone()),
            disk: Arc::new(self.drive.clone()),
            random: Box::new(move || {
                random.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
            }),
        };
        Store::upon(ground, offer.capacity, offer.small_max)
    }
}

struct State {
    condition: Condition,
    files: Files,
    /// The program, while it runs.
    core: Option<Arc<Core>>,
    /// How often it was started or ended.
    life: u64,
    tended: Option<Instant>,
    /// The inputs that its agent knows.
    open: BTreeMap<Epoch, Arc<Inputs>>,
    /// All shards that it was ever asked to store.
    asked: BTreeSet<(RailId, Shard)>,
    /// Whether a bit of its index or journal turned over.
    rotten: bool,
    /// What it must not do and did.
    broken: Option<Broken>,
}

/// A depot.
pub struct Depot {
    secret: DeviceSecret,
    offer: Offer,
    chain: Arc<dyn Chain>,
    disk: Arc<Disk>,
    state: Mutex<State>,
}

impl fmt::Debug for Depot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Depot").field("device", &self.secret.id()).finish_non_exhaustive()
    }
}

impl Depot {
    /// The depot of the device with this secret, with an empty disk. Its agent runs.
    ///
    /// # Errors
    /// It does not start.
    pub fn new(
        secret: DeviceSecret,
        offer: Offer,
        chain: Arc<dyn Chain>,
    ) -> Result<Arc<Self>, Broken> {
        let disk = Arc::new(Disk::default());
        let state = State {
            condition: Condition::Well,
            files: Files::new(&disk, offer.room),
            core: None,
            life: 0,
            tended: None,
            open: BTreeMap::new(),
            asked: BTreeSet::new(),
            rotten: false,
            broken: None,
        };
        let depot = Self { secret, offer, chain, disk, state: Mutex::new(state) };
        depot.start(&mut depot.state())?;
        Ok(Arc::new(depot))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its key, and where it would be dialled.
    pub fn peer(&self) -> Peer {
        Peer { key: self.secret.key().x(), address: (Ipv4Addr::LOCALHOST, 1).into() }
    }

    /// Its secret.
    pub const fn secret(&self) -> &DeviceSecret {
        &self.secret
    }

    /// Its disk, of which something may be wrong from now on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Which of its lives this is.
    pub fn life(&self) -> u64 {
        self.state().life
    }

    /// Whether somebody who asks it now is heard.
    pub fn is_reachable(&self) -> bool {
        let state = self.state();
        state.core.is_some() && state.condition != Condition::Cut && !self.disk.is_dead()
    }

    /// Fails if the agent did what it must not do, of itself.
    ///
    /// # Errors
    /// What it did.
    pub fn check(&self) -> Result<(), Broken> {
        self.state().broken.clone().map_or(Ok(()), Err)
    }

    /// Starts the program, unless its disk is in trouble: then it is tried again.
    fn start(&self, state: &mut State) -> Result<(), Broken> {
        state.life += 1;
        let seed = Digest::of(&[&self.secret.id().0[..], &state.life.to_be_bytes()].concat());
        let opened = catch_unwind(AssertUnwindSafe(|| state.files.open(&self.offer, seed.0)));
        let store = match opened {
            Ok(Ok(store)) => store,
            _ if self.disk.is_dead() || self.disk.trouble() != Trouble::None => return Ok(()),
            // Its operator does as the error says, and starts with an empty disk.
            Ok(Err(StoreError::Index(_))) | Err(_) if state.rotten => {
                state.rotten = false;
                state.files = Files::new(&self.disk, self.offer.room);
                return self.start(state);
            }
            Ok(Err(error)) => return self.broke(state, &format!("does not start: {error}")),
            Err(_) => return self.broke(state, "panics when it starts"),
        };
        let settings = self.offer.settings.clone();
        let core = Core::new(settings, self.secret.clone(), store, Arc::clone(&self.chain));
        let hardware = core.hardware();
        state.open.values().for_each(|inputs| hardware.open(inputs));
        state.core = Some(Arc::new(core));
        Ok(())
    }

    fn broke(&self, state: &mut State, what: &str) -> Result<(), Broken> {
        let broken = Broken(format!("the depot of {} {what}", self.secret.id()));
        state.broken.get_or_insert_with(|| broken.clone());
        Err(broken)
    }

    /// Changes how it is. One that is switched off ends in order; any other runs, or is started.
    ///
    /// # Errors
    /// It does not start.
    pub fn set(&self, condition: Condition) -> Result<(), Broken> {
        let state = &mut *self.state();
        state.condition = condition;
        if condition == Condition::Off {
            if let Some(core) = state.core.take() {
                // As the program does. A disk in trouble cannot keep it.
                let _ = core.tend();
                state.life += 1;
            }
            return Ok(());
        }
        self.revive(state)
    }

    /// Starts it if it should run and does not.
    fn revive(&self, state: &mut State) -> Result<(), Broken> {
        let should = state.condition != Condition::Off && !self.disk.is_dead();
        if state.core.is_none() && should { self.start(state) } else { Ok(()) }
    }

    /// The program is killed, or the power goes and comes back; it is started again unless it is switched
    /// off. What was not synced is kept, lost or torn.
    ///
    /// # Errors
    /// It does not start with what the crash left.
    pub fn crash(&self, crash: Crash, rng: &mut StdRng) -> Result<(), Broken> {
        let state = &mut *self.state();
        // Before the program is taken down, which would write.
        state.files = state.files.crash(crash, rng).map_err(Broken::new)?;
        state.core = None;
        state.life += 1;
        state.tended = None;
        self.disk.cut_after(None);
        self.revive(state)
    }

    /// Its disk is gone, and it goes on with an empty one.
    ///
    /// # Errors
    /// It does not start.
    pub fn replace_disk(&self) -> Result<(), Broken> {
        let state = &mut *self.state();
        state.files = Files::new(&self.disk, self.offer.room);
        state.core = None;
        state.life += 1;
        state.rotten = false;
        self.disk.cut_after(None);
        self.revive(state)
    }

    /// A byte of a shard rots: of a file, or where the index or the journal has a small shard. Which it
    /// is, if it holds any.
    pub fn rot(&self, rng: &mut StdRng) -> Option<Digest> {
        let state = &mut *self.state();
        let core = state.core.clone()?;
        let held = state.held(&core);
        let (rail, shard) = *held.get(rng.random_range(0..held.len().max(1)))?;
        let at = rng.random_range(0..usize::try_from(shard.bytes).ok()?);
        if let Some(name) = state.file(rail, shard) {
            state.files.drive.rot(&name, at);
            return Some(shard.hash);
        }
        let bytes = read(core.store(), rail, shard)?;
        let files = [&state.files.index, &state.files.journal];
        let rotten = files.map(|file| file.rot(&bytes, at));
        state.rotten |= rotten.contains(&true);
        rotten.contains(&true).then_some(shard.hash)
    }

    /// The file of a shard vanishes. Which it is, if the depot has any.
    pub fn lose(&self, rng: &mut StdRng) -> Option<Digest> {
        let state = self.state();
        let held = state.held(state.core.as_ref()?);
        let files =
            held.iter().filter_map(|(rail, shard)| Some((state.file(*rail, *shard)?, shard)));
        let files: Vec<_> = files.collect();
        let (name, shard) = files.get(rng.random_range(0..files.len().max(1)))?;
        state.files.drive.lose(name);
        Some(shard.hash)
    }

    /// Its agent hears of the inputs of an epoch, and that older ones are over.
    pub fn hear(&self, inputs: Arc<Inputs>) {
        let state = &mut *self.state();
        let hardware = state.core.as_ref().map(|core| core.hardware());
        if let Some(hardware) = &hardware {
            hardware.open(&inputs);
        }
        state.open.insert(inputs.epoch, inputs);
        while state.open.len() > OPEN_EPOCHS + 1 {
            let Some((over, _)) = state.open.pop_first() else { return };
            if let Some(hardware) = &hardware {
                hardware.close(over);
            }
        }
    }

    /// What the program's shell does every second. One whose disk was in trouble when it started is
    /// started again.
    ///
    /// # Errors
    /// It fails though nothing is wrong with its disk.
    pub fn tend(&self) -> Result<(), Broken> {
        let state = &mut *self.state();
        self.revive(state)?;
        let Some(core) = state.core.clone() else { return Ok(()) };
        match core.tend() {
            Ok(()) => Ok(()),
            Err(_) if self.disk.is_dead() || self.disk.trouble() != Trouble::None => Ok(()),
            Err(_) if state.rotten => Ok(()),
            Err(error) => self.broke(state, &format!("cannot be tended: {error}")),
        }
    }

    /// Tends it if that was a second ago.
    fn tend_in_time(&self) {
        let now = Instant::now();
        let due = {
            let mut state = self.state();
            let due = state.tended.is_none_or(|last| now.duration_since(last) >= TENDED);
            if due {
                state.tended = Some(now);
            }
            due
        };
        if due {
            // What is broken is remembered.
            let _ = self.tend();
        }
    }

    /// The answer to a request of the wire, from a peer that is known by `from`.
    ///
    /// # Errors
    /// There is none.
    pub async fn answer(
        &self,
        from: [u8; 32],
        header: &[u8],
        body: Bytes,
    ) -> Result<(Vec<u8>, Bytes), Missed> {
        self.tend_in_time();
        if !self.is_reachable() {
            return Err(Missed::Unreachable);
        }
        let (core, life, condition) = {
            let mut state = self.state();
            if let Ok(Request::Put(put)) = Request::from_bytes(header) {
                state.asked.insert((put.rail, put.shard));
            }
            (state.core.clone().ok_or(Missed::Unreachable)?, state.life, state.condition)
        };
        if let Condition::Slow(while_) = condition {
            tokio::time::sleep(while_).await;
        }
        if self.life() != life {
            return Err(Missed::Silent);
        }
        let answer = core.answer(from, header, body).await;
        if self.life() == life && self.is_reachable() { Ok(answer) } else { Err(Missed::Silent) }
    }

    /// A runtime begins whose clock says nothing of when the depot was tended last.
    pub fn begin_time(&self) {
        self.state().tended = None;
    }

    /// The program, while it runs, for who drives its hardware.
    pub fn core(&self) -> Option<Arc<Core>> {
        self.state().core.clone()
    }

    /// The hashes of all shards that are surely and wholly there: what the program would find if the power
    /// went now and all was lost that a power cut can take.
    pub fn inventory(&self) -> BTreeSet<Digest> {
        let state = self.state();
        let files = state.files.durable();
        let opened = catch_unwind(AssertUnwindSafe(|| files.open(&self.offer, [0; 32])));
        let Ok(Ok(store)) = opened else { return BTreeSet::new() };
        let there = |(rail, shard): &&(RailId, Shard)| {
            read(&store, *rail, *shard).is_some_and(|bytes| Digest::of(&bytes) == shard.hash)
        };
        state.asked.iter().filter(there).map(|(_, shard)| shard.hash).collect()
    }

    /// Whether a shard is surely and wholly there. Who asks for many takes the [`Depot::inventory`].
    pub fn holds(&self, shard: &Digest) -> bool {
        self.inventory().contains(shard)
    }
}

impl State {
    /// The shards that the program believes to have.
    fn held(&self, core: &Core) -> Vec<(RailId, Shard)> {
        let store = core.store();
        let held = |(rail, shard): &&(RailId, Shard)| {
            store.size(*rail, shard.hash).ok().flatten() == Some(shard.bytes)
        };
        self.asked.iter().filter(held).copied().collect()
    }

    /// The name of a shard's file, if it is one.
    fn file(&self, rail: RailId, shard: Shard) -> Option<String> {
        let (folder, hash) = (format!("shards/{rail}/"), shard.hash.to_string());
        let hash = hash.trim_start_matches("0x");
        let mut names = self.files.drive.names().into_iter();
        names.find(|name| name.starts_with(&folder) && name.ends_with(hash))
    }
}

/// The bytes that a store gives for a shard.
fn read(store: &Store, rail: RailId, shard: Shard) -> Option<Vec<u8>> {
    let size = store.size(rail, shard.hash).ok().flatten()?;
    let whole =
        Get { rail, shard: shard.hash, offset: 0, length: size, form: Form::Plain, voucher: None };
    catch_unwind(AssertUnwindSafe(|| store.read(&whole, size))).ok()?.ok()
}

#[cfg(test)]
mod tests;
