//! Calls of the system contracts, over an empty ledger and over one that has begun as a devnet does.
//!
//! An input is a sequence of steps. Each begins with five bytes: which contract, who calls, how, and the
//! length of selector and arguments, which follow. Contract 255 is none: the step moves on by as many blocks
//! as its second byte says, so that terms, epochs and windows pass.

use crate::Target;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, SolInterface};
use contracts::{
    Call, Failure, Fault, GenesisConfig, INPUT_MAX, SeatRules,
    abi::{
        IDevices, IDollars, IGuard, INetworks, IRails, ISettlements, IStakes, ISystem, IToken,
        IValidators, IVotes,
    },
    address,
    testing::{
        Memory, SeatKeys,
        network::{
            self, BOND, CHAIN, CUSTOMER, FOUNDER, NETWORK, OPERATOR, VALIDATOR, manifest,
            registration, seats,
        },
    },
};
use protocol::{Micros, NetworkId, Tokens, cbor, key::DeviceSecret, manifest::Manifest};
use std::sync::LazyLock;

/// The step that moves on.
const BLOCKS: u8 = 255;
/// Most blocks that one input moves on by.
const BLOCKS_MAX: u64 = 128;
/// What a call may use up.
const GAS: u64 = 30_000_000;
pub(super) const CONTRACTS: Target = Target {
    name: "contracts",
    about: "calls of the system contracts, one after another in an empty ledger",
    run: |bytes| run(Memory::new(CHAIN), bytes).answered,
    seeds: || {
        let clock = ISettlements::clockCall {}.abi_encode();
        let count = INetworks::countCall {}.abi_encode();
        vec![step(address::SETTLEMENTS, 1, &clock), step(address::NETWORKS, 1, &count)]
    },
};

pub(super) const DEVNET: Target = Target {
    name: "contracts-devnet",
    about: "calls of the system contracts, in a ledger with a network, a device and a rail",
    run: |bytes| run(WORLD.clone(), bytes).read,
    seeds: || {
        let mut seeds = honest();
        seeds.extend(every_function());
        seeds
    },
};

/// What came of an input.
struct Outcome {
    /// A call returned.
    answered: bool,
    /// A call's arguments were those of a function, whether or not it did what they ask.
    read: bool,
}

