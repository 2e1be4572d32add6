//! Announcing the inputs of an epoch: an open vote of a committee.

use super::state::{Hearing, Settlements};
use crate::abi::ISettlements::{AlreadyAnnounced, Announced, NotValidator, TooEarly, WrongEpoch};
use crate::abi::ISystem::Empty;
use crate::address::SETTLEMENTS;
use crate::context::{Checked as _, Context};
use crate::env::{Failure, ensure};
use crate::networks::Networks;
use crate::validators::Validators;
use alloy_primitives::{Address, B256};
use alloy_sol_types::SolValue as _;
use protocol::{Epoch, NetworkId};

/// How many terms a hearing lasts, that of its committee the last but one. Committees are known for longer.
pub(crate) const HEARING_TERMS: u64 = 2;

impl Settlements {
    pub(super) fn announce(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
        inputs: B256,
    ) -> Result<(), Failure> {
        let (hearing, validator) = (self.hearing(cx, network, epoch)?, cx.caller());
        let seats = Validators::new().seats_of(cx, hearing.term, validator)?;
        ensure!(seats != 0, NotValidator { caller: validator });
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
        let choice = cx.keccak(&("inputs", id, number, hearing.number, inputs).abi_encode())?;
        cx.emit(SETTLEMENTS, &Announced { network: id, epoch: number, validator, inputs })?;

        self.hearings.set2(cx, id, number, &hearing)?;
        let said = self.announced.at_key(cx, id)?.at_key(cx, number)?;
        let said = said.at_key(cx, hearing.number)?;
        let earlier = said.get(cx, validator)?;
        if !earlier.is_zero() {
            let rest = self.tallies.get(cx, earlier)?.minus(seats)?;
            self.tallies.set(cx, earlier, &rest)?;
        }
        said.set(cx, validator, &choice)?;
        let tally = self.tallies.get(cx, choice)?.plus(seats)?;
        self.tallies.set(cx, choice, &tally)?;
        let all = Validators::new().all_seats(cx, hearing.term)?;
        if decides(tally, all) { self.inputs.set2(cx, id, number, &inputs) } else { Ok(()) }
    }

    /// The hearing in which an announcement of this block counts: the one begun, or one of the next term's
    /// committee if none is or its time is over.
    pub(super) fn hearing(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Hearing, Failure> {
        let now = Validators::new().term(cx)?;
        let begun = self.hearings.get2(cx, network.0, epoch.0)?;
        if begun.number != 0 && now < begun.term.saturating_add(HEARING_TERMS) {
            return Ok(begun);
        }
        Ok(Hearing { number: begun.number.plus(1)?, term: now.plus(1)? })
    }

    /// What a validator announced in the running hearing; zero if nothing.
    pub(super) fn announcement_of(
        &self,
        cx: &mut Context<'_>,
        (network, epoch): (NetworkId, Epoch),
        validator: Address,
    ) -> Result<B256, Failure> {
        let hearing = self.hearing(cx, network, epoch)?.number;
        let said = self.announced.at_key(cx, network.0)?.at_key(cx, epoch.0)?;
        said.at_key(cx, hearing)?.get(cx, validator)
    }
}

/// Whether so many seats decide.
pub(super) fn decides(seats: u64, all: u64) -> bool {
    all != 0 && u128::from(seats) * 3 >= u128::from(all) * 2
}
