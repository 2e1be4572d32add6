//! How long an execution may take, said from outside: this crate reads no clock.
//!
//! Only what nobody has to agree on may run out of patience: a proposal, which then holds less, and
//! a call. A block under verification never does.

use std::fmt;

/// Asked before every read of the store and every run, whether there is time for it.
pub struct Patience(Option<Box<dyn Fn() -> bool + Send>>);

impl Patience {
    /// It never runs out.
    pub const ENDLESS: Self = Self(None);

    /// It lasts while `in_time` says so.
    pub fn while_true(in_time: impl Fn() -> bool + Send + 'static) -> Self {
        Self(Some(Box::new(in_time)))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|in_time| !in_time())
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("endless", &self.0.is_none()).finish_non_exhaustive()
    }
}
