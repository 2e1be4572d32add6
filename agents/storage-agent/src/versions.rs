//! The versions of rails' datasets: committed, frozen by the ledger, folded, and left behind.
//!
//! ```text
//! folded version (its shards are `members`)  <-  change  <-  change  <-  newest
//!                                              \-  change            (a base may have two successors)
//! ```
//! A version stays until a later one is frozen in the inputs of every open epoch. Then the frozen one
//! is folded: its shards become the members, changes up to it go, changes that began from a version
//! that goes are rewritten to begin from it, and shards that are in no version left, and do not wait
//! for a commit, are deleted. Version 0, without shards, is always there.
//!
//! A shard waits for a commit until one names it. What a service gave up before it committed (an upload
//! that failed, an object overwritten in the same epoch) none ever names, and nobody pays for it: it
//! goes when its customer has committed in [`IGNORED_EPOCHS`] epochs, and in one more, without it. A
//! customer who commits nothing may be away, and want it: then it stays for [`WAITING_EPOCHS`].

use crate::{
    index::{
        self, Age, CHANGES, Change, IndexError, MEMBERS, NOTES, PENDING, RAILS, RailRecord, SHARDS,
        TABS, USAGE, Version,
    },
    store::{Store, StoreError, count, named},
};
use protocol::{Digest, Epoch, RailId, cbor, inputs};
use redb::{ReadableTable, WriteTransaction};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
};
use storage_kind::{
    dataset::{Dataset, DatasetError, Shard},
    wire::{Commit, Refusal, Stat},
};

/// How many versions of a rail may wait to be frozen; more commits are refused as busy.
pub const CHANGES_KEPT_MAX: usize = 1_024;
/// In how many epochs a customer may commit without a shard that waits for a commit.
pub const IGNORED_EPOCHS: u64 = 2;
/// For how many epochs a shard waits for a commit if its customer commits nothing.
pub const WAITING_EPOCHS: u64 = 64;
/// How many shards the datasets in memory have together, unless one alone has more: 130 bytes each.
const CACHED_SHARDS_MAX: usize = 1 << 19;
/// How many epochs the shards of a rail are kept after the ledger no longer lists it.
pub const RETENTION_EPOCHS: u64 = 8;

/// Datasets in memory, by rail and version.
#[derive(Debug, Default)]
pub(crate) struct Datasets {
    by_version: BTreeMap<(RailId, u64), (u64, Arc<Dataset>)>,
    uses: u64,
}

impl Datasets {
    fn get(&mut self, rail: RailId, version: u64) -> Option<Arc<Dataset>> {
        self.uses += 1;
        let (used, dataset) = self.by_version.get_mut(&(rail, version))?;
        *used = self.uses;
        Some(Arc::clone(dataset))
    }

    fn keep(&mut self, rail: RailId, version: u64, dataset: &Arc<Dataset>) {
        self.uses += 1;
        self.by_version.insert((rail, version), (self.uses, Arc::clone(dataset)));
        while self.by_version.len() > 1 && self.shards() > CACHED_SHARDS_MAX {
            let oldest = self.by_version.iter().min_by_key(|(_, (used, _))| *used);
            let Some(key) = oldest.map(|(key, _)| *key) else { break };
            self.by_version.remove(&key);
        }
    }

    /// How many shards all have; one without any counts too.
    fn shards(&self) -> usize {
        self.by_version.values().map(|(_, dataset)| dataset.shards().len() + 64).sum()
    }

    fn forget(&mut self, rail: RailId, below: u64) {
        self.by_version.retain(|(of, version), _| *of != rail || *version >= below);
    }
}

impl Store {
    /// A version of a rail's dataset, if it is kept.
    ///
    /// # Errors
    /// When the index fails, or does not give what was signed.
    pub fn dataset(&self, rail: RailId, version: u64) -> Result<Option<Arc<Dataset>>, StoreError> {
        if version == 0 {
            return Ok(Some(Arc::new(empty())));
        }
        let known = self.datasets.lock().unwrap_or_else(PoisonError::into_inner).get(rail, version);
        if known.is_some() {
            return Ok(known);
        }
        let Some(record) = index::rail(&self.index, rail)? else { return Ok(None) };
        let changes = self.changes(rail)?;
        let Some(dataset) = self.build(&record, &changes, version)? else { return Ok(None) };
        let dataset = Arc::new(dataset);
        self.datasets.lock().unwrap_or_else(PoisonError::into_inner).keep(rail, version, &dataset);
        Ok(Some(dataset))
    }

