//! Senders of transactions, which their signatures name: recovered on several cores, and remembered.
//!
//! Recovery (some 30 microseconds) costs more than to run a transfer, so no transaction is recovered
//! twice: what was recovered when it came to wait is known when a block holds it. Which cores compute
//! is the shell's choice: a seeded run takes one, and so repeats itself.

use crate::queues::Transaction;
use alloy_primitives::{Address, B256};
use bytes::Bytes;
use commonware_parallel::{Rayon, Sequential, Strategy};
use execution::DecodeError;
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

/// Most senders of one generation: as many transactions as a block may hold.
const GENERATION: usize = crate::block::MAX_TRANSACTIONS;

/// Where senders are recovered.
#[derive(Clone, Debug)]
enum Cores {
    /// By whoever asks.
    One,
    /// By a pool of threads.
    Many(Rayon),
}

/// The senders recovered last, by hash of their transactions: two generations, of which the older goes
/// when the younger is full.
#[derive(Debug, Default)]
struct Known {
    young: BTreeMap<B256, Address>,
    old: BTreeMap<B256, Address>,
}

impl Known {
    fn get(&self, hash: &B256) -> Option<Address> {
        self.young.get(hash).or_else(|| self.old.get(hash)).copied()
    }

    fn insert(&mut self, hash: B256, sender: Address) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, sender);
    }
}

/// Decodes transactions and finds their senders.
#[derive(Debug)]
pub(crate) struct Recovery {
    cores: Cores,
    known: Arc<Mutex<Known>>,
}

impl Recovery {
    /// Recovers where it is asked.
    pub(crate) fn sequential() -> Self {
        Self { cores: Cores::One, known: Arc::default() }
    }

    /// Recovers on as many threads, if the system gives them.
    pub(crate) fn parallel(threads: NonZeroUsize) -> Self {
        let cores = match Rayon::new(threads) {
            Ok(pool) => Cores::Many(pool),
            Err(error) => {
                tracing::warn!(%error, "no threads for signatures: they are checked one by one");
                Cores::One
            }
        };
        Self { cores, ..Self::sequential() }
    }

    /// Decodes transactions, with senders that are remembered or recovered now.
    ///
    /// # Errors
    /// One of them is no transaction.
    pub(crate) async fn decode(&self, raw: Vec<Bytes>) -> Result<Vec<Transaction>, DecodeError> {
        let (known, count) = (Arc::clone(&self.known), raw.len());
        match &self.cores {
            Cores::One => Sequential.spawn(count, move |one| all(&one, &raw, &known)).await,
            Cores::Many(pool) => pool.spawn(count, move |pool| all(&pool, &raw, &known)).await,
        }
    }

    /// Remembers senders of transactions.
    pub(crate) fn remember(&self, senders: impl IntoIterator<Item = (B256, Address)>) {
        let mut known = lock(&self.known);
        for (hash, sender) in senders {
            known.insert(hash, sender);
        }
    }
}

fn all(
    cores: &impl Strategy,
    raw: &[Bytes],
    known: &Mutex<Known>,
) -> Result<Vec<Transaction>, DecodeError> {
    cores.try_map_collect_vec(raw, |raw| execution::decode_known(raw, |hash| lock(known).get(hash)))
}

fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    // Two maps of true pairs are whole at every point where it could panic.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{signer, transfer};
    use futures::executor::block_on;

    #[test]
    fn one_core_and_many_find_the_same_senders_in_order() {
        let raw: Vec<Bytes> = (0..40).map(|n| transfer(1 + n % 3, n.into(), 1).into()).collect();
        for recovery in
            [Recovery::sequential(), Recovery::parallel(NonZeroUsize::MIN.saturating_add(2))]
        {
            let decoded = block_on(recovery.decode(raw.clone())).unwrap();
            let senders: Vec<_> = decoded.iter().map(|tx| tx.signer()).collect();
            let expected: Vec<_> = (0..40u8).map(|n| signer(1 + n % 3).address()).collect();
            assert_eq!(senders, expected);
            let mut garbage = raw.clone();
            garbage[17] = Bytes::from_static(b"no transaction");
            assert!(block_on(recovery.decode(garbage)).is_err());
        }
    }

    #[test]
    fn a_remembered_sender_is_not_recovered_again() {
        let recovery = Recovery::sequential();
        let raw = Bytes::from(transfer(1, 0, 1));
        let tx = execution::decode(&raw).unwrap();
        // A sender that recovery would never find shows where it came from.
        recovery.remember([(*tx.tx_hash(), Address::ZERO)]);
        assert_eq!(block_on(recovery.decode(vec![raw])).unwrap()[0].signer(), Address::ZERO);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes() {
        let mut known = Known::default();
        let hash = |n: usize| B256::left_padding_from(&n.to_be_bytes());
        for n in 0..=2 * GENERATION {
            known.insert(hash(n), Address::ZERO);
        }
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
        assert!(known.get(&hash(0)).is_none());
        assert!(known.get(&hash(2 * GENERATION)).is_some());
        assert!(known.get(&hash(GENERATION)).is_some());
    }
}
