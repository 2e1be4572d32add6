//! Announcing inputs and voting on outcomes.

use super::policy;
use super::state::{Before, Choices, Last, Outcome, Round, Rounds, Settlements};
use crate::abi;
use crate::abi::ISettlements::{
    AlreadyAnnounced, AlreadyFinal, Announced, Finalized, NotValidator, Revealed, TooEarly,
    WrongEpoch, WrongInputs,
};
use crate::abi::ISystem::Empty;
use crate::address::SETTLEMENTS;
use crate::context::{Checked as _, Context};
use crate::env::{Failure, ensure};
use crate::networks::Networks;
use crate::validators::Validators;
use alloy_primitives::{Address, B256};
use alloy_sol_types::SolValue as _;
use protocol::{Epoch, NetworkId};

/// How many epochs after its own an epoch can still become final; then it is void (`mod.rs`).
pub(crate) const OPEN_EPOCHS: u64 = 30;

/// How many terms a round lasts, that of its committee the last but one. Committees are known for longer.
pub(crate) const ROUND_TERMS: u64 = 2;

/// A validator's right to choose in the running round of an epoch.
struct Voice {
    validator: Address,
    seats: u64,
    round: Round,
}

/// A choice of one validator in one epoch of one network.
struct Ballot<'a> {
    network: NetworkId,
    epoch: Epoch,
    voice: Voice,
    /// Where rounds and choices are kept.
    rounds: &'a Rounds,
    kept: &'a Choices,
    choice: B256,
}

impl Settlements {
    pub(super) fn announce(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
        inputs: B256,
    ) -> Result<(), Failure> {
        let voice = self.voice(cx, &self.announcing, (network, epoch))?;
        ensure!(!inputs.is_zero(), Empty {});
        let start = Networks::new().record(cx, network)?.start;
        let error = WrongEpoch { network: network.0, epoch: epoch.0, expected: start };
        ensure!(epoch.0 >= start, error);
        let first = self.clock(cx)?.epochs().first(epoch);
        let (id, number) = (network.0, epoch.0);
        let error = TooEarly { network: id, epoch: number, height: first.0 };
        ensure!(cx.height() >= first.0, error);
        let fixed = self.inputs.get2(cx, id, number)?;
        ensure!(fixed.is_zero(), AlreadyAnnounced { network: id, epoch: number });

        let (round, validator) = (voice.round.number, voice.validator);
        let choice = cx.keccak(&("inputs", id, number, round, inputs).abi_encode())?;
        let (rounds, kept) = (&self.announcing, &self.announced);
        let ballot = Ballot { network, epoch, voice, rounds, kept, choice };
        let decided = self.cast(cx, &ballot)?;
        cx.emit(SETTLEMENTS, &Announced { network: id, epoch: number, validator, inputs })?;
        if decided { self.inputs.set2(cx, id, number, &inputs) } else { Ok(()) }
    }

    pub(super) fn vote(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
        outcome: &abi::Outcome,
    ) -> Result<(), Failure> {
        let voice = self.voice(cx, &self.voting, (network, epoch))?;
        self.expect(cx, network, epoch)?;
        let end = self.clock(cx)?.epochs().grace_end(epoch);
        let (id, number) = (network.0, epoch.0);
        let error = TooEarly { network: id, epoch: number, height: end.0.saturating_add(1) };
        ensure!(cx.height() > end.0, error);
        let announced = self.inputs.get2(cx, id, number)?;
        let same = !announced.is_zero() && outcome.inputs == announced;
        ensure!(same, WrongInputs { network: id, epoch: number, announced });
        let after = Outcome::new(outcome, cx.epoch()?)?;
        let before = self.latest(cx, network)?;
        policy::check(cx, (network, epoch), &before, &after)?;

        let (round, validator) = (voice.round.number, voice.validator);
        let choice = cx.keccak(&("outcome", id, number, round, outcome.clone()).abi_encode())?;
        let (rounds, kept) = (&self.voting, &self.ballots);
        let ballot = Ballot { network, epoch, voice, rounds, kept, choice };
        let decided = self.cast(cx, &ballot)?;
        cx.emit(SETTLEMENTS, &Revealed { network: id, epoch: number, validator, round, choice })?;
        if !decided {
            return Ok(());
        }
        let last = self.finals.get(cx, id)?;
        self.befores.set2(cx, id, number, &Before { any: last.any, epoch: last.epoch })?;
        self.outcomes.set2(cx, id, number, &after)?;
        self.finals.set(cx, id, &Last { any: true, epoch: number, spent: after.spent })?;
        let (root, statement) = (outcome.root, outcome.statement);
        cx.emit(SETTLEMENTS, &Finalized { network: id, epoch: number, root, statement })
    }

