//! The agents that the service knows: how to reach them, what they still take, and whether they keep
//! their word. Pure; the time is given.

use crate::placement::Candidate;
use protocol::{Account, DeviceId, RailId, net::Peer};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// An agent that failed once is not asked first for so long; doubled with every further failure.
pub const DOUBT_MS: u64 = 1_000;
/// The longest time of doubt.
pub const DOUBT_MS_MAX: u64 = 60_000;
/// Agents known at most.
pub const AGENTS_MAX: usize = 4_096;
/// Devices whose owners are known at most.
pub const OWNED_MAX: usize = 65_536;

/// An agent with an open rail, or that one could be opened towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its device.
    pub device: DeviceId,
    /// Where it is.
    pub peer: Peer,
    /// Its owner.
    pub owner: Account,
    /// The open rail towards it.
    pub rail: Option<RailId>,
    /// Bytes that the rail still pays for.
    pub paid_room: u64,
    /// Whether it holds a signed dataset.
    pub proven: bool,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    agent: Agent,
    /// Bytes that it says it still takes; nothing until it was asked.
    free: u64,
    failures: u32,
    doubted_until_ms: u64,
    /// Smoothed time of an answer, microseconds.
    answer_us: u64,
    /// It had too much to do: not asked first until then.
    busy_until_ms: u64,
    lied: bool,
    /// Not on the list any more: what it still has can be read, and it gets nothing new.
    left: bool,
    /// It says that it leaves: what it has moves, and it gets nothing new.
    leaving: bool,
    /// Since when it gave no answer at all.
    silent_since_ms: Option<u64>,
}

impl Known {
    const fn is_doubtful(&self, now_ms: u64) -> bool {
        self.doubted_until_ms > now_ms || self.lied || self.left
    }
}

/// The agents that the service knows.
#[derive(Debug, Default)]
pub struct Fleet {
    known: Mutex<BTreeMap<DeviceId, Known>>,
    /// The owners of all devices, those without an agent that can be dialled too.
    owners: Mutex<BTreeMap<DeviceId, Account>>,
}

impl Fleet {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the list of agents; what is known of those that stay stays. Those that are not on it
    /// any more may still give what they have.
    pub fn update(&self, agents: impl IntoIterator<Item = Agent>) {
        let mut known = self.lock();
        let mut next = BTreeMap::new();
        for agent in agents.into_iter().take(AGENTS_MAX) {
            let old = known.remove(&agent.device);
            let moved = old.is_none_or(|old| old.agent.peer != agent.peer);
            let fresh = Known {
                agent,
                free: 0,
                failures: 0,
                doubted_until_ms: 0,
                answer_us: 0,
                busy_until_ms: 0,
                lied: false,
                left: false,
                leaving: false,
                silent_since_ms: None,
            };
            let old = old.map_or(fresh, |old| Known { agent, left: false, ..old });
            let entry = if moved { Known { failures: 0, doubted_until_ms: 0, ..old } } else { old };
            next.insert(agent.device, entry);
        }
        let room = AGENTS_MAX.saturating_sub(next.len());
        let gone = std::mem::take(&mut *known).into_iter().take(room);
        next.extend(gone.map(|(device, old)| (device, Known { left: true, ..old })));
        *known = next;
    }

    /// Who owns which device. Those that are known and not named stay known, as far as there is room.
    pub fn owned(&self, owners: impl IntoIterator<Item = (DeviceId, Account)>) {
        let mut known = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next: BTreeMap<_, _> = owners.into_iter().take(OWNED_MAX).collect();
        let room = OWNED_MAX.saturating_sub(next.len());
        let gone: Vec<_> =
            known.iter().filter(|(device, _)| !next.contains_key(device)).take(room).collect();
        next.extend(gone);
        *known = next;
    }

    /// All agents.
    pub fn agents(&self) -> Vec<Agent> {
        self.lock().values().filter(|known| !known.left).map(|known| known.agent).collect()
    }

    /// Where a device is.
    pub fn peer(&self, device: DeviceId) -> Option<Peer> {
        self.lock().get(&device).map(|known| known.agent.peer)
    }

    /// Who owns a device.
    pub fn owner(&self, device: DeviceId) -> Option<Account> {
        let known = self.lock().get(&device).map(|known| known.agent.owner);
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        known.or_else(|| owners.get(&device).copied())
    }

    /// The agents as placement sees them.
    pub fn candidates(&self, now_ms: u64) -> Vec<Candidate> {
        let candidate = |known: &Known| Candidate {
            device: known.agent.device,
            owner: known.agent.owner,
            rail: known.agent.rail,
            free: known.free.min(known.agent.paid_room),
            reachable: known.doubted_until_ms <= now_ms && !known.lied && !known.leaving,
            proven: known.agent.proven && known.failures == 0,
        };
        self.lock().values().filter(|known| !known.left).map(candidate).collect()
    }

