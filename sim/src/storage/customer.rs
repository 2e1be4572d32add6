//! A customer: asks one thing after the other of its own bucket, and remembers what it was told.
//!
//! Of each key it knows what may be there. After an answer that is one thing; after a request that failed or
//! was never answered it is what was there before or what was asked for. When the shop loses its disk, all
//! may be there again that was so since the depots had the whole index last.

use super::op::{Contents, Op, Outcome};
use rand::{RngExt as _, rngs::StdRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Keys of a customer.
const KEYS: u32 = 10;

/// What may be there under a key: contents, or nothing.
type May = BTreeSet<Option<Contents>>;

#[derive(Clone, Debug)]
struct Known {
    now: May,
    /// What may have been there since the depots had the whole index last.
    since: May,
    /// All that was ever asked to be there.
    ever: May,
}

impl Default for Known {
    fn default() -> Self {
        let nothing = May::from([None]);
        Self { now: nothing.clone(), since: nothing.clone(), ever: nothing }
    }
}

impl Known {
    /// It is this now.
    fn becomes(&mut self, now: May) {
        self.since.extend(now.iter().copied());
        self.ever.extend(now.iter().copied());
        self.now = now;
    }

    /// It is this now, or what it was.
    fn may_become(&mut self, other: May) {
        let now = self.now.union(&other).copied().collect();
        self.becomes(now);
    }
}

/// A customer.
#[derive(Debug)]
pub struct Customer {
    /// Its bucket.
    pub bucket: String,
    has_bucket: bool,
    /// Whether the depots know of the bucket.
    is_bucket_safe: bool,
    known: BTreeMap<String, Known>,
    /// What is being asked.
    asked: Option<Op>,
    /// What it looks at in the end.
    last: Option<VecDeque<Op>>,
    /// Requests answered with success, and those that failed.
    counts: (u64, u64),
    /// What was lost and may be.
    lost: BTreeSet<String>,
}

impl Customer {
    /// A customer that asked for nothing yet.
    pub fn new(number: usize) -> Self {
        Self {
            bucket: format!("bucket-{number}"),
            has_bucket: false,
            is_bucket_safe: false,
            known: BTreeMap::new(),
            asked: None,
            last: None,
            counts: (0, 0),
            lost: BTreeSet::new(),
        }
    }

    /// Requests answered with success, and those that failed.
    pub const fn counts(&self) -> (u64, u64) {
        self.counts
    }

    /// Keys that cannot be read any more, as too many depots lost them.
    pub const fn lost(&self) -> &BTreeSet<String> {
        &self.lost
    }

    /// Whether it waits for an answer.
    pub const fn waits(&self) -> bool {
        self.asked.is_some()
    }

    /// From now on it only looks at all that it has, once.
    pub fn look_at_all(&mut self) {
        let reads = self.known.keys().map(|key| Op::Get(key.clone(), None));
        self.last = Some(reads.chain([Op::List]).collect());
    }

    /// Whether it has looked at all.
    pub fn is_content(&self) -> bool {
        self.asked.is_none() && self.last.as_ref().is_some_and(VecDeque::is_empty)
    }

    /// What it asks next.
    pub fn next(&mut self, rng: &mut StdRng) -> Option<Op> {
        if self.asked.is_some() {
            return None;
        }
        self.asked = match &mut self.last {
            _ if !self.has_bucket => Some(Op::Bucket),
            Some(last) => last.pop_front(),
            None => Some(draw(rng)),
        };
        self.asked.clone()
    }

    /// The depots have all that it was told.
    pub fn is_safe(&mut self) {
        self.is_bucket_safe = self.has_bucket;
        self.known.values_mut().for_each(|known| known.since = known.now.clone());
    }

    /// The shop ended: what was being asked is never answered.
    pub fn unanswered(&mut self) {
        if let Some(op) = self.asked.take() {
            self.in_doubt(&op);
        }
    }

    /// The shop lost its disk.
    pub fn shop_lost_all(&mut self) {
        self.has_bucket = self.is_bucket_safe;
        self.known.values_mut().for_each(|known| known.now = known.since.clone());
    }

    fn of(&mut self, key: &str) -> &mut Known {
        self.known.entry(key.to_owned()).or_default()
    }

    /// What a copy of a key may be.
    fn source(&self, key: &str) -> May {
        let now = self.known.get(key).map(|known| known.now.clone()).unwrap_or_default();
        now.into_iter().filter(Option::is_some).collect()
    }

    fn in_doubt(&mut self, op: &Op) {
        match op {
            // What was cut is never there.
            Op::Bucket | Op::Get(..) | Op::List | Op::Put(_, _, true) => {}
            Op::Put(key, contents, false) | Op::Parts(key, contents, _) => {
                self.of(key).may_become([Some(*contents)].into());
            }
            Op::Copy(from, to) => {
                let source = self.source(from);
                self.of(to).may_become(source);
            }
            Op::Delete(key) => self.of(key).may_become([None].into()),
        }
    }

    /// Hears an answer. `calm` says that nothing may fail any more, but what is lost for good.
    ///
    /// # Errors
    /// The answer is wrong.
    pub fn hear(&mut self, outcome: Outcome, calm: bool) -> Result<String, String> {
        let Some(op) = self.asked.take() else { return Err("an answer to nothing".into()) };
        let bucket = self.bucket.clone();
        let words = format!("{bucket}: {}", told(&op, &outcome));
        let wrong = |what: &str| Err(format!("{words}: {what}"));
        let failed = matches!(outcome, Outcome::Failed(_));
        self.counts.0 += u64::from(!failed);
        self.counts.1 += u64::from(failed);
        match (&op, outcome) {
            (_, Outcome::Wrong(what)) => return Err(what),
            (
                Op::Get(key, range),
                outcome @ (Outcome::Bytes(_) | Outcome::Nothing | Outcome::NoRange),
            ) => {
                self.read(key, *range, &outcome).map_err(|what| format!("{words}: {what}"))?;
            }
            (Op::Bucket, Outcome::Done) => self.has_bucket = true,
            (Op::Put(_, _, true), Outcome::Done) => return wrong("what was cut is acknowledged"),
            (Op::Put(key, contents, _) | Op::Parts(key, contents, _), Outcome::Done) => {
                self.of(key).becomes([Some(*contents)].into());
            }
            (Op::Delete(key), Outcome::Done) => self.of(key).becomes([None].into()),
            (Op::Copy(from, to), Outcome::Done) => {
                let source = self.source(from);
                if source.is_empty() {
                    return wrong("what is not there was copied");
                }
                self.of(to).becomes(source);
            }
            (Op::Copy(from, _), Outcome::Nothing) => {
                if !self.may_be(from, |now| now.is_none()) {
                    return wrong("what was acknowledged is not there to be copied");
                }
            }
            (Op::List, Outcome::Keys(keys)) => {
                self.listed(&keys).map_err(|what| format!("{words}: {what}"))?;
            }
            (op, Outcome::Failed(_)) => {
                self.in_doubt(op);
                if calm {
                    match op {
                        // Whether it had to be readable was looked at when it failed.
                        Op::Get(key, _) => drop(self.lost.insert(key.clone())),
                        _ => return wrong("nothing is in the way of it any more"),
                    }
                }
            }
            (op, Outcome::Nothing) => {
                if self.is_bucket_safe {
                    return wrong("the bucket is gone");
                }
                self.in_doubt(op);
                self.has_bucket = false;
            }
            _ => return wrong("that is no answer to it"),
        }
        Ok(words)
    }

    /// Looks at what was read.
    fn read(
        &self,
        key: &str,
        range: Option<(u64, u64)>,
        outcome: &Outcome,
    ) -> Result<(), &'static str> {
        let (is_right, what) = match outcome {
            Outcome::Bytes(bytes) => {
                let same = |one: &Contents| is_of(bytes, *one, range);
                let ever = self.known.get(key).map(|known| &known.ever);
                let once = ever.is_some_and(|ever| ever.iter().flatten().any(same));
                let what = if once { "that was there once" } else { "that was never there" };
                (self.may_be(key, |now| now.as_ref().is_some_and(same)), what)
            }
            Outcome::NoRange => {
                let first = range.map_or(0, |(first, _)| first);
                let short = |now: Contents| u64::try_from(now.bytes).is_ok_and(|len| len <= first);
                (self.may_be(key, |now| now.is_some_and(short)), "the range is there")
            }
            _ => (self.may_be(key, |now| now.is_none()), "what was acknowledged is not there"),
        };
        if is_right { Ok(()) } else { Err(what) }
    }

    fn may_be(&self, key: &str, is: impl Fn(Option<Contents>) -> bool) -> bool {
        let Some(known) = self.known.get(key) else { return is(None) };
        known.now.iter().any(|now| is(*now))
    }

    fn listed(&self, keys: &BTreeMap<String, u64>) -> Result<(), String> {
        for (key, bytes) in keys {
            let long = |now: Contents| u64::try_from(now.bytes).is_ok_and(|len| len == *bytes);
            if !self.may_be(key, |now| now.is_some_and(long)) {
                return Err(format!("it names {key} with {bytes} bytes, which cannot be there"));
            }
        }
        for key in self.known.keys().filter(|key| !keys.contains_key(*key)) {
            if !self.may_be(key, |now| now.is_none()) {
                return Err(format!("it does not name {key}, which was acknowledged"));
            }
        }
        Ok(())
    }
}

