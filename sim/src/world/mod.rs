//! A world: machines, the network between them, people, and a plan of what goes wrong.
//!
//! The world goes on in steps of [`STEP`] of simulated time. In each it does what its plan says, lets people
//! send, looks which machines have died, and has everything checked that became final. When the time of
//! trouble is over it heals everything and demands that the ledger goes on: all honest machines reach a
//! height above the highest, and all that people sent becomes final.

pub mod clockwork;
pub mod errands;
pub mod host;
mod hosts;
pub mod machine;
pub mod people;

use self::{host::Host, hosts::hosts, people::People};
use crate::{
    adversaries::{
        Kind, Plot,
        censor::{Outcasts, Withheld},
    },
    checkers::{Broken, chronicle::Chronicle, court::Court},
    economy::{CLOCK, Economy, device::secrets, votes::Counts},
    faults::{Fault, disk::Trouble, wire::Wire},
    scenario::Plan,
    storage::{self, Storage},
    trace::Trace,
};
use alloy_primitives::B256;
use bytes::Bytes;
use commonware_cryptography::{Signer as _, ed25519};
use commonware_runtime::{Clock as _, Spawner as _, Supervisor as _, deterministic::Context};
use commonware_utils::ordered::Set;
use consensus::{Genesis, simulation};
use protocol::{Height, key::DeviceSecret};
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

/// A step of a world.
const STEP: Duration = Duration::from_millis(50);
/// Blocks that have to follow once all is healed.
const AFTERWARDS: u64 = 6;
/// How long that may take: peers that hung up wait a minute before they connect again.
const RECOVERY: Duration = Duration::from_secs(240);
/// Bytes of a blob of junk, and of an honest one.
const BLOB_BYTES: (usize, usize) = (200_000, 300);

/// With what a node ends that needs blocks which nobody keeps: who runs it starts it again.
const BEHIND: &str = "this node fell behind";

/// A world.
#[expect(missing_debug_implementations, reason = "the runtime's context has none")]
pub struct World {
    context: Context,
    rng: StdRng,
    began: SystemTime,
    genesis: Genesis,
    wire: Arc<Wire>,
    hosts: Vec<Host>,
    people: People,
    chain: Chronicle,
    economy: Option<Economy>,
    storage: Option<Storage>,
    court: Arc<Court>,
    outcasts: Arc<Outcasts>,
    plan: Plan,
    blobs: u64,
    /// Whether all is healed.
    calm: bool,
    /// The term of which the court knows the committee, and all that ever had a seat.
    term: Option<u64>,
    seated: BTreeSet<ed25519::PublicKey>,
    /// Whom honest machines saw vote twice.
    accused: BTreeSet<usize>,
}

/// What came of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The highest final height.
    pub height: u64,
    /// Who was convicted of voting twice, by machine.
    pub convicted: Vec<usize>,
    /// Who was accused of it by honest machines, by machine.
    pub accused: Vec<usize>,
    /// Transactions and blobs in all blocks.
    pub carried: (u64, u64),
    /// Machines that ever had a seat.
    pub seated: usize,
    /// Epochs settled, duties due in them, and duties met.
    pub settled: (u64, u64, u64),
    /// Copied ballots, dissents, fines, and claims.
    pub votes: Counts,
    /// Requests answered and failed, objects lost.
    pub stored: storage::Counts,
    /// What censors kept back of a device's evidence.
    pub withheld: Withheld,
}

impl World {
    /// Makes a world in which nothing runs yet.
    ///
    /// # Errors
    /// The plan makes no ledger.
    pub async fn new(context: Context, plan: Plan, mut rng: StdRng) -> Result<Self, Broken> {
        let people = People::new(&plan);
        let device = secrets(plan.devices).first().map(DeviceSecret::id);
        let outcasts = Arc::new(Outcasts::new(people.victim(), device));
        let plot = Plot { outcasts: Arc::clone(&outcasts), ..Plot::default() };
        let genesis = people::genesis(&plan).map_err(Broken::new)?;
        let accounts = people.accounts(plan.machines);
        let chain = Chronicle::begin(&context.child("chronicle"), genesis.clone(), accounts).await;
        let chain = chain.map_err(Broken::new)?;
        let namespace = simulation::namespace(chain.name());
        let court = Arc::new(Court::new(namespace.clone()));
        let wire = Arc::new(Wire::default());
        let hosts = hosts(&plan, &plot, &namespace, (&court, &wire));
        let began = context.current();
        let economy = match plan.devices {
            0 => None,
            _ => Some(Economy::new(&plan, &plot)?),
        };
        let storage = plan.storage.map(|size| Storage::new(size, &mut rng)).transpose()?;
        Ok(Self {
            context,
            rng,
            began,
            genesis,
            wire,
            hosts,
            people,
            chain,
            economy,
            storage,
            court,
            outcasts,
            blobs: 0,
            calm: plan.faults.is_empty(),
            term: None,
            plan,
            seated: BTreeSet::new(),
            accused: BTreeSet::new(),
        })
    }

