//! Evidence and settlement in a world: devices that prove what they hold, validators that take it in, carry
//! it in blocks, settle epochs from their own archives and vote on them.
//!
//! What runs is the program's own: [`::agent::state::Agent`] with its journal, the kind `storage` with its
//! proofs, and on every machine the validator's worker ([`desk`]). What is the world's are the shells: who
//! calls whom. Devices, rails and datasets are made by transactions, as in a real network.
//!
//! Checked: what is final on the ledger is what every honest validator settled; it is what a replay from
//! each archive alone gives; what devices promise is paid where nothing went wrong; what can be claimed is
//! claimed, twice, and pays exactly what the statement grants; no copied vote counts; a false root is gone
//! before anybody can claim by it ([`votes`] hears the ledger say so).

mod copier;
pub mod desk;
pub mod device;
mod furnish;
pub mod neighbour;
mod protest;
pub mod votes;

pub use furnish::{DEPOSIT, manifest};

use self::{
    copier::Copier,
    desk::{Desk, Post},
    device::Device,
    protest::Protest,
    votes::{Counts, events, reveals},
};
use crate::{
    adversaries::{Kind, Plot},
    checkers::{Broken, chronicle::Chronicle},
    scenario::{Dissent, Plan},
    world::{
        errands::{Errand, Errands},
        host::Host,
        people,
    },
};
use alloy_primitives::{Address, U256};
use consensus::Finalized;
use contracts::{
    abi::{
        ISettlements::{self, ISettlementsEvents as Event},
        Outcome,
    },
    address::SETTLEMENTS,
};
use evidence::Batch;
use futures::FutureExt as _;
use protocol::{
    AuthorKey, Digest, Epoch, Height, NetworkId, RailId,
    cbor::Item,
    clock::EpochClock,
    envelope::{Body, Envelope, Payload},
    inputs::Inputs,
    key::DeviceSecret,
    statement::Statement,
};
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use validator::verify_epoch;

/// The network that devices serve.
pub const NETWORK: NetworkId = NetworkId(1);
/// Epochs of worlds with devices, in heights.
pub const CLOCK: EpochClock = EpochClock { length: 12, grace: 3 };
/// The fault by which agents lose power: this often, in steps of the world.
const AGENT_CRASHES: f64 = 0.002;

/// Bytes of junk in a batch that must not have been made.
const JUNK_BYTES: usize = 300;

/// The inputs that the ledger announced.
pub type Announced = BTreeMap<Epoch, Arc<Inputs>>;

/// Devices, desks, and what was settled.
#[derive(Debug)]
pub struct Economy {
    devices: Vec<Device>,
    desks: Vec<Desk>,
    liars: BTreeSet<usize>,
    copiers: Vec<Copier>,
    protest: Option<Protest>,
    /// Whose judge is wrong, and who of them is to be started again with the right one.
    mistaken: BTreeSet<usize>,
    errands: Errands,
    /// Up to which height the ledger was heard, and what it said.
    heard: u64,
    /// Who owns the devices.
    owner: Option<Address>,
    /// The epoch that was decided last.
    decided: Option<Epoch>,
    counts: Counts,
    announced: Announced,
    /// What is final on the ledger.
    finals: BTreeMap<Epoch, Outcome>,
    /// Which of those are not what honest machines settle, while somebody may dissent.
    falsehoods: BTreeSet<Epoch>,
    /// The newest that can be claimed, and by which was claimed last.
    claimable: Option<Epoch>,
    claimed: Option<Epoch>,
    /// The statements of those that are final.
    statements: BTreeMap<Epoch, Statement>,
    /// With which block the ledgers of machines begin, where it is not the first of all.
    begins: BTreeMap<usize, Height>,
    /// Which machine was found to agree on what.
    agreed: BTreeSet<(Epoch, usize)>,
}

