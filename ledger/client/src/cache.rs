//! What can never change once it was read: kept, in bounded numbers.
//!
//! Only final facts go in here: the clock, a manifest of an epoch that has begun, a hash that is fixed.
//! Whatever a later block could change is asked for every time, decided roots among it: they can be disputed.

use protocol::{Digest, Epoch, NetworkId, clock::EpochClock, manifest::Manifest};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How many facts of one sort are kept.
const FACTS_MAX: usize = 1_024;

/// Facts of one sort, the smallest key making room for a new one.
#[derive(Debug)]
pub(crate) struct Facts<K, V>(Mutex<BTreeMap<K, V>>);

impl<K: Ord, V: Clone> Facts<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(crate) fn keep(&self, key: K, value: V) {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        facts.insert(key, value);
        if facts.len() > FACTS_MAX {
            facts.pop_first();
        }
    }
}

impl<K, V> Default for Facts<K, V> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

/// All that is remembered. Keys begin with the epoch, so that the oldest make room.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    pub(crate) clock: Facts<(), EpochClock>,
    pub(crate) manifests: Facts<(Epoch, NetworkId), Arc<Manifest>>,
    pub(crate) inputs: Facts<(Epoch, NetworkId), Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_bounded_and_the_oldest_go_first() {
        let facts = Facts::default();
        for key in 0..=FACTS_MAX {
            facts.keep(key, key);
        }
        assert_eq!(facts.get(&0), None);
        assert_eq!(facts.get(&1), Some(1));
        assert_eq!(facts.get(&FACTS_MAX), Some(FACTS_MAX));
    }
}
