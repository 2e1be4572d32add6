//! Storage in a world: customers, the shop that they put their objects into, and the depots that keep them.
//!
//! What runs is the S3 service without HTTP ([`shop`]): codec, placement, index, rails, upkeep, repair, backup and
//! recovery. A [`depot::Depot`] is one operator's storage agent, the program's own store and desk, over a
//! [`drive::Drive`] and files ([`crate::faults::file`]) that keep, lose or tear what was not synced. The service
//! speaks to depots by its own side of the wire over a [`way::Way`]; depots ask a [`roll::Roll`] for rails. The
//! ledger of both is one in memory whose height goes on with the world's time.
//!
//! Checked:
//! * what is acknowledged was said to be durable by k + 1 owners' depots, at that very moment ([`op`]);
//! * what was acknowledged can be read while k of its shards are where the index says and their depots answer;
//!   they are asked, and not the service ([`truth`]);
//! * whatever comes back is what may be there, byte by byte; what was deleted stays away; a list names what may
//!   be there and nothing else ([`customer`]);
//! * no shard is missing that no depot lost;
//! * the index keeps its invariants;
//! * once all is healed every segment that is not lost comes back to full strength, with distinct owners, within
//!   the time of a recovery, and then everything is read once more.

pub mod customer;
pub mod depot;
pub mod drive;
pub mod op;
pub mod roll;
pub mod shop;
pub mod truth;
pub mod way;
pub mod yard;

use self::{
    customer::Customer,
    op::{Counter, Outcome},
    shop::{News, Shop},
    truth::Truth,
    yard::{Mishap, Yard},
};
use crate::{
    checkers::Broken,
    faults::disk::{Crash, Trouble},
};
use futures::FutureExt as _;
use protocol::{Height, Micros, Tokens, clock::EpochClock, manifest::KindTerms};
use rand::{RngExt as _, rngs::StdRng};
use s3_service::{RailPlan, rails::memory::MemoryLedger};
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};
use storage_kind::STORAGE;
use tokio::task::JoinHandle;

/// How long a block of the shop's ledger takes, milliseconds.
const BLOCK_MS: u64 = 500;
/// Its epochs, of ten seconds: a move off a rail that ends is put off by a minute at most when it fails, and an
/// agent forgets what is on a rail eight epochs after its end. With shorter ones a shard is lost that a real
/// network, whose epochs are hours, has days to move (`storage-faults`, seed 112).
const EPOCHS: EpochClock = EpochClock { length: 20, grace: 2 };
/// How likely a customer that waits for nothing asks for something, in a step of the world.
const ASKS: f64 = 0.5;
/// How often depots are tended, in steps of the world.
const TEND: u64 = 20;
/// How often everything is looked through, in steps of the world.
const LOOK: u64 = 40;
/// After how many steps a shop that did not start is started again.
const AGAIN: u64 = 20;

/// What a world's storage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Depots. The last two have one owner.
    pub depots: u8,
    /// Customers.
    pub customers: usize,
    /// After how many epochs rails end, and what they pay for moves.
    pub rails_last: u64,
}

/// What goes wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The shop ends.
    Kill(Crash),
    /// Its power goes after so many more operations of its disk.
    Cut(u64),
    /// The shop is started, unless it runs.
    Boot,
    /// Something is wrong with its disk from now on, or nothing.
    Disk(Trouble),
    /// It ends, and its disk is gone.
    Lose,
    /// Something befalls a depot.
    Depot(usize, Mishap),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(crash) => write!(f, "shop ends: {crash:?}"),
            Self::Cut(operations) => write!(f, "shop's power goes in {operations} operations"),
            Self::Boot => f.write_str("shop is started"),
            Self::Disk(trouble) => write!(f, "shop's disk: {trouble:?}"),
            Self::Lose => f.write_str("shop loses its disk"),
            Self::Depot(depot, mishap) => write!(f, "depot {depot}: {mishap:?}"),
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests answered.
    pub answered: u64,
    /// Requests that failed or were never answered.
    pub failed: u64,
    /// Objects that too few depots have.
    pub lost: u64,
    /// How often the shop made its index anew.
    pub recovered: u64,
}

/// How far it has come after everything was healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Things go wrong.
    Trouble,
    /// Nothing does; shards find their places.
    Mending,
    /// All is in its place; customers look at all they have.
    Looking,
    /// They have.
    Over,
}

/// All storage of a world.
pub struct Storage {
    yard: Arc<Yard>,
    ledger: Arc<MemoryLedger>,
    shop: Shop,
    customers: Vec<Customer>,
    answers: Vec<Option<JoinHandle<Outcome>>>,
    course: Course,
    steps: u64,
    /// In which step the shop is started again that did not start.
    again: Option<u64>,
    recovered: u64,
    loses: bool,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("course", &self.course).finish_non_exhaustive()
    }
}

