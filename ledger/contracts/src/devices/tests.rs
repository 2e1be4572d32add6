//! Registration with proof of possession, the list of a network, and the ERC-721 view.

use crate::abi::IDevices::{
    self, AlreadyRegistered, AlreadyRetired, ERC721InsufficientApproval, ERC721InvalidReceiver,
    ERC721NonexistentToken, InvalidKey, InvalidProof, NoSuchDevice, NoSuchIndex, NotOwner,
    Registered, Staked, UnknownKind, registerCall,
};
use crate::abi::ISystem::TooMany;
use crate::address::DEVICES;
use crate::tests::world::{CUSTOMER, NETWORK, OPERATOR, STRANGER, World, registration, secret};
use alloy_primitives::{B256, U256};
use protocol::Digest;

fn listed(world: &mut World) -> Vec<B256> {
    let count = world.view(DEVICES, &IDevices::deviceCountCall { network: NETWORK });
    let at = |index| IDevices::deviceAtCall { network: NETWORK, index };
    (0..count).map(|index| world.view(DEVICES, &at(index))).collect()
}

#[test]
fn a_device_is_registered_by_its_key() {
    let mut world = World::new();
    world.advance_to(2);
    let device = world.register(OPERATOR, 1);
    assert_eq!(device, B256::from(secret(1).id()));
    let record = world.view(DEVICES, &IDevices::deviceCall { device });
    assert_eq!((record.owner, record.network, record.kind), (OPERATOR, NETWORK, 1));
    assert_eq!((record.alg, record.tier, record.x.0), (-8, 2, secret(1).key().x()));
    assert_eq!((record.registered, record.retired), (2, u64::MAX));
    let offer = world.view(DEVICES, &IDevices::offerCall { device });
    assert_eq!(&offer[..], b"an offer");
    assert_eq!(record.offer, B256::from(Digest::of(&offer)));
    assert_eq!(world.memory.events::<Registered>(DEVICES).len(), 1);
    assert_eq!(listed(&mut world), [device]);
}

#[test]
fn registrations_without_proof_are_refused() {
    let mut world = World::new();
    let good = registration(OPERATOR, &secret(1));
    let device = B256::from(secret(1).id());
    // By another owner, with another's proof, with none.
    let failure = world.fails(STRANGER, DEVICES, &good);
    assert_eq!(failure.revert(), Some(InvalidProof { device }));
    let other = registerCall { proof: registration(OPERATOR, &secret(2)).proof, ..good.clone() };
    assert!(world.fails(OPERATOR, DEVICES, &other).revert::<InvalidProof>().is_some());
    for length in [0, 63, 65] {
        let cut = registerCall { proof: vec![1; length].into(), ..good.clone() };
        assert!(world.fails(OPERATOR, DEVICES, &cut).revert::<InvalidProof>().is_some());
    }
    for (alg, y) in [(-7, B256::ZERO), (0, B256::ZERO), (-8, B256::repeat_byte(1))] {
        let call = registerCall { alg, y, ..good.clone() };
        let failure = world.fails(OPERATOR, DEVICES, &call);
        let refused =
            failure.revert::<InvalidKey>().is_some() || failure.revert::<InvalidProof>().is_some();
        assert!(refused, "alg {alg}: {failure}");
    }
    let unknown = registerCall { kind: 9, ..good.clone() };
    let failure = world.fails(OPERATOR, DEVICES, &unknown);
    assert_eq!(failure.revert(), Some(UnknownKind { network: NETWORK, kind: 9 }));
    let long = registerCall { offer: vec![0; 1_025].into(), ..good.clone() };
    assert!(world.fails(OPERATOR, DEVICES, &long).revert::<TooMany>().is_some());
    world.ok(OPERATOR, DEVICES, &good);
    let failure = world.fails(OPERATOR, DEVICES, &good);
    assert_eq!(failure.revert(), Some(AlreadyRegistered { device }));
}

#[test]
fn retired_devices_leave_the_list_for_good() {
    let mut world = World::new();
    let devices: Vec<_> = (1..=3).map(|number| world.register(OPERATOR, number)).collect();
    world.advance_to(1);
    let retire = IDevices::retireCall { device: devices[0] };
    let failure = world.fails(STRANGER, DEVICES, &retire);
    assert_eq!(failure.revert(), Some(NotOwner { device: devices[0], caller: STRANGER }));
    world.ok(OPERATOR, DEVICES, &retire);
    assert_eq!(listed(&mut world), [devices[2], devices[1]]);
    let record = world.view(DEVICES, &IDevices::deviceCall { device: devices[0] });
    assert_eq!(record.retired, 1);
    assert!(world.fails(OPERATOR, DEVICES, &retire).revert::<AlreadyRetired>().is_some());
    let again = registration(OPERATOR, &secret(1));
    assert!(world.fails(OPERATOR, DEVICES, &again).revert::<AlreadyRegistered>().is_some());
    let beyond = IDevices::deviceAtCall { network: NETWORK, index: 2 };
    let failure = world.memory.view(DEVICES, &beyond).unwrap_err();
    assert_eq!(failure.revert(), Some(NoSuchIndex { index: 2, count: 2 }));
    let ever = world.view(DEVICES, &IDevices::registeredCountCall { network: NETWORK });
    assert_eq!(ever, 3);
}

