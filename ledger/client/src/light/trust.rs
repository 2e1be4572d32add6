//! What a client trusts: one [`Light`], shared by all that ask through it.

use super::{Light, Seen};
use protocol::Height;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A [`Light`] that grows.
#[derive(Debug)]
pub(crate) struct Trust {
    light: Mutex<Light>,
    /// Held while committees are followed, so that it is done once.
    pub(crate) walking: tokio::sync::Mutex<()>,
}

impl Trust {
    pub(crate) fn new(light: Light) -> Self {
        Self { light: Mutex::new(light), walking: tokio::sync::Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Light> {
        self.light.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it is now.
    pub(crate) fn light(&self) -> Light {
        self.lock().clone()
    }

    /// The newest header seen.
    pub(crate) fn newest(&self) -> Option<Seen> {
        self.lock().newest()
    }

    /// The newest height seen.
    pub(crate) fn height(&self) -> Height {
        self.lock().height()
    }

    /// The ledger's id.
    pub(crate) fn chain_id(&self) -> u64 {
        self.lock().chain_id()
    }

    /// Takes over what `light` has learnt, unless more is known already.
    pub(crate) fn learn(&self, light: Light) {
        let mut known = self.lock();
        let rank =
            |light: &Light| (light.offices.last_key_value().map(|(term, _)| *term), light.height());
        if rank(&light) > rank(&known) {
            *known = light;
        }
    }
}
