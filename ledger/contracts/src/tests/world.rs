//! A small ledger to test on: one network, a customer with dollars, an operator with a device.

use crate::abi::IValidators::chargeCall;
use crate::abi::{self, IDollars, IRails, ISettlements, IStakes, IToken, IValidators};
use crate::address::{self, DEVICES, DOLLARS, RAILS, SETTLEMENTS, STABLECOIN, STAKES, VALIDATORS};
use crate::env::Failure;
use crate::testing::Memory;
use crate::{GenesisConfig, genesis};
use alloy_primitives::{Address, B256, U256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use protocol::author::AuthorLeaf;
use protocol::key::DeviceSecret;
use protocol::leaf::Leaf;
use protocol::merkle::Tree;
use protocol::voucher::Voucher;
use protocol::{Epoch, Height, Micros, NetworkId, RailId, Tokens, voucher};

pub(crate) use crate::testing::network::{
    BOND, CHAIN, CLOCK, COIN, CUSTOMER, FOUNDER, FUNDS, GUARDIAN, NETWORK, OPERATOR, PAUSE,
    STRANGER, UNBONDING, VALIDATOR, config, manifest, registration, seats,
};

/// A leaf of the last settlement with its proof.
#[derive(Clone)]
pub(crate) struct Proven {
    pub(crate) epoch: u64,
    pub(crate) leaf: abi::Leaf,
    pub(crate) proof: Vec<B256>,
}

/// A ledger in memory.
pub(crate) struct World {
    pub(crate) memory: Memory,
}

/// A key of a service, for vouchers.
pub(crate) fn signer(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[number; 32]).unwrap()
}

pub(crate) fn secret(number: u8) -> DeviceSecret {
    DeviceSecret::from_seed([number; 32])
}

/// A rail of fees from the caller, served by `signer(1)`.
pub(crate) fn rail(payee: Address, device: B256, limit: u64, expiry: u64) -> IRails::OpenRail {
    let signer = signer(1).address();
    IRails::OpenRail { network: NETWORK, payee, signer, device, limit, rate: limit, expiry }
}

