//! A device: the agent's state machine and its journal, over the storage agent's own store.
//!
//! Effects are done at once and in their order, as the agent's shell does them, those of the hardware by the
//! one that the program has ([`Depot`]). What was not durable in journal and store when its power goes is
//! kept, lost or torn. Its shard is put there and committed before the world begins.

use super::{Announced, CLOCK, NETWORK, desk::Desk};
use crate::{
    checkers::Broken,
    faults::{
        disk::{Crash, Disk},
        file::HistoryFile,
    },
    storage::depot::{Depot, Offer},
    world::people::CHAIN,
};
use agent::{
    LedgerError,
    journal::{Journal, Recovered},
    state::{Agent, Effect, Event, Settings, Submitted},
};
use contracts::abi::IRails;
use evidence::wire::Answer;
use futures::future::{BoxFuture, ready};
use protocol::{
    Account, DeviceId, Digest, Epoch, Micros, NetworkId, RailId,
    inputs::{self, Rail},
    key::DeviceSecret,
    kind::Kind,
    manifest::KindTerms,
};
use rand::{SeedableRng as _, rngs::StdRng};
use std::{collections::VecDeque, fmt, sync::Arc};
use storage_agent::{SMALL_MAX, Settings as Serving, chain::Chain, shard::Checked};
use storage_kind::{Storage, dataset::Shard, wire::Commit};

/// Bytes of the shard that a device holds.
const SHARD_BYTES: usize = 40_000;
/// Bytes of room on its disk.
const ROOM: u64 = 1 << 20;
/// Events that follow from one another at once, at most.
const EVENTS: usize = 1_000;

/// A device and its agent.
pub struct Device {
    rail: RailId,
    secret: DeviceSecret,
    settings: Settings,
    depot: Arc<Depot>,
    held: inputs::Dataset,
    /// How often its power went.
    crashes: u64,
    file: HistoryFile,
    agent: Agent,
    journal: Journal,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("rail", &self.rail).finish_non_exhaustive()
    }
}

fn open(file: &HistoryFile, device: DeviceId) -> Result<(Journal, Recovered), Broken> {
    let database = redb::Builder::new().create_with_backend(file.clone()).map_err(Broken::new)?;
    Journal::with(database, NETWORK, device).map_err(Broken::new)
}

/// The secrets of so many devices, in the order of their rails.
pub fn secrets(devices: u8) -> Vec<DeviceSecret> {
    let mut secrets: Vec<DeviceSecret> =
        (1..=devices).map(|number| DeviceSecret::from_seed([number; 32])).collect();
    secrets.sort_by_key(DeviceSecret::id);
    secrets
}

impl Device {
    /// A device that serves a rail, in a ledger of so many validators.
    ///
    /// # Errors
    /// Its journal cannot be made.
    pub fn new(rail: RailId, secret: DeviceSecret, validators: u64) -> Result<Self, Broken> {
        let mut shard = vec![0; SHARD_BYTES];
        blake3::Hasher::new().update(&rail.0.to_be_bytes()).finalize_xof().fill(&mut shard);
        let (depot, held) = depot(rail, secret.clone(), shard)?;
        let file = HistoryFile::new(Arc::new(Disk::default()));
        let (journal, recovered) = open(&file, secret.id())?;
        let settings = Settings { network: NETWORK, validators, patience: 4, declare_losses: true };
        let agent = agent(settings, &secret, recovered);
        Ok(Self { rail, secret, settings, depot, held, crashes: 0, file, agent, journal })
    }

    /// Its secret.
    pub const fn secret(&self) -> &DeviceSecret {
        &self.secret
    }

    /// What the device has agreed to hold, as it is frozen.
    pub fn dataset(&self) -> IRails::Dataset {
        IRails::Dataset {
            rail: self.rail.0,
            version: self.held.version,
            root: self.held.root.into(),
            size: self.held.bytes,
            signature: self.secret.sign(&self.held.signing_bytes(CHAIN)).to_vec().into(),
        }
    }

    /// Power goes and comes back: the agent goes on where its journal stopped, with what it holds.
    ///
    /// # Errors
    /// The journal is lost, or what it holds.
    pub fn crash(&mut self, rng: &mut StdRng) -> Result<(), Broken> {
        self.crashes += 1;
        let seed = Digest::of(&[self.rail.0.to_be_bytes(), self.crashes.to_be_bytes()].concat());
        self.depot.crash(Crash::Power, &mut StdRng::from_seed(seed.0))?;
        self.file = self.file.crash(Crash::Power, rng).map_err(Broken::new)?;
        let (journal, recovered) = open(&self.file, self.secret.id())?;
        self.journal = journal;
        self.agent = agent(self.settings, &self.secret, recovered);
        Ok(())
    }

    /// Hears of the newest block and does all that follows.
    ///
    /// # Errors
    /// The journal fails, or events never end.
    pub fn step(&mut self, now_ms: u64, desks: &[Desk], inputs: &Announced) -> Result<(), Broken> {
        let Some(head) = desks.iter().filter_map(Desk::head).max() else { return Ok(()) };
        let mut events = VecDeque::from([Event::Head(head, self.hardware()?.figures())]);
        for _ in 0..EVENTS {
            let Some(event) = events.pop_front() else { return Ok(()) };
            for effect in self.agent.handle(event, now_ms) {
                events.extend(self.act(effect, desks, inputs)?);
            }
        }
        Err(Broken(format!("the agent of rail {} never rests", self.rail)))
    }

