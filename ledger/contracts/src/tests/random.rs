//! Money over random sequences of calls.
//!
//! A model of an honest settlement runs beside the contracts: it spends on rails within their limits,
//! splits as the manifest says, and slashes within the stakes that the epoch's inputs named. Whatever is
//! called in between, and however long settlement stands still, every invariant holds after every call, an
//! honest root is never refused, every leaf can be claimed in full, no owner loses more than is still held
//! of its stake, and at the end payers get back all they did not spend. Validators come, go, vote twice
//! and are elected meanwhile, and at the end every coin of theirs has found its owner. They copy, lie and
//! keep silent in votes, false roots are decided, and true and false dissent opens epochs again
//! (`votes.rs`): no false root ever pays, and nobody is fined who told the truth. Authors are charged for their
//! faults by who finds them: what a true leaf says and once, and nothing by an altered or a false one.

mod votes;

use super::world::{
    CHAIN, CLOCK, CUSTOMER, FOUNDER, NETWORK, OPERATOR, Proven, STRANGER, VALIDATOR, World, config,
    leaf, outcome_with, promise, rail, registration, seats, secret,
};
use crate::abi::ISystem::Overflow;
use crate::abi::{IDevices, IDollars, IRails, ISettlements, IStakes, IToken, IValidators, IVotes};
use crate::address::{DEVICES, DOLLARS, RAILS, SETTLEMENTS, STABLECOIN, STAKES, VALIDATORS};
use crate::env::Failure;
use crate::testing::SeatKeys;
use crate::{GenesisConfig, SeatRules};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use commonware_codec::Encode as _;
use commonware_cryptography::Signer as _;
use proptest::prelude::*;
use protocol::author::AuthorLeaf;
use protocol::leaf::Leaf;
use protocol::{Epoch, Micros, NetworkId, Tokens};
use std::collections::BTreeMap;

/// What the manifest grants a device and epoch for presence.
const BOOTSTRAP: u128 = Tokens::whole(5).0;
const PEOPLE: [Address; 4] = [CUSTOMER, STRANGER, OPERATOR, FOUNDER];

/// What everybody is given in the beginning.
const SHARE: U256 = U256::from_limbs([100_000_000, 0, 0, 0]);

/// One step: what, by whom, and three numbers whose meaning depends on what.
type Step = (u8, usize, usize, u64, u64);

/// What settlement says up to an epoch.
#[derive(Clone, Default)]
struct Books {
    /// What was spent on each rail.
    paid: BTreeMap<u64, u64>,
    leaves: BTreeMap<Address, Leaf>,
    /// The last epoch that was settled.
    last: Option<u64>,
}

struct Model {
    world: World,
    /// What was opened.
    rails: u64,
    books: Books,
    proven: Vec<Proven>,
    /// What was decided and stands, and what dissent dropped, by epoch.
    decided: BTreeMap<u64, votes::Decided>,
    dropped: BTreeMap<u64, votes::Decided>,
    /// Seats that were fined, by epoch and round.
    fined: std::collections::BTreeSet<(u64, u64, u64)>,
    devices: Vec<B256>,
    /// What was bound and netted of each owner before an epoch began.
    stakes: BTreeMap<u64, BTreeMap<Address, (U256, U256)>>,
    /// Validators' keys by number, with who registered them.
    keys: Vec<(u64, Address)>,
    /// What authors were charged, by key and epoch.
    charged: BTreeMap<(B256, u64), U256>,
}

/// Two thirds of the largest committee are the validator's that settles; the rest is fought for.
const RULES: SeatRules =
    SeatRules { term_length: 25, seats_max: 12, bond_min: 5_000, unbonding_terms: 4 };

/// A leaf of the author with this key, for some bytes: the most are more than cost the least bond.
fn fault(key: u64, epoch: u64, bytes: u64) -> AuthorLeaf {
    let author = SeatKeys::derive(key).key().into();
    let (network, epoch) = (NetworkId(NETWORK), Epoch(epoch));
    AuthorLeaf { network, epoch, author, bytes: bytes % (3 << 20) }
}

