//! Founding, amending, and manifests that are refused.

use crate::abi::INetworks::{
    self, ActivationTooEarly, InvalidManifest, NoManifest, NoSuchNetwork, NotFounder,
    UnbondingTooShort,
};
use crate::abi::ISystem::{Empty, TooMany};
use crate::abi::{IToken, IVotes};
use crate::address::{self, NETWORKS};
use crate::tests::world::{CUSTOMER, FOUNDER, NETWORK, STRANGER, World, manifest};
use alloy_primitives::{Address, B256, U256};
use protocol::manifest::Manifest;
use protocol::{Digest, NetworkId, Ppm, cbor};

fn create(manifest: &Manifest) -> INetworks::createCall {
    INetworks::createCall {
        manifest: cbor::to_vec(manifest).into(),
        name: "Second".into(),
        symbol: "TWO".into(),
        supply: U256::from(1_000),
    }
}

fn amend(manifest: &Manifest) -> INetworks::amendCall {
    INetworks::amendCall { network: NETWORK, manifest: cbor::to_vec(manifest).into() }
}

#[test]
fn a_network_is_founded_with_its_token() {
    let mut world = World::new();
    world.advance_to(3);
    assert_eq!(world.ok(CUSTOMER, NETWORKS, &create(&manifest())), 2);
    assert_eq!(world.view(NETWORKS, &INetworks::countCall {}), 2);
    let info = world.view(NETWORKS, &INetworks::networkInfoCall { network: 2 });
    let token = address::token(NetworkId(2));
    assert_eq!((info.founder, info.treasury, info.token), (CUSTOMER, CUSTOMER, token));
    assert_eq!((info.created, info.start, info.versions), (3, 5, 1));
    assert_eq!((info.name.as_str(), info.symbol.as_str()), ("Second", "TWO"));
    assert_eq!(world.balance(token, CUSTOMER), U256::from(1_000));
    assert_eq!(world.view(token, &IToken::decimalsCall {}), 18);
    assert_eq!(world.view(token, &IVotes::CLOCK_MODECall {}), "mode=blocknumber&from=default");
    assert!(world.memory.code.contains(&token), "the token's account would be cleared as empty");
    let early = INetworks::manifestCall { network: 2, epoch: 4 };
    let failure = world.memory.view(NETWORKS, &early).unwrap_err();
    assert_eq!(failure.revert(), Some(NoManifest { network: 2, epoch: 4 }));
    let bytes = world.view(NETWORKS, &INetworks::manifestCall { network: 2, epoch: 5 });
    assert_eq!(cbor::from_slice(&bytes), Ok(manifest()));
}

#[test]
fn a_version_holds_from_its_activation_on() {
    let mut world = World::new();
    world.advance_to(4);
    let second = Manifest { beta: Ppm(400_000), ..manifest() };
    let third = Manifest { beta: Ppm(300_000), ..manifest() };
    assert_eq!(world.ok(FOUNDER, NETWORKS, &amend(&second)), 1);
    let early = INetworks::amendAtCall {
        network: NETWORK,
        activation: 6,
        manifest: cbor::to_vec(&third).into(),
    };
    let failure = world.fails(FOUNDER, NETWORKS, &early);
    assert_eq!(failure.revert(), Some(ActivationTooEarly { activation: 6, earliest: 7 }));
    world.ok(FOUNDER, NETWORKS, &INetworks::amendAtCall { activation: 9, ..early });
    for (epoch, expected) in
        [(0, manifest()), (5, manifest()), (6, second.clone()), (8, second), (9, third.clone())]
    {
        let bytes = world.view(NETWORKS, &INetworks::manifestCall { network: NETWORK, epoch });
        assert_eq!(cbor::from_slice(&bytes), Ok(expected), "epoch {epoch}");
    }
    let version = world.view(NETWORKS, &INetworks::versionCall { network: NETWORK, index: 2 });
    assert_eq!(version.activation, 9);
    assert_eq!(version.digest, B256::from(Digest::of(&cbor::to_vec(&third))));
}

#[test]
fn manifests_that_break_a_rule_are_refused() {
    let mut world = World::new();
    // (1 - beta) x burn share: 0.5 x 9.9 % is below 5 %.
    let mut wash = manifest();
    wash.split.burn = Ppm(99_000);
    wash.split.operator = Ppm(851_000);
    let failure = world.fails(CUSTOMER, NETWORKS, &create(&wash));
    let InvalidManifest { reason } = failure.revert().unwrap();
    assert!(reason.contains("at least 5%"), "{reason}");
    let mut short = manifest();
    short.evidence.unbonding_epochs = 2;
    let failure = world.fails(CUSTOMER, NETWORKS, &create(&short));
    assert_eq!(failure.revert(), Some(UnbondingTooShort { unbonding: 2, dispute: 2 }));
    let mut trailing = create(&manifest());
    trailing.manifest = [&trailing.manifest[..], &[0]].concat().into();
    assert!(world.fails(CUSTOMER, NETWORKS, &trailing).revert::<InvalidManifest>().is_some());
    let huge = INetworks::createCall { manifest: vec![0; 8_193].into(), ..create(&manifest()) };
    assert!(world.fails(CUSTOMER, NETWORKS, &huge).revert::<TooMany>().is_some());
    let unnamed = INetworks::createCall { name: String::new(), ..create(&manifest()) };
    assert_eq!(world.fails(CUSTOMER, NETWORKS, &unnamed).revert(), Some(Empty {}));
    let long = INetworks::createCall { symbol: "A".repeat(17), ..create(&manifest()) };
    assert!(world.fails(CUSTOMER, NETWORKS, &long).revert::<TooMany>().is_some());
    assert_eq!(world.view(NETWORKS, &INetworks::countCall {}), 1);
}

#[test]
fn only_the_founder_changes_a_network() {
    let mut world = World::new();
    let founder = INetworks::setFounderCall { network: NETWORK, founder: CUSTOMER };
    let treasury = INetworks::setTreasuryCall { network: NETWORK, treasury: STRANGER };
    let refused = NotFounder { network: NETWORK, caller: STRANGER };
    assert_eq!(world.fails(STRANGER, NETWORKS, &founder).revert(), Some(refused.clone()));
    assert_eq!(world.fails(STRANGER, NETWORKS, &treasury).revert(), Some(refused.clone()));
    assert_eq!(world.fails(STRANGER, NETWORKS, &amend(&manifest())).revert(), Some(refused));
    world.ok(FOUNDER, NETWORKS, &treasury);
    world.ok(FOUNDER, NETWORKS, &founder);
    let nobody = INetworks::setFounderCall { founder: Address::ZERO, ..founder };
    assert_eq!(world.fails(CUSTOMER, NETWORKS, &nobody).revert(), Some(Empty {}));
    let read = world.view(NETWORKS, &INetworks::founderCall { network: NETWORK });
    assert_eq!(read, CUSTOMER);
    let read = world.view(NETWORKS, &INetworks::treasuryCall { network: NETWORK });
    assert_eq!(read, STRANGER);
    for network in [0, 2] {
        let failure = world.memory.view(NETWORKS, &INetworks::tokenCall { network }).unwrap_err();
        assert_eq!(failure.revert(), Some(NoSuchNetwork { network }));
    }
}