fn terms() -> KindTerms {
    KindTerms {
        kind: STORAGE,
        price: Micros(1_000),
        delivery_price: Micros(10_000),
        per_units: 1 << 30,
        stake_base: Tokens::ZERO,
        stake_per: Tokens::ZERO,
        positions: 5,
        window: 6,
    }
}

impl Storage {
    /// Storage in which nothing runs yet.
    ///
    /// # Errors
    /// A depot does not start.
    pub fn new(size: Size, rng: &mut StdRng) -> Result<Self, Broken> {
        let signer = shop::signer()?.address();
        let ledger = Arc::new(MemoryLedger::new(signer, EPOCHS, terms()));
        let yard = Arc::new(Yard::new(size.depots, &ledger, rng.random())?);
        let plan = RailPlan { life_epochs: size.rails_last, ..RailPlan::default() };
        let shop = Shop::new(Arc::clone(&yard), Arc::clone(&ledger), plan)?;
        let customers: Vec<_> = (0..size.customers).map(Customer::new).collect();
        let answers = customers.iter().map(|_| None).collect();
        Ok(Self {
            yard,
            ledger,
            shop,
            customers,
            answers,
            course: Course::Trouble,
            steps: 0,
            again: None,
            recovered: 0,
            loses: false,
        })
    }

    /// Does what a plan says.
    ///
    /// # Errors
    /// The shop cannot be made.
    pub fn apply(&mut self, fault: &Fault, rng: &mut StdRng) -> Result<(), Broken> {
        match *fault {
            Fault::Kill(crash) => self.kill(crash, rng)?,
            Fault::Cut(operations) if self.shop.on() => {
                self.shop.disk().cut_after(Some(operations))
            }
            Fault::Cut(_) => {}
            Fault::Boot => self.boot(rng)?,
            Fault::Disk(trouble) => self.shop.disk().set(trouble),
            Fault::Lose => {
                self.kill(Crash::Power, rng)?;
                self.shop.lose();
                self.loses = true;
                self.customers.iter_mut().for_each(Customer::shop_lost_all);
            }
            Fault::Depot(depot, mishap) => self.yard.befall(depot, mishap, rng)?,
        }
        Ok(())
    }

    /// Starts the shop, unless it runs.
    ///
    /// # Errors
    /// The system refuses.
    pub fn boot(&mut self, rng: &mut StdRng) -> Result<(), Broken> {
        self.again = None;
        if self.shop.on() { Ok(()) } else { self.shop.boot(rng) }
    }

    fn kill(&mut self, crash: Crash, rng: &mut StdRng) -> Result<(), Broken> {
        if self.shop.on() {
            self.shop.kill(crash, rng)?;
            self.answers.iter_mut().for_each(|answer| *answer = None);
            self.customers.iter_mut().for_each(Customer::unanswered);
        }
        Ok(())
    }

