//! Votes on outcomes: rounds of commits and reveals, and the decision.

use super::announce::decides;
use super::policy;
use super::state::{Course, Outcome, Round, Settlements, Vote};
use crate::abi;
use crate::abi::ISettlements::{
    AlreadyRevealed, CommitsClosed, Committed, Finalized, NotRevealing, NotValidator, Revealed,
    TooEarly, WrongBallot, WrongInputs, WrongRound,
};
use crate::abi::ISystem::Empty;
use crate::address::SETTLEMENTS;
use crate::context::{Checked as _, Context};
use crate::env::{Failure, ensure};
use crate::storage::{Map, Slot};
use crate::validators::Validators;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolValue as _;
use protocol::{Epoch, NetworkId};

/// What a ballot begins with, so that it is the hash of nothing else.
const BALLOT: &str = "wayleave ballot";

impl Round {
    /// The last height at which reveals count, when commits and reveals take `span` blocks each.
    pub(super) const fn revealed_until(&self, span: u64) -> u64 {
        self.closed.saturating_add(span)
    }

    /// Whether a block at `height` finds it running.
    fn is_running(&self, course: &Course, (height, span): (u64, u64)) -> bool {
        let possible = self.best.saturating_add(self.committed.saturating_sub(self.revealed));
        let in_time = height <= self.closed
            || height <= self.revealed_until(span) && decides(possible, self.seats);
        self.number != 0 && !self.decided && self.dissents == course.dissents && in_time
    }
}

/// What a choice is known by.
pub(super) fn choice(cx: &mut Context<'_>, outcome: &abi::Outcome) -> Result<B256, Failure> {
    cx.keccak(&outcome.abi_encode())
}

impl Settlements {
    /// Blocks in which commits count after the first, and again reveals: the grace, at least one.
    pub(super) fn span(&self, cx: &mut Context<'_>) -> Result<u64, Failure> {
        Ok(self.clock(cx)?.grace.max(1))
    }