    /// Builds a version from the nearest one whose shards are at hand.
    fn build(
        &self,
        record: &RailRecord,
        changes: &BTreeMap<u64, Change>,
        version: u64,
    ) -> Result<Option<Dataset>, IndexError> {
        let rail = record.terms.id;
        let mut chain = Vec::new();
        let mut at = version;
        let mut dataset = loop {
            if at == 0 {
                break empty();
            }
            if at == record.folded.version {
                break self.members(rail)?;
            }
            let known = self.datasets.lock().unwrap_or_else(PoisonError::into_inner).get(rail, at);
            if let Some(known) = known {
                break (*known).clone();
            }
            let Some(change) = changes.get(&at) else { return Ok(None) };
            chain.push(change);
            at = change.made.base;
        };
        let damaged = |what: &dyn std::fmt::Display| {
            IndexError::Damaged(format!("rail {rail} version {version}: {what}"))
        };
        for change in chain.into_iter().rev() {
            dataset =
                dataset.apply(&change.added, &change.removed).map_err(|error| damaged(&error))?;
        }
        let made = changes.get(&version).map_or(&record.folded, |change| &change.made);
        if dataset.root() != made.root || dataset.bytes() != made.bytes {
            return Err(damaged(&"another root than was signed"));
        }
        Ok(Some(dataset))
    }

    fn members(&self, rail: RailId) -> Result<Dataset, IndexError> {
        let table = self.index.begin_read()?.open_table(MEMBERS)?;
        let mut shards = Vec::new();
        for entry in table.range(index::range(rail))? {
            let (key, bytes) = entry?;
            shards.push(Shard { hash: named(key.value()).1, bytes: bytes.value() });
        }
        Dataset::build(shards).map_err(|error| IndexError::Damaged(error.to_string()))
    }

    fn changes(&self, rail: RailId) -> Result<BTreeMap<u64, Change>, IndexError> {
        let table = self.index.begin_read()?.open_table(CHANGES)?;
        let mut changes = BTreeMap::new();
        for entry in table.range((rail.0, 0)..=(rail.0, u64::MAX))? {
            let change: Change = cbor::from_slice(entry?.1.value())?;
            changes.insert(change.made.version, change);
        }
        Ok(changes)
    }

    /// The newest version of a rail's dataset.
    ///
    /// # Errors
    /// When the index fails.
    pub fn stat(&self, rail: RailId) -> Result<Stat, StoreError> {
        let newest = match index::rail(&self.index, rail)? {
            None => Version::empty(),
            Some(record) if record.newest == record.folded.version => record.folded,
            Some(record) => {
                self.change(rail, record.newest)?.map_or(record.folded, |change| change.made)
            }
        };
        let Version { version, root, bytes, shards, .. } = newest;
        Ok(Stat { version, root, bytes, shards })
    }

    fn change(&self, rail: RailId, version: u64) -> Result<Option<Change>, IndexError> {
        let table = self.index.begin_read()?.open_table(CHANGES)?;
        let found = table.get((rail.0, version))?;
        found.map(|change| Ok(cbor::from_slice(change.value())?)).transpose()
    }

