//! Which committee holds which term.
//!
//! The contract `Validators` elects the committee of term `t + 1` when term `t` begins, from the state in
//! which term `t - 1` ended (design 5). So any state of a term tells the committees of that term and of
//! the next, an election depends on a final state alone, and what was read once on any branch is true on
//! all: it is remembered by term.
//!
//! | who asks | where it is read |
//! |---|---|
//! | the proposer and the judges of a block | the state under the block |
//! | the engine of a term, certificates | what the blocks before have brought to memory |
//! | a node that starts | the history file, then the applied state |
//! | light clients | the history file, which keeps the committees of all terms |
//!
//! A ledger whose state has no such contract keeps the committee of its genesis file for ever.

use crate::{
    committee::{Committee, CommitteeError, Validator},
    header::Header,
    history::{History, HistoryError},
    rules::environment,
};
use alloy_primitives::{B256, FixedBytes};
use alloy_sol_types::SolCall;
use contracts::{
    abi::IValidators::{Seat, committeeCall},
    address::VALIDATORS,
};
use execution::{Call, CallError, CallOutcome, Patience, Store, call};
use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{Arc, PoisonError, RwLock},
};

/// Terms whose committees are held in memory: the next, the running, and some of the past, whose
/// certificates are still asked for.
const TERMS_KEPT: usize = 16;

/// Why a committee could not be read from a state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the contract of validators does not answer: {0}")]
    Refused(String),
    #[error("the contract of validators elected no committee: {0}")]
    Committee(#[from] CommitteeError),
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// The committees that matter to a block: who may propose it, and whom its header names.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    /// The committee of the block's term.
    pub(crate) running: Arc<Committee>,
    /// Digest of the committee that certifies the block after it.
    pub(crate) named: B256,
}

/// The committees of the terms around the head.
#[derive(Debug)]
pub(crate) struct Committees {
    length: NonZeroU64,
    first: Arc<Committee>,
    known: RwLock<BTreeMap<u64, Arc<Committee>>>,
}

impl Committees {
    /// Knows the committee of term 0; a term has `length` blocks.
    pub(crate) fn new(length: NonZeroU64, first: Arc<Committee>) -> Self {
        let known = RwLock::new(BTreeMap::from([(0, Arc::clone(&first))]));
        Self { length, first, known }
    }

    /// The term of a height.
    pub(crate) const fn term(&self, height: u64) -> u64 {
        height / self.length.get()
    }

    /// The first height of a term.
    pub(crate) const fn first_height(&self, term: u64) -> u64 {
        term.saturating_mul(self.length.get())
    }

    /// The last height of a term.
    pub(crate) const fn last_height(&self, term: u64) -> u64 {
        self.first_height(term.saturating_add(1)).saturating_sub(1)
    }

    /// The committee of a term, if it is known yet and not forgotten.
    pub(crate) fn get(&self, term: u64) -> Option<Arc<Committee>> {
        // Writers change the map in one step, so one that panicked left it whole.
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&term).cloned()
    }

    /// Remembers the committee of a term, and forgets that of the oldest if there are too many.
    pub(crate) fn insert(&self, term: u64, committee: Arc<Committee>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(term, committee);
        while known.len() > TERMS_KEPT {
            known.pop_first();
        }
    }

    /// The committee of these validators, with as little checked anew as possible.
    fn checked(&self, term: u64, validators: &[Validator]) -> Result<Arc<Committee>, ReadError> {
        let before = term.checked_sub(1).and_then(|before| self.get(before));
        let before = before.unwrap_or_else(|| Arc::clone(&self.first));
        if before.validators().eq(validators) {
            return Ok(before);
        }
        Ok(Arc::new(before.successor(validators)?))
    }

    /// The committee of `term`, from memory or from the state that `store` shows after the block `at`.
    ///
    /// # Errors
    /// The state cannot be read, or knows no such term.
    pub(crate) async fn read(
        &self,
        store: &impl Store,
        at: &Header,
        term: u64,
    ) -> Result<Arc<Committee>, ReadError> {
        if let Some(known) = self.get(term) {
            return Ok(known);
        }
        let committee = match view(store, at, committeeCall { term }).await? {
            Some(seats) if !seats.is_empty() => {
                let validators: Vec<_> = seats.iter().map(validator).collect();
                self.checked(term, &validators)?
            }
            _ => Arc::clone(&self.first),
        };
        self.insert(term, Arc::clone(&committee));
        Ok(committee)
    }

    /// The committees that matter to the child of `parent`, from the state after `parent`.
    ///
    /// # Errors
    /// As [`Committees::read`].
    pub(crate) async fn seats(
        &self,
        store: &impl Store,
        parent: &Header,
    ) -> Result<Seats, ReadError> {
        let height = parent.height.saturating_add(1);
        let term = self.term(height);
        let running = self.read(store, parent, term).await?;
        let named = if height == self.last_height(term) {
            self.read(store, parent, term.saturating_add(1)).await?.digest()
        } else {
            running.digest()
        };
        Ok(Seats { running, named })
    }

    /// Remembers what the history holds of the terms around its head: what a node that starts needs
    /// before its state is open.
    ///
    /// # Errors
    /// The file failed or holds no committee.
    pub(crate) fn recall(&self, history: &History) -> Result<(), ReadError> {
        let Some(head) = history.head()? else { return Ok(()) };
        let running = self.term(head);
        for term in running.saturating_sub(1)..=running.saturating_add(1) {
            if let Some(validators) = history.committee(term)? {
                self.insert(term, self.checked(term, &validators)?);
            }
        }
        Ok(())
    }

    /// Reads the committees of the term of `at` and of the next from the state after `at`, and records
    /// those that the history lacks.
    ///
    /// # Errors
    /// As [`Committees::read`], or the file failed.
    pub(crate) async fn keep(
        &self,
        store: &impl Store,
        at: &Header,
        history: &History,
    ) -> Result<(), ReadError> {
        let running = self.term(at.height);
        for term in [running, running.saturating_add(1)] {
            let committee = self.read(store, at, term).await?;
            history.record_committee(term, &committee)?;
        }
        Ok(())
    }
}

/// Asks the contract `Validators` in the state after the block `at`; nothing if there is no such contract.
///
/// # Errors
/// The state cannot be read, or the contract refuses.
pub(crate) async fn view<C: SolCall>(
    store: &impl Store,
    at: &Header,
    request: C,
) -> Result<Option<C::Return>, ReadError> {
    let request =
        Call { to: Some(VALIDATORS), data: request.abi_encode().into(), ..Call::default() };
    match call(store, &environment(at), &request, Patience::ENDLESS).await?.outcome {
        CallOutcome::Returned(data) if data.is_empty() => Ok(None),
        CallOutcome::Returned(data) => match C::abi_decode_returns(&data) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) => Err(ReadError::Refused(error.to_string())),
        },
        CallOutcome::Reverted(data) => Err(ReadError::Refused(data.to_string())),
        CallOutcome::Halted(reason) => Err(ReadError::Refused(reason)),
    }
}

/// A seat as the contract tells it. Keys of a wrong length become keys that no committee takes.
fn validator(seat: &Seat) -> Validator {
    Validator {
        key: seat.key,
        seed_key: FixedBytes(fixed(&seat.seedKey)),
        possession: FixedBytes(fixed(&seat.possession)),
        account: seat.account,
    }
}

/// The bytes, if there are as many as there should be, or else zeros.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

#[cfg(test)]
mod tests;
