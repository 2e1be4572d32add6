//! A device: the agent's state machine and its journal, over a shard that is held in memory.
//!
//! Effects are done at once and in their order, as the agent's shell does them; what was not durable in its
//! journal when its power goes is kept, lost or torn.

use super::{Announced, CLOCK, NETWORK, desk::Desk};
use crate::{
    checkers::Broken,
    faults::{
        disk::{Crash, Disk},
        file::HistoryFile,
    },
    world::people::CHAIN,
};
use agent::{
    Figures, ProveError,
    journal::{Journal, Recovered},
    state::{Agent, Effect, Event, Settings, Submitted},
};
use contracts::abi::IRails;
use evidence::wire::Answer;
use protocol::{
    DeviceId, Digest, RailId, inputs,
    key::DeviceSecret,
    kind::{Duty, Kind},
};
use rand::rngs::StdRng;
use std::{collections::VecDeque, fmt, sync::Arc};
use storage_kind::{
    Storage, bao,
    body::Evidence,
    dataset::{Dataset, Shard},
    proof,
};

/// Bytes of the shard that a device holds.
const SHARD_BYTES: usize = 40_000;
/// Events that follow from one another at once, at most.
const EVENTS: usize = 1_000;

/// A device and its agent.
pub struct Device {
    rail: RailId,
    secret: DeviceSecret,
    settings: Settings,
    shard: Vec<u8>,
    held: Dataset,
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

impl Device {
    /// A device that serves a rail, in a ledger of so many validators.
    ///
    /// # Errors
    /// Its journal cannot be made.
    pub fn new(rail: RailId, secret: DeviceSecret, validators: u64) -> Result<Self, Broken> {
        let mut shard = vec![0; SHARD_BYTES];
        blake3::Hasher::new().update(&rail.0.to_be_bytes()).finalize_xof().fill(&mut shard);
        let bytes = u64::try_from(shard.len()).map_err(Broken::new)?;
        let held = Dataset::build([Shard { hash: Digest::of(&shard), bytes }]);
        let file = HistoryFile::new(Arc::new(Disk::default()));
        let (journal, recovered) = open(&file, secret.id())?;
        let settings = Settings { network: NETWORK, validators, patience: 4, declare_losses: true };
        let agent = agent(settings, &secret, recovered);
        let held = held.map_err(Broken::new)?;
        Ok(Self { rail, secret, settings, shard, held, file, agent, journal })
    }

    /// Its secret.
    pub const fn secret(&self) -> &DeviceSecret {
        &self.secret
    }

    /// What the device has agreed to hold, as it is frozen.
    pub fn dataset(&self) -> IRails::Dataset {
        let (root, bytes) = (self.held.root(), self.held.bytes());
        let dataset = inputs::Dataset { rail: self.rail, version: 1, root, bytes };
        IRails::Dataset {
            rail: self.rail.0,
            version: dataset.version,
            root: root.into(),
            size: bytes,
            signature: self.secret.sign(&dataset.signing_bytes(CHAIN)).to_vec().into(),
        }
    }

    /// Power goes and comes back: the agent goes on where its journal stopped.
    ///
    /// # Errors
    /// The journal is lost.
    pub fn crash(&mut self, rng: &mut StdRng) -> Result<(), Broken> {
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
        let mut events = VecDeque::from([Event::Head(head, Figures::default())]);
        for _ in 0..EVENTS {
            let Some(event) = events.pop_front() else { return Ok(()) };
            for effect in self.agent.handle(event, now_ms) {
                events.extend(self.act(effect, desks, inputs)?);
            }
        }
        Err(Broken(format!("the agent of rail {} never rests", self.rail)))
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
            Effect::Open(_) | Effect::Close(_) => return Ok(None),
            Effect::Inspect(inputs, duty) => {
                Event::Inspected(inputs.epoch, duty.rail, duty.index, None)
            }
            Effect::Prove(inputs, duty) => {
                let proven = self.prove(&duty).map(|proof| proof.to_body());
                Event::Proven(inputs.epoch, duty.rail, duty.index, proven)
            }
            Effect::Collect(epoch) => Event::Vouchers(epoch, Vec::new()),
            Effect::Submit { sequence, validator, bytes } => {
                let answer = desk(validator).and_then(|desk| desk.submit(&bytes));
                Event::Submitted(sequence, submitted(answer))
            }
            Effect::Look { sequence, validator, digest } => {
                Event::Looked(sequence, desk(validator).and_then(|desk| desk.carried(digest)))
            }
        }))
    }

    fn prove(&self, duty: &Duty) -> Result<Evidence, ProveError> {
        let slice = |_: &_, chunk| bao::slice(&self.shard, chunk).ok_or("no such chunk");
        let proof = proof::prove(duty, &self.held, slice);
        proof.map(Evidence::Proof).map_err(|error| ProveError(error.to_string()))
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
