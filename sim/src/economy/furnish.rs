//! How devices come to a network: registered, staked, paid by rails, with what they hold on the ledger.

use super::{NETWORK, device::Device};
use crate::{
    checkers::Broken,
    world::{
        errands::Errand,
        people::{CHAIN, call, customer, founder},
    },
};
use alloy_primitives::{Address, U256};
use contracts::{
    abi::{IDevices, IDollars, IRails, IStakes, IToken},
    address::{self, DEVICES, DOLLARS, RAILS, STABLECOIN, STAKES},
};
use protocol::{
    Tokens, fixtures,
    key::registration_message,
    manifest::{EvidenceRules, KindTerms, Manifest},
};

/// Stake of a device.
const STAKE: Tokens = Tokens::whole(100);
/// What the customer pays in, in millionths of a dollar.
pub const DEPOSIT: u64 = 50_000_000;
/// The most that a rail pays, in millionths of a dollar.
const LIMIT: u64 = 1_000_000;
/// What a rail pays for an epoch, in millionths of a dollar.
const RATE: u64 = 1_000;

/// The rules of the network.
pub fn manifest() -> Manifest {
    let rules = fixtures::manifest(storage_kind::STORAGE);
    let kinds = rules.kinds.iter().map(|terms| KindTerms { positions: 2, window: 4, ..*terms });
    Manifest {
        name: "simulated".into(),
        evidence: EvidenceRules { slack: 3, ..rules.evidence },
        kinds: kinds.collect(),
        ..rules
    }
}

/// What founder and customer do, one after the other, for these devices, in the order of their rails.
///
/// # Errors
/// A key is no key.
pub(super) fn errands(devices: &[Device]) -> Result<[Errand; 2], Broken> {
    let wallets = founder().zip(customer());
    let (founder, customer) = wallets.ok_or_else(|| Broken::new("wallets without keys"))?;
    let (owner, payer) = (founder.address(), customer.address());
    let stake = U256::from(STAKE.0);
    let all = U256::MAX;
    let approve = IToken::approveCall { spender: STAKES, value: all };
    let mut acts = vec![call(address::token(NETWORK), &approve)];
    for device in devices {
        acts.push(call(DEVICES, &register(device, owner)));
        let stake = IStakes::stakeCall { device: device.secret().id().into(), amount: stake };
        acts.push(call(STAKES, &stake));
    }
    let rails = devices.iter().map(|device| IRails::OpenRail {
        network: NETWORK.0,
        payee: owner,
        signer: payer,
        device: device.secret().id().into(),
        limit: LIMIT,
        rate: RATE,
        expiry: 1_000,
    });
    let amount = U256::from(DEPOSIT);
    let datasets = devices.iter().map(Device::dataset).collect();
    let payments = vec![
        call(STABLECOIN, &IToken::approveCall { spender: DOLLARS, value: all }),
        call(DOLLARS, &IDollars::depositCall { stable: amount }),
        call(RAILS, &IRails::depositCall { amount }),
        call(RAILS, &IRails::openManyCall { rails: rails.collect() }),
        call(RAILS, &IRails::freezeCall { datasets }),
    ];
    Ok([Errand { wallet: founder, acts }, Errand { wallet: customer, acts: payments }])
}

fn register(device: &Device, owner: Address) -> IDevices::registerCall {
    let key = device.secret().key();
    let message = registration_message(CHAIN, NETWORK, owner);
    IDevices::registerCall {
        network: NETWORK.0,
        kind: storage_kind::STORAGE.0,
        alg: key.algorithm(),
        x: key.x().into(),
        y: key.y().into(),
        capacity: 1 << 30,
        cell: 0,
        offer: Vec::new().into(),
        proof: device.secret().sign(&message).to_vec().into(),
    }
}
