use super::*;
use crate::{fixtures, key::DeviceSecret};
use proptest::prelude::*;

fn device(seed: u8) -> Device {
    let secret = DeviceSecret::from_seed([seed; 32]);
    Device {
        id: secret.id(),
        key: secret.key(),
        owner: Account::with_last_byte(seed),
        maker: Account::ZERO,
        kind: KindId(1),
        tier: 2,
        cell: 0,
        capacity: 1 << 30,
        offer: Digest::of(b"offer"),
        stake: Tokens::whole(10),
        netted: Tokens::ZERO,
    }
}

fn rail(id: u64, device: DeviceId) -> Rail {
    Rail {
        id: RailId(id),
        payer: Account::with_last_byte(100),
        payee: Account::with_last_byte(101),
        signer: Account::with_last_byte(102),
        device,
        limit: Micros(1_000_000),
        rate: Micros(1_000),
        nonce: 0,
        opened: Epoch(2),
        expiry: Epoch(9),
        class: 0,
        presented: Micros::ZERO,
    }
}

fn inputs() -> Inputs {
    let mut roster = vec![device(1), device(2), device(3)];
    roster.sort_by_key(|device| device.id);
    let to = |id, device: &Device| Rail { payee: device.owner, ..rail(id, device.id) };
    let rails = vec![to(1, &roster[0]), to(2, &roster[1]), rail(5, DeviceId::default())];
    Inputs {
        version: 1,
        chain_id: 57_233,
        network: NetworkId(1),
        epoch: Epoch(3),
        clock: EpochClock { length: 30, grace: 4 },
        mix: [1; 32],
        latest_root: [2; 32],
        rails_contract: Account::with_last_byte(6),
        treasury: Account::with_last_byte(7),
        manifest: fixtures::manifest(KindId(1)),
        roster,
        rails,
        datasets: vec![Dataset { rail: RailId(2), version: 1, root: Digest::of(b"r"), bytes: 9 }],
        by_device: ByDevice::default(),
    }
}

#[test]
fn reads_back_what_it_wrote() {
    let inputs = inputs();
    assert_eq!(Inputs::from_bytes(&inputs.to_bytes()), Ok(inputs.clone()));
    assert_eq!(crate::cbor::check(&inputs.to_bytes()), Ok(()));
    assert_eq!(inputs.rail(RailId(5)).map(|rail| rail.id), Some(RailId(5)));
    assert_eq!(inputs.rail(RailId(3)), None);
    assert_eq!(inputs.dataset(RailId(2)).map(|dataset| dataset.bytes), Some(9));
    assert_eq!(inputs.rails_of(inputs.roster[1].id).count(), 1);
}

#[test]
fn each_rule_is_kept_and_named() {
    let broken = |change: fn(&mut Inputs)| {
        let mut inputs = inputs();
        change(&mut inputs);
        Inputs::from_bytes(&inputs.to_bytes()).unwrap_err()
    };
    assert_eq!(broken(|i| i.version = 2), InputsError::Version(2));
    assert_eq!(broken(|i| i.roster.reverse()), InputsError::Order("devices"));
    assert_eq!(broken(|i| i.rails[1].id = RailId(1)), InputsError::Order("rails"));
    assert_eq!(broken(|i| i.datasets.push(i.datasets[0])), InputsError::Order("datasets"));
    assert_eq!(broken(|i| i.datasets[0].rail = RailId(3)), InputsError::Dangling("a dataset"));
    assert_eq!(broken(|i| i.rails[0].device = DeviceId([9; 32])), InputsError::Dangling("a rail"));
    assert!(matches!(broken(|i| i.roster[0].key = i.roster[1].key), InputsError::Key(_)));
    assert!(matches!(broken(|i| i.manifest.version = 9), InputsError::Manifest(_)));
    let mut bytes = inputs().to_bytes();
    bytes.push(0);
    assert!(matches!(Inputs::from_bytes(&bytes), Err(InputsError::Decode(_))));
}

#[test]
fn rails_count_from_the_epoch_after_they_were_opened() {
    let mut inputs = inputs();
    let rail = inputs.rails[0];
    assert!(inputs.is_live(&rail));
    inputs.epoch = Epoch(2);
    assert!(!inputs.is_live(&rail));
    inputs.epoch = Epoch(9);
    assert!(inputs.is_live(&rail));
    inputs.epoch = Epoch(10);
    assert!(!inputs.is_live(&rail));
}

#[test]
fn a_rail_to_a_former_owner_of_its_device_does_not_count() {
    let mut inputs = inputs();
    let (rail, fee) = (inputs.rails[0], inputs.rails[2]);
    inputs.roster[0].owner = Account::with_last_byte(77);
    assert!(!inputs.is_live(&rail));
    assert!(inputs.is_live(&fee), "a rail to a service has no device");
}

#[test]
fn a_quota_grows_with_what_the_device_can_owe() {
    let mut inputs = inputs();
    let (idle, serving) = (inputs.roster[2].id, inputs.roster[0].id);
    let floor = u64::from(inputs.manifest.evidence.quota_bytes);
    let terms = *inputs.manifest.terms(KindId(1)).unwrap();
    let rail = u64::from(terms.positions) * DUTY_BYTES + RAIL_BYTES;
    assert!(rail < floor);
    assert_eq!(inputs.quota(idle), floor);
    assert_eq!(inputs.quota(serving), floor + rail);
    assert_eq!(inputs.quota(DeviceId([9; 32])), 0);
    // More than 70 rails are served like one.
    let payee = inputs.roster[0].owner;
    inputs.rails = (0..500).map(|id| Rail { payee, ..self::rail(id, serving) }).collect();
    inputs.by_device = ByDevice::default();
    assert_eq!(inputs.quota(serving), floor + 500 * rail);
    // A rail that has ended, or does not count yet, owes nothing.
    inputs.epoch = Epoch(10);
    assert_eq!(inputs.quota(serving), floor);
    // No rail adds more than the manifest's figure.
    inputs.epoch = Epoch(9);
    inputs.manifest.evidence.quota_bytes = 1_000;
    assert_eq!(inputs.quota(serving), 501_000);
}

proptest! {
    /// The index finds what reading all rails finds, in the same order.
    #[test]
    fn the_rails_of_a_device_are_those_that_name_it(
        devices in proptest::collection::vec(0u8..6, 0..60),
    ) {
        let id = |n: u8| if n == 0 { DeviceId::default() } else { DeviceId([n; 32]) };
        let mut inputs = inputs();
        inputs.rails = (0..).zip(&devices).map(|(at, n)| rail(at, id(*n))).collect();
        for n in 0..7 {
            let scan: Vec<_> = inputs.rails.iter().filter(|rail| rail.device == id(n)).collect();
            prop_assert_eq!(inputs.rails_of(id(n)).collect::<Vec<_>>(), scan);
        }
        let (same, bytes) = (inputs.clone(), inputs.to_bytes());
        prop_assert_eq!(&same, &inputs);
        prop_assert_eq!(same.to_bytes(), bytes);
    }
}
