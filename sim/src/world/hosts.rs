//! The machines of a plan before they get power.

use super::{host::Host, machine::Hardware, people};
use crate::{
    adversaries::{Plot, message::Signature, proxy::Interposed},
    checkers::court::Court,
    faults::{disk::Disk, wire::Wire},
    scenario::{Late, Plan},
};
use commonware_cryptography::{Signer as _, ed25519};
use commonware_utils::ordered::Set;
use consensus::{Peer, ValidatorKeys};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicI64},
};

/// The machines of a plan, off, and who stands between them and the network.
pub(super) fn hosts(
    plan: &Plan,
    plot: &Plot,
    namespace: &[u8],
    (court, wire): (&Arc<Court>, &Arc<Wire>),
) -> Vec<Host> {
    let secrets: Vec<_> = (0..plan.machines).filter_map(people::seat).collect();
    let keys: Vec<ed25519::PrivateKey> = secrets.iter().map(|(_, key)| key.clone()).collect();
    let seats = keys.iter().take(plan.seats).map(ed25519::PrivateKey::public_key);
    let seats = Set::from_iter_dedup(seats);
    let addresses: Vec<_> =
        (0..plan.machines).map(|machine| address(machine, plan.loopback)).collect();
    let peer = |other: usize| {
        let key = secrets[other].0.network_key();
        Peer { key, address: addresses[other] }
    };
    let host = |(machine, (validator, key)): (usize, &(ValidatorKeys, ed25519::PrivateKey))| {
        let peers = (0..plan.machines).filter(|other| *other != machine).map(peer).collect();
        let hardware = Hardware {
            machine,
            address: addresses[machine],
            skew: Arc::new(AtomicI64::new(0)),
            disk: Arc::new(Disk::default()),
            wire: Arc::clone(wire),
        };
        let mut host = Host::new(hardware, validator.clone(), peers);
        host.blocks_served = plan.blocks_served;
        host.kind = plan.kinds.get(&machine).copied();
        if let Some(Late { role, replay_blocks }) = plan.late.get(&machine) {
            (host.role, host.replay_blocks) = (*role, *replay_blocks);
        }
        let signature = Signature::new(namespace, seats.clone(), key);
        let conduct = host.kind.zip(signature);
        let conduct = conduct.and_then(|(kind, signature)| kind.conduct(signature, plot));
        host.interposed = conduct.map(|conduct| {
            Arc::new(Interposed {
                me: machine,
                keys: keys.clone(),
                addresses: addresses.clone(),
                namespace: namespace.to_vec(),
                conduct,
                court: Arc::clone(court),
            })
        });
        host
    };
    secrets.iter().enumerate().map(host).collect()
}

/// Where a machine listens.
fn address(machine: usize, loopback: bool) -> SocketAddr {
    let n = u8::try_from(machine).unwrap_or(u8::MAX);
    if loopback {
        SocketAddr::from(([127, 0, 0, 1], 4_000 + u16::from(n)))
    } else {
        SocketAddr::from(([10, 0, 0, n.saturating_add(1)], 4_000))
    }
}