impl Economy {
    /// The devices of a plan, and a desk for each machine, whose liars have a plot.
    ///
    /// # Errors
    /// A folder for journals cannot be made.
    pub fn new(plan: &Plan, plot: &Plot) -> Result<Self, Broken> {
        let Plan { devices, machines, ref kinds, .. } = *plan;
        let validators = u64::try_from(machines).unwrap_or(1);
        let devices = (1u64..).zip(device::secrets(devices));
        let devices: Vec<_> = devices
            .map(|(id, secret)| Device::new(RailId(id), secret, validators))
            .collect::<Result<_, _>>()?;
        let kind = |machine: &usize| kinds.get(machine).copied();
        let desks = (0..machines).map(|machine| Desk::new(machine, kind(&machine), plot));
        let desks = desks.collect::<Result<_, _>>()?;
        let lies = |machine: &usize| kind(machine).is_some_and(Kind::lies);
        let is = |which: Kind| (0..machines).filter(move |machine| kind(machine) == Some(which));
        let mistaken: BTreeSet<usize> = is(Kind::FaultyJudge).collect();
        let copiers = is(Kind::Copier).filter_map(|machine| Copier::new(machine, machines));
        let mut errands = Errands::default();
        furnish::errands(&devices)?.into_iter().for_each(|errand| errands.add(errand));
        Ok(Self {
            devices,
            desks,
            liars: (0..machines).filter(lies).chain(mistaken.iter().copied()).collect(),
            copiers: copiers.collect(),
            protest: plan.dissent.map(Protest::new),
            mistaken,
            errands,
            heard: 0,
            owner: people::founder().map(|wallet| wallet.address()),
            decided: None,
            counts: Counts::default(),
            announced: BTreeMap::new(),
            finals: BTreeMap::new(),
            falsehoods: BTreeSet::new(),
            claimable: None,
            claimed: None,
            statements: BTreeMap::new(),
            begins: BTreeMap::new(),
            agreed: BTreeSet::new(),
        })
    }

    /// A machine has started: its desk goes on where it stopped.
    ///
    /// # Errors
    /// The system refuses.
    pub fn boot(&mut self, machine: usize, host: &Host) -> Result<(), Broken> {
        if let first @ 1.. = host.begins()? {
            self.begins.insert(machine, Height(first));
        }
        let posts: Vec<Arc<Post>> = self.desks.iter().map(Desk::post).collect();
        match (host.below("worker"), host.ledger()) {
            (Some(below), Some(ledger)) => self.desks[machine].boot(below, ledger.clone(), &posts),
            _ => Ok(()),
        }
    }

    /// A machine ends.
    pub fn kill(&self, machine: usize) {
        self.desks[machine].kill();
    }

    /// A machine has ended: what its disk makes of that.
    ///
    /// # Errors
    /// Never.
    pub async fn crash(&self, machine: usize, rng: &mut StdRng) -> Result<(), Broken> {
        self.desks[machine].crash(rng).await
    }

    /// Why a machine's worker ended by itself, if it did.
    pub fn cause(&self, machine: usize) -> Option<String> {
        self.desks[machine].cause()
    }

    /// What the ledger says newly, in words.
    ///
    /// # Errors
    /// A final outcome changed, or an honest machine settled to another.
    pub fn look(&mut self, chain: &Chronicle) -> Result<Vec<String>, Broken> {
        let now = CLOCK.epoch(Height(chain.height()));
        for epoch in now.previous().unwrap_or(now).0..=now.0 + 1 {
            self.announced(chain, Epoch(epoch))?;
        }
        let call = ISettlements::finalEpochCall { network: NETWORK.0 };
        let newest = chain.ask(SETTLEMENTS, &call)?;
        let mut words = self.hear(chain)?;
        let known = self.finals.last_key_value().map_or(0, |(epoch, _)| epoch.0 + 1);
        for epoch in known..if newest.any { newest.epoch + 1 } else { 0 } {
            let call = ISettlements::outcomeCall { network: NETWORK.0, epoch };
            let outcome = chain.ask(SETTLEMENTS, &call)?;
            if !outcome.statement.is_zero() {
                words.push(format!("epoch {epoch} is final with root {}", outcome.root));
                self.finals.insert(Epoch(epoch), outcome);
            }
        }
        words.extend(self.agree()?);
        self.claim(chain)?;
        words.extend(self.dissent(chain)?);
        Ok(words)
    }