    fn hardware(&self) -> Result<Arc<dyn agent::Hardware>, Broken> {
        let core = self.depot.core();
        Ok(core.ok_or_else(|| Broken("a device's agent does not run".into()))?.hardware())
    }

    fn act(
        &self,
        effect: Effect,
        desks: &[Desk],
        announced: &Announced,
    ) -> Result<Option<Event>, Broken> {
        let desk = |validator: u64| usize::try_from(validator).ok().and_then(|at| desks.get(at));
        Ok(Some(match effect {
            Effect::Record(records) => {
                self.journal.write(&records).map_err(Broken::new)?;
                return Ok(None);
            }
            Effect::Fetch(epoch) => {
                announced.get(&epoch).cloned().map_or(Event::NoInputs(epoch), Event::Inputs)
            }
            Effect::Open(inputs) => {
                self.hardware()?.open(&inputs);
                return Ok(None);
            }
            Effect::Close(epoch) => {
                self.hardware()?.close(epoch);
                return Ok(None);
            }
            Effect::Inspect(inputs, duty) => {
                let loss = self.hardware()?.inspect(&inputs, &duty);
                Event::Inspected(inputs.epoch, duty.rail, duty.index, loss)
            }
            Effect::Prove(inputs, duty) => {
                let proven = self.hardware()?.prove(&inputs, &duty);
                Event::Proven(inputs.epoch, duty.rail, duty.index, proven)
            }
            Effect::Collect(epoch) => Event::Vouchers(epoch, self.hardware()?.vouchers()),
            Effect::Submit { sequence, validator, bytes } => {
                let answer = desk(validator).and_then(|desk| desk.submit(&bytes));
                Event::Submitted(sequence, submitted(answer))
            }
            Effect::Look { sequence, validator, digest } => {
                Event::Looked(sequence, desk(validator).and_then(|desk| desk.carried(digest)))
            }
        }))
    }
}

/// A depot that has a shard for a rail and has committed to it.
fn depot(
    rail: RailId,
    secret: DeviceSecret,
    body: Vec<u8>,
) -> Result<(Arc<Depot>, inputs::Dataset), Broken> {
    let serving = Serving { network: NETWORK, chain_id: CHAIN, rails: Account::ZERO, credit: 0 };
    let offer = Offer { settings: serving, capacity: ROOM, small_max: SMALL_MAX / 2, room: ROOM };
    let device = secret.id();
    let depot = Depot::new(secret, offer, Arc::new(Unasked))?;
    let core = depot.core().ok_or_else(|| Broken("a device's agent does not run".into()))?;
    let bytes = u64::try_from(body.len()).map_err(Broken::new)?;
    let shard = Shard { hash: Digest::of(&body), bytes };
    let store = core.store();
    store.admit(&[early(rail, device)]).map_err(Broken::new)?;
    let checked = Checked::new(rail, shard, body.into()).map_err(Broken::new)?;
    store.put(&[checked]).into_iter().collect::<Result<(), _>>().map_err(Broken::new)?;
    let commit = Commit { rail, base: 0, version: 1, added: vec![shard], removed: Vec::new() };
    let held = store.commit(&commit, u64::MAX).map_err(Broken::new)?;
    Ok((depot, held))
}

/// A rail that is not on the ledger yet, which no inputs have to list.
const fn early(id: RailId, device: DeviceId) -> Rail {
    Rail {
        id,
        payer: Account::ZERO,
        payee: Account::ZERO,
        signer: Account::ZERO,
        device,
        limit: Micros::ZERO,
        rate: Micros::ZERO,
        nonce: 0,
        opened: Epoch(u64::MAX),
        expiry: Epoch(u64::MAX),
        class: 0,
        presented: Micros::ZERO,
    }
}

/// The ledger of an agent to which no service speaks.
#[derive(Debug)]
struct Unasked;

impl Chain for Unasked {
    fn rail(&self, _: RailId) -> BoxFuture<'_, Result<Option<Rail>, LedgerError>> {
        Box::pin(ready(Ok(None)))
    }

    fn owner(&self, _: DeviceId) -> BoxFuture<'_, Result<Option<Account>, LedgerError>> {
        Box::pin(ready(Ok(None)))
    }

    fn terms(&self, _: NetworkId) -> BoxFuture<'_, Result<Option<KindTerms>, LedgerError>> {
        Box::pin(ready(Ok(None)))
    }
}

fn agent(settings: Settings, secret: &DeviceSecret, recovered: Recovered) -> Agent {
    let kind: Arc<dyn Kind> = Arc::new(Storage);
    Agent::new(settings, secret.clone(), kind, CLOCK, recovered)
}

fn submitted(answer: Option<Answer>) -> Submitted {
    match answer {
        Some(Answer::Accepted(acceptance) | Answer::Replayed(acceptance)) => {
            Submitted::Accepted(acceptance.to_bytes())
        }
        Some(Answer::Refused(reason)) => Submitted::Refused(reason),
        None => Submitted::Unreachable("the machine is off".to_owned()),
    }
}
