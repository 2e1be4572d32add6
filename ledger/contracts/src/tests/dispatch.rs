//! Every selector is answered; bad calls are refused in the right way.

use super::world::{CUSTOMER, FOUNDER, OPERATOR, STRANGER, World};
use crate::abi::ISystem::{MalformedArguments, NotDirect, NotPayable, UnknownSelector};
use crate::abi::{
    IDevices, IDollars, IGuard, INetworks, IRails, ISettlements, IStakes, IToken, IValidators,
    IVotes,
};
use crate::address::{
    self, DEVICES, DOLLARS, GUARD, NETWORKS, RAILS, SETTLEMENTS, STABLECOIN, STAKES, VALIDATORS,
};
use crate::env::{Call, Failure, Fault};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall as _, SolInterface};
use protocol::NetworkId;

/// All selectors that each contract answers.
fn contracts() -> Vec<(Address, Vec<[u8; 4]>)> {
    fn selectors<I: SolInterface>() -> Vec<[u8; 4]> {
        I::selectors().collect()
    }
    let token = selectors::<IToken::ITokenCalls>();
    let votes = selectors::<IVotes::IVotesCalls>();
    let dollars = selectors::<IDollars::IDollarsCalls>();
    vec![
        (World::token(), [token.clone(), votes].concat()),
        (STABLECOIN, token.clone()),
        (DOLLARS, [token, dollars].concat()),
        (NETWORKS, selectors::<INetworks::INetworksCalls>()),
        (DEVICES, selectors::<IDevices::IDevicesCalls>()),
        (STAKES, selectors::<IStakes::IStakesCalls>()),
        (RAILS, selectors::<IRails::IRailsCalls>()),
        (SETTLEMENTS, selectors::<ISettlements::ISettlementsCalls>()),
        (GUARD, selectors::<IGuard::IGuardCalls>()),
        (VALIDATORS, selectors::<IValidators::IValidatorsCalls>()),
    ]
}

fn call(contract: Address, input: &[u8]) -> Call<'_> {
    let (caller, value) = (CUSTOMER, U256::ZERO);
    Call { contract, caller, value, input, is_static: false, is_direct: true }
}

#[test]
fn every_selector_is_answered() {
    let mut world = World::new();
    let mut answered = 0;
    for (contract, selectors) in contracts() {
        for selector in selectors {
            // Zeros decode as arguments of any types: offsets of zero point at a length of zero.
            let input = [&selector[..], &[0; 32 * 24]].concat();
            let result = world.memory.run(&call(contract, &input));
            world.memory.check().unwrap();
            match result {
                Err(failure @ Failure::Revert(_)) => {
                    assert_eq!(failure.revert::<UnknownSelector>(), None, "{selector:02x?}");
                }
                Err(fault) => panic!("{selector:02x?} of {contract}: {fault}"),
                Ok(_) => answered += 1,
            }
        }
    }
    assert!(answered > 60, "only {answered} views answered");
}

#[test]
fn selectors_of_one_address_differ() {
    for (contract, mut selectors) in contracts() {
        let all = selectors.len();
        selectors.sort_unstable();
        selectors.dedup();
        assert_eq!(selectors.len(), all, "{contract}");
    }
}

#[test]
fn unknown_short_and_malformed_inputs_revert() {
    let mut world = World::new();
    for (contract, selectors) in contracts() {
        for input in [&[][..], &[1, 2, 3], &[0xff; 4], &[0xff; 400]] {
            let failure = world.memory.run(&call(contract, input)).unwrap_err();
            assert!(failure.revert::<UnknownSelector>().is_some(), "{contract}: {failure}");
        }
        for selector in selectors {
            // Dirty upper bytes are no address, no number of 64 bits, and no offset.
            let input = [&selector[..], &[0xff; 32 * 24]].concat();
            let result = world.memory.run(&call(contract, &input));
            assert!(!matches!(result, Err(Failure::Fault(_))), "{selector:02x?}");
        }
    }
    let dirty = [&IToken::balanceOfCall::SELECTOR[..], &[0xff; 32]].concat();
    let failure = world.memory.run(&call(STABLECOIN, &dirty)).unwrap_err();
    assert!(failure.revert::<MalformedArguments>().is_some());
}

#[test]
fn votes_are_for_network_tokens_only() {
    let mut world = World::new();
    let input = IVotes::clockCall {}.abi_encode();
    for (contract, answers) in [(World::token(), true), (STABLECOIN, false), (DOLLARS, false)] {
        assert_eq!(world.memory.run(&call(contract, &input)).is_ok(), answers, "{contract}");
    }
}

#[test]
fn tokens_of_networks_that_do_not_exist_refuse() {
    let mut world = World::new();
    let nowhere = address::token(NetworkId(7));
    let failure = world.memory.run(&call(nowhere, &IToken::nameCall {}.abi_encode())).unwrap_err();
    assert!(failure.revert::<IToken::NoSuchToken>().is_some());
}

#[test]
fn coin_and_delegated_calls_are_refused() {
    let mut world = World::new();
    let input = IToken::totalSupplyCall {}.abi_encode();
    for (contract, _) in contracts() {
        let paid = Call { value: U256::ONE, ..call(contract, &input) };
        let failure = world.memory.run(&paid).unwrap_err();
        assert_eq!(failure.revert::<NotPayable>(), Some(NotPayable { value: U256::ONE }));
        let delegated = Call { is_direct: false, ..call(contract, &input) };
        let failure = world.memory.run(&delegated).unwrap_err();
        assert_eq!(failure.revert::<NotDirect>(), Some(NotDirect {}));
    }
}