impl Model {
    fn new() -> Self {
        let validators = seats(&[(VALIDATOR, 9)]);
        let mut world = World::with(&GenesisConfig { validators, seats: RULES, ..config() });
        let devices = vec![world.register(OPERATOR, 1), world.register(STRANGER, 2)];
        world.stake(OPERATOR, devices[0], 100);
        world.ok(CUSTOMER, STABLECOIN, &IToken::transferCall { to: OPERATOR, value: SHARE });
        world.ok(CUSTOMER, STABLECOIN, &IToken::transferCall { to: FOUNDER, value: SHARE });
        let mut keys = Vec::new();
        for (number, person) in (100..).zip(PEOPLE) {
            world.bond(person, 20_000);
            world.ok(
                person,
                VALIDATORS,
                &SeatKeys::derive(number).register(CHAIN, person, person, ""),
            );
            keys.push((number, person));
            world.fund(person, 500_000);
            world.ok(FOUNDER, World::token(), &IToken::transferCall { to: person, value: SHARE });
        }
        Self {
            world,
            rails: 0,
            books: Books::default(),
            proven: Vec::new(),
            decided: BTreeMap::new(),
            dropped: BTreeMap::new(),
            fined: std::collections::BTreeSet::new(),
            devices,
            stakes: BTreeMap::new(),
            keys,
            charged: BTreeMap::new(),
        }
    }

    /// Sends a call that may be refused, but neither faults nor overflows.
    fn attempt<C: SolCall>(&mut self, by: Address, to: Address, call: &C) -> bool {
        let result = self.world.memory.send(by, to, call);
        match &result {
            Err(Failure::Fault(fault)) => panic!("{}: {fault}", C::SIGNATURE),
            Err(failure) => {
                assert_eq!(failure.revert::<Overflow>(), None, "{} overflows", C::SIGNATURE);
            }
            Ok(_) => {}
        }
        self.world.memory.check().unwrap();
        result.is_ok()
    }

    /// Lets blocks pass; what is staked in the last one before an epoch is that epoch's.
    fn pass(&mut self, blocks: u64) {
        let mut stakes: BTreeMap<Address, (U256, U256)> = BTreeMap::new();
        for owner in PEOPLE {
            let netted = IStakes::slashedCall { network: NETWORK, owner };
            stakes.insert(owner, (U256::ZERO, self.world.view(STAKES, &netted)));
        }
        for device in self.devices.clone() {
            let record = self.world.view(DEVICES, &IDevices::deviceCall { device });
            if record.retired == u64::MAX {
                let bound = self.world.view(STAKES, &IStakes::stakeOfCall { device });
                stakes.get_mut(&record.owner).unwrap().0 += bound;
            }
        }
        self.stakes.insert(self.world.epoch() + 1, stakes);
        self.watch(self.world.memory.height + blocks);
    }

    /// All that is held of an owner's stake.
    fn held(&mut self, owner: Address) -> U256 {
        let mut held = U256::ZERO;
        for device in self.devices.clone() {
            if self.world.view(DEVICES, &IDevices::deviceCall { device }).owner == owner {
                held += self.world.view(STAKES, &IStakes::stakeOfCall { device });
                held += self.world.view(STAKES, &IStakes::unbondingCall { device }).amount;
            }
        }
        held
    }