    /// Whether an answer of the device is not to be waited for.
    pub fn is_doubtful(&self, device: DeviceId, now_ms: u64) -> bool {
        self.lock().get(&device).is_none_or(|known| known.is_doubtful(now_ms))
    }

    /// How long an answer usually takes, microseconds; doubtful and busy agents rank last.
    pub fn rank(&self, device: DeviceId, now_ms: u64) -> (bool, u64) {
        let known = self.lock();
        known.get(&device).map_or((true, u64::MAX), |known| {
            (known.is_doubtful(now_ms) || known.busy_until_ms > now_ms, known.answer_us)
        })
    }

    /// What an agent says it still takes.
    pub fn offers(&self, device: DeviceId, free: u64) {
        if let Some(known) = self.lock().get_mut(&device) {
            known.free = free;
        }
    }

    /// An agent answered, after `took_us` microseconds.
    pub fn answered(&self, device: DeviceId, took_us: u64) {
        if let Some(known) = self.lock().get_mut(&device) {
            known.failures = 0;
            known.doubted_until_ms = 0;
            known.silent_since_ms = None;
            known.answer_us = match known.answer_us {
                0 => took_us,
                usual => (usual * 7).saturating_add(took_us) / 8,
            };
        }
    }

    /// An agent took a shard.
    pub fn took(&self, device: DeviceId, bytes: u64) {
        if let Some(known) = self.lock().get_mut(&device) {
            known.free = known.free.saturating_sub(bytes);
            known.agent.paid_room = known.agent.paid_room.saturating_sub(bytes);
        }
    }

    /// An agent has too much to do. That is no failure, but others are asked first for a while.
    pub fn busy(&self, device: DeviceId, now_ms: u64) {
        if let Some(known) = self.lock().get_mut(&device) {
            known.busy_until_ms = now_ms.saturating_add(DOUBT_MS);
            known.silent_since_ms = None;
        }
    }

    /// An agent gave no answer at all: it failed, and if that goes on, it is gone.
    pub fn silent(&self, device: DeviceId, now_ms: u64) {
        if let Some(known) = self.lock().get_mut(&device) {
            known.silent_since_ms = known.silent_since_ms.or(Some(now_ms));
        }
        self.failed(device, now_ms);
    }

    /// What an agent says of its own leaving.
    pub fn leaves(&self, device: DeviceId, leaving: bool) {
        if let Some(known) = self.lock().get_mut(&device) {
            known.leaving = leaving;
        }
    }

    /// The devices that leave, by their own word.
    pub fn leaving(&self) -> BTreeSet<DeviceId> {
        let known = self.lock();
        known.values().filter(|known| known.leaving).map(|known| known.agent.device).collect()
    }

