//! Who is connected: so many in all, of one host, and of one key.
//!
//! A host is an IPv4 address or an IPv6 network of 64 bits, as one household or server has it. Keys cost
//! nothing and addresses do, so hosts are what keeps one stranger from taking every place; the limit of a
//! key keeps a peer that dials again and again from crowding out its own neighbours. Loopback is not
//! counted: whoever is on this machine has better ways to harm it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Limits, memory::Share};

/// The places of one endpoint.
#[derive(Debug)]
pub(crate) struct Crowd {
    limits: Limits,
    frame_max: usize,
    who: Mutex<Who>,
}

#[derive(Debug, Default)]
struct Who {
    connections: usize,
    hosts: BTreeMap<IpAddr, (usize, Arc<Share>)>,
    keys: BTreeMap<[u8; 32], usize>,
}

/// One connection's place, free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    host: IpAddr,
    key: Option<[u8; 32]>,
    /// The memory that all connections of this host share.
    pub(crate) share: Arc<Share>,
}

impl Crowd {
    pub(crate) fn new(limits: Limits, frame_max: usize) -> Self {
        Self { limits, frame_max, who: Mutex::default() }
    }

    /// A place for a connection from `addr`, unless all, or all of its host, are taken.
    pub(crate) fn enter(self: &Arc<Self>, addr: IpAddr) -> Option<Place> {
        let host = host(addr);
        let mut who = self.who();
        let held = who.hosts.get(&host).map_or(0, |(held, _)| *held);
        let room = held < self.limits.connections_per_host_max || host.is_loopback();
        if who.connections >= self.limits.inbound_connections_max || !room {
            return None;
        }
        who.connections += 1;
        let share = || (0, Arc::new(Share::new(&self.limits, self.frame_max)));
        let (held, share) = who.hosts.entry(host).or_insert_with(share);
        *held += 1;
        let share = Arc::clone(share);
        Some(Place { crowd: Arc::clone(self), host, key: None, share })
    }

    /// Whether at least half of all places are taken.
    pub(crate) fn is_dense(&self) -> bool {
        self.who().connections >= self.limits.inbound_connections_max.div_ceil(2)
    }

    fn who(&self) -> MutexGuard<'_, Who> {
        self.who.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Says whose place it is, once the handshake has proved it. False when that key has enough already.
    pub(crate) fn belongs_to(&mut self, key: [u8; 32]) -> bool {
        let mut who = self.crowd.who();
        let held = who.keys.entry(key).or_default();
        if *held >= self.crowd.limits.connections_per_key_max {
            return false;
        }
        *held += 1;
        self.key = Some(key);
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut who = self.crowd.who();
        who.connections -= 1;
        if let Some((held, _)) = who.hosts.get_mut(&self.host) {
            *held -= 1;
            if *held == 0 {
                who.hosts.remove(&self.host);
            }
        }
        if let Some(key) = self.key
            && let Some(held) = who.keys.get_mut(&key)
        {
            *held -= 1;
            if *held == 0 {
                who.keys.remove(&key);
            }
        }
    }
}

/// Whom an address belongs to: an IPv4 address is its own host, an IPv6 network of 64 bits is one.
pub fn host(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) if !addr.is_loopback() => {
            Ipv6Addr::from_bits(addr.to_bits() >> 64 << 64).into()
        }
        addr => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd() -> Arc<Crowd> {
        let limits = Limits {
            inbound_connections_max: 6,
            connections_per_host_max: 2,
            connections_per_key_max: 1,
            ..Limits::default()
        };
        Arc::new(Crowd::new(limits, 1 << 20))
    }

    fn enter(crowd: &Arc<Crowd>, addr: &str) -> Option<Place> {
        crowd.enter(addr.parse().unwrap())
    }

    #[test]
    fn one_host_never_takes_all_places() {
        let crowd = crowd();
        let first = enter(&crowd, "203.0.113.1").unwrap();
        let _second = enter(&crowd, "::ffff:203.0.113.1").unwrap();
        assert!(enter(&crowd, "203.0.113.1").is_none());
        let _other = enter(&crowd, "203.0.113.2").unwrap();
        drop(first);
        enter(&crowd, "203.0.113.1").unwrap();
    }

    #[test]
    fn an_ipv6_network_is_one_host_and_loopback_none() {
        let crowd = crowd();
        let _held: Vec<_> =
            (1..=2).map(|i| enter(&crowd, &format!("2001:db8::{i}")).unwrap()).collect();
        assert!(enter(&crowd, "2001:db8::3").is_none());
        let _next = enter(&crowd, "2001:db8:0:1::1").unwrap();
        assert!(crowd.is_dense());
        let _own: Vec<_> = (0..3).map(|_| enter(&crowd, "127.0.0.1").unwrap()).collect();
        assert!(enter(&crowd, "127.0.0.1").is_none(), "all places are taken");
    }

    #[test]
    fn one_key_never_takes_all_places_of_its_host() {
        let crowd = crowd();
        let mut first = enter(&crowd, "203.0.113.1").unwrap();
        let mut second = enter(&crowd, "203.0.113.1").unwrap();
        assert!(first.belongs_to([1; 32]));
        assert!(!second.belongs_to([1; 32]));
        assert!(second.belongs_to([2; 32]));
        drop(first);
        assert!(enter(&crowd, "203.0.113.1").unwrap().belongs_to([1; 32]));
        assert!(crowd.who().keys.len() == 1, "what is free is forgotten");
    }
}