    fn step(&mut self, (what, who, whom, amount, number): Step) {
        let (by, other) = (PEOPLE[who % 4], PEOPLE[whom % 4]);
        let value = U256::from(amount);
        let device = self.devices[whom % self.devices.len()];
        let mut rail_id = u64::try_from(whom).unwrap() % self.rails.max(1) + 1;
        if matches!(what, 9 | 10 | 13) {
            // A root is used once its window is over.
            self.pass(CLOCK.length * (number % 5));
            rail_id = self.ended(rail_id).unwrap_or(rail_id);
        }
        // Three times in four by whom it belongs to.
        let rightful = number % 4 != 0;
        let info = self.world.memory.view(RAILS, &IRails::railCall { rail: rail_id });
        let payer = info.as_ref().map_or(by, |info| if rightful { info.payer } else { by });
        let limit = info.map_or(0, |info| info.limit);
        let record = self.world.view(DEVICES, &IDevices::deviceCall { device });
        let owner = if rightful { record.owner } else { by };
        match what {
            0 => {
                let call = IToken::approveCall { spender: DOLLARS, value };
                self.attempt(by, STABLECOIN, &call);
                self.attempt(by, DOLLARS, &IDollars::depositCall { stable: value });
            }
            1 => drop(self.attempt(by, DOLLARS, &IDollars::redeemCall { amount: value })),
            2 => {
                let tokens = [DOLLARS, STABLECOIN, World::token()];
                let token = tokens[usize::try_from(number % 3).unwrap()];
                self.attempt(by, token, &IToken::transferCall { to: other, value });
            }
            3 => drop(self.attempt(by, RAILS, &IRails::depositCall { amount: value })),
            4 => drop(self.attempt(by, RAILS, &IRails::withdrawCall { amount: value })),
            5 => {
                let expiry = self.world.epoch() + number % 7;
                let call = IRails::openCall { rail: rail(other, B256::ZERO, amount, expiry) };
                if self.attempt(by, RAILS, &call) {
                    self.rails += 1;
                }
            }
            6 => {
                let call = IRails::topUpCall { rail: rail_id, limit: limit + amount };
                self.attempt(payer, RAILS, &call);
            }
            7 => drop(self.attempt(payer, RAILS, &IRails::closeCall { rail: rail_id })),
            8 => {
                let nonce = self.world.memory.timestamp;
                self.attempt(by, RAILS, &promise(rail_id, nonce, amount));
            }
            9 => self.release(payer, number, rail_id),
            10 => self.release_late(payer, rail_id),
            11 => self.claim(whom),
            12 => self.stake(owner, device, amount, number),
            13 => self.withdraw_stake(owner, device, number),
            14 => self.change_device(owner, other, device, number),
            15 => {
                let call = IVotes::delegateCall { delegatee: other };
                self.attempt(by, World::token(), &call);
            }
            16 => {
                self.pass(if number % 5 == 0 { number % 500 } else { number % 20 });
            }
            17 => self.step((5, who, whom, amount, number)),
            18 => self.step((9, who, whom, amount, number)),
            19 => self.step((13, who, whom, amount, number)),
            26..=31 => self.validate(by, other, value, number),
            40.. => self.charge(by, number),
            32.. => self.doubt(by, what, amount, number),
            _ => (0..=number % 8).for_each(|more| self.settle(amount / (more + 1), number, false)),
        }
    }

    /// Something about validators.
    fn validate(&mut self, by: Address, other: Address, amount: U256, number: u64) {
        let which = usize::try_from(number / 9).unwrap() % self.keys.len().max(1);
        let (secret, owner) = self.keys.get(which).copied().unwrap_or((1, VALIDATOR));
        let by = if number.is_multiple_of(5) { by } else { owner };
        let key = SeatKeys::derive(secret).key();
        let next = 100 + u64::try_from(self.keys.len()).unwrap();
        let fresh = SeatKeys::derive(next);
        match number % 9 {
            0 | 1 => {
                let call = IValidators::bondCall {};
                let result = self.world.memory.send_coin(other, VALIDATORS, &call, amount);
                assert_eq!(result.is_ok(), !amount.is_zero());
                self.world.memory.check().unwrap();
            }
            2 => drop(self.attempt(by, VALIDATORS, &IValidators::unbondCall { amount })),
            3 => drop(self.attempt(by, VALIDATORS, &IValidators::withdrawCall {})),
            4 | 5 => {
                let call = fresh.register(CHAIN, other, by, "192.0.2.1:9");
                if self.attempt(other, VALIDATORS, &call) {
                    self.keys.push((next, other));
                }
            }
            6 if number.is_multiple_of(4) => {
                let call = fresh.register(CHAIN, owner, other, "");
                let (key, old, account, endpoint) = (call.key, key, other, call.endpoint);
                let (seed, possession, proof) = (call.seedKey, call.possession, call.proof);
                let call = IValidators::replaceCall {
                    old,
                    key,
                    seedKey: seed,
                    possession,
                    proof,
                    account,
                    endpoint,
                };
                if owner != VALIDATOR && self.attempt(owner, VALIDATORS, &call) {
                    self.keys.push((next, owner));
                }
            }
            6 if owner != VALIDATOR => {
                self.attempt(by, VALIDATORS, &IValidators::retireCall { key });
            }
            6 => {
                let call = IValidators::setEndpointCall { key, endpoint: "x".into() };
                self.attempt(by, VALIDATORS, &call);
            }
            7 if owner != VALIDATOR => self.vote_twice(secret, number),
            _ => drop(self.attempt(other, VALIDATORS, &IValidators::releaseCall { key })),
        }
    }

