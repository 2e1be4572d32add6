//! Who is reading: garbage is not collected under a read that began before it was garbage.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Debug, Default)]
struct Open {
    next: u64,
    active: BTreeSet<u64>,
}

/// All reads under way, numbered as they begin.
#[derive(Debug, Default)]
pub(super) struct Readers(Arc<Mutex<Open>>);

/// A read under way.
#[derive(Debug)]
pub(crate) struct Reading {
    number: u64,
    open: Arc<Mutex<Open>>,
}

impl Readers {
    /// A read begins. To be called before the index is asked where the bytes are.
    pub(super) fn enter(&self) -> Reading {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.next;
        open.next += 1;
        open.active.insert(number);
        Reading { number, open: Arc::clone(&self.0) }
    }

    /// The number that the next read gets.
    pub(super) fn mark(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next
    }

    /// Whether all reads that began before `mark` are over.
    pub(super) fn are_over(&self, mark: u64) -> bool {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.active.first().is_none_or(|first| *first >= mark)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).active.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_reads_hold_the_mark() {
        let readers = Readers::default();
        let first = readers.enter();
        let mark = readers.mark();
        let second = readers.enter();
        assert!(!readers.are_over(mark));
        drop(first);
        assert!(readers.are_over(mark));
        assert!(!readers.are_over(readers.mark()));
        drop(second);
        assert!(readers.are_over(readers.mark()));
    }
}