    /// Lets it run until a moment, and checks it. What happened, in words.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn step(&mut self, now: Duration, rng: &mut StdRng) -> Result<Vec<String>, Broken> {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.steps += 1;
        self.ledger.advance_to(Height(now_ms / BLOCK_MS));
        let mut words = Vec::new();
        if self.again.is_some_and(|again| again <= self.steps) {
            self.boot(rng)?;
            words.push("the shop is started again".to_owned());
        }
        if self.steps.is_multiple_of(TEND) {
            self.yard.tend()?;
        }
        self.ask(rng);
        match self.shop.run(now_ms) {
            Some(News::Serves) => {
                self.recovered += u64::from(std::mem::take(&mut self.loses));
                words.push("the shop serves".to_owned());
                self.look()?;
            }
            Some(News::PowerWent) => {
                self.kill(Crash::Power, rng)?;
                words.push("the power of the shop went".to_owned());
            }
            Some(News::Refused(why)) => {
                words.push(format!("the shop does not start: {why}"));
                self.refused(&why)?;
                self.kill(Crash::Program, rng)?;
            }
            None => {}
        }
        self.hear(&mut words)?;
        self.keep_in_mind();
        if self.steps.is_multiple_of(LOOK) {
            self.look()?;
            self.go_on(&mut words)?;
        }
        Ok(words)
    }

    /// A shop may not start for its disk, or for depots that it needs to make its index anew; not for anything
    /// else, and not once all is healed.
    fn refused(&mut self, why: &str) -> Result<(), Broken> {
        let is_excused = self.shop.disk().failed() || self.loses;
        if !is_excused || self.course != Course::Trouble {
            return Err(Broken(format!("the shop does not start: {why}")));
        }
        self.again = Some(self.steps + AGAIN);
        Ok(())
    }

    /// Customers ask.
    fn ask(&mut self, rng: &mut StdRng) {
        let Some(engine) = self.shop.engine().cloned() else { return };
        for (customer, answer) in self.customers.iter_mut().zip(&mut self.answers) {
            let waits = self.course == Course::Mending;
            if answer.is_some() || waits || !rng.random_bool(ASKS) {
                continue;
            }
            let Some(op) = customer.next(rng) else { continue };
            let counter = Counter {
                face: engine.face(),
                index: Arc::clone(engine.index()),
                yard: Arc::clone(&self.yard),
                needed: shop::ACKNOWLEDGED,
                bucket: customer.bucket.clone(),
            };
            *answer = self.shop.spawn(counter.ask(op));
        }
    }

    /// Customers hear.
    fn hear(&mut self, words: &mut Vec<String>) -> Result<(), Broken> {
        for (customer, answer) in self.customers.iter_mut().zip(&mut self.answers) {
            let Some(outcome) = answer.as_mut().and_then(|answer| answer.now_or_never()) else {
                continue;
            };
            *answer = None;
            let outcome = outcome.unwrap_or_else(|error| Outcome::Wrong(error.to_string()));
            words.push(customer.hear(outcome, self.course == Course::Looking).map_err(Broken)?);
        }
        Ok(())
    }

    /// What the depots have now comes back, even if the shop's disk is lost.
    fn keep_in_mind(&mut self) {
        let Some(engine) = self.shop.engine().cloned() else { return };
        if matches!(self.shop.at_once(engine.behind()), Some(Ok(0))) {
            self.customers.iter_mut().for_each(Customer::is_safe);
        }
    }

    /// Looks at the whole index and at all that depots hold. The segments; nothing if the shop does not serve.
    fn look(&self) -> Result<Option<Vec<Truth>>, Broken> {
        let Some(engine) = self.shop.engine() else { return Ok(None) };
        let Ok(reader) = engine.index().reader() else { return Ok(None) };
        let truth = reader.check().and_then(|()| truth::of_all(&reader, &self.yard));
        let truth = truth.map_err(|error| Broken(format!("the index: {error}")))?;
        match truth.iter().find_map(Truth::blame) {
            Some(blame) => Err(Broken(blame)),
            None => Ok(Some(truth)),
        }
    }

    /// All that can be undone is undone.
    ///
    /// # Errors
    /// The shop cannot be made.
    pub fn heal(&mut self, rng: &mut StdRng) -> Result<(), Broken> {
        self.yard.heal(rng)?;
        self.shop.disk().set(Trouble::None);
        self.shop.disk().cut_after(None);
        self.course = Course::Mending;
        self.boot(rng)
    }

    /// From mending to looking, and from that to the end.
    fn go_on(&mut self, words: &mut Vec<String>) -> Result<(), Broken> {
        let waits = self.customers.iter().any(Customer::waits);
        match self.course {
            Course::Mending if !waits && self.is_mended()? => {
                words.push("every segment is at full strength".to_owned());
                self.customers.iter_mut().for_each(Customer::look_at_all);
                self.course = Course::Looking;
            }
            Course::Looking if self.customers.iter().all(Customer::is_content) => {
                let held = self.yard.inventory();
                let held: Vec<usize> = held.iter().map(BTreeSet::len).collect();
                words.push(format!("depots hold {held:?} shards"));
                self.course = Course::Over;
            }
            _ => {}
        }
        Ok(())
    }

    fn is_mended(&self) -> Result<bool, Broken> {
        let Some(truth) = self.look()? else { return Ok(false) };
        let mut left = truth.iter().filter(|of| !of.is_lost());
        Ok(left.all(|of| of.settled == of.total))
    }

    /// Whether all was looked at after everything was healed.
    pub fn is_over(&self) -> bool {
        self.course == Course::Over
    }

    /// What it lacks.
    pub fn lacks(&self) -> String {
        let truth = self.look().ok().flatten().unwrap_or_default();
        let weak = truth.iter().filter(|of| of.settled < of.total && !of.is_lost()).count();
        let waits = self.customers.iter().filter(|customer| customer.waits()).count();
        format!("storage is {:?}, {weak} segments are weak, {waits} customers wait", self.course)
    }

    /// What came of it.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { recovered: self.recovered, ..Counts::default() };
        for customer in &self.customers {
            let (answered, failed) = customer.counts();
            counts.answered += answered;
            counts.failed += failed;
            counts.lost += u64::try_from(customer.lost().len()).unwrap_or(u64::MAX);
        }
        counts
    }
}