    /// The devices from which something can be read: those whose address is known and that were not
    /// silent for as long as `silent_ms`. When most of the agents in service are silent at once, it is our
    /// own network that is down, and nobody counts as gone.
    pub fn alive(&self, silent_ms: u64, now_ms: u64) -> BTreeSet<DeviceId> {
        let known = self.lock();
        let is_gone = |known: &Known| {
            known.silent_since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= silent_ms)
        };
        let here = known.values().filter(|known| !known.left);
        let (gone, all) = here.fold((0usize, 0usize), |(gone, all), known| {
            (gone + usize::from(known.silent_since_ms.is_some()), all + 1)
        });
        let blind = gone * 2 > all;
        let alive = known.values().filter(|known| (blind && !known.left) || !is_gone(known));
        alive.map(|known| known.agent.device).collect()
    }

    /// All devices of the owner of `device`, itself included.
    pub fn siblings(&self, device: DeviceId) -> BTreeSet<DeviceId> {
        let owner = self.owner(device);
        let mut all: BTreeSet<_> = [device].into();
        let Some(owner) = owner else { return all };
        let known = self.lock();
        all.extend(
            known.values().map(|known| known.agent).filter(|a| a.owner == owner).map(|a| a.device),
        );
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(owners.iter().filter(|(_, of)| **of == owner).map(|(device, _)| *device));
        all
    }

    /// An agent failed.
    pub fn failed(&self, device: DeviceId, now_ms: u64) {
        if let Some(known) = self.lock().get_mut(&device) {
            let doubt = DOUBT_MS << known.failures.min(16);
            known.failures = known.failures.saturating_add(1);
            known.doubted_until_ms = now_ms.saturating_add(doubt.min(DOUBT_MS_MAX));
        }
    }

    /// An agent gave bytes that are not what it was given. It gets nothing more.
    pub fn lied(&self, device: DeviceId) {
        if let Some(known) = self.lock().get_mut(&device) {
            known.lied = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubt_doubles_and_ends() {
        let fleet = Fleet::default();
        let device = DeviceId([1; 32]);
        let peer = Peer { key: [1; 32], address: ([127, 0, 0, 1], 1).into() };
        let agent = Agent {
            device,
            peer,
            owner: Account::ZERO,
            rail: Some(RailId(1)),
            paid_room: 100,
            proven: true,
        };
        fleet.update([agent]);
        fleet.offers(device, 70);
        let one = |now| fleet.candidates(now)[0];
        assert_eq!((one(0).free, one(0).reachable, one(0).proven), (70, true, true));
        fleet.failed(device, 0);
        assert!(!one(999).reachable && one(1_000).reachable && !one(1_000).proven);
        fleet.failed(device, 1_000);
        assert!(fleet.is_doubtful(device, 2_999) && !fleet.is_doubtful(device, 3_000));
        (0..40).for_each(|_| fleet.failed(device, 0));
        assert!(!fleet.is_doubtful(device, DOUBT_MS_MAX));
        fleet.answered(device, 80);
        fleet.answered(device, 160);
        assert_eq!(fleet.rank(device, 0), (false, 90));
        fleet.took(device, 60);
        assert_eq!(one(0).free, 10);
        // A new address is a new chance; a lie is never forgotten.
        fleet.failed(device, 0);
        fleet.update([Agent {
            peer: Peer { key: [1; 32], address: ([127, 0, 0, 1], 2).into() },
            ..agent
        }]);
        assert!(one(0).reachable);
        fleet.lied(device);
        assert!(!one(u64::MAX).reachable && fleet.is_doubtful(device, u64::MAX));
        fleet.update([]);
        assert!(fleet.agents().is_empty() && fleet.is_doubtful(device, 0));
    }

    #[test]
    fn who_is_silent_for_long_is_gone_unless_most_are() {
        let fleet = Fleet::default();
        let device = |number: u8| DeviceId([number; 32]);
        fleet.update((0..5).map(|number| Agent {
            device: device(number),
            peer: Peer { key: [number; 32], address: ([127, 0, 0, 1], 1).into() },
            owner: Account::repeat_byte(number / 2),
            rail: None,
            paid_room: 0,
            proven: false,
        }));
        let gone = |now| {
            (0..5).filter(|at| !fleet.alive(100, now).contains(&device(*at))).collect::<Vec<_>>()
        };
        fleet.silent(device(1), 10);
        fleet.silent(device(1), 60);
        fleet.silent(device(2), 50);
        assert_eq!((gone(109), gone(110), gone(150)), (vec![], vec![1], vec![1, 2]));
        // A refusal is a failure and an answer.
        fleet.failed(device(3), 0);
        assert_eq!(gone(150), [1, 2]);
        // Three of five: it is us.
        fleet.silent(device(4), 140);
        assert_eq!(gone(1_000), [0; 0]);
        fleet.answered(device(1), 5);
        assert_eq!(gone(1_000), [2, 4]);
        fleet.leaves(device(0), true);
        assert_eq!(fleet.leaving(), [device(0)].into());
        assert!(!fleet.candidates(1_000)[0].reachable);
        assert_eq!(fleet.siblings(device(2)), [device(2), device(3)].into());
    }

    #[test]
    fn who_left_gets_nothing_new_and_can_be_read_and_who_is_busy_is_asked_last() {
        let fleet = Fleet::default();
        let (device, other) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let peer = Peer { key: [1; 32], address: ([127, 0, 0, 1], 1).into() };
        let owner = Account::repeat_byte(1);
        let agent =
            Agent { device, peer, owner, rail: Some(RailId(1)), paid_room: 100, proven: true };
        fleet.update([agent]);
        fleet.owned([(device, owner), (other, Account::repeat_byte(2))]);
        fleet.busy(device, 0);
        assert!(fleet.rank(device, DOUBT_MS - 1).0 && !fleet.rank(device, DOUBT_MS).0);
        assert!(fleet.candidates(0)[0].reachable && fleet.candidates(0)[0].proven);
        fleet.update([]);
        fleet.owned([]);
        assert!(fleet.candidates(0).is_empty() && fleet.agents().is_empty());
        assert_eq!(fleet.peer(device), Some(peer));
        assert!(fleet.rank(device, u64::MAX).0, "those that stay are asked first");
        assert_eq!(fleet.owner(device), Some(owner));
        assert_eq!(fleet.owner(other), Some(Account::repeat_byte(2)), "it cannot be dialled");
        fleet.update([agent]);
        assert_eq!(fleet.candidates(0).len(), 1);
    }
}
