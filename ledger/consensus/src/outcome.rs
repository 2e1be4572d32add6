//! What executed blocks did, kept until they are final.
//!
//! A cache only: when an outcome is not here, the block is executed again. Bounded by
//! [`OUTCOMES`]; the lowest heights go first.

use crate::history::Undo;
use alloy_primitives::{Address, B256};
use execution::{Account, Receipt};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most blocks kept: as many as can reasonably compete between two final ones.
const OUTCOMES: usize = 32;

/// What a block did.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) height: u64,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) undo: Undo,
    /// Sender and nonce of each transaction.
    pub(crate) used: Vec<(Address, u64)>,
    /// Accounts it wrote, as it left them.
    pub(crate) written: Vec<(Address, Account)>,
}

/// Outcomes by block hash.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Mutex<BTreeMap<B256, Arc<Executed>>>);

impl Outcomes {
    pub(crate) fn get(&self, block: B256) -> Option<Arc<Executed>> {
        self.lock().get(&block).cloned()
    }

    pub(crate) fn insert(&self, block: B256, executed: Executed) {
        let mut outcomes = self.lock();
        outcomes.insert(block, Arc::new(executed));
        if outcomes.len() > OUTCOMES {
            let lowest = outcomes.iter().min_by_key(|(_, kept)| kept.height).map(|(hash, _)| *hash);
            lowest.map(|hash| outcomes.remove(&hash));
        }
    }

    /// Forgets every block up to a final height.
    pub(crate) fn forget(&self, height: u64) {
        self.lock().retain(|_, kept| kept.height > height);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<B256, Arc<Executed>>> {
        // A map of shared values is whole at every point where it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_go_first_and_final_ones_are_forgotten() {
        let outcomes = Outcomes::default();
        let hash = |n: u64| B256::left_padding_from(&n.to_be_bytes());
        for height in 1..=40 {
            let (undo, used, written) = (Undo::new(), vec![], vec![]);
            let executed = Executed { height, receipts: vec![], undo, used, written };
            outcomes.insert(hash(height), executed);
        }
        assert!(outcomes.get(hash(8)).is_none());
        assert!(outcomes.get(hash(9)).is_some());
        outcomes.forget(39);
        assert!(outcomes.get(hash(39)).is_none());
        assert!(outcomes.get(hash(40)).is_some());
    }
}
