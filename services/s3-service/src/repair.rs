//! Repair: shards that are lost, or must move, get new homes (design 11).
//!
//! Three parts, cut so that a process of its own can repair for a service:
//! * [`plan`] decides which shards are next and how fast, from what it is told: pure;
//! * [`worker`] makes one shard anew and stores it. It has the mask key and a [`Link`](crate::store::Link)
//!   and cannot open content: no content key is reachable from either;
//! * [`survey`] counts how healthy all segments are: pure.
//!
//! What is to be repaired stands in the index (`queued`), so nothing is forgotten by a crash, and a shard
//! counts only when its new home acknowledged it as durable and the index says so. Why a shard gets there:
//! * it is durable at fewer homes than it should be since it was stored;
//! * its agent said that it does not hold it: to a read, to a commit, or to an audit; all is asked for at
//!   once when an epoch's statement says that a proof was missed ([`crate::Running::suspect`]);
//! * it was read and is other bytes than were stored;
//! * its home must be left, though the shard can still be read there: the rail ends or is gone, the device
//!   is retired, lacks stake, announces that it leaves, or did not answer for a stated time
//!   ([`crate::config::Limits::silent`]). If that passes before the shard has moved, it stays.
//!
//! Rules: never two shards of a segment with one owner; a home is left only when the next is durable;
//! the least healthy segment comes first, and one that is lost is not in the way of others.

pub mod plan;
pub mod survey;
pub mod worker;

use crate::index::Home;
use protocol::{DeviceId, RailId};
use std::collections::{BTreeMap, BTreeSet};

/// Where shards may stay, and where they can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The rails on which shards may stay, and their devices.
    pub staying: BTreeMap<RailId, DeviceId>,
    /// The devices from which shards can be read.
    pub alive: BTreeSet<DeviceId>,
}

impl Standing {
    /// Whether a shard may stay there.
    pub fn stays(&self, home: &Home) -> bool {
        self.staying.get(&home.rail) == Some(&home.device)
    }

    /// Whether a shard can be read there.
    pub fn is_alive(&self, home: &Home) -> bool {
        self.alive.contains(&home.device)
    }
}