    /// Changes a rail's dataset; durable when this returns. The same commit again gives the same
    /// answer. The rail's rate pays for `paid` bytes.
    ///
    /// # Errors
    /// The refusals of [`storage_kind::wire::Request::Commit`].
    pub fn commit(&self, commit: &Commit, paid: u64) -> Result<inputs::Dataset, Refusal> {
        let mut journal = self.write_lock();
        self.take_over(&mut journal)?;
        let rail = commit.rail;
        let record = index::rail(&self.index, rail)?.ok_or(Refusal::UnknownRail)?;
        let request = Digest::of(&cbor::to_vec(commit));
        if commit.version <= record.newest {
            let made = match self.change(rail, commit.version)? {
                Some(change) => change.made,
                None => record.folded,
            };
            let same = made.version == commit.version && made.request == request;
            return if same {
                Ok(frozen(rail, &made))
            } else {
                Err(Refusal::StaleBase(record.newest))
            };
        }
        let base = self.dataset(rail, commit.base)?.ok_or(Refusal::StaleBase(record.newest))?;
        if self.changes(rail)?.len() >= CHANGES_KEPT_MAX {
            return Err(Refusal::Busy);
        }
        for shard in &commit.added {
            if self.size(rail, shard.hash)? != Some(shard.bytes) {
                return Err(Refusal::NotHeld(shard.hash));
            }
        }
        let dataset = base.apply(&commit.added, &commit.removed).map_err(|error| match error {
            DatasetError::Repeated(hash) | DatasetError::Missing(hash) => Refusal::BadCommit(hash),
            DatasetError::Empty(_) | DatasetError::Overflow => Refusal::Malformed,
        })?;
        // What waits was taken within the rate. What was in an older version must not come back beyond it.
        let most = base.bytes().saturating_add(self.waiting(rail, &commit.added)?).max(paid);
        if dataset.bytes() > most {
            return Err(Refusal::RateTooLow(dataset.bytes()));
        }
        let made = Version {
            version: commit.version,
            base: commit.base,
            root: dataset.root(),
            bytes: dataset.bytes(),
            shards: u64::try_from(dataset.shards().len()).unwrap_or(u64::MAX),
            request,
        };
        let change = Change {
            made: made.clone(),
            added: commit.added.clone(),
            removed: commit.removed.clone(),
        };
        self.record(&RailRecord { newest: commit.version, ..record }, &change)?;
        let dataset = Arc::new(dataset);
        let mut datasets = self.datasets.lock().unwrap_or_else(PoisonError::into_inner);
        datasets.keep(rail, commit.version, &dataset);
        self.set_committed(rail, made.bytes);
        Ok(frozen(rail, &made))
    }

    /// Bytes of those of `shards` that wait for a commit.
    fn waiting(&self, rail: RailId, shards: &[Shard]) -> Result<u64, IndexError> {
        let pending = self.index.begin_read()?.open_table(PENDING)?;
        let mut bytes = 0u64;
        for shard in shards {
            if pending.get((rail.0, &shard.hash.0))?.is_some() {
                bytes = bytes.saturating_add(shard.bytes);
            }
        }
        Ok(bytes)
    }

    fn record(&self, record: &RailRecord, change: &Change) -> Result<(), IndexError> {
        let rail = record.terms.id;
        let write = self.index.begin_write()?;
        {
            let key = (rail.0, change.made.version);
            write.open_table(CHANGES)?.insert(key, cbor::to_vec(change).as_slice())?;
            write.open_table(RAILS)?.insert(rail.0, cbor::to_vec(record).as_slice())?;
            let shards = write.open_table(SHARDS)?;
            let mut pending = write.open_table(PENDING)?;
            let mut committed = 0;
            let added = change.added.iter().map(|shard| &shard.hash);
            for hash in added.chain(&change.removed) {
                if pending.remove((rail.0, &hash.0))?.is_some() {
                    committed += shards.get((rail.0, &hash.0))?.map_or(0, |found| found.value().0);
                }
            }
            count(&mut write.open_table(USAGE)?, rail, |(all, uncommitted, shards)| {
                (all, uncommitted.saturating_sub(committed), shards)
            })?;
        }
        Ok(write.commit()?)
    }

    /// Follows the ledger at the close of `epoch`: `frozen` has, for each rail that the inputs of
    /// later open epochs list, the oldest version that they freeze (0 for none). Folds these versions
    /// and deletes what is in none left; rails not listed for [`RETENTION_EPOCHS`] are deleted whole.
    ///
    /// # Errors
    /// When the index or the disk fails; closing again goes on.
    pub fn close(&self, epoch: Epoch, frozen: &BTreeMap<RailId, u64>) -> Result<(), StoreError> {
        for record in self.records()? {
            let mut journal = self.write_lock();
            self.take_over(&mut journal)?;
            let rail = record.terms.id;
            // Read again: it may have changed while others had their turn.
            let Some(record) = index::rail(&self.index, rail)? else { continue };
            self.expire(&record)?;
            match (frozen.get(&rail), record.gone) {
                (Some(version), _) => self.fold(record, *version)?,
                // Opened later than any inputs at hand can tell.
                (None, _) if record.terms.opened >= epoch => {}
                (None, None) => self.put_rails(&[RailRecord { gone: Some(epoch), ..record }])?,
                (None, Some(since)) if since.0.saturating_add(RETENTION_EPOCHS) < epoch.0 => {
                    self.remove_rail(rail)?;
                }
                (None, Some(_)) => {}
            }
        }
        Ok(())
    }

