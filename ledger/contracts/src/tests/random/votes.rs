//! The votes of the random world, with liars by name: the *voter of wrong roots*, the *copier*, the one that
//! *never reveals*, and the bribed majority.

use super::{Books, Model, PEOPLE, RULES, fault};
use crate::abi::ISettlements::{
    self, DisputeEnded, Disputed, Fined, NotRevealing, WrongBallot, WrongEpoch, claimCall,
    claimableFromCall, commitCall,
};
use crate::abi::{
    IValidators::{self, chargeCall},
    Outcome,
};
use crate::address::{SETTLEMENTS, VALIDATORS};
use crate::settlements::OPEN_EPOCHS;
use crate::tests::world::{
    CLOCK, NETWORK, Proven, STRANGER, VALIDATOR, leaf, outcome_with, reveal,
};
use alloy_primitives::{Address, B256, U256};
use protocol::{author::AuthorLeaf, leaf::Leaf};

/// What was decided for an epoch.
#[derive(Clone)]
pub(super) struct Decided {
    /// What an honest validator votes for, its leaves, and what presents those of authors.
    pub(super) truth: Outcome,
    pub(super) proven: Vec<Proven>,
    pub(super) charges: Vec<chargeCall>,
    /// The books before and after it.
    pub(super) before: Books,
    pub(super) after: Books,
    /// What stands in its place.
    pub(super) lie: Option<Lie>,
}

/// A false outcome, its leaves, and what presents those of authors.
#[derive(Clone)]
pub(super) struct Lie {
    pub(super) outcome: Outcome,
    pub(super) proven: Vec<Proven>,
    pub(super) charges: Vec<chargeCall>,
}

/// How a validator with few seats votes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habit {
    Absent,
    Honest,
    WrongRoot,
    Copier,
    NeverReveals,
}

impl Habit {
    const fn of(number: u64) -> Self {
        match number % 6 {
            0 => Self::Absent,
            1 => Self::WrongRoot,
            2 => Self::Copier,
            3 => Self::NeverReveals,
            _ => Self::Honest,
        }
    }
}

/// Another outcome with the same totals: policy has nothing against it.
fn garbled(truth: &Outcome, with: u64) -> Outcome {
    let root = B256::from(U256::from(with) + U256::from(7));
    Outcome { root, statement: B256::repeat_byte(0xbb), ..truth.clone() }
}

/// Leaves that give the stranger what all others earned and find these authors at fault, and their outcome.
fn false_root(epoch: u64, truth: &Outcome, leaves: &[Leaf], authors: &[AuthorLeaf]) -> Lie {
    let mut stolen = leaf(STRANGER);
    let mut leaves: Vec<Leaf> = leaves.to_vec();
    for leaf in &mut leaves {
        stolen.vested = protocol::Tokens(stolen.vested.0 + leaf.vested.0);
        stolen.earned.cash = protocol::Micros(stolen.earned.cash.0 + leaf.earned.cash.0);
        leaf.vested = protocol::Tokens(0);
        leaf.earned.cash = protocol::Micros(0);
        if leaf.account == STRANGER {
            (stolen.spent, stolen.slashed) = (leaf.spent, leaf.slashed);
        }
    }
    leaves.retain(|leaf| leaf.account != STRANGER);
    leaves.push(stolen);
    let (lie, proven, charges) = outcome_with(epoch, &leaves, authors);
    let statement = B256::repeat_byte(0xcc);
    let outcome = Outcome { totals: truth.totals.clone(), statement, ..lie };
    Lie { outcome, proven, charges }
}