fn run(mut memory: Memory, bytes: &[u8]) -> Outcome {
    memory.gas_limit = GAS;
    let (mut rest, mut outcome) = (bytes, Outcome { answered: false, read: false });
    let last = memory.height + BLOCKS_MAX;
    while let Some(([contract, caller, bits, high, low], tail)) = rest.split_first_chunk::<5>() {
        if *contract == BLOCKS {
            memory.advance(last.min(memory.height + u64::from(*caller)));
            rest = tail;
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (input, after) = tail.split_at(length);
        let place = usize::from(*contract) % (address::SINGLETONS.len() + 1);
        let token = || address::token(NetworkId(NETWORK));
        let answer = memory.run(&Call {
            contract: address::SINGLETONS.get(place).copied().unwrap_or_else(token),
            caller: Address::repeat_byte(*caller),
            value: U256::from(BOND) * U256::from(bits >> 2 & 1),
            input,
            is_static: bits & 1 == 1,
            is_direct: bits & 2 == 0,
        });
        outcome.answered |= answer.is_ok();
        outcome.read |= was_read(&answer);
        rest = after;
    }
    outcome
}

/// Whether a call came as far as the function it names; panics if the contract fell over its own state.
fn was_read(answer: &Result<Vec<u8>, Failure>) -> bool {
    match answer {
        Err(Failure::Fault(Fault::Storage(text))) => panic!("a contract cannot go on: {text}"),
        Err(failure) => {
            failure.revert::<ISystem::UnknownSelector>().is_none()
                && failure.revert::<ISystem::MalformedArguments>().is_none()
                && failure.revert::<ISystem::NotPayable>().is_none()
                && failure.revert::<ISystem::NotDirect>().is_none()
        }
        Ok(_) => true,
    }
}

/// One step of an input.
fn step(contract: Address, caller: u8, input: &[u8]) -> Vec<u8> {
    assert!(input.len() <= INPUT_MAX, "a call that is taken");
    let of = |known: &Address| *known == contract;
    let place = address::SINGLETONS.iter().position(of).unwrap_or(address::SINGLETONS.len());
    let place = u8::try_from(place).expect("a few contracts");
    let length = u16::try_from(input.len()).expect("a short call").to_be_bytes();
    [&[place, caller, 0], &length[..], input].concat()
}

/// A ledger that has begun.
static WORLD: LazyLock<Memory> = LazyLock::new(|| {
    let mut memory = Memory::new(CHAIN);
    contracts::genesis(&config(), &mut memory).expect("the contracts take their configuration");
    memory.coins.insert(address::VALIDATORS, config().bonded());
    memory.advance(1);
    for (caller, contract, input) in begun() {
        let call = Call {
            contract,
            caller,
            value: U256::ZERO,
            input: &input,
            is_static: false,
            is_direct: true,
        };
        memory.run(&call).expect("a call of the beginning");
    }
    memory
});

pub(super) fn config() -> GenesisConfig {
    GenesisConfig {
        validators: seats(&[(VALIDATOR, 2)]),
        seats: SeatRules { term_length: 20, unbonding_terms: 2, ..SeatRules::default() },
        guardian: FOUNDER,
        breaker_floor: Micros(1_000_000),
        ..network::config()
    }
}

/// The device of the world.
fn device() -> DeviceSecret {
    DeviceSecret::from_seed(super::SECRET)
}

fn rail() -> IRails::OpenRail {
    IRails::OpenRail {
        network: NETWORK,
        payee: OPERATOR,
        signer: CUSTOMER,
        device: device().id().into(),
        limit: 1_000_000,
        rate: 1_000,
        expiry: 1_000,
    }
}

/// What has happened before: caller, contract, input.
fn begun() -> Vec<(Address, Address, Vec<u8>)> {
    let (token, id) = (address::token(NetworkId(NETWORK)), device().id().into());
    let (dollars, stake) = (U256::from(500_000_000), U256::from(Tokens::whole(100).0));
    vec![
        (FOUNDER, token, IToken::transferCall { to: OPERATOR, value: stake }.abi_encode()),
        (OPERATOR, address::DEVICES, registration(OPERATOR, &device()).abi_encode()),
        (
            OPERATOR,
            token,
            IToken::approveCall { spender: address::STAKES, value: stake }.abi_encode(),
        ),
        (
            OPERATOR,
            address::STAKES,
            IStakes::stakeCall { device: id, amount: stake / U256::from(2) }.abi_encode(),
        ),
        (
            CUSTOMER,
            address::STABLECOIN,
            IToken::approveCall { spender: address::DOLLARS, value: dollars }.abi_encode(),
        ),
        (CUSTOMER, address::DOLLARS, IDollars::depositCall { stable: dollars }.abi_encode()),
        (
            CUSTOMER,
            address::RAILS,
            IRails::depositCall { amount: dollars / U256::from(2) }.abi_encode(),
        ),
        (CUSTOMER, address::RAILS, IRails::openCall { rail: rail() }.abi_encode()),
    ]
}

/// What honest accounts do next.
fn honest() -> Vec<Vec<u8>> {
    let id: B256 = device().id().into();
    let (customer, operator, founder, validator) = (0xc0, 0x0e, 0xf0, 0x7a);
    let some = U256::from(1_000);
    let pass = |blocks| vec![BLOCKS, blocks, 0, 0, 0];
    let register = SeatKeys::derive(9).register(CHAIN, VALIDATOR, VALIDATOR, "127.0.0.1:9000");
    let amended = cbor::to_vec(&Manifest { version: 2, ..manifest() });
    let other = DeviceSecret::from_seed([9; 32]);
    let steps = [
        vec![
            step(
                address::RAILS,
                customer,
                &IRails::openManyCall { rails: vec![rail()] }.abi_encode(),
            ),
            step(
                address::RAILS,
                customer,
                &IRails::topUpCall { rail: 1, limit: 2_000_000 }.abi_encode(),
            ),
            pass(20),
            step(address::RAILS, customer, &IRails::closeCall { rail: 1 }.abi_encode()),
            step(address::RAILS, customer, &IRails::withdrawCall { amount: some }.abi_encode()),
        ],
        vec![
            step(address::DEVICES, 9, &registration(Address::repeat_byte(9), &other).abi_encode()),
            step(
                address::STAKES,
                operator,
                &IStakes::unbondCall { device: id, amount: some }.abi_encode(),
            ),
            step(address::DEVICES, operator, &IDevices::retireCall { device: id }.abi_encode()),
        ],
        vec![
            step(address::VALIDATORS, validator, &register.abi_encode()),
            pass(45),
            step(
                address::VALIDATORS,
                validator,
                &IValidators::unbondCall { amount: some }.abi_encode(),
            ),
            pass(60),
            step(address::VALIDATORS, validator, &IValidators::withdrawCall {}.abi_encode()),
        ],
        vec![
            step(
                address::NETWORKS,
                founder,
                &INetworks::amendCall { network: 1, manifest: amended.into() }.abi_encode(),
            ),
            step(
                address::token(NetworkId(NETWORK)),
                founder,
                &IVotes::delegateCall { delegatee: CUSTOMER }.abi_encode(),
            ),
        ],
    ];
    steps.map(|steps| steps.concat()).to_vec()
}

/// Every function with as many empty words as it takes, of those that can be called so.
fn every_function() -> Vec<Vec<u8>> {
    let token = address::token(NetworkId(NETWORK));
    let contracts: [(Address, Vec<[u8; 4]>); 10] = [
        (token, IToken::ITokenCalls::selectors().collect()),
        (token, IVotes::IVotesCalls::selectors().collect()),
        (address::DOLLARS, IDollars::IDollarsCalls::selectors().collect()),
        (address::NETWORKS, INetworks::INetworksCalls::selectors().collect()),
        (address::DEVICES, IDevices::IDevicesCalls::selectors().collect()),
        (address::STAKES, IStakes::IStakesCalls::selectors().collect()),
        (address::RAILS, IRails::IRailsCalls::selectors().collect()),
        (address::SETTLEMENTS, ISettlements::ISettlementsCalls::selectors().collect()),
        (address::GUARD, IGuard::IGuardCalls::selectors().collect()),
        (address::VALIDATORS, IValidators::IValidatorsCalls::selectors().collect()),
    ];
    let mut seeds = Vec::new();
    for (contract, selectors) in contracts {
        for selector in selectors {
            let called = (0..12)
                .map(|words| step(contract, 0xf0, &[&selector[..], &vec![0; 32 * words]].concat()));
            seeds.extend(called.into_iter().find(|seed| run(WORLD.clone(), seed).read));
        }
    }
    seeds
}