/// A voucher of `signer(1)` on a rail, signed.
pub(crate) fn promise(rail: u64, nonce: u64, amount: u64) -> IRails::presentCall {
    let voucher =
        Voucher { network: NetworkId(NETWORK), rail: RailId(rail), nonce, amount: Micros(amount) };
    let hash = voucher.signing_hash(&voucher::domain(CHAIN, RAILS));
    let signature = signer(1).sign_hash_sync(&hash).unwrap().as_bytes();
    IRails::presentCall {
        voucher: IRails::Voucher { network: NETWORK, rail, nonce, amount },
        signature: signature.into(),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&config())
    }

    pub(crate) fn with(config: &GenesisConfig) -> Self {
        let mut memory = Memory::new(CHAIN);
        memory.accounts.extend([FOUNDER, VALIDATOR, GUARDIAN, CUSTOMER, OPERATOR, STRANGER]);
        memory.accounts.extend(config.validators.iter().map(|validator| validator.owner));
        memory.coins.insert(VALIDATORS, config.bonded());
        genesis(config, &mut memory).unwrap();
        memory.check().unwrap();
        Self { memory }
    }

    /// Sends a call that must succeed, and checks all invariants.
    #[track_caller]
    pub(crate) fn ok<C: SolCall>(&mut self, caller: Address, to: Address, call: &C) -> C::Return {
        let result = self.memory.send(caller, to, call);
        self.memory.check().unwrap();
        result.unwrap_or_else(|failure| panic!("{} failed: {failure}", C::SIGNATURE))
    }

    /// Sends a call that must fail, and checks all invariants.
    #[track_caller]
    pub(crate) fn fails<C: SolCall>(&mut self, caller: Address, to: Address, call: &C) -> Failure {
        let result = self.memory.send(caller, to, call);
        self.memory.check().unwrap();
        let failure = result.err();
        failure.unwrap_or_else(|| panic!("{} must fail", C::SIGNATURE))
    }

    pub(crate) fn view<C: SolCall>(&mut self, contract: Address, call: &C) -> C::Return {
        self.memory.view(contract, call).unwrap()
    }

    pub(crate) fn epoch(&self) -> u64 {
        CLOCK.epoch(Height(self.memory.height)).0
    }

    /// Bonds coin that appears from nowhere.
    pub(crate) fn bond(&mut self, owner: Address, amount: u128) {
        let (call, amount) = (IValidators::bondCall {}, U256::from(amount));
        let result = self.memory.send_coin(owner, VALIDATORS, &call, amount);
        self.memory.check().unwrap();
        result.unwrap();
    }

    /// Moves on to the first block of an epoch.
    pub(crate) fn advance_to(&mut self, epoch: u64) {
        let height = CLOCK.first(Epoch(epoch)).0;
        assert!(height >= self.memory.height, "time does not run backwards");
        self.memory.advance(height);
        self.memory.timestamp += 1;
    }

    pub(crate) fn token() -> Address {
        address::token(NetworkId(NETWORK))
    }

    pub(crate) fn balance(&mut self, token: Address, account: Address) -> U256 {
        self.view(token, &IToken::balanceOfCall { account })
    }

    /// Turns the stablecoin of `account` into dollars.
    pub(crate) fn buy_dollars(&mut self, account: Address, amount: u64) {
        let stable = U256::from(amount);
        let approve = IToken::approveCall { spender: DOLLARS, value: stable };
        self.ok(account, STABLECOIN, &approve);
        self.ok(account, DOLLARS, &IDollars::depositCall { stable });
    }

    /// Turns the stablecoin of `account` into a deposit.
    pub(crate) fn fund(&mut self, account: Address, amount: u64) {
        self.buy_dollars(account, amount);
        self.ok(account, RAILS, &IRails::depositCall { amount: U256::from(amount) });
    }

    pub(crate) fn register(&mut self, owner: Address, number: u8) -> B256 {
        let call = registration(owner, &secret(number));
        self.ok(owner, DEVICES, &call)
    }

    /// Stakes tokens that the founder gives.
    pub(crate) fn stake(&mut self, owner: Address, device: B256, tokens: u64) {
        let amount = U256::from(Tokens::whole(tokens).0);
        let (token, to) = (Self::token(), owner);
        self.ok(FOUNDER, token, &IToken::transferCall { to, value: amount });
        self.ok(owner, token, &IToken::approveCall { spender: STAKES, value: amount });
        self.ok(owner, STAKES, &IStakes::stakeCall { device, amount });
    }

    /// What a validator commits to in the round of this block, with a salt of its own.
    pub(crate) fn ballot(
        &mut self,
        validator: Address,
        epoch: u64,
        outcome: &abi::Outcome,
    ) -> ISettlements::commitCall {
        let round = self.round(epoch).number;
        let call = ISettlements::ballotHashCall {
            network: NETWORK,
            epoch,
            round,
            validator,
            outcome: outcome.clone(),
            salt: salt(validator),
        };
        let ballot = self.view(SETTLEMENTS, &call);
        ISettlements::commitCall { network: NETWORK, epoch, round, ballot }
    }

    /// The round of an epoch in which a vote of this block counts.
    pub(crate) fn round(&mut self, epoch: u64) -> ISettlements::Round {
        self.view(SETTLEMENTS, &ISettlements::roundOfCall { network: NETWORK, epoch })
    }

    #[track_caller]
    pub(crate) fn commit(&mut self, validator: Address, epoch: u64, outcome: &abi::Outcome) {
        let call = self.ballot(validator, epoch, outcome);
        self.ok(validator, SETTLEMENTS, &call);
    }

    #[track_caller]
    pub(crate) fn reveal(&mut self, validator: Address, epoch: u64, outcome: &abi::Outcome) {
        self.ok(validator, SETTLEMENTS, &reveal(validator, epoch, outcome));
    }

    /// Lets blocks pass.
    pub(crate) fn pass(&mut self, blocks: u64) {
        self.memory.advance(self.memory.height + blocks);
    }

    /// Decides an epoch whose grace is over and whose inputs are announced, by the one validator there is.
    #[track_caller]
    pub(crate) fn decide(&mut self, epoch: u64, outcome: &abi::Outcome) {
        self.commit(VALIDATOR, epoch, outcome);
        self.pass(1);
        self.reveal(VALIDATOR, epoch, outcome);
    }

    /// Announces inputs, waits for the grace's end and votes on these leaves: what was vested counts as
    /// pay for presence, what was spent and not earned as burned. Returns every leaf with its proof.
    pub(crate) fn settle(&mut self, epoch: u64, leaves: &[Leaf]) -> Vec<Proven> {
        let (outcome, proven) = outcome(epoch, leaves);
        let inputs = outcome.inputs;
        let announce = ISettlements::announceCall { network: NETWORK, epoch, inputs };
        self.memory.advance(CLOCK.first(Epoch(epoch)).0);
        self.ok(VALIDATOR, SETTLEMENTS, &announce);
        self.memory.advance(CLOCK.grace_end(Epoch(epoch)).0 + 1);
        self.decide(epoch, &outcome);
        proven
    }

    /// As [`World::settle`], and moves on until the leaves can be used.
    pub(crate) fn settle_and_wait(&mut self, epoch: u64, leaves: &[Leaf]) -> Vec<Proven> {
        let proven = self.settle(epoch, leaves);
        let from = ISettlements::claimableFromCall { network: NETWORK, epoch };
        let from = self.view(SETTLEMENTS, &from);
        self.memory.advance(from);
        proven
    }
}