    /// The round in which a commit or reveal of this block counts: the running one, or the one that the next
    /// commit begins.
    pub(super) fn round(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Round, Failure> {
        let begun = self.rounds.get2(cx, network.0, epoch.0)?;
        let course = self.courses.get(cx, network.0)?;
        let at = (cx.height(), self.span(cx)?);
        if begun.is_running(&course, at) {
            return Ok(begun);
        }
        let term = Validators::new().term(cx)?.plus(1)?;
        Ok(Round {
            number: begun.number.plus(1)?,
            term,
            opened: 0,
            closed: 0,
            seats: Validators::new().all_seats(cx, term)?,
            committed: 0,
            revealed: 0,
            best: 0,
            dissents: course.dissents,
            decided: false,
        })
    }

    /// The votes of a round.
    pub(super) fn votes(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        round: u64,
    ) -> Result<Map<Address, Slot<Vote>>, Failure> {
        self.votes.at_key(cx, network.0)?.at_key(cx, epoch.0)?.at_key(cx, round)
    }

    /// What `validator` commits to in a round for a choice.
    pub(super) fn ballot(
        &self,
        cx: &mut Context<'_>,
        (network, epoch, round): (NetworkId, Epoch, u64),
        validator: Address,
        (choice, salt): (B256, B256),
    ) -> Result<B256, Failure> {
        let chain = U256::from(cx.chain_id());
        let ballot = (BALLOT, chain, network.0, epoch.0, round, validator, choice, salt);
        cx.keccak(&ballot.abi_encode_params())
    }

    /// Refuses votes on an epoch that is not next, in its grace, or without inputs. Gives its inputs.
    fn votable(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<B256, Failure> {
        self.expect(cx, network, epoch)?;
        let end = self.clock(cx)?.epochs().grace_end(epoch);
        let (id, number) = (network.0, epoch.0);
        let error = TooEarly { network: id, epoch: number, height: end.0.saturating_add(1) };
        ensure!(cx.height() > end.0, error);
        let announced = self.inputs.get2(cx, id, number)?;
        ensure!(!announced.is_zero(), WrongInputs { network: id, epoch: number, announced });
        Ok(announced)
    }

    /// The caller's seats in a round, or a revert if it has none.
    fn seats(&self, cx: &mut Context<'_>, round: &Round) -> Result<u64, Failure> {
        let caller = cx.caller();
        let seats = Validators::new().seats_of(cx, round.term, caller)?;
        ensure!(seats != 0, NotValidator { caller });
        Ok(seats)
    }

    pub(super) fn commit(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        number: u64,
        ballot: B256,
    ) -> Result<(), Failure> {
        ensure!(!ballot.is_zero(), Empty {});
        let mut round = self.round(cx, network, epoch)?;
        let seats = self.seats(cx, &round)?;
        self.votable(cx, network, epoch)?;
        let (validator, height, span) = (cx.caller(), cx.height(), self.span(cx)?);
        let expected = round.number;
        let error = WrongRound { network: network.0, epoch: epoch.0, expected };
        ensure!(number == expected, error);
        if round.opened == 0 {
            round = Round { opened: height, closed: height.plus(span)?, ..round };
        }
        let until = round.revealed_until(span);
        let error = CommitsClosed { network: network.0, epoch: epoch.0, until };
        ensure!(height <= round.closed, error);
        let votes = self.votes(cx, (network, epoch), number)?;
        if votes.get(cx, validator)?.ballot.is_zero() {
            round.committed = round.committed.plus(seats)?;
        }
        if round.committed == round.seats {
            round.closed = height;
        }
        votes.set(cx, validator, &Vote { ballot, choice: B256::ZERO })?;
        self.rounds.set2(cx, network.0, epoch.0, &round)?;
        let (network, epoch, round) = (network.0, epoch.0, number);
        cx.emit(SETTLEMENTS, &Committed { network, epoch, validator, round, ballot })
    }

    pub(super) fn reveal(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        outcome: &abi::Outcome,
        salt: B256,
    ) -> Result<(), Failure> {
        let round = self.round(cx, network, epoch)?;
        let seats = self.seats(cx, &round)?;
        let inputs = self.votable(cx, network, epoch)?;
        let (id, number) = (network.0, epoch.0);
        let from = if round.opened == 0 { 0 } else { round.closed.saturating_add(1) };
        let open = from != 0 && cx.height() >= from;
        ensure!(open, NotRevealing { network: id, epoch: number, from });

        let (validator, choice) = (cx.caller(), choice(cx, outcome)?);
        let votes = self.votes(cx, (network, epoch), round.number)?;
        let vote = votes.get(cx, validator)?;
        ensure!(vote.choice.is_zero(), AlreadyRevealed { validator });
        let place = (network, epoch, round.number);
        let ballot = self.ballot(cx, place, validator, (choice, salt))?;
        ensure!(ballot == vote.ballot, WrongBallot { validator, committed: vote.ballot });
        let error = WrongInputs { network: id, epoch: number, announced: inputs };
        ensure!(outcome.inputs == inputs, error);
        let before = self.latest(cx, network)?;
        policy::check(cx, (network, epoch), &before, &Outcome::new(outcome)?)?;

        votes.set(cx, validator, &Vote { choice, ..vote })?;
        let key = cx.keccak(&("outcome", id, number, round.number, choice).abi_encode())?;
        let tally = self.tallies.get(cx, key)?.plus(seats)?;
        self.tallies.set(cx, key, &tally)?;
        let decided = decides(tally, round.seats);
        let round = Round {
            revealed: round.revealed.plus(seats)?,
            best: round.best.max(tally),
            decided,
            ..round
        };
        self.rounds.set2(cx, id, number, &round)?;
        let event = Revealed { network: id, epoch: number, validator, round: round.number, choice };
        cx.emit(SETTLEMENTS, &event)?;
        if decided { self.decide(cx, (network, epoch), outcome, choice) } else { Ok(()) }
    }

    /// Makes an outcome that of its epoch.
    fn decide(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        outcome: &abi::Outcome,
        decision: B256,
    ) -> Result<(), Failure> {
        let (id, number, height) = (network.0, epoch.0, cx.height());
        let (clock, course) = (self.clock(cx)?, self.courses.get(cx, id)?);
        let latest = self.latest(cx, network)?;
        // What was decided before and dropped keeps its window.
        let dropped = self.outcomes.get2(cx, id, number)?;
        let same = choice(cx, &dropped.clone().into())? == decision;
        let now = course.windows(&clock, height);
        let decided = if same { dropped.decided.max(latest.decided) } else { now };
        let index = self.finals.at_key(cx, id)?.push(cx, &number)?;
        let standing = Outcome { decided, index, ..Outcome::new(outcome)? };
        self.outcomes.set2(cx, id, number, &standing)?;
        let course = self.rule(cx, (network, epoch), course, decision)?;
        self.courses.set(cx, id, &course.decided(&clock, height, epoch))?;
        let (root, statement) = (outcome.root, outcome.statement);
        cx.emit(SETTLEMENTS, &Finalized { network: id, epoch: number, root, statement })
    }
}