    /// Lets a rail's shards that wait for a commit age, and deletes those that wait in vain.
    fn expire(&self, record: &RailRecord) -> Result<(), StoreError> {
        let rail = record.terms.id;
        let ignored = u64::from(self.close_at(rail, record.newest));
        let waiting = self.ages(rail)?;
        if waiting.is_empty() {
            return Ok(());
        }
        let aged = waiting.into_iter().map(|(hash, age)| (hash, (age.0 + 1, age.1 + ignored)));
        let unwanted = self.set_ages(rail, aged)?;
        self.discard(&unwanted)
    }

    fn ages(&self, rail: RailId) -> Result<Vec<(Digest, Age)>, IndexError> {
        let pending = self.index.begin_read()?.open_table(PENDING)?;
        let entries = pending.range(index::range(rail))?;
        let ages = entries.map(|entry| entry.map(|(key, age)| (named(key.value()).1, age.value())));
        Ok(ages.collect::<Result<_, _>>()?)
    }

    /// Keeps the ages of shards that wait. Those that are too old wait no more, and are condemned if
    /// no version has them.
    fn set_ages(
        &self,
        rail: RailId,
        ages: impl Iterator<Item = (Digest, Age)>,
    ) -> Result<Vec<(RailId, Digest)>, IndexError> {
        let changes = self.changes(rail)?;
        let added = changes.values().flat_map(|change| &change.added).map(|shard| shard.hash);
        let added: BTreeSet<Digest> = added.collect();
        let write = self.index.begin_write()?;
        let (mut unwanted, mut bytes) = (Vec::new(), 0);
        {
            let shards = write.open_table(SHARDS)?;
            let members = write.open_table(MEMBERS)?;
            let mut pending = write.open_table(PENDING)?;
            for (hash, age) in ages {
                let key = (rail.0, &hash.0);
                if age.0 <= WAITING_EPOCHS && age.1 <= IGNORED_EPOCHS {
                    pending.insert(key, age)?;
                    continue;
                }
                pending.remove(key)?;
                bytes += shards.get(key)?.map_or(0, |found| found.value().0);
                if members.get(key)?.is_none() && !added.contains(&hash) {
                    unwanted.push(hash);
                }
            }
            count(&mut write.open_table(USAGE)?, rail, |(all, uncommitted, shards)| {
                (all, uncommitted.saturating_sub(bytes), shards)
            })?;
        }
        let condemned = Self::condemn(&write, rail, unwanted)?;
        write.commit()?;
        Ok(condemned)
    }

    fn fold(&self, record: RailRecord, version: u64) -> Result<(), StoreError> {
        let rail = record.terms.id;
        let mut changes = self.changes(rail)?;
        if version <= record.folded.version || !changes.contains_key(&version) {
            return Ok(());
        }
        let damaged = || IndexError::Damaged(format!("rail {rail} lacks version {version}"));
        let old = self.build(&record, &changes, record.folded.version)?.ok_or_else(damaged)?;
        let new = self.build(&record, &changes, version)?.ok_or_else(damaged)?;
        let rebased = self.rebase(&record, &changes, (version, &new))?;
        let later = changes.split_off(&version.saturating_add(1));
        let made = changes.get(&version).ok_or_else(damaged)?.made.clone();

        let mut leaving: BTreeSet<Digest> = old.shards().iter().map(|shard| shard.hash).collect();
        leaving.extend(changes.values().flat_map(|change| &change.added).map(|shard| shard.hash));
        let kept = later.values().chain(&rebased).flat_map(|change| &change.added);
        for shard in new.shards().iter().chain(kept) {
            leaving.remove(&shard.hash);
        }

        let write = self.index.begin_write()?;
        let record = RailRecord { folded: made, ..record };
        replace(&write, &record, (&old, &new), &rebased)?;
        let leaving = without_pending(&write, rail, leaving)?;
        let condemned = Self::condemn(&write, rail, leaving)?;
        write.commit().map_err(IndexError::from)?;
        self.datasets.lock().unwrap_or_else(PoisonError::into_inner).forget(rail, version);
        self.discard(&condemned)
    }