/// Whether bytes are those of contents, or of a range of them.
fn is_of(bytes: &[u8], contents: Contents, range: Option<(u64, u64)>) -> bool {
    let whole = contents.make();
    let Some((first, last)) = range else { return whole == bytes };
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    whole
        .get(at(first)..at(last.saturating_add(1)).min(whole.len()))
        .is_some_and(|part| part == bytes)
}

fn told(op: &Op, outcome: &Outcome) -> String {
    let asked = match op {
        Op::Bucket => "makes the bucket".to_owned(),
        Op::Put(key, contents, is_cut) => {
            let cut = if *is_cut { ", cut" } else { "" };
            format!("puts {key} of {} bytes{cut}", contents.bytes)
        }
        Op::Parts(key, contents, each) => {
            format!("puts {key} of {} bytes in parts of {each}", contents.bytes)
        }
        Op::Copy(from, to) => format!("copies {from} to {to}"),
        Op::Get(key, None) => format!("reads {key}"),
        Op::Get(key, Some((first, last))) => format!("reads {key} from {first} to {last}"),
        Op::Delete(key) => format!("deletes {key}"),
        Op::List => "lists".to_owned(),
    };
    let came = match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Bytes(bytes) => {
            format!("{} bytes, {}", bytes.len(), &blake3::hash(bytes).to_hex()[..8])
        }
        Outcome::Keys(keys) => format!("{} keys", keys.len()),
        Outcome::Nothing => "nothing there".to_owned(),
        Outcome::NoRange => "no such range".to_owned(),
        Outcome::Failed(error) | Outcome::Wrong(error) => error.clone(),
    };
    format!("{asked}: {came}")
}

fn contents(rng: &mut StdRng) -> Contents {
    let bytes = match rng.random_range(0..100u32) {
        0..8 => 0,
        8..55 => rng.random_range(1..8_000),
        55..85 => rng.random_range(8_000..40_000),
        _ => rng.random_range(40_000..160_000),
    };
    Contents { seed: rng.random(), bytes }
}

fn draw(rng: &mut StdRng) -> Op {
    let key = |rng: &mut StdRng| format!("key/{}", rng.random_range(0..KEYS));
    match rng.random_range(0..100u32) {
        0..35 => Op::Put(key(rng), contents(rng), rng.random_bool(0.05)),
        35..43 => Op::Parts(key(rng), contents(rng), rng.random_range(5_000..30_000)),
        43..51 => Op::Copy(key(rng), key(rng)),
        51..72 => Op::Get(key(rng), None),
        72..80 => {
            let first = rng.random_range(0..40_000);
            Op::Get(key(rng), Some((first, first + rng.random_range(0..30_000))))
        }
        80..92 => Op::Delete(key(rng)),
        _ => Op::List,
    }
}