#[test]
fn endpoints_are_announced_by_the_owner() {
    let mut world = World::new();
    let device = world.register(OPERATOR, 1);
    let set = |endpoint: &str| IDevices::setEndpointCall { device, endpoint: endpoint.into() };
    assert!(world.fails(STRANGER, DEVICES, &set("x:1")).revert::<NotOwner>().is_some());
    world.ok(OPERATOR, DEVICES, &set("agent.example.org:4040"));
    assert_eq!(world.view(DEVICES, &IDevices::endpointCall { device }), "agent.example.org:4040");
    world.ok(OPERATOR, DEVICES, &set("127.0.0.1:9"));
    assert_eq!(world.view(DEVICES, &IDevices::endpointCall { device }), "127.0.0.1:9");
    assert!(world.fails(OPERATOR, DEVICES, &set(&"a".repeat(263))).revert::<TooMany>().is_some());
    let nothing = B256::repeat_byte(3);
    let failure = world.memory.view(DEVICES, &IDevices::endpointCall { device: nothing });
    assert_eq!(failure.unwrap_err().revert(), Some(NoSuchDevice { device: nothing }));
}

#[test]
fn devices_change_hands_as_tokens() {
    let mut world = World::new();
    let device = world.register(OPERATOR, 1);
    let id = U256::from_be_bytes(device.0);
    let owner = IDevices::ownerOfCall { tokenId: id };
    assert_eq!(world.view(DEVICES, &owner), OPERATOR);
    let to_customer = IDevices::transferFromCall { from: OPERATOR, to: CUSTOMER, tokenId: id };
    let failure = world.fails(STRANGER, DEVICES, &to_customer);
    assert!(failure.revert::<ERC721InsufficientApproval>().is_some());
    world.ok(OPERATOR, DEVICES, &IDevices::approveCall { to: STRANGER, tokenId: id });
    world.ok(STRANGER, DEVICES, &to_customer);
    assert_eq!(world.view(DEVICES, &owner), CUSTOMER);
    // The approval is spent.
    let back = IDevices::transferFromCall { from: CUSTOMER, to: OPERATOR, tokenId: id };
    assert!(world.fails(STRANGER, DEVICES, &back).revert::<ERC721InsufficientApproval>().is_some());
    let all = IDevices::setApprovalForAllCall { operator: STRANGER, approved: true };
    world.ok(CUSTOMER, DEVICES, &all);
    world.memory.code.insert(OPERATOR);
    let safe = IDevices::safeTransferFrom_0Call { from: CUSTOMER, to: OPERATOR, tokenId: id };
    let failure = world.fails(STRANGER, DEVICES, &safe);
    assert_eq!(failure.revert(), Some(ERC721InvalidReceiver { receiver: OPERATOR }));
    world.memory.code.remove(&OPERATOR);
    world.ok(STRANGER, DEVICES, &safe);
    for (owner, count) in [(OPERATOR, 1), (CUSTOMER, 0)] {
        let balance = world.view(DEVICES, &IDevices::balanceOfCall { owner });
        assert_eq!(balance, U256::from(count));
    }
    // ERC-165, ERC-721 and its metadata, and not 0xffffffff.
    for (interface, answer) in
        [(0x01ff_c9a7_u32, true), (0x80ac_58cd, true), (0x5b5e_139f, true), (u32::MAX, false)]
    {
        let call = IDevices::supportsInterfaceCall { interfaceId: interface.to_be_bytes().into() };
        assert_eq!(world.view(DEVICES, &call), answer);
    }
    let nothing = IDevices::ownerOfCall { tokenId: U256::ONE };
    let failure = world.memory.view(DEVICES, &nothing).unwrap_err();
    assert_eq!(failure.revert(), Some(ERC721NonexistentToken { tokenId: U256::ONE }));
}

#[test]
fn a_staked_device_stays_with_its_owner() {
    let mut world = World::new();
    let device = world.register(OPERATOR, 1);
    world.stake(OPERATOR, device, 1);
    let (from, to, id) = (OPERATOR, CUSTOMER, U256::from_be_bytes(device.0));
    let give = IDevices::transferFromCall { from, to, tokenId: id };
    assert!(world.fails(OPERATOR, DEVICES, &give).revert::<Staked>().is_some());
}