    /// Reports a double vote of a key in this term or one of those before, if it had a seat.
    fn vote_twice(&mut self, secret: u64, number: u64) {
        let (keys, terms) = (SeatKeys::derive(secret), IValidators::termsCall {});
        let now = self.world.view(VALIDATORS, &terms).current;
        let term = now.saturating_sub(number % 4);
        let seats = self.world.view(VALIDATORS, &IValidators::committeeCall { term });
        let Some(place) = seats.iter().position(|seat| seat.key == keys.key()) else { return };
        let varint = |number: u64| commonware_codec::varint::UInt(number).encode().to_vec();
        let vote = |payload: u8| {
            let body = [varint(term), varint(number), varint(1), vec![payload; 32]].concat();
            let ledger = [b"wayleave/ledger/1/".as_slice(), &[0x6e; 32], b"_NOTARIZE"].concat();
            let signature = keys.network().sign(&ledger, &body).encode().to_vec();
            let place = varint(u64::try_from(place).unwrap());
            [vec![0], body, place, signature].concat().into()
        };
        let call = IValidators::accuseCall { first: vote(1), second: vote(2) };
        self.attempt(STRANGER, VALIDATORS, &call);
        let info = self.world.view(VALIDATORS, &IValidators::keyInfoCall { key: keys.key() });
        let window = term + RULES.unbonding_terms;
        assert!(info.convicted || now > window, "a double vote within the window convicts");
    }

    /// Presents an author's leaf: of any epoch that was decided, truly or not, and sometimes altered.
    fn charge(&mut self, by: Address, number: u64) {
        self.pass(CLOCK.length * (number % 5));
        let pick = |among: usize| usize::try_from(number / 7).unwrap() % among.max(1);
        let Some((epoch, decided)) = self.decided.iter().nth(pick(self.decided.len())) else {
            return;
        };
        let (epoch, lies) = (*epoch, decided.lie.is_some());
        let charges = decided.lie.as_ref().map_or(&decided.charges, |lie| &lie.charges);
        let Some(mut call) = charges.get(pick(charges.len())).cloned() else { return };
        let altered = number.is_multiple_of(4);
        call.leaf.size = call.leaf.size.wrapping_add(u64::from(altered));
        let due = IValidators::dueOfCall { leaf: call.leaf.clone() };
        let before = (self.world.view(VALIDATORS, &due), self.world.memory.coins[&VALIDATORS]);
        let charged = self.attempt(by, VALIDATORS, &call);
        let after = (self.world.view(VALIDATORS, &due), self.world.memory.coins[&VALIDATORS]);
        assert_eq!(before.0 - after.0, before.1 - after.1, "what is taken is due no longer");
        assert_eq!(charged, before != after);
        assert!(!charged || !(altered || lies), "a false leaf costs nobody anything");
        *self.charged.entry((call.leaf.author, epoch)).or_default() += before.1 - after.1;
    }