impl Model {
    /// Votes on an epoch: whoever has few seats by its habit, the majority for the truth or a lie.
    pub(super) fn decide(&mut self, epoch: u64, decided: Decided, number: u64, bribed: bool) {
        let truth = decided.truth.clone();
        let leaves: Vec<Leaf> = decided.after.leaves.values().copied().collect();
        let authors: Vec<_> =
            self.keys.iter().map(|(key, _)| fault(*key, epoch, (3 << 20) - 1)).collect();
        let lie = bribed.then(|| false_root(epoch, &truth, &leaves, &authors));
        let main = lie.as_ref().map_or(&truth, |lie| &lie.outcome).clone();
        let fixed = ISettlements::inputsCall { network: NETWORK, epoch };
        if self.world.view(SETTLEMENTS, &fixed).is_zero() {
            let inputs = truth.inputs;
            let announce = ISettlements::announceCall { network: NETWORK, epoch, inputs };
            self.world.ok(VALIDATOR, SETTLEMENTS, &announce);
        }
        self.vote(epoch, (&truth, &main), number);
        let stored = ISettlements::outcomeCall { network: NETWORK, epoch };
        if self.world.view(SETTLEMENTS, &stored) == main {
            self.books = decided.after.clone();
            self.proven.extend(decided.proven.clone());
            self.decided.insert(epoch, Decided { lie, ..decided });
        } else {
            self.dropped.insert(epoch, decided);
        }
    }

    /// One round, or what is left of one.
    fn vote(&mut self, epoch: u64, (truth, main): (&Outcome, &Outcome), number: u64) {
        let round = self.world.round(epoch);
        if round.opened != 0 && round.commitsUntil < self.world.memory.height {
            // The reveals of another round run.
            return self.pass(5);
        }
        let copied = self.world.ballot(VALIDATOR, epoch, main);
        let mut few = Vec::new();
        for (place, person) in (0u64..).zip(PEOPLE) {
            let (term, account) = (round.term, person);
            let seats = IValidators::seatsOfCall { term, account };
            if self.world.view(VALIDATORS, &seats) != 0 {
                few.push((person, Habit::of(number >> (3 * place))));
            }
        }
        let wrong = garbled(truth, number);
        for &(person, habit) in &few {
            let ballot = match habit {
                Habit::Absent => continue,
                Habit::Copier => commitCall { ..copied.clone() },
                Habit::WrongRoot => self.world.ballot(person, epoch, &wrong),
                Habit::Honest | Habit::NeverReveals => self.world.ballot(person, epoch, truth),
            };
            self.attempt(person, SETTLEMENTS, &ballot);
        }
        self.attempt(VALIDATOR, SETTLEMENTS, &copied);
        let until = self.world.round(epoch).commitsUntil;
        self.pass((until + 1).saturating_sub(self.world.memory.height));
        for &(person, habit) in &few {
            match habit {
                Habit::Absent | Habit::NeverReveals => {}
                Habit::Copier => {
                    let failure =
                        self.world.fails(person, SETTLEMENTS, &reveal(person, epoch, main));
                    // Unless the epoch is void by now, it is for its ballot.
                    let void = failure.revert::<WrongEpoch>().is_some();
                    let over = failure.revert::<NotRevealing>().is_some();
                    let copied = failure.revert::<WrongBallot>().is_some();
                    assert!(copied || void || over, "{failure}");
                }
                Habit::WrongRoot => {
                    _ = self.attempt(person, SETTLEMENTS, &reveal(person, epoch, &wrong));
                }
                Habit::Honest => {
                    _ = self.attempt(person, SETTLEMENTS, &reveal(person, epoch, truth));
                }
            }
        }
        self.attempt(VALIDATOR, SETTLEMENTS, &reveal(VALIDATOR, epoch, main));
    }

    /// Something about dissent.
    pub(super) fn doubt(&mut self, by: Address, what: u8, amount: u64, number: u64) {
        match what {
            32 | 33 => self.settle(amount, number, true),
            34 => self.expose(),
            35 | 36 => {
                // A false claim that something is wrong.
                let which = usize::try_from(number).unwrap() % 5;
                let epoch = self.decided.keys().rev().nth(which).copied();
                if let Some(epoch) = epoch {
                    let wrong = garbled(&self.decided[&epoch].truth, number);
                    self.dissent(by, epoch, &wrong, amount);
                    // Sometimes nobody votes for so long that the epoch is void.
                    if number.is_multiple_of(8) {
                        self.pass(CLOCK.length * (OPEN_EPOCHS + 4));
                    }
                }
            }
            37 => self.fine(number),
            38 => {
                let disputed = self.world.memory.events::<Disputed>(SETTLEMENTS);
                let epoch = disputed.last().map_or(0, |disputed| disputed.epoch);
                let call = ISettlements::endDisputeCall { network: NETWORK, epoch };
                self.attempt(by, SETTLEMENTS, &call);
            }
            _ => self.steal(),
        }
    }