#[test]
fn static_calls_write_nothing() {
    let mut world = World::new();
    world.buy_dollars(CUSTOMER, 100);
    world.fund(STRANGER, 500);
    let device = world.register(OPERATOR, 1);
    world.stake(OPERATOR, device, 20);
    let amount = U256::ONE;
    let writes = [
        (CUSTOMER, DOLLARS, IToken::transferCall { to: OPERATOR, value: amount }.abi_encode()),
        (CUSTOMER, DOLLARS, IDollars::redeemCall { amount }.abi_encode()),
        (STRANGER, RAILS, IRails::withdrawCall { amount }.abi_encode()),
        (OPERATOR, STAKES, IStakes::unbondCall { device, amount }.abi_encode()),
        (OPERATOR, DEVICES, IDevices::retireCall { device }.abi_encode()),
        (FOUNDER, World::token(), IVotes::delegateCall { delegatee: FOUNDER }.abi_encode()),
    ];
    for (caller, contract, input) in writes {
        let call = Call { caller, is_static: true, ..call(contract, &input) };
        assert_eq!(world.memory.run(&call), Err(Failure::Fault(Fault::Static)), "{contract}");
        let call = Call { is_static: false, ..call };
        assert!(world.memory.run(&call).is_ok(), "{contract}");
    }
}

#[test]
fn running_out_of_gas_is_a_fault_and_undoes_all() {
    let mut world = World::new();
    world.buy_dollars(CUSTOMER, 100);
    let transfer = IToken::transferCall { to: OPERATOR, value: U256::from(60) };
    let input = transfer.abi_encode();
    let mut whole = world.memory.clone();
    whole.run(&call(DOLLARS, &input)).unwrap();
    for gas in (0..whole.gas_used()).step_by(97) {
        world.memory.gas_limit = gas;
        let result = world.memory.run(&call(DOLLARS, &input));
        assert_eq!(result, Err(Failure::Fault(Fault::OutOfGas)));
        world.memory.gas_limit = u64::MAX;
        world.memory.check().unwrap();
        assert_eq!(world.balance(DOLLARS, CUSTOMER), U256::from(100));
    }
}

#[test]
fn interfaces_have_their_published_ids() {
    let id = |selectors: &[[u8; 4]]| {
        let numbers = selectors.iter().map(|selector| u32::from_be_bytes(*selector));
        numbers.fold(0, |id, number| id ^ number)
    };
    // ERC-721 and ERC-20, as their standards state them.
    let erc721 = [
        IDevices::balanceOfCall::SELECTOR,
        IDevices::ownerOfCall::SELECTOR,
        IDevices::approveCall::SELECTOR,
        IDevices::getApprovedCall::SELECTOR,
        IDevices::setApprovalForAllCall::SELECTOR,
        IDevices::isApprovedForAllCall::SELECTOR,
        IDevices::transferFromCall::SELECTOR,
        IDevices::safeTransferFrom_0Call::SELECTOR,
        IDevices::safeTransferFrom_1Call::SELECTOR,
    ];
    assert_eq!(id(&erc721), 0x80ac_58cd);
    let erc20 = [
        IToken::totalSupplyCall::SELECTOR,
        IToken::balanceOfCall::SELECTOR,
        IToken::allowanceCall::SELECTOR,
        IToken::transferCall::SELECTOR,
        IToken::approveCall::SELECTOR,
        IToken::transferFromCall::SELECTOR,
    ];
    assert_eq!(id(&erc20), 0x3637_2b07);
}

#[test]
fn a_broken_invariant_is_found() {
    use crate::env::Env as _;
    let mut world = World::new();
    world.fund(CUSTOMER, 500);
    let device = world.register(OPERATOR, 1);
    world.stake(OPERATOR, device, 20);
    // Supplies, a network's sum of stakes and backing, all bonds, the number of networks.
    let sum = alloy_primitives::keccak256([U256::ONE, U256::from(3)].map(B256::from).concat());
    let backing = alloy_primitives::keccak256([U256::ONE, U256::from(6)].map(B256::from).concat());
    for (contract, slot) in [
        (DOLLARS, U256::from(2)),
        (World::token(), U256::from(2)),
        (STAKES, sum.into()),
        (RAILS, backing.into()),
        (VALIDATORS, U256::from(4)),
        (NETWORKS, U256::ZERO),
    ] {
        let mut memory = world.memory.clone();
        let before = memory.load(contract, slot).unwrap();
        memory.store(contract, slot, before + U256::from(1)).unwrap();
        assert!(memory.check().is_err(), "slot {slot} of {contract}");
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    use super::world::{CHAIN, VALIDATOR, config, seats};
    use crate::{GenesisConfig, SeatRules, genesis, testing::Memory};
    let (one, rules) = (seats(&[(VALIDATOR, 1)]).remove(0), config().seats);
    let mut poor = one.clone();
    poor.bond = rules.bond_min - 1;
    let with = |seats| GenesisConfig { seats, ..config() };
    let mut broken = config();
    broken.networks[0].manifest.version = 2;
    for config in [
        GenesisConfig { validators: vec![], ..config() },
        GenesisConfig { validators: vec![poor], ..config() },
        GenesisConfig { validators: vec![one.clone(), one], ..config() },
        GenesisConfig { validators: seats(&[(VALIDATOR, 129)]), ..config() },
        with(SeatRules { term_length: 1, ..rules }),
        with(SeatRules { seats_max: 0, ..rules }),
        with(SeatRules { seats_max: 257, ..rules }),
        with(SeatRules { bond_min: 0, ..rules }),
        with(SeatRules { unbonding_terms: 0, ..rules }),
        with(SeatRules { unbonding_terms: 1_025, ..rules }),
        GenesisConfig { breaker_window: 0, ..config() },
        GenesisConfig { dispute_epochs: 3, ..config() },
        broken,
    ] {
        assert!(genesis(&config, &mut Memory::new(CHAIN)).is_err());
    }
}
