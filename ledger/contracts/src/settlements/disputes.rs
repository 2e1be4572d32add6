//! Dissent: bonds, what is opened again, who is right, and who is fined.

use super::policy;
use super::rounds::choice;
use super::state::{Course, Dispute, Outcome, Ruling, Settlements};
use crate::abi;
use crate::abi::ISettlements::{
    AlreadyDisputed, BondTooSmall, DisputeEnded, Disputed, Fined, NoDisputeToEnd, NotDisputable,
    NotFinable, SameOutcome, WrongInputs,
};
use crate::abi::IValidators::NoSuchSeat;
use crate::address::{SETTLEMENTS, VALIDATORS};
use crate::context::{Context, narrow};
use crate::env::{Failure, ensure};
use crate::validators::Validators;
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolValue as _;
use protocol::{Epoch, NetworkId, Ppm};

/// What a seat loses that decided what was overruled, of the bond behind it: as much as a lone double vote
/// costs at least. A vote is wrong by a broken machine or a wrong judge more often than on purpose, and that
/// must not ruin anybody; and a false root that is found out has stolen nothing that would have to be paid for.
const FINE: Ppm = Ppm(50_000);
/// The part of a fine that is the dissenter's: one in two. The rest is destroyed, so that those who decided
/// a false root lose by it even if the dissenter is one of them.
const REWARD: u128 = 2;

impl Settlements {
    /// The least bond of a dissent: that of a seat, which whoever can afford to vote can afford.
    pub(super) fn dissent_bond(&self, cx: &mut Context<'_>) -> Result<u128, Failure> {
        Validators::new().bond_min.get(cx)
    }

    pub(super) fn dissent(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        outcome: &abi::Outcome,
    ) -> Result<(), Failure> {
        let (id, number, bond) = (network.0, epoch.0, cx.value());
        let least = U256::from(self.dissent_bond(cx)?);
        ensure!(bond >= least, BondTooSmall { bond, least });
        let course = self.end_void(cx, network)?;
        ensure!(!course.open, AlreadyDisputed { network: id, epoch: course.disputed });
        let error = NotDisputable { network: id, epoch: number };
        let standing = self.standing(cx, network, epoch)?.ok_or(error.clone())?;
        ensure!(!self.is_claimable(cx, network, &standing)?, error);
        let inputs = standing.inputs;
        let error = WrongInputs { network: id, epoch: number, announced: inputs };
        ensure!(outcome.inputs == inputs, error);
        let (index, disputed) = (standing.index, choice(cx, &standing.into())?);
        let choice = choice(cx, outcome)?;
        ensure!(choice != disputed, SameOutcome { choice });
        let before = match self.final_before(cx, network, epoch)? {
            Some(before) => self.outcomes.get2(cx, id, before.0)?,
            None => Outcome::default(),
        };
        policy::check(cx, (network, epoch), &before, &Outcome::new(outcome)?)?;

        let finals = self.finals.at_key(cx, id)?;
        let last = finals.last(cx)?.map_or(epoch, Epoch);
        finals.truncate(cx, index)?;
        let (clock, height) = (self.clock(cx)?, cx.height());
        self.courses.set(cx, id, &course.disputed(&clock, height, (epoch, last)))?;
        let round = self.rounds.get2(cx, id, number)?;
        let (dissenter, term, round) = (cx.caller(), round.term, round.number);
        let held = narrow(bond)?;
        let dispute = Dispute { dissenter, round, bond: held, term, disputed, choice };
        self.disputes.set2(cx, id, number, &dispute)?;
        let event = Disputed { network: id, epoch: number, dissenter, disputed, choice, bond };
        cx.emit(SETTLEMENTS, &event)
    }

