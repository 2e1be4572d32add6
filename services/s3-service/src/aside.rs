//! Work that must not hold up the tasks of a runtime.
//!
//! A runtime of a single thread is a simulator's or a test's: there such work is done at once and on no other
//! thread, so that the order of what happens does not depend on threads.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Whether all that runs here runs on one thread.
pub(crate) fn is_single() -> bool {
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread)
}

/// Does what computes or blocks for long. Nothing if it panicked, or the runtime ends.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if is_single() {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}