    /// What an honest validator finds of authors' faults in an epoch.
    fn faults(&self, epoch: u64, number: u64) -> Vec<AuthorLeaf> {
        let numbered = self.keys.iter().zip(0u32..);
        let at_fault = numbered.filter(|(_, place)| (number >> (place % 60)).is_multiple_of(4));
        at_fault.map(|((key, _), place)| fault(*key, epoch, number.rotate_left(place))).collect()
    }

    /// Takes out all bonds but the validator's that settles: every coin is somebody's.
    fn leave(&mut self) {
        for (secret, owner) in self.keys.clone() {
            let key = SeatKeys::derive(secret).key();
            self.attempt(owner, VALIDATORS, &IValidators::retireCall { key });
        }
        for owner in PEOPLE {
            let amount = self.world.view(VALIDATORS, &IValidators::bondOfCall { owner }).amount;
            if !amount.is_zero() {
                self.world.ok(owner, VALIDATORS, &IValidators::unbondCall { amount });
            }
        }
        self.pass(RULES.term_length * (RULES.unbonding_terms + 2));
        for owner in PEOPLE {
            self.attempt(owner, VALIDATORS, &IValidators::withdrawCall {});
        }
        for (secret, _) in self.keys.clone() {
            let key = SeatKeys::derive(secret).key();
            self.attempt(STRANGER, VALIDATORS, &IValidators::releaseCall { key });
        }
        let owner = VALIDATOR;
        let bonded = self.world.view(VALIDATORS, &IValidators::bondOfCall { owner }).amount;
        let asked = self.world.view(VALIDATORS, &IValidators::unbondingCall { owner }).amount;
        assert_eq!(self.world.memory.coins[&VALIDATORS], bonded + asked);
    }

    /// The first rail from `first` on that ended and was not released.
    fn ended(&mut self, first: u64) -> Option<u64> {
        let epoch = self.world.epoch();
        (first..=self.rails).find(|id| {
            let info = self.world.view(RAILS, &IRails::railCall { rail: *id });
            !info.released && info.end < epoch
        })
    }

    /// The newest leaf of an account, or another of the settled leaves.
    fn leaf_of(&self, account: Address, number: u64) -> Option<Proven> {
        let newest = self.proven.iter().rev().find(|proven| proven.leaf.account == account);
        let other = usize::try_from(number).unwrap() % self.proven.len().max(1);
        if number.is_multiple_of(4) { self.proven.get(other) } else { newest }.cloned()
    }

    fn release(&mut self, payer: Address, number: u64, rail: u64) {
        if let Some(Proven { epoch, leaf, proof }) = self.leaf_of(payer, number) {
            let call = IRails::releaseCall { rails: vec![rail], epoch, leaf, proof };
            self.attempt(payer, RAILS, &call);
        }
    }

    fn release_late(&mut self, payer: Address, rail: u64) {
        let newest = self.leaf_of(payer, 1);
        let Proven { epoch, leaf, proof } = newest.unwrap_or_else(|| Proven {
            epoch: 0,
            leaf: (&leaf(payer)).into(),
            proof: Vec::new(),
        });
        let call = IRails::releaseLateCall { rails: vec![rail], epoch, leaf, proof };
        self.attempt(payer, RAILS, &call);
    }

    fn claim(&mut self, which: usize) {
        let Some(proven) = self.proven.get(which % self.proven.len().max(1)).cloned() else {
            return;
        };
        let Proven { epoch, leaf, proof } = proven;
        self.attempt(STRANGER, SETTLEMENTS, &ISettlements::claimCall { epoch, leaf, proof });
    }

    fn stake(&mut self, by: Address, device: B256, amount: u64, number: u64) {
        let amount = U256::from(amount);
        if number.is_multiple_of(3) {
            self.attempt(by, STAKES, &IStakes::unbondCall { device, amount });
        } else {
            let approve = IToken::approveCall { spender: STAKES, value: amount };
            self.attempt(by, World::token(), &approve);
            self.attempt(by, STAKES, &IStakes::stakeCall { device, amount });
        }
    }