    /// Ends the dispute of an epoch that is decided now, for or against who dissented.
    pub(super) fn rule(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        course: Course,
        choice: alloy_primitives::B256,
    ) -> Result<Course, Failure> {
        if !course.open || course.disputed != epoch.0 {
            return Ok(course);
        }
        let dispute = self.disputes.get2(cx, network.0, epoch.0)?;
        let Dispute { dissenter, round, term, disputed: overruled, .. } = dispute;
        let upheld = choice != overruled;
        if upheld {
            let rulings = self.rulings.at_key(cx, network.0)?.at_key(cx, epoch.0)?;
            rulings.set(cx, round, &Ruling { dissenter, term, overruled, choice })?;
        }
        self.end(cx, (network, epoch), &dispute, (upheld, upheld))?;
        Ok(Course { open: false, ..course })
    }

    /// Pays the bond back, or destroys it: nobody gains by voting against who dissents.
    fn end(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        dispute: &Dispute,
        (upheld, back): (bool, bool),
    ) -> Result<(), Failure> {
        let (bond, dissenter) = (U256::from(dispute.bond), dispute.dissenter);
        let (to, paid) = if back { (dissenter, bond) } else { (Address::ZERO, U256::ZERO) };
        if !bond.is_zero() {
            cx.pay(SETTLEMENTS, to, bond)?;
        }
        let (network, epoch, round) = (network.0, epoch.0, dispute.round);
        let event = DisputeEnded { network, epoch, dissenter, upheld, paid, round };
        cx.emit(SETTLEMENTS, &event)
    }

    /// Ends the network's dispute if its epoch is void, and gives the course after it.
    fn end_void(&self, cx: &mut Context<'_>, network: NetworkId) -> Result<Course, Failure> {
        let (course, now) = (self.courses.get(cx, network.0)?, cx.epoch()?);
        if !course.open || course.is_disputed(now) {
            return Ok(course);
        }
        let epoch = Epoch(course.disputed);
        let dispute = self.disputes.get2(cx, network.0, epoch.0)?;
        self.end(cx, (network, epoch), &dispute, (false, true))?;
        let course = Course { open: false, ..course };
        self.courses.set(cx, network.0, &course)?;
        Ok(course)
    }

    pub(super) fn end_dispute(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<(), Failure> {
        let course = self.courses.get(cx, network.0)?;
        let error = NoDisputeToEnd { network: network.0, epoch: epoch.0 };
        ensure!(course.open && course.disputed == epoch.0, error.clone());
        let course = self.end_void(cx, network)?;
        ensure!(!course.open, error);
        Ok(())
    }

    pub(super) fn fine(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        round: u64,
        seat: u64,
    ) -> Result<(), Failure> {
        let (id, number, validators) = (network.0, epoch.0, Validators::new());
        let ruling = self.rulings.at_key(cx, id)?.at_key(cx, number)?.get(cx, round)?;
        let (term, dissenter) = (ruling.term, ruling.dissenter);
        let found = validators.seat(cx, term, seat)?;
        let (key, validator) = found.ok_or(NoSuchSeat { term, signer: seat })?;
        let vote = self.votes(cx, (network, epoch), round)?.get(cx, validator)?;
        let mark = cx.keccak(&("fine", id, number, round, key).abi_encode())?;
        let guilty = !dissenter.is_zero() && vote.choice == ruling.overruled;
        let error = NotFinable { network: id, epoch: number, key };
        ensure!(guilty && !self.fined.get(cx, mark)?, error.clone());
        // A ruling that may still be overruled fines nobody, nor does one that was.
        let standing = self.standing(cx, network, epoch)?.ok_or(error.clone())?;
        let claimable = self.is_claimable(cx, network, &standing)?;
        let stands = choice(cx, &standing.into())? == ruling.choice;
        ensure!(claimable && stands, error);

        self.fined.set(cx, mark, &true)?;
        let amount = validators.fine(cx, key, (term, FINE))?;
        let reward = amount / REWARD;
        for (to, part) in [(dissenter, reward), (Address::ZERO, amount.saturating_sub(reward))] {
            if part != 0 {
                cx.pay(VALIDATORS, to, U256::from(part))?;
            }
        }
        let (amount, reward) = (U256::from(amount), U256::from(reward));
        let event = Fined { network: id, epoch: number, validator, key, amount, reward };
        cx.emit(SETTLEMENTS, &event)
    }
}