    fn now(&self) -> Duration {
        self.context.current().duration_since(self.began).unwrap_or_default()
    }

    /// Runs the plan, heals everything, and demands that the ledger goes on.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub async fn run(mut self, trace: &mut Trace) -> Result<End, Broken> {
        trace.add(
            self.now(),
            format!("{} machines, term of {}", self.plan.machines, self.plan.term_length),
        );
        for (machine, kind) in self.plan.kinds.clone() {
            trace.add(self.now(), format!("machine {machine} is {}", kind.name()));
        }
        // The court has to know who sits before anybody votes.
        self.terms(trace)?;
        self.start(trace).await?;
        let faults = std::mem::take(&mut self.plan.faults);
        let mut faults = faults.into_iter().peekable();
        let end = Duration::from_millis(self.plan.trouble_ms);
        while self.now() < end {
            while let Some((_, fault)) =
                faults.next_if(|(ms, _)| Duration::from_millis(*ms) <= self.now())
            {
                self.apply(&fault, trace).await?;
            }
            self.send(trace);
            self.step(trace).await?;
        }
        self.heal(trace).await?;
        self.recover(trace).await?;
        self.judge(trace)?;
        self.states(trace).await?;
        if let Some(economy) = &self.economy {
            for words in economy.judge(&self.chain).await? {
                trace.add(self.now(), words);
            }
        }
        trace.add(self.now(), format!("runtime {}", self.context.auditor().state()));
        let (convicted, carried) = (self.convicted(), self.chain.carried());
        let settled = self.economy.as_ref().map(Economy::summary).unwrap_or_default();
        let votes = self.economy.as_ref().map(Economy::counts).unwrap_or_default();
        let stored = self.storage.as_ref().map(Storage::counts).unwrap_or_default();
        let (height, seated) = (self.chain.height(), self.seated.len());
        let accused = self.accused.into_iter().collect();
        let withheld = self.outcasts.withheld();
        Ok(End { height, convicted, accused, carried, seated, settled, votes, stored, withheld })
    }

    /// Starts all machines at once; the plan's time begins when they run.
    async fn start(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        let Self { context, genesis, chain, .. } = self;
        let late = &self.plan.late;
        let early = self.hosts.iter_mut().filter(|host| !late.contains_key(&host.hardware.machine));
        let boots = early.map(|host| host.boot(context, genesis, chain));
        for booted in futures::future::join_all(boots).await {
            booted?;
        }
        if let Some(economy) = &mut self.economy {
            for (machine, host) in self.hosts.iter().enumerate() {
                economy.boot(machine, host)?;
            }
        }
        if let Some(storage) = &mut self.storage {
            storage.boot(&mut self.rng)?;
        }
        trace.add(self.now(), "all machines run");
        self.began = self.context.current();
        Ok(())
    }

    async fn apply(&mut self, fault: &Fault, trace: &mut Trace) -> Result<(), Broken> {
        match *fault {
            Fault::Kill(machine) if self.hosts[machine].on() => {
                let stage = if self.hosts[machine].starting() { " while it starts" } else { "" };
                trace.add(self.now(), format_args!("{fault}{stage}"));
                if self.rng.random_bool(0.5) {
                    self.wire.cut(machine);
                }
                self.kill(machine, trace).await?;
            }
            Fault::Boot(machine) if !self.hosts[machine].on() => {
                trace.add(self.now(), fault);
                let host = &mut self.hosts[machine];
                if let Err(broken) = host.power(&self.context, &self.genesis) {
                    self.no_start(machine, broken, trace).await?;
                }
            }
            Fault::Kill(_) | Fault::Boot(_) => {}
            Fault::Link(from, to, link) => {
                trace.add(self.now(), fault);
                self.wire.set(from, to, link);
            }
            Fault::CutConnections(machine) => {
                trace.add(self.now(), fault);
                self.wire.cut(machine);
            }
            Fault::HealLinks => {
                trace.add(self.now(), fault);
                self.wire.heal();
            }
            Fault::Skew(machine, ms) => {
                trace.add(self.now(), fault);
                self.hosts[machine].hardware.skew.store(ms, Ordering::SeqCst);
            }
            Fault::Disk(machine, trouble) => {
                trace.add(self.now(), fault);
                self.hosts[machine].hardware.disk.set(trouble);
            }
            Fault::Storage(ref wrong) => {
                trace.add(self.now(), fault);
                if let Some(storage) = &mut self.storage {
                    storage.apply(wrong, &mut self.rng)?;
                }
            }
        }
        Ok(())
    }

    /// Takes up a machine whose start has ended, well or not.
    async fn arrive(&mut self, machine: usize, trace: &mut Trace) -> Result<(), Broken> {
        let host = &mut self.hosts[machine];
        let Some(started) = host.started(&self.chain) else { return Ok(()) };
        match started {
            Ok(()) => {
                if let Some(economy) = &mut self.economy {
                    economy.boot(machine, host)?;
                }
                let head = host.ledger().map_or(0, |ledger| ledger.head().header.height);
                let first = host.begins()?;
                trace.add(
                    self.now(),
                    format!("machine {machine} runs at height {head} and begins at {first}"),
                );
                Ok(())
            }
            Err(broken) => self.no_start(machine, broken, trace).await,
        }
    }

    /// A disk may keep a machine from starting, and only a disk.
    async fn no_start(
        &mut self,
        machine: usize,
        broken: Broken,
        trace: &mut Trace,
    ) -> Result<(), Broken> {
        if !self.hosts[machine].hardware.disk.failed() {
            return Err(broken);
        }
        trace.add(self.now(), format!("disk of {machine} failed at its start: {broken}"));
        self.kill(machine, trace).await
    }

    async fn kill(&mut self, machine: usize, trace: &mut Trace) -> Result<(), Broken> {
        if let Some(economy) = &self.economy {
            economy.kill(machine);
        }
        let kept = self.hosts[machine].kill(&self.context, &mut self.rng).await?;
        if let Some(economy) = &self.economy {
            economy.crash(machine, &mut self.rng).await?;
        }
        trace.add(self.now(), format!("machine {machine} is off, {kept} unsynced writes kept"));
        Ok(())
    }

    /// Lets people and validators send.
    fn send(&mut self, trace: &mut Trace) {
        let now = self.now();
        if self.rng.random_bool(0.3)
            && let Some(sent) = self.people.send(now, &self.chain, &mut self.rng)
        {
            let machine = self.rng.random_range(0..self.hosts.len());
            self.submit(machine, vec![sent.raw]);
        }
        for machine in 0..self.hosts.len() {
            let junk = self.hosts[machine].kind == Some(Kind::JunkAuthor);
            let rate = if junk { 0.5 } else { 0.02 };
            if !self.rng.random_bool(rate) {
                continue;
            }
            let Some(ledger) = self.hosts[machine].ledger() else { continue };
            self.blobs += 1;
            let mut blob = vec![0; if junk { BLOB_BYTES.0 } else { BLOB_BYTES.1 }];
            blob[..8].copy_from_slice(&self.blobs.to_be_bytes());
            if let Some(economy) = self.economy.as_ref().filter(|_| junk) {
                blob = economy.junk(machine, &blob).unwrap_or(blob);
            }
            if let Err(refused) = ledger.submit_blob(Bytes::from(blob)) {
                trace.add(now, format!("machine {machine} refuses a blob: {refused}"));
            }
        }
    }

    /// Hands transactions to a machine, in their order. Nobody waits for the answers: a machine may die
    /// over them.
    fn submit(&self, machine: usize, raws: Vec<Vec<u8>>) {
        let Some(ledger) = self.hosts[machine].ledger().cloned() else { return };
        let submit = async move |_| {
            for raw in raws {
                drop(ledger.submit(&raw).await);
            }
        };
        drop(self.context.child("person").spawn(submit));
    }

    /// Lets time pass and checks everything.
    async fn step(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        self.context.sleep(STEP).await;
        for machine in 0..self.hosts.len() {
            self.arrive(machine, trace).await?;
            let host = &mut self.hosts[machine];
            let cause = host.cause();
            let worker = self.economy.as_ref().and_then(|economy| economy.cause(machine));
            if let Some(cause) = cause.or(worker) {
                let left_behind = host.blocks_served.is_some() && cause.contains(BEHIND);
                if !host.hardware.disk.failed() && host.honest() && !left_behind {
                    return Err(Broken(format!("machine {machine} ended by itself: {cause}")));
                }
                trace.add(self.now(), format!("machine {machine} ended: {cause}"));
                self.kill(machine, trace).await?;
                if left_behind {
                    self.apply(&Fault::Boot(machine), trace).await?;
                }
                continue;
            }
            if !host.honest() {
                continue;
            }
            let known = self.chain.height();
            let blocks = host.observe(&mut self.chain).await?;
            for block in &blocks {
                let height = block.header.height;
                if height > known {
                    let (now, hash) = (self.now(), block.hash);
                    trace.add(now, format!("block {height} {hash} is final on machine {machine}"));
                }
            }
            self.inform(machine, trace)?;
        }
        self.terms(trace)?;
        self.provide(trace)?;
        self.store(trace)?;
        while let Some(machine) = self.economy.as_mut().and_then(Economy::mistaken) {
            trace.add(self.now(), format!("the judge of machine {machine} is mended"));
            self.apply(&Fault::Kill(machine), trace).await?;
            self.apply(&Fault::Boot(machine), trace).await?;
        }
        let again = self.people.hear(self.now(), &self.chain);
        for sent in again {
            (0..self.hosts.len()).for_each(|machine| self.submit(machine, vec![sent.raw.clone()]));
        }
        Ok(())
    }

    /// Lets devices act, and looks what was settled.
    fn provide(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        let now = self.now();
        let true_time = self.context.current().duration_since(SystemTime::UNIX_EPOCH);
        let now_ms = u64::try_from(true_time.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        let Some(economy) = &mut self.economy else { return Ok(()) };
        for words in economy.look(&self.chain)? {
            trace.add(now, words);
        }
        economy.step(now_ms, self.calm, &mut self.rng)?;
        for raws in economy.errands(now, &self.chain) {
            (0..self.hosts.len()).for_each(|machine| self.submit(machine, raws.clone()));
        }
        Ok(())
    }

    /// Lets customers and the shop act, and checks what comes of it.
    fn store(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        let now = self.now();
        let Some(storage) = &mut self.storage else { return Ok(()) };
        for words in storage.step(now, &mut self.rng)? {
            trace.add(now, words);
        }
        Ok(())
    }

    /// Has the double votes that a machine saw reported.
    fn inform(&mut self, machine: usize, trace: &mut Trace) -> Result<(), Broken> {
        let Some(ledger) = self.hosts[machine].ledger() else { return Ok(()) };
        let seen = ledger.double_votes().borrow().clone();
        for vote in seen {
            let of = |guilty: &usize| self.hosts[*guilty].kind.is_some_and(Kind::votes_twice);
            let Some(guilty) = self.machine(vote.key).filter(of) else {
                let (key, view) = (vote.key, vote.view);
                return Err(Broken(format!(
                    "machine {machine} accuses an honest validator, {key}, of view {view}"
                )));
            };
            if self.people.report(vote) {
                self.accused.insert(guilty);
                trace.add(self.now(), format!("machine {machine} saw machine {guilty} vote twice"));
            }
        }
        Ok(())
    }

    /// The machine with a network key.
    fn machine(&self, key: B256) -> Option<usize> {
        let of = |machine: &usize| {
            people::seat(*machine).is_some_and(|(keys, _)| key == B256::from(keys.network_key()))
        };
        (0..self.hosts.len()).find(of)
    }

    /// Lets the court know who sits in the running term and in the next.
    fn terms(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        let running = self.chain.height() / self.plan.term_length;
        if self.term == Some(running) {
            return Ok(());
        }
        self.term = Some(running);
        for term in [running, running + 1] {
            let committee = self.chain.committee(term)?;
            let keys: Vec<B256> = committee.validators().map(|seat| seat.key).collect();
            let machines: Vec<_> = keys.iter().filter_map(|key| self.machine(*key)).collect();
            trace.add(self.now(), format!("term {term} is held by {machines:?}"));
            let key = |machine: &usize| people::seat(*machine).map(|(_, key)| key.public_key());
            let seats: Vec<_> = machines.iter().filter_map(key).collect();
            self.seated.extend(seats.iter().cloned());
            self.court.seat(term, Set::from_iter_dedup(seats));
        }
        Ok(())
    }

    async fn heal(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        trace.add(self.now(), "all is healed");
        self.calm = true;
        self.wire.heal();
        if let Some(storage) = &mut self.storage {
            storage.heal(&mut self.rng)?;
        }
        for machine in 0..self.hosts.len() {
            let hardware = &self.hosts[machine].hardware;
            hardware.skew.store(0, Ordering::SeqCst);
            // One whose program has not met its bad disk yet runs on; one that did is found dead.
            if hardware.disk.trouble() != Trouble::None {
                self.kill(machine, trace).await?;
                self.hosts[machine].hardware.disk.set(Trouble::None);
            }
            self.apply(&Fault::Boot(machine), trace).await?;
        }
        Ok(())
    }

    /// Waits until all honest machines went on and nobody waits.
    async fn recover(&mut self, trace: &mut Trace) -> Result<(), Broken> {
        let goal = self.chain.height() + AFTERWARDS;
        let epoch = CLOCK.epoch(Height(self.chain.height()));
        let deadline = self.now() + RECOVERY;
        loop {
            self.step(trace).await?;
            let behind: Vec<usize> = (0..self.hosts.len())
                .filter(|machine| {
                    self.hosts[*machine].honest() && self.hosts[*machine].seen() < goal
                })
                .collect();
            let settled = self.economy.as_ref().is_none_or(|economy| economy.caught_up(epoch));
            let stored = self.storage.as_ref().is_none_or(Storage::is_over);
            if behind.is_empty() && self.people.waiting() == 0 && settled && stored {
                return Ok(());
            }
            if self.now() > deadline {
                let (at, waiting) = (self.chain.height(), self.people.waiting());
                let economy = self.economy.as_ref().map(Economy::lacks);
                let lacks = economy.or_else(|| self.storage.as_ref().map(Storage::lacks));
                let lacks = lacks.unwrap_or_default();
                return Err(Broken(format!(
                    "healed, and yet machines {behind:?} did not reach {goal} (the highest is {at}), \
                     and {waiting} people wait; {lacks}"
                )));
            }
            // A machine whose program ended over a bad disk is started again, and one that was to join later.
            for machine in 0..self.hosts.len() {
                if !self.hosts[machine].on() {
                    self.hosts[machine].hardware.disk.set(Trouble::None);
                    self.apply(&Fault::Boot(machine), trace).await?;
                }
            }
        }
    }

    /// Every honest machine has the state that executing all blocks from genesis on gives.
    async fn states(&self, trace: &mut Trace) -> Result<(), Broken> {
        for host in self.hosts.iter().filter(|host| host.honest()) {
            let n = host.hardware.machine;
            let Some(ledger) = host.ledger() else { continue };
            while ledger.head().header.height < self.chain.height() && host.cause().is_none() {
                self.context.sleep(STEP).await;
            }
            let same = self.chain.same_state(ledger).await;
            same.map_err(|broken| Broken(format!("machine {n}: {broken}")))?;
        }
        trace.add(self.now(), format!("all have the state of block {}", self.chain.height()));
        Ok(())
    }

    fn convicted(&self) -> Vec<usize> {
        let convicted = self.court.convicted();
        let seat = |machine: &usize| people::seat(*machine).map(|(_, key)| key.public_key());
        let guilty =
            |machine: &usize| seat(machine).is_some_and(|key| convicted.contains_key(&key));
        (0..self.hosts.len()).filter(guilty).collect()
    }

    /// Nobody honest was convicted of anything.
    fn judge(&self, trace: &mut Trace) -> Result<(), Broken> {
        let crimes: Vec<String> = self.court.convicted().into_values().collect();
        for machine in self.convicted() {
            if !self.hosts[machine].kind.is_some_and(Kind::votes_twice) {
                return Err(Broken(format!(
                    "machine {machine} is honest and voted twice: {crimes:?}"
                )));
            }
            trace.add(self.now(), format!("machine {machine} is convicted: {crimes:?}"));
        }
        Ok(())
    }
}