    fn withdraw_stake(&mut self, owner: Address, device: B256, number: u64) {
        if let Some(Proven { epoch, leaf, proof }) = self.leaf_of(owner, number) {
            let call = IStakes::withdrawCall { device, epoch, leaf, proof };
            self.attempt(owner, STAKES, &call);
        }
    }

    fn change_device(&mut self, by: Address, to: Address, device: B256, number: u64) {
        match number % 3 {
            0 => drop(self.attempt(by, DEVICES, &IDevices::retireCall { device })),
            1 => {
                let id = U256::from_be_bytes(device.0);
                let call = IDevices::transferFromCall { from: by, to, tokenId: id };
                self.attempt(by, DEVICES, &call);
            }
            _ => {
                let secret = secret(u8::try_from(number % 250).unwrap() + 3);
                if self.attempt(by, DEVICES, &registration(by, &secret)) {
                    self.devices.push(secret.id().into());
                }
            }
        }
    }

    /// Settles the next epoch, waiting for its end if need be, or lets a false root be decided.
    fn settle(&mut self, amount: u64, number: u64, bribed: bool) {
        let next = ISettlements::nextEpochCall { network: NETWORK };
        let epoch = self.world.view(SETTLEMENTS, &next);
        let end = CLOCK.grace_end(Epoch(epoch)).0 + 1;
        if self.world.memory.height < end && number.is_multiple_of(2) {
            self.pass(end - self.world.memory.height);
        }
        // Time that passes may bring dissent, or the end of an epoch.
        let still = self.world.view(SETTLEMENTS, &next) == epoch;
        if !still || self.world.memory.height < end {
            return;
        }
        let known = self.dropped.remove(&epoch);
        self.dropped = self.dropped.split_off(&epoch);
        // What is settled from the same books is the same; what an earlier void changed is another.
        let same = known.filter(|known| known.before.leaves == self.books.leaves);
        let decided = match same {
            Some(known) => known,
            None => self.account(epoch, amount, number),
        };
        self.decide(epoch, decided, number, bribed);
    }

    /// What an honest validator makes of an epoch.
    fn account(&mut self, epoch: u64, amount: u64, number: u64) -> votes::Decided {
        let before = self.books.clone();
        let mut books = before.clone();
        for rail in 1..=self.rails {
            self.spend(&mut books, rail, epoch, amount);
        }
        for person in PEOPLE {
            books.leaves.entry(person).or_insert_with(|| leaf(person));
        }
        self.slash(&mut books, epoch, number);
        let operator = books.leaves.entry(OPERATOR).or_insert_with(|| leaf(OPERATOR));
        let grant = u128::from(number) % (2 * BOOTSTRAP);
        operator.vested = Tokens(operator.vested.0 + grant);
        books.last = Some(epoch);
        let leaves: Vec<Leaf> = books.leaves.values().copied().collect();
        let (mut truth, proven, charges) =
            outcome_with(epoch, &leaves, &self.faults(epoch, number));
        truth.totals.bootstrapped = truth.totals.vested;
        votes::Decided { truth, proven, charges, before, after: books, lie: None }
    }

    /// Takes from somebody all that it had at stake when `epoch` began, or half of it.
    fn slash(&mut self, books: &mut Books, epoch: u64, number: u64) {
        let owner = PEOPLE[usize::try_from(number).unwrap() % 4];
        let before = self.stakes.range(..=epoch).next_back();
        let (bound, netted) = before.map(|(_, stakes)| stakes[&owner]).unwrap_or_default();
        let slashed = books.leaves.entry(owner).or_insert_with(|| leaf(owner)).slashed;
        // As settlement counts: the owner's stake, less what it lost and no withdrawal paid yet.
        let net = (bound + netted).saturating_sub(U256::from(slashed.0)).to::<u128>();
        let slash = if number.is_multiple_of(3) { net } else { net / 2 };
        books.leaves.entry(owner).or_insert_with(|| leaf(owner)).slashed =
            Tokens(slashed.0 + slash);
        let netted = IStakes::slashedCall { network: NETWORK, owner };
        let debt = U256::from(slashed.0 + slash) - self.world.view(STAKES, &netted);
        let held = self.held(owner);
        assert!(debt <= held, "{owner} owes {debt} and has {held} at stake");
    }