    /// Hears what the ledger says in new blocks, and lets copiers copy it.
    fn hear(&mut self, chain: &Chronicle) -> Result<Vec<String>, Broken> {
        let new = chain.above(self.heard);
        let mut words = Vec::new();
        if new.is_empty() {
            return Ok(words);
        }
        self.heard = chain.height();
        for block in new {
            for (height, event) in events(block) {
                words.extend(self.hear_one(height, &event)?);
            }
            self.repeated(block);
        }
        for copier in &mut self.copiers {
            words.extend(copier.look(chain, new)?);
        }
        Ok(words)
    }

    /// Counts what copiers revealed in a block before the epoch was decided.
    fn repeated(&mut self, block: &Finalized) {
        if self.copiers.is_empty() {
            return;
        }
        let copies = |account| self.copiers.iter().any(|copier| copier.account() == account);
        let open = |epoch| self.decided.is_none_or(|decided| decided < Epoch(epoch));
        let found = reveals(block).filter(|(of, call)| copies(*of) && open(call.epoch)).count();
        self.counts.repeated += u64::try_from(found).unwrap_or(u64::MAX);
    }

    fn hear_one(&mut self, height: u64, event: &Event) -> Result<Option<String>, Broken> {
        let copies = |account| self.copiers.iter().any(|copier| copier.account() == account);
        let newest = self.finals.last_key_value().map(|(epoch, _)| *epoch);
        if let Some(protest) = &mut self.protest {
            protest.hear((height, event), newest)?;
        }
        Ok(match event {
            Event::Committed(said) if copies(said.validator) => {
                self.counts.copied += 1;
                None
            }
            Event::Revealed(said) if copies(said.validator) => {
                let epoch = said.epoch;
                return Err(Broken(format!("the vote of a copier counts in epoch {epoch}")));
            }
            Event::Finalized(said) => {
                self.decided = Some(Epoch(said.epoch));
                if let Some(protest) = &mut self.protest {
                    protest.decided(height, Epoch(said.epoch));
                }
                None
            }
            Event::Disputed(said) => {
                let epoch = Epoch(said.epoch);
                self.finals.split_off(&epoch);
                self.statements.split_off(&epoch);
                self.falsehoods.split_off(&epoch);
                self.agreed.split_off(&(epoch, 0));
                Some(format!("epoch {epoch} is disputed in block {height}"))
            }
            Event::DisputeEnded(said) if said.upheld => {
                self.counts.upheld += 1;
                Some(format!("the dissent from epoch {} is upheld", said.epoch))
            }
            Event::DisputeEnded(said) => {
                self.counts.rejected += 1;
                Some(format!("the dissent from epoch {} is rejected", said.epoch))
            }
            Event::Fined(said) => {
                self.counts.fined += 1;
                Some(format!("{} is fined {} wei", said.validator, said.amount))
            }
            Event::Claimed(said) if Some(said.account) == self.owner => {
                self.counts.paid += 1;
                let (vested, cash) = (said.vested, said.cash);
                Some(format!("a claim pays {vested} tokens and {cash} dollars"))
            }
            _ => None,
        })
    }