    /// Dissents with a little more coin than needed; whether it was heard.
    fn dissent(&mut self, by: Address, epoch: u64, outcome: &Outcome, more: u64) -> bool {
        let bond = self.world.view(SETTLEMENTS, &ISettlements::dissentBondCall {});
        let call = ISettlements::dissentCall { network: NETWORK, epoch, outcome: outcome.clone() };
        let value = bond + U256::from(more);
        let heard = self.world.memory.send_coin(by, SETTLEMENTS, &call, value).is_ok();
        self.world.memory.check().unwrap();
        if !heard {
            return false;
        }
        // All that was decided from this epoch on is open again.
        let mut open = self.decided.split_off(&epoch);
        self.books = open[&epoch].before.clone();
        open.values_mut().for_each(|decided| decided.lie = None);
        self.dropped.extend(open);
        self.proven.retain(|proven| proven.epoch < epoch);
        true
    }

    /// Dissents from the first false root that stands.
    pub(super) fn expose(&mut self) {
        let lie = self.decided.iter().find(|(_, decided)| decided.lie.is_some());
        if let Some((epoch, truth)) = lie.map(|(epoch, decided)| (*epoch, decided.truth.clone())) {
            self.dissent(PEOPLE[0], epoch, &truth, 0);
        }
    }

    /// Lets blocks pass up to `height`, and dissents from every false root in time.
    pub(super) fn watch(&mut self, height: u64) {
        while self.world.memory.height < height {
            let lie = self.decided.iter().find(|(_, decided)| decided.lie.is_some());
            let Some((epoch, truth)) = lie.map(|(epoch, lie)| (*epoch, lie.truth.clone())) else {
                return self.world.memory.advance(height);
            };
            let from = self.world.view(SETTLEMENTS, &claimableFromCall { network: NETWORK, epoch });
            if from == self.world.memory.height + 1 {
                assert!(self.dissent(PEOPLE[0], epoch, &truth, 0), "the truth is heard");
            }
            self.world.memory.advance(self.world.memory.height + 1);
        }
    }

    /// Claims what false roots promise.
    fn steal(&mut self) {
        for (epoch, Decided { lie, .. }) in self.decided.clone() {
            let Some(Lie { proven, charges, .. }) = lie else { continue };
            for Proven { leaf, proof, .. } in proven {
                let call = claimCall { epoch, leaf, proof };
                assert!(!self.attempt(STRANGER, SETTLEMENTS, &call), "a false root paid");
            }
            for call in charges {
                assert!(!self.attempt(STRANGER, VALIDATORS, &call), "a false root charged");
            }
        }
    }

    /// Fines all seats for what was overruled last, if anything was.
    fn fine(&mut self, number: u64) {
        let ended = self.world.memory.events::<DisputeEnded>(SETTLEMENTS);
        let upheld = |ended: &&DisputeEnded| ended.upheld || number.is_multiple_of(4);
        let Some(ruling) = ended.iter().rfind(upheld) else { return };
        self.pass(number % 50);
        let (network, epoch, round) = (NETWORK, ruling.epoch, ruling.round);
        for seat in 0..RULES.seats_max {
            let call = ISettlements::fineCall { network, epoch, round, seat };
            if self.attempt(STRANGER, SETTLEMENTS, &call) {
                assert!(ruling.upheld, "what was confirmed fines nobody");
                assert!(self.fined.insert((epoch, round, seat)), "fined twice");
            }
        }
        let fines = self.world.memory.events::<Fined>(SETTLEMENTS);
        let bribed = fines.iter().all(|fine| fine.validator == VALIDATOR);
        assert!(bribed, "only the bribed majority decides what is overruled");
    }

    /// Gives back what is left of disputes.
    pub(super) fn close_disputes(&mut self) {
        for epoch in 0..=self.world.epoch() {
            let call = ISettlements::endDisputeCall { network: NETWORK, epoch };
            self.attempt(STRANGER, SETTLEMENTS, &call);
        }
        let held = self.world.memory.coins.get(&SETTLEMENTS).copied();
        assert_eq!(held.unwrap_or_default(), U256::ZERO, "every bond went somewhere");
    }
}