    /// The changes after `folded` that begin from a version which goes, rewritten to begin from it.
    fn rebase(
        &self,
        record: &RailRecord,
        changes: &BTreeMap<u64, Change>,
        (folded, members): (u64, &Dataset),
    ) -> Result<Vec<Change>, IndexError> {
        let mut rebased = Vec::new();
        for change in changes.range(folded.saturating_add(1)..).map(|(_, change)| change) {
            let base = change.made.base;
            if base == 0 || base >= folded {
                continue;
            }
            let Some(dataset) = self.build(record, changes, change.made.version)? else { continue };
            rebased.push(Change {
                made: Version { base: folded, ..change.made.clone() },
                added: missing(&dataset, members),
                removed: missing(members, &dataset).into_iter().map(|shard| shard.hash).collect(),
            });
        }
        Ok(rebased)
    }

    fn remove_rail(&self, rail: RailId) -> Result<(), StoreError> {
        let write = self.index.begin_write()?;
        let hashes = erase(&write, rail)?;
        let condemned = Self::condemn(&write, rail, hashes)?;
        write.commit().map_err(IndexError::from)?;
        self.datasets.lock().unwrap_or_else(PoisonError::into_inner).forget(rail, u64::MAX);
        self.forget_rail(rail);
        tracing::info!(%rail, shards = condemned.len(), "the shards of an ended rail are deleted");
        self.discard(&condemned)
    }
}

/// Writes a folded rail: members, changes and record.
fn replace(
    write: &WriteTransaction,
    record: &RailRecord,
    (old, new): (&Dataset, &Dataset),
    rebased: &[Change],
) -> Result<(), IndexError> {
    let rail = record.terms.id.0;
    let mut members = write.open_table(MEMBERS)?;
    for shard in missing(old, new) {
        members.remove((rail, &shard.hash.0))?;
    }
    for shard in missing(new, old) {
        members.insert((rail, &shard.hash.0), shard.bytes)?;
    }
    let mut changes = write.open_table(CHANGES)?;
    changes.retain_in((rail, 0)..=(rail, record.folded.version), |_, _| false)?;
    for change in rebased {
        changes.insert((rail, change.made.version), cbor::to_vec(change).as_slice())?;
    }
    write.open_table(RAILS)?.insert(rail, cbor::to_vec(record).as_slice())?;
    Ok(())
}

/// Removes all of a rail but the records of its shards, whose hashes are returned.
fn erase(write: &WriteTransaction, rail: RailId) -> Result<Vec<Digest>, IndexError> {
    write.open_table(MEMBERS)?.retain_in(index::range(rail), |_, _| false)?;
    write.open_table(CHANGES)?.retain_in((rail.0, 0)..=(rail.0, u64::MAX), |_, _| false)?;
    write.open_table(RAILS)?.remove(rail.0)?;
    write.open_table(TABS)?.remove(rail.0)?;
    write.open_table(NOTES)?.remove(rail.0)?;
    let shards = write.open_table(SHARDS)?;
    let keys = shards.range(index::range(rail))?;
    Ok(keys.map(|entry| entry.map(|(key, _)| named(key.value()).1)).collect::<Result<_, _>>()?)
}

fn without_pending(
    write: &WriteTransaction,
    rail: RailId,
    hashes: BTreeSet<Digest>,
) -> Result<Vec<Digest>, IndexError> {
    let pending = write.open_table(PENDING)?;
    let mut left = Vec::new();
    for hash in hashes {
        if pending.get((rail.0, &hash.0))?.is_none() {
            left.push(hash);
        }
    }
    Ok(left)
}

/// The shards of `of` that are not in `from`, ascending.
fn missing(of: &Dataset, from: &Dataset) -> Vec<Shard> {
    of.shards().iter().copied().filter(|shard| from.find(shard.hash).is_none()).collect()
}

fn empty() -> Dataset {
    Dataset::build([]).expect("a dataset without shards repeats none and does not overflow")
}

const fn frozen(rail: RailId, made: &Version) -> inputs::Dataset {
    inputs::Dataset { rail, version: made.version, root: made.root, bytes: made.bytes }
}