    /// Lets who has a reason dissent.
    fn dissent(&mut self, chain: &Chronicle) -> Result<Option<String>, Broken> {
        let Some(protest) = &mut self.protest else { return Ok(None) };
        if let Some(newest) = self.claimable {
            let seats = u64::try_from(self.desks.len()).unwrap_or(u64::MAX);
            let errand = protest.claimable(chain, newest, seats)?;
            errand.into_iter().for_each(|errand| self.errands.add(errand));
        }
        if !protest.waits() {
            return Ok(None);
        }
        let liars = &self.liars;
        let mut honest = self.desks.iter().enumerate().filter(|(n, _)| !liars.contains(n));
        let (epoch, truth) = match protest.why {
            Dissent::ForTruth => {
                let Some(epoch) = self.falsehoods.first().copied() else { return Ok(None) };
                if !self.mistaken.is_empty() || !honest.all(|(_, desk)| desk.refuses(epoch)) {
                    return Ok(None);
                }
                let found = self.desks.iter().enumerate().find(|(n, _)| !liars.contains(n));
                let archive = found.map(|(_, desk)| desk.archive());
                let statement =
                    archive.and_then(|archive| archive.statement(NETWORK, epoch).now_or_never());
                let Some(Ok(Some(statement))) = statement else { return Ok(None) };
                (epoch, Outcome::from(&statement))
            }
            Dissent::ToHoldUp => {
                let Some((epoch, statement)) = self.statements.last_key_value() else {
                    return Ok(None);
                };
                if self.claimable.is_some_and(|claimable| claimable >= *epoch) {
                    return Ok(None);
                }
                (*epoch, Outcome::from(statement))
            }
        };
        let errand = protest.file(chain, epoch, truth)?;
        errand.into_iter().for_each(|errand| self.errands.add(errand));
        Ok(Some(format!("somebody dissents from epoch {epoch}")))
    }

    /// A machine whose judge has been found to be wrong, and that has to be started again with the right one.
    pub fn mistaken(&mut self) -> Option<usize> {
        if self.falsehoods.is_empty() {
            return None;
        }
        let machine = self.mistaken.pop_first()?;
        self.desks[machine].mend();
        self.liars.remove(&machine);
        Some(machine)
    }

    /// Remembers the inputs that the ledger announced for an epoch, once a desk has them.
    fn announced(&mut self, chain: &Chronicle, epoch: Epoch) -> Result<(), Broken> {
        if self.announced.contains_key(&epoch) {
            return Ok(());
        }
        let call = ISettlements::inputsCall { network: NETWORK.0, epoch: epoch.0 };
        let digest = Digest::from(chain.ask(SETTLEMENTS, &call)?);
        let of = |desk: &Desk| desk.archive().inputs(NETWORK, epoch).now_or_never()?.ok()?;
        let found = self.desks.iter().filter_map(of).find(|inputs| inputs.digest() == digest);
        if let Some(inputs) = found {
            self.announced.insert(epoch, Arc::new(inputs));
        }
        Ok(())
    }

    /// Compares what honest machines settled with what is final.
    fn agree(&mut self) -> Result<Option<String>, Broken> {
        let mut words = None;
        for (epoch, outcome) in &self.finals {
            for machine in 0..self.desks.len() {
                if self.liars.contains(&machine) || self.agreed.contains(&(*epoch, machine)) {
                    continue;
                }
                let archive = self.desks[machine].archive();
                let found = archive.statement(NETWORK, *epoch).now_or_never();
                let Some(Ok(Some(statement))) = found else { continue };
                if Outcome::from(&statement) != *outcome {
                    if self.protest.as_ref().is_some_and(|p| p.why == Dissent::ForTruth) {
                        self.falsehoods.insert(*epoch);
                        continue;
                    }
                    return Err(Broken(format!(
                        "machine {machine} settles epoch {epoch} to another outcome than is final"
                    )));
                }
                self.agreed.insert((*epoch, machine));
                if self.statements.insert(*epoch, statement.clone()).is_none() {
                    let (due, met) = duties(&statement);
                    words = Some(format!("epoch {epoch}: {met} of {due} duties met"));
                }
            }
        }
        Ok(words)
    }

    /// Has the devices' owner claim by the newest statement that can be claimed by.
    fn claim(&mut self, chain: &Chronicle) -> Result<(), Broken> {
        let call = ISettlements::claimableEpochCall { network: NETWORK.0 };
        let newest = chain.ask(SETTLEMENTS, &call)?;
        if !newest.any {
            return Ok(());
        }
        let epoch = Epoch(newest.epoch);
        self.claimable = Some(epoch);
        if let Some(first) = self.falsehoods.first().filter(|first| **first <= epoch) {
            return Err(Broken(format!("the false root of epoch {first} can be claimed by")));
        }
        let Some(statement) = self.statements.get(&epoch).filter(|_| self.claimed < Some(epoch))
        else {
            return Ok(());
        };
        self.claimed = Some(epoch);
        let Some(wallet) = people::founder() else { return Ok(()) };
        let Some(account) = statement.account(wallet.address()) else { return Ok(()) };
        let leaf = account.leaf(NETWORK, epoch);
        let Some(proof) = statement.tree().proof(leaf.hash()) else { return Ok(()) };
        let call = ISettlements::claimCall { epoch: epoch.0, leaf: (&leaf).into(), proof };
        // The same claim twice: the second must not pay again.
        let act = || people::call(SETTLEMENTS, &call);
        self.errands.add(Errand { wallet, acts: vec![act(), act()] });
        Ok(())
    }

