//! Reading what is stored: deliveries, and the proofs of duties.
//!
//! A proof is made from the frozen version of the dataset and a fresh read of the disk, and checked
//! before it is given away: a signed proof that does not hold costs stake, silence does not.

use crate::{
    fresh::SMALL_MAX,
    shard::{self, file_length, to_usize},
    store::{Store, StoreError},
};
use agent::ProveError;
use protocol::{RailId, disk::DiskError, kind::Duty};
use storage_kind::{
    bao::EncodeError,
    body::{LOSS_MAX, Loss, Proof},
    dataset::{Dataset, Shard},
    duty::Task,
    proof,
    wire::{Form, Get, Refusal},
};

impl Store {
    /// Reads what `get` asks for, whose shard has `size` bytes.
    ///
    /// # Errors
    /// [`Refusal::OutOfRange`], or that the shard cannot be read.
    pub fn read(&self, get: &Get, size: u64) -> Result<Vec<u8>, Refusal> {
        let in_range = get.offset.checked_add(get.length).is_some_and(|end| end <= size);
        if !in_range || get.length == 0 {
            return Err(Refusal::OutOfRange);
        }
        let shard = Shard { hash: get.shard, bytes: size };
        let bytes = match get.form {
            Form::Plain => self.part(get.rail, shard, (get.offset, to_usize(get.length))),
            Form::Slice => self
                .slice(get.rail, shard, (get.offset, get.length))
                .map_err(|error| unreadable(get.rail, shard, error)),
        };
        bytes.map_err(|error| {
            tracing::error!(rail = %get.rail, shard = %get.shard, %error, "a shard cannot be read");
            match error {
                StoreError::Disk(DiskError::Missing(_)) => Refusal::NotHeld(get.shard),
                _ => Refusal::Disk,
            }
        })
    }

    /// Reads a range of a shard, or of its file; all of it or an error.
    fn part(
        &self,
        rail: RailId,
        shard: Shard,
        (offset, length): (u64, usize),
    ) -> Result<Vec<u8>, StoreError> {
        if shard.bytes <= SMALL_MAX
            && let Some(small) = self.small(rail, shard.hash)?
        {
            let range = to_usize(offset)..to_usize(offset).saturating_add(length);
            let missing = || DiskError::Missing(shard::name(rail, shard.hash));
            return Ok(small.get(range).ok_or_else(missing)?.to_vec());
        }
        Ok(shard::read(self.disk.as_ref(), rail, shard.hash, (offset, length))?)
    }

    /// A Bao slice of a range of a shard, freshly read.
    fn slice(
        &self,
        rail: RailId,
        shard: Shard,
        (offset, length): (u64, u64),
    ) -> Result<Vec<u8>, EncodeError<StoreError>> {
        let read = |at, count| self.part(rail, shard, (at, count));
        let outboard = shard::outboard(shard, read).map_err(EncodeError::Read)?;
        outboard.encode(offset, length, read)
    }

    /// What is lost of what `duty` asks for, if the file of its shard is not there or not whole. Looks
    /// at sizes only. If something is lost, all shards of the rail are looked at, so that the
    /// declaration names as many as it can hold.
    pub fn lost(&self, duty: &Duty) -> Option<Loss> {
        let task = Task::of(duty).ok()?;
        let all = Loss { rail: duty.rail, version: task.version, shards: Vec::new() };
        let dataset = match self.dataset(duty.rail, task.version) {
            Ok(Some(dataset)) => dataset,
            Ok(None) => return Some(all),
            Err(error) => {
                tracing::error!(%error, "the dataset of a duty cannot be read");
                return Some(all);
            }
        };
        let Some(place) = proof::place(&task, &dataset) else { return Some(all) };
        if self.is_whole(duty.rail, place.shard) {
            return None;
        }
        Some(Loss { shards: self.missing(duty.rail, &dataset), ..all })
    }

    fn missing(&self, rail: RailId, dataset: &Dataset) -> Vec<protocol::Digest> {
        let lost = dataset.shards().iter().filter(|shard| !self.is_whole(rail, **shard));
        lost.take(LOSS_MAX).map(|shard| shard.hash).collect()
    }

    fn is_whole(&self, rail: RailId, shard: Shard) -> bool {
        if shard.bytes <= SMALL_MAX
            && let Ok(Some(small)) = self.small(rail, shard.hash)
        {
            return u64::try_from(small.len()) == Ok(shard.bytes);
        }
        let length = self.disk.length(&shard::name(rail, shard.hash));
        length.is_ok_and(|length| length == Some(file_length(shard.bytes)))
    }

    /// Proves a duty.
    ///
    /// # Errors
    /// When what must be proven is not there, or damaged.
    pub fn prove(&self, duty: &Duty) -> Result<Proof, ProveError> {
        let failed = |error: &dyn std::fmt::Display| ProveError(error.to_string());
        let task = Task::of(duty).map_err(|error| failed(&error))?;
        let dataset = self
            .dataset(duty.rail, task.version)
            .map_err(|error| failed(&error))?
            .ok_or_else(|| failed(&"the frozen dataset is not kept"))?;
        let proof = proof::prove(duty, &dataset, |place, chunk| {
            let read = |at, count| self.part(duty.rail, place.shard, (at, count));
            let outboard = shard::outboard(place.shard, read).map_err(|error| error.to_string())?;
            outboard.slice(chunk, read).map_err(|error| error.to_string())
        })
        .map_err(|error| failed(&error))?;
        proof::check(duty, &task, &proof).map_err(|error| failed(&error))?;
        Ok(proof)
    }
}

fn unreadable(rail: RailId, shard: Shard, error: EncodeError<StoreError>) -> StoreError {
    match error {
        EncodeError::Read(error) => error,
        EncodeError::Range | EncodeError::Short => {
            DiskError::Missing(shard::name(rail, shard.hash)).into()
        }
    }
}
