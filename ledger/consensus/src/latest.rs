//! The latest value of something, for all who wait for it to change.
//!
//! As tokio's `watch`, but who waits is woken in the order in which they began to: tokio's order is random,
//! and a seeded run would not repeat itself.

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

struct State<T> {
    value: T,
    version: u64,
    closed: bool,
    /// Who waits, by the order in which they came.
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

struct Inner<T>(Mutex<State<T>>);

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Every change is one assignment, so a panic leaves a whole state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes everybody if `change` says so.
    fn change(&self, change: impl FnOnce(&mut State<T>) -> bool) {
        let mut state = self.lock();
        let waiting = if change(&mut state) { mem::take(&mut state.waiting) } else { return };
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }
}

/// Where the value is set.
pub(crate) struct Latest<T>(Arc<Inner<T>>);

/// Where it is waited for.
pub(crate) struct Watch<T> {
    inner: Arc<Inner<T>>,
    seen: u64,
}

/// Nobody can set the value any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl<T: Clone> Latest<T> {
    pub(crate) fn new(value: T) -> Self {
        let (version, closed, waiting, next) = (0, false, BTreeMap::new(), 0);
        Self(Arc::new(Inner(Mutex::new(State { value, version, closed, waiting, next }))))
    }

    /// The value.
    pub(crate) fn borrow(&self) -> T {
        self.0.lock().value.clone()
    }

    /// Sets the value, which counts as a change.
    pub(crate) fn send_replace(&self, value: T) {
        self.send_if_modified(|old| {
            *old = value;
            true
        });
    }

    /// Changes the value, if `modify` says that it did.
    pub(crate) fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) {
        self.0.change(|state| {
            let modified = modify(&mut state.value);
            state.version += u64::from(modified);
            modified
        });
    }

    /// Waits for changes from now on.
    pub(crate) fn subscribe(&self) -> Watch<T> {
        Watch { inner: Arc::clone(&self.0), seen: self.0.lock().version }
    }
}

impl<T> Drop for Latest<T> {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.closed = true;
            true
        });
    }
}

impl<T: Clone> Watch<T> {
    /// The value, which counts as seen only by [`Watch::borrow_and_update`].
    pub(crate) fn borrow(&self) -> T {
        self.inner.lock().value.clone()
    }

    /// The value.
    pub(crate) fn borrow_and_update(&mut self) -> T {
        let state = self.inner.lock();
        self.seen = state.version;
        state.value.clone()
    }

    /// Waits until there is a value that was not seen.
    pub(crate) async fn changed(&mut self) -> Result<(), Closed> {
        let mut place = Place { inner: &self.inner, id: None };
        let seen = self.seen;
        let changed = poll_fn(|context| {
            let mut state = place.inner.lock();
            if state.version != seen {
                return Poll::Ready(Ok(state.version));
            }
            if state.closed {
                return Poll::Ready(Err(Closed));
            }
            let id = *place.id.get_or_insert_with(|| {
                state.next += 1;
                state.next
            });
            state.waiting.insert(id, context.waker().clone());
            Poll::Pending
        });
        let version = changed.await?;
        drop(place);
        self.seen = version;
        Ok(())
    }

    /// Waits for a value of which `holds` is true.
    pub(crate) async fn wait_for(&mut self, holds: impl Fn(&T) -> bool) -> Result<T, Closed> {
        loop {
            let value = self.borrow_and_update();
            if holds(&value) {
                return Ok(value);
            }
            self.changed().await?;
        }
    }
}

/// The place of one who waits, left when the wait ends.
struct Place<'a, T> {
    inner: &'a Inner<T>,
    id: Option<u64>,
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.inner.lock().waiting.remove(&id);
        }
    }
}

impl<T> Clone for Watch<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), seen: self.seen }
    }
}

impl<T> fmt::Debug for Latest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latest").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};

    #[test]
    fn changes_are_seen_once_and_the_end_too() {
        let latest = Latest::new(1);
        let mut watch = latest.subscribe();
        assert!(watch.changed().now_or_never().is_none());
        latest.send_replace(2);
        latest.send_replace(3);
        assert_eq!(watch.borrow(), 3);
        assert_eq!(watch.changed().now_or_never(), Some(Ok(())));
        assert!(watch.changed().now_or_never().is_none());
        latest.send_if_modified(|_| false);
        assert!(watch.changed().now_or_never().is_none());
        assert_eq!(watch.clone().wait_for(|value| *value == 3).now_or_never(), Some(Ok(3)));
        latest.send_replace(4);
        drop(latest);
        assert_eq!(watch.wait_for(|value| *value == 4).now_or_never(), Some(Ok(4)));
        assert_eq!(watch.wait_for(|value| *value == 5).now_or_never(), Some(Err(Closed)));
        assert_eq!(watch.borrow_and_update(), 4);
    }

    #[test]
    fn who_came_first_is_woken_first() {
        let latest = Latest::new(0);
        let mut all: FuturesUnordered<_> = (0..20)
            .map(|n| {
                let mut watch = latest.subscribe();
                async move {
                    watch.changed().await.unwrap();
                    n
                }
            })
            .collect();
        assert!(all.next().now_or_never().is_none());
        latest.send_replace(1);
        let order = all.collect::<Vec<_>>().now_or_never().unwrap();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(order == sorted || order.iter().rev().eq(&sorted), "{order:?}");
        assert!(latest.0.lock().waiting.is_empty());
    }
}
