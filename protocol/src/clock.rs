//! Time: the ledger's clock of epochs, and the trait by which shells give time to state machines.

use crate::{Epoch, Height};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The ledger's one clock: epochs are ranges of heights (design 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct EpochClock {
    /// Heights in an epoch. At least 1.
    #[n(0)]
    pub length: u64,
    /// Heights after an epoch's end in which its evidence is still carried.
    #[n(1)]
    pub grace: u64,
}

impl EpochClock {
    /// The epoch that `height` is in.
    pub const fn epoch(&self, height: Height) -> Epoch {
        Epoch(match height.0.checked_div(self.length) {
            Some(epoch) => epoch,
            None => 0,
        })
    }

    /// The first height of `epoch`.
    pub const fn first(&self, epoch: Epoch) -> Height {
        Height(epoch.0.saturating_mul(self.length))
    }

    /// The last height of `epoch`.
    pub const fn last(&self, epoch: Epoch) -> Height {
        Height(self.first(epoch.next()).0.saturating_sub(1))
    }

    /// The last height whose block may carry evidence of `epoch`.
    pub const fn grace_end(&self, epoch: Epoch) -> Height {
        Height(self.last(epoch).0.saturating_add(self.grace))
    }

    /// Whether evidence of `epoch` may be carried at `height`.
    pub const fn accepts(&self, epoch: Epoch, height: Height) -> bool {
        self.first(epoch).0 <= height.0 && height.0 <= self.grace_end(epoch).0
    }
}

/// The wall clock as a state machine sees it.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}