    /// A batch that a machine's author signs and must not have made: with the report of a device that is on
    /// no roster, and with junk.
    pub fn junk(&self, machine: usize, blob: &[u8]) -> Option<Vec<u8>> {
        let author = people::author(machine)?;
        let (epoch, _) = self.announced.last_key_value()?;
        let item = Item::of(&0u8);
        let payload = Payload {
            network: NETWORK,
            epoch: *epoch,
            sequence: 1,
            time_ms: 0,
            body: Body { kind: storage_kind::STORAGE, item },
        };
        let stranger = DeviceSecret::from_seed(*blake3::hash(blob).as_bytes());
        let report = Envelope::sign(&stranger, &payload).bytes().to_vec();
        let junk = blob.iter().take(JUNK_BYTES).copied().collect();
        Some(Batch::sign(&author, people::CHAIN, NETWORK, vec![report, junk]).to_bytes())
    }

    /// The transactions that some send now, each in their order.
    pub fn errands(&mut self, now: Duration, chain: &Chronicle) -> Vec<Vec<Vec<u8>>> {
        let copiers = self.copiers.iter_mut().map(|copier| &mut copier.errands);
        let all = [&mut self.errands].into_iter().chain(copiers);
        all.filter_map(|errands| errands.step(now, chain)).collect()
    }

    /// Lets devices act at a true time.
    ///
    /// # Errors
    /// A device's journal is lost.
    pub fn step(&mut self, now_ms: u64, calm: bool, rng: &mut StdRng) -> Result<(), Broken> {
        for device in &mut self.devices {
            if !calm && rng.random_bool(AGENT_CRASHES) {
                device.crash(rng)?;
            }
            device.step(now_ms, &self.desks, &self.announced)?;
        }
        Ok(())
    }

    /// Whether an epoch, or a later one, is final, all honest machines have all that is, and nobody has
    /// errands left.
    pub fn caught_up(&self, epoch: Epoch) -> bool {
        let honest = (0..self.desks.len()).filter(|machine| !self.liars.contains(machine));
        let machines: Vec<usize> = honest.collect();
        let has = |epoch: &Epoch, machine: &usize| self.agreed.contains(&(*epoch, *machine));
        let needs = |epoch: &Epoch, machine: &usize| self.has_blocks(*epoch, *machine);
        let all = |epoch: &Epoch| {
            machines.iter().all(|machine| !needs(epoch, machine) || has(epoch, machine))
        };
        self.finals.last_key_value().is_some_and(|(newest, _)| *newest >= epoch)
            && self.finals.keys().all(all)
            && self.paid_once()
            && self.claimed >= self.claimable
            && self.protest.as_ref().is_none_or(Protest::done)
            && self.errands.done()
    }

    /// Whether a claim has paid, unless the devices' owner has nothing to claim.
    fn paid_once(&self) -> bool {
        let nothing = |statement: &Statement| self.granted(statement) == (U256::ZERO, U256::ZERO);
        self.counts.paid > 0 || self.statements.values().all(nothing)
    }

    /// What a statement grants the devices' owner: tokens and dollars.
    fn granted(&self, statement: &Statement) -> (U256, U256) {
        let account = self.owner.and_then(|owner| statement.account(owner));
        account.map_or((U256::ZERO, U256::ZERO), |account| {
            let leaf = account.leaf(NETWORK, statement.epoch);
            (U256::from(leaf.vested.0), U256::from(leaf.earned.cash.0))
        })
    }