    /// The caller and its seats in the running round, or a revert if it has none.
    fn voice(
        &self,
        cx: &mut Context<'_>,
        rounds: &Rounds,
        epoch: (NetworkId, Epoch),
    ) -> Result<Voice, Failure> {
        let (round, caller) = (self.round(cx, rounds, epoch)?, cx.caller());
        let seats = Validators::new().seats_of(cx, round.term, caller)?;
        ensure!(seats != 0, NotValidator { caller });
        Ok(Voice { validator: caller, seats, round })
    }

    /// The round in which a choice of this block counts: the one begun, or one of the next term's committee
    /// if none is or its time is over.
    pub(super) fn round(
        &self,
        cx: &mut Context<'_>,
        rounds: &Rounds,
        (network, epoch): (NetworkId, Epoch),
    ) -> Result<Round, Failure> {
        let now = Validators::new().term(cx)?;
        let begun = rounds.get2(cx, network.0, epoch.0)?;
        if begun.number != 0 && now < begun.term.saturating_add(ROUND_TERMS) {
            return Ok(begun);
        }
        Ok(Round { number: begun.number.plus(1)?, term: now.plus(1)? })
    }

    /// What a validator chose in the running round; zero if nothing.
    pub(super) fn choice_of(
        &self,
        cx: &mut Context<'_>,
        (rounds, kept): (&Rounds, &Choices),
        epoch: (NetworkId, Epoch),
        validator: Address,
    ) -> Result<B256, Failure> {
        let round = self.round(cx, rounds, epoch)?.number;
        let of_epoch = kept.at_key(cx, epoch.0.0)?.at_key(cx, epoch.1.0)?;
        of_epoch.at_key(cx, round)?.get(cx, validator)
    }

    /// The epoch that the next vote is for: the one after the newest final, or the first of the network,
    /// but none that is void.
    pub(super) fn next_epoch(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Epoch, Failure> {
        let first = match self.last_final(cx, network)? {
            Some(last) => last.next().0,
            None => Networks::new().record(cx, network)?.start,
        };
        Ok(Epoch(first.max(cx.epoch()?.0.saturating_sub(OPEN_EPOCHS))))
    }

    /// The final epoch on which `epoch` builds: the one before it if it is final itself, else the newest.
    pub(super) fn final_before(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Before, Failure> {
        if self.outcomes.get2(cx, network.0, epoch.0)?.settled {
            return self.befores.get2(cx, network.0, epoch.0);
        }
        let last = self.finals.get(cx, network.0)?;
        Ok(Before { any: last.any, epoch: last.epoch })
    }

    /// Refuses all epochs but the next, or any from there on if none is final yet.
    fn expect(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<(), Failure> {
        let (last, next) = (self.last_final(cx, network)?, self.next_epoch(cx, network)?);
        let (network, number, expected) = (network.0, epoch.0, next.0);
        let known = last.is_some_and(|last| epoch <= last);
        ensure!(!known, AlreadyFinal { network, epoch: number });
        let in_order = epoch == next || last.is_none() && epoch > next;
        ensure!(in_order, WrongEpoch { network, epoch: number, expected });
        Ok(())
    }

    /// Counts a choice in place of the validator's earlier one; whether it now has 2/3 of the seats.
    fn cast(&self, cx: &mut Context<'_>, ballot: &Ballot<'_>) -> Result<bool, Failure> {
        let Ballot { network, epoch, rounds, kept, choice, .. } = *ballot;
        let Voice { validator, seats, round } = &ballot.voice;
        rounds.set2(cx, network.0, epoch.0, round)?;
        let of_epoch = kept.at_key(cx, network.0)?.at_key(cx, epoch.0)?;
        let mine = of_epoch.at_key(cx, round.number)?;
        let earlier = mine.get(cx, *validator)?;
        if !earlier.is_zero() {
            let rest = self.tallies.get(cx, earlier)?.minus(*seats)?;
            self.tallies.set(cx, earlier, &rest)?;
        }
        mine.set(cx, *validator, &choice)?;
        let tally = self.tallies.get(cx, choice)?.plus(*seats)?;
        self.tallies.set(cx, choice, &tally)?;
        let all = Validators::new().all_seats(cx, round.term)?;
        Ok(u128::from(tally) * 3 >= u128::from(all) * 2)
    }
}