/// What a validator hides its vote with.
pub(crate) fn salt(validator: Address) -> B256 {
    validator.into_word()
}

/// The reveal of what [`World::ballot`] commits to.
pub(crate) fn reveal(
    validator: Address,
    epoch: u64,
    outcome: &abi::Outcome,
) -> ISettlements::revealCall {
    let (outcome, salt) = (outcome.clone(), salt(validator));
    ISettlements::revealCall { network: NETWORK, epoch, outcome, salt }
}

/// The outcome of an epoch with these leaves, and every leaf with its proof.
pub(crate) fn outcome(epoch: u64, leaves: &[Leaf]) -> (abi::Outcome, Vec<Proven>) {
    let (outcome, proven, _) = outcome_with(epoch, leaves, &[]);
    (outcome, proven)
}

/// As [`outcome`], with authors' leaves in the same tree, and what presents each of these.
pub(crate) fn outcome_with(
    epoch: u64,
    leaves: &[Leaf],
    authors: &[AuthorLeaf],
) -> (abi::Outcome, Vec<Proven>, Vec<chargeCall>) {
    let accounts = leaves.iter().map(Leaf::hash);
    let tree = Tree::new(accounts.chain(authors.iter().map(AuthorLeaf::hash)).collect());
    let charge = |leaf: &AuthorLeaf| chargeCall {
        leaf: leaf.into(),
        proof: tree.proof(leaf.hash()).unwrap(),
    };
    let charges = authors.iter().map(charge).collect();
    let proven = leaves.iter().map(|leaf| Proven {
        epoch,
        leaf: leaf.into(),
        proof: tree.proof(leaf.hash()).unwrap(),
    });
    let sum = |part: fn(&Leaf) -> u128| U256::from(leaves.iter().map(part).sum::<u128>());
    let vested = sum(|leaf| leaf.vested.0);
    let cash = sum(|leaf| u128::from(leaf.earned.cash.0));
    let spent = sum(|leaf| u128::from(leaf.spent.0));
    let outcome = abi::Outcome {
        inputs: B256::repeat_byte(u8::try_from(epoch % 255).unwrap() + 1),
        statement: B256::repeat_byte(0xaa),
        root: tree.root(),
        totals: abi::Totals {
            vested,
            cash,
            card: U256::ZERO,
            credit: U256::ZERO,
            spent,
            burned: spent.saturating_sub(cash),
            slashed: sum(|leaf| leaf.slashed.0),
            toppedUp: U256::ZERO,
            bootstrapped: vested,
        },
    };
    (outcome, proven.collect(), charges)
}

/// A leaf of this network.
pub(crate) fn leaf(account: Address) -> Leaf {
    Leaf { account, network: NetworkId(NETWORK), ..Leaf::default() }
}