    /// Whether a machine's ledger gave it all blocks of an epoch: not if it fetched a later state.
    fn has_blocks(&self, epoch: Epoch, machine: usize) -> bool {
        self.begins.get(&machine).is_none_or(|begins| *begins < CLOCK.first(epoch))
    }

    /// What is not caught up with, in words.
    pub fn lacks(&self) -> String {
        let finals: Vec<_> = self.finals.keys().collect();
        let done = self.errands.done();
        let protest = self.protest.as_ref().map(Protest::words).unwrap_or_default();
        let (agreed, claimed) = (&self.agreed, self.claimed);
        format!(
            "final epochs {finals:?}, agreed {agreed:?}, claimed {claimed:?}, errands done: {done}, {protest}"
        )
    }

    /// Settles every final epoch again from each honest machine's archive alone, and looks who is at fault.
    ///
    /// # Errors
    /// One gives something else, or an honest author is at fault.
    pub async fn judge(&self, chain: &Chronicle) -> Result<Vec<String>, Broken> {
        let honest = (0..self.desks.len()).filter(|machine| !self.liars.contains(machine));
        let mut guilty = BTreeSet::new();
        for machine in honest {
            let archive = self.desks[machine].archive();
            let broken = |what: String| Broken(format!("archive of machine {machine}: {what}"));
            for (epoch, outcome) in &self.finals {
                if !self.has_blocks(*epoch, machine) {
                    continue;
                }
                let verified = verify_epoch(&archive, NETWORK, *epoch).await;
                let verified = verified.map_err(|error| broken(format!("{epoch}: {error}")))?;
                if (verified.statement, verified.root) != (outcome.statement.into(), outcome.root) {
                    return Err(broken(format!("it replays epoch {epoch} to something else")));
                }
                let Some(inputs) = self.announced.get(epoch) else { continue };
                let replayed = archive.carried(inputs, &validator::sizes()).await;
                let replayed = replayed.map_err(|error| broken(error.to_string()))?;
                guilty.extend(replayed.faults.iter().map(|fault| fault.author));
            }
        }
        let key =
            |machine: usize| people::author(machine).map(|secret| AuthorKey(secret.key().x()));
        let lies = |author: &AuthorKey| self.liars.iter().any(|liar| key(*liar) == Some(*author));
        if !guilty.iter().all(lies) {
            return Err(Broken("an honest author is at fault".to_owned()));
        }
        let all = 0..self.desks.len();
        let at_fault = all.filter(|n| key(*n).is_some_and(|key| guilty.contains(&key)));
        let mut words: Vec<_> =
            at_fault.map(|machine| format!("author {machine} is at fault")).collect();
        words.push(self.paid(chain)?);
        Ok(words)
    }

    /// What the devices' owner took is what the statement grants it by which it claimed last.
    fn paid(&self, chain: &Chronicle) -> Result<String, Broken> {
        let owner = self.owner.unwrap_or_default();
        let call = ISettlements::claimedCall { network: NETWORK.0, account: owner };
        let taken = chain.ask(SETTLEMENTS, &call)?;
        let took = (taken.vested, taken.cash);
        let last = self.claimed.and_then(|epoch| self.statements.get(&epoch));
        if took == last.map(|last| self.granted(last)).unwrap_or_default() {
            return Ok(format!("claimed {} tokens and {} dollars", taken.vested, taken.cash));
        }
        Err(Broken(format!(
            "{taken:?} was claimed, which is not what epoch {:?} grants",
            self.claimed
        )))
    }

    /// How often the ledger said what.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many epochs are final, how many duties were due in them, and how many were met.
    pub fn summary(&self) -> (u64, u64, u64) {
        let duties = self.statements.values().map(duties);
        let (due, met) = duties.fold((0, 0), |sum, (due, met)| (sum.0 + due, sum.1 + met));
        (u64::try_from(self.finals.len()).unwrap_or(u64::MAX), due, met)
    }
}

/// Duties due and met.
fn duties(statement: &Statement) -> (u64, u64) {
    statement.rows.iter().fold((0, 0), |(due, met), row| {
        (due + u64::from(row.duties_due), met + u64::from(row.duties_met))
    })
}
