//! Making and checking the answer to a duty.
//!
//! Agents check their own proof with [`check`] before they sign it: a signed proof that does not
//! hold costs stake, silence does not.

use crate::{
    bao,
    body::Proof,
    dataset::{self, Dataset, Place},
    duty::Task,
};
use protocol::{RailId, cbor::DecodeError, kind::Duty};

/// Why a proof does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The proof is for another duty.
    #[error("the proof answers rail {0}, duty {1}")]
    OtherDuty(RailId, u16),
    /// The proof is for another version of the dataset.
    #[error("the proof is for version {0} of the dataset")]
    OtherVersion(u64),
    /// The shard is not at the drawn byte of the dataset.
    #[error("path: {0}")]
    Path(#[from] dataset::PathError),
    /// The chunk is not the shard's at the drawn byte.
    #[error("slice: {0}")]
    Slice(#[from] bao::BaoError),
}

/// Why a proof cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError<E> {
    /// The duty is another kind's.
    #[error("not a storage duty: {0}")]
    Duty(#[from] DecodeError),
    /// The dataset at hand is not the frozen one.
    #[error("the dataset at hand is not the frozen one")]
    Dataset,
    /// The shard cannot be read.
    #[error("shard: {0}")]
    Shard(E),
}

/// Where the byte that a duty draws lies in `dataset`, or nothing if this is not the frozen dataset.
pub fn place(task: &Task, dataset: &Dataset) -> Option<Place> {
    if dataset.root() != task.root || dataset.bytes() != task.bytes {
        return None;
    }
    dataset.locate(task.offset)
}

/// Makes the answer to `duty`. `slice(place, chunk)` gives the Bao slice of one chunk of the shard
/// ([`bao::Outboard::slice`]).
///
/// # Errors
/// [`ProveError`] if the dataset is not the frozen one or the shard cannot be read.
pub fn prove<E>(
    duty: &Duty,
    dataset: &Dataset,
    slice: impl FnOnce(&Place, u64) -> Result<Vec<u8>, E>,
) -> Result<Proof, ProveError<E>> {
    let task = Task::of(duty)?;
    let place = place(&task, dataset).ok_or(ProveError::Dataset)?;
    let path = dataset.proof(place.index).ok_or(ProveError::Dataset)?;
    let slice = slice(&place, bao::chunk_of(place.offset)).map_err(ProveError::Shard)?;
    Ok(Proof {
        rail: duty.rail,
        index: duty.index,
        version: task.version,
        shard: place.shard,
        path,
        slice,
    })
}

/// Checks that `proof` answers `duty`, whose task is `task`.
///
/// # Errors
/// [`ProofError`]. The first two say that the proof speaks of something else, the others that it is
/// false.
pub fn check(duty: &Duty, task: &Task, proof: &Proof) -> Result<(), ProofError> {
    if (proof.rail, proof.index) != (duty.rail, duty.index) {
        return Err(ProofError::OtherDuty(proof.rail, proof.index));
    }
    if proof.version != task.version {
        return Err(ProofError::OtherVersion(proof.version));
    }
    let within = dataset::verify(task.root, task.bytes, task.offset, proof.shard, &proof.path)?;
    bao::verify(proof.shard.hash, proof.shard.bytes, bao::chunk_of(within), &proof.slice)?;
    Ok(())
}

#[cfg(test)]
mod tests;