    /// Pays up to `amount` on a rail that counts in `epoch`, within its limit. The first epoch settled
    /// after its end pays vouchers, and if it is not the next one, only those presented.
    fn spend(&mut self, books: &mut Books, rail: u64, epoch: u64, amount: u64) {
        let info = self.world.view(RAILS, &IRails::railCall { rail });
        let paid = books.paid.entry(rail).or_default();
        // One that was closed in the epoch of its opening is in no inputs.
        let counts =
            info.opened < epoch.min(info.end) && books.last.is_none_or(|last| last <= info.end);
        let bound = match epoch {
            _ if !counts => return,
            _ if epoch <= info.end + 1 => info.limit,
            _ => info.limit.min(*paid + info.presented),
        };
        let payment = amount.min(bound.saturating_sub(*paid));
        *paid += payment;
        let burn = payment / 10;
        let payer = books.leaves.entry(info.payer).or_insert_with(|| leaf(info.payer));
        payer.spent = Micros(payer.spent.0 + payment);
        let payee = books.leaves.entry(info.payee).or_insert_with(|| leaf(info.payee));
        payee.earned.cash = Micros(payee.earned.cash.0 + payment - burn);
    }

    /// Closes everything, pays everybody, and takes out what is free.
    fn drain(&mut self) {
        let rails: Vec<u64> = (1..=self.rails).collect();
        let mut end = self.world.epoch();
        for rail in &rails {
            let info = self.world.view(RAILS, &IRails::railCall { rail: *rail });
            self.attempt(info.payer, RAILS, &IRails::closeCall { rail: *rail });
            end = end.max(self.world.view(RAILS, &IRails::railCall { rail: *rail }).end);
        }
        self.expose();
        while self.books.last.is_none_or(|last| last <= end) {
            self.settle(7, 2, false);
        }
        let last = self.books.last.unwrap();
        self.pass(10 * CLOCK.length);
        let newest = self.decided[&last].proven.clone();
        for Proven { epoch, leaf, proof } in newest {
            let account = leaf.account;
            let claim = ISettlements::claimCall { epoch, leaf: leaf.clone(), proof: proof.clone() };
            self.attempt(STRANGER, SETTLEMENTS, &claim);
            let taken = ISettlements::claimedCall { network: NETWORK, account };
            assert_eq!(self.world.view(SETTLEMENTS, &taken).cash, leaf.cash, "{account} is paid");
            let spent = leaf.spent;
            let open = |rail: &u64| {
                let info = self.world.memory.view(RAILS, &IRails::railCall { rail: *rail });
                info.is_ok_and(|info| info.payer == account && !info.released)
            };
            let mine: Vec<u64> = rails.iter().copied().filter(open).collect();
            let call = IRails::releaseCall { rails: mine, epoch, leaf, proof };
            self.world.ok(account, RAILS, &call);
            let purse = self.world.view(RAILS, &IRails::depositOfCall { payer: account });
            assert_eq!(purse.reserved, spent, "{account} is charged with what it spent");
            let amount = purse.deposited - purse.reserved;
            if !amount.is_zero() {
                self.world.ok(account, RAILS, &IRails::withdrawCall { amount });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn money_is_conserved(
        steps in proptest::collection::vec(
            (0u8..42, any::<usize>(), any::<usize>(), 0u64..50_000, any::<u64>()), 40..140,
        ),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.step(step);
        }
        model.drain();
        model.close_disputes();
        model.leave();
        let most = U256::from(RULES.bond_min);
        prop_assert!(model.charged.values().all(|taken| *taken <= most), "charged twice");
    }
}
